"""Loops of counting, compiled, without the GIL.

A *slot* says where a point goes: 0 NaN, 1 under the axis, 2 + k bin k (k = 0..K-1), K + 2 over it. The bin of u is
k = floor((u - base) (1 / width)) - first.

Points go through in short blocks: slots by a loop without branches, which vectorises, then one increment each.
"""

from __future__ import annotations

import math

import numpy as np

from gaussmix._compiled import kernel
from gaussmix.density.axis import EDGE

_DEGREE = 10
_LOG = np.polynomial.Chebyshev.interpolate(np.log1p, _DEGREE, [0, 1]).convert(kind=np.polynomial.Polynomial).coef
_LOG = _LOG.astype(np.float32)
_ERROR = 3e-7  # more than single precision can put |u| off
_LN2 = math.log(2)
_DOUBT = np.uint32(1 << 31)
_ONE = np.float32(1)
_LARGE, _LARGEST = np.float32(1e9), np.float32(1e30)  # t = 2 |v| from the one on; the other is left to double


@kernel
def _slot(v, place, first, n_bins):
    """Of the point v in the bin with the number ``place`` on the base lattice, as a float."""
    slot = place - np.float64(first - 2)
    slot = slot if slot > 1.0 else 1.0
    slot = slot if slot < np.float64(n_bins + 2) else np.float64(n_bins + 2)
    return slot if v == v else 0.0


@kernel
def locate(x, base, per_width, first, n_bins, low, high, slots):
    """Slots of the points x on a linear axis; tells how many lie outside [low, high]."""
    outside = np.int32(0)
    for i in range(x.size):
        v = np.float64(x[i])
        outside += np.int32((v < low) | (v > high))
        slots[i] = np.uint32(np.int32(_slot(v, np.floor((v - base) * per_width), first, n_bins)))
    return outside


@kernel(fastmath={"contract"})
def locate_warped(x, center, per_scale, base, per_width, first, n_bins, low, high, scratch, bits, logs, slots):
    """`locate` on an asinh axis, where u = asinh((x - center) / scale).

    |u| = log t, t = |v| + sqrt(1 + v^2), comes in single precision, by a polynomial for the mantissa of t; where an
    edge is too near to be sure, in double. ``scratch`` holds t for a few points, ``bits`` its bits, ``logs`` the
    logarithms of the mantissas.
    """
    unsure = _ERROR * per_width
    outside = 0
    for start in range(0, x.size, logs.size):
        part, found = x[start : start + logs.size], slots[start : start + logs.size]
        for i in range(part.size):
            v = np.float32(abs((np.float64(part[i]) - center) * per_scale))
            scratch[i] = v + (v if v > _LARGE else np.sqrt(_ONE + v * v))
        for i in range(part.size):
            mantissa = np.float32(bits[i] & 0x7FFFFF) * np.float32(2.0**-23)
            log = _LOG[_DEGREE]
            for k in range(_DEGREE - 1, -1, -1):
                log = log * mantissa + _LOG[k]
            logs[i] = log
        beyond, doubts = np.int32(0), np.int32(0)
        for i in range(part.size):
            v = np.float64(part[i])
            size = np.float64(logs[i]) + _LN2 * np.float64((bits[i] >> 23) - 127)
            beyond += np.int32((v < low) | (v > high))
            place = ((size if v > center else -size) - base) * per_width
            whole = np.floor(place)
            doubt = (place - whole < unsure) | (place - whole > 1.0 - unsure) | (scratch[i] > _LARGEST)
            doubts += np.int32(doubt)
            found[i] = _DOUBT if doubt else np.uint32(np.int32(_slot(v, whole, first, n_bins)))
        outside += beyond
        if doubts > 0:
            for i in range(part.size):
                if found[i] == _DOUBT:
                    v = np.float64(part[i])
                    whole = np.floor((math.asinh((v - center) * per_scale) - base) * per_width + EDGE)
                    found[i] = np.uint32(np.int32(_slot(v, whole, first, n_bins)))
    return outside


@kernel
def tally(slots, weights, table):
    """Add each point's weight, or 1 where ``weights`` is None, to its slot."""
    for i in range(slots.size):
        table[slots[i]] += 1 if weights is None else weights[i]


@kernel
def count_blocks(x, base, per_width, first, n_bins, low, high, slots, table):
    """`locate` and `tally` for the points of a contiguous x on a linear axis, one each, a block at a time."""
    outside = 0
    for start in range(0, x.size, slots.size):
        part = x[start : start + slots.size]
        outside += locate(part, base, per_width, first, n_bins, low, high, slots)
        tally(slots[: part.size], None, table)
    return outside


@kernel
def count_warped(x, center, per_scale, base, per_width, first, n_bins, low, high, scratch, bits, logs, slots, table):
    """`locate_warped` and `tally`, a block at a time, until a block has points outside [low, high]: where it starts."""
    for start in range(0, x.size, slots.size):
        part = x[start : start + slots.size]
        if locate_warped(
            part, center, per_scale, base, per_width, first, n_bins, low, high, scratch, bits, logs, slots
        ):
            return start
        tally(slots[: part.size], None, table)
    return x.size
