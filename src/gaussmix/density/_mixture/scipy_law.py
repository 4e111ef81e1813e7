"""A mixture as a distribution of `scipy.stats`: what takes a frozen distribution takes it.

`scipy.stats` loads slowly; so this module is imported when it is first needed.
"""

# pyright: reportIncompatibleMethodOverride=false
# the shape parameters, of which this distribution has none, are left out

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rv_continuous, rv_discrete

from gaussmix._typing import FloatArray

if TYPE_CHECKING:
    from scipy.stats._distn_infrastructure import rv_continuous_frozen, rv_discrete_frozen

    from gaussmix.density.discrete import LatticeMixture1D
    from gaussmix.density.mixture import GaussianMixture1D


class MixtureLaw(rv_continuous):
    """The mixture behind SciPy's methods; arguments besides it are those of `rv_continuous`."""

    def __init__(self, mixture: GaussianMixture1D, **options: Any):
        self.mixture = mixture
        super().__init__(**options)

    def _updated_ctor_param(self) -> dict[str, Any]:
        return super()._updated_ctor_param() | {"mixture": self.mixture}

    def _rvs(self, size: Any = None, random_state: Any = None) -> FloatArray:
        return self.mixture.rvs(size, random_state)

    def _stats(self) -> tuple[float, float, float, float]:
        return self.mixture.mean(), self.mixture.var(), self.mixture.skewness(), self.mixture.kurtosis()

    def _munp(self, n: int) -> float:
        return self.mixture.moment(n)

    def _entropy(self) -> float:
        return self.mixture.entropy()


def _passed_on(name: str) -> Callable[[MixtureLaw, ArrayLike], FloatArray]:
    def method(self: MixtureLaw, x: ArrayLike) -> FloatArray:
        return getattr(self.mixture, name)(x)

    return method


for _name in ("pdf", "logpdf", "cdf", "sf", "logcdf", "logsf", "ppf", "isf"):
    setattr(MixtureLaw, f"_{_name}", _passed_on(_name))


def freeze(mixture: GaussianMixture1D) -> rv_continuous_frozen:
    """The frozen distribution of a mixture without atoms."""
    if mixture.atoms.masses.size:
        raise ValueError(
            f"the mixture has {mixture.atoms.masses.size} point masses, which a continuous distribution of SciPy "
            "cannot have: leave atoms out, or use the mixture's own methods, which have SciPy's names"
        )
    low, high = mixture.support()
    frozen: Any = MixtureLaw(mixture, name="gaussian_mixture", a=low, b=high)()
    return frozen


def freeze_discrete(law: LatticeMixture1D) -> rv_discrete_frozen:
    """The frozen distribution of integers."""
    if not law.whole:
        raise ValueError(
            f"the values, {law.values[0]:g} and so on in steps of {law.step:g}, are no integers, and SciPy's discrete "
            "distributions have no others: number the steps with affine(1 / step, -values[0] / step)"
        )
    frozen: Any = rv_discrete(name="gaussian_mixture", values=(law.values.astype(np.int64), law.probabilities))()
    return frozen
