"""How far the columns of two tables are apart, and how far chance alone would take them.

Let F and G be the distribution functions of m old and n new rows, N = m + n, f = m / N, H that of all pooled. Chance is
the random split of the pooled rows into m and n. Given those, the number of old rows up to x is hypergeometric, and
F(x) - G(x) is its deviation from the mean times N / (m n). W1 and the total variation are T = sup_s int s d(F - G) over
a family of functions s. Such a T exceeds

    floor = E T + sup_s t_s,    t_s: z standard deviations of int s d(F - G), where P(normal > z) = alpha,

with probability alpha at most where F - G is a Gaussian process, as for large m and n it is: the median of T is at most
its mean, and the Gaussian isoperimetric inequality (Borell 1975; Tsirelson, Ibragimov, Sudakov 1976) bounds what lies
beyond. The largest s is x itself for W1, hence the difference of the means, and for the total variation the set whose
probability is next to 1/2.

E T is summed from the mean absolute deviation of a binomial (De Moivre 1730), exactly but for its correction to a
hypergeometric. Where parts of unlike size meet a skewed column, a rare value that falls to the smaller part counts
much: there t_s is where the log-likelihood ratio of rows that are Bernoulli(f) is z^2 / 2, from K(lambda) =
sum_k N p_k log(1 - f + f exp(lambda a_k)). Weighted rows count by Kish's effective number. alpha is that of the whole
table, divided by the number of statistics it is tested with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from scipy.special import gammaln

from gaussmix._typing import FloatArray
from gaussmix.density.quantity import NUMBER, Quantity
from gaussmix.tables.column import DAY, ColumnDensity, numbers_in
from gaussmix.tables.values import ValueCounts, keys_of

MOST_CELLS = 100  # of a total variation: a picture shows no more, and each adds to what chance does
MOST_NAMED = 50  # categories, of each column
QUANTILES = np.array([0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99])
_FEW = 20
_OTHERS, _ALONE = "(rarer ones)", ("(rare, of the old table)", "(rare, of the new table)")
_WEI_DUDLEY = 2.17  # of parts of one size; of unlike ones the constant was found by trial, not proved
_LARGE = 1e3  # variance from which on the mean deviation of a binomial is that of a normal law
_PARTS, _MOST_BARS, _LEAST_BAR, _HEAVY = 90, 40, 0.02, 3.0  # what is drawn: shares, and multiples of those beside
_SKEWED = 0.1  # skewness times z from which on the normal quantile is not good enough


class Move(NamedTuple):
    """A quantile (``at`` the probability) or a category (``at`` its name) of both; whether it moved beyond chance."""

    at: Any
    old: float
    new: float
    beyond: bool

    @property
    def change(self) -> float:
        """From old to new."""
        return self.new - self.old


class SharedCells(NamedTuple):
    """Two columns on one row of places: increasing ``x`` (K,), the shares of ``old`` and ``new`` there (K,)."""

    x: FloatArray
    old: FloatArray
    new: FloatArray

    def wasserstein(self) -> float:
        """W1 of both, in the unit of x."""
        return float(np.abs(np.cumsum(self.old - self.new)[:-1]) @ np.diff(self.x))

    def quantiles(self, shares: FloatArray, q: FloatArray) -> FloatArray:
        """Where the cumulated ``shares``, those of old or new, reach q."""
        at = np.searchsorted(np.cumsum(shares), q - 1e-12)
        return self.x[np.minimum(at, len(self.x) - 1)]

    def coarse(self, chance: Chance) -> tuple[FloatArray, FloatArray]:
        """Shares of both in cells of about equal pooled probability.

        There are about 2 k^(2/5) of them, k = m n / (m + n), as for a test of fit (Mann and Wald 1942), `MOST_CELLS` at
        most. A value that holds more than its cell is one by itself.
        """
        n_cells = min(MOST_CELLS, max(4, round(2 * chance.unit**-0.4)))
        pooled = chance.pooled(self.old, self.new)
        cell = np.floor((np.cumsum(pooled) - pooled / 2) * n_cells)
        first = np.flatnonzero(np.diff(cell, prepend=-1.0))
        return np.add.reduceat(self.old, first), np.add.reduceat(self.new, first)


def shared_cells(old: ValueCounts, new: ValueCounts, unit: float = 1.0) -> SharedCells:
    """Shares of two columns in the cells of the coarser one, at a value of each, divided by ``unit``.

    Cells depend on values alone, so nothing is interpolated: what both counted is moved within cells at most.
    """
    level = int(max(old.levels[0], new.levels[0]))
    values = np.concatenate([old.values, new.values])
    keys, first, cell = np.unique(keys_of(values) >> level, return_index=True, return_inverse=True)
    shares = []
    for counts, places in zip((old, new), np.split(cell, [len(old.values)]), strict=True):
        mass = counts.sums.number if counts.sums.mass is None else counts.sums.mass
        amount = np.bincount(places, mass, len(keys))
        shares.append(amount / amount.sum())
    return SharedCells(values[first] / unit, *shares)


@dataclass(frozen=True)
class Chance:
    """The random split of pooled rows into ``m`` and ``n``, as far as ``z`` standard deviations of a normal law go."""

    m: float
    n: float
    z: float

    @property
    def unit(self) -> float:
        """N / (m n): what a deviation of one row is as a difference of shares."""
        return 1 / self.m + 1 / self.n

    def pooled(self, old: FloatArray, new: FloatArray) -> FloatArray:
        """Shares of all rows."""
        return (self.m * old + self.n * new) / (self.m + self.n)

    def deviations(self, shares: FloatArray) -> FloatArray:
        """E|F - G| where H is each of ``shares``."""
        rare = np.clip(np.minimum(shares, 1 - shares), 0.0, 0.5)
        count, f = rare * (self.m + self.n), self.m / (self.m + self.n)
        variance = count * f * (1 - f)
        of_rows = np.where(variance > _LARGE, np.sqrt(2 / np.pi * variance), _binomial_deviation(count, f))
        return self.unit * of_rows * np.sqrt(1 - rare)

    def of_means(self, x: FloatArray, shares: FloatArray) -> float:
        """How far the means of values x (K,), with pooled ``shares`` (K,), come apart."""
        total, f = self.m + self.n, self.m / (self.m + self.n)
        a = x - shares @ x
        largest = float(np.abs(a).max()) or 1.0
        a /= largest  # whose square does not overflow
        sd = self.unit * math.sqrt(total * f * (1 - f) * float(shares @ a**2))
        if not sd > 0:
            return 0.0
        a, sd = a * (self.unit / sd), sd * largest
        skewness = total * f * (1 - f) * (1 - 2 * f) * float(shares @ a**3)
        if f * (1 - f) > 1 / 6 and abs(skewness) * self.z < _SKEWED:  # and tails lighter than those of a normal law
            return self.z * sd
        return sd * max(_at_likelihood_ratio(sign * a, shares * total, f, self.z) for sign in (1.0, -1.0))

    def wasserstein(self, x: FloatArray, shares: FloatArray) -> float:
        """The floor of W1, of increasing x (K,) with pooled ``shares`` (K,)."""
        return float(np.diff(x) @ self.deviations(np.cumsum(shares)[:-1])) + self.of_means(x, shares)

    @property
    def kolmogorov_smirnov(self) -> float:
        """The floor of sup |F - G|, P(normal > z) = C exp(-2 d^2 / unit), C = 2.17 as Wei and Dudley (2012)."""
        return min(1.0, math.sqrt(self.unit / 2 * math.log(_WEI_DUDLEY / (1 - NormalDist().cdf(self.z)))))

    def total_variation(self, shares: FloatArray) -> float:
        """The floor of the total variation between the shares of cells, (K,) when pooled."""
        most = float(shares.max(initial=0.0))
        expected = float(self.deviations(shares).sum()) / 2
        if most <= 0.5:
            return min(1.0, expected + self.z * math.sqrt(self.unit) / 2)
        return min(1.0, expected + self.of_means(np.array([0.0, 1.0]), np.array([most, 1 - most])))


def _binomial_deviation(count: FloatArray, f: float) -> FloatArray:
    """E|B - count f| of B from Binomial(count, f); counts under 1, as weights make them, are taken for rare rows."""
    k = np.floor(count * f) + 1
    rest = np.maximum(count - k, 0.0)
    log = gammaln(count + 1) - gammaln(k + 1) - gammaln(rest + 1) + k * math.log(f) + (rest + 1) * math.log1p(-f)
    return np.where(count < k, 2 * count * f * (1 - f), 2 * k * np.exp(log))


def _at_likelihood_ratio(a: FloatArray, counts: FloatArray, f: float, z: float) -> float:
    """K'(lambda) where lambda K'(lambda) - K(lambda) = z^2 / 2, K(lambda) = sum counts log(1 - f + f exp(lambda a)).

    ``counts @ a`` is 0, and K''(0) is 1. The largest K' where no split of the rows is that unlikely.
    """
    at, slope, (log_f, log_rest) = z, 0.0, (math.log(f), math.log1p(-f))
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(log_f - log_rest + at * a, -700.0, 700.0)))
        value = float(counts @ np.logaddexp(log_rest, log_f + at * a))
        slope, curvature = float(counts @ (p * a)), float(counts @ (p * (1 - p) * a * a))
        off = at * slope - value - z * z / 2
        if abs(off) < 1e-4 * z * z or curvature * at * at < 1e-9:
            break
        at = min(max(at - off / (at * curvature), at / 3), 3 * at)  # Newton, by a factor 3 at most
    return slope


def count_tests(old: ColumnDensity | None, new: ColumnDensity | None) -> int:
    """How many measures of two columns have a floor."""
    if old is None or new is None:
        return 0
    both = numbers_in(old) is not None and numbers_in(new) is not None
    return bool(old.missing or new.missing) + 3 * both + bool(old.frequencies and new.frequencies)


def effective_share(columns: Iterable[ColumnDensity]) -> float:
    """How many rows tell as much as a unit of weight: 1 without weights; by Kish's sizes of the columns of numbers."""
    found = [each.size / (each.n_rows - each.missing) for each in columns if numbers_in(each) is not None]
    return float(np.median(found)) if found else 1.0


