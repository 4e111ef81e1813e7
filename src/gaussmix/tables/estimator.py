"""`TableDensity`: every column of a table at once, of all rows and by group, in one pass.

    table --reading--> columns of a batch --values--> counts, which merge --column--> densities, when asked for

A scikit-learn estimator (parameters by name, clones), though without its base class, which takes longer to import than
a small table to learn: the command line uses this class too.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaussmix.density.columns import is_dask
from gaussmix.density.counts import check_weights
from gaussmix.tables.column import ColumnCounts, ColumnDensity
from gaussmix.tables.reading import Batch, Cells, batches_of

GroupKey = str | tuple[str, ...]

NO_GROUP = "(missing)"


class TableDensity:
    """The density of each numeric column of a table, frequencies of the others; by group too.

    Parameters
    ----------
    rule : {"auto", "fast"}
        How densities are made of counts, as `GMMExpansion` does.
    dependence : {"independent", "copula"}
        How columns hang together in `sample`.
    by : str or list of str, optional
        Columns by whose values rows are grouped: `groups_` then has the densities of each group.
    columns : list of str, optional
        The columns to learn; all if not given.
    categories : list of str, optional
        Columns of numbers that are names, such as postcodes: their frequencies are learnt.
    weights : str, optional
        A column with the weights of the rows, which is not learnt: integers are frequencies, others importance weights.
    missing : list of str, optional
        What stands for a missing value in files beside nothing, NA, NaN and null, such as "-999".
    random_state : int, Generator or RandomState, optional
        For `sample`, where it is given none.
    n_jobs : int, optional
        Threads that count; one if not given, -1 for all processors.
    max_cells, max_group_cells : int
        Values, or runs of neighbouring floats, that are counted in a column and in each group of one. A column with
        fewer different values is kept exactly.

    Attributes
    ----------
    columns_ : dict of str to ColumnDensity
        One a column, of all rows.
    groups_ : mapping of str, or tuple of str, to dict of str to ColumnDensity
        With ``by``: by the group's value, or values of several columns; of missing ones "(missing)".
    n_rows_ : float
        Rows, or their weight.
    feature_names_in_, n_features_in_
        As in scikit-learn.
    """

    def __init__(
        self,
        *,
        rule: Literal["auto", "fast"] = "auto",
        dependence: Literal["independent", "copula"] = "independent",
        by: str | Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        categories: Sequence[str] | None = None,
        weights: str | None = None,
        missing: Sequence[str] | None = None,
        random_state: Any = None,
        n_jobs: int | None = 1,
        max_cells: int = 1 << 15,
        max_group_cells: int = 512,
    ):
        self.rule = rule
        self.dependence = dependence
        self.by = by
        self.columns = columns
        self.categories = categories
        self.weights = weights
        self.missing = missing
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.max_cells = max_cells
        self.max_group_cells = max_group_cells

    # -- scikit-learn

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name."""
        return {
            name: getattr(self, name) for name in inspect.signature(type(self).__init__).parameters if name != "self"
        }

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name."""
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise ValueError(f"TableDensity has no parameter {name!r}; it has {', '.join(known)}")
            setattr(self, name, value)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_whole")

    def __repr__(self) -> str:
        usual = type(self)().get_params()
        given = [f"{name}={value!r}" for name, value in self.get_params().items() if value != usual[name]]
        return f"TableDensity({', '.join(given)})"

    # -- learning

    def fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the columns of X.

        Parameters
        ----------
        X : table
            A data frame of pandas, Polars, PyArrow or anything else that narwhals takes, an array (N, D) or a mapping
            of arrays (N,); what has not been read yet (lazy frames, DuckDB's relations, readers and datasets of Arrow);
            a Dask data frame or array, counted where it lies; or the path of a file or folder, or a list of paths.
        y : None
            Ignored.
        sample_weight : array-like of shape (N,), optional
            Integers are frequencies, floats importance weights; of tables that are read in batches ``weights`` names a
            column instead.
        """
        fresh = self._empty()._count_all(X, sample_weight)
        vars(self).update({name: value for name, value in vars(fresh).items() if name not in self.get_params()})
        return self

    def partial_fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Count more rows: in what order they come changes nothing. After an error nothing has changed."""
        more = self._empty()._count_all(X, sample_weight)
        if not hasattr(self, "_whole"):
            vars(self).update({name: value for name, value in vars(more).items() if name not in self.get_params()})
            return self
        return self.merge(more)

    def merge(self, other: TableDensity) -> Self:
        """Add what another has counted: of other rows of the same table, by the same groups.

        Raises ValueError where columns or groups differ.
        """
        if not isinstance(other, TableDensity):
            raise TypeError(f"cannot merge {type(other).__name__}; it takes another TableDensity")
        other._require_fitted()
        self._require_fitted()
        for name in ("by", "weights", "max_cells", "max_group_cells"):
            if (mine := getattr(self, name)) != (theirs := getattr(other, name)):
                raise ValueError(f"cannot merge tables whose {name} differ: {mine!r} and {theirs!r}")
        self._check_names(list(other._whole))
        for name, counts in self._whole.items():
            _naming(name, counts.require_fits, other._whole[name])
        places = self._places(list(other._keys))
        for mine, theirs, at in ((self._whole, other._whole, None), (self._groups, other._groups, places)):
            for name, counts in mine.items():
                counts.merge(theirs[name], at)
        self.n_rows_ += other.n_rows_
        if self.by is not None:
            self._group_rows[places] += other._group_rows
        return self._forget()

    # -- what was learnt

    @property
    def columns_(self) -> dict[str, ColumnDensity]:
        """One a column, of all rows."""
        self._require_fitted()
        if self._made is None:
            self._made = {
                name: ColumnDensity(name, each, self.n_rows_, self.rule) for name, each in self._whole.items()
            }
        return self._made

    @property
    def groups_(self) -> Mapping[GroupKey, dict[str, ColumnDensity]]:
        """Those of each group by its key."""
        self._require_fitted()
        if self.by is None:
            raise AttributeError("there are no groups: give by='a column'")
        if self._made_groups is None:
            self._made_groups = _Groups(self)
        return self._made_groups

    @property
    def feature_names_in_(self) -> NDArray[np.object_]:
        """(D,) names of the columns."""
        self._require_fitted()
        return np.array(list(self._whole), object)

    @property
    def n_features_in_(self) -> int:
        """How many columns there are."""
        self._require_fitted()
        return len(self._whole)

    def sample(
        self, n_samples: int = 1, random_state: Any = None, where: Mapping[str, Any] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Draw rows: columns (n_samples,) by name, each of its own density, missing values among them.

        Parameters
        ----------
        n_samples : int
            How many.
        random_state : int, Generator or RandomState, optional
            The same seed draws the same rows.
        where : mapping of str to value, optional
            Values that columns shall have.
        """
        if n_samples < 1:
            raise ValueError(f"n_samples is {n_samples}; it must be at least 1")
        given = self.random_state if random_state is None else random_state
        rng = given if isinstance(given, np.random.Generator) else np.random.default_rng(_seed(given))
        return {name: column.sample(n_samples, rng) for name, column in self.columns_.items()}

    # -- inside

    def _require_fitted(self) -> None:
        if not hasattr(self, "_whole"):
            from sklearn.exceptions import NotFittedError

            raise NotFittedError("this TableDensity has counted nothing yet: call fit")

    def _by(self) -> list[str]:
        return [] if self.by is None else [self.by] if isinstance(self.by, str) else list(self.by)

    def _empty(self) -> Self:
        """One with the same parameters, nothing counted."""
        if self.rule not in ("auto", "fast"):
            raise ValueError(f"rule is {self.rule!r}; choose from auto, fast")
        return type(self)(**self.get_params())

    def _forget(self) -> Self:
        self._made: dict[str, ColumnDensity] | None = None
        self._made_groups: Any = None
        return self

    def _count_all(self, X: Any, sample_weight: Any) -> Self:
        if is_dask(X):
            return self._count_dask(X, sample_weight)
        for batch in batches_of(X, self.missing or (), self._wanted()):
            self._count(batch, sample_weight)
        if not hasattr(self, "_whole"):
            raise ValueError("the table has no rows: there is nothing to learn from")
        return self._forget()

    def _wanted(self) -> list[str] | None:
        """The columns to read of files; None for all."""
        if self.columns is None:
            return None
        extra = [*self._by(), *([self.weights] if self.weights else [])]
        return [*self.columns, *(name for name in dict.fromkeys(extra) if name not in self.columns)]

    def _count(self, batch: Batch, sample_weight: Any = None) -> None:
        """Count the rows of a batch."""
        n = len(next(iter(batch.values()))) if batch else 0
        for name, cells in batch.items():
            if len(cells) != n:
                raise ValueError(f"column {name!r} has {len(cells)} rows; the first has {n}")
        if n == 0:
            return
        by, given = self._by(), sample_weight
        for name in (*by, *(self.columns or ()), *(self.categories or ()), *([self.weights] if self.weights else [])):
            if name not in batch:
                raise ValueError(f"the table has no column {name!r}; it has {', '.join(list(batch)[:20])}")
        if self.weights is not None:
            cells = batch[self.weights]
            if cells.numbers is None or np.isnan(cells.numbers).any():
                raise ValueError(f"column {self.weights!r} holds weights: a number is needed in each row")
            given = cells.numbers.astype(np.int64) if cells.integers else cells.numbers
        weights = None if given is None else check_weights(given, n)
        forced = set(self.categories or ())
        columns = {
            name: cells.as_categories() if name in forced else cells
            for name, cells in batch.items()
            if name != self.weights and (self.columns is None or name in self.columns)
        }
        if not columns:
            raise ValueError("there is no column to learn")
        keys = [batch[name].as_categories() for name in by]
        if weights is not None and (weights == 0).any():
            some = weights != 0
            weights, columns, keys = (
                weights[some],
                {k: c.take(some) for k, c in columns.items()},
                [c.take(some) for c in keys],
            )
            n = len(weights)
        if not hasattr(self, "_whole"):
            self._start(columns)
        self._check_names(list(columns))
        groups = self._grouped(keys, weights) if by else None
        self.n_rows_ += float(n if weights is None else weights.sum())
        jobs = [(self._whole[name], name, cells, None, weights) for name, cells in columns.items()]
        jobs += [
            (self._groups[name], name, cells, groups, weights)
            for name, cells in columns.items()
            if name in self._groups
        ]
        threads = (
            1
            if self.n_jobs is None
            else self.n_jobs
            if self.n_jobs > 0
            else max((os.cpu_count() or 1) + 1 + self.n_jobs, 1)
        )
        if threads == 1:
            for job in jobs:
                _count_column(*job)
            return
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda job: _count_column(*job), jobs))

    def _start(self, columns: Iterable[str]) -> None:
        self.n_rows_ = 0.0
        self._keys: dict[GroupKey, int] = {}
        self._group_rows = np.zeros(0)
        by = self._by()
        self._whole = {name: ColumnCounts(self.max_cells) for name in columns}
        self._groups = {name: ColumnCounts(self.max_group_cells, 0) for name in columns if by and name not in by}

    def _check_names(self, names: Collection[str]) -> None:
        if {*names} != {*self._whole}:
            odd = sorted({*names} ^ {*self._whole})
            raise ValueError(f"the columns differ from those of earlier rows: {', '.join(odd[:5])}")

    def _grouped(self, keys: list[Cells], weights: Any) -> NDArray[np.int32]:
        """(N,) numbers of the rows' groups."""
        code, radix = np.zeros(len(keys[0]), np.int64), 1
        for cells in keys:
            radix *= len(cells.names) + 1
            if radix > 1 << 62:
                raise ValueError("by has too many columns: group by fewer")
            code = code * (len(cells.names) + 1) + cells.codes + 1
        if radix <= 1 << 20:
            seen = np.flatnonzero(np.bincount(code, minlength=radix))
            places = np.zeros(radix, np.int64)
            places[seen] = np.arange(len(seen))
            inverse = places[code]
        else:
            seen, inverse = np.unique(code, return_inverse=True)
        parts: list[list[str]] = []
        for cells in reversed(keys):
            seen, last = np.divmod(seen, len(cells.names) + 1)
            names = [NO_GROUP, *cells.names]
            parts.append([names[k] for k in last.tolist()])
        found = list(zip(*reversed(parts), strict=True))
        here = self._places([each[0] for each in found] if isinstance(self.by, str) else found)
        self._group_rows += np.bincount(here[inverse], weights, len(self._keys))
        return here[inverse].astype(np.int32)

    def _places(self, keys: Iterable[Any]) -> NDArray[np.int64]:
        """Numbers of groups, new ones too."""
        places = np.array([self._keys.setdefault(key, len(self._keys)) for key in keys], np.int64)
        more = len(self._keys) - len(self._group_rows)
        if more:
            self._group_rows = np.append(self._group_rows, np.zeros(more))
            for counts in self._groups.values():
                counts.grow(len(self._keys))
        return places

    def _count_dask(self, X: Any, sample_weight: Any) -> Self:
        """Each partition where it lies; counts travel, merged as a tree."""
        import dask

        if sample_weight is not None:
            raise ValueError("sample_weight is not taken together with a Dask collection: weights='a column' is")
        if getattr(X, "numblocks", (0, 1))[1:] not in ((), (1,)):
            X = X.rechunk({1: -1})  # rows in one piece
        parts = [dask.delayed(_count_part)(self, part) for part in np.ravel(X.to_delayed())]
        while len(parts) > 1:
            parts = [dask.delayed(_merge_parts)(parts[i : i + 8]) for i in range(0, len(parts), 8)]
        (total,) = dask.compute(*parts)
        if total is None:
            raise ValueError("the table has no rows: there is nothing to learn from")
        return total


