"""Quantiles of Gaussian mixtures, and draws that follow their parameters (implicit reparameterisation).

    F(x) = sum_i w_i Phi(u_i) = q,   r_i = w_i phi(u_i) / (sigma_i f(x))
    dx/dw_i = -Phi(u_i) / f(x),   dx/dmu_i = r_i,   dx/dsigma_i = r_i u_i,   dx/dq = 1 / f(x)

with w on the simplex. A quantile moves so that F(x) stays q; so does a draw, whose q is that of its place.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from gaussmix.nn.components import Components, crossing, normal_cdf, panel_edges

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
