"""Which losses Figure 12 of D compares, and how each is trained and tuned on one data set with one input."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gaussmix.data.load import AttributeDataset
from gaussmix.nn.losses import KernelBrierLoss, KernelGradientLoss, NGMGEntropyLoss
from gaussmix.papers.attribute_nets import Curves, Loss, Pictures, Training, train

SIZE, SIDE = 32, 16  # pictures are read at SIZE pixels and averaged to SIDE
HELD_OUT = 0.1  # shares of the valid and the test part
SHRINKAGE = 0.1  # share of the identity in the correlation kernel: hair colours, hats and baldness add up to 1
BCE, WORKING = "BCE", ("squared error", "kernel gradient, index", "kernel gradient, correlation", "kernel Brier")
ORIENTATIONS = {"target_minus_prediction": "y - p", "prediction_minus_target": "p - y"}
SIGNS = {"eq13": "Eq. 13", "eq14": "Eq. 14"}
VARIANTS = {(True, False): "diagonal", (False, True): "two-sided", (True, True): "two-sided, diagonal"}
LEARNS = "Eq. 18, y - p, Eq. 13, detached, two-sided, diagonal"
INPUTS = {"constant": "a constant as input", "picture": "the picture as input"}
UNMATCHED_BCE, UNMATCHED_SUM = "unmatched BCE", "unmatched sum"


class Tuned(NamedTuple):
    """One loss with its learning rate; errors (S,) on the test split, one a repetition."""

    rate: float
    curve: np.ndarray
    """(T, S) on the way."""
    last: np.ndarray
    stopped: np.ndarray
    """Errors where rate and step are both the best ones on the valid split."""
    stop: int
    pushed: float
    """The largest rate with which no network diverged."""
    pushed_error: float
    """At the end, with that rate; means over the repetitions."""
    pushed_undecided: float
    """How far a probability is from the nearer of 0 and 1, likewise."""


class Study(NamedTuple):
    """One data set with one input."""

    data: str
    kind: str
    n_attributes: int
    constant: float
    """Test error of the training frequencies."""
    least: float
    """Test error of the test split's own frequencies: the least a constant can have."""
    zeros: float
    """Test error of a probability of 0 for everything."""
    steps: np.ndarray
    runs: dict[str, Curves]
    tuned: dict[str, Tuned]
    literal: str
    """The reading as printed that does best on the valid split."""

    @property
    def label(self) -> str:
        """The data set's name as it is written."""
        return written(self.data)

    def unmatched(self, rate: int) -> dict[str, np.ndarray]:
        """(T,) mean test errors at one learning rate for all: cross-entropy, Eq. 18 averaged and summed."""
        names = {"BCE": UNMATCHED_BCE, "mean": self.literal, "sum": UNMATCHED_SUM}
        return {key: self.runs[name].test[:, rate].mean(-1) for key, name in names.items()}


def written(name: str) -> str:
    """A data set's name as it is written."""
    return "CelebA" if name == "celeba" else name


def reading_name(orientation: str, sign: str, detach: bool, variant: tuple[bool, bool] = (False, False)) -> str:
    """What a reading of Eq. 18 is called on the page."""
    parts = ["Eq. 18", ORIENTATIONS[orientation], SIGNS[sign], "detached" if detach else "not detached"]
    return ", ".join([*parts, VARIANTS[variant]] if any(variant) else parts)


def _readings() -> dict[str, dict[str, Any]]:
    choices = itertools.product([(False, False), *VARIANTS], ORIENTATIONS, SIGNS, (True, False))
    return {
        reading_name(orientation, sign, detach, variant): {
            "orientation": orientation, "sign": sign, "detach": detach, "diagonal": variant[0], "two_sided": variant[1],
        }
        for variant, orientation, sign, detach in choices
    }  # fmt: skip


READINGS = _readings()
LITERAL = tuple(name for name, flags in READINGS.items() if not (flags["diagonal"] or flags["two_sided"]))


def loss_names(kind: str) -> tuple[str, ...]:
    """Losses that are trained: with pictures, which cost more, the readings as printed and the one that learns."""
    return (BCE, *WORKING, *(READINGS if kind == "constant" else (*LITERAL, LEARNS)))


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(-1)


