"""Rows of a table: a bounded sample of those that were learnt, and new ones, drawn from marginals and a copula.

The latent Z ~ N(0, R) of a new row is drawn given what conditions say of some dimensions: numbers (E), or intervals
that they lie in (I: ranges, values that have a probability, categories, missing or not):

    Z_I | z_E           N(m, S) within the intervals, one dimension after the other (GHK), each row weighed by the
                        probability of its intervals; rows drawn again by weight; Gibbs sweeps
    Z_rest | z_E, z_I   N(R_rC R_CC^{-1} z_C, R_rr - R_rC R_CC^{-1} R_Cr),    C = E and I

With one dimension in I the first is exact too. Of a column with missing values F_j is the law of those that are not
missing, and what is drawn is F_j^{-1}(G(Z_j)), with G(z) = P(Z_j <= z | Z_{j'} > t): marginals are kept.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from gaussmix._typing import FloatArray

if TYPE_CHECKING:
    from gaussmix.tables.column import ColumnDensity
    from gaussmix.tables.copula import Copula
    from gaussmix.tables.reading import ColumnCells

MOST_ROWS, MOST_CELLS = 2**16, 2**23  # kept of a table: correlations are then known to .004; at most 64 MB
_LAST = np.uint64(2**64 - 1)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)

_PARTICLES = 1000  # at least, for rows in several intervals
_SWEEPS = 30  # of Gibbs sampling behind them
_LEAST_PROBABILITY = 1e-12  # of conditions
_NO_MASS = 1e-9  # of a value: a density's, not a point mass
_REACH = 8.0  # standard deviations
_BOOLEANS = {"true": True, "false": False}

Intervals = FloatArray  # (k, 2) ends


class Conditions(NamedTuple):
    """What is known of dimensions of Z: numbers, or intervals one of which they lie in."""

    exact: dict[int, float]
    within: dict[int, Intervals]


# -- kept


class RowSample:
    """A uniform sample of the distinct rows of a table, with how often each occurs: those of least hash.

    Which rows stay depends on what they hold, not on where they stand: chunks, files and partitions in any order give
    the same sample. Rows are numbers, NaN where missing; those of categories are places in ``levels``.
    """

    def __init__(self, n_columns: int, limit: int | None = None):
        self.limit = limit or max(1, min(MOST_ROWS, MOST_CELLS // max(n_columns, 1)))
        self.keys = np.zeros(0, np.uint64)
        self.rows = np.zeros((0, n_columns))
        self.weights: FloatArray = np.zeros(0)
        self.levels: list[list[str]] = [[] for _ in range(n_columns)]

    def add(
        self, columns: Sequence[NDArray[Any]], levels: Sequence[list[str] | None], weights: FloatArray | None = None
    ) -> Self:
        """Take in rows: a (N,) array a column, of numbers, or of places in its ``levels`` (-1 or NaN: missing)."""
        n, keys = len(columns[0]), hash_rows(columns, levels)
        weights = np.ones(n) if weights is None else np.asarray(weights, np.float64)
        if len(self.keys) == self.limit or not weights.all():
            kept = np.flatnonzero((weights > 0) & (keys <= (self.keys[-1] if len(self.keys) == self.limit else _LAST)))
            keys, weights = keys[kept], weights[kept]
        else:
            kept = np.arange(n)
        chunk = RowSample(len(columns), self.limit)
        chunk.keys, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        chunk.weights = np.bincount(inverse, weights, len(first)).astype(np.float64)
        kept = kept[first[: self.limit]]
        chunk.keys, chunk.weights = chunk.keys[: self.limit], chunk.weights[: self.limit]
        chunk.rows = np.column_stack([np.asarray(values)[kept].astype(np.float64) for values in columns])
        chunk.rows[~np.isfinite(chunk.rows)] = np.nan
        for j, names in enumerate(levels):
            if names is not None:
                chunk.levels[j] = list(names)
                chunk.rows[chunk.rows[:, j] < 0, j] = np.nan
        return self.merge(chunk)

    def add_cells(self, columns: Sequence[ColumnCells], weights: Any = None) -> Self:
        """Take in rows of a batch."""
        values = [each.codes if each.numbers is None else each.numbers for each in columns]
        return self.add(values, [list(each.names) if each.numbers is None else None for each in columns], weights)

    def merge(self, other: RowSample) -> Self:
        """Take in another sample."""
        rows = other.rows.copy()
        for j, names in enumerate(other.levels):
            if names != self.levels[j]:
                place = {name: k for k, name in enumerate(self.levels[j])}
                codes = np.array([place.setdefault(name, len(place)) for name in names] + [np.nan])
                rows[:, j] = codes[np.where(np.isnan(rows[:, j]), len(names), rows[:, j]).astype(np.int64)]
                self.levels[j] = list(place)
        keys, first, inverse = np.unique(
            np.concatenate([self.keys, other.keys]), return_index=True, return_inverse=True
        )
        weights = np.bincount(inverse, np.concatenate([self.weights, other.weights]), len(keys)).astype(np.float64)
        first = first[: self.limit]
        self.keys, self.weights = keys[: self.limit], weights[: self.limit]
        self.rows = np.concatenate([self.rows, rows])[first]
        return self


def hash_rows(columns: Sequence[NDArray[Any]], levels: Sequence[Sequence[str] | None]) -> NDArray[np.uint64]:
    """64 bits (N,) of each row; the arguments are those of `RowSample.add`."""
    keys = np.zeros(len(columns[0]), np.uint64)
    for values, names in zip(columns, levels, strict=True):
        keys = _mixed(keys * _GOLDEN + _hashes(np.asarray(values), names))
    return keys


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _hashes(values: NDArray[Any], names: Sequence[str] | None) -> NDArray[np.uint64]:
    if names is not None:
        of_names = [int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") for name in names]
        codes = np.nan_to_num(values, nan=-1).astype(np.int64)
        return np.array([*of_names, 1], np.uint64)[codes]  # the last one, -1, is missing
    numbers = np.asarray(values, np.float64) + 0.0  # -0 is 0
    return np.where(np.isfinite(numbers), _mixed(numbers.view(np.uint64)), np.uint64(1))


# -- drawn


def sample_rows(
    columns: Mapping[str, ColumnDensity],
    copula: Copula,
    n: int,
    rng: np.random.Generator,
    where: Mapping[str, Any] | None = None,
) -> dict[str, NDArray[Any]]:
    """Draw n rows: an array (n,) a column, as `ColumnDensity.to_data` has it; None where a category is missing.

    Parameters
    ----------
    columns : mapping of str to ColumnDensity
        The marginals.
    copula : Copula
        The dependence, of columns of these names.
    n : int
        How many rows.
    rng : numpy.random.Generator
        Draws them.
    where : mapping of str to value, optional
        Conditions on columns: a value, (low, high) with None for an open end, a list of categories, or None for
        missing.

    Raises
    ------
    ValueError
        A condition that no row can meet, or only with a probability below 1e-12.
    """
    marginals = [_Marginal(columns[name], copula.orders.get(name)) for name in copula.names]
    thresholds = {name: float(ndtri(columns[name].share_missing)) for name in copula.missing}
    own = {name: len(marginals) + k for k, name in enumerate(copula.missing)}
    observed = {
        j: _Observed(copula.correlation[j, own[name]], thresholds[name])
        for j, name in enumerate(copula.names)
        if name in own
    }
    conditions, given = Conditions({}, {}), {}
    for name, value in (where or {}).items():
        if name not in copula.names:
            raise ValueError(f"where names column {name!r}; there are {', '.join(columns)}")
        j = copula.names.index(name)
        if _is_missing(value):
            if name not in own:
                raise ValueError(f"where asks for rows in which {name!r} is missing; it was never, or always")
            conditions.within[own[name]] = np.array([[-np.inf, thresholds[name]]])
            continue
        given[name] = marginals[j].parse(value)
        ends = marginals[j].probabilities(given[name])
        to_z = observed[j].to_latent if j in observed else ndtri
        if len(ends) == 1 and ends[0, 1] - ends[0, 0] < _NO_MASS:
            conditions.exact[j] = float(to_z(ends[0].mean()))
        else:
            conditions.within[j] = to_z(ends)
        if name in own:
            conditions.within[own[name]] = np.array([[thresholds[name], np.inf]])
    try:
        z = draw_latent(copula.correlation, n, rng, conditions)
    except ValueError as error:
        said = ", ".join(f"{name}={value!r}" for name, value in (where or {}).items())
        raise ValueError(f"no rows where {said}: {error} in what was learnt") from None
    out: dict[str, NDArray[Any]] = {}
    for name in columns:
        j = copula.names.index(name)
        u = observed[j].to_probability(z[:, j]) if j in observed else ndtr(z[:, j])
        gone = z[:, own[name]] < thresholds[name] if name in own else np.full(n, marginals[j].is_empty)
        out[name] = marginals[j].values(u, gone, given.get(name))
    return out


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


class _Observed:
    """G: the law of Z_j where j is not missing, tabulated."""

    def __init__(self, rho: float, threshold: float):
        self.z = np.linspace(-_REACH, _REACH, 4001)
        middle = (self.z[1:] + self.z[:-1]) / 2
        mass = np.diff(ndtr(self.z)) * ndtr((rho * middle - threshold) / math.sqrt(max(1 - rho**2, 1e-15)))
        self.u = np.concatenate([[0.0], np.cumsum(mass)])
        self.u /= self.u[-1]

    def to_probability(self, z: FloatArray) -> FloatArray:
        return np.interp(z, self.z, self.u)

    def to_latent(self, u: Any) -> Any:
        return np.interp(u, self.u, self.z)


class _Marginal:
    """Probabilities of a column's values, and the values of probabilities."""

    def __init__(self, column: ColumnDensity, order: list[str] | None):
        self.column, self.names = column, None
        self.is_empty = not column.frequencies and column.density is None
        if column.frequencies:
            self.names = [name for name in order or () if name in column.frequencies]
            others = sorted(set(column.frequencies).difference(self.names))  # too rare for the sample of rows
            self.names[len(self.names) // 2 : len(self.names) // 2] = others
            shares = np.array([column.frequencies[name] for name in self.names])
            self.edges = np.concatenate([[0.0], np.cumsum(shares) / shares.sum()])
        elif column.density is not None and column.counts is not None:
            self.law, self.ends = column.density, (column.counts.minimum, column.counts.maximum)
            self.whole = column.kind == "integer" or (column.kind == "date" and column.quantity.unit == "D")

    def _cdf(self, low: float, high: float) -> tuple[float, float]:
        """P(X < low) and P(X <= high), where what the density has outside the range lies at its ends."""
        under, over = low <= self.ends[0], high >= self.ends[1]
        low, high = (low - 0.5, high + 0.5) if self.whole else (float(np.nextafter(low, -np.inf)), high)
        return 0.0 if under else float(self.law.cdf(low)), 1.0 if over else float(self.law.cdf(high))

    def parse(self, value: Any) -> Any:
        """A condition: a list of categories, or the (low, high) of numbers in the column's unit."""
        name, column = self.column.name, self.column
        if self.is_empty:
            raise ValueError(f"where asks for a value of {name!r}; all of it are missing")
        if self.names is not None:
            wanted = value if isinstance(value, list | tuple | set | frozenset) else [value]
            said = {word.lower(): name for name, word in column.words.items()} | {"true": "true", "false": "false"}
            wanted = [said.get(str(v).lower(), v) if column.kind == "boolean" else str(v) for v in wanted]
            for v in wanted:
                if v not in self.names:
                    some = ", ".join(list(column.frequencies or ())[:5])
                    raise ValueError(
                        f"where asks for {name}={v!r}; {name!r} holds {len(self.names)} values, such as {some}"
                    )
            return wanted
        low, high = value if isinstance(value, tuple | list) and len(value) == 2 else (value, value)
        low, high = (end if v is None else self._number(v) for v, end in zip((low, high), self.ends, strict=True))
        if not (low <= high and high >= self.ends[0] and low <= self.ends[1]):
            least, most = (column.quantity.format(end, self.ends[1] - self.ends[0]) for end in self.ends)
            raise ValueError(f"where asks for {name}={value!r}; {name!r} lies between {least} and {most}")
        if self.whole and math.floor(high) < math.ceil(low):
            raise ValueError(f"where asks for {name}={value!r}; {name!r} holds whole numbers alone")
        return max(low, self.ends[0]), min(high, self.ends[1])

    def _number(self, value: Any) -> float:
        quantity = self.column.quantity
        if isinstance(value, str):
            return quantity.parse(value)
        if quantity.kind == "number":
            return float(value)
        return float(quantity.to_numbers(np.asarray(value, "M8[us]" if quantity.kind == "datetime" else "m8[us]")))

    def probabilities(self, wanted: Any) -> FloatArray:
        """The intervals (k, 2) of u in which a condition holds."""
        if self.names is not None:
            places = sorted({self.names.index(v) for v in wanted})
            return np.stack([self.edges[places], self.edges[1:][places]], axis=1)
        low, high = (math.ceil(wanted[0]), math.floor(wanted[1])) if self.whole else wanted
        return np.array([self._cdf(low, high)])

    def values(self, u: FloatArray, gone: NDArray[np.bool_], wanted: Any) -> NDArray[Any]:
        """The values of probabilities u (n,), missing where ``gone``; where some were ``wanted``, exactly those."""
        if self.is_empty:
            return np.full(len(u), np.nan)
        if self.names is not None:
            if wanted is not None and len(wanted) == 1:
                u = np.full(len(u), self.edges[self.names.index(wanted[0])])
            place = np.clip(np.searchsorted(self.edges, u, side="right") - 1, 0, len(self.names) - 1)
            words = [self.column.words.get(name, name) for name in self.names]
            if self.column.kind == "boolean" and set(words) <= set(_BOOLEANS):
                words = [_BOOLEANS[word] for word in words]
            out = np.array(words, None if isinstance(words[0], bool) and not gone.any() else object)[place]
            if not gone.any():
                return out
            out[gone] = None
            return out
        x = np.asarray(self.law.ppf(u))
        x = np.clip(np.rint(x) if self.whole else x, *self.ends)
        return self.column.to_data(x if wanted is None else np.clip(x, *wanted), gone)


def draw_latent(correlation: FloatArray, n: int, rng: np.random.Generator, conditions: Conditions) -> FloatArray:
    """Draw n rows (n, L) of N(0, correlation) under conditions.

    Raises ValueError where their probability is below 1e-12.
    """
    fixed, inside = list(conditions.exact), list(conditions.within)
    out = np.zeros((n, len(correlation)))
    out[:, fixed] = list(conditions.exact.values())
    if inside:
        mean, covariance = _given(correlation, fixed, inside, out[:1])
        out[:, inside] = _draw_within(mean[0], covariance, list(conditions.within.values()), n, rng)
    rest = [k for k in range(len(correlation)) if k not in conditions.exact and k not in conditions.within]
    if rest:
        mean, covariance = _given(correlation, fixed + inside, rest, out)
        out[:, rest] = mean + rng.standard_normal((n, len(rest))) @ np.linalg.cholesky(covariance).T
    return out


def _given(R: FloatArray, known: list[int], wanted: list[int], z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Means (n, w) and covariance (w, w) of dimensions of N(0, R), given others of rows z (n, L)."""
    covariance = R[np.ix_(wanted, wanted)]
    if not known:
        return np.zeros((len(z), len(wanted))), covariance
    across = R[np.ix_(known, wanted)]
    slopes = np.linalg.solve(R[np.ix_(known, known)], across)
    covariance = covariance - across.T @ slopes
    # rounding: as far as R is positive definite, so is this
    return z[:, known] @ slopes, (covariance + covariance.T) / 2 + 1e-12 * np.eye(len(wanted))


def _draw_within(
    mean: FloatArray, covariance: FloatArray, intervals: Sequence[Intervals], n: int, rng: np.random.Generator
) -> FloatArray:
    """n rows (n, I) of N(mean, covariance) within one of the intervals of each dimension."""
    d = len(mean)
    many = n if d == 1 else max(n, _PARTICLES)
    factor, e, weight = np.linalg.cholesky(covariance), np.zeros((many, d)), np.zeros(many)
    for k in range(d):
        centre = mean[k] + e[:, :k] @ factor[k, :k]
        e[:, k], log_mass = _truncated((intervals[k] - centre[:, None, None]) / factor[k, k], rng)
        weight += log_mass
    top = float(weight.max())
    log_probability = top + math.log(np.mean(np.exp(weight - top))) if top > -math.inf else -math.inf
    if log_probability < math.log(_LEAST_PROBABILITY):
        raise ValueError(f"their probability is below {_LEAST_PROBABILITY:g}")
    z = mean + e @ factor.T
    if d == 1:
        return z
    weight = np.exp(weight - top)
    z = z[rng.choice(many, n, p=weight / weight.sum())]
    precision = np.linalg.inv(covariance)
    for _ in range(_SWEEPS):
        for k in range(d):
            others = np.delete(np.arange(d), k)
            centre = mean[k] - (z[:, others] - mean[others]) @ precision[k, others] / precision[k, k]
            sd = precision[k, k] ** -0.5
            drawn, log_mass = _truncated((intervals[k] - centre[:, None, None]) / sd, rng)
            z[:, k] = np.where(log_mass > -math.inf, centre + sd * drawn, z[:, k])
    return z


def _truncated(ends: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Standard normal numbers (n,) within one of k intervals (n, k, 2), and the log-probabilities of all of them."""
    low, high = ends[..., 0], ends[..., 1]
    flip = low > 0  # a tail is computed on the left, where it is precise
    low, high = np.where(flip, -high, low), np.where(flip, -low, high)
    below, above = ndtr(low), ndtr(high)
    mass = np.maximum(above - below, 0.0)
    total = mass.sum(axis=1)
    upto = np.cumsum(mass, axis=1)
    piece = (upto < (rng.uniform(size=len(ends)) * total)[:, None]).sum(axis=1).clip(max=ends.shape[1] - 1)
    rows = np.arange(len(ends))
    z = ndtri(below[rows, piece] + rng.uniform(size=len(ends)) * mass[rows, piece])
    z = np.where(total > 0, np.clip(z, low[rows, piece], high[rows, piece]), 0.0)
    with np.errstate(divide="ignore"):
        return np.where(flip[rows, piece], -z, z), np.log(total)
