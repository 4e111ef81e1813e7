"""How often each value came: the one statistic of a table's columns, of all rows or of each of many groups.

Values are kept as they are while there are few. Where there are more than ``most`` of them, neighbouring floats share a
*cell*: those whose bits agree but for the last L. L, the *level*, is the least for which at most ``most`` cells hold
something. With k(x), the bits of a float64 as an integer that grows with x,

    cell of x = floor(k(x) / 2^L),        L = min {l : #{floor(k(x_i) / 2^l)} <= most}

so a cell at level L lies in one at level L + 1, and what is counted depends on the rows alone: not on their order, on
batches, nor on who counted which of them. Counts merge anywhere, with no word of where bins lie. Cells are wide where
values are large, 2^(L - 52) of them at most; an axis for the density is laid when all has been seen (`BinnedCounts`).

Of each cell one value is kept, the one with the most zeros at the end of its bits (whole numbers before fractions, the
smallest of equals), and how often just that came: point masses stay exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from gaussmix._files import Tensors
from gaussmix._typing import FloatArray, IntArray

_WAITING = 1 << 16  # values that wait to be merged at least
_RADIX = 1 << 16  # groups up to which NumPy sorts them by radix


class Sums(NamedTuple):
    """Of a cell's points, and ``at`` its kept value alone: their number and, where there were any, their weight."""

    number: IntArray
    number_at: IntArray
    mass: FloatArray | None = None
    mass_at: FloatArray | None = None

    def take(self, index: Any) -> Sums:
        """Some of them."""
        return Sums(*(None if part is None else part[index] for part in self))  # pyright: ignore

    def added(self, starts: IntArray) -> Sums:
        """Those of runs, which begin there."""
        number = np.add.reduceat(self.number, starts)
        at = number if self.number_at is self.number else np.add.reduceat(self.number_at, starts)
        return Sums(number, at, *(None if part is None else np.add.reduceat(part, starts) for part in self[2:]))

    def weighed(self) -> Sums:
        """With weights, which are the numbers where there were none."""
        return self if self.mass is not None else Sums(*self[:2], *(part.astype(np.float64) for part in self[:2]))


