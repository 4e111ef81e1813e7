"""The zeros of g near sign changes of its coefficients, compiled. See `_lattice_rows` for what they are for.

`at_c` is the address of c_0, with enough zeros on either side, and `at_values` that of the tables. A *step* is a point
of the lattice of offsets, x = step / F. A *mark* is a sign change of c: the last coefficient of one sign, and the first
of the other.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np

from gaussmix.distances._lattice_tables import NEAREST
from gaussmix.distances._lattice_vectors import LANES, weigh

NEWTON_STEPS = 4
HALVINGS = 20
"""After which a cell's doubt goes into the error."""
TINY = 1e-14
"""A cell whose integral is at most this share of the whole is not looked into."""
THIRD = 1 / 3
NONE, ONE, UNKNOWN = 0, 1, 2
BLOCK = 8


@nb.njit(cache=True, nogil=True, error_model="numpy")
def series(step, at_c, at_values, limits):
    """j = floor(x) at a step, the window's part of the integral, g, g', and g's derivatives over m!, m = 2..4."""
    j = step // limits.fractions
    q = step - j * limits.fractions
    return j, weigh(at_c + 8 * (j - limits.reach + 1), at_values + 8 * LANES * limits.taps * q, limits.taps)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _value(d, s):
    return s[1] + d * (s[2] + d * (s[3] + d * (s[4] + d * s[5])))


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _slope(d, s):
    return s[2] + d * (2 * s[3] + d * (3 * s[4] + d * 4 * s[5]))


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _integral(d, s):
    return s[0] + d * (s[1] + d * (0.5 * s[2] + d * (THIRD * s[3] + d * (0.25 * s[4] + d * 0.2 * s[5]))))


@nb.njit(cache=True, nogil=True, error_model="numpy")
def largest(c, first, n):
    """max |c| of n of them."""
    top = 0.0
    for k in range(first, first + n):
        top = max(top, abs(c[k]))
    return top


