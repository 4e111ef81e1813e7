"""Counts of points on the bins of an axis: the one statistic that every density here is made from.

Counts are integers, so chunks, threads and machines may count in any order and add up to the same, bit for bit. Beside
the bins stand what fell under and over the axis, NaN, the extremes, and the points that equal given *atoms* exactly
(point masses; they are in the bins too).

The bin of x is k = floor((u(x) - origin) (1 / width)): a point within rounding of an edge may be counted on the edge's
other side, on an asinh axis within 1e-9 bins of it. Points beyond +-2^1000 count as infinities do: under or over.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaussmix._files import TensorRecord
from gaussmix._typing import FloatArray, IntArray
from gaussmix.density import _tally
from gaussmix.density.axis import LARGEST_POINT, Axis

BLOCK = 1 << 15  # points that are converted, weighed or warped at a time
ROWS = 1 << 13  # rows of a table that are laid out by columns at a time
NAN, UNDER, FIRST_BIN = 0, 1, 2  # slots, see _tally; that behind the bins is over the axis
SETTINGS = ("tied", "exact", "grow", "max_bins")
LARGEST_COUNT = 1 << 62
LARGEST_PIECE = 1 << 30


class BinnedCounts(TensorRecord):
    """Counts of points on the bins of an axis; they start empty, and grow by `add` and `merge`.

    Parameters
    ----------
    axis : gaussmix.density.axis.Axis
        The bins.
    atoms : sequence of float
        Positions whose points are counted separately as well: those with x == atom exactly.
    tied : bool
        Whether values were rounded: what is made of the counts then spreads a value over the cell it stands for.
    exact : bool
        Keep the first four moments within each bin too.
    grow : bool
        Extend the axis to points outside.
    max_bins : int
        Where ``grow`` would take more bins than that, neighbouring pairs of bins are joined.

    Raises
    ------
    ValueError
        Atoms repeat or are not finite, or ``exact`` comes together with ``grow``.

    Examples
    --------
    >>> from gaussmix import BinnedCounts, GaussianBasis
    >>> axis = GaussianBasis.spanning(0.0, 4.0, 5).axis()
    >>> left, right = BinnedCounts(axis).add([0.1, 0.9]), BinnedCounts(axis).add([3.2, 9.0])
    >>> left.merge(right).n
    4
    """

    def __init__(
        self,
        axis: Axis,
        *,
        atoms: Sequence[float] | NDArray[np.floating] = (),
        tied: bool = False,
        exact: bool = False,
        grow: bool = False,
        max_bins: int = 1 << 16,
    ):
        if exact and grow:
            raise ValueError("exact=True needs bins that stay, grow=True joins bins: choose one")
        if grow and max_bins < max(2, axis.n_bins):
            raise ValueError(
                f"max_bins is {max_bins}; a growing axis of {axis.n_bins} bins needs that, and 2, at least"
            )
        self.atoms = np.sort(np.asarray(atoms, dtype=np.float64).reshape(-1))
        if not np.isfinite(self.atoms).all() or (np.diff(self.atoms) == 0).any():
            raise ValueError(f"atoms are {self.atoms.tolist()}; they must be finite and differ")
        self.atoms.flags.writeable = False
        self.axis = axis
        self.tied = bool(tied)
        self.exact = bool(exact)
        self.grow = bool(grow)
        self.max_bins = int(max_bins)
        self._table = np.zeros(axis.n_bins + 3 + len(self.atoms), np.int64)  # by slot, and then by atom
        self._importance: tuple[IntArray, FloatArray] | None = None  # number and weight of points with such weights
        self._squares = np.zeros(1)  # sum of these weights' squares
        self._extremes = np.array([np.inf, -np.inf])
        self._held = self._extremes.copy()  # of the points that a growing axis is known to hold
        self._moments = np.zeros((4, axis.n_bins if exact else 0))

    @property
    def counts(self) -> IntArray:
        """Points in each bin, (n_bins,)."""
        return self._sums(0, self._bins)

    @property
    def n_nan(self) -> int:
        """How many were NaN."""
        return int(self._sums(0, NAN))

    @property
    def n_under(self) -> int:
        """How many lay under the axis, -inf among them."""
        return int(self._sums(0, UNDER))

    @property
    def n_over(self) -> int:
        """How many lay over the axis, inf among them."""
        return int(self._sums(0, self._bins.stop))

    @property
    def atom_counts(self) -> IntArray:
        """Points that equal each of ``atoms``, (A,)."""
        return self._sums(0, slice(self._bins.stop + 1, None))

    @property
    def n(self) -> int:
        """Points that are not NaN, with their frequencies."""
        return int(self._sums(0, slice(UNDER, self._bins.stop + 1)).sum())

    @property
    def minimum(self) -> float:
        """The least finite value, inf while there is none."""
        return float(self._extremes[0])

    @property
    def maximum(self) -> float:
        """The greatest finite value, -inf while there is none."""
        return float(self._extremes[1])

    @property
    def mass(self) -> FloatArray:
        """Weight in each bin, (n_bins,): the counts, unless there were importance weights."""
        return self._sums(1, self._bins).astype(np.float64)

    @property
    def under_mass(self) -> float:
        """Weight under the axis."""
        return float(self._sums(1, UNDER))

    @property
    def over_mass(self) -> float:
        """Weight over the axis."""
        return float(self._sums(1, self._bins.stop))

    @property
    def total_mass(self) -> float:
        """Weight of all points that are not NaN."""
        return float(self._sums(1, slice(UNDER, self._bins.stop + 1)).astype(np.float64).sum())

    @property
    def atom_mass(self) -> FloatArray:
        """Weight on each of ``atoms``, (A,)."""
        return self._sums(1, slice(self._bins.stop + 1, None)).astype(np.float64)

    @property
    def size(self) -> float:
        """Kish's effective number of points, (sum w)^2 / sum w^2; ``n`` without importance weights."""
        if self._importance is None:
            return float(self.n)
        squares = float(self._table[UNDER : self._bins.stop + 1].sum() + self._squares[0])
        return self.total_mass**2 / squares if squares > 0 else 0.0

    @property
    def moments(self) -> FloatArray:
        """Sums of d^k, k = 1..4, in each bin, (4, n_bins): d = (u - bin centre) / width. Needs ``exact=True``."""
        if not self.exact:
            raise ValueError("these counts hold no moments; make them with exact=True")
        return self._moments.copy()

    def __repr__(self) -> str:
        span = f"[{self.axis.low:g}, {self.axis.high:g})"
        return f"BinnedCounts(n={self.n}, n_bins={self.axis.n_bins}, {span}, outside={self.n_under + self.n_over})"

    def empty_like(self) -> BinnedCounts:
        """Return counts of nothing yet, on the same axis with the same settings."""
        return self._empty(self.atoms)

    def _empty(self, atoms: FloatArray) -> BinnedCounts:
        settings: Any = {name: getattr(self, name) for name in SETTINGS}
        return BinnedCounts(self.axis, atoms=atoms, **settings)

    def copy(self) -> BinnedCounts:
        """Return an independent copy."""
        return self.empty_like().merge(self)

    def without_atoms(self) -> BinnedCounts:
        """Return a copy without atoms, their points taken out of the bins (not out of moments)."""
        rest = self.with_atoms(np.zeros(len(self.atoms), bool))
        slots, _ = self._slots(self.atoms, self._extremes)
        for left, all_points in zip(rest._tables(), self._tables(), strict=True):
            np.subtract.at(left, slots, all_points[left.size :])
        if rest._importance is not None:
            number, mass = rest._importance
            mass[number == 0] = 0.0  # what rounding left of a bin that held atoms only
        return rest

    def with_atoms(self, which: NDArray[np.bool_]) -> BinnedCounts:
        """Return a copy with ``which`` (A,) of the atoms; the points of the others are in the bins alone."""
        some = self._empty(self.atoms[which])
        for name in ("_extremes", "_held", "_moments", "_squares"):
            getattr(some, name)[:] = getattr(self, name)
        kept = np.append(np.ones(self._bins.stop + 1, bool), which)
        for mine, all_points in zip(some._tables(like=self), self._tables(), strict=True):
            mine[:] = all_points[kept]
        return some

    def atom_bins(self) -> IntArray:
        """(A,) numbers of the bins that the atoms are in, -1 or the number of bins outside."""
        slots, _ = self._slots(self.atoms, self._extremes)
        return slots.astype(np.int64) - FIRST_BIN

    def relaid(self, empty: BinnedCounts) -> BinnedCounts:
        """What these counts hold, all of it on atoms, on the bins of ``empty``, and atoms of both."""
        out = empty._empty(np.union1d(empty.atoms, self.atoms))
        out.add(self.atoms, self.atom_counts)
        out._table[NAN] += self._table[NAN]
        if self._importance is not None:
            parts = [out.empty_like() for _ in range(2)]
            for part, sums in zip(parts, self._importance, strict=True):
                part._add_block(_read_only(self.atoms), _read_only(sums[self._bins.stop + 1 :]))
            number, (_, mass) = parts[0]._table, parts[1]._weighed()
            out._table -= number
            out._importance, out._squares = (number, mass), self._squares.copy()
            number[NAN], mass[NAN] = (sums[NAN] for sums in self._importance)
        if self.exact:
            out._moments[:] = 0.0
            out._add_moments(self.atoms, out._slots(self.atoms, out._extremes)[0], self.atom_mass)
        return out

    def add(self, x: ArrayLike, sample_weight: ArrayLike | None = None, *, n_jobs: int | None = None) -> Self:
        """Count the points x.

        Parameters
        ----------
        x : array-like of shape (N,) or (N, 1)
            Floats of 32 and 64 bits are read in place, whatever their strides; other real numbers are taken as float64,
            block by block.
        sample_weight : array-like of shape (N,), optional
            Integers are frequencies: the same as repeated rows. Floats are importance weights: they make `mass`, while
            `counts` counts points. Points of weight zero are left out.
        n_jobs : int, optional
            Threads that share the work; one if not given, -1 for all processors.

        Raises
        ------
        TypeError, ValueError
            Something is not a real number, shapes do not match, or weights are negative or not finite; nothing has been
            counted then.
        """
        column = as_real(x)
        if column.ndim != 1 and column.shape[1:] != (1,):
            raise ValueError(f"x has shape {column.shape}; it must be (N,) or (N, 1): several columns take add_columns")
        add_columns([self], column.reshape(-1, 1), sample_weight, n_jobs=n_jobs)
        return self

    def merge(self, other: BinnedCounts) -> Self:
        """Add what other counts have counted. Raises ValueError where axes, atoms or settings differ."""
        self._require_same_kind(other)
        _require_room([self], float(other.n + other.n_nan))
        if self.axis != other.axis:  # only growing axes may differ
            self._move_to(self.axis.joined(other.axis, self.max_bins))
            other = other.copy()
            other._move_to(self.axis)
        for mine, theirs in zip(self._tables(like=other), other._tables(), strict=False):
            mine += theirs
        self._squares += other._squares
        _widen(self._extremes, other._extremes)
        _widen(self._held, other._held)
        self._moments += other._moments
        return self

    def __add__(self, other: BinnedCounts) -> BinnedCounts:
        return self.copy().merge(other)

    @property
    def _bins(self) -> slice:
        """The slots of the bins; the next one is over the axis, and behind it are the atoms."""
        return slice(FIRST_BIN, FIRST_BIN + self.axis.n_bins)

    def _sums(self, kind: Literal[0, 1], at: int | slice) -> NDArray[Any]:
        """The number of all points, or their weight, in slots and at the atoms behind them."""
        return self._table[at] + (0 if self._importance is None else self._importance[kind][at])

    def _tables(self, like: BinnedCounts | None = None) -> list[NDArray[Any]]:
        """What was counted, with importance weights if there were any here or in those that it shall be ``like``."""
        if like is not None and like._importance is not None:
            self._weighed()
        return [self._table, *(self._importance or ())]

    def _weighed(self) -> tuple[IntArray, FloatArray]:
        if self._importance is None:
            self._importance = np.zeros_like(self._table), np.zeros(self._table.size)
        return self._importance

    def _require_same_kind(self, other: BinnedCounts) -> None:
        pairs = {
            "exact": (self.exact, other.exact),
            "grow": (self.grow, other.grow),
            "max_bins": (self.max_bins, other.max_bins) if self.grow else (0, 0),
            "axis": (self.axis.lattice, other.axis.lattice) if self.grow else (self.axis, other.axis),
            "atoms": (self.atoms.tolist(), other.atoms.tolist()),
        }
        for name, (mine, theirs) in pairs.items():
            if mine != theirs:
                raise ValueError(f"cannot merge counts whose {name} differ: {mine} and {theirs}; start both alike")

    def _add(self, x: NDArray[Any], weights: NDArray[Any] | None) -> None:
        """Count a checked column, contiguous in memory."""
        in_place = x.dtype in (np.float32, np.float64) and x.dtype.isnative and weights is None
        if in_place and not (self.exact or self.atoms.size) and self.grow == (self.axis.scale is not None):
            add = self._add_growing if self.grow else self._add_plain
            for start in range(0, len(x), LARGEST_PIECE):
                add(x[start : start + LARGEST_PIECE])
            return
        for start in range(0, len(x), BLOCK):
            piece = slice(start, start + BLOCK)
            with np.errstate(over="ignore"):  # of a longer float
                block = np.ascontiguousarray(x[piece], np.float32 if x.dtype == np.float32 else np.float64)
            self._add_block(_read_only(block), None if weights is None else weights[piece])

    def _add_plain(self, x: NDArray[np.floating]) -> None:
        """Count points, one each, on a linear axis that stays, in a table of half the size: the first-level cache's."""
        axis, extremes = self.axis, self._extremes
        table = np.zeros(len(self._table), np.int32)
        slots = np.empty(1024 if axis.n_bins <= 4096 else 4096, np.uint32)
        for start in range(0, len(x), 4 * BLOCK):
            part = x[start : start + 4 * BLOCK]
            if _tally.count_blocks(part, *_place(axis, extremes), slots, table):
                _widen(extremes, part)
        self._table += table

    def _add_growing(self, x: NDArray[np.floating]) -> None:
        """Count points, one each, on an asinh axis that grows: block by block only where there are new extremes."""
        at, slots = 0, np.empty(4096, np.uint32)
        while at < len(x):
            table = np.zeros(len(self._table), np.int32)
            warp, work = _warp(self.axis)
            at += int(_tally.count_warped(x[at:], *warp, *_place(self.axis, self._held), *work, slots, table))
            self._table += table
            if at < len(x):
                self._add_block(x[at : at + BLOCK], None)
                at += BLOCK

    def _add_block(self, x: NDArray[np.floating], weights: NDArray[Any] | None) -> None:
        slots, n_outside = self._slots(x, self._held if self.grow else self._extremes)
        if n_outside:
            seen = x if weights is None else x[weights != 0]
            _widen(self._extremes, seen)
            if self.grow:
                self._extend_to(seen)
                slots, _ = self._slots(x, self._held)
        tallies: list[tuple[Any, NDArray[Any]]] = [(weights, self._table)]
        if weights is not None and weights.dtype.kind == "f":
            number, mass = self._weighed()
            tallies = [(_read_only((weights != 0).astype(np.int64)), number), (weights, mass)]
            self._squares += np.square(weights[slots != NAN]).sum()
        equal = [x == atom for atom in self.atoms]
        for each, table in tallies:
            _tally.tally(slots, each, table)
            for a, here in enumerate(equal, self._bins.stop + 1):
                table[a] += np.count_nonzero(here) if each is None else each[here].sum()
        if self.exact:
            self._add_moments(x, slots, weights)

    def _add_moments(self, x: NDArray[np.floating], slots: NDArray[np.uint32], weights: NDArray[Any] | None) -> None:
        axis = self.axis
        inside = (slots >= FIRST_BIN) & (slots < axis.n_bins + FIRST_BIN)
        bins = slots[inside].astype(np.int64) - FIRST_BIN
        d = (axis.transform(x[inside]) - axis.start) * (1 / axis.width) - (bins + axis.first) - 0.5
        term = np.ones(len(d)) if weights is None else weights[inside].astype(np.float64)
        for moment in self._moments:
            term *= d
            moment += np.bincount(bins, term, axis.n_bins)

    def _slots(self, x: NDArray[np.floating], ends: FloatArray) -> tuple[NDArray[np.uint32], int]:
        """The slots of points, and how many of them lie beyond the ``ends`` (2,)."""
        axis, slots = self.axis, np.empty(len(x), np.uint32)
        if axis.scale is None:
            return slots, int(_tally.locate(x, *_place(axis, ends), slots))
        warp, work = _warp(axis)
        return slots, int(_tally.locate_warped(x, *warp, *_place(axis, ends), *work, slots))

    def _extend_to(self, x: NDArray[np.floating]) -> None:
        """Extend the axis to the points that are not too far."""
        x = x.astype(np.float64)
        _widen(self._held, x[(np.abs(x) <= LARGEST_POINT) & (np.abs(self.axis.transform(x)) <= LARGEST_POINT)])
        if self._held[0] <= self._held[1]:
            self._move_to(self.axis.extended(float(self._held[0]), float(self._held[1]), self.max_bins))

    def _move_to(self, axis: Axis) -> None:
        """Put the counts on an axis grown from the present one."""
        if axis == self.axis:
            return
        shift = min(axis.level - self.axis.level, 63)
        bins = ((np.arange(self.axis.n_bins) + self.axis.first) >> shift) - axis.first
        after = axis.n_bins + FIRST_BIN + np.arange(1 + self.atoms.size)
        slots = np.concatenate([[NAN, UNDER], bins + FIRST_BIN, after])
        moved = [np.zeros(after[-1] + 1, table.dtype) for table in self._tables()]
        for new, table in zip(moved, self._tables(), strict=True):
            np.add.at(new, slots, table)
        self._table, self._importance = moved[0], (moved[1], moved[2]) if self._importance else None
        self.axis = axis

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """What was counted, by the names that it has on disk."""
        arrays, n_slots = {"extremes": self._extremes}, self._bins.stop + 1
        for name, table in zip(("{}table", "importance_{}table", "importance_{}mass"), self._tables(), strict=False):
            arrays |= {name.format(""): table[:n_slots], name.format("atom_"): table[n_slots:]}
        if self.exact:
            arrays["moments"] = self._moments
        return arrays if self._importance is None else arrays | {"importance_squares": self._squares}

    def to_tensors(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays by name, for `from_tensors`."""
        settings = {"axis": asdict(self.axis), **{name: getattr(self, name) for name in SETTINGS}}
        tensors = {"settings": np.frombuffer(json.dumps(settings).encode(), np.uint8), "atoms": self.atoms}
        return {name: value.copy() for name, value in (tensors | self._arrays()).items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """Make the counts that `to_tensors` described. Raises ValueError for other arrays."""
        try:
            settings = json.loads(bytes(tensors["settings"]).decode())
            axis = Axis(**settings.pop("axis"))
            if tensors["table"].shape != (axis.n_bins + FIRST_BIN + 1,):
                raise ValueError(f"{tensors['table'].size} numbers for {axis.n_bins} bins")
            counts = cls(axis, atoms=tensors["atoms"], **settings)
            if "importance_mass" in tensors:
                counts._weighed()
            for name, part in counts._arrays().items():
                if tensors[name].shape != part.shape:
                    raise ValueError(f"{name} has shape {tensors[name].shape}, not {part.shape}")
                np.copyto(part, tensors[name], casting="no")
            _check_counts(counts, tensors)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise ValueError(f"these arrays are not binned counts: {error}") from error
        return counts


def add_columns(
    counts: Sequence[BinnedCounts], x: ArrayLike, sample_weight: ArrayLike | None = None, *, n_jobs: int | None = None
) -> None:
    """Count column j of x, (N, D), into ``counts[j]``, in blocks of rows so that memory is read once.

    Raises as `BinnedCounts.add` does, and ValueError where x has not as many columns as there are counts.
    """
    table = as_real(x)
    if table.ndim != 2 or table.shape[1] != len(counts):
        raise ValueError(f"x has shape {table.shape}; for {len(counts)} counts it must be (N, {len(counts)})")
    n_threads = threads_of(n_jobs)
    weights = None if sample_weight is None else check_weights(sample_weight, len(table))
    if weights is not None and weights.dtype.kind == "i" and len(weights):
        _require_room(counts, float(weights.max()) * len(weights))
    n_rows = max(1, len(table)) if table.flags.f_contiguous else ROWS

    def work(part: Sequence[BinnedCounts], first: int, last: int) -> None:
        for start in range(first, last, n_rows):
            rows = slice(start, min(start + n_rows, last))
            for each, column in zip(part, np.ascontiguousarray(table[rows].T), strict=True):
                each._add(_read_only(column), None if weights is None else weights[rows])

    n_parts = min(n_threads, len(table) // BLOCK)
    if n_parts < 2:
        work(counts, 0, len(table))
        return
    parts = [[each.empty_like() for each in counts] for _ in range(n_parts)]
    cuts = [len(table) * i // n_parts for i in range(n_parts + 1)]
    with ThreadPoolExecutor(n_parts) as pool:
        list(pool.map(work, parts, cuts[:-1], cuts[1:]))
    for part in parts:
        for each, more in zip(counts, part, strict=True):
            each.merge(more)


def threads_of(n_jobs: int | None) -> int:
    """How many threads that asks for: one for None, all processors for -1. Raises ValueError for 0."""
    if n_jobs == 0:
        raise ValueError("n_jobs is 0; give a number of threads from 1 on, or -1 for all processors")
    return 1 if n_jobs is None else n_jobs if n_jobs > 0 else max((os.cpu_count() or 1) + 1 + n_jobs, 1)


def as_real(x: ArrayLike) -> NDArray[Any]:
    """Real numbers as an array, without a copy; masked ones become NaN. Raises TypeError for anything else."""
    if isinstance(x, np.ma.MaskedArray):
        return np.ma.filled(x.astype(np.float64), np.nan)
    array = np.asarray(x)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"x holds {array.dtype}; real numbers are needed, floats, integers or booleans: convert it")
    return array


def _place(axis: Axis, ends: FloatArray) -> tuple[float, float, int, int, float, float]:
    """Of the bins, and the ends beyond which points are told of, for the kernels."""
    return axis.start, 1 / axis.width, axis.first, axis.n_bins, ends[0], ends[1]


def _warp(axis: Axis) -> tuple[tuple[float, float], tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]:
    """Center and 1 / scale of an asinh axis, and room for the kernels to work in."""
    assert axis.scale is not None
    scratch, logs = np.empty((2, 128), np.float32)
    return (axis.center, 1 / axis.scale), (scratch, scratch.view(np.int32), logs)


def _widen(extremes: FloatArray, x: NDArray[np.floating]) -> None:
    """Widen extremes (2,), least and greatest, to the finite ones of x."""
    ends = float(x.min(initial=math.inf)), float(x.max(initial=-math.inf))
    if math.isnan(ends[0]) or ends[0] == -math.inf or ends[1] == math.inf:
        x = x[np.isfinite(x)]
        ends = float(x.min(initial=math.inf)), float(x.max(initial=-math.inf))
    extremes[:] = min(extremes[0], ends[0]), max(extremes[1], ends[1])


def _require_room(counts: Sequence[BinnedCounts], more: float) -> None:
    if any(float(each.n + each.n_nan) + more > LARGEST_COUNT for each in counts):
        raise ValueError(f"{more:g} more points would pass 2^62, the most that can be counted: use smaller frequencies")


def check_weights(sample_weight: ArrayLike, n: int) -> NDArray[Any]:
    """Frequencies as int64 or importance weights as float64, (n,). Raises TypeError, ValueError."""
    if np.ma.is_masked(sample_weight):
        raise ValueError(
            "sample_weight has masked entries: leave those points out, or fill in 0, sample_weight.filled(0)"
        )
    weights = np.asarray(sample_weight)
    if weights.dtype.kind not in "fiub":
        raise TypeError(f"sample_weight holds {weights.dtype}; give integers (frequencies) or floats (importance)")
    if weights.shape != (n,) and weights.shape != (n, 1):
        raise ValueError(f"sample_weight has shape {weights.shape}; it must be ({n},), one weight for each point")
    weights = weights.reshape(-1)
    if n and not (weights.min() >= 0 and weights.max() < math.inf):
        where = int(np.argmin((weights >= 0) & (weights < math.inf)))
        raise ValueError(f"sample_weight[{where}] is {weights[where]}; weights must be finite and not negative")
    if n and weights.dtype.kind == "f" and not (weights.max() == 0 or 1e-100 < weights.max() < 1e100):
        raise ValueError(f"sample_weight reaches {weights.max():g}; divide by a number that brings it near 1")
    if n and weights.dtype.kind == "u" and weights.max() > LARGEST_COUNT:
        raise ValueError(f"sample_weight reaches {weights.max()}; frequencies must stay below 2^62")
    return _read_only(weights.astype(np.float64 if weights.dtype.kind == "f" else np.int64, copy=False))


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """A view that cannot be written to: of whatever origin, arrays are then of one type, and kernels compiled once."""
    view = array.view()
    view.flags.writeable = False
    return view


def _check_counts(counts: BinnedCounts, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Raises ValueError for what no data can give: counts below 0, weights of NaN, extremes beyond the bins."""
    for name in ("table", "atom_table", "importance_table", "importance_atom_table"):
        if name in tensors and tensors[name].size:
            least, total = int(tensors[name].min()), float(tensors[name].astype(np.float64).sum())
            if least < 0 or total > LARGEST_COUNT:
                raise ValueError(f"{name} holds {least if least < 0 else total:g}, which is no number of points")
    for name in ("importance_mass", "importance_atom_mass", "importance_squares"):
        if name in tensors and not (np.isfinite(tensors[name]).all() and tensors[name].min(initial=0) >= 0):
            raise ValueError(f"{name} holds a weight that is negative or not finite")
    if "moments" in tensors and not np.isfinite(tensors["moments"]).all():
        raise ValueError("moments are not finite")
    low, high = counts.minimum, counts.maximum
    if (low, high) == (math.inf, -math.inf):
        return
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"the extremes are {low} and {high}; they must be finite and in order")
    axis = counts.axis
    ends = axis.transform([low, high])
    start = axis.start + (axis.first - 1) * axis.width  # a bin further: edges are rounded
    under, over = ends[0] < start, ends[1] > start + (axis.n_bins + 2) * axis.width
    if (under and not counts.n_under) or (over and not counts.n_over):
        raise ValueError(f"the extremes are {low:g} and {high:g}, beyond the bins, where nothing was counted")
