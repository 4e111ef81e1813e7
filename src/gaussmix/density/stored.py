"""What stands in a model's file must agree with itself: reports with counts and mixtures, and all of it with its kind.

A file may have been damaged or made by hand. What passes here is printed, drawn and learnt on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gaussmix.density.counts import BinnedCounts
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.density.report import RULES, FitReport

_KINDS = {("number", ""), *((kind, unit) for kind in ("datetime", "duration") for unit in ("D", "s"))}
_RESOLUTIONS = ("", "D", "s", "ms", "us", "ns")


def check_lengths(columns: int, **lists: Sequence[Any] | None) -> None:
    """Raises ValueError for a list that is not one value a column; None and nothing are no list."""
    if columns < 1:
        raise ValueError("it has no columns")
    for name, values in lists.items():
        if values is not None and len(values) not in (0, columns):
            raise ValueError(f"{columns} reports and {len(values)} {name}")


def check_facts(facts: Mapping[str, Any]) -> None:
    """Raises ValueError for a report's JSON with a value of another type than it has, before it is made."""
    kinds: dict[str, tuple[type, ...]] = {
        **dict.fromkeys(("n", "n_missing", "n_outside", "n_components"), (int,)),
        **dict.fromkeys(("minimum", "maximum", "ks", "ks_chance", "log_likelihood", "heaviest_bin"), (int, float)),
        "rule": (str,),
        "atoms": (dict,),
        "details": (dict,),
        "bounds": (list,),
    }
    for name, kind in kinds.items():
        if not isinstance(facts[name], kind) or isinstance(facts[name], bool):
            raise ValueError(f"{name} of its report is {facts[name]!r}")
    check_quantity(facts.get("quantity", {}))


def check_kind(kind: Any) -> None:
    """Raises ValueError for what is not the JSON of a `ColumnKind`."""
    integer, origin, step = kind
    if not isinstance(integer, bool) or not (origin is None or _is_finite(origin)) or not _is_step(step):
        raise ValueError(f"a column's kind is {kind!r}")


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _is_step(value: Any) -> bool:
    return isinstance(value, float | int) and (math.isnan(value) or 0 <= value < math.inf)


def check_quantity(facts: Mapping[str, Any]) -> None:
    """Raises ValueError for what is not the JSON of a `Quantity`."""
    kind, unit, resolution, zone = (facts.get(name, default) for name, default in _QUANTITY.items())
    if (kind, unit) not in _KINDS or resolution not in _RESOLUTIONS or (resolution == "") != (kind == "number"):
        raise ValueError(f"its numbers are {dict(facts)!r}")
    if not (zone is None or isinstance(zone, str)):
        raise ValueError(f"its time zone is {zone!r}")


_QUANTITY = {"kind": "number", "unit": "", "resolution": "", "zone": None}


def check_report(report: FitReport, counts: BinnedCounts, law: GaussianMixture1D) -> None:
    """Raises ValueError for a report that is not of these counts and this mixture."""
    bounds = tuple(bound if math.isfinite(bound) else None for bound in law.bounds)
    expected = {
        "n": counts.n,
        "n_missing": counts.n_nan,
        "minimum": counts.minimum,
        "maximum": counts.maximum,
        "n_components": len(law.weights),
        "bounds": bounds,
    }
    for name, value in expected.items():
        if getattr(report, name) != value:
            raise ValueError(f"its report gives {getattr(report, name)!r} as {name}, what was counted {value!r}")
    if report.rule not in RULES:
        raise ValueError(f"its rule is {report.rule!r}")
    shares = [report.ks, report.ks_chance, report.heaviest_bin, *report.atoms.values()]
    if not all(isinstance(share, int | float) and 0 <= share <= 1 + 1e-9 for share in shares):
        raise ValueError("a share in its report is not between 0 and 1")
    if not (0 <= report.n_outside <= report.n and set(report.atoms) <= set(counts.atoms.tolist())):
        raise ValueError("its report has point masses or numbers outside the bins that were not counted")
    if not isinstance(report.details.get("values", 0), int):
        raise ValueError(f"its report counts {report.details['values']!r} values")
