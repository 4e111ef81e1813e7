"""The density of a column of numbers, as a Gaussian mixture: learnt from integer counts in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gaussmix._lazy import face

if TYPE_CHECKING:
    from gaussmix.density.basis import GaussianBasis as GaussianBasis
    from gaussmix.density.counts import BinnedCounts as BinnedCounts
    from gaussmix.density.discrete import LatticeMixture1D as LatticeMixture1D
    from gaussmix.density.estimator import GMMExpansion as GMMExpansion
    from gaussmix.density.mixture import GaussianMixture1D as GaussianMixture1D
    from gaussmix.density.truncated import TruncatedMixture1D as TruncatedMixture1D

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "basis": ["GaussianBasis"],
        "counts": ["BinnedCounts"],
        "discrete": ["LatticeMixture1D"],
        "estimator": ["GMMExpansion"],
        "mixture": ["GaussianMixture1D"],
        "truncated": ["TruncatedMixture1D"],
    },
)
