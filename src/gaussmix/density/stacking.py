"""Mixing fits in the shares that predict best.

For fit a let p_aj be the probability of cell j, and q_aj that from all points but one of cell j. Its effective number
of parameters is  dof_a = sum_j c_j log(p_aj / q_aj). The shares beta >= 0, sum 1, maximise the leave-one-out likelihood

    sum_j c_j log sum_a beta_a q_aj exp(-sqrt(max(dof_a - dof_0, 0)) / N).

The exponent stands for the noise of that likelihood, which favours fits with many parameters by about the square root
of their number. Fit 0, the simplest, stays alone unless the shares gain at least (N / 500)^(1/3) nats over it: what
there is to gain grows faster where that fit is wrong, and does not grow where it is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gaussmix.density.interior_point import maximum_likelihood_weights

FloatArray = NDArray[np.float64]

_LEAST_SHARE = 0.02
_ONE_NAT_AT = 500


@dataclass(frozen=True)
class Prediction:
    """A fit: components (n,) and what they say about the cells (m,)."""

    weights: FloatArray
    means: FloatArray
    stds: FloatArray
    p: FloatArray
    """Probabilities of the cells."""
    without: FloatArray
    """The same from all points but one of the cell."""


def stack(counts: FloatArray, predictions: Sequence[Prediction]) -> FloatArray:
    """The shares (A,) of the predictions, for counts (m,) in the cells."""
    seen = counts > 0
    c = counts[seen]
    n = c.sum()
    without = np.array([prediction.without[seen] for prediction in predictions])
    dof = np.array([c @ np.log(prediction.p[seen]) for prediction in predictions]) - np.log(without) @ c
    columns = without * np.exp(-np.sqrt(np.maximum(dof - dof[0], 0)) / n)[:, None]
    shares = maximum_likelihood_weights(columns.T, c).weights
    shares[shares < _LEAST_SHARE] = 0
    shares /= shares.sum()
    gain = c @ np.log(shares @ columns) - c @ np.log(columns[0])
    return shares if gain >= (n / _ONE_NAT_AT) ** (1 / 3) else np.eye(len(predictions))[0]
