"""The zeros of g near sign changes of its coefficients, compiled. See `rows` for what they are for.

``at_c`` is the address of c_0, with enough zeros on either side, and ``at_values`` that of the tables. A *step* is a
point of the lattice of offsets, x = step / F. A *mark* is a sign change of c: the last coefficient of one sign, and the
first of the other.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np

from gaussmix.distances._lattice.tables import NEAREST
from gaussmix.distances._lattice.vectors import LANES, weigh

NEWTON_STEPS = 6
HALVINGS = 20  # after which a cell's doubt goes into the error
TINY = 1e-14  # A cell whose integral is at most this share of the whole is not looked into
SETTLED = 1e-16  # A zero is near enough where the integral of g up to the true one is at most this share of the whole
THIRD, FIFTH, SIXTH, SEVENTH, FIFTEENTH = 1 / 3, 1 / 5, 1 / 6, 1 / 7, 1 / 15
NONE, ONE, UNKNOWN, LOST = 0, 1, 2, 3  # zeros in a cell. LOST: g is rounding there, and halves would tell no more.
BLOCK = 8  # coefficients of which the largest is noted


@nb.njit(cache=True, nogil=True, error_model="numpy")
def series(step, at_c, at_values, limits):
    """j = floor(x) at a step, the window's part of the integral, g, g', and g's derivatives over m!, m = 2..6."""
    j = step // limits.fractions
    q = step - j * limits.fractions
    return j, weigh(at_c + 8 * (j - limits.reach + 1), at_values + 8 * LANES * limits.taps * q, limits.taps)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _value(d, s):
    return s[1] + d * (s[2] + d * (s[3] + d * (s[4] + d * (s[5] + d * (s[6] + d * s[7])))))


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _slope(d, s):
    return s[2] + d * (2 * s[3] + d * (3 * s[4] + d * (4 * s[5] + d * (5 * s[6] + d * 6 * s[7]))))


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _integral(d, s):
    inner = 0.25 * s[4] + d * (0.2 * s[5] + d * (SIXTH * s[6] + d * SEVENTH * s[7]))
    return s[0] + d * (s[1] + d * (0.5 * s[2] + d * (THIRD * s[3] + d * inner)))


@nb.njit(cache=True, nogil=True, error_model="numpy")
def largest(c, first, n):
    """max |c| of n of them."""
    top = 0.0
    for k in range(first, first + n):
        top = max(top, abs(c[k]))
    return top


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _proof(rest, slope, r, top, total, limits):
    """Whether g, found to be ``rest`` with this slope at a distance r from an offset, has a zero near; how far; and
    what the integral of g up to there can be wrong by. |c| <= ``top`` near, and ``total`` in sum."""
    left_out = limits.seventh * top * r**6  # by Taylor's series
    rest = abs(rest) + left_out * r / 5040 + limits.noise[1] * top + limits.outside[1] * total
    slope = abs(slope) - left_out / 720 - limits.noise[2] * top - limits.outside[2] * total
    away = 3 * rest / slope
    wrong = 4 * away * rest + left_out * r * r / 40320 + limits.noise[0] * top + limits.outside[0] * total
    return slope > 0 and 4 * limits.second * top * rest < slope * slope and r * limits.fractions < 1, away, wrong


