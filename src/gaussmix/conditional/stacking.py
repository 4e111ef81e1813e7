"""Stacking: shares of conditional densities that maximise the likelihood out of fold (Breiman 1996; Yao et al. 2018).

    maximise sum_i w_i log sum_p b_p f_p(y_i | x_i),    b >= 0, sum b = 1

f_p is judged on rows that it did not learn from. The problem is concave, and the interior point of
`gaussmix.density.interior_point` certifies its answer. A wide guard has at least `GUARD`, so that no observation costs
infinitely much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gaussmix._typing import FloatArray
from gaussmix.conditional.bases import TINY
from gaussmix.density.interior_point import maximum_likelihood_weights

GUARD = 0.002
LEAST_SHARE = 1e-3


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
