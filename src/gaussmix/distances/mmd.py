"""The squared maximum mean discrepancy of a Gaussian kernel.

    MMD^2 = E k(X, X') + E k(Y, Y') - 2 E k(X, Y),    k(x, y) = exp(-(x - y)^2 / (2 sigma^2))
          = sigma sqrt(2 pi) int (a * kappa - b * kappa)^2 dx

X, X' from a and Y, Y' from b, independent; a * kappa: the law a convolved with a normal law kappa of variance
tau^2 = sigma^2 / 2. The second form is integrated: it cannot come out negative, and nothing cancels where the laws are
close. All positions are taken from where a lies: only differences matter, and far from zero those would lose their
digits. A piece w N(x; m, s^2) of a continuous part on [low, high] becomes

    w N(x; m, S^2) (Phi((high - c) / d) - Phi((low - c) / d)),    S^2 = s^2 + tau^2,  c = x + (m - x) tau^2 / S^2,
                                                                  d = s tau / S

The guard is a mixture of normals: Student's t with 3 degrees of freedom is one whose variance v has the density
1.5^1.5 / Gamma(1.5) v^-2.5 exp(-1.5 / v), and the trapezoidal rule in log v takes it to 1e-12.

Point masses are convolved on a lattice around them, of step tau / sqrt(8), where the trapezoidal rule is exact to
rounding for the square of their difference d. A point u steps from a node adds, to the node j steps from that,
exp(-(u - j)^2 / 16) = exp(-u^2 / 16) exp(u / 8)^j exp(-j^2 / 16): two exponentials a point. Points come in order, so
that only a window of the lattice is kept, and gaps between them cost nothing. What the nodes hold is d / height,
height = 1 / (tau sqrt(2 pi)), so that no power of tau over- or underflows.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba as nb
import numpy as np
from numpy.typing import ArrayLike

from gaussmix._typing import FloatArray
from gaussmix.density._mixture import exact
from gaussmix.density.basis import GaussianBasis
from gaussmix.distances._inputs import Law, Sample, as_law, continuous_share, is_lattice, shaped, weight_rows
from gaussmix.distances._mixtures.quadrature import REACH, Features, panels, rule
from gaussmix.distances.toeplitz import check_sigma, kernel_product

_FINE = math.sqrt(8.0)
"""Standard deviations of a Gaussian, in steps, from which on sums of its squares are integrals to exp(-8 pi^2)."""
_NORMAL_REACH = 8.5  # standard deviations at which a normal density ends on a lattice
_NUMBERS = 1 << 20  # at a time, to bound the memory
WIDTH = 2.0  # of a panel, in S: there 16 points integrate the square to 1e-15

_LOG_VARIANCES = np.arange(math.log(1.5 / 40), math.log(1e10), 0.3)
_GUARD_STDS = np.exp(0.5 * _LOG_VARIANCES)
_GUARD_WEIGHTS = np.exp(-1.5 * _LOG_VARIANCES - 1.5 * np.exp(-_LOG_VARIANCES))
_GUARD_WEIGHTS /= _GUARD_WEIGHTS.sum()
TAPS = 24  # nodes on either side that a point reaches: 8.5 tau, where 2e-17 of its mass is left
_BLOCK = 4096
_FALL = np.exp(-(np.arange(TAPS + 1.0) ** 2) / 16)


def gaussian_mmd2(
    a: Any,
    b: Any,
    sigma: float,
    *,
    basis: GaussianBasis | None = None,
    a_weights: ArrayLike | None = None,
    b_weights: ArrayLike | None = None,
) -> float | FloatArray:
    """Return the squared maximum mean discrepancy of a Gaussian kernel: from 0 to 2.

    Not in the papers. With both signs and the diagonal, NGMG (D Eq. 13) is the gradient of one in the weights.

    Parameters
    ----------
    a, b : GaussianMixture1D, GMMExpansion or array_like (N,)
        Mixtures, fitted one-column expansions, or samples, taken as point masses (the V-statistic): two samples of N
        and M points from one law differ by about 1/N + 1/M. ValueError or TypeError for anything else.
    sigma : float
        Standard deviation of the kernel exp(-(x - y)^2 / (2 sigma^2)), in the units of the data; positive.
    basis : GaussianBasis, optional
        If given, ``a`` and ``b`` are weights ``(..., n)`` on it, which broadcast, and an array ``(...)`` is returned.
    a_weights, b_weights : array_like (N,), optional
        Masses of a sample's numbers, in proportion; equal if not given.

    Returns
    -------
    float or array (...)
        To about 1e-15, whatever the unit and place of the data: relatively, however close the laws, between two
        samples, two laws without atoms and weights on one basis; absolutely between points and densities. A sigma far
        wider than the laws costs digits in proportion, but not on a lattice basis.
    """
    check_sigma(sigma)
    if basis is None:
        return _of_laws(as_law(a, "a", a_weights), as_law(b, "b", b_weights), sigma)
    first, second, shape = weight_rows(a, b, basis, a_weights, b_weights)
    if is_lattice(basis):
        return shaped(_on_lattice(first - second, basis, sigma), shape)
    pairs = zip(first, second, strict=True)
    return shaped(np.array([_of_laws(basis.mixture(p), basis.mixture(q), sigma) for p, q in pairs]), shape)


def _of_laws(a: Law, b: Law, sigma: float) -> float:
    tau, origin = sigma * math.sqrt(0.5), _location(a)
    densities = _smoothed_difference(a, b, tau, origin)
    (x, x_mass), (y, y_mass) = _points(a), _points(b)
    total = _integral_of_points(x - origin, x_mass, y - origin, y_mass, tau, densities)
    if densities.mean.size:
        at, w = rule(*panels(_features(densities, tau)))
        values = _values(at.ravel(), densities)
        total += 2 * math.sqrt(math.pi) * tau * float(values @ (w.ravel() * values))  # w first: squares may underflow
    return max(0.0, total)


def _location(law: Law) -> float:
    """A place where the law has much of its mass."""
    if isinstance(law, Sample):
        return float(np.median(law.values))
    if law.atoms.masses.sum() > 0.5:
        return float(law.atoms.positions[law.atoms.masses.argmax()])
    return float(law.means[law.weights.argmax()])


def _points(law: Law) -> tuple[FloatArray, FloatArray]:
    """Positions in order and masses: of a sample, or of a mixture's atoms."""
    if not isinstance(law, Sample):
        return law.atoms.positions, law.atoms.masses.copy()  # writeable, for which the sums are compiled
    masses = np.full(law.values.size, 1 / law.values.size) if law.masses is None else law.masses
    order = np.argsort(law.values)
    return law.values[order], masses[order]


