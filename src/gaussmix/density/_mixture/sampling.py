"""Random numbers from a mixture, one after another in random order.

The component of a number is the first whose cumulative probability is above a uniform number; a guide to equally spaced
ones leads to it or just before. Gaussians are folded back at the bounds; an atom is a component of standard deviation
0, which is not; the guard, if there is one, is a component of standard deviation NaN, whose numbers are drawn last.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from gaussmix._compiled import kernel
from gaussmix._typing import FloatArray

Components = tuple[FloatArray, NDArray[np.int32], FloatArray, FloatArray]


def components(probability: FloatArray, mean: FloatArray, std: FloatArray) -> Components:
    """The (K,) components of positive probability: cumulative probabilities, guide (G,), means, standard deviations.

    Entry k of the guide is the first component whose cumulative probability is above k / G.
    """
    used = probability > 0
    cumulative = np.cumsum(probability[used])
    cumulative /= cumulative[-1]
    size = max(4096, 1 << (8 * cumulative.size).bit_length())
    guide = np.searchsorted(cumulative, np.arange(size) / size, side="right")
    return cumulative, guide.astype(np.int32), mean[used], std[used]


@kernel
def place_numbers(cumulative, guide, mean, std, low, high, rng, out):
    """Fill ``out`` with independent numbers, NaN for the guard's."""
    period = 2 * (high - low)
    for k in range(out.size):
        u = rng.random()
        i = guide[int(u * guide.size)]
        while cumulative[i] <= u:
            i += 1
        x = mean[i] + std[i] * rng.standard_normal()
        if not low <= x <= high and std[i] > 0:
            below = x < low
            away = (low - x if below else x - high) % period
            away = min(away, period - away)
            x = min(low + away, high) if below else max(high - away, low)
        out[k] = x


def draw(size: int, c: Components, bounds: tuple[float, float], tail: tuple[float, ...], rng: Generator) -> FloatArray:
    """``size`` independent numbers; ``tail``: the guard's mass, location and scale."""
    out = np.empty(size)
    with rng.bit_generator.lock:
        place_numbers(*c, *bounds, rng, out)
    if tail[0] > 0:
        guarded = np.flatnonzero(np.isnan(out))
        out[guarded] = tail[1] + tail[2] * rng.standard_t(3, guarded.size)
    return out