def deviations_of(alpha: float, n_tests: int) -> float:
    """How many standard deviations a normal law exceeds with probability alpha / n_tests."""
    return -NormalDist().inv_cdf(alpha / max(n_tests, 1))


def compare_numbers(old: ColumnDensity, new: ColumnDensity, z: float) -> dict[str, Any]:
    """What is measured of numbers, dates and durations."""
    cells, quantity = _cells_of(old, new)
    chance = Chance(old.size, new.size, z)
    places = [cells.quantiles(shares, QUANTILES) for shares in (cells.old, cells.new)]
    at = np.searchsorted(cells.x, places[0]) + np.array([[0], [1]])  # under the old quantile, and up to it
    cumulated = [np.append(0.0, np.cumsum(shares))[at] for shares in (cells.old, cells.new)]
    pooled = chance.pooled(*cumulated).clip(0.0, 1.0)
    reach = chance.deviations(pooled) + z * np.sqrt(chance.unit * pooled * (1 - pooled))
    beyond = (np.abs(cumulated[0] - cumulated[1]) > reach).any(0)
    moves = zip(*(each.tolist() for each in (QUANTILES, *places, beyond)), strict=True)
    return {
        "wasserstein_1": cells.wasserstein(),
        "wasserstein_1_floor": chance.wasserstein(cells.x, chance.pooled(cells.old, cells.new)),
        "kolmogorov_smirnov": float(np.abs(np.cumsum(cells.old - cells.new)[:-1]).max(initial=0.0)),
        "kolmogorov_smirnov_floor": chance.kolmogorov_smirnov,
        "spread": _spread(cells),
        **_shares(*cells.coarse(chance), chance),
        "quantiles": tuple(Move(*move) for move in moves),
        "quantity": quantity,
    }