class SmoothedPieces(NamedTuple):
    """(n,) each: what the formula of the module needs of a piece, with the sign of its law. Open ends are infinite."""

    height: FloatArray  # w / (S sqrt(2 pi))
    mean: FloatArray
    inverse_std: FloatArray  # 1 / S
    shrink: FloatArray  # tau^2 / S^2
    inverse_cut: FloatArray  # 1 / d
    low: FloatArray
    high: FloatArray


def _smoothed_difference(a: Law, b: Law, tau: float, origin: float) -> SmoothedPieces:
    """a's continuous part less b's, a sample having none, with positions from ``origin`` on.

    Pieces that both have are merged, and gone where equal.
    """
    columns = [_columns(law, origin) for law in (a, b)]
    places, inverse = np.unique(np.concatenate([place for _, place in columns]), axis=0, return_inverse=True)
    (first, _), (second, _) = columns
    inverse = inverse.ravel()
    amount = np.bincount(inverse[: first.size], first, len(places)).astype(np.float64)
    amount -= np.bincount(inverse[first.size :], second, len(places))
    used = amount != 0
    mean, std, low, high = places[used].T
    S = np.hypot(std, tau)
    width = np.where(np.isinf(std), 1.0, S * math.sqrt(2 * math.pi))  # the amount of a flat piece is its height
    return SmoothedPieces(amount[used] / width, mean, 1 / S, (tau / S) ** 2, np.hypot(1 / std, 1 / tau), low, high)


def _columns(law: Law, origin: float) -> tuple[FloatArray, FloatArray]:
    """Weights (n,) and mean, std, low, high (n, 4) of a law's pieces; std is infinite for a flat one."""
    share = 0.0 if isinstance(law, Sample) else continuous_share(law)
    if isinstance(law, Sample) or share == 0:
        return np.empty(0), np.empty((0, 4))
    low, high = law.bounds
    tail = (law.tail.mass, law.tail.loc - origin, law.tail.scale)
    # Moved before it is mirrored: images of a law far from zero would be rounded
    p = exact.expand(law.weights, law.means - origin, law.stds, (low - origin, high - origin), tail)
    ends = [p.low, p.high]
    weights, places = [p.weight], [np.column_stack([p.mean, 1 / p.inverse_std, np.tile(ends, (p.mean.size, 1))])]
    if p.flat > 0:
        weights.append(np.array([p.flat]))
        places.append(np.array([[0.0, math.inf, *ends]]))
    if p.guard_mass > 0:
        weights.append(p.guard_mass * _GUARD_WEIGHTS)
        places.append(np.array([[p.guard_loc, p.guard_scale * s, -math.inf, math.inf] for s in _GUARD_STDS]))
    return share * np.concatenate(weights), np.concatenate(places)


def _features(p: SmoothedPieces, tau: float) -> Features:
    """What panels must resolve to integrate the square."""
    with np.errstate(divide="ignore"):
        S = 1 / p.inverse_std
    edge = REACH * tau
    start = np.where(np.isinf(S), p.low, p.mean - REACH * S)
    end = np.where(np.isinf(S), p.high, p.mean + REACH * S)
    corners = np.unique(np.concatenate([p.low, p.high]))
    corners = corners[np.isfinite(corners)]
    start = np.concatenate([np.maximum(start, p.low - edge), corners - edge])
    end = np.concatenate([np.minimum(end, p.high + edge), corners + edge])
    width = np.concatenate([WIDTH * S, np.full(corners.size, WIDTH * tau)])
    return Features(start, end, width, start, end, corners)


