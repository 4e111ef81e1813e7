"""Gaussian components as tensors, and the nodes on which their mixtures are integrated.

    u_i = (x - mu_i) / sigma_i,   f(x) = sum_i w_i phi(u_i) / sigma_i,   F(x) = sum_i w_i Phi(u_i)

mu_i, sigma_i: means and standard deviations; w_i: weights, at least 0, with sum 1; phi, Phi: density and distribution
function of the standard normal.

A guard is `GUARD_WIDTHS` Gaussians around one centre c, j = 0, 1, ..: standard deviations w 4^j, masses in the ratio of
64^-j. Together they fall like the guard of `gaussmix.density`, a Student t of 3 degrees of freedom, here of scale w:
from w to 10^9 w the log-densities differ by 2.6 nats at most. c is the mean, w the standard deviation of all components
with equal weights.

Quantiles of Gaussian mixtures, and draws that follow their parameters (implicit reparameterisation).

    F(x) = sum_i w_i Phi(u_i) = q,   r_i = w_i phi(u_i) / (sigma_i f(x))
    dx/dw_i = -Phi(u_i) / f(x),   dx/dmu_i = r_i,   dx/dsigma_i = r_i u_i,   dx/dq = 1 / f(x)

with w on the simplex. A quantile moves so that F(x) stays q; so does a draw, whose q is that of its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, Concatenate, NamedTuple, ParamSpec, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gaussmix.density.basis import GaussianBasis

REACH = 9.0  # standard deviations beyond which a component has no mass: 2 Phi(-9) = 2e-19
PANEL = 0.5  # the widest panel, in standard deviations of the narrowest component that reaches into it
ORDER = 6  # Gauss-Legendre nodes in a panel: for a Gaussian factor the error is below 1e-15 of its integral
SUM_TOLERANCE = 1e-6  # how far the sum of weights may be off 1, or 64 rounding errors where that is more
LARGEST_LOG_SLOPE = 60.0  # log of the largest derivative of a log-density by a weight of 0; in truth it may be infinite
P = ParamSpec("P")
R = TypeVar("R")
GUARD_WIDTHS, GUARD_RATIO = 16, 4.0  # Gaussians of a guard, and how much wider each is than the one before
_MOST_STEPS = 100


class _Gaussians(NamedTuple):
    means: Tensor
    stds: Tensor


class Components(_Gaussians):
    """Gaussians of one dtype and device; gradients flow into both where they are asked for.

    Parameters
    ----------
    means, stds : Tensor (n,), float32 or float64
        Means and standard deviations, in data units: finite, and the latter positive. ValueError or TypeError for
        others. ``Components._make((means, stds))`` does not look.
    """

    __slots__ = ()

    def __new__(cls, means: Tensor, stds: Tensor) -> Self:
        for name, values in (("means", means), ("stds", stds)):
            if not isinstance(values, Tensor) or values.dtype not in (torch.float32, torch.float64):
                kind = values.dtype if isinstance(values, Tensor) else f"a {type(values).__name__}"
                raise TypeError(f"{name} is {kind}; give a tensor of torch.float32 or torch.float64")
        if means.ndim != 1 or means.shape != stds.shape or not len(means):
            raise ValueError(f"means have shape {tuple(means.shape)} and stds {tuple(stds.shape)}; both must be (n,)")
        if means.dtype != stds.dtype or means.device != stds.device:
            raise TypeError(
                f"means are {means.dtype} on {means.device} and stds {stds.dtype} on {stds.device}; give one kind"
            )
        if not bool(means.detach().isfinite().all()):
            raise ValueError("means contain NaN or infinity; give finite numbers")
        check_positive(stds, "stds", f"standard deviations must be positive and finite in {stds.dtype}")
        return super().__new__(cls, means, stds)

    def standardised(self, x: Tensor) -> Tensor:
        """Return u_i ``(..., n)`` of ``x (...)``."""
        return (x[..., None] - self.means) / self.stds

    def log_densities(self, x: Tensor) -> Tensor:
        """Return the logs ``(..., n)`` of phi(u_i) / sigma_i at ``x (...)``."""
        return -0.5 * self.standardised(x) ** 2 - self.stds.log() - 0.5 * math.log(2 * math.pi)


def check_positive(values: Tensor, name: str, rule: str) -> None:
    """ValueError, which ends in ``rule``, for values that are not positive and finite."""
    seen = values.detach()
    wrong = seen[~((seen > 0) & seen.isfinite())]
    if wrong.numel():
        raise ValueError(f"{name} contains {float(wrong[0]):.6g}; {rule}")


def without_autocast(function: Callable[Concatenate[Tensor, P], R]) -> Callable[Concatenate[Tensor, P], R]:
    """``function`` in the dtype of its first argument also under `torch.autocast`, which would round its products."""

    @wraps(function)
    def call(first: Tensor, *args: P.args, **kwargs: P.kwargs) -> R:
        with torch.autocast(first.device.type, enabled=False):
            return function(first, *args, **kwargs)

    return call


@without_autocast
def quadratic_form(rows: Tensor, matrix: Tensor) -> Tensor:
    """(...) r^T M r of rows (..., n) and a symmetric M (n, n)."""
    return ((rows @ matrix) * rows).sum(-1)


def guard_of(components: Components) -> tuple[Tensor, Components]:
    """Weights (16,) and Gaussians of the guard, as the module's head has them."""
    means, stds = components
    center = means.mean()
    width = (stds**2 + (means - center) ** 2).mean().sqrt()
    ladder = GUARD_RATIO ** torch.arange(GUARD_WIDTHS, dtype=means.dtype, device=means.device)
    masses = ladder**-3
    return masses / masses.sum(), Components._make((center.expand(GUARD_WIDTHS), width * ladder))


