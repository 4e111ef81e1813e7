"""Loops over rows of mixtures, each with Gaussians, and atoms of standard deviation 0, of its own.

A row's K components are gathered first, those lighter than `LIGHT` of its mass left out; what is computed of them is
exact to that share.
"""

from __future__ import annotations

import math

from gaussmix._compiled import kernel

LIGHT = 1e-6
_ROOT2 = math.sqrt(2.0)
_ROOT_2PI = math.sqrt(2 * math.pi)
_STEPS = 100
_CLOSE = 1e-12


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
    return d * math.erf(z / _ROOT2) + s * math.exp(-0.5 * z * z) * 2 / _ROOT_2PI


@kernel
def cdf_rows(row, weight, mean, std, x, out):
    """``out[i, q]`` = P(X_i <= x[i, q]); row i's components lie between row[i] and row[i + 1]."""
    for i in range(out.shape[0]):
        a, b = row[i], row[i + 1]
        for q in range(out.shape[1]):
            out[i, q] = _below(x[i, q], weight[a:b], mean[a:b], std[a:b], b - a)[0]


@kernel
def quantile_rows(row, weight, mean, std, levels, out):
    """``out[i, q]``: the smallest x with P(X_i <= x) >= levels[i, q]; levels lie in (0, 1)."""
    for i in range(out.shape[0]):
        a, k = row[i], row[i + 1] - row[i]
        w, m, s = weight[a : a + k], mean[a : a + k], std[a : a + k]
        first, last = math.inf, -math.inf
        for j in range(k):
            first = min(first, m[j] - 39 * s[j])
            last = max(last, m[j] + 39 * s[j])
        for q in range(out.shape[1]):
            level, low, high, found = levels[i, q], first, last, False
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
            for _ in range(_STEPS):
                p, density = _below(x, w, m, s, k)
                if p < level:
                    low = x
                else:
                    high = x
                if high - low <= _CLOSE * max(abs(low), abs(high)):
                    break
                new = x - (p - level) / density if density > 0 else low
                if not low < new < high:
                    new = 0.5 * (low + high)
                elif abs(new - x) <= _CLOSE * (abs(x) + abs(high - low)):
                    x = new
                    break
                x = new
            out[i, q] = x


@kernel
def crps_rows(row, weight, mean, std, y, out):
    """``out[i]`` = E|X_i - y_i| - E|X_i - X_i'| / 2."""
    for i in range(out.size):
        far, apart = 0.0, 0.0
        for j in range(row[i], row[i + 1]):
            far += weight[j] * _absolute(y[i] - mean[j], std[j])
            apart += 0.5 * weight[j] * weight[j] * _absolute(0.0, _ROOT2 * std[j])
            for other in range(row[i], j):
                apart += weight[j] * weight[other] * _absolute(mean[j] - mean[other], math.hypot(std[j], std[other]))
        out[i] = far - apart