def _count_part(empty: TableDensity, part: Any) -> TableDensity | None:
    return empty._empty()._count_all(part, None) if len(part) else None


def _merge_parts(parts: Sequence[TableDensity | None]) -> TableDensity | None:
    found = [part for part in parts if part is not None]
    for part in found[1:]:
        found[0].merge(part)
    return found[0] if found else None


def _count_column(counts: ColumnCounts, name: str, cells: Cells, groups: Any, weights: Any) -> None:
    if cells.numbers is None:
        _naming(name, counts.add_levels, cells.names, cells.codes, groups, weights)
    else:
        _naming(name, counts.add_numbers, cells.numbers, cells.quantity, groups, weights)


def _naming(name: str, call: Any, *arguments: Any) -> None:
    """A ValueError names the column."""
    try:
        call(*arguments)
    except ValueError as error:
        raise ValueError(f"column {name!r} {error}") from None


def _seed(random_state: Any) -> Any:
    return random_state.randint(2**31, size=4) if hasattr(random_state, "randint") else random_state


class _Groups(Mapping[GroupKey, dict[str, ColumnDensity]]):
    """The columns of each group, made when they are asked for."""

    def __init__(self, table: TableDensity):
        self._table = table

    def __getitem__(self, key: GroupKey) -> dict[str, ColumnDensity]:
        g, table = self._table._keys[key], self._table
        rows = float(table._group_rows[g])
        return {name: ColumnDensity(name, each, rows, table.rule, g) for name, each in table._groups.items()}

    def __iter__(self) -> Iterator[GroupKey]:
        return iter(self._table._keys)

    def __len__(self) -> int:
        return len(self._table._keys)

    def __contains__(self, key: object) -> bool:
        return key in self._table._keys
