"""A mean over few repetitions with its 95 % interval, and the error of a number taken from many pictures.

    mean +- t_{.975, n-1} s / sqrt(n),        s the standard deviation over the n repetitions

Student's t: with three repetitions the factor is 4.3 / sqrt(3) = 2.5 standard deviations. Two treatments that share
their batches, noise and starting weights seed by seed are compared by their differences, seed by seed.

The jackknife's error is over G groups: (G - 1)/G times the sum of squares of the G values with one group left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

Row = dict[str, float]
Table = Mapping[str, Mapping[int, Row]]
"""By what is compared, by seed: measures by name."""


class Interval(NamedTuple):
    """``mean`` and the half width of its 95 % interval; NaN for the latter with fewer than two values."""

    mean: float
    half: float


def interval(values: ArrayLike) -> Interval:
    """Of the values of n repetitions, ``(n,)``."""
    values = np.asarray(values, float)
    n = len(values)
    if n < 2:
        return Interval(float(values.mean()), float("nan"))
    return Interval(float(values.mean()), float(student.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n)))


def difference(values: ArrayLike, control: ArrayLike) -> Interval:
    """Of ``values`` minus ``control``, ``(n,)`` each, seed by seed."""
    return interval(np.asarray(values, float) - np.asarray(control, float))


def jackknife(statistic: Callable[[NDArray[np.int64]], float], count: int, groups: int = 20) -> float:
    """Standard error of a number computed from the pictures at the given positions, of ``count`` in random order."""
    positions, groups = np.arange(count), min(groups, count)
    without = np.array([statistic(positions[positions % groups != g]) for g in range(groups)])
    return float(np.sqrt((groups - 1) / groups * np.square(without - without.mean()).sum()))


def smallest_seen(gaps: ArrayLike, power: float = 0.8) -> float:
    """The true mean that n differences ``(n,)`` of this spread show to differ from 0, at 95 %, with this ``power``.

    (t_{.975, n-1} + t_{power, n-1}) s / sqrt(n): a difference of this size or more would have been missed once in five
    studies. NaN with fewer than two.
    """
    gaps = np.asarray(gaps, float)
    n = len(gaps)
    if n < 2:
        return float("nan")
    return float((student.ppf(0.975, n - 1) + student.ppf(power, n - 1)) * gaps.std(ddof=1) / np.sqrt(n))


def verdict(gaps: ArrayLike, sign: int) -> str:
    """On the claim that differences ``(n,)``, seed by seed, have this sign: by their 95 % interval."""
    gaps = np.asarray(gaps, float)
    if len(gaps) < 2:
        return "open"
    mean, half = interval(gaps)
    if abs(mean) <= half:
        return "too small to see"
    return "holds" if sign * mean > 0 else "fails"


def summaries(table: Table) -> dict[str, dict[str, Any]]:
    """By arm and measure: the mean over the seeds, half of its 95 % interval, and the value of each run; None for an
    arm without runs. Raises ValueError if there are none at all."""
    measures = next((list(row) for rows in table.values() for row in rows.values()), None)
    if measures is None:
        raise ValueError(f"no run of {', '.join(table)} is finished; leave out --no-training")

    def of(rows: Mapping[int, Row], name: str) -> dict[str, Any]:
        values = [row[name] for row in rows.values()]
        return {**interval(values)._asdict(), "runs": values} if values else {"mean": None, "half": None, "runs": []}

    return {arm: {**{n: of(rows, n) for n in measures}, "seeds": len(rows)} for arm, rows in table.items()}


def compare(table: Table, arm: str, control: str, measure: str, sign: int) -> dict[str, Any]:
    """The ``arm`` minus its ``control`` in one measure, over the seeds that both have.

    ``mean`` and ``half`` of the 95 % interval; ``sees``, the smallest difference that so many seeds would have found in
    four of five studies; and the ``verdict`` on the claim that the difference has this ``sign``.
    """
    both = [seed for seed in table[arm] if seed in table[control]]
    values, others = ([table[name][seed][measure] for seed in both] for name in (arm, control))
    if not both:
        return {"mean": None, "half": None, "sees": None, "seeds": 0, "verdict": verdict([], sign)}
    gaps = np.subtract(values, others)
    return {
        **difference(values, others)._asdict(),
        "sees": smallest_seen(gaps),
        "seeds": len(both),
        "verdict": verdict(gaps, sign),
    }
