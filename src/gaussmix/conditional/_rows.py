"""Loops over rows of mixtures, each with Gaussians, and atoms of standard deviation 0, of its own.

Row i's components lie between row[i] and row[i + 1] of the lists.
"""

from __future__ import annotations

import math

from gaussmix._compiled import kernel

_ROOT2 = math.sqrt(2.0)
_ROOT_2PI = math.sqrt(2 * math.pi)
_STEPS = 100
_CLOSE, _NEAR = 1e-12, 1e-6
_HALVINGS = 24
_LEAST_PARABOLA = 1e-9
_APART = 7.0  # standard deviations from where on |d| is E|N(d, s^2)| to 4e-13 s


@kernel
def _below(x, w, m, s, k):
    """P(X <= x) and the density at x."""
    p, density = 0.0, 0.0
    for j in range(k):
        if s[j] > 0:
            z = (x - m[j]) / s[j]
            if z > 38.0:
                p += w[j]
            elif z > -38.0:
                p += w[j] * 0.5 * math.erfc(-z / _ROOT2)
                density += w[j] * math.exp(-0.5 * z * z) / s[j]
        elif m[j] <= x:
            p += w[j]
    return p, density / _ROOT_2PI


@kernel
def _absolute(d, s):
    """E|N(d, s^2)|."""
    if s <= 0:
        return abs(d)
    z = d / s
    if abs(z) > _APART:
        return abs(d)
    return d * math.erf(z / _ROOT2) + s * math.exp(-0.5 * z * z) * 2 / _ROOT_2PI


@kernel
def cdf_rows(row, weight, mean, std, x, out):
    """``out[i, q]`` = P(X_i <= x[i, q]); row i's components lie between row[i] and row[i + 1]."""
    for i in range(out.shape[0]):
        a, b = row[i], row[i + 1]
        for q in range(out.shape[1]):
            out[i, q] = _below(x[i, q], weight[a:b], mean[a:b], std[a:b], b - a)[0]


@kernel
def _interpolated(x, places, values):
    """Between the values at ascending places, 0 before the first and the last value behind the last."""
    if x < places[0]:
        return 0.0
    low, high = 0, places.size - 1
    if x >= places[high]:
        return values[high]
    while high - low > 1:
        middle = (low + high) // 2
        if places[middle] <= x:
            low = middle
        else:
            high = middle
    share = (x - places[low]) / (places[high] - places[low])
    return values[low] + share * (values[high] - values[low])


@kernel
def _walk(x, at, places, values):
    """Between the values at ascending places, from place ``at`` on, and where that was; constant beyond the ends."""
    last = places.size - 1
    while at < last and places[at + 1] <= x:
        at += 1
    if x < places[0] or at == last:
        return (0.0 if x < places[0] else values[last]), at
    share = (x - places[at]) / (places[at + 1] - places[at])
    return values[at] + share * (values[at + 1] - values[at]), at


@kernel
def sharpen_rows(
    loc,
    scale,
    middles,
    still_middles,
    order,
    still_order,
    places,
    values,
    still_places,
    still_values,
    power,
    weights,
    still_weights,
):
    """Multiply weights (N, K) and (N, L) by (F (1 - F))^power, F = P(X_i <= c) at each Gaussian's middle c.

    Middles ascend and have the columns ``order``; values (N, G) are distribution functions of the two bases, times
    their masses, at places (G,). The first that lies still keeps its weight, the others the sum of theirs.
    """
    for i in range(loc.size):
        m, s, before, after = loc[i], scale[i], 0.0, 0.0
        first, second = 0, 0
        for k in range(middles.size):
            w = weights[i, order[k]]
            if w > 0:
                p, first = _walk(middles[k], first, places, values[i])
                q, second = _walk(m + s * middles[k], second, still_places, still_values[i])
                new = w * max((p + q) * (1 - p - q), _LEAST_PARABOLA) ** power
                before, after = before + w, after + new
                weights[i, order[k]] = new
        first, second = 0, 0
        for k in range(still_middles.size):
            w = still_weights[i, still_order[k]]
            if w > 0 and still_order[k] > 0:
                p, first = _walk((still_middles[k] - m) / s, first, places, values[i])
                q, second = _walk(still_middles[k], second, still_places, still_values[i])
                new = w * max((p + q) * (1 - p - q), _LEAST_PARABOLA) ** power
                before, after = before + w, after + new
                still_weights[i, still_order[k]] = new
        rest = before / after if after > 0 else 1.0
        for k in range(weights.shape[1]):
            weights[i, k] *= rest
        for k in range(1, still_weights.shape[1]):
            still_weights[i, k] *= rest


