"""Point masses convolved with a Gaussian, on a lattice around them: the integral of the square of their difference.

The lattice has a step of tau / sqrt(8), where the trapezoidal rule is exact to rounding. A point u steps from a node
adds, to the node j steps from that, exp(-(u - j)^2 / 16) = exp(-u^2 / 16) exp(u / 8)^j exp(-j^2 / 16): two exponentials
a point. Points come in order, so that only a window of the lattice is kept, and gaps between them cost nothing.

What the nodes hold is d / height, height = 1 / (tau sqrt(2 pi)), so that no power of tau over- or underflows.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np
from numpy.typing import NDArray

from gaussmix.distances._mixtures.smoothed import Smoothed, value

Array = NDArray[np.float64]

TAPS = 24
"""Nodes on either side that a point reaches: 8.5 tau, where 2e-17 of its mass is left."""
_BLOCK = 4096
_FALL = np.exp(-(np.arange(TAPS + 1.0) ** 2) / 16)


@nb.njit(cache=True, nogil=True)
def _add(nodes: Array, u: float, mass: float, fall: Array) -> None:
    """A point u >= -1/2 steps from node TAPS."""
    nearest = math.floor(u + 0.5)
    at = int(nearest) + TAPS
    u -= nearest
    factor = math.exp(u / 8)
    below = above = mass * math.exp(-u * u / 16)
    nodes[at] += above
    inverse = 1 / factor
    for j in range(1, TAPS + 1):
        above *= factor
        below *= inverse
        nodes[at + j] += above * fall[j]
        nodes[at - j] += below * fall[j]


@nb.njit(cache=True, nogil=True)
def _sums(a: Array, b: Array, end: int, start: float, step: float, p: Smoothed) -> tuple[float, float]:
    """Of d^2 and d g over nodes up to `end`, d the difference of a and b and g that of the mixtures."""
    squares = products = 0.0
    for k in range(end):
        d = a[k] - b[k]
        squares += d * d
        if d != 0 and p.mean.size > 0:
            products += d * value(start + (k - TAPS) * step, p)
    return squares, products


@nb.njit(cache=True, nogil=True)
def _all_sums(
    x: Array, x_mass: Array, y: Array, y_mass: Array, tau: float, p: Smoothed, fall: Array
) -> tuple[float, float]:
    step = tau / math.sqrt(8.0)
    a, b = np.zeros(_BLOCK + 2 * TAPS + 1), np.zeros(_BLOCK + 2 * TAPS + 1)
    squares = products = 0.0
    i = j = 0
    start = last = 0.0  # of the window: where node TAPS lies; steps from there to the last point
    fresh = True
    while i < x.size or j < y.size:
        first = j >= y.size or (i < x.size and x[i] <= y[j])
        here = x[i] if first else y[j]
        if fresh:
            start, fresh = here, False
        u = (here - start) / step
        if u < _BLOCK - 0.5 and u - last <= 2 * TAPS + 1:
            last = u
            if first:
                _add(a, u, x_mass[i], fall)
                i += 1
            else:
                _add(b, u, y_mass[j], fall)
                j += 1
            continue
        near = u - last <= 2 * TAPS + 1
        end = _BLOCK if near else min(int(last) + 2 * TAPS + 2, a.size)
        more = _sums(a, b, end, start, step, p)
        squares += more[0]
        products += more[1]
        for k in range(end):
            a[k] = b[k] = 0.0
        if near:
            for k in range(_BLOCK, a.size):
                a[k - _BLOCK], b[k - _BLOCK] = a[k], b[k]
                a[k] = b[k] = 0.0
        fresh = not near
        start += _BLOCK * step
        last = last - _BLOCK if near else 0.0
    more = _sums(a, b, a.size, start, step, p)
    return squares + more[0], products + more[1]


def integral(x: Array, x_mass: Array, y: Array, y_mass: Array, tau: float, p: Smoothed) -> float:
    """2 sqrt(pi) tau int (d^2 + 2 d g) dx, without a unit.

    d: the smoothed points x less the points y, sorted, with their masses; g: the mixtures `p`.
    """
    squares, products = _all_sums(x, x_mass, y, y_mass, tau, p, _FALL)
    return squares / math.sqrt(8 * math.pi) + tau * products
