"""Where the bins of a column lie, decided from its first numbers: from a sorted sample and the extremes.

Chosen are

- point masses (`gaussmix.density.ties`), and every value of a column that has at most `MAX_DISCRETE` different ones;
- the lattice of rounded values: bins one rounding step wide, centred on the values, or a whole number of steps;
- else a linear axis over the range, or an asinh axis where the range exceeds `HEAVY` times the distance of the 0.5 %
  and 99.5 % quantiles, or where single bins would hold too much: far points then cost little resolution.

That is a matter of resolution, not of correctness: bins hold whatever comes. `Layout` lays them for a model's columns:
by the first chunk, and again by a later one if that saw point masses only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gaussmix._typing import FloatArray, IntArray
from gaussmix.density.axis import LARGEST_POINT, Axis
from gaussmix.density.basis import GaussianBasis
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.reflection import Bounds
from gaussmix.density.ties import LEAST_REPEATS, are_tied, find_atoms, has_own_gaps

Span = tuple[float, float] | None
Warp = Literal["auto", "asinh"] | None

AXIS_BINS = 1 << 14
LATTICE_BINS = 1 << 16
SAMPLE = 1 << 13
HEAVY = 8.0
MOST_IN_BIN, COARSE = 0.01, 0.2
MOST_LENGTHS = 1e305  # of the scale in the range, so that lengths are finite
MAX_DISCRETE = 10
MAX_BINS = 1 << 16
_FEWEST, _ENOUGH = 12, 100  # different numbers that say how wide bins shall lie, and whether they are rounded
_MORE = 20  # numbers, rounded ones, that say so as well

Bins = tuple[BinnedCounts, GaussianBasis | None]  # empty counts, and the basis on whose axis they lie


@dataclass(frozen=True)
class RobustSummary:
    """Location and spread of a sorted sample; ``scale`` is near a standard deviation, and robust."""

    median: float
    scale: float
    low: float  # the 0.5 % quantile
    high: float  # the 99.5 % quantile
    central: float  # from the one to the other


def take_sample(x: NDArray[np.floating], frequencies: NDArray[np.integer] | None = None) -> FloatArray:
    """Sorted: all of a column, or `SAMPLE` of its numbers, at places that a fixed seed draws.

    With ``frequencies`` (N,), how often each number came, the sample is that of the repeated rows.
    """
    ends = None if frequencies is None else np.cumsum(frequencies, dtype=np.int64)
    n = len(x) if ends is None else int(ends[-1])
    if n > SAMPLE:
        starts = (np.arange(SAMPLE + 1) * (n / SAMPLE)).astype(np.int64)  # of strata: one number comes from each
        places = starts[:-1] + (np.random.default_rng(0).random(SAMPLE) * np.diff(starts)).astype(np.int64)
        x = x[places if ends is None else np.searchsorted(ends, places, side="right")]
    elif frequencies is not None:
        x = np.repeat(x, frequencies)
    return np.sort(x.astype(np.float64))


def summarise(sample: FloatArray) -> RobustSummary:
    """Of a sorted sample that holds at least one number; the scale is 0 for a constant."""
    low, q5, q25, median, q75, q95, high = np.quantile(sample, [0.005, 0.05, 0.25, 0.5, 0.75, 0.95, 0.995]).tolist()
    scale = max(q75 - q25, (q95 - q5) / 3, (high - low) / 8) or float(sample[-1] - sample[0])
    return RobustSummary(median, scale, low, high, high - low)


def choose_axis(
    sample: FloatArray, low: float, high: float, *, span: Span = None, warp: Warp = "auto", stream: bool = False
) -> tuple[Axis, FloatArray, bool]:
    """Bins for a column of which a ``sample`` (sorted, finite) was seen, with extremes low <= high.

    After them the atoms (A,), and whether the other values were rounded.

    ``span`` says where the bins shall lie instead. With ``stream``, more data will come and may lie further out; an
    asinh axis is then taken wherever no lattice is found.
    """
    check_size(low, high)
    values, repeats = np.unique(sample, return_counts=True)
    step = rounding_step(values, repeats)
    early = stream and len(values) == 2 and are_tied(repeats)  # too few to say what they are, and one came again
    atoms = values if low == high or early else point_masses(values, repeats, step)
    others = ~np.isin(values, atoms)
    tied = are_tied(repeats[others])
    if span is not None:
        return _even(*span), atoms, tied
    if low == high or len(atoms) == len(values):  # other values may still come: wide bins on an asinh axis
        return _even(-8.0, 8.0, low / 2 + high / 2, high - low or abs(low) or 1.0), atoms, False
    own_gaps = step > 0 and tied and others.sum() > 10 and has_own_gaps(values[others], repeats[others], step)
    if warp != "asinh" and step > 0 and not own_gaps:
        return _on_lattice(values[0], step, summarise(sample), low, high, stream), atoms, tied
    return _resolving(sample[~np.isin(sample, atoms)], low, high, warp, stream), atoms, tied


def _resolving(sample: FloatArray, low: float, high: float, warp: Warp, stream: bool) -> Axis:
    """The first axis on which no bin holds more than `MOST_IN_BIN` of the sorted sample, else where it holds least.

    Tried are the linear axis, unless far outliers or a stream speak against it, and asinh axes: around the median, the
    robust spread and then the distance of the quartiles their scale; and from either end, for skewed heavy tails, which
    are logarithmic there down to the distance of the first percent.
    """
    if len(sample) < 2:
        return _even(low, high)
    shape = summarise(sample)
    q1, q25, q75, q99 = np.quantile(sample, [0.01, 0.25, 0.75, 0.99]).tolist()
    around = [(shape.median, shape.scale), (shape.median, q75 - q25), (low, q1 - low), (high, high - q99)]
    least = max((high - low) / MOST_LENGTHS, float(np.finfo(float).tiny))
    bent = [] if warp is None else [(center, scale) for center, scale in around if least < scale]
    heavy = high - low > HEAVY * shape.central > 0
    straight = [] if bent and (warp == "asinh" or heavy or stream) else [(0.0, None)]
    enough = max(MOST_IN_BIN, 3 / len(sample))
    tried: list[tuple[float, int, Axis]] = []
    for center, scale in (*straight, *bent):
        ends = (low, high) if scale is None else np.arcsinh((np.array([low, high]) - center) / scale)
        axis = _even(float(ends[0]), float(ends[1]), center, scale)
        places = np.floor((axis.transform(sample) - axis.origin) / axis.width)
        share = float(np.unique(places, return_counts=True)[1].max()) / len(sample)
        if share <= enough:
            return axis
        tried.append((share, len(tried), axis))
    best = min(tried)
    if best[0] > COARSE and any(0 < scale <= least for _, scale in around):
        raise ValueError(f"the numbers, {low:g} to {high:g}, lie over more than 300 decades: learn their logarithms")
    return best[2]


def choose_basis(
    sample: FloatArray,
    low: float,
    high: float,
    n_components: int,
    bandwidth: float,
    *,
    bounds: Bounds = (None, None),
    span: Span = None,
    warp: Warp = "auto",
    stream: bool = False,
) -> tuple[GaussianBasis, FloatArray]:
    """A fixed basis for the same column, and atoms (A,).

    It spans ``span``; or the data, far outliers left out, up to the bounds where there are any, with a margin of a
    tenth if more data will come (``stream``). ``warp="asinh"`` takes all data onto an asinh axis; "auto" and None stay
    linear.
    """
    check_size(low, high)
    values, repeats = np.unique(sample, return_counts=True)
    atoms = values if low == high else point_masses(values, repeats, rounding_step(values, repeats))
    if span is not None:
        return GaussianBasis.spanning(*_with_ends(*span), n_components, bandwidth), atoms
    shape = summarise(sample)
    if warp != "asinh" and high - low > HEAVY * shape.central > 0:
        low, high = max(low, shape.low - shape.central / 2), min(high, shape.high + shape.central / 2)
    if low == high:
        low, high = low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2
    margin = (high - low) * (0.1 if stream else 0.0)
    low = low - margin if bounds[0] is None else bounds[0]
    low, high = _with_ends(low, high + margin if bounds[1] is None else bounds[1])
    center, scale = (shape.median, shape.scale or 1.0) if warp == "asinh" else (0.0, None)
    return GaussianBasis.spanning(low, high, n_components, bandwidth, center=center, scale=scale), atoms


def check_size(low: float, high: float) -> None:
    """Raises ValueError for numbers larger than bins can hold, or closer together."""
    if max(-low, high) > LARGEST_POINT:
        raise ValueError(f"the numbers reach from {low:g} to {high:g}, beyond +-2^1000; divide them by a large number")
    if 0 < high - low < 1 / LARGEST_POINT:
        raise ValueError(f"the numbers, {low:g} to {high:g}, lie within 2^-1000; multiply them by a large number")


def _even(low: float, high: float, center: float = 0.0, scale: float | None = None) -> Axis:
    """`AXIS_BINS` bins over [low, high], in u."""
    width = max((_with_ends(low, high)[1] - low) / AXIS_BINS, np.finfo(float).tiny)
    return Axis(low, width, AXIS_BINS, center=center, scale=scale)


def _on_lattice(value: float, step: float, shape: RobustSummary, low: float, high: float, stream: bool) -> Axis:
    """Bins of a whole number of steps, with edges between values; other bins would hold now more values, now fewer.

    One step a bin, as long as `LATTICE_BINS` suffice. Values far out, beyond `HEAVY` / 2 times the central spread, may
    stay outside: bins that held them all would be too coarse for the others. For a stream, all of `LATTICE_BINS` lie
    around what has been seen.
    """
    reach = HEAVY / 2 * shape.central
    if (high - low) / step >= LATTICE_BINS and reach > 0:
        low, high = max(low, shape.low - reach), min(high, shape.high + reach)
    first, last = round((low - value) / step), round((high - value) / step)
    if stream:
        room = max(LATTICE_BINS - (last - first + 1), 0)
        first, last = first - room // 2, last + room - room // 2
    steps = -(-(last - first + 1) // LATTICE_BINS)
    n_bins = -(-(last - first + 1) // steps)
    return Axis(value + step * (first - 0.5), step * steps, n_bins)


def _with_ends(low: float, high: float) -> tuple[float, float]:
    """A little less than low and more than high: in spite of rounding, both then lie in bins, not on their edge."""
    little = max((high - low) * 1e-12, 4 * float(np.spacing(max(abs(low), abs(high)))))
    return low - little, high + little


def rounding_step(values: FloatArray, repeats: IntArray) -> float:
    """The step of the lattice on which the values lie, 0.0 if there is none. ``values`` ascend without repetition."""
    if len(values) < 3 or not are_tied(repeats):
        return 0.0
    gaps = np.diff(values)
    step = float(gaps[gaps > 1e-6 * np.median(gaps)].min())
    span = float(values[-1] - values[0])
    if not span < step * LARGEST_POINT:  # no number of steps
        return 0.0
    for _ in range(2):  # the least gap carries the rounding of two values, the whole range much less of it
        step = span / max(round(span / step), 1)
    phase = (values - values[len(values) // 2]) / step  # not from an end, which may be too large for the others' digits
    off = np.abs(phase - np.rint(phase)) * step
    precision = 1e-3 * step + 2e-7 * np.abs(values)  # decimals kept in single precision are that far off
    return step if bool(np.all(off <= np.minimum(precision, 0.1 * step))) else 0.0


def point_masses(values: FloatArray, repeats: IntArray, step: float) -> FloatArray:
    """Values that are point masses: every one of a column that has few, else those that `find_atoms` finds."""
    n = int(repeats.sum())
    if len(values) <= MAX_DISCRETE and n >= max(20, 4 * len(values)):
        return values if n < SAMPLE else values[repeats >= LEAST_REPEATS]
    return find_atoms(values, repeats, step)


@dataclass(frozen=True)
class Layout:
    """What a model's parameters say of bins; ``on_basis``: components, bandwidth and ``exact`` of a fixed basis."""

    span: Span
    bounds: Bounds
    warp: Warp
    on_basis: tuple[int, float, bool] | None

    def bins(
        self, column: NDArray[np.floating], ends: tuple[float, float], repeats: NDArray[Any] | None, stream: bool
    ) -> Bins:
        """Bins for a column (N,), or its first rows (``stream``), with these extremes, NaN if they are not known.

        ``repeats`` (N,) says how often each number came.
        """
        low, high = ends
        if repeats is not None or not (math.isfinite(low) and math.isfinite(high)):
            kept = np.isfinite(column) if repeats is None else np.isfinite(column) & (repeats > 0)
            column, repeats = column[kept], None if repeats is None else repeats[kept]
            if len(column) == 0:
                raise ValueError("a column holds no finite number (in its first chunk); there is nothing to learn from")
            low, high = float(column.min()), float(column.max())
        sample = take_sample(column, repeats)
        options: Any = {"span": self.span, "warp": self.warp, "stream": stream}
        if self.on_basis is None:
            axis, atoms, tied = choose_axis(sample, low, high, **options)
            grow = stream and axis.scale is not None
            return BinnedCounts(axis, atoms=atoms, tied=tied, grow=grow, max_bins=MAX_BINS), None
        n_components, bandwidth, exact = self.on_basis
        basis, atoms = choose_basis(sample, low, high, n_components, bandwidth, bounds=self.bounds, **options)
        return BinnedCounts(basis.axis(), atoms=atoms, exact=exact), basis

    def again(self, counts: BinnedCounts, column: NDArray[np.floating], sample_weight: Any) -> Bins | None:
        """Counts on new bins, for those of which all points lie on point masses, where a chunk (N,) brings others.

        None where it brings too few to say how wide bins shall lie: fewer than `_FEWEST`, unless all that were seen
        repeat. Of a dozen numbers nobody knows whether they are rounded: their bins lie on an asinh axis, which grows
        both ways.
        """
        if not 0 < counts.atom_counts.sum() == counts.n:
            return None
        others = np.isfinite(column) & ~np.isin(column, counts.atoms)
        if np.size(sample_weight) == len(column):
            others &= np.reshape(sample_weight, -1) != 0
        different, repeats = len(np.unique(column[others])), frequencies(sample_weight, len(column))
        new = others.astype(np.int64) if repeats is None else np.where(others, repeats, 0)
        met = counts.atom_counts[counts.atom_counts > 0]
        met = met[: len(met) * (len(met) > 2)]  # one or two say nothing of rounding
        seen = int(new.sum()) + met.clip(max=LEAST_REPEATS).sum()
        rounded = different > 0 and seen >= max(_MORE, LEAST_REPEATS / 2 * (different + len(met)))
        if different < _FEWEST and not rounded:
            return None
        guess = different < _ENOUGH and self.on_basis is None and not rounded
        layout = Layout(self.span, self.bounds, "asinh" if guess else self.warp, self.on_basis)
        both = np.append(counts.atoms, column), np.append(counts.atom_counts.clip(max=int(new.sum())), new)
        empty, basis = layout.bins(both[0], (math.nan, math.nan), both[1], True)
        return counts.relaid(empty), basis


def frequencies(sample_weight: Any, n: int) -> NDArray[np.integer] | None:
    """Weights (n,) that are frequencies; importance weights do not move bins, wrong ones are refused in counting."""
    given = np.asarray(sample_weight).reshape(-1)
    return given if given.dtype.kind in "iu" and given.shape == (n,) and given.any() else None
