"""The dependence between the columns of a table: a Gaussian copula over whatever marginals they have.

    Z ~ N(0, R),    X_j = F_j^{-1}(Phi(Z_j)),    X_j is missing where Phi(Z_{j'}) < share missing of j

Z has one dimension for each column, and one more (j') for each in which values are missing. Categories lie in an order
on their dimension, the declared one or that of `order_categories`, each in an interval as wide as its share. R is
learnt from ranks, so that no marginal has to be known yet: r_ij, the rank correlation of two columns (ties at their
mean rank), is

    r(rho) = sum_n c_n^i c_n^j rho^n / (sd_i sd_j),    c_n = int s(Phi(z)) h_n(z) phi(z) dz          (Mehler)

for latent correlation rho, where s are the centred ranks, steps for discrete columns, and h_n the normalised Hermite
polynomials. For two columns without ties that is r = 6/pi asin(rho/2). It increases with rho (Price's theorem), and
`latent_correlation` solves it for all pairs at once: the rank form of polychoric and polyserial correlation.
Inputs for this are the rows of a `RowSample`, which is bounded and the same for any order of the rows.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from gaussmix._typing import FloatArray
from gaussmix.tables.rows import RowSample

if TYPE_CHECKING:
    from gaussmix.tables.column import ColumnDensity

_TERMS = 200  # of Mehler's series: binary columns with a latent correlation of .98 are within .001
_FEW_TERMS, _FEW_REACH = 40, 0.6  # terms that are enough for latent correlations up to that
_SOLVED = 1e-7
_CELLS = 256  # that the ranks of a column without ties are put into for it
_LARGEST = 1 - 1e-7  # latent correlation
_LEAST_EIGENVALUE = 1e-8  # of R; what is drawn of two equal columns then differs by 1e-4 standard deviations
_ROUNDS = 2  # of ordering categories, each by the orders of the last
_FOLDS = 5  # of rows, for that
_COMMON = 30  # categories of another column that count in the first of them


class Ranks(NamedTuple):
    """Centred mean ranks (N,) of a column, in (-.5, .5), NaN where missing; and these over their standard deviation as
    ``steps`` (K,) of a normal number, between ``edges`` (K - 1,)."""

    scores: FloatArray
    steps: FloatArray
    edges: FloatArray


def ranks_of(values: FloatArray, weights: FloatArray) -> Ranks:
    """Mean ranks of numbers (N,), NaN where missing, that occur ``weights`` (N,) times."""
    present = ~np.isnan(values)
    distinct, place = np.unique(values[present], return_inverse=True)
    if len(distinct) < 2:
        return Ranks(np.where(present, 0.0, np.nan), np.zeros(1), np.zeros(0))
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
    steps = np.cumsum(cells) - cells / 2 - 0.5
    return Ranks(scores, steps / math.sqrt(cells @ steps**2), ndtri(edges))


def coefficients_of(ranks: Sequence[Ranks]) -> FloatArray:
    """c_n / sd (_TERMS, L) of the ranks of L columns, n = 1, 2, ...

    By parts: each jump at t adds its height times h_{n-1}(t) phi(t) / sqrt(n).
    """
    column = np.repeat(np.arange(len(ranks)), [len(each.edges) for each in ranks])
    jumps = np.concatenate([np.diff(each.steps) for each in ranks])
    edges = np.concatenate([each.edges for each in ranks])
    before, out = np.zeros_like(edges), np.empty((_TERMS, len(ranks)))
    now = np.exp(-0.5 * edges**2) / math.sqrt(2 * math.pi)
    for n in range(1, _TERMS + 1):
        out[n - 1] = np.bincount(column, jumps * now, len(ranks)) / math.sqrt(n)
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


def latent_correlation(r: FloatArray, c: FloatArray) -> FloatArray:
    """Solve r(rho) = r for latent correlations.

    Parameters
    ----------
    r : ndarray of shape (L, L)
        Rank correlations.
    c : ndarray of shape (n, L)
        c_1 .. c_n of each, over the standard deviation of its ranks.

    Returns
    -------
    ndarray of shape (L, L)
        Within +-(1 - 1e-7), also where no rho gives as much as r.
    """
    i, j = np.triu_indices(len(r), 1)
    target, out = r[i, j], np.eye(len(r))
    found = _solve(target, c[:_FEW_TERMS], i, j)
    far = np.flatnonzero(np.abs(found) > _FEW_REACH)
    found[far] = _solve(target[far], c, i[far], j[far])
    out[i, j] = out[j, i] = np.where(target == 0, 0.0, found)
    return out


def _solve(target: FloatArray, c: FloatArray, i: NDArray[np.int64], j: NDArray[np.int64]) -> FloatArray:
    """rho (P,) with sum_n c_ni c_nj rho^n = target: Newton's steps within brackets."""
    low, high = np.full_like(target, -_LARGEST), np.full_like(target, _LARGEST)
    rho = target.copy()
    for _ in range(40):
        value, slope = np.zeros_like(target), np.zeros_like(target)
        for row in c[::-1]:  # Horner, of r(rho) / rho
            slope = slope * rho + value
            value = value * rho + row[i] * row[j]
        slope, value = slope * rho + value, value * rho
        low, high = np.where(value < target, rho, low), np.where(value < target, high, rho)
        step = rho + (target - value) / np.where(slope > 0, slope, 1.0)
        before, rho = rho, np.where((step >= low) & (step <= high), step, (low + high) / 2)
        if np.abs(rho - before).max(initial=0.0) < _SOLVED:
            break
    return rho