def normal_cdf(u: Tensor) -> Tensor:
    """Phi(u), relatively accurate far below 0, which `torch.special.ndtr` is not."""
    return 0.5 * torch.erfc(u * -math.sqrt(0.5))


def normal_pdf(u: Tensor) -> Tensor:
    """phi(u)."""
    return (-0.5 * u * u).exp() / math.sqrt(2 * math.pi)


def components_of(basis: GaussianBasis | Components, like: Tensor) -> Components:
    """The components of ``basis`` in the dtype and on the device of ``like``. ValueError for a basis with bounds."""
    if like.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"the weights are {like.dtype}; give torch.float32 or torch.float64")
    if isinstance(basis, Components):
        means, stds = basis
        if (means.dtype, means.device) == (like.dtype, like.device):
            return basis
    elif isinstance(basis, GaussianBasis):
        if any(bound is not None and math.isfinite(bound) for bound in basis.bounds):
            raise ValueError(
                f"basis has bounds {basis.bounds}, which reflect its Gaussians; gaussmix.nn knows open bases only: "
                "use one without bounds, for example of the logarithms of positive data"
            )
        means, stds = torch.from_numpy(np.array(basis.centers)), torch.from_numpy(np.array(basis.stds))
    else:
        raise TypeError(f"basis is a {type(basis).__name__}; give the GaussianBasis that the weights belong to")
    return Components(means.to(like), stds.to(like))


def normalised(weights: Tensor, n: int, name: str) -> Tensor:
    """``weights`` (..., n), finite, at least 0, with sum 1 to rounding, divided by their sum. Raises ValueError."""
    if weights.ndim == 0 or weights.shape[-1] != n:
        raise ValueError(f"{name} has shape {tuple(weights.shape)}, but the basis has {n} components: give (..., {n})")
    sums = weights.sum(-1, keepdim=True)
    seen = weights.detach()
    if seen.numel():
        low = float(seen.min())
        if not low >= 0:  # NaN as well
            raise ValueError(f"{name} contains {low:.6g}; weights must be finite and not negative")
        off = float((sums.detach() - 1).abs().max())
        if not off <= max(SUM_TOLERANCE, 64 * torch.finfo(weights.dtype).eps):
            raise ValueError(f"{name} has weights whose sum is off 1 by {off:.6g}; they must sum to 1: use softmax")
    return weights / sums


def log_mixture(weights: Tensor, log_terms: Tensor) -> Tensor:
    """(...) log sum_i w_i exp(a_i) of weights (..., n) and a (..., n), without over- or underflow.

    Differentiable also in weights that are 0; there the derivative exp(a_i - result) stops at exp(LARGEST_LOG_SLOPE).
    """
    there = weights > 0
    logs = torch.where(there, weights, 1).log() + log_terms
    top = torch.where(there, logs, -torch.inf).amax(-1, keepdim=True).detach()
    absent = weights * (log_terms - top).clamp(max=LARGEST_LOG_SLOPE).exp()
    return torch.where(there, (torch.where(there, logs, top) - top).exp(), absent).sum(-1).log() + top.squeeze(-1)


