"""What can be said of a noisy picture without a network: a linear mean of its condition, linear denoising around it.

With x_0 a vector of numbers (pixels, or those of `PatchCodec`), each of variance ``v`` (total), and

    mu(A, Z) = [1, gated features of Z] B,          r^2 = held-out variance of x_0 - mu,

the ridge regression of x_0 on its condition, the best linear guess of x_0 at the angle a, x_t = cos a x_0 + sin a eps,
is number by number

    x_lin = mu + cos a r^2 / tau (x_t - cos a mu),      tau = cos^2 a r^2 + sin^2 a,

and what it leaves has the standard deviation ``sin a r / sqrt(tau)``. A network that answers ``h`` stands for

    x_0 = x_lin + sin a r / sqrt(tau) h,    or, as v = cos a eps - sin a x_0,
    v   = sin a (cos a (1 - r^2) / tau (x_t - cos a mu) - mu) - r / sqrt(tau) h

without a division by sin a. A network that answers 0 thus draws from a Gaussian whose mean is mu(A, Z): a picture
already, and the control of whatever the network adds. Where the condition is dropped, mu is 0 and r^2 is v. (Related:
the preconditioning of Karras et al. 2022, which knows one variance and no mean.)
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

from gaussmix.latents.attributes import AttributeLatents

_FOLDS, _COPIES = 4, 2
_LEAST = 1e-8  # variance of a number
_MOST_ROWS = 20_000


class Known(NamedTuple):
    """What is known of noisy numbers ``(B, ...)``: the linear guess as ``velocity``, the scale of what is left as
    ``spread`` (v = velocity - spread h), and two views of x_t of variance 1, ``plain`` and ``rest``."""

    velocity: Tensor
    spread: Tensor
    plain: Tensor
    rest: Tensor


class LinearPreconditioner(nn.Module):
    """The linear mean and the variances, as buffers that `fit` finds.

    Parameters
    ----------
    latents : AttributeLatents
        The distribution of Z.
    shape : tuple of int
        Of the numbers of a picture.
    timesteps : int
        T, noise levels.
    """

    coefficients: Tensor  # (F, M), M numbers
    left: Tensor  # (M,), r^2
    total: Tensor  # (M,), v
    weight: Tensor  # (M,), of the numbers in the loss
    alpha_bar: Tensor  # (T,)

    def __init__(self, latents: AttributeLatents, shape: tuple[int, ...], timesteps: int = 100):
        super().__init__()
        self.latents, self.shape = latents, shape
        count = int(torch.Size(shape).numel())
        self.n_features = latents.n_tokens * (1 + latents.latent_dim * (1 + latents.n_components))
        self.register_buffer("coefficients", torch.zeros(self.n_features, count))
        self.register_buffer("left", torch.ones(count))
        self.register_buffer("total", torch.ones(count))
        self.register_buffer("weight", torch.ones(count))
        self.register_buffer("alpha_bar", torch.linspace(0.999, 0.001, timesteps))

    def features(self, attributes: Tensor, latents: Tensor) -> Tensor:
        """Return ``(B, F)``: of each active token 1, its Z and the probabilities of its components; else 0."""
        gate = attributes.to(latents.dtype)
        if self.latents.base_token:
            gate = torch.cat([gate, gate.new_ones(len(gate), 1)], 1)
        parts = [torch.ones_like(latents[:, :, :1]), latents, self.latents.responsibilities(latents).flatten(2)]
        return (torch.cat(parts, 2) * gate[:, :, None]).flatten(1)

    def mean(self, attributes: Tensor, latents: Tensor) -> Tensor:
        """Return mu ``(B, *shape)`` of A ``(B, K)`` and Z ``(B, T, N)``."""
        return (self.features(attributes, latents) @ self.coefficients).unflatten(1, self.shape)

    @torch.no_grad()
    def fit(
        self,
        numbers: Tensor,
        attributes: Tensor,
        latents: Tensor,
        alpha_bar: Tensor,
        *,
        effort: Tensor,
        redraw: float = 0.3,
        ridge: float = 3.0,
        linear_mean: bool = True,
        seed: int = 0,
    ) -> None:
        """Learn from the numbers ``(N, *shape)`` of pictures with A ``(N, K)`` and Z ``(N, T, N)``.

        Parameters
        ----------
        numbers, attributes, latents : tensor
            Of the pictures.
        alpha_bar : tensor
            ``(T,)``, the noise levels.
        effort : tensor
            ``(M,)``, weights of the numbers in the loss, before they are multiplied by the share that is left.
        redraw : float
            Share of details of Z that are drawn anew, as in training.
        ridge : float
            In pictures: so many more, without a mean, would pull the coefficients to 0 as much.
        linear_mean : bool
            Otherwise the mean stays 0, and variances alone are known.
        seed : int
            Of the details.
        """
        if not bool((effort > 0).any()):
            raise ValueError("all pictures are the same; there is nothing to learn from them")
        self.alpha_bar.copy_(alpha_bar)
        generator = Generator().manual_seed(seed)
        numbers = numbers.flatten(1)
        self.total.copy_(numbers.var(0).clamp(min=_LEAST))
        fold = torch.arange(len(numbers)) % _FOLDS
        grams, products, views = [], [], []
        for f in range(_FOLDS):
            a, z, y = (
                each[fold == f].repeat(_COPIES, *[1] * (each.ndim - 1)) for each in (attributes, latents, numbers)
            )
            view = self.features(a, redraw_details(self.latents, z, redraw, generator))
            grams.append((view.T @ view).double())
            products.append((view.T @ y).double())
            views.append((view, y))
        penalty = _COPIES * ridge * torch.eye(self.n_features, dtype=torch.float64)
        gram, product = sum(grams, penalty), sum(products, torch.zeros_like(products[0]))
        errors = []
        for f, (view, y) in enumerate(views):  # out of fold
            errors.append(y - view @ torch.linalg.solve(gram - grams[f], product - products[f]).float())
        self.left.copy_(self.total)
        if linear_mean:
            self.coefficients.copy_(torch.linalg.solve(gram, product))
            self.left.copy_(torch.minimum(torch.cat(errors).pow(2).mean(0).clamp(min=_LEAST), self.total))
        weight = effort * self.left / self.total
        self.weight.copy_(weight / weight.mean())

    def check(self) -> None:
        """Raise ValueError for variances and noise levels that cannot be, as a damaged file may hold."""
        within = (self.alpha_bar > 0).all() and (self.alpha_bar < 1).all()
        if not bool(within and (self.left > 0).all() and (self.total > 0).all()):
            raise ValueError("its variances or noise levels are out of range")

    def loss_weights(self, timestep: Tensor, dropped: Tensor) -> Tensor:
        """Return the weights ``(B, *shape)`` of squared errors of v: those of the answers' own errors.

        Parameters
        ----------
        timestep, dropped : tensor
            ``(B,)``, and ``(B,)`` bool, pictures that see no condition.
        """
        alpha_bar = self.alpha_bar[timestep].view(-1, 1)
        left = torch.where(dropped.view(-1, 1), self.total, self.left)
        return (self.weight * (alpha_bar * left + 1 - alpha_bar) / left).unflatten(1, self.shape)

    def forward(
        self,
        noisy: Tensor,
        timestep: Tensor | int,
        attributes: Tensor,
        latents: Tensor,
        dropped: Tensor | None = None,
    ) -> Known:
        """Return what is known of x_t ``(B, *shape)``; in full precision, under autocast too.

        Parameters
        ----------
        noisy, timestep : tensor, tensor or int
            x_t, and one step for all or ``(B,)``.
        attributes, latents : tensor
            A ``(B, K)`` and Z ``(B, T, N)``.
        dropped : tensor, optional
            ``(B,)`` bool, pictures that see no condition.
        """
        with torch.autocast(noisy.device.type, enabled=False):
            alpha_bar = self.alpha_bar[torch.as_tensor(timestep, device=noisy.device).expand(len(noisy))]
            return self._known(noisy, alpha_bar, self.mean(attributes, latents), dropped)

    def _known(self, noisy: Tensor, alpha_bar: Tensor, mean: Tensor, dropped: Tensor | None) -> Known:
        cos, sin = (each.sqrt().view(-1, *[1] * len(self.shape)) for each in (alpha_bar, 1 - alpha_bar))
        left, total = self.left.view(self.shape), self.total.view(self.shape)
        if dropped is not None:
            hidden = dropped.view(cos.shape)
            mean, left = torch.where(hidden, torch.zeros_like(mean), mean), torch.where(hidden, total, left)
        spread = cos**2 * left + sin**2
        rest = noisy - cos * mean
        velocity = sin * (cos * (1 - left) / spread * rest - mean)
        plain = noisy / (cos**2 * total + sin**2).sqrt()
        return Known(velocity, (left / spread).sqrt(), plain, rest / spread.sqrt())


def some_rows(count: int, seed: int) -> Tensor:
    """Places of at most 20 000 of so many pictures, at random, in order: enough to learn linear formulas from."""
    return torch.randperm(count, generator=Generator().manual_seed(seed))[:_MOST_ROWS].sort().values


def redraw_details(distribution: AttributeLatents, latents: Tensor, share: float, generator: Generator) -> Tensor:
    """Z ``(B, T, N)`` with new numbers after the first in a ``share`` of the tokens; in the base token all are details.

    So whoever learns from Z goes by the component of z_1 where details that were drawn independently speak against it.
    """
    fresh = distribution.draw(len(latents), generator)
    first = torch.zeros(latents.shape[1:], dtype=torch.bool, device=latents.device)
    first[: distribution.n_attributes, 0] = True
    chosen = torch.rand(latents.shape[:2], generator=generator, device=latents.device) < share
    return torch.where(chosen[:, :, None] & ~first, fresh, latents)
