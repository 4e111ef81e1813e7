"""The dependence between the columns of a table: a Gaussian copula over whatever marginals they have.

    Z ~ N(0, R),    X_j = F_j^{-1}(Phi(Z_j)),    X_j is missing where Phi(Z_{j'}) < share missing of j

Z has one dimension for each column, and one more (j') for each in which values are missing. Categories lie in
an order on their dimension (`order_categories`), each in an interval as wide as its share. R is learnt from ranks, so
that no marginal has to be known yet: r_ij, the rank correlation of two columns (ties at their mean rank), is

    r(rho) = sum_n c_n^i c_n^j rho^n / (|c^i| |c^j|),    c_n = int s(Phi(z)) h_n(z) phi(z) dz          (Mehler)

for latent correlation rho, where s are the centred ranks, steps for discrete columns, and h_n the normalised Hermite
polynomials. For two columns without ties that is r = 6/pi asin(rho/2). It increases with rho (Price's theorem), and
`latent_correlation` solves it for all pairs at once: the rank form of polychoric and polyserial correlation.
Inputs for this are the rows of a `RowSample`, which is bounded and the same for any order of the rows.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import ndtri

from gaussmix._typing import FloatArray

MOST_ROWS, MOST_CELLS = 2**16, 2**23  # kept of a table: correlations are then known to .004; at most 64 MB
_TERMS = 200  # of Mehler's series: binary columns with a latent correlation of .98 are within .001
_CELLS = 256  # that the ranks of a column without ties are put into for it
_LARGEST = 1 - 1e-7  # latent correlation
_LEAST_EIGENVALUE = 1e-8  # of R; what is drawn of two equal columns then differs by 1e-4 standard deviations
_ROUNDS = 3  # of ordering categories, each by the orders of the last
_COMMON = 30  # categories of another column that count in the first of them
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


# -- rows


class RowSample:
    """A uniform sample of the distinct rows of a table, with how often each occurs: those of least hash.

    Which rows stay depends on what they hold, not on where they stand: chunks, files and partitions in any order give
    the same sample. Rows are numbers, NaN where missing; those of categories are places in ``levels``.
    """

    def __init__(self, n_columns: int, limit: int | None = None):
        self.limit = limit or max(1, min(MOST_ROWS, MOST_CELLS // max(n_columns, 1)))
        self.keys = np.zeros(0, np.uint64)
        self.rows = np.zeros((0, n_columns))
        self.weights = np.zeros(0)
        self.levels: list[list[str]] = [[] for _ in range(n_columns)]

    def add(
        self, columns: Sequence[NDArray[Any]], levels: Sequence[list[str] | None], weights: FloatArray | None = None
    ) -> Self:
        """Take in rows: a (N,) array a column, of numbers, or of places in its ``levels`` (-1 or NaN: missing)."""
        n, keys = len(columns[0]), hash_rows(columns, levels)
        weights = np.ones(n) if weights is None else np.asarray(weights, np.float64)
        kept = weights > 0
        if len(self.keys) == self.limit:
            kept &= keys <= self.keys[-1]
        elif n > self.limit:
            kept &= keys <= np.partition(keys, self.limit - 1)[self.limit - 1]
        chunk = RowSample(len(columns), self.limit)
        chunk.keys, chunk.weights = keys[kept], weights[kept]
        chunk.rows = np.column_stack([np.asarray(values)[kept].astype(np.float64) for values in columns])
        for j, names in enumerate(levels):
            if names is not None:
                chunk.levels[j] = list(names)
                chunk.rows[chunk.rows[:, j] < 0, j] = np.nan
        return self.merge(chunk)

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
        weights = np.bincount(inverse, np.concatenate([self.weights, other.weights]), len(keys))
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
    return np.where(np.isnan(numbers), np.uint64(1), _mixed(numbers.view(np.uint64)))


# -- correlations of ranks


class Ranks(NamedTuple):
    """Centred mean ranks (N,) of a column, in (-.5, .5), NaN where missing; and the coefficients c_n, n = 1, 2, ..."""

    scores: FloatArray
    coefficients: FloatArray


def ranks_of(values: FloatArray, weights: FloatArray) -> Ranks:
    """Mean ranks of numbers (N,), NaN where missing, that occur ``weights`` (N,) times."""
    present = ~np.isnan(values)
    distinct, place = np.unique(values[present], return_inverse=True)
    if len(distinct) < 2:
        return Ranks(np.where(present, 0.0, np.nan), np.zeros(_TERMS))
    shares = np.bincount(place, weights[present]) / weights[present].sum()
    above = np.cumsum(shares)
    middle = above - shares / 2 - 0.5
    scores = np.full(len(values), np.nan)
    scores[present] = middle[place]
    split = np.ones(len(distinct) - 1, bool)
    if len(distinct) > _CELLS:  # rare values are put together, about 1/256 of the rows in a cell
        tied = shares > 0.5 / _CELLS
        split = (np.diff(np.floor((middle + 0.5) * _CELLS)) > 0) | tied[1:] | tied[:-1]
    edges = above[:-1][split]
    cells = np.diff(edges, prepend=0.0, append=1.0)
    start = np.concatenate([[0.0], edges])
    return Ranks(scores, _hermite(start + cells / 2 - 0.5, ndtri(edges)))


def _hermite(steps: FloatArray, edges: FloatArray) -> FloatArray:
    """c_n, n = 1.._TERMS, of the function that is ``steps`` (K,) between normal ``edges`` (K - 1,).

    By parts: each jump at t adds its height times h_{n-1}(t) phi(t) / sqrt(n).
    """
    jumps, out = np.diff(steps), np.empty(_TERMS)
    before = np.zeros_like(edges)
    now = np.exp(-0.5 * edges**2) / math.sqrt(2 * math.pi)
    for n in range(1, _TERMS + 1):
        out[n - 1] = jumps @ now / math.sqrt(n)
        before, now = now, (edges * now - math.sqrt(n - 1) * before) / math.sqrt(n)
    return out


def rank_correlations(ranks: Sequence[Ranks], weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Correlations (L, L) of the rows in which both are present, 0 where there is no spread; and how many they are."""
    scores = np.column_stack([each.scores for each in ranks])
    present = ~np.isnan(scores)
    filled = np.where(present, scores, 0.0)
    weighted, here = filled * weights[:, None], present.astype(np.float64)
    if present.all():
        total = np.full((len(ranks),) * 2, weights.sum())
        sums, squares = (np.repeat((a.T @ weights)[:, None], len(ranks), 1) for a in (filled, filled**2))
    else:
        total, sums, squares = (a.T @ here for a in (here * weights[:, None], weighted, weighted * filled))
    with np.errstate(divide="ignore", invalid="ignore"):
        means = sums / total
        spread = np.sqrt(np.maximum(squares / total - means**2, 0.0))
        found = (weighted.T @ filled / total - means * means.T) / (spread * spread.T)
    return np.where(spread * spread.T > 1e-12, np.clip(np.nan_to_num(found), -1, 1), 0.0), total


