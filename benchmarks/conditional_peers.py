"""The methods of the conditional benchmark and the laws that they predict.

    ours             ConditionalGMMExpansion with its defaults; fast, network: with these rules
    quantile-forest  RandomForestQuantileRegressor, 100 trees
    lightgbm         LGBMRegressor(objective="quantile"), a model of 100 trees for each of the 30 levels
    catboost         CatBoostRegressor(loss_function="RMSEWithUncertainty"), 1 000 trees: a Gaussian
    ngboost          NGBRegressor, 500 rounds: a Gaussian
    ngboost-stopped  the same with up to 2 000 rounds, as many as are best for a fifth of the rows; then all rows learn
    ensemble         five networks (two layers of 100) of a Gaussian each, stopped by a tenth of the rows: their mixture
    treeffuser       Treeffuser, 200 draws a row

All with their authors' defaults where nothing is said, one thread, seed 0. A method is a function of (X, y) that
returns one of X to a law; ModuleNotFoundError where its package is not installed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol, cast

import numpy as np
from conditional_targets import Array
from scipy.special import logsumexp, ndtr

from gaussmix.conditional import ConditionalGMMExpansion, ConditionalMixture

LEVELS = (np.arange(30) + 0.5) / 30  # .05 and .95 are among them
SPREADS = (1.0, 0.5, 0.25, 0.125)
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class Law(Protocol):
    """Distributions of N rows."""

    def mean(self) -> Array: ...
    def crps(self, y: Array) -> Array: ...
    def interval(self) -> Array:
        """Of 90 %, (N, 2)."""
        ...

    def cells(self, edges: Array, spread: float) -> Array:
        """Masses (N, G - 1) between edges (G,); ``spread`` widens or narrows what a kernel estimate smooths."""
        ...


class DensityLaw(Law, Protocol):
    """One that has densities."""

    def logpdf(self, y: Array) -> Array: ...
    def cdf(self, y: Array) -> Array: ...


class GaussianRows:
    """Mixtures of Gaussians: weights, means and standard deviations (N, K)."""

    def __init__(self, weights: Array, means: Array, stds: Array):
        self.weights, self.means, self.stds = np.broadcast_arrays(weights, means, stds)

    def mean(self) -> Array:
        return (self.weights * self.means).sum(1)

    def logpdf(self, y: Array) -> Array:
        z = (y[:, None] - self.means) / self.stds
        return np.asarray(logsumexp(-0.5 * z * z - np.log(self.stds) - _HALF_LOG_2PI, b=self.weights, axis=1))

    def cdf(self, y: Array) -> Array:
        return (self.weights * ndtr((y[:, None] - self.means) / self.stds)).sum(1)

    def crps(self, y: Array) -> Array:
        """E|Y - y| - E|Y - Y'| / 2 in closed form (Grimit et al. 2006)."""

        def absolute(d: Array, s: Array) -> Array:
            z = d / s
            return d * (2 * ndtr(z) - 1) + 2 * s * np.exp(-0.5 * z * z - _HALF_LOG_2PI)

        w, m, s = self.weights, self.means, self.stds
        apart = absolute(m[:, :, None] - m[:, None], np.hypot(s[:, :, None], s[:, None]))
        return (w * absolute(y[:, None] - m, s)).sum(1) - 0.5 * np.einsum("nj,nk,njk->n", w, w, apart)

    def interval(self) -> Array:
        """By bisection."""
        out = []
        for level in (0.05, 0.95):
            low, high = (self.means - 9 * self.stds).min(1), (self.means + 9 * self.stds).max(1)
            for _ in range(60):
                middle = (low + high) / 2
                less = self.cdf(middle) < level
                low, high = np.where(less, middle, low), np.where(less, high, middle)
            out.append((low + high) / 2)
        return np.column_stack(out)

    def cells(self, edges: Array, spread: float) -> Array:
        out = np.zeros((len(self.means), len(edges) - 1))
        for w, m, s in zip(self.weights.T, self.means.T, self.stds.T, strict=True):
            out += w[:, None] * np.diff(ndtr((edges - m[:, None]) / s[:, None]))
        return out


