"""What a fit found, and how far it is from the data."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gaussmix.density.counts import BinnedCounts
from gaussmix.density.fit import Fit
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.density.standard_units import read_counts

COARSE = 0.05  # a share of the points in one bin that is worth a word


@dataclass(frozen=True)
class FitReport:
    """The facts of one fitted column; `str()` is a sentence, `to_dict()` is for JSON.

    `ks` is the Kolmogorov-Smirnov distance: the largest difference between the model's distribution function and that
    of the data, at the edges of the bins. `ks_chance` is what chance exceeds in 5 % of samples of this size, about
    1.36 / sqrt(n): a model cannot be told from the data by a `ks` well below it.
    """

    rule: str
    n: int
    n_missing: int
    n_outside: int
    minimum: float
    maximum: float
    n_components: int
    bounds: tuple[float | None, float | None]
    atoms: dict[float, float]
    ks: float
    ks_chance: float
    log_likelihood: float
    """Mean log-density of the data in the bins under the model; at an atom, the log of its mass."""
    heaviest_bin: float
    """Largest share of the points in one bin, atoms left out. Bins are not looked into: what is narrower than one is
    blurred there, and `ks` does not see it. 0 for rounded values, where a bin is a value."""
    details: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """With JSON's types only."""
        facts = dataclasses.asdict(self)
        facts["atoms"] = {f"{position:.17g}": mass for position, mass in self.atoms.items()}
        return facts

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> FitReport:
        """The report that `to_dict` described."""
        facts = dict(facts)
        facts["atoms"] = {float(position): mass for position, mass in facts["atoms"].items()}
        facts["bounds"] = tuple(facts["bounds"])
        return cls(**facts)

    def __str__(self) -> str:
        low, high = self.bounds
        edges = [f"{name} edge at {value:g}" for name, value in (("lower", low), ("upper", high)) if value is not None]
        atoms = [f"{mass:.1%} exactly {position:g}" for position, mass in list(self.atoms.items())[:4]]
        if len(self.atoms) > 4:
            atoms.append(f"{len(self.atoms) - 4} more point masses")
        outside = [f"{self.n_outside:,} outside the bins".replace(",", " ")] if self.n_outside else []
        missing = [f"{self.n_missing:,} missing".replace(",", " ")] if self.n_missing else []
        about = [f"{self.n_components} Gaussians ({self.rule})", *edges, *atoms, *outside, *missing]
        return (
            f"{self.n:,} numbers from {self.minimum:g} to {self.maximum:g}\n".replace(",", " ")
            + ", ".join(about)
            + f"\ndistance to the data (Kolmogorov-Smirnov) {self.ks:.2g}; chance alone reaches {self.ks_chance:.2g}"
            + (
                f"\n{self.heaviest_bin:.0%} of the numbers share one bin: the density is coarse there"
                if self.heaviest_bin > COARSE
                else ""
            )
        )


def make_report(rule: str, counts: BinnedCounts, fit: Fit) -> FitReport:
    """Compare a fitted distribution with the counts it came from."""
    distribution = fit.distribution
    total = counts.total_mass
    rest = counts.without_atoms()
    atoms = dict(zip(counts.atoms.tolist(), (counts.atom_mass / total).tolist(), strict=True))
    return FitReport(
        rule=rule,
        n=counts.n,
        n_missing=counts.n_nan,
        n_outside=rest.n_under + rest.n_over,
        minimum=counts.minimum,
        maximum=counts.maximum,
        n_components=len(distribution.weights),
        bounds=(_finite(distribution.bounds[0]), _finite(distribution.bounds[1])),
        atoms={position: mass for position, mass in atoms.items() if mass > 0},
        ks=_distance(counts, distribution),
        ks_chance=1.36 / math.sqrt(counts.size),
        log_likelihood=_log_likelihood(counts, distribution),
        heaviest_bin=0.0 if _is_rounded(counts) else float(rest.mass.max()) / total,
        details=fit.details,
    )


def _distance(counts: BinnedCounts, distribution: GaussianMixture1D) -> float:
    """Largest difference of the distribution functions at the bins' edges; point masses, which agree, are left out."""
    edges, rest = counts.axis.edges, counts.without_atoms()
    below = (np.append(0.0, np.cumsum(rest.mass)) + rest.under_mass) / counts.total_mass
    positions, masses = distribution.atoms
    passed = np.append(0.0, np.cumsum(masses))[np.searchsorted(positions, edges, "right")]
    return float(np.abs(distribution.cdf(edges) - passed - below).max())


def _is_rounded(counts: BinnedCounts) -> bool:
    return read_counts(counts).on_lattice


def _finite(bound: float) -> float | None:
    return bound if math.isfinite(bound) else None


def _log_likelihood(counts: BinnedCounts, distribution: GaussianMixture1D) -> float:
    """Mean over bins and atoms of the log-density at the bin's middle; points outside the bins are left out."""
    mass, atoms = counts.without_atoms().mass, counts.atom_mass
    seen, met = mass > 0, atoms > 0
    total = mass[seen] @ distribution.logpdf(counts.axis.centers[seen])
    total += atoms[met] @ distribution.logpdf(counts.atoms[met])
    return float(total / (mass.sum() + atoms.sum()))