class ValueCounts:
    """Counts of the values of ``n_groups`` groups, in at most ``most`` cells each.

    Cells are sorted by group and value: ``groups``, ``values`` (C,) and their `Sums`; ``levels`` (G,). ``extremes``
    (2, G) are the least and the greatest value of each group, ``whole`` (G,) whether all its values are multiples of
    ``unit`` (1, or the seconds of a day), ``squares`` (G,) the sum of its squared weights.
    """

    def __init__(self, most: int, n_groups: int = 1, unit: float = 1.0):
        self.most, self.unit = most, unit
        self.groups, self.values = np.zeros(0, np.int32), np.zeros(0)
        self.sums = Sums(np.zeros(0, np.int64), np.zeros(0, np.int64))
        self.levels, self.whole = np.zeros(n_groups, np.int8), np.ones(n_groups, bool)
        self.extremes = np.repeat([[np.inf], [-np.inf]], n_groups, axis=1)
        self.squares = np.zeros(n_groups)
        self._waiting: list[tuple[NDArray[Any], FloatArray, Sums]] = []

    @property
    def n_groups(self) -> int:
        """Groups, empty ones too."""
        return len(self.levels)

    def grow(self, n_groups: int) -> None:
        """Make room for more groups."""
        more = n_groups - self.n_groups
        if more > 0:
            self.levels, self.whole = (
                np.append(self.levels, np.zeros(more, np.int8)),
                np.append(self.whole, [True] * more),
            )
            self.squares = np.append(self.squares, np.zeros(more))
            self.extremes = np.append(self.extremes, np.repeat([[np.inf], [-np.inf]], more, axis=1), axis=1)

    def add(self, x: FloatArray, groups: NDArray[Any] | None = None, weights: NDArray[Any] | None = None) -> None:
        """Count finite numbers (N,) of the groups (N,), one each or as `BinnedCounts.add` takes weights, above 0."""
        if len(x) == 0:
            return
        if groups is None and weights is None:
            values = np.sort(x)
            starts = _starts(values[1:] != values[:-1])
            self._take_in(None, values[starts], _lengths(starts, len(values)), None, None)
            return
        order = np.argsort(x)
        if groups is not None:
            groups = groups.astype(np.uint16 if self.n_groups <= _RADIX else np.int32)
            order = order[np.argsort(groups[order], kind="stable")]
            groups = groups[order].astype(np.int32)
        values = x[order]
        fresh = values[1:] != values[:-1]
        starts = _starts(fresh if groups is None else fresh | (groups[1:] != groups[:-1]))
        number, mass, squares = _lengths(starts, len(values)), None, None
        if weights is not None:
            weights = weights[order]
            if weights.dtype.kind == "f":
                mass, squares = np.add.reduceat(weights, starts), np.add.reduceat(weights * weights, starts)
            else:
                number = np.add.reduceat(weights.astype(np.int64), starts)
        self._take_in(None if groups is None else groups[starts], values[starts], number, mass, squares)

    def _take_in(
        self, groups: Any, values: FloatArray, number: IntArray, mass: FloatArray | None, squares: FloatArray | None
    ) -> None:
        """Sorted values, without repetition in a group."""
        values = values + 0.0  # a zero has no sign
        groups = np.zeros(len(values), np.int32) if groups is None else groups
        starts = _starts(groups[1:] != groups[:-1])
        here, ends = groups[starts], np.append(starts[1:], len(values)) - 1
        self.extremes[0, here] = np.minimum(self.extremes[0, here], values[starts])
        self.extremes[1, here] = np.maximum(self.extremes[1, here], values[ends])
        if self.whole[here].any():
            parts = values / self.unit
            self.whole[here] &= np.logical_and.reduceat((np.rint(parts) == parts) & (np.abs(parts) < 2.0**53), starts)
        self.squares[here] += np.add.reduceat(number.astype(np.float64) if squares is None else squares, starts)
        sums = Sums(number, number, mass, mass)
        groups, values, sums, self.levels = _joined(groups, values, sums, self.levels, self.most)
        self._waiting.append((groups, values, sums))
        if sum(len(part[1]) for part in self._waiting) >= max(_WAITING, len(self.values)):
            self.settle()

    def settle(self) -> ValueCounts:
        """Merge what waits."""
        if self._waiting:
            parts = [(self.groups, self.values, self.sums), *self._waiting]
            self._waiting = []
            weighed = any(part[2].mass is not None for part in parts)
            sums = [part[2].weighed() if weighed else part[2] for part in parts]
            groups, values = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
            joined = Sums._make(
                [None if each[0] is None else np.concatenate(each) for each in zip(*sums, strict=True)]  # pyright: ignore
            )
            order = np.argsort(values, kind="stable")
            if self.n_groups > 1:
                kind = np.uint16 if self.n_groups <= _RADIX else np.int32
                order = order[np.argsort(groups[order].astype(kind), kind="stable")]
            self.groups, self.values, self.sums, self.levels = _joined(
                groups[order], values[order], joined.take(order), self.levels, self.most
            )
        return self

    def merge(self, other: ValueCounts, places: Sequence[int] | IntArray | None = None) -> None:
        """Add other counts, whose group g is ``places[g]`` here."""
        other.settle()
        at = np.arange(other.n_groups) if places is None else np.asarray(places, np.int64)
        self.levels[at] = np.maximum(self.levels[at], other.levels)
        self.whole[at] &= other.whole
        self.extremes[0, at] = np.minimum(self.extremes[0, at], other.extremes[0])
        self.extremes[1, at] = np.maximum(self.extremes[1, at], other.extremes[1])
        self.squares[at] += other.squares
        if len(other.values):
            self._waiting.append((at[other.groups].astype(np.int32), other.values, other.sums))
            self.settle()

    def group(self, g: int) -> ValueCounts:
        """Those of one group alone."""
        self.settle()
        low, high = np.searchsorted(self.groups, np.array([g, g + 1], self.groups.dtype))  # others convert all
        one = ValueCounts(self.most, 1, self.unit)
        one.groups, one.values = np.zeros(high - low, np.int32), self.values[low:high]
        one.sums, one.levels, one.whole = (
            self.sums.take(slice(low, high)),
            self.levels[g : g + 1],
            self.whole[g : g + 1],
        )
        one.extremes, one.squares = self.extremes[:, g : g + 1], self.squares[g : g + 1]
        return one

    OF_CELLS = ("values", "number", "number_at", "mass", "mass_at")

    def to_tensors(self) -> Tensors:
        """Return everything as arrays by name: of cells, and of groups, ``sizes`` their numbers of cells."""
        self.settle()
        sizes = np.bincount(self.groups, minlength=self.n_groups)
        cells = {name: part for name, part in self.sums._asdict().items() if part is not None}
        of_groups = {"levels": self.levels, "whole": self.whole.astype(np.uint8), "squares": self.squares}
        low, high = self.extremes
        return {"sizes": sizes, "low": low, "high": high, **of_groups, "values": self.values, **cells}

    @classmethod
    def from_tensors(cls, tensors: Tensors, most: int, unit: float) -> Self:
        """Make what `to_tensors` described. Raises ValueError for what no data can give."""
        sizes, values = tensors["sizes"].astype(np.int64), tensors["values"].astype(np.float64)
        found = cls(most, len(sizes), unit)
        found.groups, found.values = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes), values
        whole = [tensors[name].astype(np.int64) for name in ("number", "number_at")]
        mass = [tensors[name].astype(np.float64) if name in tensors else None for name in ("mass", "mass_at")]
        found.sums, found.levels = Sums(whole[0], whole[1], mass[0], mass[1]), tensors["levels"].astype(np.int8)
        found.whole, found.squares = tensors["whole"] == 1, tensors["squares"].astype(np.float64)
        found.extremes = np.stack([tensors["low"], tensors["high"]]).astype(np.float64)
        level = found.levels[found.groups]
        same, cell = found.groups[1:] == found.groups[:-1], keys_of(values) >> level
        low, high = (values_of((cell + up) << level) for up in (0, 1))
        least, greatest = found.extremes[0, found.groups], found.extremes[1, found.groups]
        ordered = np.isfinite(values).all() and (cell[1:] > cell[:-1])[same].all() and (values <= greatest).all()
        if not ordered or (values < least).any() or (sizes > most).any() or not (found.levels >= 0).all():
            raise ValueError("its values do not ascend, or lie beyond their extremes")
        first = np.flatnonzero(np.append(True, ~same))[: len(values)]
        last = np.append(first[1:], len(values))[: len(first)] - 1
        if (least[first] < low[first]).any() or (greatest[last] > high[last]).any() or (found.levels > 63).any():
            raise ValueError("its extremes lie where nothing was counted")
        number, number_at = whole
        if (number < 1).any() or (number_at < 0).any() or (number_at > number).any() or float(number.sum()) > 2.0**62:
            raise ValueError("it counts a value less than once, or too often")
        for part in (*mass, found.squares):
            if part is not None:
                check_amounts("a weight", part, len(part))
        return found


