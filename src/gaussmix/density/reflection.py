"""Reflection at bounds: the mirror images of a component.

A Gaussian N(m, s^2) reflected at the ends of [low, high] is, inside them, the sum of Gaussians of the same deviation at

    m + 2 k L   and   2 low - m + 2 k L,    k integer,    L = high - low        (one bound c only: at m and 2 c - m).

Where s >= `UNIFORM_FROM` L they add up to the uniform density to 2 exp(-9 pi^2 / 2) = 1e-19. An infinite bound is none.
"""

from __future__ import annotations

import math

import numpy as np

from gaussmix._typing import FloatArray, IntArray

Bounds = tuple[float | None, float | None]  # low and high, None for an open side

UNIFORM_FROM = 3.0  # standard deviations in lengths of the support from which on a reflected component is uniform
NEGLIGIBLE = -42.0  # log of the share of the density below which a component is not looked at: 6e-19


def finite_or_not(bounds: Bounds) -> tuple[float, float]:
    """Bounds as numbers, infinite where open."""
    return -math.inf if bounds[0] is None else bounds[0], math.inf if bounds[1] is None else bounds[1]


def reflections(low: float, high: float, reach: float) -> FloatArray:
    """Sign, offset, shift and bound (I, 4) of images: that of m lies at (offset + sign m) + shift, behind the bound.

    Among them are m itself (1, 0, 0) and all images within ``reach`` of the interval.
    """
    if math.isinf(low) or math.isinf(high):
        mirrored = [(-1.0, 2 * end, 0.0, end) for end in (low, high) if math.isfinite(end)]
        return np.array([(1.0, 0.0, 0.0, low), *mirrored])
    period = 2 * (high - low)
    most = math.ceil(reach / period) + 1
    k = np.arange(-most, most + 1).repeat(2)
    images = np.zeros((k.size, 4))
    images[::2, 0], images[1::2, 0], images[1::2, 1] = 1.0, -1.0, 2 * low
    images[:, 2], images[:, 3] = k * period, np.where(k > 0, high, low)
    return images


def mirror_images(m: FloatArray, s: FloatArray, low: float, high: float) -> tuple[IntArray, FloatArray]:
    """Rows of the originals and means (I,) of the images of Gaussians (n,) that are narrower than uniform.

    An image's share of its original is largest at the bound it lies behind; it matters where that is above 1e-18.
    """
    reach = math.sqrt(-2 * NEGLIGIBLE) * min(s.max(initial=0.0), UNIFORM_FROM * (high - low))
    rows, means = [np.empty(0, np.int64)], [np.empty(0)]
    for sign, offset, shift, end in reflections(low, high, reach):
        if (sign, shift) != (1, 0):
            image = (offset + sign * m) + shift
            with np.errstate(over="ignore", invalid="ignore"):  # of lengths far beyond their deviation
                kept = ((end - image) / s) ** 2 - ((end - m) / s) ** 2 <= -2 * NEGLIGIBLE
            rows.append(np.flatnonzero(kept))
            means.append(image[kept])
    return np.concatenate(rows), np.concatenate(means)


def reflect(x: FloatArray, low: float, high: float) -> FloatArray:
    """The points x moved inside the bounds by reflection there."""
    if low > -math.inf and high < math.inf:
        phase = np.mod(x - low, 2 * (high - low))
        return low + np.minimum(phase, 2 * (high - low) - phase)
    if low > -math.inf:
        return low + np.abs(x - low)
    return high - np.abs(high - x) if high < math.inf else x