class QuantileRows:
    """Quantiles (N, 30) at `LEVELS`; perhaps points (N, P) of equal probability that say more, or draws."""

    def __init__(self, quantiles: Array, points: Callable[[], Array] | None = None):
        self.quantiles = np.sort(quantiles, axis=1)
        self.points = points

    def mean(self) -> Array:
        return self.quantiles.mean(1)

    def crps(self, y: Array) -> Array:
        """Twice the mean pinball loss of the levels, which are the midpoints of 30 equal parts of (0, 1)."""
        d = y[:, None] - self.quantiles
        return 2 * np.maximum(LEVELS * d, (LEVELS - 1) * d).mean(1)

    def interval(self) -> Array:
        return self.quantiles[:, [np.argmin(abs(LEVELS - 0.05)), np.argmin(abs(LEVELS - 0.95))]]

    def cells(self, edges: Array, spread: float) -> Array:
        """Of a kernel estimate of the points, Silverman's bandwidth times ``spread``."""
        x = self.quantiles if self.points is None else self.points()
        low, high = np.quantile(x, [0.25, 0.75], axis=1)
        narrower = np.minimum(x.std(1), (high - low) / 1.349)
        h = spread * 0.9 * np.where(narrower > 0, narrower, x.std(1)) * x.shape[1] ** -0.2
        h = np.maximum(h, 0.5 * (edges[1] - edges[0]))
        return np.array([np.diff(ndtr((edges[:, None] - p) / s).mean(1)) for p, s in zip(x, h, strict=True)])


class Ours:
    """What `ConditionalGMMExpansion` predicts."""

    def __init__(self, law: ConditionalMixture):
        self.law = law
        self.mean, self.crps, self.interval = law.mean, law.crps, law.interval

    def logpdf(self, y: Array) -> Array:
        return self.law.continuous.logpdf(y)

    def cdf(self, y: Array) -> Array:
        return self.law.continuous.cdf(y)

    def cells(self, edges: Array, spread: float) -> Array:
        law = self.law.continuous
        return np.array([np.diff(law[np.full(len(edges), i)].cdf(edges)) for i in range(len(law))])


Method = Callable[[Array, Array], Callable[[Array], Law]]


def ours(X: Array, y: Array, rule: str = "auto") -> Callable[[Array], Law]:
    model = ConditionalGMMExpansion(rule, random_state=0).fit(X, y)
    return lambda at: Ours(model.predict_distribution(at))


def fast(X: Array, y: Array) -> Callable[[Array], Law]:
    return ours(X, y, "fast")


def network(X: Array, y: Array) -> Callable[[Array], Law]:
    return ours(X, y, "network")


def quantile_forest(X: Array, y: Array) -> Callable[[Array], Law]:
    model = import_module("quantile_forest").RandomForestQuantileRegressor(random_state=0, n_jobs=1).fit(X, y)
    many = ((np.arange(200) + 0.5) / 200).tolist()
    return lambda at: QuantileRows(
        model.predict(at, quantiles=LEVELS.tolist()), lambda: model.predict(at, quantiles=many)
    )


def lightgbm(X: Array, y: Array) -> Callable[[Array], Law]:
    kind = import_module("lightgbm").LGBMRegressor
    models = [
        kind(objective="quantile", alpha=level, n_jobs=1, random_state=0, verbose=-1).fit(X, y) for level in LEVELS
    ]
    return lambda at: QuantileRows(np.column_stack([model.predict(at) for model in models]))


def catboost(X: Array, y: Array) -> Callable[[Array], Law]:
    kind = import_module("catboost").CatBoostRegressor
    model = kind(
        loss_function="RMSEWithUncertainty", thread_count=1, random_seed=0, verbose=0, allow_writing_files=False
    ).fit(X, y)

    def predict(at: Array) -> Law:
        mean, variance = model.predict(at).T
        return GaussianRows(np.ones(1), mean[:, None], np.sqrt(variance)[:, None])

    return predict


