"""Distances of Gaussian mixtures that share a basis, differentiable in their weights and in the basis.

    delta = p - q,   D(x) = sum_i delta_i Phi((x - mu_i) / sigma_i)
    W1    = integral |D| dx = sum_i delta_i w_i,   w_i = dW1/d delta_i = integral sign(D) Phi((x - mu_i) / sigma_i) dx
    KL    = integral f_p log(f_p / f_q) dx
    MMD^2 = sum_ij delta_i delta_j s / s_ij exp(-(mu_i - mu_j)^2 / (2 s_ij^2)),   s_ij^2 = s^2 + sigma_i^2 + sigma_j^2

p, q: weights (..., n), at least 0, with sum 1, float32 or float64 (as from a softmax); they are broadcast, and the
results have the shape before n. What is off 1 by rounding is divided by the sum, so that gradients have no component
along p or q. Between zeros of D the integrals w_i are differences of sigma Psi(u), Psi(u) = u Phi(u) + phi(u): W1 is
that of the smooth mixtures, not of point masses at the centres, and its gradient is exact. All are 0, with finite
gradients, where p == q. Gradients flow into means and standard deviations too, where the basis is a `Components` that
asks for them. `gaussmix.distances` has the same for NumPy, and for laws of different bases.

The Kullback-Leibler divergence of Gaussian mixtures in nats, by Gauss-Legendre quadrature in logs.

    KL = integral f log(f / g) dx = integral f (e^t - 1 - t) dx,   t = log g - log f

The second form has no negative terms, so that nearly equal laws keep their digits. Panels are at most half a standard
deviation wide wherever a Gaussian of either law reaches: the tests hold it to 1e-8 of the integral in float64. All
weights, means and standard deviations get gradients; the nodes stay where they are.

Laws on shared components have shared nodes, and densities are products of matrices. Rows of laws that moved apart have
nodes of their own: a hundred times the work, a thousand times where both have guards, in blocks whose memory is freed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Real
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor
from torch.distributions import Distribution, MixtureSameFamily, Normal
from torch.utils.checkpoint import checkpoint

from gaussmix.density.basis import GaussianBasis
from gaussmix.nn.components import (
    Components,
    components_of,
    crossing,
    gauss_legendre,
    log_mixture,
    normal_cdf,
    normal_pdf,
    normalised,
    panel_edges,
    quadratic_form,
    quadrature,
    without_autocast,
)

_NOISE = 8.0  # |D| below this many rounding errors of sum |delta| has no sign


def wasserstein_distance(p: Tensor, q: Tensor, basis: GaussianBasis | Components) -> Tensor:
    """Return W1 of the mixtures with weights p and q on ``basis``, in data units.

    Once and twice differentiable where D has simple zeros; at p == q the gradient given is 0 (a subgradient).

    Parameters
    ----------
    p, q : Tensor (..., n)
        Weights, which broadcast.
    basis : GaussianBasis or Components
        The components, without bounds. ValueError or TypeError for others, and for what are no weights on it.
    """
    components = components_of(basis, p)
    first, second, shape = _pairs(p, q, components)
    return _AbsoluteDifference.apply(first - second, *components).reshape(shape)  # pyright: ignore[reportOptionalMemberAccess]


def gaussian_mmd2(p: Tensor, q: Tensor, basis: GaussianBasis | Components, sigma: float) -> Tensor:
    """Return the squared maximum mean discrepancy: a quadratic form in p - q; rounding below 0 is set to 0.

    Parameters
    ----------
    p, q : Tensor (..., n)
        Weights, which broadcast.
    basis : GaussianBasis or Components
        The components, without bounds.
    sigma : float
        Standard deviation of the kernel exp(-(x - y)^2 / (2 sigma^2)), in data units; positive in the weights' dtype.
    """
    if not isinstance(sigma, Real):
        raise TypeError(f"sigma is {sigma!r}; give a positive standard deviation in the units of the data")
    components = components_of(basis, p)
    width = torch.tensor(float(sigma), dtype=torch.float64).to(components.means)
    if not torch.finfo(p.dtype).tiny <= float(width) < math.inf:
        raise ValueError(f"sigma is {sigma}; give a positive standard deviation in the units of the data")
    first, second, shape = _pairs(p, q, components)
    means, stds = components
    spread = torch.hypot(torch.hypot(stds[:, None], stds), width)
    kernel = width / spread * (-0.5 * ((means[:, None] - means) / spread) ** 2).exp()
    return quadratic_form(first - second, kernel).clamp(min=0).reshape(shape)


def kl_divergence(p: Tensor, q: Tensor, basis: GaussianBasis | Components) -> Tensor:
    """Return KL(p || q) in nats of the mixtures with weights p and q, by Gauss-Legendre quadrature in logs.

    Finite and differentiable also where p and q have no component in common: Gaussians overlap everywhere.

    Parameters
    ----------
    p, q : Tensor (..., n)
        Weights, which broadcast.
    basis : GaussianBasis or Components
        The components, without bounds.
    """
    components = components_of(basis, p)
    first, second, shape = _pairs(p, q, components)
    return mixture_kl(first, components, second, components).reshape(shape)


def _pairs(p: Tensor, q: Tensor, components: Components) -> tuple[Tensor, Tensor, torch.Size]:
    """p and q as (B, n), and the shape that B stands for."""
    n = len(components.means)
    if p.dtype != q.dtype:
        raise TypeError(f"p is {p.dtype} and q is {q.dtype}; give both in one dtype")
    first, second = torch.broadcast_tensors(normalised(p, n, "p"), normalised(q, n, "q"))
    return first.reshape(-1, n), second.reshape(-1, n), first.shape[:-1]


class _AbsoluteDifference(torch.autograd.Function):
    """(B,) integral |D| of delta (B, n), whose rows sum to 0, on means and standard deviations (n,)."""

    @staticmethod
    def forward(ctx: Any, delta: Tensor, means: Tensor, stds: Tensor) -> Tensor:
        components = Components._make((means, stds))
        ctx.found = _sign_changes(delta, components)
        ctx.save_for_backward(delta, means, stds)
        return (delta * _slopes(delta, components, *ctx.found)[0]).sum(-1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        delta, means, stds = ctx.saved_tensors
        moved = any(ctx.needs_input_grad[1:])
        slopes, *others = _slopes(delta, Components._make((means, stds)), *ctx.found, moved=moved)
        grad = grads[0][:, None]
        return grad * slopes, *((grad * delta * each).sum(0) if moved else None for each in others)


def _slopes(
    delta: Tensor,
    components: Components,
    zero: Tensor,
    row: Tensor,
    before: Tensor,
    last: Tensor,
    *,
    moved: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """(B, n) w_i = integral sign(D) Phi_i dx up to a constant, which rows of sum 0 do not see; dw/dmu and dw/dsigma.

    D changes its sign at ``zero`` (K,) of a row (K,), from ``before`` (K,), and ends on ``last`` (B,). Where gradients
    are asked for, the zeros move with delta, means and standard deviations: dz = -dD(z) / D'(z). The last two results
    are right where ``moved``.
    """
    means, stds = components
    if torch.is_grad_enabled() and (delta.requires_grad or means.requires_grad or stds.requires_grad):
        u = components.standardised(zero)
        slope = (delta[row] * normal_pdf(u) / stds).sum(-1).detach()
        step = torch.where(slope == 0, 0, -(delta[row] * normal_cdf(u)).sum(-1) / slope)
        zero = zero + (step - step.detach())
    u = components.standardised(zero)
    cdf, pdf = normal_cdf(u), normal_pdf(u)
    jump = 2 * before[:, None]
    slopes = (-last[:, None] * (means - means.mean())).index_add(0, row, jump * stds * (u * cdf + pdf))
    if not moved:
        return slopes, slopes, slopes
    of_means = (-last[:, None]).expand_as(delta).index_add(0, row, -jump * cdf)
    return slopes, of_means, torch.zeros_like(delta).index_add(0, row, jump * pdf)


@torch.no_grad()
@without_autocast
def _sign_changes(delta: Tensor, components: Components) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What `_slopes` takes, by panels of half a standard deviation; of two zeros in one by the extremum between."""
    edges = panel_edges(components)
    u = components.standardised(edges)
    value, slope = delta @ normal_cdf(u).T, delta @ (normal_pdf(u) / components.stds).T
    noise = _NOISE * torch.finfo(delta.dtype).eps * delta.abs().sum(-1, keepdim=True)
    sign = _filled(torch.where(value.abs() > noise, value.sign(), 0))
    here, after = sign[:, :-1], sign[:, 1:]
    row, panel = (here != after).nonzero(as_tuple=True)
    left, right = edges[panel], edges[panel + 1]

    reach = 2 * slope.abs() * edges.diff().amax()  # twice what a straight line comes down over a panel
    low = value.abs() < reach
    dips = (here == after) & (here * slope[:, :-1] < 0) & (here * slope[:, 1:] > 0) & low[:, :-1] & low[:, 1:]
    dip_row, dip_panel = dips.nonzero(as_tuple=True)
    side, first, last = here[dip_row, dip_panel], edges[dip_panel], edges[dip_panel + 1]
    lowest = crossing(lambda x, k: _derivatives(x, delta[dip_row[k]], components)[1:], first, last, -side)
    below = _derivatives(lowest, delta[dip_row], components)[0] * side < -noise[dip_row, 0]
    dip_row, first, last, lowest, side = (part[below] for part in (dip_row, first, last, lowest, side))
    before = torch.cat([here[row, panel], side, -side])
    row = torch.cat([row, dip_row, dip_row])
    left, right = torch.cat([left, first, lowest]), torch.cat([right, lowest, last])
    zero = crossing(lambda x, k: _derivatives(x, delta[row[k]], components)[:2], left, right, before)
    return zero, row, before, sign[:, -1]


