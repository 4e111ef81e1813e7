"""E section 1: y ~ GMM(f(x)) in place of y ~ Normal(f(x), sigma), on an inverse problem.

    y even on [0, 1],    x = y + .3 sin(2 pi y) + N(0, .05^2)

An x has up to three y. The paper names the model, fixes the basis, and learns no f; here f is learnt in three ways, all
judged by the true conditional distribution, p(y | x) = N(x; y + .3 sin(2 pi y), .05^2) / p(x):

    a network that gives the weights of one fixed basis      the paper's words, literally
    `ConditionalGMMExpansion`, "fast" and "auto"             bases that move, boosting and forests

beside Normal(f(x), sigma), one mixture for all x, and, where they are installed, NGBoost and a quantile forest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import norm

from gaussmix._typing import FloatArray
from gaussmix.conditional.estimator import ConditionalGMMExpansion
from gaussmix.density.basis import GaussianBasis
from gaussmix.density.estimator import GMMExpansion
from reproduction.page import Measured

NOISE = 0.05
SIZES = ("few", "many")  # points
GRID = np.linspace(-0.5, 1.5, 1001)  # of y
STEP = GRID[1] - GRID[0]
LEAST = 1e-12  # of a density, in its logarithm
_LEVELS = np.arange(1, 200) / 200  # quantiles that a forest is asked for
_DRAWN = 200  # places of x in a picture
_SHOWN = ("truth", "normal", "network", "auto", "ngboost", "quantile forest")
_TITLES = {
    "truth": "the truth",
    "normal": "y ~ Normal(f(x), sigma)",
    "network": "a network, fixed basis",
    "auto": "ConditionalGMMExpansion",
    "ngboost": "NGBoost",
    "quantile forest": "quantile forest",
}

Rows = tuple[FloatArray, FloatArray]
"""Distribution functions and densities on `GRID`, (n, G) each."""
Predictor = Callable[[FloatArray], Rows]


@dataclass(frozen=True)
class Config:
    """Settings of section 1."""

    seed: int = 0
    repetitions: int = 3
    n_points: tuple[int, int] = (500, 2000)
    n_new: int = 2000
    """Points by which a model is judged."""
    network_steps: int = 800
    network_components: int = 100

    @property
    def n_steps(self) -> int:
        return self.repetitions * len(self.n_points) * len(MODELS)

    def quick(self) -> Config:
        return replace(self, repetitions=1, n_points=(60, 120), n_new=100, network_steps=20)


def inverse_problem(n: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """x and y, (n,) each."""
    y = rng.uniform(size=n)
    return y + 0.3 * np.sin(2 * np.pi * y) + rng.normal(0, NOISE, n), y


def truth(x: FloatArray) -> Rows:
    """The conditional distributions at x (n,)."""
    inside = np.where((GRID >= 0) & (GRID <= 1), 1.0, 0.0)
    likelihood = norm.logpdf(x[:, None], GRID + 0.3 * np.sin(2 * np.pi * GRID), NOISE)
    p = np.exp(likelihood - likelihood[:, inside > 0].max(1, keepdims=True)) * inside
    return _with_cdf(p / (p.sum(1, keepdims=True) * STEP))


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Return scores by model and number of points, means over repetitions with standard errors."""
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    seen: dict[str, Rows] = {}
    places, done = np.linspace(-0.1, 1.1, _DRAWN), 0
    for size, n in zip(SIZES, config.n_points, strict=True):
        for repetition in range(config.repetitions):
            rng = np.random.default_rng([config.seed, n, repetition])
            x, y = inverse_problem(n, rng)
            new_x, new_y = inverse_problem(config.n_new, rng)
            right = truth(new_x)
            for name, make in MODELS.items():
                predictor = make(x, y, config) if _is_there(name) else None
                if predictor is not None:
                    scores = score(predictor(new_x), right, new_y)
                    found.setdefault(name, {}).setdefault(size, []).append(scores)
                    if repetition == 0 and size == SIZES[-1]:
                        seen[name] = predictor(places)
                        seen["points"] = x, y
                done += 1
                on_step(done)
    ours: dict[str, Any] = {
        name: {size: _means(rows) for size, rows in found[name].items()} if name in found else _nothing()
        for name in MODELS
    }
    ours["versions"] = {name: version(package) if _is_there(name) else None for name, package in _PEERS.items()}
    ours["noise"] = NOISE
    claim = "GMM(f(x)) could be a general model, whatever distribution y is following"
    return Measured(ours, {"claim": claim}, {"rows": seen, "places": places})