def check_amounts(name: str, amounts: NDArray[Any], n: int) -> FloatArray:
    """Amounts (n,) that are finite and not negative. Raises ValueError for others."""
    if amounts.shape != (n,) or not (np.isfinite(amounts).all() and amounts.min(initial=0) >= 0):
        raise ValueError(f"{name} of shape {amounts.shape} is not {n} amounts, finite and not negative")
    return amounts.astype(np.float64, copy=False)


def _starts(fresh: NDArray[np.bool_]) -> IntArray:
    """Where runs start, from which places but the first begin a new one."""
    return np.append(0, np.flatnonzero(fresh) + 1)


def _lengths(starts: IntArray, n: int) -> IntArray:
    return np.diff(np.append(starts, n))


def keys_of(values: FloatArray) -> IntArray:
    """k(x): integers that grow with x."""
    bits = values.view(np.int64)
    return bits ^ ((bits >> 63) & np.int64(0x7FFF_FFFF_FFFF_FFFF))


def values_of(keys: IntArray) -> FloatArray:
    """x of k(x); beyond the floats there are infinities."""
    most = int(keys_of(np.array([np.inf]))[0])
    keys = np.clip(keys, -most - 1, most)
    return (keys ^ ((keys >> 63) & np.int64(0x7FFF_FFFF_FFFF_FFFF))).view(np.float64)


