"""Rows drawn from the marginals of a table and a Gaussian copula, with or without conditions on some columns.

The latent Z ~ N(0, R) of a new row is drawn given what conditions say of some dimensions: numbers (E), or intervals
that they lie in (I: ranges, values that have a probability, categories, missing or not):

    Z_I | z_E           N(m, S) within the intervals, one dimension after the other (GHK), each row weighed by the
                        probability of its intervals; rows drawn again by weight; Gibbs sweeps
    Z_rest | z_E, z_I   N(R_rC R_CC^{-1} z_C, R_rr - R_rC R_CC^{-1} R_Cr),    C = E and I

With one dimension in I the first is exact too. Of a column with missing values F_j is the law of those that are not
missing, and what is drawn is F_j^{-1}(G(Z_j)), with G(z) = P(Z_j <= z | Z_{j'} > t): marginals are kept.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from gaussmix._typing import FloatArray
from gaussmix.density.columns import as_level, is_missing
from gaussmix.density.quantity import NUMBER
from gaussmix.tables.column import ColumnDensity
from gaussmix.tables.copula import Copula
from gaussmix.tables.reading import as_frame

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


class RowSampling:
    """What `TableDensity` draws rows with."""

    _library = ""  # whose data frames come back

    @property
    def copula_(self: Any) -> Copula:
        """The dependence between columns."""
        if self._copula is None:
            columns = self.columns_
            names = sorted(columns)
            if self.counts_.sample is None:
                partly = [name for name in names if 0 < columns[name].missing < columns[name].n_rows]
                self._copula = Copula.independent(names, partly)
            else:
                self._copula = Copula.fit(self.counts_.sample, columns)
        return self._copula

    def sample(self: Any, n_samples: int = 1, random_state: Any = None, where: Mapping[str, Any] | None = None) -> Any:
        """Draw rows, missing values among them: a data frame of the library whose table was learnt first.

        Integers, dates and categories are such as were learnt, and no number lies outside the range of its column.

        Parameters
        ----------
        n_samples : int
            How many.
        random_state : int, Generator or RandomState, optional
            The same seed draws the same rows.
        where : mapping of str to value, optional
            Conditions on columns, all of which are met: a value; a range, which is a tuple (low, high) with None for an
            open end; any of several values, which are a list or a set; None for missing. A value is met exactly, and so
            are the bounds of ranges; the law within several of them has the accuracy of 30 sweeps of Gibbs sampling.

        Returns
        -------
        DataFrame, Table or dict of ndarray
            Of pandas, Polars or PyArrow; else, and of a table that was loaded, arrays (n_samples,) by name, in which
            dates with a time zone are those of UTC.

        Raises
        ------
        ValueError
            No row can meet the conditions, or only one in 1e12.
        """
        if n_samples < 1:
            raise ValueError(f"n_samples is {n_samples}; it must be at least 1")
        given = self.random_state if random_state is None else random_state
        rng = given if isinstance(given, np.random.Generator) else np.random.default_rng(_seed(given))
        rows = sample_rows(self.columns_, self.copula_, n_samples, rng, where)
        return as_frame(self._library, rows, *self.written_as())

    def written_as(self: Any) -> tuple[list[str], dict[str, str]]:
        """Return what the arrays of drawn rows do not say: columns of integers, and the time zones of dates."""
        columns = self.columns_.items()
        zones = {name: column.quantity.zone for name, column in columns if column.quantity.zone}
        return [name for name, column in columns if column.kind == "integer"], zones

    def _require_rows(self: Any, what: str) -> None:
        if hasattr(self, "counts_") and self.dependence == "copula" and self.counts_.sample is None:
            raise ValueError(
                f"{what} needs rows to learn dependence='copula' from, and files keep none: fit anew, or merge "
                "tables before they are saved"
            )


def _seed(state: Any) -> Any:
    return state.randint(2**31, size=4) if hasattr(state, "randint") else state


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
        Conditions on columns, as `RowSampling.sample` takes them.

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
        if is_missing(value):
            if marginals[j].is_empty:
                continue
            if name not in own:
                raise ValueError(f"where asks for rows in which {name!r} is missing; it never was")
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

    def _cdf(self, low: float, high: float) -> tuple[float, float]:
        """P(X < low) and P(X <= high), where what the density has outside the range lies at its ends."""
        under, over = low <= self.ends[0], high >= self.ends[1]
        half = self.column.step / 2
        low, high = (low - half, high + half) if half else (float(np.nextafter(low, -np.inf)), high)
        return 0.0 if under else float(self.law.cdf(low)), 1.0 if over else float(self.law.cdf(high))

    def parse(self, value: Any) -> list[Any]:
        """A condition: categories, or ranges (low, high) of numbers in the column's unit."""
        name, column = self.column.name, self.column
        several = isinstance(value, Collection) and not isinstance(value, str | bytes | tuple)
        wanted: list[Any] = list(value) if several else [value]
        if self.is_empty:
            raise ValueError(f"where asks for a value of {name!r}; all of it are missing")
        if not wanted:
            raise ValueError(f"where asks for {name!r} among no values; give some, or leave it out")
        if self.names is None:
            return [self._range(each, several and len(wanted) > 1) for each in wanted]
        said = {word.lower(): name for name, word in column.words.items()} | {"true": "true", "false": "false"}
        for k, v in enumerate(wanted):
            if isinstance(v, tuple):
                raise ValueError(f"where asks for a range of {name!r}, {v!r}; it holds categories: give a list of them")
            wanted[k] = said.get(str(v).lower(), v) if column.kind == "boolean" else as_level(v)
            if wanted[k] not in self.names:
                some = ", ".join(list(column.frequencies or ())[:5])
                raise ValueError(
                    f"where asks for {name}={v!r}; {name!r} holds {len(self.names)} values, such as {some}"
                )
        return wanted

    def _range(self, value: Any, one_of_several: bool) -> tuple[float, float]:
        """The ends of a value or of a range, within those of the column."""
        name, quantity, step = self.column.name, self.column.quantity, self.column.step
        asked = f"where asks for {name}={value!r}"
        if isinstance(value, tuple) and len(value) != 2:
            raise ValueError(f"{asked}; a tuple is a range (low, high), and a list holds several values")
        try:
            low, high = value if isinstance(value, tuple) else (self._number(value),) * 2
            low, high = (end if v is None else self._number(v) for v, end in zip((low, high), self.ends, strict=True))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{asked}; {name!r} holds {quantity} ({error})") from None
        if not (low <= high and high >= self.ends[0] and low <= self.ends[1]):
            least, most = (quantity.format(end, self.ends[1] - self.ends[0]) for end in self.ends)
            raise ValueError(f"{asked}; {name!r} lies between {least} and {most}")
        if step and math.floor(high / step) < math.ceil(low / step):
            raise ValueError(f"{asked}; {name!r} holds whole {'numbers' if quantity == NUMBER else 'days'} alone")
        if one_of_several and np.diff(self._cdf(low, high)) < _NO_MASS:
            raise ValueError(f"{asked} among others; its own probability is 0: ask for a range, or for it alone")
        return max(low, self.ends[0]), min(high, self.ends[1])

    def _number(self, value: Any) -> float:
        quantity = self.column.quantity
        if isinstance(value, datetime.date) and quantity.kind == "datetime":
            value = value.isoformat()
        if isinstance(value, str):
            return quantity.parse(value)
        if quantity.kind == "number" or isinstance(value, float):
            return float(value)  # pyright: ignore[reportArgumentType], a date has become text
        return float(quantity.to_numbers(np.asarray(value, "M8[us]" if quantity.kind == "datetime" else "m8[us]")))

    def probabilities(self, wanted: list[Any]) -> FloatArray:
        """The intervals (k, 2) of u in which a condition holds."""
        if self.names is not None:
            places = sorted({self.names.index(v) for v in wanted})
            return np.stack([self.edges[places], self.edges[1:][places]], axis=1)
        step, ends = self.column.step, sorted(set(wanted))
        ends = [(step * math.ceil(a / step), step * math.floor(b / step)) for a, b in ends] if step else ends
        return np.array([self._cdf(*each) for each in ends])

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
        x, step = np.asarray(self.law.ppf(u)), self.column.step
        x = np.clip(step * np.rint(x / step) if step else x, *self.ends)
        if wanted is not None:
            within = np.stack([np.clip(x, *each) for each in wanted])
            x = within[np.abs(within - x).argmin(axis=0), np.arange(len(x))]
        return self.column.to_data(x, gone)


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
