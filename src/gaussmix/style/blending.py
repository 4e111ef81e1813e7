"""Where Gram matrices lie between styles, and pictures that are kept at their shares.

    m_s                 the mean row of style s (`gaussmix.style.grams`), s = 1..S
    w(g)                argmin_w |g - sum_s w_s m_s|, sum_s w_s = 1: the shares of a row g
    |P (g - sum_s w_s m_s)|^2    how far g is from shares w, P onto the differences of the means

A picture that is made for a target does not quite get there: it holds on to its content, whose matrices have shares of
their own. So its loss has that distance from the shares that were asked for as a term of its own
(`gaussmix.style.objective`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gaussmix._typing import FloatArray
from gaussmix.style.grams import GramLayout, Rows
from gaussmix.style.images import Picture, to_tensor
from gaussmix.style.vgg import VGG19Features, gram_matrix

_FLAT = 1e-6  # share of the largest variance below which a direction is rounding


@dataclass(frozen=True, eq=False)
class BlendPlane:
    """Where rows lie between the means of S styles: ``means`` ``(S, E)``, distances in the metric of ``layout``.

    A row's shares are those, of sum 1, of the mixture of the means that is nearest to it.
    """

    means: Rows
    layout: GramLayout

    @cached_property
    def _scale(self) -> Rows:
        return self.layout.scale(self.means.mean(0))

    @cached_property
    def _axes(self) -> Rows:
        """Orthonormal ``(R, E)``, in scaled units: what mixtures of the means differ in."""
        apart = (self.means[1:] - self.means[0]) * self._scale
        values, vectors = np.linalg.eigh((apart @ apart.T).astype(np.float64))
        wide = values > _FLAT * values[-1]
        return ((vectors[:, wide] / np.sqrt(values[wide])).T @ apart).astype(np.float32)

    @property
    def along(self) -> Rows:
        """``(R, E)``: what to multiply a row by for its place along each axis."""
        return self._axes * self._scale

    def shares(self, rows: Rows) -> NDArray[np.float64]:
        """``(n, S)`` of rows ``(n, E)``, of any sign."""
        first, apart = self.means[0] * self._scale, (self.means[1:] - self.means[0]) * self._scale
        inside, off = (self._axes @ part.astype(np.float64).T for part in (apart, rows * self._scale - first))
        weights = np.linalg.lstsq(inside, off, rcond=None)[0].T
        return np.column_stack([1 - weights.sum(1), weights])

    def shares_of(self, pictures: Picture, features: VGG19Features) -> NDArray[np.float64]:
        """``(n, S)`` of pictures ``(n, H, W, 3)``, as a network sees them; 1 for a single style."""
        if len(self.means) == 1:
            return np.ones((len(pictures), 1))
        rows = []
        with torch.no_grad():
            for picture in pictures:
                maps = features(to_tensor(picture[None], features.mean.device))
                grams = {layer: gram_matrix(maps[layer]).numpy(force=True) for layer in self.layout.channels}
                rows.append(self.layout.rows(grams))
        return self.shares(np.concatenate(rows))

    def place(self, row: Rows, shares: FloatArray, far: float = 1.0) -> Rows:
        """A row ``(E,)`` moved to these shares, by ``far`` of the way there; what the means do not differ in stays."""
        off = (row - shares.astype(np.float32) @ self.means) * self._scale
        moved = np.divide(off @ self._axes.T @ self._axes, self._scale, out=np.zeros_like(off), where=self._scale > 0)
        return row - np.float32(far) * moved


@dataclass(frozen=True, eq=False)
class HeldBlend:
    """A blend that pictures shall have: ``asked`` ``(S,)`` of sum 1, on a ``plane``."""

    plane: BlendPlane
    asked: FloatArray

    @cached_property
    def _forms(self) -> tuple[dict[str, Tensor], Tensor]:
        """A^l ``{layer: (R, C, C)}`` and b ``(R,)``: sum_l <A^l, G^l> - b is how far G is off along each axis."""
        along, layout = self.plane.along, self.plane.layout
        rows = [layout.forms(row) for row in along]
        forms = {layer: torch.from_numpy(np.stack([own[layer] for own in rows])) for layer in layout.channels}
        return forms, torch.from_numpy(along @ (self.asked.astype(np.float32) @ self.plane.means))

    def distance(self, grams: Mapping[str, Tensor]) -> Tensor:
        """``(K,)``, differentiable: how far Gram matrices ``{layer: (K, C, C)}`` are from the blend, squared."""
        forms, level = self._forms
        off = -level.to(next(iter(grams.values())))
        for layer, form in forms.items():
            off = off + grams[layer].flatten(1) @ form.to(grams[layer]).flatten(1).T
        return off.square().sum(1)