def _cells_of(old: ColumnDensity, new: ColumnDensity) -> tuple[SharedCells, Quantity]:
    """Cells of both and what their numbers stand for: seconds, if those of one of them do."""
    first, second = numbers_in(old), numbers_in(new)
    assert first is not None
    assert second is not None
    quantity = old.quantity if old.quantity.unit != "D" else new.quantity
    return shared_cells(first, second, DAY if quantity.unit == "D" else 1.0), quantity


def _spread(cells: SharedCells) -> float:
    """Of the old column, as `ColumnDrift` says."""
    low, q25, q75, high = cells.quantiles(cells.old, np.array([0.05, 0.25, 0.75, 0.95])).tolist()
    off = np.abs(cells.x - cells.old @ cells.x)
    largest = float(off.max()) or 1.0
    return max((q75 - q25) / 1.349, (high - low) / 3.290) or largest * math.sqrt(
        float(cells.old @ (off / largest) ** 2)
    )


def _shares(old: FloatArray, new: FloatArray, chance: Chance) -> dict[str, float]:
    """Total variation and Jensen-Shannon divergence of shares (K,)."""
    middle = (old + new) / 2
    information = sum(float(p @ np.log(np.divide(p, middle, out=np.ones_like(p), where=p > 0))) for p in (old, new)) / 2
    return {
        "total_variation": min(float(np.abs(old - new).sum()) / 2, 1.0),
        "total_variation_floor": chance.total_variation(chance.pooled(old, new)),
        "jensen_shannon": max(information, 0.0),
    }