def latent_correlation(r: FloatArray, coefficients: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Solve r(rho) = r for latent correlations, and give dr/drho there.

    Parameters
    ----------
    r : ndarray of shape (L, L)
        Rank correlations.
    coefficients : ndarray of shape (L, n)
        c_1 .. c_n of each.

    Returns
    -------
    rho, slope : ndarray of shape (L, L)
        rho within +-(1 - 1e-7), also where no rho gives as much as r.
    """
    norm = np.sqrt(np.sum(coefficients**2, axis=1, keepdims=True))
    c = coefficients / np.where(norm > 0, norm, 1.0)
    low, high = np.full_like(r, -_LARGEST), np.full_like(r, _LARGEST)
    rho, slope = r.copy(), np.ones_like(r)
    for _ in range(60):
        value, slope = np.zeros_like(r), np.zeros_like(r)
        for column in c.T[::-1]:  # Horner, of r(rho) / rho
            slope = slope * rho + value
            value = value * rho + np.multiply.outer(column, column)
        slope, value = slope * rho + value, value * rho
        low, high = np.where(value < r, rho, low), np.where(value < r, high, rho)
        step = rho + (r - value) / np.where(slope > 0, slope, 1.0)
        before, rho = rho, np.where((step > low) & (step < high), step, (low + high) / 2)
        if np.abs(rho - before).max(initial=0.0) < 1e-9:
            break
    rho = np.where(r == 0, 0.0, rho)
    np.fill_diagonal(rho, 1.0)
    return rho, slope


def shrunk(rho: FloatArray, slope: FloatArray, size: FloatArray) -> FloatArray:
    """Correlations (L, L) shrunk towards 0 by what chance makes of them.

    Each is multiplied by tau^2 / (tau^2 + v), where v is its variance, (1 - rho^2)^2 / (size - 1) over the squared
    slope of its rank correlation, and tau^2 what is left of the squares of all of them: sum rho^2 / (tau^2 + v) is
    their number (Paule and Mandel 1982). With equal v that is the intensity of Ledoit and Wolf (2003) and of Schaefer
    and Strimmer (2005), sum v / sum rho^2; columns that are mostly missing or hardly ever vary have larger v.
    """
    known = (slope > 0) & (size > 1) & (rho != 0) & ~np.eye(len(rho), dtype=bool)
    squares, found = rho[known] ** 2, np.zeros(int(known.sum()))
    noise = 1 / ((size[known] - 1) * slope[known] ** 2)
    for _ in range(2):  # first the variance where there is no correlation
        v = np.maximum(noise * (1 - found**2) ** 2, 1e-15)
        low, high = 0.0, 1.0
        for _ in range(50):
            tau2 = (low + high) / 2
            low, high = (tau2, high) if np.sum(squares / (tau2 + v)) > len(v) else (low, tau2)
        found = rho[known] * high / (high + v)
    out = np.eye(len(rho))
    out[known] = found
    return out


def nearest_correlation(matrix: FloatArray) -> FloatArray:
    """The nearest correlation matrix with eigenvalues of at least 1e-8: Higham (2002), alternating projections."""
    out, correction = matrix, np.zeros_like(matrix)
    for _ in range(100):
        values, vectors = np.linalg.eigh(out - correction)
        if values[0] >= _LEAST_EIGENVALUE:
            break
        raised = (vectors * np.maximum(values, 2 * _LEAST_EIGENVALUE)) @ vectors.T
        correction, before = raised - (out - correction), out
        out = raised.copy()
        np.fill_diagonal(out, 1.0)
        if np.abs(out - before).max() < 1e-9:
            break
    values, vectors = np.linalg.eigh(out)
    if values[0] < _LEAST_EIGENVALUE:
        out = (vectors * np.maximum(values, 2 * _LEAST_EIGENVALUE)) @ vectors.T
    scale = np.sqrt(np.diag(out))
    return out / scale / scale[:, None]


# -- categories


def order_categories(
    codes: Sequence[FloatArray], numeric: FloatArray, weights: FloatArray
) -> list[tuple[NDArray[np.int64], Ranks]]:
    """Put the categories of each column into the order that captures its association with the other columns.

    A category's score is the mean, over its rows, of the direction v in the other columns' scores along which the
    categories differ most: v is the first axis of their correspondence with the numeric columns' ranks and the
    categories of the other columns (at first), then with the numeric columns' ranks and the orders found so far.

    Parameters
    ----------
    codes : sequence of ndarray of shape (N,)
        Numbers 0 .. K - 1 of categories, each in some row; NaN where missing. One array for each column of categories.
    numeric : ndarray of shape (N, q)
        Ranks of the numeric columns, NaN where missing.
    weights : ndarray of shape (N,)
        How often each row occurs.

    Returns
    -------
    list of (ndarray of shape (K,), Ranks)
        For each column the place of each category in its order; and ranks in which each half of the rows has the order
        that the other half alone gives. So many rare categories do not seem associated with what they were ordered by.
    """
    sizes = [int(np.nanmax(c, initial=-1)) + 1 for c in codes]
    places = [np.where(np.isnan(c), size, c).astype(np.int64) for c, size in zip(codes, sizes, strict=True)]
    fixed, axes = _standardised(numeric, weights), [_indicators(c, weights) for c in codes]
    found: list[tuple[NDArray[np.int64], Ranks]] = []
    for _ in range(_ROUNDS):
        found = [
            _order(place, size, np.column_stack([fixed, *axes[:c], *axes[c + 1 :]]), weights)
            for c, (place, size) in enumerate(zip(places, sizes, strict=True))
        ]
        axes = [_standardised(ranks.scores[:, None], weights) for _, ranks in found]
    return found


def _order(
    place: NDArray[np.int64], size: int, others: FloatArray, weights: FloatArray
) -> tuple[NDArray[np.int64], Ranks]:
    """The order of ``size`` categories by the first axis of their means, and ranks by the orders of halves."""
    order, coefficients = np.arange(size), np.zeros(_TERMS)
    scores = np.where(place < size, 0.0, np.nan)
    if size < 2:
        return order, Ranks(scores, coefficients)
    means, mass = _level_means(others, place, weights, size)
    values, axis = np.zeros(size), np.zeros(others.shape[1])
    if len(axis):
        axis = np.linalg.svd((means - mass @ means / mass.sum()) * np.sqrt(mass)[:, None], full_matrices=False)[2][0]
        values = means @ axis * np.sign(axis[np.argmax(np.abs(axis))])
    order = np.argsort(np.argsort(values, kind="stable"))
    coefficients = ranks_of(np.append(order, np.nan)[place], weights).coefficients
    first = np.arange(len(place)) % 2 == 0
    for half in (first, ~first):
        found, _ = _level_means(others[half], place[half], weights[half], size)
        by_half = np.argsort(
            found @ axis * np.sign(axis[np.argmax(np.abs(axis))]) if len(axis) else values, kind="stable"
        )
        shares = mass[by_half] / mass.sum()
        middle = np.empty(size + 1)
        middle[by_half], middle[size] = np.cumsum(shares) - shares / 2 - 0.5, np.nan
        scores[~half] = middle[place[~half]]
    return order, Ranks(scores, coefficients)


def _level_means(
    others: FloatArray, place: NDArray[np.int64], weights: FloatArray, size: int
) -> tuple[FloatArray, FloatArray]:
    """Means (size, q) of columns over the rows of each category, 0 where there are none; and the weight of the rows."""
    mass = np.bincount(place, weights, size + 1)[:size]
    groups = csr_array((weights, (place, np.arange(len(place)))), shape=(size + 1, len(place)))
    return (groups @ others)[:size] / np.where(mass > 0, mass, 1.0)[:, None], mass


def _standardised(columns: FloatArray, weights: FloatArray) -> FloatArray:
    """Columns (N, q) with mean 0 and variance 1 over their values, missing ones 0; without constant ones."""
    present = ~np.isnan(columns)
    mass = np.maximum((present * weights[:, None]).sum(axis=0), 1e-300)
    centred = np.where(present, columns, 0.0)
    centred = np.where(present, columns - weights @ centred / mass, 0.0)
    spread = np.sqrt(weights @ centred**2 / mass)
    return centred[:, spread > 1e-9] / spread[spread > 1e-9]


def _indicators(codes: FloatArray, weights: FloatArray) -> FloatArray:
    """(N, k) indicators of the most frequent categories, each scaled to variance 1 - share: correspondence analysis."""
    mass = np.bincount(codes[~np.isnan(codes)].astype(np.int64), weights[~np.isnan(codes)])
    common = np.argsort(-mass, kind="stable")[:_COMMON]
    shares = mass[common] / weights.sum()
    return (codes[:, None] == common) / np.sqrt(shares) - np.sqrt(shares)


# -- together


@dataclass(frozen=True)
class Copula:
    """The dependence of the columns of a table: no row of it, only orders of categories and correlations.

    ``correlation`` (L, L) is that of the latent dimensions: one a column, in the order of ``names``, and one for each
    name in ``missing``, below a threshold where that column's value is missing. ``orders`` holds the categories of
    columns of categories.
    """

    names: tuple[str, ...]
    missing: tuple[str, ...]
    orders: dict[str, list[str]]
    correlation: FloatArray

    @classmethod
    def fit(cls, sample: RowSample, names: Sequence[str], categories: Sequence[bool]) -> Copula:
        """Learn it from a sample of rows; ``categories`` says which columns are not numbers."""
        rows, weights = sample.rows, sample.weights
        ranks: list[Any] = [
            None if category else ranks_of(column, weights) for column, category in zip(rows.T, categories, strict=True)
        ]
        numeric = np.column_stack([np.zeros((len(rows), 0)), *(each.scores for each in ranks if each is not None)])
        coded, orders = [j for j, category in enumerate(categories) if category], {}
        levels = [np.unique(rows[:, j][~np.isnan(rows[:, j])], return_inverse=True) for j in coded]
        codes = []
        for j, (_, inverse) in zip(coded, levels, strict=True):
            codes.append(np.full(len(rows), np.nan))
            codes[-1][~np.isnan(rows[:, j])] = inverse
        for j, (present, _), (order, found) in zip(
            coded, levels, order_categories(codes, numeric, weights), strict=True
        ):
            ranks[j] = found
            orders[names[j]] = [sample.levels[j][int(present[k])] for k in np.argsort(order)]
        absent = np.isnan(rows)
        partly = np.flatnonzero(absent.any(axis=0) & ~absent.all(axis=0))
        ranks += [ranks_of(1.0 - absent[:, j], weights) for j in partly]
        r, size = rank_correlations(ranks, weights)
        rho, slope = latent_correlation(r, np.array([each.coefficients for each in ranks]))
        own = np.array([(j, len(names) + k) for k, j in enumerate(partly)], np.int64).reshape(-1, 2)
        correlation = _completed(shrunk(rho, slope, size), own)
        return cls(tuple(names), tuple(names[j] for j in partly), orders, correlation)


def _completed(R: FloatArray, unknown: NDArray[np.int64]) -> FloatArray:
    """R with entries (k, 2) that no data tell about: a value and whether it is missing are independent given the rest.

    That is the completion of largest determinant; three rounds of its fixed point, all entries at once.
    """
    R = nearest_correlation(R)
    for _ in range(3 if len(unknown) else 0):
        P = np.linalg.inv(R)
        a, b = unknown.T
        R = R.copy()
        R[a, b] += P[a, b] / (P[a, a] * P[b, b] - P[a, b] ** 2)
        R[b, a] = R[a, b]
        R = nearest_correlation(R)
    return R