@nb.njit(cache=True, nogil=True, error_model="numpy")
def proved_zero(z, falling, c, pad, top, total, at_values, limits):
    """The zero of g near z where g falls or rises: (it, its distance from the true one at most, j, e, error of e).

    e is the window's part of the integral. By Halley's method; the signs of g on either side of the zero are certain.
    The error is -1 where there is none. ``total`` is sum |c|, and |c| <= ``top``, or 0: look for the largest near z.
    """
    at_c = np.int64(c.ctypes.data) + 8 * pad
    furthest = c.size - 2 * pad + limits.reach
    step = math.floor(z * limits.fractions + 0.5)
    for _ in range(NEWTON_STEPS):
        if not -limits.reach * limits.fractions <= step <= furthest * limits.fractions:
            break
        j, s = series(step, at_c, at_values, limits)
        if s[2] == 0 or (s[2] < 0) != falling:
            break
        d = -s[1] * s[2] / (s[2] * s[2] - s[1] * s[3])
        if abs(d) * limits.fractions <= NEAREST:
            rest, slope, before = 0.0, s[2], d
            for _ in range(NEWTON_STEPS):
                rest, slope, before = _value(d, s), _slope(d, s), d
                d -= rest / slope
                if rest * rest <= SETTLED * total * abs(slope):
                    break
            proved, away, wrong = _proof(
                rest, slope, max(abs(d), abs(before)), top if top > 0 else total, total, limits
            )
            if not proved and top == 0:
                near = largest(c, pad + j - limits.reach + 1, 2 * limits.reach)
                proved, away, wrong = _proof(rest, slope, max(abs(d), abs(before)), near, total, limits)
            if not proved:
                break
            return step / limits.fractions + d, away, j, _integral(d, s), wrong
        if not abs(d) <= limits.reach:
            break
        step += math.floor(d * limits.fractions + 0.5)
    return 0.0, 0.0, 0, 0.0, -1.0


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _outermost(c, pad, mark, side, total, at_values, limits, alone):
    """A step beyond which (side 1; before which: -1) g has the sign of c from ``mark`` on outwards.

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
def _plainly_none(s, r, rest):
    """Whether the first term of Taylor's series outweighs all others up to a distance r."""
    r2 = r * r
    near = abs(s[2]) * r + abs(s[3]) * r2
    far = (abs(s[4]) * r + abs(s[5]) * r2) + (abs(s[6]) * r + abs(s[7]) * r2) * r2
    return abs(s[1]) > (near + far * r2) + rest


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _verdict(low, high, s, step, top, total, limits):
    """What Taylor's series at a step tells of g in [low, high]: NONE, ONE zero, UNKNOWN or LOST; and a bound of |g|.

    b are the series' coefficients in Bernstein's basis: between the least and the largest lie all values.
    """
    d, r = 0.5 * (low + high) - step / limits.fractions, 0.5 * (high - low)
    r2, furthest = r * r, abs(d) + r
    a0, a1, a6 = _value(d, s), r * _slope(d, s), r2 * r2 * r2 * s[7]
    a2 = r2 * (s[3] + d * (3 * s[4] + d * (6 * s[5] + d * (10 * s[6] + d * 15 * s[7]))))
    a3 = r2 * r * (s[4] + d * (4 * s[5] + d * (10 * s[6] + d * 20 * s[7])))
    a4, a5 = r2 * r2 * (s[5] + d * (5 * s[6] + d * 15 * s[7])), r2 * r2 * r * (s[6] + d * 6 * s[7])
    even0, odd0 = a0 + a2 + a4 + a6, a1 + a3 + a5
    even1, odd1 = a0 + THIRD * (a2 - a4) - a6, 2 * THIRD * (a1 - a5)
    even2, odd2 = a0 - FIFTEENTH * (a2 + a4) + a6, THIRD * (a1 + a5) - FIFTH * a3
    b0, b1, b2, b3 = even0 - odd0, even1 - odd1, even2 - odd2, a0 - FIFTH * (a2 - a4) - a6
    b4, b5, b6 = even2 + odd2, even1 + odd1, even0 + odd0
    left_out = limits.seventh * top * furthest**6
    noise = limits.noise[1] * top + limits.outside[1] * total
    rest = left_out * furthest / 5040 + noise
    least = min(min(min(b0, b1), min(b2, b3)), min(min(b4, b5), b6)) - rest
    most = max(max(max(b0, b1), max(b2, b3)), max(max(b4, b5), b6)) + rest
    if least > 0 or most < 0:
        return NONE, 0.0
    slope_rest = left_out / 720 + limits.noise[2] * top + limits.outside[2] * total
    if b0 > b6:
        b0, b1, b2, b3, b4, b5, b6 = b6, b5, b4, b3, b2, b1, b0
    shallow = min(min(min(b1 - b0, b2 - b1), min(b3 - b2, b4 - b3)), min(b5 - b4, b6 - b5))
    if 3 * shallow > slope_rest * r and min(abs(b0), abs(b6)) > rest:
        return NONE if (b0 > 0) == (b6 > 0) else ONE, 0.0
    most = max(most, -least)
    return (UNKNOWN if most > 4 * noise else LOST), most


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
def _turn_at(x, total, sums, c, pad, at_values, limits):
    """`_turn` at a real x; tells the error."""
    step = math.floor(x * limits.fractions + 0.5)
    j, s = series(step, np.int64(c.ctypes.data) + 8 * pad, at_values, limits)
    _turn(sums, c, pad, j, _integral(x - step / limits.fractions, s))
    return 2 * (limits.noise[0] + limits.series + limits.outside[0]) * total


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _in_cell(low, high, positive, c, pad, total, at_values, limits, tops, ends, sums):
    """Looks for the zeros in [low, high], before which g is ``positive``, or not: what it is after them, and the error.

    Halves the cell until Taylor's series tells all, the rest does not matter, or HALVINGS are spent.
    """
    at_c, fractions, error = np.int64(c.ctypes.data) + 8 * pad, limits.fractions, 0.0
    around = limits.reach + limits.cell // fractions + 1
    narrow = (high - low) * 0.5**HALVINGS
    ends[0], depth = high, 0
    while depth >= 0:
        high = ends[depth]
        center = 0.5 * (low + high)
        step = math.floor(center * fractions + 0.5)
        j, s = series(step, at_c, at_values, limits)
        top = largest(tops, (pad + j - around) // BLOCK, 2 * around // BLOCK + 2)
        zeros, most = _verdict(low, high, s, step, top, total, limits)
        x, z, e, wrong = step / fractions, 0.0, 0.0, 0.0
        before = _value(center - x, s) > 0
        if zeros == ONE:
            left, right = _value(low - x, s), _value(high - x, s)
            before = left > 0
            z = low + (high - low) * left / (left - right)
            z -= _value(z - x, s) / _slope(z - x, s)
            z, _, j, e, wrong = proved_zero(z, before, c, pad, top, total, at_values, limits)
            if wrong < 0 or not low <= z <= high:
                zeros, most = UNKNOWN, abs(left) + abs(right)
        if zeros == UNKNOWN and (high - low) * most > TINY * total and high - low > narrow:
            depth += 1
            ends[depth] = center
            continue
        if zeros >= UNKNOWN:
            error += 2 * (high - low) * most
        else:
            if before != positive:  # there was a zero in doubtful halves
                error += _turn_at(low, total, sums, c, pad, at_values, limits)
            if zeros == ONE:
                _turn(sums, c, pad, j, e)
                error += 2 * wrong
            positive = before != (zeros == ONE)
        low = high
        depth -= 1
    return positive, error


@nb.njit(cache=True, nogil=True, error_model="numpy")
def by_cells(c, pad, last, first, n_marks, total, at_values, limits, alone, tops, ends, sums):
    """integral |g| and its error, whatever the number of zeros.

    Cells lie where a window meets coefficients of both signs. In each, Taylor's series about its middle tells that g
    has no zero, or that it is monotone and has one, which `proved_zero` finds. Else the cell is halved.
    Room to work in: ``alone`` of c's size, ``tops`` of its number of blocks, ``ends`` (HALVINGS + 2,), ``sums`` (4,).
    """
    at_c, fractions, reach = np.int64(c.ctypes.data) + 8 * pad, limits.fractions, limits.reach
    for block in range(tops.size):
        tops[block] = largest(c, block * BLOCK, BLOCK)
    half, top = limits.cell // 2, largest(tops, 0, tops.size)
    rest = limits.seventh * top * (half / fractions) ** 7 / 5040 + limits.noise[1] * top + limits.outside[1] * total
    positive, error = c[pad + last[0]] > 0, 0.0
    sums[:] = 0.0
    step = _outermost(c, pad, last[0], -1, total, at_values, limits, alone)
    stop = _outermost(c, pad, first[n_marks - 1], 1, total, at_values, limits, alone)
    mark = 0
    while mark < n_marks:
        step = max(step, (last[mark] - reach) * fractions + limits.cell * 3 // 8)
        end = (first[mark] + reach) * fractions
        mark += 1
        while mark < n_marks and (last[mark] - reach) * fractions <= end:
            end = (first[mark] + reach) * fractions
            mark += 1
        while step < min(end, stop):
            _, s = series(step + half, at_c, at_values, limits)
            if (s[1] > 0) != positive or not _plainly_none(s, half / fractions, rest):
                low, high = step / fractions, (step + limits.cell) / fractions
                positive, wrong = _in_cell(low, high, positive, c, pad, total, at_values, limits, tops, ends, sums)
                error += wrong
            step += limits.cell
        if positive != (c[pad + first[mark - 1]] > 0):
            error += _turn_at(step / fractions, total, sums, c, pad, at_values, limits)
            positive = not positive
    _turn(sums, c, pad, c.size - 2 * pad - 1, 0.0)
    return sums[0], error