def compare_categories(old: ColumnDensity, new: ColumnDensity, chance: Chance) -> dict[str, Any]:
    """What is measured of categories. Where rare ones were left out it is what is certain: see `_paired`."""
    names, shares = _paired(old, new, chance.m + chance.n)
    pooled = chance.pooled(shares[0], shares[1])
    reach = chance.deviations(pooled) + chance.z * np.sqrt(chance.unit * pooled * (1 - pooled))
    beyond = np.abs(shares[0] - shares[1]) > reach
    rows = zip(names, *shares.tolist(), beyond.tolist(), strict=True)
    moves = [Move(*row) for row in rows if row[1] or row[2]]
    return {
        **_shares(shares[0], shares[1], chance),
        "categories": _first(moves, lambda move: abs(move.change)),
        "new_categories": _first([move for move in moves if not move.old], lambda move: move.new),
        "vanished_categories": _first([move for move in moves if not move.new], lambda move: move.old),
    }


def _paired(old: ColumnDensity, new: ColumnDensity, n_rows: float) -> tuple[list[str], FloatArray]:
    """Categories and their shares (2, K) in both, of so many rows together.

    A category that one table has and the other may have left out has there at most the share of the rarest that was
    kept, and all of them at most what was left out. It is given that much: the total variation is a lower bound. Where
    any were left out, those of both tables with fewer than `_FEW` rows are counted together: they are mostly chance.
    """
    totals = [sum((each.frequencies or {}).values()) + each.other for each in (old, new)]
    kept = [{k: v / n for k, v in (c.frequencies or {}).items()} for c, n in zip((old, new), totals, strict=True)]
    rest = [each.other / total for each, total in zip((old, new), totals, strict=True)]
    rows = {name: [share, kept[1][name]] for name, share in kept[0].items() if name in kept[1]}
    for k, j in ((0, 1), (1, 0)):
        alone = {name: share for name, share in kept[k].items() if name not in kept[j]}
        rarest = min(kept[j].values()) if rest[j] else 0.0
        frequent = [name for name, share in alone.items() if share > rarest]
        given = min(rarest, rest[j] / max(len(frequent), 1))
        rest[j] -= given * len(frequent)
        rare = sum(share for name, share in alone.items() if share <= rarest)
        shared = min(rare, rest[j])
        rest[j] -= shared
        for name in frequent:
            rows[name] = [alone[name], given] if k == 0 else [given, alone[name]]
        if rare:
            rows[_ALONE[k]] = [rare, shared] if k == 0 else [shared, rare]
    if any(rest):
        few = [name for name, pair in rows.items() if sum(pair) * n_rows < 2 * _FEW and name not in _ALONE]
        rows[_OTHERS] = [each + sum(rows[name][k] for name in few) for k, each in enumerate(rest)]
        rows = {name: pair for name, pair in rows.items() if name not in set(few)}
    shares = np.clip(np.array(list(rows.values())).T, 0.0, None)
    return list(rows), shares / shares.sum(1, keepdims=True)


def _first(moves: list[Move], key: Callable[[Move], float]) -> tuple[Move, ...]:
    """The largest."""
    return tuple(sorted(moves, key=lambda move: (-key(move), move.at))[:MOST_NAMED])