def _filled(sign: Tensor) -> Tensor:
    """(B, m) signs with each 0 replaced by the sign before it, or by the first one where there is none."""
    place = torch.arange(sign.shape[1], device=sign.device)
    latest = torch.where(sign != 0, place, 0).cummax(-1).values
    first = (sign != 0).to(torch.uint8).argmax(-1, keepdim=True)
    return sign.gather(1, torch.maximum(latest, first))


def _derivatives(x: Tensor, delta: Tensor, components: Components) -> tuple[Tensor, Tensor, Tensor]:
    """(K,) D, D' and D'' at x (K,) for the rows delta (K, n)."""
    u = components.standardised(x)
    parts = delta * normal_pdf(u) / components.stds
    return (delta * normal_cdf(u)).sum(-1), parts.sum(-1), -(parts * u / components.stds).sum(-1)


# -- Kullback-Leibler

_NUMBERS = 1 << 22  # nodes times components of a block of rows


class Rows(NamedTuple):
    """Gaussian mixtures, one a row: weights, means and standard deviations (B, n), and edges (B, m) of panels."""

    weights: Tensor
    means: Tensor
    stds: Tensor
    edges: Tensor

    @classmethod
    def moved(cls, weights: Tensor, components: Components, loc: Tensor, scale: Tensor) -> Self:
        """Rows of weights (B, n) on components (n,), moved by loc and scale (B,)."""
        means, stds = (loc[:, None] + scale[:, None] * components.means, scale[:, None] * components.stds)
        edges = loc.detach()[:, None] + scale.detach()[:, None] * panel_edges(components)
        return cls(weights, means, stds, edges)

    @classmethod
    def of(cls, weights: Tensor, means: Tensor, stds: Tensor) -> Self:
        """Rows of any Gaussians (B, n)."""
        one = Components._make((means.new_zeros(1), means.new_ones(1)))
        edges = means.detach()[..., None] + stds.detach()[..., None] * panel_edges(one)
        return cls(weights, means, stds, edges.flatten(1))

    def block(self, rows: slice) -> Self:
        """Some of the rows."""
        return self._make(values[rows] for values in self)

    def log_density(self, x: Tensor) -> Tensor:
        """(B, m) log-densities at x (B, m)."""
        logs = Components._make((self.means[:, None], self.stds[:, None])).log_densities(x)
        return log_mixture(*torch.broadcast_tensors(self.weights[:, None], logs))


