"""What a model's file holds: mixtures, counts and parameters as safetensors, what is said of them as JSON beside.

A file may have been damaged or made by hand. What is read must agree with itself: reports with counts and mixtures, and
all of it with its kind. What passes here is printed, drawn and learnt on.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from gaussmix._files import Tensors, read_tensors, write_tensors
from gaussmix._guard import reading
from gaussmix.density.basis import GaussianBasis
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.discrete import LatticeMixture1D
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.density.quantity import ColumnKind, Quantity
from gaussmix.density.report import RULES, FitReport

_KINDS = {("number", ""), *((kind, unit) for kind in ("datetime", "duration") for unit in ("D", "s"))}
_RESOLUTIONS = ("", "D", "s", "ms", "us", "ns")


@dataclass(frozen=True)
class StoredModel:
    """A model's parameters by name, and lists of one value a column; ``names`` may be empty, ``kinds`` unknown."""

    parameters: dict[str, Any]
    counts: list[BinnedCounts]
    mixtures: list[GaussianMixture1D]
    reports: list[FitReport]
    bases: tuple[GaussianBasis | None, ...]
    kinds: tuple[ColumnKind, ...] | None
    quantities: tuple[Quantity, ...]
    names: list[str]

    def write(self, path: str | Path) -> None:
        """As one safetensors file, whole or not at all."""
        tensors = {}
        for j, (counts, mixture) in enumerate(zip(self.counts, self.mixtures, strict=True)):
            tensors |= {f"{j}.counts.{name}": value for name, value in counts.to_tensors().items()}
            tensors |= {f"{j}.mixture.{name}": value for name, value in mixture.to_tensors().items()}
        about = {
            "parameters": json.dumps(self.parameters, default=lambda value: value.tolist()),
            "reports": json.dumps([report.to_dict() for report in self.reports]),
            "bases": json.dumps([None if basis is None else dataclasses.asdict(basis) for basis in self.bases]),
            "kinds": json.dumps(self.kinds),
            "names": json.dumps(self.names),
            "quantities": json.dumps([dataclasses.asdict(quantity) for quantity in self.quantities]),
        }
        write_tensors(path, tensors, "GMMExpansion", about)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Raises ValueError, naming the file, for one that is damaged or written by another."""
        with reading(path, "holds no usable model", "; fit and save it again"):
            return cls._checked(*read_tensors(path, "GMMExpansion"))

    @classmethod
    def _checked(cls, tensors: Tensors, about: dict[str, str]) -> Self:
        written = json.loads(about["reports"])
        for facts in written:
            check_facts(facts)
        reports, counts, mixtures = [FitReport.from_dict(facts) for facts in written], [], []
        for j, report in enumerate(reports):
            counts.append(BinnedCounts.from_tensors(_part(tensors, f"{j}.counts.")))
            mixtures.append(read_mixture(tensors, f"{j}.mixture."))
            check_report(report, counts[-1], mixtures[-1])
        bases = tuple(basis and GaussianBasis(**_tupled(basis)) for basis in json.loads(about["bases"]))
        quantities = json.loads(about.get("quantities", "[]")) or [{}] * len(reports)
        for facts in quantities:
            check_quantity(facts)
        kinds, names = json.loads(about.get("kinds", "null")), json.loads(about["names"])
        for kind in kinds or ():
            check_kind(kind)
        check_lengths(len(reports), bases=bases, quantities=quantities, kinds=kinds, names=names)
        return cls(
            _tupled(json.loads(about["parameters"])),
            counts,
            mixtures,
            reports,
            bases,
            kinds and tuple(ColumnKind(*kind) for kind in kinds),
            tuple(Quantity(**facts) for facts in quantities),
            [str(name) for name in names],
        )


def read_mixture(tensors: Tensors, prefix: str) -> GaussianMixture1D:
    """The mixture whose arrays have names with that prefix. Raises ValueError."""
    learnt = _part(tensors, prefix)
    kind = LatticeMixture1D if "probabilities" in learnt else GaussianMixture1D
    return kind.from_tensors(learnt)


def _part(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _tupled(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields as they were before JSON made lists of their tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


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
