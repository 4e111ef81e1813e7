"""The Kullback-Leibler divergence of Gaussian mixtures in nats, by Gauss-Legendre quadrature in logs.

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
from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.distributions import Distribution, MixtureSameFamily, Normal
from torch.utils.checkpoint import checkpoint

from gaussmix.nn.components import (
    Components,
    gauss_legendre,
    log_mixture,
    normal_cdf,
    panel_edges,
    quadrature,
    without_autocast,
)

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
