"""D Figure 12: the "negative Gaussian mixture gradient entropy" (Eq. 18) against the binary cross-entropy.

    error = sum_j (p_j - y_j)^2 of a picture of the test split, p = sigmoid(z) from a small network, y its attributes

The figure compares the two losses for one network on CelebA's attributes, without saying how either was tuned. Here
each loss, each reading of Eq. 18 among them, trains the same network on the same batches for the same number of steps,
with the learning rate out of one grid that does best on the valid split; and, apart from that, with the same learning
rate for all and other reductions, to see what could have drawn the figure.

Which losses Figure 12 of D compares, and how each is trained and tuned on one data set with one input.

Small networks that predict attributes, many at once: every learning rate and every seed in one batched product.

    z = W2 relu(W1 x + b1) + b2,   p = sigmoid(z),   error = sum_j (p_j - y_j)^2 of a picture

x: D numbers about a picture; y: its A attributes. Plain gradient descent with momentum on batches, the same batches for
all learning rates and all losses.

The two pictures of D Figure 12's page: error by training step, at matched tuning and without.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gaussmix._typing import FloatArray
from gaussmix.data.base import AttributeDataset
from gaussmix.data.load import load_dataset
from gaussmix.nn.losses import KernelBrierLoss, KernelGradientLoss, NGMGEntropyLoss
from reproduction.page import Cell, Picture, Result, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
        path = os.path.expandvars(self.celeba)
        return Path(path).expanduser() if path and "$" not in path else None

    @property
    def n_steps(self) -> int:
        """Trainings, of all rates and repetitions at once."""
        return (1 if self.folder is None else 2) * sum(map(n_trainings, INPUTS))

    def quick(self) -> Config:
        return replace(self, celeba="", avatars=100, repetitions=2, rates=(0.01, 0.1), training_steps=30)


def run(config: Config, on_step: Callable[[int], None]) -> Result:
    """Figure 12."""
    count = itertools.count(1)
    sets = [load_dataset("avatars", size=SIZE, count=config.avatars, seed=config.seed, progress=False)]
    if config.folder is not None:
        sets.append(load_dataset(config.folder, size=SIZE, progress=False))
    seeds = tuple(config.seed + i for i in range(config.repetitions))
    every = max(1, config.training_steps // 50)
    how = Training(config.rates, seeds, config.training_steps, config.batch_size, config.n_hidden, every)
    studies = [study(data, kind, how, config.sigma, lambda: on_step(next(count))) for data in sets for kind in INPUTS]
    return Result(
        title="D Figure 12: NGMG entropy against the binary cross-entropy",
        about="Squared error of predicted attributes, summed over the attributes of a picture, on test pictures: the "
        "binary cross-entropy, every reading of Eq. 18, and losses of that kind that have the right fixed point.",
        ours={f"{part.data}, {part.kind}": _numbers(part) for part in studies},
        paper={"claim": "NGMG entropy clearly shows better performance than binary cross-entropy"},
        tables=(*(_table(part) for part in studies), _unmatched_table(studies, config)),
        readings=_how_read(config, sets),
        findings=_findings(studies, config),
        pictures=(
            Picture(
                "",
                "As Figure 12, at matched tuning: mean squared error of a test picture over training steps, each loss "
                f"with its best learning rate, mean and spread (one standard deviation) of {config.repetitions} "
                "networks. Best reading of Eq. 18: the one of the eight as printed with the least valid error. "
                "Dotted: the training frequencies as the prediction.",
                lambda: draw_matched(studies),
            ),
            Picture(
                "-unmatched",
                "The same networks with one learning rate for both losses and the reductions that come to hand: the "
                "cross-entropy averaged over pictures and attributes (PyTorch's default), Eq. 18 averaged over the "
                "pictures (as printed) or summed. With small steps Eq. 18 lies lower because it moves further.",
                lambda: draw_unmatched(studies[-1], config.rates),
            ),
        ),
    )


def _numbers(part: Study) -> dict[str, Any]:
    return {
        "training_frequencies": part.constant,
        "test_frequencies": part.least,
        "zeros": part.zeros,
        "best_literal_reading": part.literal,
        "losses": {
            name: {
                "rate": one.rate,
                "test_error": _finite(one.last.mean()),
                "standard_deviation": _finite(one.last.std(ddof=1)),
                "early_stopped": _finite(one.stopped.mean()),
                "early_stopped_at": one.stop,
                "largest_finite_rate": one.pushed,
                "test_error_there": _finite(one.pushed_error),
                "from_0_or_1_there": _finite(one.pushed_undecided),
            }
            for name, one in part.tuned.items()
        },
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _table(part: Study) -> Table:
    names = [BCE, *WORKING, *LITERAL]
    rows: list[tuple[Cell, ...]] = [_row(name, part.tuned[name]) for name in names]
    if part.kind == "constant":
        for variant in VARIANTS.values():
            name = least_valid([name for name in part.tuned if name.endswith(f"detached, {variant}")], part.runs)
            rows.append(_row(f"{name} (best of 8)", part.tuned[name]))
    else:
        rows.append(_row(LEARNS, part.tuned[LEARNS]))
    answers = {
        "the training frequencies": part.constant,
        "the test frequencies: the least a constant can have": part.least,
        "0 for everything": part.zeros,
    }
    rows += [(name, None, error, *[None] * 6) for name, error in answers.items()]
    columns = (
        "loss",
        "learning rate",
        "test error",
        "sd",
        "best stop: test error",
        "at step",
        "largest rate",
        "test error there",
        "p from 0 or 1 there",
    )
    return Table(f"{part.label}, {part.n_attributes} attributes, {INPUTS[part.kind]}", columns, tuple(rows))


def _row(name: str, one: Tuned) -> tuple[Cell, ...]:
    last, spread, stopped = map(_finite, (one.last.mean(), one.last.std(ddof=1), one.stopped.mean()))
    pushed = one.pushed, _finite(one.pushed_error), _finite(one.pushed_undecided)
    return name, one.rate, last, spread, stopped, float(one.stop), *pushed


def _unmatched_table(studies: list[Study], config: Config) -> Table:
    rows = []
    for part in studies:
        for i, rate in enumerate(config.rates):
            errors = part.unmatched(i)
            early = len(part.steps) // 10
            rows.append(
                (
                    f"{part.label}, {part.kind}", rate,
                    *(_finite(errors[key][at]) for at in (early, -1) for key in ("BCE", "mean", "sum")),
                )
            )  # fmt: skip
    early_step = int(studies[0].steps[len(studies[0].steps) // 10])
    columns = [
        f"{name}, {when}"
        for when in (f"step {early_step}", "end")
        for name in ("BCE mean", "Eq. 18 mean", "Eq. 18 sum")
    ]
    return Table(
        "Not matched: one learning rate for all, other reductions (test error)",
        ("data, input", "learning rate", *columns),
        tuple(rows),
    )


def _how_read(config: Config, sets: list[AttributeDataset]) -> tuple[str, ...]:
    missing = "" if len(sets) > 1 else (
        " CelebA, the paper's data, was left out: it may not be passed on with this project. Set GAUSSMIX_CELEBA to a "
        "folder in its official layout to have it here as well."
    )  # fmt: skip
    names = " and ".join(f"{written(data.name)} ({len(data)} pictures)" for data in sets)
    return (
        f"Data: {names}, split at random, a tenth each for valid and test: the data set's own splits may differ in the "
        f"frequencies of their attributes.{missing}",
        '"A simple neural network with single input" is read in two ways: an input that says nothing (a constant), so '
        f"that only the frequencies of the attributes can be learnt; and the picture, in grey, {SIDE} x {SIDE}. The "
        f"network has one hidden layer of {config.n_hidden} and A logits.",
        "The paper names no optimizer, learning rate, batch size or number of steps. Here: gradient descent with "
        f"momentum 0.9, {config.training_steps} steps on batches of {config.batch_size}, {config.repetitions} networks "
        f"a learning rate; the rate out of {', '.join(f'{rate:g}' for rate in config.rates)} that has the least valid "
        'error at the end, for each loss by itself. "Best stop" also chooses the step that way. The largest rate is '
        "the largest of these with which no network left the range of numbers; there, p from 0 or 1 is how far a "
        "probability is from the nearer of the two at the end, on average.",
        "Eq. 18 leaves open which of target and prediction comes first in L (y - p or p - y), the sign of NGMG (Eq. 13 "
        "against Eq. 14) and whether NGMG is differentiated (not detached): eight readings as printed, L one-sided "
        "(Eq. 11) and the kernel's diagonal zero (Eq. 14). Variants keep the diagonal, both signs of L, or both.",
        f"NGMG's kernel is a normal density of standard deviation {config.sigma:g} over the index of the attributes, "
        "in the order of the data set's list; sigma is not given for this experiment. The correlation kernel is "
        f"that of the training attributes, with {100 * SHRINKAGE:g} % of the identity mixed in.",
        "All losses are summed over the attributes of a picture and averaged over the batch, except where it says "
        "otherwise.",
    )


def _findings(studies: list[Study], config: Config) -> tuple[str, ...]:
    def listed(value: Callable[[Study], float]) -> str:
        return ", ".join(f"{value(part):.3g}" for part in studies)

    def last(name: str) -> str:
        return listed(lambda part: part.tuned[name].last.mean())

    def gains(name: Callable[[Study], str]) -> str:
        errors = [part.tuned[name(part)].last.mean() for part in studies]
        return ", ".join(f"{a - b:.2f}" for a, b in zip(errors[::2], errors[1::2], strict=True))

    places = ", ".join(f"{part.label} with {INPUTS[part.kind]}" for part in studies)
    ahead = [part for part in studies if part.tuned[part.literal].last.mean() < part.tuned[BCE].last.mean()]
    verdict = (
        f"At matched tuning Eq. 18 is ahead in {len(ahead)} of {len(studies)} cases"
        if ahead
        else "Figure 12 does not reproduce at matched tuning"
    )
    partly = [name for name in READINGS if name.endswith(("detached, diagonal", "detached, two-sided"))]
    partial = [part.tuned[least_valid(partly, part.runs)].last.mean() for part in studies[::2]]
    pushed = [part.tuned[name] for part in studies for name in LITERAL]
    return (
        f"{verdict}. Test error ({places}): binary cross-entropy {last(BCE)}; best of the eight readings of Eq. 18 as "
        f"printed {listed(lambda part: part.tuned[part.literal].last.mean())}; the training frequencies, without any "
        f"network, {listed(lambda part: part.constant)}; 0 for everything {listed(lambda part: part.zeros)}.",
        "Stopped where the valid error is least, that reading has "
        f"{listed(lambda part: part.tuned[part.literal].stopped.mean())}: on the way from 1/2 to 0 it passes near the "
        "frequencies of rare attributes. The picture as input instead of a constant lowers the error by "
        f"{gains(lambda part: BCE)} with the cross-entropy, by {gains(lambda part: part.literal)} with that reading.",
        "Small rates stop on the way. The readings as printed run towards 0 and 1 (`NGMGEntropyLoss` says why for "
        "each): with the largest rate that does not diverge, a probability is at most "
        f"{max(one.pushed_undecided for one in pushed):.2g} from 0 or 1 on average after {config.training_steps} "
        f"steps, for each reading and case, and the test error "
        f"{min(one.pushed_error for one in pushed):.3g} to {max(one.pushed_error for one in pushed):.3g}.",
        "The diagonal alone, or both signs alone, changes little: with a constant as input the best of these has "
        f"{', '.join(f'{error:.3g}' for error in partial)}. With both signs of L, the diagonal kept, NGMG detached and "
        f"the sign right, Eq. 18 learns: {last(LEARNS)}. Its gradient is then K (p - y) (1 - p).",
        _edges(studies, config.rates),
        "Relatives with the right fixed point come near the cross-entropy: the gradient K (p - y) with K over the "
        f"index {last(WORKING[1])}, with K the correlation of the attributes {last(WORKING[2])}; "
        f"(p - y)^T K (p - y) / 2 {last(WORKING[3])}; plain squared error {last(WORKING[0])}. No kernel is needed: the "
        "default stays the cross-entropy.",
        _what_drew_it(studies, config.rates),
    )


def _edges(studies: list[Study], rates: tuple[float, ...]) -> str:
    """Where the grid of rates ends too early."""
    tuned = [(f"{name} ({part.label}, {part.kind})", one) for part in studies for name, one in part.tuned.items()]
    at_edge = [(name, one) for name, one in tuned if one.rate in (rates[0], rates[-1])]
    others = [name for name, one in at_edge if one.stop > 0]
    return (
        f"The best learning rate lies on the edge of the grid for {len(at_edge)} of {len(tuned)} trained losses. For "
        f"{len(at_edge) - len(others)} of them the valid error is least at step 0: not to train at all is best, and a "
        f"smaller rate does less harm. The others: {'; '.join(others) or 'none'}."
    )


def _what_drew_it(studies: list[Study], rates: tuple[float, ...]) -> str:
    early = len(studies[0].steps) // 10
    found = [[part.unmatched(i) for i in range(len(rates))] for part in studies]

    def up_to(at: int, reduction: str) -> str:
        below = [[one[reduction][at] < one["BCE"][at] for one in case] for case in found]
        counts = [int(np.cumprod(case).sum()) for case in below]
        return ", ".join(f"{rates[k - 1]:g}" if k else "none" for k in counts)

    leads = [int(np.argmax([one["BCE"][early] - one["mean"][early] for one in case])) for case in found]

    def there(key: str) -> str:
        return ", ".join(f"{case[i][key][early]:.3g}" for case, i in zip(found, leads, strict=True))

    halves = ", ".join(f"{part.n_attributes / 4:.3g}" for part in studies)
    zeros = ", ".join(f"{part.zeros:.3g}" for part in studies)
    return (
        "What could have drawn Figure 12: one small learning rate for both losses and PyTorch's mean, which divides "
        "the cross-entropy by the number of attributes as well. Eq. 18 averaged over pictures lies below that "
        f"cross-entropy after {studies[0].steps[early]} steps with every rate up to {up_to(early, 'mean')}, at the end "
        f"up to {up_to(-1, 'mean')}; summed over pictures up to {up_to(early, 'sum')} and {up_to(-1, 'sum')}. Its lead "
        f"after {studies[0].steps[early]} steps is largest with {', '.join(f'{rates[i]:g}' for i in leads)}: "
        f"{there('mean')} against {there('BCE')}; 1/2 for everything has {halves}, 0 for everything {zeros}. There Eq. "
        "18 is on its way from 1/2 to 0, close to the frequencies of rare attributes, while the cross-entropy, whose "
        "steps are shorter by the number of attributes, is still nearer to 1/2."
    )


Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits and targets (..., A) to losses (...), one a picture."""
MOMENTUM = 0.9


