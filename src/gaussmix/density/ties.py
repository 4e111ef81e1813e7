"""Ties: a value that was rounded stands for a cell, and the likelihood is that of cells.

**Cells.** A value i that came c_i times is cut into layers, 0 < t <= c_i. The siblings of a layer are the nearest
values on either side that came at least t / 2 times, and the layer lies evenly between the midpoints to them; a gap
counts for at most 1.5 times those next to it, since what is much wider is empty and not rounded. So on a lattice every
value fills its rounding cell, a multiple of ten among units fills the cell of its kind, and odd values between lattice
points do not cut the cells of those. Cells of the likelihood start only at midpoints between values that are each
other's siblings at half of their height: the data say nothing of what is inside.

**Heaps.** People write 5, 10 and 15 more often than 7, 8 and 9. On a lattice of rounded values a smooth density gives
the residues modulo any period P equal shares. Heaping is a residue class that holds more, or less, than the moving
average over a period says: by more than chance and by more than a few percent; in the even and in the odd periods
alike, as a lone spike is no heaping; and by more than the residues beside it. It may be nested: minutes are heaped at
5, then at 15, then at 30.

**Point masses** hold at least `ATOM_SHARE` of the points. Where the other values hardly repeat, that is enough. Among
ties it takes `CONTRAST` times the second largest of the values around, of those of the same kind where values are
heaped; an end value must also be more than its neighbours extrapolate to. Many such are heaps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaussmix._typing import FloatArray, IntArray

PERIODS = (
    *range(2, 11), 12, 14, 15, 16, 20, 24, 25, 30, 32, 50, 60, 64, 100, 120, 128, 250, 256, 500, 1000
)  # fmt: skip
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


TIES = 0.02  # share of values that equal another, from which on they were rounded
ATOM_SHARE = 0.01
LEAST_REPEATS = 8
MAX_ATOMS, MOST_AMONG_TIES = 16, 5
CONTRAST, DEVIATIONS = 2.5, 5.0
CONTRAST_STILL = 2.0  # of what was found in a part of the data
_REACH = 0.65  # of the central range: values around
_DENSE = 0.6  # of the lattice's steps are taken
_MOST_STEPS = 1 << 17
_SIBLING = 0.5
_WIDER = 1.5
_MANY_PERIODS = 40  # of heaping in the central range
_MOVED = 0.1  # share of points that leave their bin, below which a lattice needs no cells
_ROUGH = 0.12  # relative second difference of a density that is a comb


@dataclass(frozen=True)
class Resolved:
    """Counts (m,) of bins after ties were spread; where cells may start, ascending bin numbers from 0 to m."""

    counts: FloatArray
    allowed: IntArray

    def typical_cell(self) -> float:
        """Width in bins that 60 % of the points' cells do not exceed."""
        width, mass = np.diff(self.allowed), np.add.reduceat(self.counts, self.allowed[:-1])
        order = np.argsort(width)
        below = np.cumsum(mass[order])
        return float(width[order][np.searchsorted(below, 0.6 * below[-1])])


def are_tied(repeats: IntArray) -> bool:
    """Whether values that came so often each, (k,), were rounded."""
    return len(repeats) > 0 and 1 - len(repeats) / repeats.sum() > TIES


def find_atoms(values: FloatArray, repeats: IntArray, step: float) -> FloatArray:
    """The point masses among ascending values (k,) of a sample, of the lattice step ``step`` or on none (0)."""
    n = repeats.sum()
    many = np.flatnonzero(repeats >= max(ATOM_SHARE * n, LEAST_REPEATS))
    rest = np.delete(repeats, many)
    if rest.sum() >= 20 and not are_tied(rest):
        strongest = many[np.argsort(-repeats[many], kind="stable")[:MAX_ATOMS]]
        return values[np.sort(strongest)]
    if len(many) == 0:
        return values[:0]
    kind, reach = _surroundings(values, repeats, step)
    found = [i for i in many.tolist() if _stands_out(i, values, repeats, kind, reach, CONTRAST)]
    return values[found if len(found) <= MOST_AMONG_TIES else []]


def remaining_atoms(
    values: FloatArray, repeats: FloatArray, step: float, at: IntArray, tied: bool
) -> NDArray[np.bool_]:
    """Which of the values with the numbers ``at`` (A,), point masses when less was known, may still be such, (A,).

    All of them while next to nothing lies elsewhere. ``tied``: whether the other values were rounded.
    """
    n, held = repeats.sum(), repeats[at]
    if n - held.sum() < ATOM_SHARE * n:
        return np.ones(len(at), bool)
    remain = held >= max(ATOM_SHARE * n / 2, LEAST_REPEATS)
    if tied and remain.any():
        kind, reach = _surroundings(values, repeats, step)
        for a in np.flatnonzero(remain).tolist():
            remain[a] = _stands_out(int(at[a]), values, repeats, kind, reach, CONTRAST_STILL)
    return remain


