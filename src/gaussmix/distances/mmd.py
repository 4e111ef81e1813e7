"""The squared maximum mean discrepancy of a Gaussian kernel.

    MMD^2 = E k(X, X') + E k(Y, Y') - 2 E k(X, Y),    k(x, y) = exp(-(x - y)^2 / (2 sigma^2))
          = sigma sqrt(2 pi) int (a * kappa - b * kappa)^2 dx

X, X' from a and Y, Y' from b, independent; a * kappa: the law a convolved with a normal law kappa of variance
tau^2 = sigma^2 / 2. The second form is integrated: it cannot come out negative. Components of unbounded laws are taken
in pairs, as they come from the left, and so are their differences: nothing cancels where those of a are almost those of
b. All positions are taken from where a lies. A piece w N(x; m, s^2) of a continuous part on [low, high] becomes

    w N(x; m, S^2) (Phi((high - c) / d) - Phi((low - c) / d)),    S^2 = s^2 + tau^2,  c = x + (m - x) tau^2 / S^2,
                                                                  d = s tau / S

The guard is a mixture of normals: Student's t with 3 degrees of freedom is one whose variance v has the density
1.5^1.5 / Gamma(1.5) v^-2.5 exp(-1.5 / v), and the trapezoidal rule in log v takes it to 1e-12.

Point masses are convolved on a lattice of step tau / sqrt(8), where the trapezoidal rule is exact to rounding for the
square of their difference. The points u of a cell, in tau from its middle, add to the node at y

    sum exp(-(y - u)^2 / 2) = exp(-y^2 / 2) sum_k y^k / k!  sum exp(-u^2 / 2) u^k.

Where all positions t, in sigma, lie within one kernel, its own series gives the squares,

    MMD^2 = sum_k (sum_i delta_i exp(-t_i^2 / 2) t_i^k)^2 / k!.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import factorial, ndtr

from gaussmix._typing import FloatArray
from gaussmix.density._mixture import exact
from gaussmix.density.basis import GaussianBasis
from gaussmix.distances._inputs import Law, Sample, as_law, continuous_share, is_lattice, shaped, weight_rows
from gaussmix.distances._mixtures.quadrature import Features, panels, rule
from gaussmix.distances._pairs import REACH, densities, net, pairs, smoothed, summed
from gaussmix.distances.toeplitz import check_sigma, kernel_product

_FINE = math.sqrt(8.0)
"""Standard deviations of a Gaussian, in steps, from which on sums of its squares are integrals to exp(-8 pi^2)."""
_NORMAL_REACH = 8.5  # standard deviations at which a normal density ends on a lattice
_NUMBERS = 1 << 20  # at a time, to bound the memory
_ROWS = 128  # points at a time
WIDTH = 2.0  # of a panel, in S: there 16 points integrate the square to 1e-15

_LOG_VARIANCES = np.arange(math.log(1.5 / 40), math.log(1e10), 0.3)
_GUARD_STDS = np.exp(0.5 * _LOG_VARIANCES)
_GUARD_WEIGHTS = np.exp(-1.5 * _LOG_VARIANCES - 1.5 * np.exp(-_LOG_VARIANCES))
_GUARD_WEIGHTS /= _GUARD_WEIGHTS.sum()

_GAUSS, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_LEGENDRE = _WEIGHTS * np.polynomial.legendre.legvander(_GAUSS, 15).T * (np.arange(16)[:, None] + 0.5)

_CELL = 2  # steps
_ORDERS = np.arange(19)  # of u: |u| <= 1 / sqrt(8), and of t: |t| <= 1/2
_AWAY = math.ceil(_NORMAL_REACH * _FINE / _CELL)  # cells
_NODES = (np.arange(-2 * _AWAY, 2 * _AWAY + 2) - 1) * (0.5 * _CELL / _FINE)  # of cells _AWAY to either side, in tau
_OF_NODES = np.exp(-0.5 * _NODES**2) * _NODES ** _ORDERS[:, None] / factorial(_ORDERS)[:, None]
_CELLS_AT_ONCE = 1 << 13
_ROUNDING = 1e-12  # masses that add up to less add up to 0


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
        To about 1e-15, whatever the unit and place of the data. Between two samples, two laws without atoms, or weights
        on one basis that holds for the root of the value, so that small values keep digits. Two cases keep more. For
        mixtures without bounds and atoms the root is right to 1e-15 of the weighted sum of the components' own roots,
        of a's to b's, both from the left: closeness costs nothing. For samples and lattice bases whose whole range is
        below sigma it is right to 1e-15 of range / sigma.
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
    origin, tau = _location(a), sigma * math.sqrt(0.5)
    at, mass = _points(a, b)
    at = at - origin
    total = _of_points(at, mass, sigma)
    continuous = _Difference(a, b, origin)
    if not continuous.is_zero():
        x, w = rule(*panels(continuous.features(tau)))
        order = np.argsort(x.ravel())
        values = tau * continuous.smoothed(x.ravel()[order], tau)
        total += 2 * math.sqrt(math.pi) * float(values @ (w.ravel()[order] / tau * values))  # squares may underflow
        total += 2 * math.sqrt(2 * math.pi) * continuous.at_points(at, mass, sigma)
    return max(0.0, float(total))


def _location(law: Law) -> float:
    """A place where the law has much of its mass."""
    if isinstance(law, Sample):
        return float(np.median(law.values))
    if law.atoms.masses.sum() > 0.5:
        return float(law.atoms.positions[law.atoms.masses.argmax()])
    return float(law.means[law.weights.argmax()])


def _points(a: Law, b: Law) -> tuple[FloatArray, FloatArray]:
    """Increasing positions of points, or atoms, of both laws, and a's mass there less b's where that is not 0."""
    columns = []
    for law in (a, b):
        values, masses = law if isinstance(law, Sample) else law.atoms
        columns.append(np.stack([np.full(values.size, 1 / max(values.size, 1)) if masses is None else masses, values]))
    mass, at = net(*columns)
    return at, mass


class _Difference:
    """a's continuous part less b's, a sample having none, with positions from ``origin`` on."""

    def __init__(self, a: Law, b: Law, origin: float):
        gaussians, pieces = zip(*(_parts(law, origin) for law in (a, b)), strict=True)
        self.pairs = pairs(*gaussians)
        self.pairs = self.pairs._replace(mean=self.pairs.mean - origin)
        self.cut = net(*pieces)  # (5, n): weight, mean, std, low, high; an infinite std is a flat one's, of that height

    def is_zero(self) -> bool:
        return self.pairs.weight.size + self.cut.shape[1] == 0

    def smoothed(self, x: FloatArray, tau: float) -> FloatArray:
        """Convolved with a normal law of the standard deviation tau, at increasing x (N,)."""
        values = summed(x, smoothed(self.pairs, tau), densities)
        weight, mean, std, low, high = self.cut
        S = np.hypot(std, tau)
        flat = np.isinf(std)
        height = weight / np.where(flat, 1.0, S * math.sqrt(2 * math.pi))
        for start in range(0, x.size if weight.size else 0, _ROWS):
            part = x[start : start + _ROWS, None]
            c = part + (mean - part) * (tau / S) ** 2
            inverse = np.hypot(1 / std, 1 / tau)
            below, above = (low - c) * inverse, (c - high) * inverse
            inside = np.where(below > above, ndtr(-below) - ndtr(above), ndtr(-above) - ndtr(below))
            values[start : start + _ROWS] += (height * np.exp(-0.5 * ((part - mean) / S) ** 2) * inside).sum(axis=1)
        return values

    def at_points(self, at: FloatArray, mass: FloatArray, sigma: float) -> float:
        """sigma sum mass `smoothed`(at): of many points by their moments on panels, to which the nodes' values are due.

        sum_p mass_p f(t_p) = sum_q f(t_q) w_q sum_k (k + 1/2) P_k(t_q) sum_p mass_p P_k(t_p) with Gauss's rule.
        """
        f = self.features(sigma)
        lower, upper = (np.sort(ends) for ends in panels(f._replace(width=0.5 * f.width)))
        x, _ = rule(lower, upper)
        if at.size <= x.size:
            return float(mass @ (sigma * self.smoothed(at, sigma)))
        own = np.searchsorted(lower, at, "right") - 1
        inside = (own >= 0) & (at <= upper[own])
        own, at, mass = own[inside], at[inside], mass[inside]
        first = np.flatnonzero(np.diff(own, prepend=-1))
        t = (2 * at - lower[own] - upper[own]) / (upper - lower)[own]
        term, before, weight = np.ones_like(t), np.zeros_like(t), np.zeros(x.shape)
        for k, row in enumerate(_LEGENDRE):
            weight[own[first]] += np.add.reduceat(mass * term, first)[:, None] * row
            term, before = ((2 * k + 1) * t * term - k * before) / (k + 1), term
        return float(weight.ravel() @ (sigma * self.smoothed(x.ravel(), sigma)))

    def features(self, tau: float) -> Features:
        """What panels must resolve to integrate the square."""
        p, edge = smoothed(self.pairs, tau), REACH * tau
        _, mean, std, low, high = self.cut
        mean, std, low, high = (
            np.concatenate(parts)
            for parts in (
                (p.mean, p.mean + p.move, mean),
                (p.std, p.std + p.growth, np.hypot(std, tau)),
                (np.full(2 * p.mean.size, -math.inf), low),
                (np.full(2 * p.mean.size, math.inf), high),
            )
        )
        flat, corners = np.isinf(std), np.unique(np.concatenate([low, high]))
        corners = corners[np.isfinite(corners)]
        start, end = (np.where(flat, cut, mean + side * REACH * std) for side, cut in ((-1, low), (1, high)))
        start = np.concatenate([np.maximum(start, low - edge), corners - edge])
        end = np.concatenate([np.minimum(end, high + edge), corners + edge])
        return Features(start, end, np.append(WIDTH * std, np.full(corners.size, WIDTH * tau)), start, end, corners)


def _parts(law: Law, origin: float) -> tuple[FloatArray, FloatArray]:
    """Gaussians (3, n), in place, and what bounds cut off, (5, n), from ``origin`` on: weights, means, stds, bounds."""
    share = 0.0 if isinstance(law, Sample) else continuous_share(law)
    if isinstance(law, Sample) or share == 0:
        return np.empty((3, 0)), np.empty((5, 0))
    mass, loc, scale = law.tail
    own = np.stack([(share - share * mass) * law.weights, law.means, law.stds])[:, law.weights > 0]
    guard = np.stack([share * mass * _GUARD_WEIGHTS, np.full(_GUARD_STDS.size, loc), scale * _GUARD_STDS])
    guard = guard[:, : _GUARD_STDS.size if mass else 0]
    if not np.isfinite(law.bounds).any():
        return np.append(own, guard, axis=1), np.empty((5, 0))
    low, high = law.bounds[0] - origin, law.bounds[1] - origin
    # Moved before it is mirrored: images of a law far from zero would be rounded
    p = exact.expand(law.weights, law.means - origin, law.stds, (low, high), law.tail)
    cut = np.stack([share * p.weight, p.mean, 1 / p.inverse_std, *np.tile([[low], [high]], p.mean.size)])
    flat = np.array([[share * p.flat], [0.0], [math.inf], [low], [high]])
    return guard, np.append(cut, flat[:, : int(p.flat > 0)], axis=1)


def _of_points(at: FloatArray, mass: FloatArray, sigma: float) -> float:
    """The double sum of the kernel over signed masses (N,) at increasing positions."""
    if at.size == 0:
        return 0.0
    if at[-1] - at[0] <= sigma:
        return float(_within_one_kernel(mass, (at - 0.5 * at[0] - 0.5 * at[-1]) / sigma))
    width = sigma * math.sqrt(0.5) * (_CELL / _FINE)
    gap = np.concatenate([[True], np.diff(at) > (2 * _AWAY + 2) * width, [True]])  # what is so far apart does not meet
    alone = gap[:-1] & gap[1:]
    by_themselves, at, mass = float(np.square(mass[alone]).sum()), at[~alone], mass[~alone]
    if at.size == 0:
        return by_themselves
    apart = np.flatnonzero(gap[:-1][~alone])
    cluster = np.repeat(np.arange(apart.size), np.diff(np.append(apart, at.size)))
    steps = (at - at[apart][cluster]) / width
    own = np.floor(steps)
    lengths = own[np.append(apart[1:], at.size) - 1] + 2 * _AWAY + 2
    cell = (own + np.append(0.0, np.cumsum(lengths[:-1]))[cluster]).astype(np.int64)
    u = (steps - own - 0.5) * (_CELL / _FINE)
    first = np.flatnonzero(np.append(True, np.diff(cell) != 0))
    moments, term = np.empty((first.size, _ORDERS.size)), mass * np.exp(-0.5 * u * u)
    for k in range(_ORDERS.size):
        moments[:, k] = np.add.reduceat(term, first)  # more exact than np.bincount
        term *= u
    total, nodes, base, cell = 0.0, np.empty((0, 2)), 0, cell[first]
    for start in range(0, cell.size, _CELLS_AT_ONCE):
        here, before = cell[start : start + _CELLS_AT_ONCE], nodes[max(cell[start] - _AWAY - base, 0) :]
        total += np.square(nodes[: len(nodes) - len(before)]).sum()
        base = here[0] - _AWAY
        nodes = np.zeros((here[-1] + _AWAY + 1 - base, 2))
        nodes[: len(before)] = before
        added = (moments[start : start + _CELLS_AT_ONCE] @ _OF_NODES).reshape(here.size, -1, 2)
        for shift in range(2 * _AWAY + 1):
            nodes[here - here[0] + shift] += added[:, shift]
    total += np.square(nodes).sum()
    return by_themselves + total / math.sqrt(8 * math.pi)


def _on_lattice(delta: FloatArray, basis: GaussianBasis, sigma: float) -> FloatArray:
    """For differences of weights (B, n) on an open, unwarped basis: (B,).

    sum_i delta_i N(x; mu_i, S^2), S^2 = s^2 + sigma^2 / 2, on a lattice that has the centres among its points.
    """
    S = math.hypot(basis.bandwidth * basis.spacing, sigma * math.sqrt(0.5))
    n = basis.n_components
    if n * basis.spacing < S:
        wide = math.hypot(sigma, math.sqrt(2) * basis.bandwidth * basis.spacing)
        return sigma / wide * _within_one_kernel(delta, (np.arange(n) - 0.5 * (n - 1)) * (basis.spacing / wide))
    spread = S / basis.spacing
    between = math.ceil(_FINE / spread)
    beyond = math.ceil(_NORMAL_REACH * spread * between)
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


def _within_one_kernel(delta: FloatArray, t: FloatArray) -> FloatArray:
    """(...) sums of exp(-(t_i - t_j)^2 / 2) with signed masses delta (..., n), |t| <= 1/2."""
    whole, term = delta.sum(axis=-1), np.exp(-0.5 * t * t)
    total = (np.where(np.abs(whole) < _ROUNDING, 0.0, whole) + delta @ np.expm1(-0.5 * t * t)) ** 2
    for k in _ORDERS[1:]:
        term = term * t
        total += (delta @ term) ** 2 / math.factorial(k)
    return total