@dataclass(frozen=True)
class Pictures:
    """One split: x (N, D) and attributes y (N, A) in 0..1, float32."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Training:
    """How every network is trained: the same for all losses."""

    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    n_steps: int
    batch_size: int
    n_hidden: int
    every: int
    """Steps between two looks at the errors."""


@dataclass(frozen=True)
class Curves:
    """Mean squared error of a picture at `steps` (T,), by rate and seed: (T, R, S); infinite where it diverged."""

    steps: NDArray[np.int64]
    valid: FloatArray
    test: FloatArray
    undecided: FloatArray
    """How far a probability is from the nearer of 0 and 1: mean over attributes and pictures of the test split."""


def train(loss: Loss, fit: Pictures, valid: Pictures, test: Pictures, how: Training) -> Curves:
    """Train a network for each rate and seed, looking at the errors on the way."""
    weights = _start(fit, how)
    speed = [torch.zeros_like(weight) for weight in weights]
    rate = torch.tensor(how.rates).repeat_interleave(len(how.seeds))[:, None, None]
    orders = [np.random.default_rng([seed, 1]) for seed in how.seeds]
    looks, found = [], []
    for step in range(how.n_steps + 1):
        if step % how.every == 0 or step == how.n_steps:
            looks.append(step)
            found.append([_look(weights, part, how) for part in (valid, test)])
        if step == how.n_steps:
            break
        picked = torch.from_numpy(np.stack([rng.integers(0, len(fit.y), how.batch_size) for rng in orders]))
        x, y = (part[picked].repeat(len(how.rates), 1, 1) for part in (fit.x, fit.y))
        slopes = torch.autograd.grad(loss(_logits(weights, x), y).mean(-1).sum(), weights)
        with torch.no_grad():
            for weight, velocity, slope in zip(weights, speed, slopes, strict=True):
                velocity.mul_(MOMENTUM).add_(slope)
                weight.sub_(rate * velocity)
    seen = np.array(found, np.float64)
    seen = np.where(np.isfinite(seen), seen, np.inf)
    return Curves(np.array(looks), seen[:, 0, 0], seen[:, 1, 0], seen[:, 1, 1])


def _start(fit: Pictures, how: Training) -> list[Tensor]:
    """W1 (M, D, H), b1, W2 (M, H, A), b2 of the M networks, rates first; alike for all rates."""
    rows = []
    for seed in how.seeds:
        generator = torch.Generator().manual_seed(seed)
        d, h, a = fit.x.shape[1], how.n_hidden, fit.y.shape[1]
        first = torch.randn(d, h, generator=generator) * (2 / d) ** 0.5
        second = torch.randn(h, a, generator=generator) * 0.1 / h**0.5  # logits start near 0
        rows.append((first, torch.zeros(1, h), second, torch.zeros(1, a)))
    stacked = [torch.stack(parts).repeat(len(how.rates), 1, 1) for parts in zip(*rows, strict=True)]
    return [weight.requires_grad_() for weight in stacked]


def _logits(weights: list[Tensor], x: Tensor) -> Tensor:
    """(M, N, A) logits of x (M, N, D)."""
    w1, b1, w2, b2 = weights
    return torch.baddbmm(b2, torch.baddbmm(b1, x, w1).relu(), w2)


@torch.no_grad()
def _look(weights: list[Tensor], part: Pictures, how: Training) -> FloatArray:
    """(2, R, S) means over pictures: of the squared error, and of how far a probability is from 0 and 1."""
    p = _logits(weights, part.x.expand(len(weights[0]), -1, -1)).sigmoid()
    error = (p - part.y).square().sum(-1).mean(-1)
    undecided = torch.minimum(p, 1 - p).mean((-2, -1))
    return torch.stack([error, undecided]).reshape(2, len(how.rates), len(how.seeds)).double().numpy()


COLORS = {BCE: "#d9822b", "literal": "#1f5fa8", LEARNS: "#4b9b5f", WORKING[2]: "#8a5fa8"}


def _style(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylim(bottom=0)


def draw_matched(studies: list[Study]) -> Figure:
    """Error by step, each loss at its own best learning rate; two studies to a data set."""
    from matplotlib.figure import Figure

    rows = len(studies) // 2
    figure = Figure(figsize=(10, 0.6 + 3.4 * rows), layout="constrained")
    panels = figure.subplots(rows, 2, sharey="row", sharex=True, squeeze=False)
    names = {
        BCE: "binary cross-entropy",
        "literal": "Eq. 18, best reading as printed",
        LEARNS: "Eq. 18, two-sided, with its diagonal",
        WORKING[2]: "kernel gradient, correlation",
    }
    for axes, part in zip(panels.flat, studies, strict=True):
        for key, label in names.items():
            curve = part.tuned[part.literal if key == "literal" else key].curve
            mean, spread = curve.mean(-1), curve.std(-1, ddof=1)
            axes.plot(part.steps, mean, color=COLORS[key], label=label)
            axes.fill_between(part.steps, mean - spread, mean + spread, color=COLORS[key], alpha=0.2, linewidth=0)
        axes.axhline(part.constant, color="#555555", linestyle=":", linewidth=1, label="training frequencies")
        _style(axes, f"{part.label}, {part.n_attributes} attributes; {INPUTS[part.kind]}")
    for axes in panels[:, 0]:
        axes.set_ylabel("squared error of a test picture")
    for axes in panels[-1]:
        axes.set_xlabel("training step")
    panels[0, 0].legend(frameon=False, fontsize=8)
    return figure


def draw_unmatched(part: Study, rates: tuple[float, ...]) -> Figure:
    """Error by step at one learning rate for all, for every second rate, the largest among them."""
    from matplotlib.figure import Figure

    shown = range((len(rates) - 1) % 2, len(rates), 2)
    figure = Figure(figsize=(3.0 * len(shown) + 0.6, 3.6), layout="constrained")
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    lines = {
        "BCE": ("binary cross-entropy, mean", COLORS[BCE], "-"),
        "mean": ("Eq. 18, mean over pictures", COLORS["literal"], "-"),
        "sum": ("Eq. 18, sum over pictures", COLORS["literal"], "--"),
    }
    for axes, i in zip(panels, shown, strict=True):
        for key, errors in part.unmatched(i).items():
            label, color, style = lines[key]
            axes.plot(part.steps, errors, color=color, linestyle=style, label=label)
        axes.axhline(part.constant, color="#555555", linestyle=":", linewidth=1, label="training frequencies")
        _style(axes, f"learning rate {rates[i]:g}")
        axes.set_xlabel("training step")
    panels[0].set_ylabel("squared error of a test picture")
    panels[0].legend(frameon=False, fontsize=8)
    return figure
