"""What a fit found, and how far it is from the data."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np

from gaussmix._typing import FloatArray
from gaussmix.density._mixture.picture import text_html
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.discrete import LatticeMixture1D, count_values
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.density.quantity import NUMBER, Quantity
from gaussmix.density.standard_units import settled

Rule = Literal["auto", "fast", "histogram", "algorithm1", "algorithm2", "kernel", "ml"]
RULES: tuple[str, ...] = ("auto", "fast", "histogram", "algorithm1", "algorithm2", "kernel", "ml")
BASIS_RULES: tuple[str, ...] = RULES[2:]


def basis_options(rule: str, n_components: int, bandwidth: float | str) -> dict[str, Any]:
    """The parameters of a basis by name, for a rule that has one; none for the others, which do not use them."""
    return {"n_components": n_components, "bandwidth": bandwidth} if rule in BASIS_RULES else {}


COARSE = 0.05  # a share of the points in one bin that is worth a word


@dataclass(frozen=True)
class FittedDensity:
    """A distribution and what there is to say about how it was found."""

    distribution: GaussianMixture1D
    details: dict[str, Any]  # with JSON's types only
    on_lattice: bool = False  # whether the bins are centred on rounded values


@dataclass(frozen=True)
class FitReport:
    """The facts of one fitted column; ``str()`` is a sentence, `to_dict()` is for JSON.

    ``ks`` is the Kolmogorov-Smirnov distance: the largest difference between the model's distribution function and that
    of the data, at the edges of the bins. ``ks_chance`` is what chance exceeds in 5 % of samples of this size, about
    1.36 / sqrt(n), at most 1: a model cannot be told from the data by a ``ks`` well below it.
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
    """Mean log-density of the data in the bins under the model; at an atom or a value, the log of its mass."""
    heaviest_bin: float
    """Largest share of the points in one bin, atoms left out. Bins are not looked into: what is narrower than one is
    blurred there, and ``ks`` does not see it. 0 for rounded values, where a bin is a value."""
    details: dict[str, Any] = field(default_factory=dict)
    ks_most: float = 1.0
    """The most that ``ks`` could be if bins were looked into."""
    quantity: Quantity = NUMBER
    """What the numbers stand for: dates and durations are printed as such."""

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
        facts["quantity"] = Quantity(**facts.get("quantity", {}))
        return cls(**facts)

    def _gaussians(self) -> str:
        return f"{self.n_components} Gaussian{'s' * (self.n_components > 1)} ({self.rule})"

    _repr_html_ = text_html

    def __str__(self) -> str:
        spread = self.maximum - self.minimum
        said = partial(self.quantity.format, spread=spread)
        sides = zip(("lower", "upper"), self.bounds, strict=True)
        edges = [f"{name} edge at {said(value)}" for name, value in sides if value is not None]
        atoms = [f"{mass:.1%} exactly {said(position)}" for position, mass in list(self.atoms.items())[:4]]
        if len(self.atoms) > 4:
            atoms.append(f"{len(self.atoms) - 4} more point masses")
        values = [f"probabilities of {self.details['values']} values"] if "values" in self.details else []
        left_out = [(self.n_outside, "outside the bins"), (self.n_missing, "missing")]
        others = [f"{number:,} {what}".replace(",", " ") for number, what in left_out if number]
        ks = f"{self.ks:.2g}" + (f" (up to {self.ks_most:.2g} in bins)" if self.ks_most > self.ks + COARSE / 2 else "")
        lines = [
            f"{self.n:,} {self.quantity} from {said(self.minimum)} to {said(self.maximum)}".replace(",", " "),
            ", ".join([self._gaussians(), *values, *edges, *atoms, *others]),
            f"distance to the data (Kolmogorov-Smirnov) {ks}; chance alone reaches {self.ks_chance:.2g}",
        ]
        if spread == 0:
            one = "a single number" if self.n == 1 else f"all {self.n:,} are equal".replace(",", " ")
            lines = [f"{one}: {said(self.minimum)}", ", ".join(["a point mass, with a guard around it", *others])]
        if self.heaviest_bin > COARSE:
            lines.append(f"{self.heaviest_bin:.0%} of the numbers share one bin: the density is coarse there")
        return "\n".join(lines)


