"""A GMM expansion as a `torch.distributions.Distribution`, with gradients for all its parameters and for draws.

    f(x) = sum_i w_i phi(u_i) / (s sigma_i),   F(x) = sum_i w_i Phi(u_i),   u_i = ((x - m) / s - mu_i) / sigma_i

The weights w are learnt (E section 2.1, D Eq. 1); in a regression the basis also moves to a row's location m and scale
s. Draws and quantiles follow the parameters through F (`gaussmix.nn.components`).
"""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, MixtureSameFamily, Normal, constraints
from torch.distributions.kl import register_kl

from gaussmix.density.basis import GaussianBasis
from gaussmix.density.discrete import LatticeMixture1D
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.nn.components import (
    Components,
    check_positive,
    components_of,
    following,
    guard_of,
    log_mixture,
    normal_cdf,
    normalised,
    quantiles,
)
from gaussmix.nn.distances import Rows, gaussians_of, mixture_entropy, mixture_kl, rows_kl
from gaussmix.nn.scores import finite, mixture_crps

if TYPE_CHECKING:
    from gaussmix.density.estimator import GMMExpansion

LARGEST_GUARD = 0.01  # mass of a guard that `from_mixture` leaves out; a fitted one has 0.2 / N


class ExpansionDistribution(Distribution):
    """Gaussian mixtures on one basis, moved row by row where ``loc`` and ``scale`` are given.

    ``batch_shape`` is that of the weights before n, broadcast with ``loc`` and ``scale``.

    Parameters
    ----------
    basis : GaussianBasis or Components
        The components, without bounds; also a warped basis. Gradients flow into the tensors of a `Components`.
    probs, logits : Tensor (..., n), float32 or float64
        Exactly one of them: weights, at least 0 with sum 1, or their unnormalised logs; ValueError for others.
        Everything follows their dtype and device, and gradients flow into them. Logits of half precision, as under
        `torch.autocast`, become float32.
    validate_args : bool, optional
        If False, ``probs`` are divided by their sum, ``loc`` and ``scale`` taken, without a look.
    loc, scale : float or Tensor (...), optional
        The law is that of ``loc + scale u``, u on the basis: in data units, scale positive. 0 and 1 if not given.
    guard : float
        Mass in [0, 1) of a guard against outliers; 0: none. It is fixed in the units of the basis and moves with it: 16
        Gaussians around the mean of the basis, widths w 4^j, masses in the ratio of 64^-j, j = 0..15, w the standard
        deviation of the basis with equal weights. Like a Student t of 3 degrees of freedom, it makes each tenfold
        distance cost 9 nats: with a guard of .002 at 10^3 w 35 nats, at 10^6 w 63, at 10^9 w 90, beside log(w scale).
        It belongs to all that the law says, to moments, quantiles and draws too: its variance is 1.3 w^2.

    Attributes
    ----------
    components : Components
        Gaussians (k,) of the law before it is moved: those of the basis, then those of the guard.
    weights : Tensor (..., k)
        Their weights; ``probs`` and ``logits`` are of the basis alone, with sum 1.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {  # pyright: ignore[reportIncompatibleMethodOverride]
        "probs": constraints.simplex,
        "logits": constraints.real_vector,
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    support = constraints.real  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]
    has_rsample = True

    def __init__(
        self,
        basis: GaussianBasis | Components,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
        *,
        loc: float | Tensor | None = None,
        scale: float | Tensor | None = None,
        guard: float = 0.0,
    ):
        given = logits if probs is None else probs
        if given is None or (probs is not None and logits is not None):
            raise ValueError(f"{'neither' if given is None else 'both'} of probs and logits are given; give one")
        if probs is None and given.dtype in (torch.float16, torch.bfloat16):
            given = given.float()
        components = components_of(basis, given)
        n = len(components.means)
        if given.ndim == 0 or given.shape[-1] != n:
            raise ValueError(
                f"weights have shape {tuple(given.shape)}, but the basis has {n} components: give (..., {n})"
            )
        check = self._validate_args if validate_args is None else validate_args
        log_weights: Tensor | None = None
        if probs is not None:
            weights = normalised(probs, n, "probs") if check else probs / probs.sum(-1, keepdim=True)
        else:
            if check and not bool(given.isfinite().all()):
                raise ValueError("logits contain NaN or infinity; give finite numbers, or probs for weights that are 0")
            log_weights, weights = torch.log_softmax(given, -1), torch.softmax(given, -1)
        place, unit = (
            torch.as_tensor(default if value is None else value, dtype=given.dtype, device=given.device)
            for value, default in ((loc, 0), (scale, 1))
        )
        _check_guard(guard)
        if check:
            if loc is not None and not bool(place.detach().isfinite().all()):
                raise ValueError("loc contains NaN or infinity; give finite numbers")
            if scale is not None:
                check_positive(unit, "scale", "it must be positive and finite: use softplus, or a floor")
        self.guard, self._moves = float(guard), (loc, scale)
        self.components, self._masses = components, self.guard * torch.ones_like(components.means[:0])
        if guard:
            masses, around = guard_of(components)
            self._masses = self.guard * masses
            self.components = Components._make(torch.cat(pair) for pair in zip(components, around, strict=True))
        shape = torch.broadcast_shapes(given.shape[:-1], place.shape, unit.shape)
        self._set_rows(shape, weights, log_weights, place, unit)
        super().__init__(shape, validate_args=False)
        self._validate_args = check

    def _set_rows(self, shape: torch.Size, probs: Tensor, logs: Tensor | None, loc: Tensor, scale: Tensor) -> None:
        self.probs = probs.expand((*shape, -1))
        self._log_probs = None if logs is None else logs.expand((*shape, -1))
        self.loc, self.scale = loc.expand(shape), scale.expand(shape)

    @classmethod
    def from_mixture(
        cls,
        mixture: GaussianMixture1D | GMMExpansion,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
        guard: float = 0.0,
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
        guard : float
            Mass of the guard of Gaussians that stands in for the one left out; none if 0.
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
        return cls(Components(means, stds), probs=normalised(weights, len(means), "weights"), guard=guard)

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
        new.components, new.guard, new._masses, new._moves = self.components, self.guard, self._masses, self._moves
        new._set_rows(shape, self.probs, self._log_probs, self.loc, self.scale)
        Distribution.__init__(new, shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def logits(self) -> Tensor:
        """(..., n) logs of ``probs``; -inf for a weight of 0."""
        return self.probs.log() if self._log_probs is None else self._log_probs

    @property
    def weights(self) -> Tensor:
        """(..., k) weights of ``components``."""
        return self._with_guard((1 - self.guard) * self.probs, self._masses)

    @property
    def mean(self) -> Tensor:
        """(...) expectations."""
        return self.loc + self.scale * self._moments()[0]

    @property
    def variance(self) -> Tensor:
        """(...) variances."""
        return self.scale**2 * self._moments()[1]

    def log_prob(self, value: Tensor | float) -> Tensor:
        """Return log f(value), by log-sum-exp: finite for every finite value that float arithmetic can square.

        Beyond (half the root of the largest float, in the largest standard deviation) and at infinity it is -inf, with
        gradient 0.

        Parameters
        ----------
        value : Tensor or float
            Broadcasts with ``batch_shape``; here and below it takes the weights' dtype.
        """
        value = self._taken(value)
        largest = math.sqrt(torch.finfo(value.dtype).max)
        with torch.no_grad():
            beyond = self._standard(value).abs() > 0.5 * largest * self.components.stds.max()
        logs = self.components.log_densities(self._standard(torch.where(beyond, self.loc.detach(), value)))
        if self._log_probs is not None:
            log_weights = self._with_guard(self._log_probs + math.log1p(-self.guard), self._masses.log())
            found = torch.logsumexp(log_weights + logs, -1)
        else:
            found = log_mixture(*torch.broadcast_tensors(self.weights, logs))
        return torch.where(beyond, -torch.inf, found - self.scale.log())

    def cdf(self, value: Tensor | float) -> Tensor:
        """Return F(value), relatively accurate where it is small.

        Parameters
        ----------
        value : Tensor or float
            Broadcasts with ``batch_shape``.
        """
        u = self.components.standardised(self._standard(self._taken(value)))
        return (self.weights * normal_cdf(u)).sum(-1)

    def icdf(self, value: Tensor | float) -> Tensor:
        """Return the x with F(x) = value, to the rounding of F; -inf at 0, inf at 1, NaN outside [0, 1].

        Differentiable in value and all parameters, any number of times.

        Parameters
        ----------
        value : Tensor or float
            Broadcasts with ``batch_shape``.
        """
        q = torch.as_tensor(value, dtype=self.loc.dtype, device=self.loc.device)
        q = q.expand(torch.broadcast_shapes(q.shape, self.batch_shape))
        return self.loc + self.scale * quantiles(q, self.weights, self.components)

    def crps(self, value: Tensor | float) -> Tensor:
        """Return the continuous ranked probability score at value, in data units, in closed form; lower is better.

        Not in the papers; `gaussmix.nn.scores` has the formula. Differentiable in value and all parameters, any number
        of times. Its mean is a loss that large errors move less than the likelihood.

        Parameters
        ----------
        value : Tensor or float
            Broadcasts with ``batch_shape``; ValueError for NaN and infinity.
        """
        value = self._taken(value)
        standard = self._standard(finite(value) if self._validate_args else value)
        return self.scale * mixture_crps(self.weights, standard, self.components)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Return draws ``(*sample_shape, *batch_shape)``, differentiable in all parameters.

        They come from torch's global generator, as those of `torch.distributions` do: `torch.manual_seed` fixes them,
        and inside `torch.random.fork_rng()` they leave others' draws as they were.

        A component and a normal number decide the value; the derivatives are those of moving along F, so that
        gradients of expectations are pathwise and unbiased.
        """
        shape, weights = self._extended_shape(torch.Size(sample_shape)), self.weights
        with torch.no_grad():
            rows = weights.reshape(-1, weights.shape[-1])
            count = math.prod(shape) // max(1, len(rows))
            picked = torch.multinomial(rows, max(count, 1), replacement=True)[:, :count].T.reshape(shape)
            means, stds = self.components
            x = means[picked] + stds[picked] * torch.randn(shape, dtype=means.dtype, device=means.device)
        return self.loc + self.scale * following(x, weights, self.components)

    def entropy(self) -> Tensor:
        """Return -E log f ``(...)``, in nats, by quadrature."""
        return self._standard_entropy() + self.scale.log()

    def _standard_entropy(self) -> Tensor:
        weights = self.weights
        return mixture_entropy(weights.reshape(-1, weights.shape[-1]), self.components).reshape(self.batch_shape)

    def _moments(self) -> tuple[Tensor, Tensor]:
        """Mean and variance (...) before loc and scale."""
        (means, stds), weights = self.components, self.weights
        mean = (weights * means).sum(-1)
        return mean, (weights * (stds**2 + (means - mean[..., None]) ** 2)).sum(-1)

    def _with_guard(self, rows: Tensor, masses: Tensor) -> Tensor:
        return torch.cat([rows, masses.expand(*rows.shape[:-1], -1)], -1) if self.guard else rows

    def _taken(self, value: Tensor | float) -> Tensor:
        taken = torch.as_tensor(value, dtype=self.loc.dtype, device=self.loc.device)
        if self._validate_args:
            self._validate_sample(taken)
        return taken

    def _standard(self, value: Tensor) -> Tensor:
        loc, scale = self._moves
        value = value if loc is None else value - self.loc
        return value if scale is None else value / self.scale


