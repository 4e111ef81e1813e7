"""Descent on the pixels of K pictures: Adam, or L-BFGS for one picture at a time."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gaussmix.style.objective import Objective

OptimizerName = Literal["adam", "lbfgs"]

_BETAS = (0.9, 0.99)
_LBFGS_HISTORY = 20


class Descent:
    """Moves `pixels` ``(K, 3, H, W)`` in place, downhill on an objective; K is 1 for "lbfgs".

    `learning_rate` is Adam's, in units of the pixels' range [0, 1].
    """

    def __init__(self, pixels: Tensor, objective: Objective, optimizer: OptimizerName, learning_rate: float):
        self.pixels, self.objective = pixels, objective
        self.losses = pixels.new_zeros(len(pixels))
        if optimizer == "adam":
            self.optimizer = torch.optim.Adam([pixels], lr=learning_rate, betas=_BETAS)
        else:
            assert len(pixels) == 1  # its line of search is one for all that it moves
            self.optimizer = torch.optim.LBFGS([pixels], max_iter=1, history_size=_LBFGS_HISTORY)

    def step(self) -> NDArray[np.float32]:
        """Make one step and return the losses before it, ``(K,)``. Raises ValueError where they are not finite."""
        self.optimizer.step(self._evaluate)
        self.pixels.clamp_(0, 1)
        losses = self.losses.float().cpu().numpy()
        if not np.isfinite(losses).all():
            raise ValueError(f"the descent diverged, losses {losses}; use adam, or a lower learning_rate")
        return losses

    def _evaluate(self) -> float:
        self.losses, gradient = self.objective(self.pixels)
        # The floors of both optimizers are absolute (Adam's eps, the tolerances of L-BFGS), and the slope by one pixel
        # fades as pixels become more: take the loss per pixel instead of per picture.
        scale = self.pixels.shape[2] * self.pixels.shape[3]
        self.pixels.grad = (gradient * scale).contiguous()
        return float(self.losses.sum()) * scale


def enlarge(pixels: Tensor, height: int, width: int) -> Tensor:
    """A copy of pictures ``(K, 3, h, w)`` as ``(K, 3, height, width)``, values still in [0, 1]."""
    if pixels.shape[2:] == (height, width):
        return pixels.clone()
    return F.interpolate(pixels, size=(height, width), mode="bicubic", antialias=True).clamp_(0, 1)