def crossing(
    function: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], left: Tensor, right: Tensor, before: Tensor
) -> Tensor:
    """(K,) zeros of a function (x, k) -> (value, slope), of the sign ``before`` on the left and another on the right.

    Newton's method; steps that leave the bracket are replaced by bisection. k are the positions still looked at.
    """
    left, right, x = left.clone(), right.clone(), (left + right) / 2
    close = 4 * torch.finfo(x.dtype).eps * (left.abs() + right.abs() + (right - left))
    k = torch.arange(len(x), device=x.device)
    for _ in range(_MOST_STEPS):
        if not len(k):
            break
        value, slope = function(x[k], k)
        early = value * before[k] > 0
        left[k], right[k] = torch.where(early, x[k], left[k]), torch.where(early, right[k], x[k])
        step = x[k] - value / slope  # slope 0: infinite or NaN, and bisected
        inside = (step >= left[k]) & (step <= right[k])
        step = torch.where(inside, step, (left[k] + right[k]) / 2)
        done = ((step - x[k]).abs() <= close[k]) | (value == 0)
        x[k] = torch.where(value == 0, x[k], step)
        k = k[~done]
    return x


def panel_edges(components: Components) -> Tensor:
    """(m,) increasing points that cover every component's reach in panels narrow enough for it."""
    means, stds = (values.detach().double().cpu().numpy() for values in components)
    return torch.from_numpy(_edges(means.tobytes(), stds.tobytes()).copy()).to(components.means)


def quadrature(components: Components) -> tuple[Tensor, Tensor]:
    """Nodes (m,) and weights (m,) of Gauss-Legendre rules on `panel_edges`."""
    return gauss_legendre(panel_edges(components))