def _check_guard(guard: float) -> None:
    if not isinstance(guard, Real):
        raise TypeError(f"guard is {guard!r}; give a mass, such as 0.002")
    if not 0 <= guard < 1:
        raise ValueError(f"guard is {guard}; give a mass of at least 0 and below 1, such as 0.002")


@register_kl(ExpansionDistribution, Normal)
def _kl_to_normal(p: ExpansionDistribution, q: Normal) -> Tensor:
    """-H(p) - E log q, to the rounding of these two: nodes for the entropy, the rest in closed form."""
    mean, variance = p._moments()
    loc, scale = (q.loc.to(p.loc) - p.loc) / p.scale, q.scale.to(p.loc) / p.scale
    cross = scale.log() + 0.5 * math.log(2 * math.pi) + (variance + (mean - loc) ** 2) / (2 * scale**2)
    return (cross - p._standard_entropy()).clamp(min=0)


@register_kl(ExpansionDistribution, ExpansionDistribution)
@register_kl(ExpansionDistribution, MixtureSameFamily)
def _kl_from_expansion(p: ExpansionDistribution, q: ExpansionDistribution | MixtureSameFamily) -> Tensor:
    return _kl(p, q, p)


@register_kl(Normal, ExpansionDistribution)
@register_kl(MixtureSameFamily, ExpansionDistribution)
def _kl_to_expansion(p: Normal | MixtureSameFamily, q: ExpansionDistribution) -> Tensor:
    return _kl(p, q, q)