def _joined(
    groups: NDArray[Any], values: FloatArray, sums: Sums, levels: NDArray[np.int8], most: int
) -> tuple[NDArray[Any], FloatArray, Sums, NDArray[np.int8]]:
    """Cells (sorted, some of them the same) as few as asked for, and the levels (G,) that this takes."""
    if len(values) == 0:
        return groups, values, sums, levels
    fresh = values[1:] != values[:-1]
    if len(levels) > 1:
        fresh |= groups[1:] != groups[:-1]
    if not fresh.all():  # each value once
        starts = _starts(fresh)
        groups, values, sums = groups[starts], values[starts], sums.added(starts)
    keys = keys_of(values)
    if len(levels) == 1:  # of most batches the level stays
        apart = np.diff(keys >> levels[0]) != 0
        if np.count_nonzero(apart) < most:
            return *_kept(groups, values, sums, _starts(apart)), levels
    differ = (keys[1:] ^ keys[:-1]).view(np.uint64)
    differ &= ~(differ >> np.uint64(1))  # the first bit stays, and rounding to a float does not carry
    bits = np.frexp(differ.astype(np.float64))[1] - 1  # of the first bit that differs
    if len(levels) > 1:
        bits[groups[1:] != groups[:-1]] = 64
        bits_of = (groups[1:].astype(np.int64) * 66 + bits) + 1
        table = np.bincount(bits_of, minlength=66 * len(levels)).reshape(-1, 66)[:, 1:65]
    else:
        table = np.bincount(bits + 1, minlength=66)[None, 1:65]
    cells = 1 + np.cumsum(table[:, ::-1], axis=1)[:, ::-1]  # at each level
    levels = np.maximum(levels, (cells > most).sum(1)).astype(np.int8)
    level = levels[groups[1:]] if len(levels) > 1 else levels[0]
    return *_kept(groups, values, sums, _starts(bits >= level)), levels


def _kept(
    groups: NDArray[Any], values: FloatArray, sums: Sums, starts: IntArray
) -> tuple[NDArray[Any], FloatArray, Sums]:
    """Of cells that begin at ``starts`` among different values: the value of each with most zeros at its end, the
    first of such."""
    if len(starts) == len(values):
        return groups, values, sums
    raw = values.view(np.uint64)
    zeros = (raw & (~raw + np.uint64(1))).astype(np.float32).view(np.int32)  # grows with their number; 0 of zero
    zeros[raw == 0] = np.iinfo(np.int32).max
    last = len(values) - 1
    place = last - (np.maximum.reduceat((zeros.astype(np.int64) << 32) + np.arange(last, -1, -1), starts) & 0xFFFF_FFFF)
    whole = sums.added(starts)
    at = (sums.number_at[place], None if sums.mass_at is None else sums.mass_at[place])
    return groups[starts], values[place], Sums(whole.number, at[0], whole.mass, at[1])


