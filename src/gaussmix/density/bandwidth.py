"""How wide to smooth: bandwidths of a Gaussian kernel estimate, from counts in equal bins.

    improved Sheather-Jones   Botev, Grotowski, Kroese (2010), Annals of Statistics 38, section 5: the fixed point of
                              t = zeta gamma^[7](t), computed from the discrete cosine transform of the counts
    normal scale              h = 1.06 min(sd, interquartile range / 1.34) N^(-1/5)

Bandwidths are standard deviations in bins.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.optimize import brentq

_STAGES = 7
_LARGEST_EXPONENT = 40.0  # terms below exp(-40) of the first are left out


def isj_bandwidth(counts: NDArray[np.float64]) -> float | None:
    """The improved Sheather-Jones bandwidth in bins, shape (m,) counts; None where its equation has no root."""
    m, n = len(counts), float(counts.sum())
    if m < 4 or n <= 0:
        return None
    cosines = np.asarray(dct(counts / n, type=2), dtype=np.float64)[1:] / 2
    square = np.arange(1, m, dtype=np.float64) ** 2
    powers = {s: square**s * cosines**2 for s in range(2, _STAGES + 1)}

    def roughness(s: int, t: float) -> float:
        """Squared norm of the s-th derivative of the estimate with squared bandwidth t, on an axis of length 1."""
        k = min(m - 1, int(math.sqrt(_LARGEST_EXPONENT / t) / math.pi) + 8)
        return 2 * math.pi ** (2 * s) * float(powers[s][:k] @ np.exp(-(math.pi**2) * t * square[:k]))

    def excess(t: float) -> float:
        """t less what the plug-in stages make of it."""
        norm = roughness(_STAGES, t)
        for s in range(_STAGES - 1, 1, -1):
            if norm <= 0:
                return t
            odd = math.prod(range(1, 2 * s, 2)) / math.sqrt(2 * math.pi)
            stage = (2 * (1 + 0.5 ** (s + 0.5)) / 3 * odd / (n * norm)) ** (2 / (3 + 2 * s))
            norm = roughness(s, stage)
        return t - (2 * n * math.sqrt(math.pi) * norm) ** -0.4 if norm > 0 else t

    grid = np.geomspace(1e-12, 0.1, 24)
    values = np.array([excess(t) for t in grid])
    roots = np.flatnonzero((values[:-1] < 0) & (values[1:] >= 0))
    if len(roots) == 0:
        return None
    low, high = grid[roots[0]], grid[roots[0] + 1]
    return math.sqrt(brentq(excess, low, high, rtol=1e-6)) * m  # pyright: ignore[reportArgumentType]


def normal_scale_bandwidth(counts: NDArray[np.float64]) -> float:
    """The bandwidth in bins that would be best for a normal distribution of the data's spread; (m,) counts."""
    n = float(counts.sum())
    places = np.arange(len(counts)) + 0.5
    mean = float(counts @ places) / n
    sd = math.sqrt(float(counts @ (places - mean) ** 2) / n)
    cumulative = np.cumsum(counts) / n
    quartiles = float(np.searchsorted(cumulative, 0.75) - np.searchsorted(cumulative, 0.25)) / 1.34
    return 1.06 * (min(sd, quartiles) if quartiles > 0 else sd) * n**-0.2
