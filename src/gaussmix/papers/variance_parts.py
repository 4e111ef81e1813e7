r"""Which part of the variance of a picture the attributes, Z and the noise decide.

Pictures ``x_aij``: attributes ``a = 1 ... R``, and for each of them M latents ``i``, new ones for every a, crossed with
N noises ``j``, new ones as well. For every pixel and colour

    x_aij = mean + A_a + Z_ai + E_aj + B_aij,

four independent random effects: of the attributes, of Z, of the noise, and of both together (what a noise does depends
on Z). With mean squares of the crossed design within each a,

    MS_B = sum (x_aij - x_ai. - x_a.j + x_a..)^2 / R (M-1)(N-1)      E MS_B = B
    MS_Z = N sum (x_ai. - x_a..)^2 / R (M-1)                         E MS_Z = B + N Z
    MS_E = M sum (x_a.j - x_a..)^2 / R (N-1)                         E MS_E = B + M E
    S_A  = sum (x_a.. - x_...)^2 / (R-1)                             E S_A  = A + Z/M + E/N + B/MN

where A, Z, E, B now stand for the effects' variances: solved for them, each estimate is unbiased. They are summed over
pixels and colours before shares are taken. The share of Z in pictures of given attributes is Z / (Z + E + B).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class VarianceParts:
    """Variances, mean over pixels and colours, in squared levels of 255. Estimates: small ones may be negative."""

    attributes: float
    latents: float
    noise: float
    both: float
    """Of Z and noise together."""

    @property
    def share(self) -> float:
        """What Z decides of a picture whose attributes are given."""
        return self.latents / (self.latents + self.noise + self.both)

    @property
    def total(self) -> float:
        return self.attributes + self.latents + self.noise + self.both

    @property
    def deviation(self) -> float:
        """Standard deviation of a pixel over noises, attributes and Z being given, in levels."""
        return float(np.sqrt(max(0.0, self.noise + self.both)))


def variance_parts(pictures: NDArray) -> VarianceParts:
    """Estimate the parts from pictures ``(R, M, N, ...)``, R, M and N at least 2.

    Raises ValueError for fewer.
    """
    if pictures.ndim < 3 or min(pictures.shape[:3]) < 2:
        raise ValueError(f"pictures are {pictures.shape}; give (attributes, latents, noises, ...), at least 2 of each")
    R, M, N = pictures.shape[:3]
    x = pictures.reshape(R, M, N, -1).astype(np.float64)
    rows, columns, cells = x.mean(2, keepdims=True), x.mean(1, keepdims=True), x.mean((1, 2), keepdims=True)
    both = _squares(x - rows - columns + cells) / (R * (M - 1) * (N - 1))
    latents = (N * _squares(rows - cells) / (R * (M - 1)) - both) / N
    noise = (M * _squares(columns - cells) / (R * (N - 1)) - both) / M
    between = _squares(cells - cells.mean(0)) / (R - 1)
    attributes = between - latents / M - noise / N - both / (M * N)
    return VarianceParts(*(float(part) for part in (attributes, latents, noise, both)))


def share_error(pictures: NDArray) -> float:
    """Standard error of `VarianceParts.share`: jackknife over the attributes, R at least 3."""
    R = len(pictures)
    without = [variance_parts(np.delete(pictures, a, axis=0)).share for a in range(R)]
    return float(np.sqrt((R - 1) / R * np.square(np.subtract(without, np.mean(without))).sum()))


def _squares(deviations: NDArray) -> float:
    """Sum of squares, mean over pixels."""
    return np.square(deviations).sum() / deviations.shape[-1]