def ratio(value: float, unit: float) -> float:
    """Infinite of anything by nothing."""
    return value / unit if unit > 0 or math.isnan(value) else math.inf if value > 0 else 0.0


def short(quantity: Quantity, said: str) -> str:
    """A duration that was formatted, with three digits; others as they are."""
    if quantity.kind != "duration":
        return said
    number, _, unit = said.partition(" ")
    return f"{NUMBER.format(float(f'{float(number):.3g}'))} {unit}"


class Shapes(NamedTuple):
    """What is drawn of two columns from ``low`` to ``high``: old first, new second.

    ``lines`` (2, P) are shares of equal parts, without those of ``bars`` (3, B): single values and their two shares,
    ``step`` apart at least.
    """

    low: float
    high: float
    lines: FloatArray
    bars: FloatArray
    step: float

    def ticks(self, quantity: Quantity) -> list[tuple[float, str]]:
        """Places with room for their labels: round numbers, or sixths of dates and durations."""
        low, high = self.low, self.high
        if quantity.kind != "number":
            places = np.linspace(low, high, 7)[1::2]
        else:
            step = 10.0 ** math.floor(math.log10((high - low) / 3))
            step *= max(k for k in (1, 2, 5) if k * step <= (high - low) / 3)
            places = step * np.arange(math.ceil(low / step + 0.1), math.floor(high / step - 0.1) + 1)
        spread = (high - low) * (0.2 if quantity.kind == "duration" else 30)
        return [(x, short(quantity, quantity.format(x, spread))) for x in places.tolist()]


def shapes_of(old: ColumnDensity, new: ColumnDensity) -> Shapes:
    """The middle of two columns of numbers, cut alike: two fitted densities may differ more than their data.

    Of few values all are bars, else those that stand out from their neighbours. There are 2 n^(1/3) parts for n rows
    (Rice's rule), `_PARTS` at most; where values lie on a lattice, each holds as many of its steps.
    """
    cells, _ = _cells_of(old, new)
    both = (cells.old + cells.new) / 2
    low, q05, middle, q95, high = cells.quantiles(both, np.array([0.001, 0.05, 0.5, 0.95, 0.999])).tolist()
    if q95 > q05:  # long tails do not squeeze the middle
        low, high = max(low, middle - 2.5 * (q95 - q05)), min(high, middle + 2.5 * (q95 - q05))
    inside = (cells.x >= low) & (cells.x <= high)
    x, shares = cells.x[inside], np.stack([cells.old, cells.new])[:, inside]
    step = _step(x)
    if len(x) <= _MOST_BARS:
        return Shapes(x[0] - step, x[-1] + step, np.zeros((2, 0)), np.vstack([x, shares]), step)
    n_parts = min(_PARTS, max(12, round(2 * (2 / (1 / old.size + 1 / new.size)) ** (1 / 3))))
    n_steps = round((x[-1] - x[0]) / step) + 1 if step else 0
    width = step * math.ceil(n_steps / n_parts) if step else (x[-1] - x[0]) / n_parts
    edges = (
        x[0] - (step or width) / 2 + width * np.arange(math.ceil(n_steps * step / width) + 1 if step else n_parts + 2)
    )
    part = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, len(edges) - 2)
    total, n = shares.mean(0), len(edges) - 1
    of_parts = np.bincount(part, total, n).astype(np.float64)
    beside = np.convolve(of_parts, [0.5, 0.0, 0.5], "same")[part] + of_parts[part] - total
    heavy = (total > _LEAST_BAR) & (total > _HEAVY * beside)
    lines = np.array([np.bincount(part, np.where(heavy, 0.0, each), n) for each in shares], np.float64)
    return Shapes(edges[0], edges[-1], lines, np.vstack([x, shares])[:, heavy], width)


def _step(x: FloatArray) -> float:
    """The step of the lattice on which increasing values lie, 0 for none; of a single value its size."""
    gaps = np.diff(x)
    if len(gaps) == 0:
        return abs(float(x[0])) or 1.0
    parts = gaps / gaps.min()
    on_lattice = bool((np.abs(parts - np.rint(parts)) < 1e-3 * parts).all()) and parts.max() < 1e6
    return float(gaps.min()) if on_lattice or len(x) <= _MOST_BARS else 0.0