def _loss(name: str, y: Tensor, sigma: float) -> Loss:
    """The loss called `name`, one number a picture; y (N, A) are the attributes trained on."""
    n = y.shape[1]
    if name in READINGS:
        return NGMGEntropyLoss(n, sigma=sigma, reduction="none", **READINGS[name])
    correlation = _correlation(y)
    makers: dict[str, Callable[[], Loss]] = {
        BCE: lambda: _cross_entropy,
        WORKING[0]: lambda: lambda logits, targets: (logits.sigmoid() - targets).square().sum(-1),
        WORKING[1]: lambda: KernelGradientLoss(n, sigma=sigma, reduction="none"),
        WORKING[2]: lambda: KernelGradientLoss(correlation, reduction="none"),
        WORKING[3]: lambda: KernelBrierLoss(correlation, reduction="none"),
    }
    return makers[name]()


def _correlation(y: Tensor) -> Tensor:
    """(A, A) correlations of the attributes y (N, A), shrunk; 0 for an attribute that never changes."""
    shares = torch.corrcoef(y.T.double()).reshape(y.shape[1], -1).nan_to_num(0)
    return ((1 - SHRINKAGE) * (shares + shares.T) / 2).fill_diagonal_(1)


def _splits(data: AttributeDataset, kind: str, seed: int) -> tuple[Pictures, Pictures, Pictures]:
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
    return Pictures(x[fit], y[fit]), Pictures(x[valid], y[valid]), Pictures(x[test], y[test])


def tune(curves: Curves, rates: tuple[float, ...]) -> Tuned:
    """The rate with the least valid error at the end, the rate and step with the least anywhere, the largest rate."""
    valid = curves.valid.mean(-1)
    rate = int(valid[-1].argmin())
    stop, stop_rate = np.unravel_index(int(valid.argmin()), valid.shape)
    pushed = np.flatnonzero(np.isfinite(curves.test[-1]).all(-1)).max(initial=0)
    return Tuned(
        rate=rates[rate],
        curve=curves.test[:, rate],
        last=curves.test[-1, rate],
        stopped=curves.test[stop, stop_rate],
        stop=int(curves.steps[stop]),
        pushed=rates[pushed],
        pushed_error=float(curves.test[-1, pushed].mean()),
        pushed_undecided=float(curves.undecided[-1, pushed].mean()),
    )


def least_valid(names: Iterable[str], runs: dict[str, Curves]) -> str:
    """The loss with the least valid error at the end, at its best rate."""
    return min(names, key=lambda name: runs[name].valid[-1].mean(-1).min())


def n_trainings(kind: str) -> int:
    """How often `study` calls `on_training`."""
    return len(loss_names(kind)) + 2


def study(data: AttributeDataset, kind: str, how: Training, sigma: float, on_training: Callable[[], None]) -> Study:
    """Train with every loss, then the cross-entropy and the best reading as printed in other reductions.

    `sigma`: standard deviation of the kernel over the index of the attributes.
    """
    fit, valid, test = _splits(data, kind, how.seeds[0])
    runs: dict[str, Curves] = {}

    def add(name: str, loss: Loss) -> None:
        runs[name] = train(loss, fit, valid, test, how)
        on_training()

    for name in loss_names(kind):
        add(name, _loss(name, fit.y, sigma))
    tuned = {name: tune(curves, how.rates) for name, curves in runs.items()}
    literal = least_valid(LITERAL, runs)
    n = fit.y.shape[1]
    summed = _loss(literal, fit.y, sigma)
    add(UNMATCHED_BCE, lambda z, y: _cross_entropy(z, y) / n)
    add(UNMATCHED_SUM, lambda z, y: summed(z, y) * how.batch_size)
    answers = fit.y.mean(0), test.y.mean(0), torch.zeros(n)
    constant, least, zeros = (float((p - test.y).square().sum(-1).mean()) for p in answers)
    return Study(data.name, kind, n, constant, least, zeros, runs[BCE].steps, runs, tuned, literal)