def _kl(p: Distribution, q: Distribution, frame: ExpansionDistribution) -> Tensor:
    """By nodes that all rows share where their Gaussians stand side by side alike, else row by row."""
    shape = torch.broadcast_shapes(p.batch_shape, q.batch_shape)
    first, second = _shared(p, frame, shape), _shared(q, frame, shape)
    if first is None or second is None:
        return rows_kl(_rows(p, frame, shape), _rows(q, frame, shape)).reshape(shape)
    return mixture_kl(*first, *second).reshape(shape)


def _shared(law: Distribution, frame: ExpansionDistribution, shape: torch.Size) -> tuple[Tensor, Components] | None:
    """Weights (B, k) and components (k,) where ``frame`` is not moved; None if those differ from row to row."""
    if isinstance(law, ExpansionDistribution):
        if any(ours is not theirs for ours, theirs in zip(law._moves, frame._moves, strict=True)):
            return None
        weights, components = law.weights, law.components
    elif law.batch_shape or any(move is not None for move in frame._moves):
        return None
    else:
        weights, *values = gaussians_of(law, frame.loc)
        components = Components._make(values)
    return weights.expand(*shape, -1).reshape(-1, weights.shape[-1]), components


def _rows(law: Distribution, frame: ExpansionDistribution, shape: torch.Size) -> Rows:
    """``law``, with ``batch_shape`` broadcast to ``shape``, in the units in which ``frame`` is not moved."""
    if isinstance(law, ExpansionDistribution):
        loc, scale = (law.loc - frame.loc) / frame.scale, law.scale / frame.scale
        rows = law.weights.expand(*shape, -1).reshape(-1, len(law.components.means))
        return Rows.moved(rows, law.components, loc.expand(shape).reshape(-1), scale.expand(shape).reshape(-1))
    weights, means, stds = gaussians_of(law, frame.loc)
    means, stds = (means - frame.loc[..., None]) / frame.scale[..., None], stds / frame.scale[..., None]
    return Rows.of(*(values.expand(*shape, -1).reshape(-1, weights.shape[-1]) for values in (weights, means, stds)))
