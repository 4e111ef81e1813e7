r"""How well binary attributes are recognised.

With :math:`\hat a_{nk}` the decision and :math:`a_{nk}` the truth for attribute :math:`k` of image :math:`n`, the
balanced accuracy is the mean of the two shares of right decisions, one per class:

.. math:: \mathrm{bal}_k = \tfrac12 \bigl(P(\hat a_k = 1 \mid a_k = 1) + P(\hat a_k = 0 \mid a_k = 0)\bigr)

A guess is worth 1/2 however rare the attribute is; the plain accuracy of "nobody is bald" would be near 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def balanced_accuracy(predicted: ArrayLike, truth: ArrayLike) -> np.ndarray:
    """Balanced accuracy of every attribute, ``(K,)`` float64.

    ``predicted`` and ``truth`` are ``(N, K)``, boolean or 0 and 1. An attribute that all ``N`` rows of ``truth`` have,
    or none, says nothing about one of the two classes: its entry is NaN.
    Raises ValueError if the shapes differ or are not two-dimensional.
    """
    predicted, truth = np.asarray(predicted, bool), np.asarray(truth, bool)
    if predicted.ndim != 2 or predicted.shape != truth.shape:
        raise ValueError(
            f"predicted and truth must have one shape (N, K), got {predicted.shape} and {truth.shape}; "
            "give one row per image and one column per attribute"
        )
    present, absent = truth.sum(0), (~truth).sum(0)
    with np.errstate(invalid="ignore"):  # 0 / 0 is the documented NaN
        hits = (predicted & truth).sum(0) / present
        rejections = (~predicted & ~truth).sum(0) / absent
    return (hits + rejections) / 2
