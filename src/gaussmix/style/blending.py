"""Where Gram matrices lie between styles, and pictures that are kept at their shares.

    m_s                 the mean row of style s (`gaussmix.style.grams`), s = 1..S
    w(g)                argmin_w |g - sum_s w_s m_s|, sum_s w_s = 1: the shares of a row g
    T + sum_s d_s m_s   a target T moved by d, sum_s d_s = 0

A picture that is made for a target does not quite get there: it holds on to its content, whose matrices have shares of
their own. What it lacks of the shares w that were asked for is added to d, d <- d + w - w(g), a few times on its way.
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

    def lacking(self, grams: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what to add to the targets of K pictures with Gram matrices ``{layer: (K, C, C)}``, of this shape."""
        layout = self.plane.layout
        rows = layout.rows({layer: gram.float().cpu().numpy() for layer, gram in grams.items()})
        moved = ((self.asked - self.plane.shares(rows)).astype(np.float32)) @ self.plane.means
        parts = [layout.grams(row) for row in moved]
        return {
            layer: torch.from_numpy(np.stack([part[layer] for part in parts])).to(gram) for layer, gram in grams.items()
        }
