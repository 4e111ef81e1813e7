"""A GMM expansion as a `torch.distributions.Distribution`, with gradients for weights, densities and draws.

    f(x) = sum_i w_i phi(u_i) / sigma_i,   F(x) = sum_i w_i Phi(u_i),   u_i = (x - mu_i) / sigma_i

Only the weights w are learnt (E section 2.1, D Eq. 1). A draw x and a quantile x(q) follow the weights through F
(implicit reparameterisation): dx/dw_i = -Phi(u_i) / f(x), dx/dq = 1 / f(x), with w on the simplex.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.distributions.kl import register_kl

from gaussmix.density.basis import GaussianBasis
from gaussmix.density.discrete import LatticeMixture1D
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.nn.components import Components, components_of, crossing, log_mixture, normal_cdf, normalised
from gaussmix.nn.distances import mixture_entropy, mixture_kl

if TYPE_CHECKING:
    from gaussmix.density.estimator import GMMExpansion

LARGEST_GUARD = 0.01  # mass of a guard that `from_mixture` leaves out; a fitted one has 0.2 / N
_FAR = 40.0  # standard deviations beyond which a float64 cdf is 0 or 1
_NUMBERS = 1 << 18  # draws times components at a time in a backward pass


class ExpansionDistribution(Distribution):
    """Gaussian mixtures on one fixed basis: ``batch_shape`` is what the weights ``(..., n)`` have before n.

    Parameters
    ----------
    basis : GaussianBasis or Components
        The components, without bounds; also a warped basis.
    probs, logits : Tensor (..., n), float32 or float64
        Exactly one of them: weights, at least 0 with sum 1, or their unnormalised logs; ValueError for others.
        Everything follows their dtype and device, and gradients flow into them.
    validate_args : bool, optional
        If False, ``probs`` are divided by their sum without a look.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {  # pyright: ignore[reportIncompatibleMethodOverride]
        "probs": constraints.simplex,
        "logits": constraints.real_vector,
    }
    support = constraints.real  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]
    has_rsample = True

    def __init__(
        self,
        basis: GaussianBasis | Components,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ):
        given = logits if probs is None else probs
        if given is None or (probs is not None and logits is not None):
            raise ValueError(f"{'neither' if given is None else 'both'} of probs and logits are given; give one")
        self.components = components_of(basis, given)
        n = len(self.components.means)
        if given.ndim == 0 or given.shape[-1] != n:
            raise ValueError(
                f"weights have shape {tuple(given.shape)}, but the basis has {n} components: give (..., {n})"
            )
        check = self._validate_args if validate_args is None else validate_args
        self._log_weights: Tensor | None = None
        if probs is not None:
            self.probs = normalised(probs, n, "probs") if check else probs / probs.sum(-1, keepdim=True)
        else:
            if check and not bool(given.isfinite().all()):
                raise ValueError("logits contain NaN or infinity; give finite numbers, or probs for weights that are 0")
            self._log_weights, self.probs = torch.log_softmax(given, -1), torch.softmax(given, -1)
        super().__init__(given.shape[:-1], validate_args=False)
        self._validate_args = check

    @classmethod
    def from_mixture(
        cls,
        mixture: GaussianMixture1D | GMMExpansion,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> ExpansionDistribution:
        """Take the Gaussians of a mixture; ``batch_shape`` is ().

        Parameters
        ----------
        mixture : GaussianMixture1D or GMMExpansion
            A mixture, or a fitted one-column expansion, whose guard, of mass 0.2 / N, is left out; of a discrete one
            the smooth density behind it. ValueError for what Gaussians on the whole line cannot say: bounds, point
            masses, a Student t of more than `LARGEST_GUARD`.
        dtype, device : torch.dtype and torch.device
            Of the weights and the components.
        """
        law = mixture if isinstance(mixture, GaussianMixture1D) else mixture.distribution_
        law = law.continuous if isinstance(law, LatticeMixture1D) else law
        if law.bounds != (-math.inf, math.inf):
            raise ValueError(f"the mixture has bounds {law.bounds}, which torch expansions lack; fit with bounds=None")
        if law.atoms.masses.size:
            raise ValueError(
                f"the mixture has point masses of {law.atoms.masses.sum():.6g}, which have no density; leave those "
                "values out of the data"
            )
        if law.tail.mass > LARGEST_GUARD:
            raise ValueError(
                f"the mixture has a Student t of mass {law.tail.mass:.6g}; at most {LARGEST_GUARD} is left out"
            )
        weights, means, stds = (
            torch.tensor(values, dtype=dtype, device=device) for values in (law.weights, law.means, law.stds)
        )
        return cls(Components(means, stds), probs=normalised(weights, len(means), "weights"))

    def expand(self, batch_shape: Any, _instance: Any = None) -> ExpansionDistribution:
        """Return the same distribution with another ``batch_shape``; memory is shared.

        Parameters
        ----------
        batch_shape : torch.Size
            The new one.
        _instance : optional
            As torch's own distributions have it.
        """
        new: Any = self._get_checked_instance(ExpansionDistribution, _instance)
        shape = torch.Size(batch_shape)
        new.components, new.probs = self.components, self.probs.expand((*shape, -1))
        new._log_weights = None if self._log_weights is None else self._log_weights.expand((*shape, -1))
        Distribution.__init__(new, shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def logits(self) -> Tensor:
        """(..., n) logs of the weights; -inf for a weight of 0."""
        return self.probs.log() if self._log_weights is None else self._log_weights

    @property
    def mean(self) -> Tensor:
        """(...) expectations."""
        return self.probs @ self.components.means

    @property
    def variance(self) -> Tensor:
        """(...) variances."""
        offsets = self.components.means - self.mean[..., None]
        return (self.probs * (self.components.stds**2 + offsets**2)).sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log f(value), by log-sum-exp: finite for every finite value that float arithmetic can square.

        Beyond (half the root of the largest float, in the largest standard deviation) and at infinity it is -inf, with
        gradient 0.
        """
        if self._validate_args:
            self._validate_sample(value)
        largest = math.sqrt(torch.finfo(self.probs.dtype).max)
        beyond = value.abs() > 0.5 * largest * self.components.stds.max()
        logs = self.components.log_densities(torch.where(beyond, 0, value))
        if self._log_weights is not None:
            found = torch.logsumexp(self._log_weights + logs, -1)
        else:
            found = log_mixture(*torch.broadcast_tensors(self.probs, logs))
        return torch.where(beyond, -torch.inf, found)

    def cdf(self, value: Tensor) -> Tensor:
        """Return F(value), relatively accurate where it is small."""
        if self._validate_args:
            self._validate_sample(value)
        return (self.probs * normal_cdf(self.components.standardised(value))).sum(-1)

    def icdf(self, value: Tensor) -> Tensor:
        """Return the x with F(x) = value, to the rounding of F; -inf at 0, inf at 1, NaN outside [0, 1].

        Differentiable in value and weights, any number of times.
        """
        q = value.to(self.probs).expand(torch.broadcast_shapes(value.shape, self.batch_shape))
        return _Follow.apply(self._quantiles(q.detach()), self.probs, q, self.components)  # pyright: ignore[reportReturnType]

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Return draws ``(*sample_shape, *batch_shape)``, differentiable in the weights.

        They come from torch's global generator, as those of `torch.distributions` do: `torch.manual_seed` fixes them,
        and inside `torch.random.fork_rng()` they leave others' draws as they were.

        A component and a normal number decide the value; the derivative -Phi(u_i) / f is that of moving along F, so
        that gradients of expectations are pathwise and unbiased.
        """
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            rows = self.probs.reshape(-1, len(self.components.means))
            count = math.prod(shape) // max(1, len(rows))
            picked = torch.multinomial(rows, max(count, 1), replacement=True)[:, :count].T.reshape(shape)
            means, stds = self.components
            x = means[picked] + stds[picked] * torch.randn(shape, dtype=means.dtype, device=means.device)
        return _Follow.apply(x, self.probs, None, self.components)  # pyright: ignore[reportReturnType]

    def entropy(self) -> Tensor:
        """Return -E log f ``(...)``, in nats, by quadrature."""
        rows = self.probs.reshape(-1, self.probs.shape[-1])
        return mixture_entropy(rows, self.components).reshape(self.batch_shape)

    @torch.no_grad()
    def _quantiles(self, q: Tensor) -> Tensor:
        """The x with F(x) = q (...)."""
        means, stds = self.components
        inside = (q > 0) & (q < 1)
        wanted, rows = q[inside], self.probs.expand(*q.shape, -1)[inside]
        rounding = 4 * torch.finfo(q.dtype).eps * wanted

        def miss(x: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
            mass = (rows[k] * normal_cdf(self.components.standardised(x))).sum(-1)
            density = (rows[k] * self.components.log_densities(x).exp()).sum(-1)
            low = wanted[k] < 0.5  # there in logs: far below q, Newton's method on the mass would crawl
            off = torch.where(low, (mass / wanted[k]).log(), mass - wanted[k])
            close = (mass - wanted[k]).abs() <= rounding[k]
            return torch.where(close, 0, off), torch.where(low, density / mass, density)

        low, high = (means - _FAR * stds).min(), (means + _FAR * stds).max()
        found = crossing(miss, low.expand_as(wanted), high.expand_as(wanted), -torch.ones_like(wanted))
        ends = torch.where(q == 0, -torch.inf, torch.where(q == 1, torch.inf, torch.nan))
        return ends.to(q).masked_scatter(inside, found)


class _Follow(torch.autograd.Function):
    """x (S..., *batch) as a function of weights (*batch, n) and of q = F(x), where q is given.

    The backward uses the output, so that derivatives of any order come out right. It takes draws block by block: its
    memory does not grow with draws times components, unless its own derivative is asked for.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor, q: Tensor | None, components: Components) -> Tensor:
        x = x.clone()
        ctx.save_for_backward(x, weights)
        ctx.components, ctx.follows_q = components, q is not None
        return x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, Tensor | None, None]:
        x, weights = ctx.saved_tensors
        shape = (math.prod(x.shape[: x.ndim - weights.ndim + 1]), *weights.shape[:-1])
        draws = max(1, _NUMBERS // max(1, weights.numel()))
        of_weights, per_mass = torch.zeros_like(weights), []
        for block, grad in zip(x.reshape(shape).split(draws), grads[0].reshape(shape).split(draws), strict=True):
            change, part = _followed(block, weights, grad, ctx.components)
            of_weights = of_weights + change
            per_mass.append(part)
        return None, of_weights, torch.cat(per_mass).reshape(x.shape) if ctx.follows_q else None, None


def _followed(x: Tensor, weights: Tensor, grad: Tensor, components: Components) -> tuple[Tensor, Tensor]:
    """Gradients of `_Follow` for draws x (S, *batch): of the weights (*batch, n) and of q (S, *batch)."""
    u = components.standardised(x)
    density = (weights * components.log_densities(x).exp()).sum(-1)
    per_mass = torch.where(density > 0, grad / density, 0)  # at infinity nothing moves
    # The weights' changes sum to 0, so a constant may be added to Phi: above the middle of a component's mass, the
    # upper tail keeps its digits where 1 - Phi would lose them.
    upper = ((weights * normal_cdf(u)).sum(-1, keepdim=True) > 0.5).to(u)
    tail = normal_cdf((1 - 2 * upper) * u) * (1 - 2 * upper)
    return -(per_mass[..., None] * tail).sum(0), per_mass


@register_kl(ExpansionDistribution, ExpansionDistribution)
def _kl_of_expansions(p: ExpansionDistribution, q: ExpansionDistribution) -> Tensor:
    shape = torch.broadcast_shapes(p.batch_shape, q.batch_shape)
    rows = [law.probs.expand(*shape, -1).reshape(-1, law.probs.shape[-1]) for law in (p, q)]
    return mixture_kl(rows[0], p.components, rows[1], q.components).reshape(shape)