def ngboost(X: Array, y: Array, rounds: int = 500) -> Callable[[Array], Law]:
    model = import_module("ngboost").NGBRegressor(n_estimators=rounds, random_state=0, verbose=False).fit(X, y)

    def predict(at: Array) -> Law:
        said = model.pred_dist(at).params
        return GaussianRows(np.ones(1), said["loc"][:, None], said["scale"][:, None])

    return predict


def ngboost_stopped(X: Array, y: Array) -> Callable[[Array], Law]:
    kind = import_module("ngboost").NGBRegressor
    order = np.random.default_rng(0).permutation(len(y))
    held, seen = np.split(order, [len(y) // 5])
    model = kind(n_estimators=2000, random_state=0, verbose=False)
    model.fit(X[seen], y[seen], X_val=X[held], Y_val=y[held], early_stopping_rounds=50)
    return ngboost(X, y, int(model.best_val_loss_itr) + 1)


def ensemble(X: Array, y: Array) -> Callable[[Array], Law]:
    import torch

    center, spread = X.mean(0), np.maximum(X.std(0), 1e-9)
    mu, sd = float(y.mean()), float(y.std())

    def standard(x: Array) -> torch.Tensor:
        return torch.tensor((x - center) / spread, dtype=torch.float32)

    A, b = standard(X), torch.tensor((y - mu) / sd, dtype=torch.float32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        nets = [_gaussian_net(A, b) for _ in range(5)]

    def predict(at: Array) -> Law:
        with torch.no_grad():
            said = torch.stack([net(standard(at)) for net in nets], dim=1).double().numpy()
        return GaussianRows(np.full((1, 5), 0.2), mu + sd * said[..., 0], sd * np.exp(np.clip(said[..., 1], -6, 4)))

    return predict


def _gaussian_net(A: Any, b: Any) -> Any:
    """Trained by Adam on the Gaussian likelihood; the weights that were best for a tenth of the rows."""
    import torch
    from torch import nn

    def loss(said: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        log_std = said[:, 1].clamp(-6, 4)
        return (0.5 * (y - said[:, 0]) ** 2 * torch.exp(-2 * log_std) + log_std).mean()

    order = torch.randperm(len(b))
    n_held = max(20, len(b) // 10)
    held, seen = order[:n_held], order[n_held:]
    size = min(128, max(16, len(seen) // 20))
    net = nn.Sequential(nn.Linear(A.shape[1], 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 2))
    adam = torch.optim.Adam(net.parameters(), 1e-3)
    best, kept, waited = math.inf, net.state_dict(), 0
    for _ in range(400):
        for rows in seen[torch.randperm(len(seen))].split(size):
            adam.zero_grad()
            loss(net(A[rows]), b[rows]).backward()
            adam.step()
        with torch.no_grad():
            found = float(loss(net(A[held]), b[held]))
        waited += 1
        if found < best - 1e-4:
            best, waited = found, 0
            kept = {name: value.clone() for name, value in net.state_dict().items()}
        if waited > 20:
            break
    net.load_state_dict(kept)
    return net


def treeffuser(X: Array, y: Array) -> Callable[[Array], Law]:
    model = import_module("treeffuser").Treeffuser(seed=0).fit(X, y)

    def predict(at: Array) -> Law:
        drawn = np.asarray(model.sample(at, 200, seed=0, verbose=False), np.float64).reshape(200, len(at)).T
        return QuantileRows(np.quantile(drawn, LEVELS, axis=1).T, lambda: drawn)

    return predict


METHODS: dict[str, Method] = {
    "ours": ours,
    "quantile-forest": quantile_forest,
    "lightgbm": lightgbm,
    "catboost": catboost,
    "ngboost": ngboost,
    "ensemble": ensemble,
    "ngboost-stopped": ngboost_stopped,
    "fast": fast,
    "network": network,
    "treeffuser": treeffuser,
}
OURS = ("ours", "fast", "network")


def has_density(law: Law) -> DensityLaw | None:
    return cast(DensityLaw, law) if hasattr(law, "logpdf") else None
