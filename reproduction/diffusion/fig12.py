"""D Figure 12: the "negative Gaussian mixture gradient entropy" (Eq. 18) against the binary cross-entropy.

    error = sum_j (p_j - y_j)^2 of a picture of the test split, p = sigmoid(z) from a small network, y its attributes

The figure compares the two losses for one network on CelebA's attributes, without saying how either was tuned. Here
each loss, each reading of Eq. 18 among them, trains the same network on the same batches for the same number of steps,
with the learning rate out of one grid that does best on the valid split; and, apart from that, with the same learning
rate for all and other reductions, to see what could have drawn the figure.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gaussmix._typing import FloatArray
from gaussmix.data.base import AttributeDataset
from gaussmix.data.load import load_dataset
from gaussmix.nn.losses import KernelBrierLoss, KernelGradientLoss, NGMGEntropyLoss
from reproduction.diffusion.networks import ErrorCurves, Loss, Split, TrainingGrid, finite, train, tune
from reproduction.page import Measured
from reproduction.runs import counted, given_folder

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER = {"claim": "NGMG entropy clearly shows better performance than binary cross-entropy"}
SIZE, SIDE = 32, 16  # pictures are read at SIZE pixels and averaged to SIDE
HELD_OUT = 0.1  # shares of the valid and the test part
SHRINKAGE = 0.1  # share of the identity in the correlation kernel: hair colours, hats and baldness add up to 1
BCE, WORKING = "BCE", ("squared error", "kernel gradient, index", "kernel gradient, correlation", "kernel Brier")
ORIENTATIONS = {"target_minus_prediction": "y - p", "prediction_minus_target": "p - y"}
SIGNS = {"eq13": "Eq. 13", "eq14": "Eq. 14"}
VARIANTS = {(True, False): "diagonal", (False, True): "two-sided", (True, True): "two-sided, diagonal"}
LEARNS = "Eq. 18, y - p, Eq. 13, detached, two-sided, diagonal"
INPUTS = {"constant": "a constant as input", "picture": "the picture as input"}
MATCHED = {
    BCE: ("binary cross-entropy", "#d9822b"),
    "literal": ("Eq. 18, best reading as printed", "#1f5fa8"),
    LEARNS: ("Eq. 18, two-sided, with its diagonal", "#4b9b5f"),
    WORKING[2]: ("kernel gradient, correlation", "#8a5fa8"),
}
"""Losses that are drawn: label and colour."""


@dataclass(frozen=True)
class Config:
    """Settings of Figure 12."""

    seed: int = 0
    celeba: str = "$GAUSSMIX_CELEBA"
    """A folder in CelebA's official layout; left out, and said so, where the variable is not set."""
    avatars: int = 4000
    """Built-in faces to draw."""
    repetitions: int = 5
    """Networks a learning rate, each with its own start and batches."""
    rates: tuple[float, ...] = (0.00001, 0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
    training_steps: int = 500
    batch_size: int = 64
    n_hidden: int = 32
    sigma: float = 1.0
    """Standard deviation of the kernel over the index of the attributes."""

    @property
    def folder(self) -> Path | None:
        """The CelebA folder, if one is given."""
        return given_folder(self.celeba)

    @property
    def n_steps(self) -> int:
        """Trainings, of all rates and repetitions at once."""
        return (1 if self.folder is None else 2) * sum(len(loss_names(kind)) + 2 for kind in INPUTS)

    def quick(self) -> Config:
        return replace(self, celeba="", avatars=100, repetitions=2, training_steps=30)


def _readings() -> dict[str, dict[str, Any]]:
    found = {}
    for variant, (first, order), (sign, equation), detach in itertools.product(
        [(False, False), *VARIANTS], ORIENTATIONS.items(), SIGNS.items(), (True, False)
    ):
        parts = ["Eq. 18", order, equation, "detached" if detach else "not detached", VARIANTS.get(variant, "")]
        flags = {"orientation": first, "sign": sign, "detach": detach, "diagonal": variant[0], "two_sided": variant[1]}
        found[", ".join(filter(None, parts))] = flags
    return found


READINGS = _readings()
LITERAL = tuple(name for name, flags in READINGS.items() if not (flags["diagonal"] or flags["two_sided"]))


def loss_names(kind: str) -> tuple[str, ...]:
    """Return the losses to train: with pictures, which cost more, the readings as printed and the one that learns."""
    return (BCE, *WORKING, *(READINGS if kind == "constant" else (*LITERAL, LEARNS)))


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(-1)


def _squared_error(logits: Tensor, targets: Tensor) -> Tensor:
    return (logits.sigmoid() - targets).square().sum(-1)


def _loss(name: str, y: Tensor, sigma: float) -> Loss:
    """The loss called ``name``, one number a picture; y (N, A) are the attributes trained on."""
    n = y.shape[1]
    if name in READINGS:
        return NGMGEntropyLoss(n, sigma=sigma, reduction="none", **READINGS[name])
    if name in (BCE, WORKING[0]):
        return _cross_entropy if name == BCE else _squared_error
    if name == WORKING[1]:
        return KernelGradientLoss(n, sigma=sigma, reduction="none")
    make = KernelGradientLoss if name == WORKING[2] else KernelBrierLoss
    return make(_correlation(y), reduction="none")


def _correlation(y: Tensor) -> Tensor:
    """(A, A) correlations of the attributes y (N, A), shrunk; 0 for an attribute that never changes."""
    shares = torch.corrcoef(y.T.double()).reshape(y.shape[1], -1).nan_to_num(0)
    return ((1 - SHRINKAGE) * (shares + shares.T) / 2).fill_diagonal_(1)


def _splits(data: AttributeDataset, kind: str, seed: int) -> tuple[Split, Split, Split]:
    """Train, valid and test parts, drawn at random."""
    y = torch.from_numpy(np.array(data.attributes, np.float32))
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(y)))
    n_held_out = max(1, round(HELD_OUT * len(y)))
    valid, test, fit = order.split([n_held_out, n_held_out, len(y) - 2 * n_held_out])
    if kind == "constant":
        x = torch.ones(len(y), 1)
    else:
        grey = data.images.reshape(-1, SIDE, SIZE // SIDE, SIDE, SIZE // SIDE, 3).mean((2, 4, 5), dtype=np.float32)
        x = torch.from_numpy(grey.reshape(len(y), -1))
        x = (x - x[fit].mean(0)) / (x[fit].std(0) + 1.0)  # of 255 grey levels
    return Split(x[fit], y[fit]), Split(x[valid], y[valid]), Split(x[test], y[test])


def compare_losses(
    data: AttributeDataset, kind: str, how: TrainingGrid, sigma: float, on_training: Callable[[], None]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train with every loss, then the cross-entropy and the best reading as printed in other reductions.

    ``sigma``: standard deviation of the kernel over the index of the attributes. Returns the numbers, and what the
    pictures need. "halves", "zeros", "training_frequencies" and "test_frequencies" are the test errors of these answers
    for every picture; no constant can have less than the last.
    """
    fit, valid, test = _splits(data, kind, how.seeds[0])

    def trained(loss: Loss) -> ErrorCurves:
        curves = train(loss, fit, valid, test, how)
        on_training()
        return curves

    def answered(p: Tensor) -> float:
        return float((p - test.y).square().sum(-1).mean())

    runs = {name: trained(_loss(name, fit.y, sigma)) for name in loss_names(kind)}
    literal, n = min(LITERAL, key=lambda name: runs[name].valid[-1].mean(-1).min()), fit.y.shape[1]
    summed = _loss(literal, fit.y, sigma)
    unmatched = {
        "BCE": trained(lambda z, y: _cross_entropy(z, y) / n).test.mean(-1),
        "mean": runs[literal].test.mean(-1),
        "sum": trained(lambda z, y: summed(z, y) * how.batch_size).test.mean(-1),
    }
    steps = runs[BCE].steps
    looks = {"early": len(steps) // 10, "end": len(steps) - 1}
    losses = {name: tune(curves, how.rates) for name, curves in runs.items()}
    numbers = {
        "pictures": len(data),
        "attributes": n,
        "training_frequencies": answered(fit.y.mean(0)),
        "test_frequencies": answered(test.y.mean(0)),
        "zeros": answered(torch.zeros(n)),
        "halves": n / 4,
        "best_literal_reading": literal,
        "best_literal": losses[literal],
        "losses": losses,
        "early_step": int(steps[looks["early"]]),
        "unmatched": {
            f"{rate:g}": {at: {key: finite(each[k, i]) for key, each in unmatched.items()} for at, k in looks.items()}
            for i, rate in enumerate(how.rates)
        },
        "unmatched_lead": unmatched_lead({k: each[list(looks.values())] for k, each in unmatched.items()}, how.rates),
    }
    names = {key: literal if key == "literal" else key for key in MATCHED}
    shown = {
        "title": f"{data.name.replace('celeba', 'CelebA')}, {n} attributes; {INPUTS[kind]}",
        "steps": steps,
        "constant": numbers["training_frequencies"],
        "matched": {key: runs[name].test[:, how.rates.index(losses[name]["rate"])] for key, name in names.items()},
        "unmatched": unmatched,
        "rates": how.rates,
    }
    return numbers, shown


def unmatched_lead(errors: Mapping[str, FloatArray], rates: tuple[float, ...]) -> dict[str, Any]:
    """Return up to which rate Eq. 18 lies below the cross-entropy with every rate, and where its early lead is largest.

    ``errors``: ``(2, R)`` by reduction, early and at the end.
    """
    counts = {key: np.cumprod(errors[key] < errors["BCE"], axis=1).sum(1) for key in ("mean", "sum")}
    largest = int(np.argmax(errors["BCE"][0] - errors["mean"][0]))
    return {
        key: {at: rates[count - 1] if count else None for at, count in zip(("early", "end"), each, strict=True)}
        for key, each in counts.items()
    } | {"largest": {"rate": rates[largest]} | {key: finite(each[0, largest]) for key, each in errors.items()}}


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Return the errors of every loss on each data set with each input; None for CelebA where it is not given."""
    one_more = counted(on_step)
    sets = [load_dataset("avatars", size=SIZE, count=config.avatars, seed=config.seed, progress=False)]
    if config.folder is not None:
        sets.append(load_dataset(config.folder, size=SIZE, progress=False))
    seeds = tuple(config.seed + i for i in range(config.repetitions))
    every = max(1, config.training_steps // 50)
    how = TrainingGrid(config.rates, seeds, config.training_steps, config.batch_size, config.n_hidden, every)
    found = {
        f"{data.name}, {kind}": compare_losses(data, kind, how, config.sigma, one_more)
        for data, kind in itertools.product(sets, INPUTS)
    }
    ours: dict[str, Any] = {case: numbers for case, (numbers, _) in found.items()}
    together = over_all(ours, config.rates)
    if config.folder is None:
        ours |= {f"celeba, {kind}": _blank(ours[f"avatars, {kind}"]) for kind in INPUTS}
        together["gain"]["celeba"] = _blank(together["gain"]["avatars"])
    return Measured(ours | {"all": together}, PAPER, {"shown": [shown for _, shown in found.values()]})


def over_all(ours: Mapping[str, Mapping[str, Any]], rates: tuple[float, ...]) -> dict[str, Any]:
    """Return what the picture as input gains, how often the best rate is on the edge, and where Eq. 18 ends."""
    tuned = [one for part in ours.values() for one in part["losses"].values()]
    at_edge = [one for one in tuned if one["rate"] in (rates[0], rates[-1])]
    pushed = [part["losses"][name] for part in ours.values() for name in LITERAL]
    errors = {
        case: {"BCE": part["losses"][BCE]["test_error"], "best_literal": part["best_literal"]["test_error"]}
        for case, part in ours.items()
    }
    return {
        "gain": {
            name: {key: error - errors[f"{name}, picture"][key] for key, error in errors[f"{name}, constant"].items()}
            for name in dict.fromkeys(case.partition(", ")[0] for case in ours)
        },
        "losses": len(tuned),
        "at_edge": len(at_edge),
        "at_edge_and_best_untrained": sum(one["early_stopped_at"] == 0 for one in at_edge),
        "largest_from_0_or_1": max(one["from_0_or_1_there"] for one in pushed),
        "test_error_there": [fold(one["test_error_there"] for one in pushed) for fold in (min, max)],
    }


def _blank(value: Any) -> Any:
    """The same with None for every number and name."""
    return {key: _blank(each) for key, each in value.items()} if isinstance(value, dict) else None


def draw(measured: Measured) -> dict[str, Figure]:
    """Return the errors by step at matched tuning, and without it on the last data with the picture as input."""
    shown = measured.seen["shown"]
    return {"": _draw_matched(shown), "-unmatched": _draw_unmatched(shown[-1])}


def _style(axes: Axes, title: str, constant: float) -> None:
    axes.axhline(constant, color="#555555", linestyle=":", linewidth=1, label="training frequencies")
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylim(bottom=0)


def _draw_matched(shown: list[dict[str, Any]]) -> Figure:
    """Error by step, each loss at its own best learning rate; two panels to a data set."""
    from matplotlib.figure import Figure

    rows = len(shown) // 2
    figure = Figure(figsize=(10, 0.6 + 3.4 * rows), layout="constrained")
    panels = figure.subplots(rows, 2, sharey="row", sharex=True, squeeze=False)
    for axes, part in zip(panels.flat, shown, strict=True):
        for key, curve in part["matched"].items():
            label, color = MATCHED[key]
            mean, spread = curve.mean(-1), curve.std(-1, ddof=1)
            axes.plot(part["steps"], mean, color=color, label=label)
            axes.fill_between(part["steps"], mean - spread, mean + spread, color=color, alpha=0.2, linewidth=0)
        _style(axes, part["title"], part["constant"])
    for axes in panels[:, 0]:
        axes.set_ylabel("squared error of a test picture")
    for axes in panels[-1]:
        axes.set_xlabel("training step")
    panels[0, 0].legend(frameon=False, fontsize=8)
    return figure


def _draw_unmatched(part: dict[str, Any]) -> Figure:
    """Error by step at one learning rate for all, for every second rate, the largest among them."""
    from matplotlib.figure import Figure

    rates = part["rates"]
    shown = range((len(rates) - 1) % 2, len(rates), 2)
    figure = Figure(figsize=(2.3 * len(shown) + 0.6, 3.4), layout="constrained")
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    lines = {
        "BCE": ("binary cross-entropy, mean", MATCHED[BCE][1], "-"),
        "mean": ("Eq. 18, mean over pictures", MATCHED["literal"][1], "-"),
        "sum": ("Eq. 18, sum over pictures", MATCHED["literal"][1], "--"),
    }
    for axes, i in zip(panels, shown, strict=True):
        for key, errors in part["unmatched"].items():
            label, color, style = lines[key]
            axes.plot(part["steps"], errors[:, i], color=color, linestyle=style, label=label)
        _style(axes, f"learning rate {rates[i]:g}", part["constant"])
        axes.set_xlabel("training step")
    panels[0].set_ylabel("squared error of a test picture")
    panels[0].legend(frameon=False, fontsize=8)
    return figure