def shrunk(r: FloatArray, size: FloatArray) -> FloatArray:
    """Rank correlations (L, L), each of ``size`` rows, shrunk towards 0 by what chance makes of them.

    Each is multiplied by tau^2 / (tau^2 + v), where v is its variance, (1 - r^2)^2 / (size - 1), and tau^2 what is left
    of the squares of all of them: sum r^2 / (tau^2 + v) is their number (Paule and Mandel 1982). With equal v that is
    the intensity of Ledoit and Wolf (2003) and of Schaefer and Strimmer (2005), sum v / sum r^2; columns that are
    mostly missing have larger v.
    """
    known = (size > 1) & (r != 0) & ~np.eye(len(r), dtype=bool)
    squares, found = r[known] ** 2, np.zeros(int(known.sum()))
    for _ in range(2):  # first the variance where there is no correlation
        v = np.maximum((1 - found**2) ** 2 / (size[known] - 1), 1e-15)
        low, high = 0.0, 1.0
        for _ in range(50):
            tau2 = (low + high) / 2
            low, high = (tau2, high) if np.sum(squares / (tau2 + v)) > len(v) else (low, tau2)
        found = r[known] * high / (high + v)
    out = np.eye(len(r))
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
        For each column the place of each category in its order; and ranks in which each fifth of the rows has the order
        that the others alone give. So many rare categories do not seem associated with what they were ordered by.
    """
    sizes = [int(np.nanmax(c, initial=-1)) + 1 for c in codes]
    places = [np.where(np.isnan(c), size, c).astype(np.int64) for c, size in zip(codes, sizes, strict=True)]
    fixed, axes = _standardised(numeric, weights), [_indicators(c, weights) for c in codes]
    found: list[tuple[NDArray[np.int64], Ranks]] = []
    for _ in range(_ROUNDS if codes else 0):
        others = np.ascontiguousarray(np.column_stack([fixed, *axes]))
        ends = fixed.shape[1] + np.cumsum([0, *(axis.shape[1] for axis in axes)])
        found = [
            _order(place, size, others, slice(*ends[c : c + 2]), weights)
            for c, (place, size) in enumerate(zip(places, sizes, strict=True))
        ]
        axes = [_standardised(ranks.scores[:, None], weights) for _, ranks in found]
    return found


def _order(
    place: NDArray[np.int64], size: int, columns: FloatArray, own: slice, weights: FloatArray
) -> tuple[NDArray[np.int64], Ranks]:
    """The order of ``size`` categories by the first axis of their means, and ranks by the orders of folds."""
    scores = np.where(place < size, 0.0, np.nan)
    if size < 2:
        return np.arange(size), Ranks(scores, np.zeros(1), np.zeros(0))
    from scipy.sparse import csr_array  # late: a table without a copula does without

    fold = np.arange(len(place)) % _FOLDS
    cell, n_cells = _FOLDS * place + fold, _FOLDS * size
    groups = csr_array((weights, (cell, np.arange(len(place)))), shape=(n_cells + _FOLDS, len(place)))
    sums = np.delete((groups @ columns)[:n_cells].reshape(size, _FOLDS, -1), own, axis=2)
    mass = np.bincount(cell, weights, n_cells + _FOLDS)[:n_cells].reshape(size, _FOLDS)
    all_sums, total = sums.sum(axis=1), mass.sum(axis=1)
    means = _ratio(all_sums, total)
    centred = (means - total @ means / total.sum()) * np.sqrt(total)[:, None]
    axis = np.linalg.svd(centred, full_matrices=False)[2][0] if centred.size else np.zeros(0)
    axis = axis * np.sign(axis[np.argmax(np.abs(axis))]) if len(axis) else axis
    order = np.argsort(np.argsort(means @ axis, kind="stable"))
    for k in range(_FOLDS):
        of_others = np.argsort(_ratio(all_sums - sums[:, k], total - mass[:, k]) @ axis, kind="stable")
        shares = total[of_others] / total.sum()
        middle = np.full(size + 1, np.nan)
        middle[of_others] = np.cumsum(shares) - shares / 2 - 0.5
        scores[fold == k] = middle[place[fold == k]]
    return order, ranks_of(np.append(order, np.nan)[place], weights)._replace(scores=scores)


def _ratio(sums: FloatArray, mass: FloatArray) -> FloatArray:
    """Means (K, q) of categories, 0 where there is no row (or what rounding left of one)."""
    return np.where(mass > 1e-9, 1.0, 0.0)[:, None] * sums / np.where(mass > 1e-9, mass, 1.0)[:, None]


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


@dataclass(frozen=True)
class Copula:
    """The dependence of the columns of a table: no row of it, only orders of categories and correlations.

    Parameters
    ----------
    names : tuple of str
        The columns, one latent dimension each.
    missing : tuple of str
        Columns with a latent dimension more, below a threshold where their value is missing.
    orders : dict of str to list of str
        The categories of columns of categories, in latent order.
    correlation : ndarray of shape (L, L)
        Of the latent dimensions, those of ``names`` first.
    """

    names: tuple[str, ...]
    missing: tuple[str, ...]
    orders: dict[str, list[str]]
    correlation: FloatArray

    @classmethod
    def independent(cls, names: Sequence[str], missing: Sequence[str]) -> Copula:
        """Return that of columns which have nothing to do with each other.

        Parameters
        ----------
        names, missing : sequence of str
            The columns, and those with missing values.
        """
        return cls(tuple(names), tuple(missing), {}, np.eye(len(names) + len(missing)))

    @classmethod
    def fit(cls, sample: RowSample, columns: Mapping[str, ColumnDensity]) -> Copula:
        """Learn it from a sample of rows.

        Parameters
        ----------
        sample : RowSample
            Rows whose columns are those of ``columns`` in alphabetical order.
        columns : mapping of str to ColumnDensity
            What was learnt of each.
        """
        rows, weights, names = sample.rows, sample.weights, sorted(columns)
        named = [j for j, name in enumerate(names) if columns[name].frequencies is not None]
        orders = {names[j]: _known(columns[names[j]], sample.levels[j]) for j in named if sample.ordered[j]}
        coded = [j for j in named if names[j] not in orders]
        numbers = [j for j in range(len(names)) if j not in coded]  # places in a declared order among them
        ranks: dict[int, Ranks] = {j: ranks_of(rows[:, j], weights) for j in numbers}
        codes, levels = [], []
        for j in coded:
            found, inverse = np.unique(rows[:, j], return_inverse=True)  # NaN is the last of them
            codes.append(np.where(np.isnan(rows[:, j]), np.nan, inverse))
            levels.append([sample.levels[j][int(place)] for place in found[~np.isnan(found)]])
        numeric = np.column_stack([np.zeros((len(rows), 0)), *(ranks[j].scores for j in numbers)])
        for j, own, (order, found) in zip(coded, levels, order_categories(codes, numeric, weights), strict=True):
            ranks[j], orders[names[j]] = found, _known(columns[names[j]], [own[k] for k in np.argsort(order)])
        absent = np.isnan(rows)
        partly = np.flatnonzero(absent.any(axis=0) & ~absent.all(axis=0))
        every = [ranks[j] for j in range(len(names))] + [ranks_of(1.0 - absent[:, j], weights) for j in partly]
        r, size = rank_correlations(every, weights)
        rho = latent_correlation(shrunk(r, size), coefficients_of(every))
        own = np.array([(j, len(names) + k) for k, j in enumerate(partly)], np.int64).reshape(-1, 2)
        return cls(tuple(names), tuple(names[j] for j in partly), orders, _completed(rho, own))

    def to_dict(self) -> dict[str, Any]:
        """Return all but the correlation, with JSON's types."""
        return {"names": list(self.names), "missing": list(self.missing), "orders": self.orders}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any], correlation: FloatArray, columns: Collection[str]) -> Copula:
        """Make it of what `to_dict` gave.

        Raises ValueError for anything else, and a correlation that is none.

        Parameters
        ----------
        facts, correlation : mapping, ndarray of shape (L, L)
            Names, missing and orders; and the correlation of the latent dimensions.
        columns : collection of str
            The columns of the table that it is for.
        """
        names, missing, orders = facts["names"], facts["missing"], facts["orders"]
        lists = [names, missing, *orders.values()]
        if not all(isinstance(each, list) and all(isinstance(name, str) for name in each) for each in lists):
            raise ValueError("its copula has no names")
        if sorted(names) != sorted(columns) or not {*missing, *orders} <= {*names} or len({*missing}) < len(missing):
            raise ValueError("its copula is of other columns")
        R = np.asarray(correlation, np.float64)
        if R.shape != (len(names) + len(missing),) * 2 or not np.allclose(R, R.T, atol=1e-9, rtol=0):
            raise ValueError(f"its copula has a correlation of shape {R.shape}")
        if not np.allclose(np.diag(R), 1.0, atol=1e-9) or np.linalg.eigvalsh(R)[0] < _LEAST_EIGENVALUE / 2:
            raise ValueError("its copula has a correlation that is not positive definite")
        return cls(tuple(names), tuple(missing), orders, R)


def _known(column: ColumnDensity, words: Sequence[str]) -> list[str]:
    """The categories that words of rows stand for, in their order; without those that no row has."""
    name_of = {word: name for name, word in column.words.items()}
    found = dict.fromkeys(name_of.get(word, word) for word in words)
    return [name for name in found if name in (column.frequencies or ())]


def _completed(R: FloatArray, unknown: NDArray[np.int64]) -> FloatArray:
    """R with entries (k, 2) that no data tell about: a value and whether it is missing are independent given the rest,
    the completion of largest determinant; three rounds of its fixed point, all entries at once."""
    R = nearest_correlation(R)
    for _ in range(3 if len(unknown) else 0):
        P = np.linalg.inv(R)
        a, b = unknown.T
        R = R.copy()
        R[a, b] += P[a, b] / (P[a, a] * P[b, b] - P[a, b] ** 2)
        R[b, a] = R[a, b]
        R = nearest_correlation(R)
    return R