def _surroundings(values: FloatArray, repeats: NDArray[Any], step: float) -> tuple[IntArray, float]:
    """The kind of each value where values are heaped, (k,), and how far around one to look."""
    capped = np.minimum(repeats, CONTRAST * np.sort(repeats)[-min(5, len(repeats))])  # atoms do not say what is wide
    below = np.cumsum(capped) / capped.sum()
    q10, q90 = np.searchsorted(below, [0.1, 0.9]).tolist()
    reach = _REACH * (values[q90] - values[q10]) or (values[-1] - values[0]) / 2
    kind: IntArray = np.zeros(len(values), np.int64)
    if step > 0:
        steps = _steps(values, step)
        if steps[-1] < _MOST_STEPS and q90 - q10 > _DENSE * (steps[q90] - steps[q10]):
            heaping = find_heaping(np.bincount(steps, capped).astype(np.float64), nested=1)
            kind = np.asarray((steps + heaping.phase) % heaping.period, np.int64)
    return kind, float(reach)


def _stands_out(
    i: int, values: FloatArray, repeats: NDArray[Any], kind: IntArray, reach: float, contrast: float
) -> bool:
    """Whether value i is much more frequent than those of its kind within ``reach``, or, at an end, than expected."""
    alike = kind == kind[i]
    near = np.flatnonzero(alike & (np.abs(values - values[i]) <= reach * (1 + 1e-9)))
    if len(near) < 5:
        same = np.flatnonzero(alike)
        place = int(np.searchsorted(same, i))
        near = same[max(place - 2, 0) : place + 3]
    others = np.sort(repeats[near[near != i]])[::-1]
    level = float(others[min(1, len(others) - 1)]) if len(others) else 0.0
    for end, inward in ((0, 1), (len(values) - 1, -1)):
        if i == end and len(values) > 3 and repeats[i + 2 * inward] >= LEAST_REPEATS:
            first, second = repeats[i + inward], repeats[i + 2 * inward]
            level = max(level, min(first / second, 10.0) * first)
    return bool(repeats[i] >= max(contrast * level, level + DEVIATIONS * math.sqrt(level)))


def has_own_gaps(values: FloatArray, repeats: IntArray, step: float) -> bool:
    """Whether values on a lattice are better seen each with the gaps around it: few of its steps are taken.

    So it is with significant digits and binary fractions. Bins need not follow the lattice then.
    """
    steps = _steps(values, step)
    if steps[-1] >= _MOST_STEPS:
        return True
    counts = np.bincount(steps, repeats).astype(np.float64)
    if _is_dense(counts):
        return False
    resolved, moved = spread(counts)
    return moved > 0.5 and _roughness(resolved.counts, resolved.allowed) <= _ROUGH


def resolve(counts: FloatArray, on_lattice: bool) -> Resolved | None:
    """What counts (m,) of bins that hold rounded values say; None where it is all in the counts as they are.

    ``on_lattice`` says that a bin is a step of the lattice.
    """
    heaping = find_heaping(counts) if on_lattice else Heaping()
    resolved, moved = spread(counts)
    if on_lattice and heaping.period == 1 and moved <= _MOVED:
        return None
    rough = _roughness(resolved.counts, resolved.allowed)
    if heaping.period > 1:
        dense = _is_dense(counts)
        few = _central_steps(counts) < _MANY_PERIODS * heaping.period  # else whole periods are fine enough
        level = without_heaps(counts, heaping) if dense and few else None
        if level is not None:
            return Resolved(level, np.arange(len(counts) + 1))
        folded = _even(counts, heaping.marks(len(counts)))
        smoother = rough > _ROUGH and _roughness(folded.counts, folded.allowed) < rough / 2
        if dense or moved <= _MOVED or smoother:
            return folded
    if rough > _ROUGH:  # perhaps the cells themselves come in turns: prices with few endings
        turns = find_heaping(np.add.reduceat(resolved.counts, resolved.allowed[:-1]))
        if turns.period > 1:
            folded = _even(resolved.counts, resolved.allowed[turns.marks(len(resolved.allowed) - 1)])
            if _roughness(folded.counts, folded.allowed) < rough / 2:
                return folded
    return resolved