def score(rows: Rows, right: Rows, y: FloatArray) -> dict[str, float]:
    """L1 and W1 to the true distributions, negative log-likelihood, CRPS, and coverage of 90 %; of y (n,)."""
    cdf, pdf = rows
    at = (y - GRID[0]) / STEP
    k = np.clip(at.astype(int), 0, len(GRID) - 2)
    i, part = np.arange(len(y)), at - k
    density, below = ((1 - part) * each[i, k] + part * each[i, k + 1] for each in (pdf, cdf))
    return {
        "l1": float(np.abs(pdf - right[1]).sum(1).mean() * STEP),
        "w1": float(np.abs(cdf - right[0]).sum(1).mean() * STEP),
        "nll": float(-np.log(np.maximum(density, LEAST)).mean()),
        "crps": float(((cdf - (y[:, None] <= GRID)) ** 2).sum(1).mean() * STEP),
        "coverage": float(np.mean((below >= 0.05) & (below <= 0.95))),
    }


# --- models: of x and y (N,), a function of new x


def _fit_truth(x: FloatArray, y: FloatArray, config: Config) -> Predictor:
    return truth


def _fit_normal(x: FloatArray, y: FloatArray, config: Config) -> Predictor:
    """Boosting, and the standard deviation of what it is off by on rows that it did not see."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.model_selection import cross_val_predict

    model = HistGradientBoostingRegressor(random_state=config.seed)
    sigma = float(np.std(y - cross_val_predict(model, x[:, None], y)))
    model.fit(x[:, None], y)
    return lambda new: _normal_rows(model.predict(new[:, None])[:, None], sigma)


def _fit_marginal(x: FloatArray, y: FloatArray, config: Config) -> Predictor:
    law = GMMExpansion().fit(y).distribution_
    cdf, pdf = law.cdf(GRID), law.pdf(GRID)
    return lambda new: (np.tile(cdf, (len(new), 1)), np.tile(pdf, (len(new), 1)))


def _fit_network(x: FloatArray, y: FloatArray, config: Config) -> Predictor:
    """Two hidden layers whose output is the logarithms of weights, by likelihood."""
    import torch

    from gaussmix.nn import ExpansionDistribution

    basis = GaussianBasis.spanning(-0.05, 1.05, config.network_components, 1.5)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        net = torch.nn.Sequential(
            torch.nn.Linear(1, 64),
            torch.nn.SiLU(),
            torch.nn.Linear(64, 64),
            torch.nn.SiLU(),
            torch.nn.Linear(64, basis.n_components),
        )
    inputs, targets = torch.tensor(4 * (x[:, None] - 0.5)).float(), torch.tensor(y).float()
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.network_steps)
    for _ in range(config.network_steps):
        optimizer.zero_grad()
        (-ExpansionDistribution(basis, logits=net(inputs), guard=0.002).log_prob(targets).mean()).backward()
        optimizer.step()
        schedule.step()

    @torch.no_grad()
    def predict(new: FloatArray) -> Rows:
        law = ExpansionDistribution(basis, logits=net(torch.tensor(4 * (new[:, None] - 0.5)).float()), guard=0.002)
        pdf = law.log_prob(torch.tensor(GRID).float()[:, None]).exp().double().numpy().T
        return _with_cdf(pdf)

    return predict


def _fit_ours(rule: str) -> Callable[[FloatArray, FloatArray, Config], Predictor]:
    def fit(x: FloatArray, y: FloatArray, config: Config) -> Predictor:
        model = ConditionalGMMExpansion(rule, random_state=config.seed).fit(x[:, None], y)

        def predict(new: FloatArray) -> Rows:
            laws = model.predict_distribution(new[:, None])
            return _with_cdf(np.array([law.pdf(GRID) for law in laws]))

        return predict

    return fit


def _fit_ngboost(x: FloatArray, y: FloatArray, config: Config) -> Predictor:
    from ngboost import NGBRegressor  # pyright: ignore[reportMissingImports]

    model = NGBRegressor(verbose=False, random_state=config.seed).fit(x[:, None], y)

    def predict(new: FloatArray) -> Rows:
        said = model.pred_dist(new[:, None]).params
        return _normal_rows(said["loc"][:, None], said["scale"][:, None])

    return predict


def _fit_forest(x: FloatArray, y: FloatArray, config: Config) -> Predictor:
    """Quantiles; their distribution function is linear between them, its density a histogram of 50 bars."""
    from quantile_forest import RandomForestQuantileRegressor  # pyright: ignore[reportMissingImports]

    model = RandomForestQuantileRegressor(min_samples_leaf=10, random_state=config.seed).fit(x[:, None], y)

    def predict(new: FloatArray) -> Rows:
        quantiles = np.asarray(model.predict(new[:, None], quantiles=_LEVELS.tolist()))
        cdf = np.array([np.interp(GRID, row, _LEVELS, left=0.0, right=1.0) for row in quantiles])
        coarse = cdf[:, :: len(GRID) // 50]
        bars = np.diff(coarse, axis=1) / (GRID[len(GRID) // 50] - GRID[0])
        return cdf, np.repeat(np.pad(bars, ((0, 0), (0, 1))), len(GRID) // 50, axis=1)[:, : len(GRID)]

    return predict


MODELS: dict[str, Callable[[FloatArray, FloatArray, Config], Predictor]] = {
    "truth": _fit_truth,
    "normal": _fit_normal,
    "marginal": _fit_marginal,
    "network": _fit_network,
    "fast": _fit_ours("fast"),
    "auto": _fit_ours("auto"),
    "ngboost": _fit_ngboost,
    "quantile forest": _fit_forest,
}
_PEERS = {"ngboost": "ngboost", "quantile forest": "quantile-forest"}
_MODULES = {"ngboost": "ngboost", "quantile forest": "quantile_forest"}


def _is_there(name: str) -> bool:
    return name not in _MODULES or find_spec(_MODULES[name]) is not None


def _normal_rows(mean: FloatArray, sigma: Any) -> Rows:
    return norm.cdf(GRID, mean, sigma), norm.pdf(GRID, mean, sigma)


def _with_cdf(pdf: FloatArray) -> Rows:
    """Densities on the grid, and their sums."""
    return np.cumsum(pdf, axis=1) * STEP - 0.5 * STEP * pdf, pdf


def _means(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Means over repetitions, and the standard error of each."""
    out: dict[str, Any] = {}
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        out[name] = float(values.mean())
        out[f"{name}_error"] = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return out