class LevelCounts:
    """Weights of the categories of ``n_groups`` groups, at most ``most`` each, the rarest left out beyond that.

    ``names`` numbers the categories; ``groups``, ``codes`` and ``weight`` (C,) are sorted by group and code;
    ``other`` (G,) is the weight of what was left out.
    """

    def __init__(self, most: int, n_groups: int = 1):
        self.most = most
        self.names: dict[str, int] = {}
        self.pairs, self.weight = np.zeros(0, np.int64), np.zeros(0)
        self.other = np.zeros(n_groups)

    def grow(self, n_groups: int) -> None:
        """Make room for more groups."""
        self.other = np.append(self.other, np.zeros(max(n_groups - len(self.other), 0)))

    def add(self, names: Sequence[str], codes: IntArray, groups: Any = None, weights: Any = None) -> None:
        """Count rows whose category is ``names[codes]``; codes (N,) are at least 0."""
        known = np.array([self.names.setdefault(name, len(self.names)) for name in names], np.int64)
        if groups is None:
            weight = np.bincount(codes, weights, len(names)).astype(np.float64)
            seen = np.flatnonzero(weight)
            self._take_in(known[seen], weight[seen])
            return
        pairs, places = np.unique(groups.astype(np.int64) * len(names) + codes, return_inverse=True)
        group, code = np.divmod(pairs, max(len(names), 1))
        self._take_in((group << 32) | known[code], np.bincount(places, weights, len(pairs)) * 1.0)

    def _take_in(self, pairs: IntArray, weight: NDArray[Any]) -> None:
        pairs = np.concatenate([self.pairs, pairs])
        self.pairs, places = np.unique(pairs, return_inverse=True)
        self.weight = np.bincount(places, np.concatenate([self.weight, weight]), len(self.pairs))
        if len(self.pairs) > 10 * self.most:
            self._prune(10 * self.most)

    def merge(self, other: LevelCounts, places: Sequence[int] | IntArray | None = None) -> None:
        """Add other counts, whose group g is ``places[g]`` here."""
        at = np.arange(len(other.other)) if places is None else np.asarray(places, np.int64)
        known = np.array([self.names.setdefault(name, len(self.names)) for name in other.names], np.int64)
        self.other[at] += other.other
        if len(other.pairs):
            self._take_in((at[other.pairs >> 32] << 32) | known[other.pairs & 0xFFFF_FFFF], other.weight)

    def _prune(self, most: int) -> None:
        """Leave out the rarest of groups that have more than ``most``, and names that are then in none."""
        groups = self.pairs >> 32
        if np.bincount(groups, minlength=1).max() <= most:
            return
        names = list(self.names)
        by_name = np.argsort(np.argsort(names))[self.pairs & 0xFFFF_FFFF]
        order = np.lexsort((by_name, -self.weight, groups))
        starts = _starts(groups[order][1:] != groups[order][:-1])
        rank = np.arange(len(order)) - np.repeat(starts, _lengths(starts, len(order)))
        left = order[rank >= self.most]
        np.add.at(self.other, groups[left], self.weight[left])
        stay = np.sort(order[rank < self.most])
        codes, numbers = np.unique(self.pairs[stay] & 0xFFFF_FFFF, return_inverse=True)
        self.pairs, self.weight = (groups[stay] << 32) | numbers, self.weight[stay]
        self.names = {names[code]: k for k, code in enumerate(codes)}

    def group(self, g: int) -> tuple[dict[str, float], float]:
        """Weights of the categories of one group by name, the most frequent first; and of what was left out."""
        low, high = np.searchsorted(self.pairs, [g << 32, (g + 1) << 32])
        names = list(self.names)
        found = {
            names[pair & 0xFFFF_FFFF]: float(weight)
            for pair, weight in zip(self.pairs[low:high].tolist(), self.weight[low:high].tolist(), strict=True)
        }
        ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))
        return dict(ranked[: self.most]), float(self.other[g]) + sum(weight for _, weight in ranked[self.most :])

    OF_CELLS = ("codes", "weight")

    def to_tensors(self) -> Tensors:
        """Return what there is beside the names, as arrays by name."""
        self._prune(self.most)
        sizes = np.bincount(self.pairs >> 32, minlength=len(self.other))
        return {"sizes": sizes, "other": self.other, "codes": self.pairs & 0xFFFF_FFFF, "weight": self.weight}

    @classmethod
    def from_tensors(cls, tensors: Tensors, names: Sequence[str], most: int) -> Self:
        """Make what `to_tensors` described. Raises ValueError for what no data can give."""
        found = cls(most, len(tensors["other"]))
        found.names = {name: k for k, name in enumerate(names)}
        groups, codes = np.repeat(np.arange(len(found.other)), tensors["sizes"]), tensors["codes"].astype(np.int64)
        found.pairs, found.other = (
            (groups << 32) | codes,
            check_amounts("other", tensors["other"], len(found.other)).copy(),
        )
        found.weight = check_amounts("weight", tensors["weight"], len(codes)).copy()
        if len(found.names) < len(names) or not all(isinstance(name, str) for name in names):
            raise ValueError("its names of categories repeat, or are no names")
        if codes.max(initial=-1) >= len(names) or (np.diff(found.pairs) <= 0).any():
            raise ValueError("its categories do not ascend, or have no names")
        return found