def gaussians_of(law: Distribution, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, means and standard deviations (..., k) of a Normal or of a mixture of them, in the dtype of ``like``."""
    if isinstance(law, Normal):
        values = torch.ones_like(law.loc)[..., None], law.loc[..., None], law.scale[..., None]
    else:
        assert isinstance(law, MixtureSameFamily)
        parts = law.component_distribution
        if not isinstance(parts, Normal):
            raise NotImplementedError(
                f"the mixture has components {type(parts).__name__}; the KL divergence to and from an "
                "ExpansionDistribution knows Normal alone"
            )
        values = law.mixture_distribution.probs, parts.loc, parts.scale
    weights, means, stds = (part.to(like) for part in values)
    return weights, means, stds


def rows_kl(p: Rows, q: Rows) -> Tensor:
    """(B,) KL of each row of p to that of q."""
    if not len(p.weights):
        return p.weights.sum(1)
    n_rows, nodes = len(p.weights), p.edges.shape[1] + q.edges.shape[1]
    size = max(1, _NUMBERS // (6 * nodes * max(p.means.shape[1], q.means.shape[1])))
    blocks = [slice(start, start + size) for start in range(0, n_rows, size)]
    if len(blocks) < 2:
        return _rows_kl(*p, *q)
    found: Iterable[Tensor] = (
        checkpoint(_rows_kl, *p.block(rows), *q.block(rows), use_reentrant=False) for rows in blocks
    )
    return torch.cat(list(found))


def _rows_kl(*laws: Tensor) -> Tensor:
    p, q = Rows(*laws[:4]), Rows(*laws[4:])
    low, high = p.edges.amin(1, keepdim=True), p.edges.amax(1, keepdim=True)
    edges = torch.cat([p.edges, q.edges], 1)
    inside = (edges >= low) & (edges < high)
    edges = torch.where(inside, edges, high).sort(1).values[:, : int(inside.sum(1).max()) + 1]
    x, dx = gauss_legendre(edges)
    log_f, log_g = p.log_density(x), q.log_density(x)
    terms = _terms(log_f.exp(), log_g.exp(), log_g - log_f, torch.ones_like(x, dtype=torch.bool))
    outside = normal_cdf((low - q.means) / q.stds) + normal_cdf((q.means - high) / q.stds)
    return ((terms * dx).sum(1) + (q.weights * outside).sum(1)).clamp(min=0)  # there f is 0, and the term g


def _terms(f: Tensor, g: Tensor, t: Tensor, known: Tensor) -> Tensor:
    """f (e^t - 1 - t) = g - f - f t, of which the first does not cancel; where t is ``known``."""
    close = (t.abs() <= 1) & known
    near = torch.where(close, t, 0)
    return torch.where(close, f * (near.expm1() - near), g - f - f * t)


@without_autocast
def mixture_kl(p: Tensor, ours: Components, q: Tensor, theirs: Components) -> Tensor:
    """(B,) KL of the mixtures with weights (B, n) on ``ours`` to those with weights (B, k) on ``theirs``."""
    union = Components._make(torch.cat(pair) for pair in zip(ours, theirs, strict=True))
    x, dx = quadrature(union)
    f, log_f, empty = _density(p, ours, x)
    g, log_g, lost = _density(q, theirs, x)
    row, node = (lost & ~empty).nonzero(as_tuple=True)
    if len(row):  # far from all that q has, and p has something there
        log_g = log_g.index_put((row, node), log_mixture(q[row], theirs.log_densities(x[node])))
    terms = _terms(f, g, log_g - log_f, ~empty & ~lost)
    return (terms @ dx).clamp(min=0)  # what lies below the floors could put it that far below 0


@without_autocast
def mixture_entropy(p: Tensor, components: Components) -> Tensor:
    """(B,) -integral f log f dx, in nats, of weights (B, n)."""
    x, dx = quadrature(components)
    f, log_f, _ = _density(p, components, x)
    return -(f * log_f) @ dx


def _density(weights: Tensor, components: Components, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, m) density at ``x`` (m,), its log, and where it is lost: below the floor, where the log stops.

    The floor is a share of the highest component's density at that point: 1e-154 in float64, 1e-19 in float32.
    """
    logs = components.log_densities(x)
    top = logs.amax(-1)
    relative = weights @ (logs - top[:, None]).exp().T
    floor = math.sqrt(torch.finfo(relative.dtype).tiny)
    return relative * top.exp(), relative.clamp(min=floor).log() + top, relative < floor