@kernel
def _guess(level, low, high, loc, scale, moved_places, moved, fixed_places, fixed):
    """Where the tables of both bases' distribution functions, together, pass a level."""
    for _ in range(_HALVINGS):
        x = 0.5 * (low + high)
        p = _interpolated((x - loc) / scale, moved_places, moved) + _interpolated(x, fixed_places, fixed)
        if p < level:
            low = x
        else:
            high = x
    return 0.5 * (low + high)


@kernel
def quantile_rows(row, weight, mean, std, levels, loc, scale, moved_places, moved, fixed_places, fixed, out):
    """``out[i, q]``: the smallest x with P(X_i <= x) >= levels[i, q]; levels lie in (0, 1).

    ``moved`` (N, G) and ``fixed`` (N, H) are distribution functions of the two bases, times their masses, at places
    (G,) and (H,): the search begins where they say.
    """
    for i in range(out.shape[0]):
        a, k = row[i], row[i + 1] - row[i]
        w, m, s = weight[a : a + k], mean[a : a + k], std[a : a + k]
        first, last, atoms = math.inf, -math.inf, False
        for j in range(k):
            first = min(first, m[j] - 39 * s[j])
            last = max(last, m[j] + 39 * s[j])
            atoms = atoms or s[j] <= 0
        inner = scale[i] * moved_places[0] + loc[i], scale[i] * moved_places[-1] + loc[i]
        inner = min(inner[0], fixed_places[0]), max(inner[1], fixed_places[-1])
        for q in range(out.shape[1]):
            level, low, high, found = levels[i, q], first, last, False
            if atoms:
                for j in range(k):
                    if s[j] <= 0 and low <= m[j] <= high:
                        upto = _below(m[j], w, m, s, k)[0]
                        own = 0.0
                        for other in range(k):
                            if s[other] <= 0 and m[other] == m[j]:
                                own += w[other]
                        if upto < level:
                            low = m[j]
                        elif upto - own < level:
                            out[i, q], found = m[j], True
                            break
                        else:
                            high = m[j]
            if found:
                continue
            x = 0.5 * (low + high)
            if not atoms:
                x = _guess(level, inner[0], inner[1], loc[i], scale[i], moved_places, moved[i], fixed_places, fixed[i])
            for _ in range(_STEPS):
                p, density = _below(x, w, m, s, k)
                if p < level:
                    low = x
                else:
                    high = x
                step = (level - p) / density if density > 0 else math.inf
                inside = low < x + step < high
                near = abs(level - p) <= _NEAR * min(level, 1 - level)  # of which one more step leaves the square
                if near or high - low <= _CLOSE * max(abs(low), abs(high)):
                    x = x + step if inside else x
                    break
                x = x + step if inside else 0.5 * (low + high)
            out[i, q] = x


@kernel
def apart_rows(row, weight, mean, std, second_row, second_weight, second_mean, second_std, out):
    """``out[i]`` = sum w_j v_l E|N(m_j - e_l, s_j^2 + f_l^2)| over components of two lists."""
    for i in range(out.size):
        total = 0.0
        for j in range(row[i], row[i + 1]):
            for other in range(second_row[i], second_row[i + 1]):
                spread = math.hypot(std[j], second_std[other])
                total += weight[j] * second_weight[other] * _absolute(mean[j] - second_mean[other], spread)
        out[i] = total


@kernel
def add_leaves(leaves, share, start, column, value, out):
    """Add to ``out[i]`` the sparse rows ``leaves[i, t]``, each times ``share[i, t]``."""
    for i in range(leaves.shape[0]):
        for t in range(leaves.shape[1]):
            s = share[i, t]
            if s != 0:
                for j in range(start[leaves[i, t]], start[leaves[i, t] + 1]):
                    out[i, column[j]] += s * value[j]
