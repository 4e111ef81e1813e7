"""Attribute latents: every attribute of an image is a distribution, not one fixed embedding (D Sec. 3.1, Eq. 9).

    Z_k = (z_1, ..., z_N),   z_n ~ GMM(pi_k, mu, sigma),   calZ = (A_1 Z_1, ..., A_K Z_K)

with ``A_k = 1`` where the image has attribute ``k``. The mixture has ``C`` components whose means lie ``separation``
standard deviations apart, symmetric about zero, scaled to unit variance:

    mu_c = sigma * separation * (c - (C-1)/2),   sigma = 1 / sqrt(1 + separation^2 (C^2-1)/12).

Differs from the paper: it asks for a distance of the means "larger than sigma", but three modes only appear from
2.1 sigma on; 3 is the default. An optional *base token* (index K) belongs to every image and carries what no attribute
speaks of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from gaussmix._typing import FloatArray


@dataclass(frozen=True)
class AttributeLatents:
    """The distribution of Z for ``n_attributes`` binary attributes.

    ``T`` below is the number of tokens, K or K + 1.

    Parameters
    ----------
    n_attributes : int
        K.
    latent_dim : int, default 8
        N, numbers of each attribute.
    n_components : int, default 3
        C, Gaussians in the mixture.
    separation : float, default 3.0
        Distance between neighbouring means in standard deviations.
    base_token : bool, default False
        Add one latent vector that is always active.
    shares : tuple of tuple of float, optional
        Mixture weights ``(T, C)`` of ``z_1`` of each token, rows summing to one; equal if not given. Matched latents
        set them to the shares of the modes found in the data. ``z_2 ... z_N`` keep equal weights.
    """

    n_attributes: int
    latent_dim: int = 8
    n_components: int = 3
    separation: float = 3.0
    base_token: bool = False
    shares: tuple[tuple[float, ...], ...] | None = None

    def __post_init__(self):
        for name in ("n_attributes", "latent_dim", "n_components"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not (np.isfinite(self.separation) and self.separation >= 0):
            raise ValueError(f"separation is {self.separation}; it must be a finite number of sigmas, 0 or more")
        if self.shares is not None:
            shares = np.asarray(self.shares, float)
            expected = (self.n_tokens, self.n_components)
            if shares.shape != expected:
                raise ValueError(f"shares have shape {shares.shape}; expected (tokens, components) = {expected}")
            if (shares < 0).any() or not np.allclose(shares.sum(1), 1, atol=1e-6):
                raise ValueError("shares must not be negative and each row must sum to 1")
            object.__setattr__(self, "shares", tuple(tuple(float(s) for s in row) for row in shares))

    @property
    def n_tokens(self) -> int:
        """T, the number of tokens."""
        return self.n_attributes + int(self.base_token)

    @property
    def sigma(self) -> float:
        """Standard deviation of each component."""
        return float(1 / np.sqrt(1 + self.separation**2 * (self.n_components**2 - 1) / 12))

    @property
    def means(self) -> NDArray[np.floating]:
        """Means ``(C,)`` of the components, ascending."""
        return self.sigma * self.separation * (np.arange(self.n_components) - (self.n_components - 1) / 2)

    def gate(self, attributes: ArrayLike | torch.Tensor) -> torch.Tensor:
        """Return which tokens are active: ``(B, K)`` of 0/1 to ``(B, T)`` float32, the base token always being so."""
        gate = torch.as_tensor(attributes).to(torch.float32)
        if gate.ndim != 2 or gate.shape[1] != self.n_attributes:
            raise ValueError(f"attributes have shape {tuple(gate.shape)}; expected (batch, {self.n_attributes})")
        if not ((gate == 0) | (gate == 1)).all():
            raise ValueError("attributes must be 0 or 1")
        return torch.cat([gate, gate.new_ones(len(gate), 1)], 1) if self.base_token else gate

    def draw(
        self, count: int, generator: torch.Generator | None = None, components: Mapping[int, int] | None = None
    ) -> torch.Tensor:
        """Draw ungated Z ``(B, T, N)`` float32, all tokens and numbers independent.

        Parameters
        ----------
        count : int
            How many, B.
        generator : torch.Generator, optional
            Of the random numbers; its device is that of Z.
        components : mapping of int to int, optional
            The component of ``z_1`` for some tokens, ``{token: component}``; all else stays as without it. It is drawn
            from its `band` of the mixture and not from its Gaussian, whose tails lie among its neighbours' values:
            nobody could tell from ``z_1`` that they are not theirs.
        """
        shape = (count, self.n_tokens, self.latent_dim)
        device = generator.device if generator is not None else "cpu"
        picked = torch.randint(0, self.n_components, shape, generator=generator, device=device)
        if self.shares is not None and count:
            table = torch.tensor(self.shares, device=device)
            picked[:, :, 0] = torch.multinomial(table, count, replacement=True, generator=generator).T
        means = torch.tensor(self.means, dtype=torch.float32, device=device)
        latents = means[picked] + self.sigma * torch.randn(shape, generator=generator, device=device)
        for token, component in (components or {}).items():
            low, high = self.band(token, component)
            uniform = torch.rand(count, generator=generator, device=device).cpu().numpy()
            values = self.quantile(low + (high - low) * uniform, self.weights(token))
            latents[:, token, 0] = torch.from_numpy(values).to(latents)
        return latents

    def weights(self, token: int) -> FloatArray:
        """Return the weights ``(C,)`` of the mixture of ``z_1`` of a token."""
        if self.shares is None:
            return np.full(self.n_components, 1 / self.n_components)
        return np.array(self.shares[token])

    def band(self, token: int, component: int) -> tuple[float, float]:
        """Return the probabilities between which ``z_1`` of a token lies in one of its components.

        Component ``c`` owns the quantiles from ``pi_0 + ... + pi_{c-1}`` to ``pi_0 + ... + pi_c``: its Gaussian, but
        for the tails, which nearly all lie there when ``separation`` is 3 or more.

        Parameters
        ----------
        token, component : int
            Which, from 0. Raises ValueError for a component that does not exist, or never occurs.
        """
        if not 0 <= component < self.n_components:
            raise ValueError(f"component {component} does not exist; there are {self.n_components}, from 0")
        weights = self.weights(token)
        if weights[component] == 0:
            raise ValueError(f"component {component} of token {token} has share 0; choose one that occurs in the data")
        return float(weights[:component].sum()), float(weights[: component + 1].sum())

    def components(self, latents: torch.Tensor) -> NDArray[np.intp]:
        """Return the component in whose `band` ``z_1`` lies: ``(B, T, N)`` to ``(B, T)``."""
        first = latents[:, :, 0].cpu().numpy()
        edges = [self.quantile(np.cumsum(w)[:-1], w) for w in map(self.weights, range(self.n_tokens))]
        return np.stack([np.searchsorted(edge, column) for edge, column in zip(edges, first.T, strict=True)], 1)

    def sample(
        self,
        attributes: ArrayLike | torch.Tensor,
        generator: torch.Generator | None = None,
        components: Mapping[int, int] | None = None,
    ) -> torch.Tensor:
        """Draw calZ of Eq. 9, ``(B, T, N)``, which is zero where an attribute is absent.

        Parameters
        ----------
        attributes : array_like or torch.Tensor
            Of shape ``(B, K)``, 0 or 1.
        generator : torch.Generator, optional
            As of `draw`.
        components : mapping of int to int, optional
            As of `draw`.
        """
        gate = self.gate(attributes)
        latents = self.draw(len(gate), generator, components)
        return latents * gate[:, :, None].to(latents.device)

    def fixed(self, indices: ArrayLike, seed: int = 0) -> torch.Tensor:
        """Return the paper's pairing: image ``i`` has one Z for ever, drawn from ``(seed, i)``.

        Parameters
        ----------
        indices : array_like
            Numbers ``(B,)`` of the images. Z is ``(B, T, N)``, ungated.
        seed : int, default 0
            Of the random numbers.
        """
        rows = []
        for index in np.atleast_1d(np.asarray(indices)):
            state = np.random.SeedSequence([seed, int(index)]).generate_state(2, np.uint32)
            generator = torch.Generator().manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)
            rows.append(self.draw(1, generator))
        return torch.cat(rows)

    def responsibilities(self, latents: torch.Tensor) -> torch.Tensor:
        """Return each component's probability given the value, for equal weights: ``(..., N)`` to ``(..., N, C)``."""
        means = torch.as_tensor(self.means, dtype=latents.dtype, device=latents.device)
        return torch.softmax(-((latents[..., None] - means) ** 2) / (2 * self.sigma**2), -1)

    def quantile(self, probability: ArrayLike, weights: ArrayLike | None = None) -> FloatArray:
        """Return quantiles of the mixture, by interpolation (error below 1e-5 where there is mass).

        Parameters
        ----------
        probability : array_like
            Of any shape, from 0 to 1.
        weights : array_like, optional
            Of the components, ``(C,)``; equal if not given.
        """
        shares = np.full(self.n_components, 1 / self.n_components) if weights is None else np.asarray(weights)
        edge = abs(self.means[0]) + 6 * self.sigma
        grid = np.linspace(-edge, edge, 20_001)
        cdf = ndtr((grid[:, None] - self.means) / self.sigma) @ shares
        return np.interp(np.asarray(probability), cdf, grid)

    def to_config(self) -> dict[str, Any]:
        """Return a JSON-ready description from which `from_config` makes an equal object."""
        return {**vars(self), "shares": None if self.shares is None else [list(row) for row in self.shares]}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> AttributeLatents:
        """Return the object that gave `to_config`."""
        return cls(**config)
