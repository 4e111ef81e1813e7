"""A mean over few repetitions with its 95 % interval, and what it says of a claim.

    mean +- t_{.975, n-1} s / sqrt(n),        s the standard deviation over the n repetitions

Student's t: with three repetitions the factor is 4.3 / sqrt(3) = 2.5 standard deviations. Two treatments that share
their batches, noise and starting weights seed by seed are compared by their differences, seed by seed.

A claim about the sign of a mean holds or fails if the interval lies on one side of 0; otherwise it is too small to see,
and the smallest mean that would have been seen says how small. With one repetition it is open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.stats import nct
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


def smallest_seen(gaps: ArrayLike, power: float = 0.8) -> float:
    """The true mean that n differences ``(n,)`` of this spread show to differ from 0, at 95 %, with this ``power``.

    d s / sqrt(n), with d such that a noncentral t of n - 1 degrees of freedom exceeds t_{.975, n-1} that often: a
    difference of this size would have been missed once in five studies. NaN with fewer than two.
    """
    gaps = np.asarray(gaps, float)
    n = len(gaps)
    if n < 2:
        return float("nan")
    limit = student.ppf(0.975, n - 1)
    shift = brentq(lambda d: nct.sf(limit, n - 1, d) - power, 0, 10 * limit)
    return float(shift * gaps.std(ddof=1) / np.sqrt(n))


def verdict(gaps: ArrayLike, sign: int) -> str:
    """On the claim that differences ``(n,)``, seed by seed, have this sign: by their 95 % interval."""
    gaps = np.asarray(gaps, float)
    if len(gaps) < 2:
        return "open"
    mean, half = interval(gaps)
    if abs(mean) <= half:
        return "too small to see"
    return "holds" if sign * mean > 0 else "fails"


def summaries(table: Table, measures: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """By arm and measure: the mean over the seeds, half of its 95 % interval, and the value of each run; None for an
    arm without runs. Raises ValueError if there are none at all and the ``measures`` are not named."""
    measures = next((list(row) for rows in table.values() for row in rows.values()), measures)
    if not measures:
        raise ValueError(f"no run of {', '.join(table)} is finished; leave out --no-training")

    def of(rows: Mapping[int, Row], name: str) -> dict[str, Any]:
        values = [row[name] for row in rows.values()]
        return {**interval(values)._asdict(), "runs": values} if values else {"mean": None, "half": None, "runs": []}

    return {arm: {**{n: of(rows, n) for n in measures}, "seeds": len(rows)} for arm, rows in table.items()}


def below(values: ArrayLike, bound: float) -> dict[str, Any]:
    """Mean and interval of values ``(n,)``, one a seed, and the verdict on the claim that they lie below ``bound``."""
    values = np.asarray(values, float)
    found = interval(values)._asdict() if len(values) else {"mean": None, "half": None}
    return {**found, "verdict": verdict(values - bound, -1)}


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
