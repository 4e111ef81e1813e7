"""D Figure 12: the "negative Gaussian mixture gradient entropy" (Eq. 18) against the binary cross-entropy.

    error = sum_j (p_j - y_j)^2 of a picture of the test split, p = sigmoid(z) from a small network, y its attributes

The figure compares the two losses for one network on CelebA's attributes, without saying how either was tuned. Here
each loss, each reading of Eq. 18 among them, trains the same network on the same batches for the same number of steps,
with the learning rate out of one grid that does best on the valid split; and, apart from that, with the same learning
rate for all and other reductions, to see what could have drawn the figure.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gaussmix.data.load import AttributeDataset, load_dataset
from gaussmix.papers.attribute_nets import Training
from gaussmix.papers.attribute_pictures import draw_matched, draw_unmatched
from gaussmix.papers.attribute_study import (
    BCE,
    INPUTS,
    LEARNS,
    LITERAL,
    READINGS,
    SHRINKAGE,
    SIDE,
    SIZE,
    VARIANTS,
    WORKING,
    Study,
    Tuned,
    least_valid,
    n_trainings,
    study,
    written,
)
from gaussmix.papers.result import Cell, Picture, Result, Table


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