@nb.njit(cache=True, nogil=True)
def _value(x: float, p: SmoothedPieces) -> float:
    """At one number."""
    total = 0.0
    for i in range(p.mean.size):
        z = (x - p.mean[i]) * p.inverse_std[i]
        if abs(z) > REACH:
            continue
        density = p.height[i] * math.exp(-0.5 * z * z)
        if math.isfinite(p.low[i]) or math.isfinite(p.high[i]):
            c = x + (p.mean[i] - x) * p.shrink[i]
            scale = p.inverse_cut[i] * math.sqrt(0.5)
            density *= 0.5 * (math.erfc((p.low[i] - c) * scale) - math.erfc((p.high[i] - c) * scale))
        total += density
    return total


@nb.njit(cache=True, nogil=True)
def _values(x: FloatArray, p: SmoothedPieces) -> FloatArray:
    """At (N,) numbers."""
    out = np.empty(x.size)
    for k in range(x.size):
        out[k] = _value(x[k], p)
    return out


@nb.njit(cache=True, nogil=True)
def _add(nodes: FloatArray, u: float, mass: float) -> None:
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
        nodes[at + j] += above * _FALL[j]
        nodes[at - j] += below * _FALL[j]


@nb.njit(cache=True, nogil=True)
def _sums(a: FloatArray, b: FloatArray, end: int, start: float, step: float, p: SmoothedPieces) -> tuple[float, float]:
    """Of d^2 and d g over nodes up to ``end``, d the difference of a and b and g that of the mixtures."""
    squares = products = 0.0
    for k in range(end):
        d = a[k] - b[k]
        squares += d * d
        if d != 0 and p.mean.size > 0:
            products += d * _value(start + (k - TAPS) * step, p)
    return squares, products


@nb.njit(cache=True, nogil=True)
def _integral_of_points(
    x: FloatArray, x_mass: FloatArray, y: FloatArray, y_mass: FloatArray, tau: float, p: SmoothedPieces
) -> float:
    """2 sqrt(pi) tau int (d^2 + 2 d g) dx, without a unit.

    d: the smoothed points x less the points y, sorted, with their masses; g: the mixtures.
    """
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
                _add(a, u, x_mass[i])
                i += 1
            else:
                _add(b, u, y_mass[j])
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
    return (squares + more[0]) / math.sqrt(8 * math.pi) + tau * (products + more[1])


def _on_lattice(delta: FloatArray, basis: GaussianBasis, sigma: float) -> FloatArray:
    """For differences of weights (B, n) on an open, unwarped basis: (B,).

    sum_i delta_i N(x; mu_i, S^2), S^2 = s^2 + sigma^2 / 2, on a lattice that has the centres among its points.
    """
    S = math.hypot(basis.bandwidth * basis.spacing, sigma * math.sqrt(0.5))
    if basis.n_components * basis.spacing < S:
        return _within_one_kernel(delta, basis, sigma, S)
    spread = S / basis.spacing
    between = math.ceil(_FINE / spread)
    beyond = math.ceil(_NORMAL_REACH * spread * between)
    n = basis.n_components
    size = (n - 1) * between + 1 + 2 * beyond
    lattice = GaussianBasis(0.0, 1 / between, size)  # in spacings
    out = np.empty(len(delta))
    rows = max(1, _NUMBERS // size)
    for k in range(0, len(delta), rows):
        part = delta[k : k + rows]
        masses = np.zeros((len(part), size))
        masses[:, beyond : size - beyond : between] = part
        g = kernel_product(masses, lattice, spread, diagonal=True)
        out[k : k + rows] = np.einsum("bi,bi->b", g, g)
    return sigma / basis.spacing * math.sqrt(2 * math.pi) / between * out


def _within_one_kernel(delta: FloatArray, basis: GaussianBasis, sigma: float, S: float) -> FloatArray:
    """The same where all centres lie within S, by differences from the normal density in their middle.

    sum_i delta_i exp(-(x - t_i)^2 / 2) = exp(-x^2 / 2) sum_i delta_i expm1(x t_i - t_i^2 / 2),
    t_i = (mu_i - middle) / S, as the delta_i add up to 0.
    """
    n = basis.n_components
    t = (np.arange(n) - 0.5 * (n - 1)) * (basis.spacing / S)
    nodes = round((_NORMAL_REACH + 0.5) * _FINE)
    x = np.arange(-nodes, nodes + 1)[:, None] / _FINE
    g = delta @ (np.exp(-0.5 * x**2) * np.expm1(x * t - 0.5 * t**2)).T
    return sigma / S / (_FINE * math.sqrt(2 * math.pi)) * np.einsum("bi,bi->b", g, g)