def _nothing() -> dict[str, Any]:
    names = ("l1", "w1", "nll", "crps", "coverage")
    return {size: dict.fromkeys([*names, *(f"{name}_error" for name in names)]) for size in SIZES}


def draw(measured: Measured) -> dict[str, Figure]:
    """Return the densities along x of each model, with the points that it learnt from."""
    rows: Mapping[str, Any] = measured.seen["rows"]
    places: NDArray[np.float64] = measured.seen["places"]
    shown = [name for name in _SHOWN if name in rows]
    figure = Figure(figsize=(11, 7 if len(shown) > 3 else 3.6), layout="constrained")
    panels = figure.subplots(-(-len(shown) // 3), 3, sharex=True, sharey=True)
    x, y = rows["points"]
    shades = None
    for axes, name in zip(panels.ravel(), shown, strict=False):
        shades = axes.contourf(
            places, GRID, rows[name][1].T, levels=[0.1, 0.25, 0.5, 1, 2, 4, 8], cmap="Blues", extend="max"
        )
        axes.plot(x[:300], y[:300], ".", color="#333333", markersize=1.5)
        axes.set(title=_TITLES[name], ylim=(-0.25, 1.25))
        axes.spines[["top", "right"]].set_visible(False)
        if axes in panels.reshape(-1, 3)[-1]:
            axes.set_xlabel("x")
        if axes in panels.reshape(-1, 3)[:, 0]:
            axes.set_ylabel("y")
    for axes in panels.ravel()[len(shown) :]:
        axes.set_axis_off()
    assert shades is not None
    figure.colorbar(shades, ax=panels, label="density of y given x", shrink=0.6)
    return {"": figure}