def gauss_legendre(edges: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes (..., `ORDER` (m - 1)) and weights of Gauss-Legendre rules on the panels between edges (..., m)."""
    place, weight = (torch.from_numpy(values).to(edges) for values in np.polynomial.legendre.leggauss(ORDER))
    half = edges.diff()[..., None] / 2
    return (edges[..., :-1, None] + half * (1 + place)).flatten(-2), (half * weight).flatten(-2)


@lru_cache(maxsize=16)
def _edges(means: bytes, stds: bytes) -> NDArray[np.float64]:
    mu, sigma = np.frombuffer(means), np.frombuffer(stds)
    steps = np.arange(-REACH, REACH + PANEL, PANEL)
    points = np.unique(mu[:, None] + sigma[:, None] * steps)
    width = np.full(points.size, np.inf)  # of a panel that begins at this point; infinite where no component reaches
    for i in np.argsort(-sigma):
        first, last = np.searchsorted(points, mu[i] + sigma[i] * steps[[0, -1]])
        width[first:last] = PANEL * sigma[i]
    kept, allowed = [points[0]], np.inf
    for here, after, own in zip(points[:-1].tolist(), points[1:].tolist(), width[:-1].tolist(), strict=True):
        allowed = min(allowed, own)
        if after - kept[-1] > allowed and here > kept[-1]:
            kept.append(here)
            allowed = own
    return np.array([*kept, points[-1]])


# -- quantiles

_FAR = 40.0  # standard deviations beyond which a float64 cdf is 0 or 1
_NUMBERS = 1 << 18  # draws times components at a time in a backward pass


def quantiles(q: Tensor, weights: Tensor, components: Components) -> Tensor:
    """The x with F(x) = q (S..., *batch) of weights (*batch, n), to the rounding of F; its gradients are those above.

    -inf at 0, inf at 1, NaN outside [0, 1].
    """
    x = _found(q.detach(), weights, components)
    return _Follow.apply(x, weights, q, *components)  # pyright: ignore[reportReturnType]


def following(x: Tensor, weights: Tensor, components: Components) -> Tensor:
    """Draws x (S..., *batch) with the gradients above for weights (*batch, n), means and standard deviations."""
    return _Follow.apply(x, weights, None, *components)  # pyright: ignore[reportReturnType]


@torch.no_grad()
def _found(q: Tensor, weights: Tensor, components: Components) -> Tensor:
    means, stds = components
    inside = (q > 0) & (q < 1)
    wanted, rows = q[inside], weights.expand(*q.shape, -1)[inside]
    rounding = 4 * torch.finfo(q.dtype).eps * wanted

    def miss(x: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        mass = (rows[k] * normal_cdf(components.standardised(x))).sum(-1)
        density = (rows[k] * components.log_densities(x).exp()).sum(-1)
        low = wanted[k] < 0.5  # there in logs: far below q, Newton's method on the mass would crawl
        off = torch.where(low, (mass / wanted[k]).log(), mass - wanted[k])
        close = (mass - wanted[k]).abs() <= rounding[k]
        return torch.where(close, 0, off), torch.where(low, density / mass, density)

    ends = (means - _FAR * stds).min(), (means + _FAR * stds).max()
    knots = torch.cat([ends[0][None], panel_edges(components), ends[1][None]])
    below = torch.zeros(len(wanted), dtype=torch.long, device=q.device)
    above = torch.full_like(below, len(knots) - 1)
    for _ in range(math.ceil(math.log2(len(knots)))):  # the panel first: of a guard the ends are 1e10 apart
        middle = (below + above) // 2
        early = (rows * normal_cdf(components.standardised(knots[middle]))).sum(-1) < wanted - rounding
        below, above = torch.where(early, middle, below), torch.where(early, above, middle)
    found = crossing(miss, knots[below], knots[above], -torch.ones_like(wanted))
    limits = torch.where(q == 0, -torch.inf, torch.where(q == 1, torch.inf, torch.nan))
    return limits.to(q).masked_scatter(inside, found)


class _Follow(torch.autograd.Function):
    """x (S..., *batch) as a function of weights (*batch, n), of q = F(x) where it is given, of means and stds (n,).

    The backward uses the output, so that derivatives of any order come out right. It takes draws block by block: its
    memory does not grow with draws times components, unless its own derivative is asked for.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor, q: Tensor | None, means: Tensor, stds: Tensor) -> Tensor:
        x = x.clone()
        ctx.save_for_backward(x, weights, means, stds)
        return x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weights, means, stds = ctx.saved_tensors
        moved = any(ctx.needs_input_grad[3:])
        shape = (math.prod(x.shape[: x.ndim - weights.ndim + 1]), *weights.shape[:-1])
        draws = max(1, _NUMBERS // max(1, weights.numel()))
        sums = [torch.zeros_like(values) for values in (weights, means, stds)]
        per_mass = []
        for block, grad in zip(x.reshape(shape).split(draws), grads[0].reshape(shape).split(draws), strict=True):
            *changes, part = _followed(block, weights, grad, Components._make((means, stds)), moved)
            sums = [total + change for total, change in zip(sums, changes, strict=True)]
            per_mass.append(part)
        of_q = torch.cat(per_mass).reshape(x.shape) if ctx.needs_input_grad[2] else None
        return None, sums[0], of_q, *(sums[1:] if moved else (None, None))


def _followed(
    x: Tensor, weights: Tensor, grad: Tensor, components: Components, moved: bool
) -> tuple[Tensor, Tensor | float, Tensor | float, Tensor]:
    """Gradients of `_Follow` for draws x (S, *batch): weights (*batch, n), means and stds (n,), and q (S, *batch)."""
    u = components.standardised(x)
    parts = weights * components.log_densities(x).exp()
    density = parts.sum(-1)
    per_mass = torch.where(density > 0, grad / density, 0)  # at infinity nothing moves
    # The weights' changes sum to 0, so a constant may be added to Phi: above the middle of a component's mass, the
    # upper tail keeps its digits where 1 - Phi would lose them.
    upper = ((weights * normal_cdf(u)).sum(-1, keepdim=True) > 0.5).to(u)
    tail = normal_cdf((1 - 2 * upper) * u) * (1 - 2 * upper)
    of_weights = -(per_mass[..., None] * tail).sum(0)
    if not moved:
        return of_weights, 0.0, 0.0, per_mass
    shares = (per_mass[..., None] * parts).reshape(-1, weights.shape[-1])
    distance = torch.where(shares == 0, 0, u.reshape(shares.shape))  # infinite u have none
    return of_weights, shares.sum(0), (shares * distance).sum(0), per_mass
