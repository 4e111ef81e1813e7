"""Heaps: people write 5, 10 and 15 more often than 7, 8 and 9. How it shows in counts on a lattice, and what is known.

On a lattice of rounded values a smooth density gives the residues modulo any period P equal shares. Heaping is a
residue class that holds more, or less, than the moving average over a period says: by more than chance and by more
than a few percent; in the even and in the odd periods alike, as a lone spike is no heaping; and by more than the
residues beside it. It may be nested: minutes are heaped at 5, then at 15, then at 30.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gaussmix._typing import FloatArray, IntArray

PERIODS = (
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    12,
    14,
    15,
    16,
    20,
    24,
    25,
    30,
    32,
    50,
    60,
    64,
    100,
    120,
    128,
    250,
    256,
    500,
    1000,
)
_NESTED = 4  # heaps within heaps
_WINDOW = 4096  # lattice steps on either side of the median: enough to see a period
_AMPLITUDE = 0.15  # of the level
_DEVIATIONS, _IN_HALF = 6.0, 3.0  # standard deviations of chance, over all and in every second period
_WITHIN, _FEW = 0.5, 12  # of these suffice for heaps of up to so many heaps ...
_TESTS = 1000.0  # ... if chance does not reach that far in a thousandth of the columns, over all residues
_SHARP = 0.45  # of its excess must a residue have over those beside it
_PERIODS_IN_RANGE = 3.5
_STRONGER = 1.5  # times as strong must a longer period be to be preferred
_EMPTY = 0.3  # of the typical residue: residues with less are not populated


@dataclass(frozen=True)
class Heaping:
    """Whole periods start at the lattice steps k with (k + phase) % period == 0; heaps lie in their middles."""

    period: int = 1
    phase: int = 0

    def marks(self, m: int) -> IntArray:
        """Where periods start among m steps, with 0 and m."""
        return np.unique(np.r_[0, np.arange(-self.phase % self.period, m, self.period), m])


def find_heaping(counts: FloatArray, nested: int = _NESTED) -> Heaping:
    """The longest period of heaping in counts (m,) on a lattice; period 1 where there is none."""
    middle = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2))
    begin = max(middle - _WINDOW, 0)
    counts = counts[begin : middle + _WINDOW]
    period, phase = 1, 0
    for _ in range(nested):
        joined = np.bincount((np.arange(len(counts)) + phase) // period, counts).astype(np.float64)
        below = np.cumsum(joined)
        first, last, q10, q90 = np.searchsorted(below, below[-1] * np.array([0.005, 0.995, 0.1, 0.9])).tolist()
        found = _strongest(joined[first : last + 1], 1.28 * (q90 - q10), nested=period > 1)
        if found is None:
            break
        factor, share = found
        turn = np.angle(share @ np.exp(2j * np.pi * np.arange(factor) / factor)) / (2 * np.pi)  # centre of the heap
        start = math.ceil(turn * factor - factor / 2)
        phase = (phase - (first + start) * period) % (period * factor)
        period *= factor
    return Heaping(period, (phase - begin) % period)


def _strongest(x: FloatArray, central: float, nested: bool) -> tuple[int, FloatArray] | None:
    """The period whose residues differ most, and their shares (period,); None if chance may have made them.

    Of counts x (m,), with ``central`` steps in their central range.
    """
    best, strongest = None, 0.0
    total = np.append(0.0, np.cumsum(x))
    for period in PERIODS:
        if central < _PERIODS_IN_RANGE * period or len(x) < 4 * period:
            break
        half = period // 2
        at = np.arange(half, len(x) - half)  # with a whole period around
        level = total[at + half + 1] - total[at - half]
        if period % 2 == 0:
            level -= (x[at - half] + x[at + half]) / 2
        place = at % period + period * (at // period % 2)  # apart for even and odd periods
        expected = np.bincount(place, level / period, 2 * period).reshape(2, period)
        excess = np.bincount(place, x[at], 2 * period).reshape(2, period) - expected
        expected = np.maximum(expected, 1e-9)
        off = excess.sum(axis=0) / expected.sum(axis=0)
        relative = excess / expected
        both = np.where(relative[0] * relative[1] > 0, np.abs(relative).min(axis=0), 0.0)
        strict = _WITHIN if nested and period <= _FEW else 1.0
        least = max(strict * _DEVIATIONS, math.sqrt(2 * math.log(_TESTS * period)))
        sharp = off - (np.roll(off, 1) + np.roll(off, -1)) / 2  # features of the density are wider than a step
        hit = np.minimum(np.abs(off), np.sign(off) * sharp) * np.sqrt(expected.sum(axis=0)) > least
        hit &= np.sign(off) * sharp >= _SHARP * np.abs(off)
        hit &= (np.abs(excess) >= strict * _IN_HALF * np.sqrt(expected)).all(axis=0)
        hit &= (np.abs(off) > strict * _AMPLITUDE) & (both > strict * _AMPLITUDE / 2)
        strength = float(both.sum()) / period  # twice the share of points out of place
        if hit.any() and strength > (_STRONGER * strongest if best else 0.0):
            best, strongest = (period, np.maximum(1 + off, 0) / period), strength
    return best


def without_heaps(counts: FloatArray, heaping: Heaping) -> FloatArray | None:
    """Counts (m,) whose heaped residues have the level of their neighbours; the excess goes to the period around.

    It is spread there in proportion to the others, evenly where there are none. Only the others say where points lie to
    a step, so that the result sums to their number: so much is known. None where some residues are empty: only whole
    periods are known.
    """
    m, period = len(counts), heaping.period
    kind = (np.arange(m) + heaping.phase) % period
    total = np.bincount(kind, counts, period)
    typical = float(np.median(total))
    if typical <= 0 or total.min() < _EMPTY * typical:
        return None
    heaped = np.isin(kind, np.flatnonzero(total > (1 + _AMPLITUDE) * typical))
    free = np.flatnonzero(~heaped)
    base = np.where(heaped, np.interp(np.arange(m), free, counts[free]), counts)
    window = np.ones(period + 1 - period % 2)
    if period % 2 == 0:
        window[[0, -1]] = 0.5
    around = _convolved(base, window)
    excess = counts - base
    push = np.where(around > 0, excess / np.maximum(around, 1e-300), 0.0)
    spread = base * np.maximum(1 + _convolved(push, window), 0)
    spread += _convolved(np.where(around > 0, 0.0, excess), window / window.sum())
    vague = np.maximum(excess, 0)[heaped].sum()
    return spread * ((counts.sum() - vague) / spread.sum())


def _convolved(x: FloatArray, window: FloatArray) -> FloatArray:
    return np.convolve(x, window, "same") if len(x) >= len(window) else np.full(len(x), x.sum())