def make_report(rule: str, counts: BinnedCounts, fit: FittedDensity) -> FitReport:
    """Compare a fitted distribution with the counts it came from."""
    counts = settled(counts)
    distribution, total, rest = fit.distribution, counts.total_mass, counts.without_atoms()
    atoms = dict(zip(counts.atoms.tolist(), (counts.atom_mass / total).tolist(), strict=True))
    low, high = (bound if math.isfinite(bound) else None for bound in distribution.bounds)
    exact_bins = fit.on_lattice or isinstance(distribution, LatticeMixture1D)
    if isinstance(distribution, LatticeMixture1D):
        ks, log_likelihood = _of_values(counts, distribution)
        most = ks
    else:
        ks, most = _distance(counts, rest, distribution)
        log_likelihood = _log_likelihood(counts, rest.mass, distribution)
    return FitReport(
        rule=rule,
        n=counts.n,
        n_missing=counts.n_nan,
        n_outside=rest.n_under + rest.n_over,
        minimum=counts.minimum,
        maximum=counts.maximum,
        n_components=len(distribution.weights),
        bounds=(low, high),
        atoms={position: mass for position, mass in atoms.items() if mass > 0},
        ks=ks,
        ks_chance=min(1.0, 1.36 / math.sqrt(counts.size)),
        log_likelihood=log_likelihood,
        heaviest_bin=0.0 if exact_bins else float(rest.mass.max()) / total,
        details=fit.details,
        ks_most=ks if exact_bins else most,
    )


def _of_values(counts: BinnedCounts, distribution: LatticeMixture1D) -> tuple[float, float]:
    """Largest difference of the distribution functions at the values, and the mean of the log-probability."""
    values, mass = counts.atoms, counts.atom_mass
    if float(mass.sum()) < counts.total_mass * (1 - 1e-12):
        origin = float(distribution.values[0])
        found = count_values(counts, origin, distribution.step)
        assert found is not None  # the probabilities were made of them
        values, mass = origin + distribution.step * found[0], found[1]
    values, mass = values[mass > 0], mass[mass > 0] / mass.sum()
    ks = np.abs(np.cumsum(mass) - distribution.cdf(values)).max()
    return float(ks), float(mass @ distribution.logpdf(values))


def _distance(counts: BinnedCounts, rest: BinnedCounts, distribution: GaussianMixture1D) -> tuple[float, float]:
    """Largest difference of the distribution functions at the bins' edges, and the most that it may be within bins.

    There both functions rise; point masses, which agree, are left out of that.
    """
    edges, total = rest.axis.edges, counts.total_mass
    full = np.flatnonzero((counts.mass > 0) | (rest.mass > 0))  # between them one of the two is constant
    looked_at = np.unique(np.r_[0, full, full + 1, edges.size - 1])
    fitted = np.full(edges.size, np.nan)
    fitted[looked_at] = distribution.cdf(np.nextafter(edges[looked_at], -np.inf))
    below, smooth = ((np.append(0.0, np.cumsum(each.mass)) + each.under_mass) / total for each in (counts, rest))
    positions, masses = distribution.atoms
    continuous = fitted - np.append(0.0, np.cumsum(masses))[np.searchsorted(positions, edges)]
    within = np.maximum(continuous[1:] - smooth[:-1], smooth[1:] - continuous[:-1])[rest.mass > 0]
    ks = float(np.nanmax(np.abs(fitted - below)))
    return ks, max(ks, float(within.max(initial=0.0)))


def _log_likelihood(counts: BinnedCounts, mass: FloatArray, distribution: GaussianMixture1D) -> float:
    """Mean over bins and atoms of the log-density at the bin's middle; points outside the bins are left out."""
    atoms = counts.atom_mass
    seen, met = mass > 0, atoms > 0
    total = mass[seen] @ distribution.logpdf(counts.axis.centers[seen])
    total += atoms[met] @ distribution.logpdf(counts.atoms[met])
    return float(total / (mass.sum() + atoms.sum()))
