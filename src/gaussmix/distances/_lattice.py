"""integral |F_a - F_b| and integral |f_a - f_b| of mixtures on one lattice of components, to rounding.

Components of standard deviation sigma = t r at mu_i = i r have the weights a_i and b_i. In spacings r from mu_0 both
integrals are those of |sum_i c_i kappa(x - i)|, which `_lattice_rows` finds:

    "cdf"      r times it, c = running sums of a - b, kappa = Phi((y + 1/2) / t) - Phi((y - 1/2) / t), moved by 1/2
    "density"  c = a - b, kappa = phi_t
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gaussmix.distances._inputs import SUM_TOLERANCE, check_weight_rows
from gaussmix.distances._lattice.rows import integrals
from gaussmix.distances._lattice.tables import tables

Array = NDArray[np.float64]


def absolute_integrals(
    a: Array, b: Array, spacing: float, bandwidth: float, kind: Literal["cdf", "density"]
) -> tuple[Array, Array]:
    """(values (B,), errors (B,)) for weights a, b (B, n), contiguous; `spacing` r in data units, `bandwidth` t in r.

    "cdf": the Wasserstein-1 distance, in data units. "density": twice the total variation. Each error bounds the
    difference from the true integral. Rows are normalised; raises ValueError as `check_weight_rows` does.
    """
    values, errors = np.empty(len(a)), np.empty(len(a))
    here = tables(float(bandwidth), kind)

    def run(first: Array, second: Array) -> int:
        return integrals(first, second, kind == "cdf", SUM_TOLERANCE, *here, values, errors)

    if run(a, b) < len(a):
        a, b = check_weight_rows(a, "a"), check_weight_rows(b, "b")
        run(a + 0.0, b + 0.0)  # -0.0 is 0, and no sign
    scale = spacing if kind == "cdf" else 1.0
    return scale * values, scale * errors
