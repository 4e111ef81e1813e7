"""Down on the losses of K pictures at once, each by itself: Adam, and L-BFGS with a history for each.

    x_k (3, H, W)       a picture, in [0, 1];  f_k(x_k) its loss,  g_k its gradient
    s = x' - x, y = g' - g        of the last `HISTORY` steps; rho = 1 / <s, y>, where that is positive
    d = -B g                      B by the two loops of Nocedal 1980, from B_0 = <s, y> / <y, y>

L-BFGS takes x + d, cut off at the ends of the range; s is the step that was made, so that the curvature holds there,
and d leaves alone the values at an end that the gradient pushes outwards. One evaluation a step serves all pictures:
where a loss has not fallen, that picture goes back and tries a quarter of its step, while the others go on. It ends at
the last pictures whose losses fell.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gaussmix.style.objective import Objective

OptimizerName = Literal["lbfgs", "adam"]

HISTORY = 10
_BETAS = (0.9, 0.99)
_FIRST = 0.02  # the largest change of a value in L-BFGS's first step, which knows no curvature
_SLACK = 1e-3  # of a loss: how far it may rise in a step, as it does by rounding in half precision
_SHORTER = 0.25


class Descent:
    """Moves ``pixels`` ``(K, 3, H, W)`` in place, downhill on an objective.

    ``learning_rate`` is Adam's. Only pixels with 1 in ``free`` ``(H, W)`` move; with ``grey`` all three channels alike.
    """

    def __init__(
        self,
        pixels: Tensor,
        objective: Objective,
        optimizer: OptimizerName,
        learning_rate: float,
        free: Tensor | None = None,
        *,
        grey: bool = False,
    ):
        self.pixels, self.objective, self.free, self.grey = pixels, objective, free, grey
        self.method = _LBFGS(pixels) if optimizer == "lbfgs" else _Adam(pixels, learning_rate)

    def step(self) -> NDArray[np.float32]:
        """Make one step and return the losses before it, ``(K,)``. Raises ValueError where they are not finite."""
        losses, gradient = self.objective(self.pixels)
        if not bool(losses.isfinite().all()):
            raise ValueError(f"the descent diverged, losses {losses.tolist()}; lower the learning_rate or the weights")
        if self.grey:
            gradient = gradient.mean(1, keepdim=True).expand_as(gradient)
        if self.free is not None:
            gradient = gradient * self.free
        # Adam's floor is absolute, and the slope by one pixel fades as pixels become more: take the loss per pixel.
        self.method.step(losses, gradient * self.pixels[0, 0].numel())
        return losses.float().cpu().numpy()

    def settle(self) -> None:
        """Go back to the last pictures that were found good; call it after the last step."""
        self.method.settle()


class _Adam:
    def __init__(self, pixels: Tensor, learning_rate: float):
        self.pixels = pixels
        self.optimizer = torch.optim.Adam([pixels], lr=learning_rate, betas=_BETAS)

    def step(self, losses: Tensor, gradient: Tensor) -> None:
        self.pixels.grad = gradient.contiguous()
        self.optimizer.step()
        self.pixels.clamp_(0, 1)

    def settle(self) -> None:
        self.pixels.grad = None


class _LBFGS:
    """Holds the last good pictures ``x`` with ``losses`` and ``gradient``; ``pixels`` are the next to be looked at."""

    def __init__(self, pixels: Tensor):
        self.pixels, self.x = pixels, pixels.clone()
        self.losses, self.gradient = pixels.new_full((len(pixels),), torch.inf), torch.zeros_like(pixels)
        self.way = torch.zeros_like(pixels)  # what to add to x
        self.history: list[tuple[Tensor, Tensor, Tensor]] = []  # s, y and rho, 0 for a pair that says nothing

    def step(self, losses: Tensor, gradient: Tensor) -> None:
        good = losses <= self.losses * (1 + _SLACK)
        here = _each(good)
        if self.losses.isfinite().all():
            self._remember(torch.where(here, self.pixels - self.x, 0), torch.where(here, gradient - self.gradient, 0))
        self.x = torch.where(here, self.pixels, self.x)
        self.gradient = torch.where(here, gradient, self.gradient)
        self.losses = torch.where(good, losses, self.losses)
        outwards = ((self.x <= 0) & (self.gradient > 0)) | ((self.x >= 1) & (self.gradient < 0))
        free = self.gradient.masked_fill(outwards, 0)
        self.way = torch.where(here, self._direction(free).masked_fill_(outwards, 0), self.way * _SHORTER)
        torch.clamp(self.x + self.way, 0, 1, out=self.pixels)

    def settle(self) -> None:
        if self.losses.isfinite().all():
            self.pixels.copy_(self.x)

    def _remember(self, step: Tensor, change: Tensor) -> None:
        curvature = _dots(step, change)
        known = curvature > 1e-10 * _dots(change, change)
        self.history.append((step, change, torch.where(known, 1 / curvature, 0)))
        del self.history[:-HISTORY]

    def _direction(self, gradient: Tensor) -> Tensor:
        """-B g ``(K, 3, H, W)``."""
        way, shares = -gradient, []
        scale = _FIRST / gradient.abs().amax((1, 2, 3)).clamp(min=torch.finfo(gradient.dtype).tiny)
        for step, change, rho in reversed(self.history):
            shares.append(rho * _dots(step, way))
            way = way - _each(shares[-1]) * change
        for _, change, rho in self.history:
            scale = torch.where(rho > 0, 1 / (rho * _dots(change, change)), scale)
        way = way * _each(scale)
        for (step, change, rho), share in zip(self.history, reversed(shares), strict=True):
            way = way + _each(share - rho * _dots(change, way)) * step
        return way


def _dots(a: Tensor, b: Tensor) -> Tensor:
    """``(K,)``: of each picture."""
    return (a * b).sum((1, 2, 3))


def _each(values: Tensor) -> Tensor:
    """``(K,)`` as ``(K, 1, 1, 1)``."""
    return values[:, None, None, None]
