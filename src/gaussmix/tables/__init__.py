"""Whole tables: what each column looks like, by group, learnt in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gaussmix._lazy import face

if TYPE_CHECKING:
    from gaussmix.tables.column import ColumnDensity as ColumnDensity
    from gaussmix.tables.copula import Copula as Copula
    from gaussmix.tables.drift import ColumnDrift as ColumnDrift
    from gaussmix.tables.drift import GroupDrift as GroupDrift
    from gaussmix.tables.drift import TableComparison as TableComparison
    from gaussmix.tables.drift import compare_tables as compare_tables
    from gaussmix.tables.estimator import TableDensity as TableDensity
    from gaussmix.tables.fidelity import Fidelity as Fidelity
    from gaussmix.tables.fidelity import measure_fidelity as measure_fidelity
    from gaussmix.tables.rows import read_rows as read_rows

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "column": ["ColumnDensity"],
        "copula": ["Copula"],
        "drift": ["ColumnDrift", "GroupDrift", "TableComparison", "compare_tables"],
        "estimator": ["TableDensity"],
        "fidelity": ["Fidelity", "measure_fidelity"],
        "rows": ["read_rows"],
    },
)
