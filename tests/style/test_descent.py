"""Descent: L-BFGS for several pictures against SciPy's and alone, within the range, and back where it went wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from gaussmix.style.descent import Descent


class Bowl:
    """Losses near ``(x - c)^T A_k (x - c) / 2`` of K pictures, A_k diagonal and differently stiff; counts its calls."""

    def __init__(self, centre: Tensor, stiff: Tensor):
        self.centre, self.stiff, self.calls = centre, stiff, 0

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        off = x - self.centre
        return (self.stiff * off**2).sum((1, 2, 3)) / 2 + 1e-3 * (off**4).sum(
            (1, 2, 3)
        ), self.stiff * off + 4e-3 * off**3

    def aim(self, targets: Tensor) -> None:
        self.centre = targets


def bowl(k: int = 3, *, outside: bool = False) -> tuple[Bowl, Tensor]:
    generator = torch.Generator().manual_seed(0)
    centre = torch.rand((k, 3, 4, 5), generator=generator, dtype=torch.float64)
    centre = centre * 2 - 0.5 if outside else 0.1 + 0.8 * centre
    stiff = (
        torch.logspace(0, 2, 60, dtype=torch.float64).view(3, 4, 5)
        * torch.tensor([1.0, 10.0, 0.1])[:k, None, None, None]
    )
    return Bowl(centre, stiff), torch.rand((k, 3, 4, 5), generator=generator, dtype=torch.float64)


def test_lbfgs_gets_to_the_bottom_of_each_as_scipy_does():
    objective, pixels = bowl(outside=True)
    descent = Descent(pixels, objective, "lbfgs", 0.03)  # pyright: ignore[reportArgumentType]
    losses = np.array([descent.step() for _ in range(150)])
    descent.settle()
    assert (pixels >= 0).all()
    assert (pixels <= 1).all()
    for k in range(3):

        def loss(x, k=k):
            one, slope = Bowl(objective.centre[k : k + 1], objective.stiff[k : k + 1])(torch.tensor(x).view(1, 3, 4, 5))
            return float(one), slope.numpy().ravel()

        found = minimize(loss, np.full(60, 0.5), jac=True, method="L-BFGS-B", bounds=[(0, 1)] * 60)
        assert losses[-1, k] == pytest.approx(found.fun, rel=1e-3)
        assert losses[-1, k] < 0.6 * losses[0, k]


def test_pictures_do_not_depend_on_one_another():
    objective, pixels = bowl()
    together = pixels.clone()
    descent = Descent(together, objective, "lbfgs", 0.03)  # pyright: ignore[reportArgumentType]
    for _ in range(12):
        descent.step()
    for k in range(3):
        alone = pixels[k : k + 1].clone()
        own = Bowl(objective.centre[k : k + 1], objective.stiff[k : k + 1])
        descent = Descent(alone, own, "lbfgs", 0.03)  # pyright: ignore[reportArgumentType]
        for _ in range(12):
            descent.step()
        torch.testing.assert_close(together[k : k + 1], alone)


def test_a_step_that_made_it_worse_is_taken_back():
    objective, pixels = bowl(1)
    wall = Bowl(objective.centre, objective.stiff)

    def cliff(x: Tensor) -> tuple[Tensor, Tensor]:
        losses, gradient = wall(x)
        return losses + 100.0 * (wall.calls in (6, 9)), gradient

    descent = Descent(pixels, cliff, "lbfgs", 0.03)  # pyright: ignore[reportArgumentType]
    losses = [float(descent.step()[0]) for _ in range(9)]
    descent.settle()
    assert losses[5] > 100
    assert losses[6] < losses[4]
    final, _ = wall(pixels)
    assert float(final) == pytest.approx(losses[7], rel=1e-6)  # the ninth was worse, so it ends at the eighth


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_what_is_held_does_not_move_and_grey_stays(optimizer):
    objective, pixels = bowl(2)
    free = torch.zeros(4, 5, dtype=torch.float64)
    free[:, :2] = 1
    pixels = pixels[:, :1].repeat(1, 3, 1, 1)
    before = pixels.clone()
    descent = Descent(pixels, objective, optimizer, 0.03, free, grey=True)  # pyright: ignore[reportArgumentType]
    for _ in range(8):
        descent.step()
    assert (pixels[..., 2:] == before[..., 2:]).all()
    assert (pixels[..., :2] != before[..., :2]).all()
    torch.testing.assert_close(pixels, pixels[:, :1].expand_as(pixels))


def test_losses_that_are_not_finite_are_said():
    objective, pixels = bowl(1)
    objective.stiff = objective.stiff / 0
    with pytest.raises(ValueError, match="the descent diverged"):
        Descent(pixels, objective, "lbfgs", 0.03).step()  # pyright: ignore[reportArgumentType]
