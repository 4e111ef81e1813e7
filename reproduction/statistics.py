"""A mean over few repetitions with its 95 % interval, and the error of a number taken from many pictures.

    mean +- t_{.975, n-1} s / sqrt(n),        s the standard deviation over the n repetitions

Student's t: with three repetitions the factor is 4.3 / sqrt(3) = 2.5 standard deviations. Two treatments that share
their batches, noise and starting weights seed by seed are compared by their differences, seed by seed.

The jackknife's error is over G groups: (G - 1)/G times the sum of squares of the G values with one group left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student


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