def spread(counts: FloatArray) -> tuple[Resolved, float]:
    """Counts (m,) of bins with every layer over its cell, and the share of the points that leave their bins."""
    m, at = len(counts), np.flatnonzero(counts > 0)
    c, x = counts[at], np.asarray(at + 0.5, np.float64)
    least = 2 * float(c.min())
    tops = least * 2.0 ** (np.arange(max(math.ceil(2 * math.log2(c.max() / least)), 0) + 1) / 2)
    level = np.searchsorted(tops, c / 2)  # of the layer at half height
    cell, right, left = np.empty((2, len(at))), np.full(len(at), -1), np.full(len(at), -1)
    starts, ends, masses, bottom = [], [], [], 0.0
    for k, top in enumerate(tops):
        seen = np.flatnonzero(c >= _SIBLING * bottom * (1 - 1e-12))  # the top would ask for more than half of c
        low, high = _cells(x[seen], m)
        half = level[seen] == k
        cell[:, seen[half]] = low[half], high[half]
        right[seen[half]] = np.append(seen[1:], -1)[half]
        left[seen[half]] = np.append(-1, seen[:-1])[half]
        starts.append(low)
        ends.append(high)
        masses.append(np.clip(c[seen] - bottom, 0, top - bottom))
        bottom = top
    low, high, mass = (np.concatenate(parts) for parts in (starts, ends, masses))
    mutual = np.flatnonzero((right >= 0) & (left[right] == np.arange(len(at))))
    edges = np.concatenate([cell[1, mutual], cell[0, right[mutual]]])
    allowed = np.unique(np.r_[0, np.rint(edges).astype(np.int64), m])
    width = high - low
    narrow = width < 1
    low = np.where(narrow, np.clip((low + high - 1) / 2, 0, m - 1), low)
    high, width = np.where(narrow, low + 1, high), np.maximum(width, 1)
    moved = float(mass[width > 1.5] @ (1 - 1 / width[width > 1.5])) / float(c.sum())
    return Resolved(_laid_out(low, high, mass / width, m), allowed), moved


def _cells(x: FloatArray, m: int) -> tuple[FloatArray, FloatArray]:
    """Lower and upper ends (k,) of what ascending values (k,) stand for, within [0, m]."""
    if len(x) == 1:
        return np.clip(x - 0.5, 0, m), np.clip(x + 0.5, 0, m)
    gap = np.diff(x)
    padded = np.concatenate([[0.0], gap, [0.0]])  # padded[j + 1] lies between values j and j + 1
    beside = np.maximum(padded[:-2], padded[2:])
    half = np.minimum(gap, np.where(beside > 0, _WIDER * beside, gap)) / 2
    low, high = np.append(x[0] - half[0], x[1:] - half), np.append(x[:-1] + half, x[-1] + half[-1])
    return np.clip(low, 0, m), np.clip(high, 0, m)


def _laid_out(low: FloatArray, high: FloatArray, density: FloatArray, m: int) -> FloatArray:
    """Mass in each of m bins of uniform pieces (k,) from low to high; a bin is 1 wide."""
    place, change = np.concatenate([low, high]), np.concatenate([density, -density])
    bin_ = np.minimum(place.astype(np.int64), m - 1)
    inside = np.bincount(bin_, change * (bin_ + 1 - place), m)
    after = np.cumsum(np.bincount(bin_, change, m))
    return np.maximum(inside + np.append(0.0, after[:-1]), 0)


def _steps(values: FloatArray, step: float) -> IntArray:
    """Numbers of ascending lattice values from the first; from the middle, where digits are kept best."""
    steps = np.rint((values - values[len(values) // 2]) / step).astype(np.int64)
    return steps - steps[0]


def _central_steps(counts: FloatArray) -> int:
    """Bins between the 10 % and 90 % quantiles of counts (m,)."""
    below = np.cumsum(counts)
    first, last = np.searchsorted(below, below[-1] * np.array([0.1, 0.9])).tolist()
    return last - first


def _is_dense(counts: FloatArray) -> bool:
    """Whether most of the lattice steps between the 5 % and 95 % quantiles are taken; counts (m,)."""
    below = np.cumsum(counts)
    first, last = np.searchsorted(below, below[-1] * np.array([0.05, 0.95])).tolist()
    return float(np.mean(counts[first : last + 1] > 0)) > _DENSE


def _even(counts: FloatArray, marks: IntArray) -> Resolved:
    """Counts (m,) spread evenly between the marks, 0 and m among them."""
    width = np.diff(marks)
    return Resolved(np.repeat(np.add.reduceat(counts, marks[:-1]) / width, width), marks)


def _roughness(counts: FloatArray, marks: IntArray) -> float:
    """Mean relative second difference of the density in cells, beyond chance, weighted by the cells' counts."""
    c, width = np.add.reduceat(counts, marks[:-1]), np.diff(marks)
    density, noise = c / width, c / width**2
    off = density[1:-1] - (density[:-2] + density[2:]) / 2
    chance = noise[1:-1] + (noise[:-2] + noise[2:]) / 4
    used = c[1:-1] > 0
    if used.sum() < 3:
        return 0.0
    relative = np.sqrt(np.maximum(off**2 - 2 * chance, 0))[used] / density[1:-1][used]
    return float(np.average(np.minimum(relative, 1), weights=c[1:-1][used]))
