"""Stacking: shares of conditional densities that maximise the likelihood out of fold (Breiman 1996; Yao et al. 2018).

    maximise sum_i w_i log sum_p b_p f_p(y_i | x_i),    b >= 0, sum b = 1

f_p is judged on rows that it did not learn from. The problem is concave, and the interior point of
`gaussmix.density.interior_point` certifies its answer. A wide guard has at least `GUARD`, so that no observation costs
infinitely much.

Parts of which each is calibrated have a mean that is not: it is too wide (Gneiting and Ranjan 2013). The
beta-transformed pool (Ranjan and Gneiting 2010) takes that back. With f and F the density and the distribution function
of the pool, and B the Beta(a, a) distribution function,

    G(y) = B(F(y)),    g(y) = f(y) B'(F(y)),    a >= 1,

narrower the greater a is. Here F is taken at the middle c_k of each Gaussian, so that rows stay mixtures on the same
bases:

    w'_k = w_k (F(c_k) (1 - F(c_k)))^(a - 1),    normalised; the guard keeps its weight.

a has the greatest likelihood of rows out of fold. F is read off tables of both bases, linearly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import ndtr

from gaussmix._typing import FloatArray
from gaussmix.conditional import _rows
from gaussmix.conditional.bases import TINY, Basis, likelihoods
from gaussmix.conditional.distribution import ConditionalMixture
from gaussmix.density.interior_point import maximum_likelihood_weights

GUARD = 0.002
LEAST_SHARE = 1e-3
SHARPEST = 3.0
_LEAST_GAIN = 1e-4  # nats a row that sharpening must gain
_MOST_PLACES = 128
_AROUND = (-6.0, -3.0, -1.5, 0.0, 1.5, 3.0, 6.0)
_ROWS = 1 << 11


def stack(likelihood: FloatArray, weight: FloatArray) -> tuple[FloatArray, float]:
    """Shares (P,) for likelihoods (N, P), the guard's in the last column; and the certified gap, in nats a row.

    Rows weigh ``weight`` (N,). The guard keeps at least `GUARD`: what is left is shared by the others.
    """
    if not (likelihood.max(1) > 0).all():
        raise ValueError("a row has no likelihood under any of the densities, the guard among them")
    solved = maximum_likelihood_weights((1 - GUARD) * likelihood, weight, GUARD * likelihood[:, -1], tol=1e-7)
    shares = (1 - GUARD) * solved.weights / solved.weights.sum()
    shares[-1] += GUARD
    return shares, solved.gap


def stack_parts(p: Mapping[str, FloatArray], names: Sequence[str], weight: FloatArray) -> tuple[FloatArray, float]:
    """Shares (P,) by name, the guard's last, and the gap; parts that are missing or below `LEAST_SHARE` have none."""
    table = np.column_stack([p.get(name, np.zeros(len(weight))) for name in names])
    table[:, -1] = np.maximum(table[:, -1], TINY)
    shares, gap = stack(table, weight)
    shares = np.where(shares < LEAST_SHARE, 0.0, shares)
    return shares / shares.sum(), gap


def choose_sharpness(law: ConditionalMixture, y: FloatArray, half: float, weight: FloatArray) -> float:
    """The a, from 1 to `SHARPEST`, of the greatest likelihood of numbers (R,), rounded to +-``half``, under their rows.

    Rows weigh ``weight`` (R,); the guard is the first of the Gaussians that lie still.
    """
    cells = np.full(len(y), half) if half > 0 else None
    moved_cells = None if cells is None else cells / law.scale
    moved = likelihoods((y - law.loc) / law.scale, moved_cells, law.moved.means, law.moved.stds) / law.scale[:, None]
    still = likelihoods(y, cells, law.fixed.means, law.fixed.stds)

    def loss(a: float) -> float:
        found = sharpen(law, a)
        p = np.einsum("nk,nk->n", found.moved.weights, moved) + np.einsum("nk,nk->n", found.fixed.weights, still)
        return -float(np.average(np.log(p + TINY), weights=weight))

    best = minimize_scalar(loss, bounds=(1.0, SHARPEST), method="bounded", options={"xatol": 0.05})
    return float(best.x) if loss(1.0) - float(best.fun) > _LEAST_GAIN else 1.0


def sharpen(law: ConditionalMixture, a: float) -> ConditionalMixture:
    """Rows, without point masses, whose weights are those of the beta-transformed pool; ``law`` itself for a = 1."""
    if a == 1:
        return law
    bases, tables = (law.moved, law.fixed), (_table(law.moved), _table(law.fixed))
    weights = [basis.weights.astype(np.float32) for basis in bases]
    orders = [np.argsort(basis.means) for basis in bases]
    middles = [basis.means[order] for basis, order in zip(bases, orders, strict=True)]
    for start in range(0, len(law), _ROWS):
        some = slice(start, start + _ROWS)
        known: list[FloatArray] = []
        for (places, values), own in zip(tables, weights, strict=True):
            known += [places, own[some] @ values]
        own = [each[some] for each in weights]
        given: Any = (law.loc[some], law.scale[some], *middles, *orders, *known, a - 1, *own)
        _rows.sharpen_rows(*given)
    moved, fixed = (Basis(own, basis.means, basis.stds) for own, basis in zip(weights, bases, strict=True))
    return ConditionalMixture(moved, fixed, law.loc, law.scale, lattice=law.lattice)


def _table(basis: Basis) -> tuple[FloatArray, FloatArray]:
    """Places (G,) that depend on the Gaussians alone, and each one's distribution function there, (K, G)."""
    places = np.unique(np.multiply.outer(np.array(_AROUND), basis.stds) + basis.means)
    step = math.ceil(len(places) / _MOST_PLACES)
    places = np.unique(np.append(places[::step], places[-1]))
    return places, ndtr(np.subtract.outer(places, basis.means) / basis.stds).T.astype(np.float32)