@nb.njit(cache=True, nogil=True, error_model="numpy")
def proved_zero(z, falling, c, pad, top, total, at_values, limits):
    """The zero of g near z where g falls or rises: (it, its distance from the true one at most, j, e, error of e).

    e is the window's part of the integral. By Halley's method; the signs of g on either side of the zero are certain.
    The error is -1 where there is none. `total` is sum |c|, and |c| <= `top`, or 0: look for the largest near z.
    """
    at_c = np.int64(c.ctypes.data) + 8 * pad
    furthest = c.size - 2 * pad + limits.reach
    step = int(math.floor(z * limits.fractions + 0.5))
    for _ in range(NEWTON_STEPS):
        if not -limits.reach * limits.fractions <= step <= furthest * limits.fractions:
            break
        j, s = series(step, at_c, at_values, limits)
        if s[2] == 0 or (s[2] < 0) != falling:
            break
        d = -s[1] * s[2] / (s[2] * s[2] - s[1] * s[3])
        if abs(d) * limits.fractions <= NEAREST:
            rest, slope = _value(d, s), _slope(d, s)
            d -= rest / slope
            if top == 0:
                top = largest(c, pad + j - limits.reach + 1, 2 * limits.reach)
            rest = abs(rest) + (limits.noise[1] + limits.series[1]) * top + limits.outside[1] * total
            slope = abs(slope) - (limits.noise[2] + limits.series[2]) * top - limits.outside[2] * total
            if not (slope > 0 and 4 * limits.second * top * rest < slope * slope and abs(d) * limits.fractions < 1):
                break
            away = 3 * rest / slope
            wrong = 4 * away * rest + (limits.noise[0] + limits.series[0]) * top + limits.outside[0] * total
            return step / limits.fractions + d, away, j, _integral(d, s), wrong
        if not abs(d) <= limits.reach:
            break
        step += int(math.floor(d * limits.fractions + 0.5))
    return 0.0, 0.0, 0, 0.0, -1.0


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _outermost(c, pad, mark, side, total, at_values, limits, alone):
    """A step beyond which (side 1; before which: -1) g has the sign of c from `mark` on outwards.

    There these coefficients outweigh all of the other sign; further out they do so as well, since for i < j
    kappa(x - i) / kappa(x - j) falls with x.
    """
    positive = c[pad + mark] > 0
    for i in range(pad + mark - 3 * limits.reach, pad + mark + 3 * limits.reach):
        inner = (i - pad - mark) * side < 0
        alone[i] = 0.0 if inner and (c[i] > 0) == positive else c[i]
    step = mark * limits.fractions + limits.cell * 3 // 8  # symmetric weights have zeros at centres: not there
    for _ in range(limits.reach * limits.fractions // limits.cell + 1):
        _, s = series(step, np.int64(alone.ctypes.data) + 8 * pad, at_values, limits)
        if abs(s[1]) > (limits.noise[1] + limits.outside[1]) * total and (s[1] > 0) == positive:
            break
        step += side * limits.cell
    return step


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _verdict(low, high, s, step, top, total, limits):
    """What Taylor's series at a step tells of g in [low, high]: NONE, ONE zero, or UNKNOWN; and a bound of |g|.

    b are the series' coefficients in Bernstein's basis: between the least and the largest lie all values.
    """
    x = step / limits.fractions
    r = max(x - low, high - x)
    r2 = r * r
    first, second, third, fourth = s[2] * r, s[3] * r2, s[4] * r2 * r, s[5] * r2 * r2
    b0, b1 = s[1] - first + second - third + fourth, s[1] - 0.5 * (first - third) - fourth
    b2 = s[1] - THIRD * second + fourth
    b3, b4 = s[1] + 0.5 * (first - third) - fourth, s[1] + first + second + third + fourth
    rest = limits.fifth * top * r2 * r2 * r / 120 + limits.noise[1] * top + limits.outside[1] * total
    least, most = min(b0, b1, b2, b3, b4) - rest, max(b0, b1, b2, b3, b4) + rest
    if least > 0 or most < 0:
        return NONE, 0.0
    slope_rest = limits.fifth * top * r2 * r2 / 24 + limits.noise[2] * top + limits.outside[2] * total
    if b0 > b4:
        b0, b1, b2, b3, b4 = b4, b3, b2, b1, b0
    if min(b1 - b0, b2 - b1, b3 - b2, b4 - b3) * 2 > slope_rest * r:
        left, right = _value(low - x, s), _value(high - x, s)
        if min(abs(left), abs(right)) > rest:
            return NONE if (left > 0) == (right > 0) else ONE, 0.0
    return UNKNOWN, max(most, -least)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _turn(sums, c, pad, j, e):
    """Adds |integral of g since the last zero| to sums[0]. The integral up to here is sum_{i <= j} c_i + e.

    sums[1] is the integral up to the last zero, sums[2] the sum of the first sums[3] coefficients.
    """
    done = int(sums[3])
    while done <= j:
        sums[2] += c[pad + done]
        done += 1
    sums[3] = done
    sums[0] += abs(sums[2] + e - sums[1])
    sums[1] = sums[2] + e


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _turn_at(x, sums, c, pad, at_values, limits):
    step = int(math.floor(x * limits.fractions + 0.5))
    j, s = series(step, np.int64(c.ctypes.data) + 8 * pad, at_values, limits)
    _turn(sums, c, pad, j, _integral(x - step / limits.fractions, s))


@nb.njit(cache=True, nogil=True, error_model="numpy")
def by_cells(c, pad, last, first, n_marks, total, at_values, limits, alone, tops, ends, sums):
    """integral |g| and its error, whatever the number of zeros.

    Cells lie where a window meets coefficients of both signs. In each, Taylor's series about its middle tells that g has
    no zero, or that it is monotone and has one, which `proved_zero` finds. Else the cell is halved.
    """
    at_c, n, fractions = np.int64(c.ctypes.data) + 8 * pad, c.size - 2 * pad, limits.fractions
    for block in range(tops.size):
        tops[block] = largest(c, block * BLOCK, BLOCK)
    around = limits.reach + limits.cell // fractions + 1
    a_turn = 2 * ((limits.noise[0] + limits.series[0]) + limits.outside[0]) * total
    error, tiny, narrow = 0.0, TINY * total, limits.cell / fractions * 0.5**HALVINGS
    sums[:] = 0.0
    positive = c[pad + last[0]] > 0
    step = _outermost(c, pad, last[0], -1, total, at_values, limits, alone)
    stop = _outermost(c, pad, first[n_marks - 1], 1, total, at_values, limits, alone)
    mark = 0
    while mark < n_marks:
        step = max(step, (last[mark] - limits.reach) * fractions + limits.cell * 3 // 8)
        end = (first[mark] + limits.reach) * fractions
        mark += 1
        while mark < n_marks and (last[mark] - limits.reach) * fractions <= end:
            end = (first[mark] + limits.reach) * fractions
            mark += 1
        low = step / fractions
        while step < min(end, stop):
            step += limits.cell
            ends[0] = step / fractions
            depth = 0
            while depth >= 0:
                high = ends[depth]
                middle = int(math.floor(0.5 * (low + high) * fractions + 0.5))
                j, s = series(middle, at_c, at_values, limits)
                top = largest(tops, (pad + j - around) // BLOCK, 2 * around // BLOCK + 2)
                zeros, most = _verdict(low, high, s, middle, top, total, limits)
                z, e, wrong, before = 0.0, 0.0, 0.0, s[1] > 0
                if zeros == ONE:
                    x = middle / fractions
                    left, right = _value(low - x, s), _value(high - x, s)
                    before = left > 0
                    z = low + (high - low) * left / (left - right)
                    z -= _value(z - x, s) / _slope(z - x, s)
                    z, _, j, e, wrong = proved_zero(
                        z, before, c, pad, top, total, at_values, limits
                    )
                    if wrong < 0 or not low <= z <= high:
                        zeros, most = UNKNOWN, abs(left) + abs(right)
                if zeros == UNKNOWN and (high - low) * most > tiny and high - low > narrow:
                    depth += 1
                    ends[depth] = 0.5 * (low + high)
                    continue
                if zeros == UNKNOWN:
                    error += 2 * (high - low) * most
                else:
                    if before != positive:  # a zero in the doubtful cells before
                        _turn_at(low, sums, c, pad, at_values, limits)
                        error += a_turn
                    if zeros == ONE:
                        _turn(sums, c, pad, j, e)
                        error += 2 * wrong
                    positive = before != (zeros == ONE)
                low = high
                depth -= 1
        if positive != (c[pad + first[mark - 1]] > 0):
            _turn_at(low, sums, c, pad, at_values, limits)
            error += a_turn
            positive = not positive
    _turn(sums, c, pad, n - 1, 0.0)
    return sums[0], error
