"""Which columns are discrete: by their type, or because their numbers lie on a lattice.

Kept for each column beside its counts and joined over chunks, partitions and models, so that the whole decides: a
column is of integers if every chunk was; its step is the greatest that all numbers are whole multiples of, counted from
one of them.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from gaussmix._typing import FloatArray

OF_INTEGERS = np.dtype(np.float64, metadata={"of": "integers"})  # type of integers as floats, missing ones as NaN
MOST_CELLS = 10_000  # from the least value to the greatest
_SINGLE = 2e-7  # of a number: decimals kept in single precision are that far off
_OFF = 0.1  # steps: further off no number lies, whatever the precision
_ROUNDS = 200


class ColumnKind(NamedTuple):
    """Whether every chunk was of integers; if it was looked for, the lattice of the numbers.

    ``origin`` is one of them, None while there is none or no one looked; ``step`` is 0 while all are equal, NaN where
    they lie on no lattice of at most `MOST_CELLS`.
    """

    integer: bool = True
    origin: float | None = None
    step: float = 0.0

    @classmethod
    def of(cls, column: NDArray[np.floating], integer: bool, look: bool) -> Self:
        """The kind of one chunk (N,)."""
        values = np.unique(column[np.isfinite(column)]).astype(np.float64) if look else np.empty(0)
        if len(values) == 0:
            return cls(integer)
        size, eps = float(np.abs(values).max()), float(np.finfo(column.dtype).eps)
        distances = values - values[0]
        return cls(integer, float(values[0]), common_step(distances[distances > 8 * eps * size], size))

    def joined(self, other: ColumnKind) -> ColumnKind:
        """The kind of both together."""
        integer = self.integer and other.integer
        if self.origin is None or other.origin is None:
            origin, step = self[1:] if other.origin is None else other[1:]
            return ColumnKind(integer, origin, step)
        apart, size = abs(other.origin - self.origin), max(abs(self.origin), abs(other.origin))
        least = min((step for step in (self.step, other.step) if step > 0), default=0.0)
        if apart <= 2 * _SINGLE * size and apart < _OFF * least:  # rounding has put the same place twice
            apart = 0.0
        return ColumnKind(integer, self.origin, common_step(np.array([self.step, other.step, apart]), size))

    @property
    def whole(self) -> bool:
        """Whether all numbers are integers."""
        return self.integer or (self.origin is not None and self.origin.is_integer() and self.step.is_integer())


def common_step(distances: FloatArray, size: float) -> float:
    """The greatest number of which all distances >= 0 are multiples: 0 if all are 0, NaN if there is none.

    ``size`` is that of the numbers whose distances they are; rounding in single precision is allowed for.
    """
    d = np.unique(distances[~(distances <= 0)])
    precision = 0.0 if np.array_equal(d, np.rint(d)) else _SINGLE * size
    if len(d) == 0:
        return 0.0
    step, reach = float(d[0]), 1
    for _ in range(_ROUNDS):
        if not step > d[-1] / MOST_CELLS:
            break
        near = d[: max(int(np.searchsorted(d, 1.5 * reach * step)), 2)]
        off = np.abs(near - step * np.rint(near / step))
        if (wrong := off > min(1e-3 * step + precision, _OFF * step)).any():
            step, reach = float(off[wrong].min()), 1
            d = np.append(step, d)  # short distances first: long ones hold many steps, and as many of their errors
            continue
        step = float(near[-1] / np.rint(near[-1] / step))  # the longer the distance, the less rounding a step
        if len(near) == len(d):
            return step
        reach *= 8
    return math.nan


def holds_integers(values: Any) -> bool:
    """Whether an array is of integers, booleans, or floats that are known to be integers or missing."""
    dtype = values.dtype
    return getattr(dtype, "kind", "f") in "iub" or (getattr(dtype, "metadata", None) or {}).get("of") == "integers"


def marked_integers(values: NDArray[Any]) -> NDArray[Any]:
    """Float64 values as what is known to be integers, where all that are not missing are whole numbers."""
    if values.dtype != np.float64 or holds_integers(values):
        return values
    whole = (values == np.rint(values)) | np.isnan(values)
    return values.view(OF_INTEGERS) if whole.all() else values


def concatenated(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Arrays (n,) one after another; of integers if all of them are."""
    values = np.concatenate(parts)
    of_integers = values.dtype == np.float64 and all(map(holds_integers, parts))
    return values.view(OF_INTEGERS) if of_integers else values


def integer_columns(X: Any, width: int) -> list[bool]:
    """Of the ``width`` columns of X, an array or a pandas, polars, Arrow or Dask object: whether of integers, booleans.

    By the declared types: integers with missing values are integers, though what is counted of them are floats. What
    has none is taken for floats.
    """
    library = type(X).__module__.partition(".")[0]
    if library == "polars":
        kinds = [
            kind.is_integer() or str(kind) == "Boolean" for kind in (X.dtypes if hasattr(X, "columns") else [X.dtype])
        ]
    elif library == "pyarrow" or (hasattr(X, "__arrow_c_stream__") and library != "pandas"):
        kinds = _arrow_kinds(X)
    elif hasattr(X, "dtypes") and hasattr(X, "columns"):  # pandas, and Dask's data frames
        kinds = [kind.kind in "iub" for kind in X.dtypes]
    else:
        kinds = [holds_integers(X if hasattr(X, "dtype") else np.asarray(X))] * width
    return kinds if len(kinds) == width else [False] * width


def _arrow_kinds(X: Any) -> list[bool]:
    import pyarrow as pa

    schema = getattr(X, "schema", None)
    types = [X.type] if isinstance(X, pa.Array | pa.ChunkedArray) else schema.types if schema is not None else []
    types = [kind.value_type if pa.types.is_dictionary(kind) else kind for kind in types]
    return [pa.types.is_integer(kind) or pa.types.is_boolean(kind) for kind in types]
