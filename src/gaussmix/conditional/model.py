"""What is learnt of a table and numbers y, point masses and lattices among them; and what it says of new rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaussmix._typing import FloatArray, IntArray
from gaussmix.conditional.bases import AtomProbabilities, Basis, Lattice, fit_atoms
from gaussmix.conditional.bounded import BoundedMixture
from gaussmix.conditional.calibration import ConditionalReport, coverage, crps_samples, ks_uniform
from gaussmix.conditional.distribution import ConditionalMixture
from gaussmix.conditional.features import TableFeatures
from gaussmix.conditional.folds import make_folds
from gaussmix.conditional.learning import JUDGED, PARTS, Learnt, Parts, learn
from gaussmix.conditional.location import InUnits
from gaussmix.density.binning import point_masses, rounding_step

MOST_CELLS, MOST_ASKED = 512, 4096  # of a lattice: unasked, and with discrete=True
_ROWS = 1 << 15  # of which distributions are made at a time, where numbers are all that is asked for
_LARGEST = 1e150  # numbers whose squares are finite
_FAR, _TAME, _FEWEST = 100.0, 0.99, 20  # what is far out: beyond so many times the distance of that share of the rows


@dataclass(frozen=True)
class Units:
    """What standard units are in those of y, and a wide Gaussian there for the share of y that is far out."""

    center: float = 0.0
    spread: float = 1.0
    far: float = 0.0
    far_std: float = 1.0


@dataclass(frozen=True)
class ConditionalModel:
    """All that predicts: parts in standard units, what these are, point masses, the lattice; and a report."""

    features: TableFeatures
    parts: Parts | None
    units: Units
    bounds: tuple[float, float]
    atoms: AtomProbabilities | None
    lattice: Lattice | None
    report: ConditionalReport
    pit: FloatArray  # of rows out of fold

    def predict(self, X: FloatArray, *, far: bool = True) -> ConditionalMixture:
        """Distributions of y at features (N, D), without ``far`` of what is not far out."""
        atoms = None if self.atoms is None else self.atoms.basis(self.atoms.predict(X))
        law = None if self.parts is None else self.parts.predict(X)
        units = self.units if far else replace(self.units, far=0.0)
        return _in_units(law, units, atoms, self.lattice, self.bounds)

    def some_rows(self, X: FloatArray, *, far: bool = True) -> Iterator[tuple[slice, ConditionalMixture]]:
        """The same of some rows at a time, with where they are: weights of all rows can be larger than memory.

        The last slice is open, so that what is as long as the rows fits it, and what is longer does not.
        """
        for start in range(0, max(len(X), 1), _ROWS):
            stop = start + _ROWS
            some = slice(start, stop if stop < len(X) else None)
            yield some, self.predict(X[some], far=far)


@dataclass(frozen=True)
class Options:
    """How a model is learnt: parameters of the estimator of the same names."""

    rule: str
    regressor: Any
    discrete: bool | str
    n_jobs: int | None
    bounds: tuple[float, float] = (-math.inf, math.inf)


def learn_model(
    table: Sequence[NDArray[Any]],
    names: Sequence[str],
    y: FloatArray,
    weight: FloatArray,
    options: Options,
    rng: np.random.Generator,
    tell: Callable[[str], None] = lambda stage: None,
) -> ConditionalModel:
    """Learn the distribution of y (N,) from columns (N,) of numbers or categories; rows weigh ``weight`` (N,)."""
    if not np.abs(y).max() < _LARGEST:
        raise ValueError(f"y reaches to {np.abs(y).max():g}, beyond {_LARGEST:g}; divide it by a large number")
    low, high = options.bounds
    if y.min() < low or y.max() > high:
        raise ValueError(f"y runs from {y.min():g} to {y.max():g}, beyond bounds=({low:g}, {high:g}); widen them")
    step, lattice, positions = kind_of(y, options.discrete)
    folds = make_folds(len(y), rng)
    kind = np.where(np.isin(y, positions), np.searchsorted(positions, y), len(positions))
    smooth = np.flatnonzero(kind == len(positions))
    away = far_out(y[smooth]) if lattice is None else np.zeros(len(smooth), bool)
    tame, far, smooth = np.delete(y, smooth[away]), smooth[away], smooth[~away]
    features, X = TableFeatures.learn(table, names, np.clip(y, tame.min(), tame.max()), weight, folds)
    atoms, p = None, np.zeros((len(y), 0))
    if len(positions):
        tell("point masses")
        atoms, p = fit_atoms(X, kind, positions, weight, folds, rng, options.n_jobs)
    learnt, units = None, Units()
    if len(smooth):
        v, w = y[smooth], weight[smooth] / weight[smooth].mean()
        units = _units(v, w)
        center, spread = units.center, units.spread
        if len(far):
            share = float(weight[far].sum() / (weight[far].sum() + weight[smooth].sum()))
            units = replace(units, far=share, far_std=_scale(y[far] - center, weight[far]))
        learnt = learn(
            X if len(smooth) == len(X) else X[smooth],  # a table is large
            (v - center) / spread,
            w,
            step / 2 / spread,
            options.rule,
            options.regressor and InUnits(options.regressor, center, spread),
            rng,
            options.n_jobs,
            tell,
        )
    rows = _judged(learnt, smooth, len(y), rng)
    law = learnt and learnt.distribution
    if learnt is not None and len(rows) > len(learnt.rows):  # of point masses and of what is far out
        law = learnt.distribution.joined(learnt.parts.predict(X[rows[len(learnt.rows) :]]))
    law = _in_units(law, units, atoms and atoms.basis(p[rows]), lattice, options.bounds)
    if np.ptp(weight) > 0:  # rows as often as they weigh: all that is said of them is weighted then
        some = np.sort(rng.choice(len(rows), len(rows), p=weight[rows] / weight[rows].sum()))
        law, rows = law[some], rows[some]
    pit = law.pit(y[rows])
    report = _report(law, y[rows], pit, options.rule, learnt, n=len(y), n_features=X.shape[1], step=step)
    return ConditionalModel(features, learnt and learnt.parts, units, options.bounds, atoms, lattice, report, pit)


def far_out(y: FloatArray) -> NDArray[np.bool_]:
    """Which numbers (N,) are so far out that units of the others say nothing of them, as a slip of the keyboard.

    At most one in a hundred, beyond `_FAR` times the distance from the median that the rest keeps.
    """
    if len(y) < _FEWEST:
        return np.zeros(len(y), bool)
    away = np.abs(y - np.median(y))
    usual = float(np.quantile(away, _TAME, method="lower"))
    return (away > _FAR * usual) if usual > 0 else np.zeros(len(y), bool)


def _units(y: FloatArray, weight: FloatArray) -> Units:
    center = float(np.average(y, weights=weight))
    return Units(center, _scale(y - center, weight))


def _scale(away: FloatArray, weight: FloatArray) -> float:
    """The root of the mean square, whatever its size."""
    most = float(np.abs(away).max())
    return most * float(np.sqrt(np.average((away / most) ** 2, weights=weight)))


def kind_of(y: FloatArray, discrete: bool | str) -> tuple[float, Lattice | None, FloatArray]:
    """The rounding step of y, 0 for none; the lattice, if distributions are on one; positions of point masses."""
    values, repeats = np.unique(y, return_counts=True)
    step = rounding_step(values, repeats)
    cells = round((values[-1] - values[0]) / step) + 1 if step > 0 else 0
    if discrete is True and not 0 < cells <= MOST_ASKED:
        what = f"{cells} values from the least to the greatest, more than {MOST_ASKED}" if cells else "no lattice"
        raise ValueError(f"discrete=True needs numbers y that repeat on a lattice; these have {what}")
    if step > 0 and discrete is not False and (cells <= MOST_CELLS or discrete is True):
        return step, Lattice(float(values[0]), step, cells), np.empty(0)
    positions = point_masses(values, repeats, step)
    if len(values) - len(positions) < 2:  # of a single number there is no spread
        positions = values
    return step, None, positions


def _judged(learnt: Learnt | None, smooth: IntArray, n: int, rng: np.random.Generator) -> IntArray:
    """Rows that the report is about: those that the densities were judged on, and as large a share of the others."""
    if learnt is None:
        return np.sort(rng.permutation(n)[:JUDGED])
    others = np.setdiff1d(np.arange(n), smooth)
    some = rng.permutation(others)[: len(others) * len(learnt.rows) // len(smooth)]
    return np.append(smooth[learnt.rows], np.sort(some))


def _report(
    law: ConditionalMixture,
    y: FloatArray,
    pit: FloatArray,
    rule: str,
    learnt: Learnt | None,
    *,
    n: int,
    n_features: int,
    step: float,
) -> ConditionalReport:
    """The facts about distributions out of fold and their y (R,)."""
    shares = np.zeros(len(PARTS)) if learnt is None else learnt.parts.shares
    return ConditionalReport(
        rule=rule,
        n=n,
        n_features=n_features,
        shares={name: float(share) for name, share in zip(PARTS, shares, strict=True)},
        log_likelihood=float(law.logpdf(y).mean()),
        crps=float(law.crps(y).mean()),
        crps_marginal=crps_samples(y),
        rmse=float(np.sqrt(np.mean((law.mean() - y) ** 2))),
        coverage=coverage(pit),
        pit_ks=ks_uniform(pit),
        pit_chance=min(1.36 / math.sqrt(len(pit)), 1.0),
        shrink=1.0 if learnt is None else learnt.shrink,
        gap=0.0 if learnt is None else learnt.gap,
        step=step,
        discrete=law.lattice is not None,
    )


def _in_units(
    law: ConditionalMixture | None,
    units: Units,
    atoms: Basis | None,
    lattice: Lattice | None,
    bounds: tuple[float, float],
) -> ConditionalMixture:
    """Standard units to those of y; what atoms leave is shared as before. ``law`` is None where they leave nothing."""
    if law is None:
        assert atoms is not None
        n = len(atoms.weights)
        empty = Basis(np.empty((n, 0), np.float32), np.empty(0), np.empty(0))
        return ConditionalMixture(empty, empty, np.zeros(n), np.ones(n), atoms=atoms)
    center, spread = units.center, units.spread
    moved, fixed = law.moved, Basis(law.fixed.weights, law.fixed.means * spread + center, law.fixed.stds * spread)
    if units.far > 0:
        far = Basis(np.full((len(law), 1), units.far, np.float32), np.array([center]), np.array([units.far_std]))
        moved, fixed = moved.times(1 - units.far), fixed.times(1 - units.far).beside(far)
    if atoms is not None:
        rest = np.maximum(1 - atoms.weights.sum(1, keepdims=True), 0.0)
        moved, fixed = moved.times(rest), fixed.times(rest)
    law = ConditionalMixture(moved, fixed, law.loc * spread + center, law.scale * spread, atoms=atoms, lattice=lattice)
    return law if lattice is not None or bounds == (-math.inf, math.inf) else BoundedMixture(law, bounds)
