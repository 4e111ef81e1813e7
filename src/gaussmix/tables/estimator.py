"""`TableDensity`: every column of a table at once, of all rows and by group, in one pass.

    table --reading--> columns of a batch --values--> counts, which merge --column--> densities, when asked for

A scikit-learn estimator (parameters by name, clones), though without its base class, which takes longer to import than
a small table to learn: the command line uses this class too.
"""

from __future__ import annotations

import inspect
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaussmix._files import Tensors, read_tensors, tensor_bytes, tensors_of, write_tensors
from gaussmix._guard import reading
from gaussmix.density.columns import is_dask, stream_batches
from gaussmix.density.counts import threads_of
from gaussmix.density.report import FitReport
from gaussmix.density.stored import check_facts, check_report, read_mixture
from gaussmix.tables.column import ColumnDensity, GroupColumns
from gaussmix.tables.copula import Copula
from gaussmix.tables.counting import GroupKey, TableCounts, TableLayout
from gaussmix.tables.notebook import table_html
from gaussmix.tables.reading import batches_of, is_files, library_of
from gaussmix.tables.sampling import RowSampling

_MOST_BYTES = 1 << 29  # of one that was packed


class TableDensity(RowSampling):
    """The density of each numeric column of a table, frequencies of the others; by group too.

    Parameters
    ----------
    rule : {"auto", "fast"}
        How densities are made of counts, as `GMMExpansion` does.
    dependence : {"independent", "copula"}
        How columns hang together in `sample`: not at all, or by a Gaussian copula. For that a sample of at most 65 536
        rows is kept in memory while the table is learnt, never in a file: what was loaded draws rows, and counts no
        more. Not together with ``by``.
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
    copula_ : Copula
        The dependence between columns; with "independent" there is none.
    counts_ : TableCounts
        All that is kept of the table.
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
        self.rule, self.dependence = rule, dependence
        self.by, self.columns, self.categories = by, columns, categories
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

    def __sklearn_tags__(self) -> Any:
        from sklearn.base import BaseEstimator

        tags = BaseEstimator().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "counts_")

    def __repr__(self) -> str:
        usual = type(self)().get_params().items()
        given = [f"{name}={getattr(self, name)!r}" for name, value in usual if getattr(self, name) != value]
        return f"TableDensity({', '.join(given)})"

    _repr_html_ = table_html

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
        counts = self._counted(X, sample_weight)
        if not counts.whole:
            weighed = " of a weight above zero" if sample_weight is not None or self.weights else ""
            raise ValueError(f"the table has no rows{weighed}: there is nothing to learn from")
        self.counts_, self._library = counts, library_of(X)
        return self._forget()

    def partial_fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Count more rows: in what order they come changes nothing. After an error nothing has changed.

        Parameters
        ----------
        X, y, sample_weight : object
            As in `fit`.
        """
        self._require_rows("partial_fit")
        more = self._counted(X, sample_weight)
        if not hasattr(self, "counts_"):
            self.counts_ = TableCounts(more.layout)
            self._library = library_of(X)
        self.counts_.merge(more)
        return self._forget()

    def merge(self, other: TableDensity) -> Self:
        """Add what another has counted: of other rows of the same table, by the same groups.

        Raises ValueError where columns or groups differ.
        """
        if not isinstance(other, TableDensity):
            raise TypeError(f"cannot merge {type(other).__name__}; it takes another TableDensity")
        other._require_fitted()
        self._require_fitted()
        self._require_rows("merge")
        other._require_rows("merge")
        self.counts_.merge(other.counts_)
        return self._forget()

    # -- what was learnt

    @property
    def columns_(self) -> dict[str, ColumnDensity]:
        """One a column, of all rows."""
        self._require_fitted()
        if self._made is None:
            rows, whole = self.counts_.rows, self.counts_.whole
            self._made = {name: ColumnDensity(name, each, rows, self.rule) for name, each in whole.items()}
        return self._made

    @property
    def groups_(self) -> Mapping[GroupKey, dict[str, ColumnDensity]]:
        """Those of each group by its key."""
        self._require_fitted()
        if self.by is None:
            raise AttributeError("there are no groups: give by='a column'")
        if self._made_groups is None:
            self._made_groups = GroupColumns(self.counts_, self.rule)
        return self._made_groups

    def group_sizes(self) -> dict[GroupKey, float]:
        """Return the rows, or their weight, of each group by its key."""
        self._require_fitted()
        return dict(zip(self.counts_.keys, self.counts_.group_rows.tolist(), strict=True))

    @property
    def n_rows_(self) -> float:
        """Rows, or their weight."""
        self._require_fitted()
        return self.counts_.rows

    @property
    def feature_names_in_(self) -> NDArray[np.object_]:
        """(D,) names of the columns."""
        self._require_fitted()
        return np.array(list(self.counts_.whole), object)

    @property
    def n_features_in_(self) -> int:
        """How many columns there are."""
        self._require_fitted()
        return len(self.counts_.whole)

    # -- on disk, and between machines

    def to_bytes(self) -> bytes:
        """Return what was counted as a small string of bytes, for `from_bytes` anywhere, and then `merge`.

        Raises ValueError with a copula: they hold no rows, so that the dependence could not be merged.
        """
        self._require_fitted()
        if self.dependence == "copula":
            raise ValueError("bytes hold no rows, of which dependence='copula' is learnt: save the table, or merge it")
        return zlib.compress(tensor_bytes(self.counts_.to_tensors(), "TableCounts", self._written()))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Make what gave `to_bytes`. Raises ValueError for other bytes."""
        with reading("these bytes", "hold no counts of a table"):
            work = zlib.decompressobj()
            whole = work.decompress(data, _MOST_BYTES)
            if not work.eof:
                raise ValueError("they end too early, or are too many")
            return cls._made_of(*tensors_of(whole, "TableCounts", "these bytes"))

    def save(self, path: str | Path) -> None:
        """Write counts and densities as one safetensors file; `partial_fit` and `merge` go on after `load`.

        Raises OSError where the file cannot be written; an older file of that name is then still whole.
        """
        self._require_fitted()
        tensors, reports = self.counts_.to_tensors(), {}
        for j, column in enumerate(self.columns_.values()):
            if column.density is not None and column.report is not None:
                tensors |= {f"{j}.mixture.{name}": value for name, value in column.density.to_tensors().items()}
                reports[column.name] = column.report.to_dict()
        about = {**self._written(), "reports": json.dumps(reports)}
        if self.dependence == "copula":
            tensors["copula"], about["copula"] = self.copula_.correlation, json.dumps(self.copula_.to_dict())
        write_tensors(path, tensors, "TableDensity", about)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote. Raises ValueError, naming the file, for one that is damaged, or another's."""
        with reading(path, "holds no usable table", "; fit and save it again"):
            tensors, about = read_tensors(path, "TableDensity")
            table = cls._made_of(tensors, about)
            reports = json.loads(about["reports"])
            for j, column in enumerate(table.columns_.values()):
                if (column.counts is None) != (column.name not in reports):
                    raise ValueError(f"column {column.name!r} has counts and no density, or a density alone")
                if column.counts is not None:
                    check_facts(reports[column.name])
                    report = FitReport.from_dict(reports[column.name])
                    mixture = read_mixture(tensors, f"{j}.mixture.")
                    check_report(report, column.counts, mixture)
                    column.set_fit(mixture, report)
            if table.dependence == "copula":
                table._copula = Copula.from_dict(json.loads(about["copula"]), tensors["copula"], table.columns_)
        return table

    def _written(self) -> dict[str, str]:
        """Parameters that are not in the layout of the counts."""
        seed = self.random_state if isinstance(self.random_state, int) else None
        own = {"rule": self.rule, "dependence": self.dependence, "missing": list(self.missing or ())}
        return {"parameters": json.dumps({**own, "random_state": seed})}

    @classmethod
    def _made_of(cls, tensors: Tensors, about: dict[str, str]) -> Self:
        counts, own = TableCounts.from_tensors(tensors), json.loads(about["parameters"])
        layout = counts.layout
        if not all(isinstance(mark, str) for mark in own["missing"]) or not isinstance(own["random_state"], int | None):
            raise ValueError("its parameters are not those of a table")
        table = cls(
            rule=own["rule"],
            dependence=own["dependence"],
            by=list(layout.by) if layout.several else layout.by[0] if layout.by else None,
            columns=None if layout.columns is None else list(layout.columns),
            categories=list(layout.categories) or None,
            weights=layout.weights,
            missing=own["missing"] or None,
            random_state=own["random_state"],
            max_cells=layout.cells,
            max_group_cells=layout.group_cells,
        )
        table.layout()  # which checks the parameters
        table.counts_ = counts
        return table._forget()

    # -- inside

    def _require_fitted(self) -> None:
        if not hasattr(self, "counts_"):
            from sklearn.exceptions import NotFittedError

            raise NotFittedError("this TableDensity has counted nothing yet: call fit")

    def layout(self) -> TableLayout:
        """Return what tables are counted by. Raises ValueError for parameters that are none."""
        for name, allowed in (("rule", ("auto", "fast")), ("dependence", ("independent", "copula"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}; choose from {', '.join(allowed)}")
        if self.by is not None and self.dependence == "copula":
            raise ValueError("dependence='copula' is that of all rows: leave by out, or fit a table for each group")
        for name in ("max_cells", "max_group_cells"):
            if not isinstance(getattr(self, name), int | np.integer) or getattr(self, name) < 16:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be a whole number of at least 16")
        for name in ("columns", "categories", "missing"):
            if isinstance(getattr(self, name), str):
                raise ValueError(f"{name} is a word; it takes a list of them: [{getattr(self, name)!r}]")
        return TableLayout(
            by=() if self.by is None else (self.by,) if isinstance(self.by, str) else tuple(self.by),
            several=self.by is not None and not isinstance(self.by, str),
            columns=None if self.columns is None else tuple(self.columns),
            categories=tuple(self.categories or ()),
            weights=self.weights,
            cells=int(self.max_cells),
            group_cells=int(self.max_group_cells),
            dependence=self.dependence == "copula",
        )

    def _forget(self) -> Self:
        """What was made from older counts."""
        self._made: dict[str, ColumnDensity] | None = None
        self._made_groups: Any = None
        self._copula: Copula | None = None
        return self

    def _counted(self, X: Any, sample_weight: Any) -> TableCounts:
        """The counts of a table."""
        layout = self.layout()
        if is_dask(X):
            if sample_weight is not None:
                raise ValueError("sample_weight is not taken together with a Dask collection: weights='a column' is")
            return _count_dask(X, layout)
        if sample_weight is not None and (is_files(X) or stream_batches(X) is not None):
            raise ValueError("sample_weight is not taken with what is read in batches: name a column, weights=")
        counts, threads = TableCounts(layout), threads_of(self.n_jobs)
        for batch in batches_of(X, self.missing or (), layout.wanted, layout.categories):
            counts.count(batch, sample_weight, threads)
        return counts


def _count_dask(X: Any, layout: TableLayout) -> TableCounts:
    """Each partition where it lies; counts travel, merged as a tree."""
    import dask

    if getattr(X, "numblocks", (0, 1))[1:] not in ((), (1,)):
        X = X.rechunk({1: -1})  # rows in one piece
    parts = [dask.delayed(_count_part)(part, layout) for part in np.ravel(X.to_delayed())]
    while len(parts) > 1:
        parts = [dask.delayed(_merge_parts)(parts[i : i + 8]) for i in range(0, len(parts), 8)]
    (total,) = dask.compute(*parts)
    return total


def _count_part(part: Any, layout: TableLayout) -> TableCounts:
    counts = TableCounts(layout)
    for batch in batches_of(part):
        counts.count(batch)
    return counts


def _merge_parts(parts: Sequence[TableCounts]) -> TableCounts:
    total = TableCounts(parts[0].layout)
    for part in parts:
        total.merge(part)
    return total
