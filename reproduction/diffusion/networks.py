"""Small networks that predict attributes, many at once: every learning rate and every seed in one batched product.

    z = W2 relu(W1 x + b1) + b2,   p = sigmoid(z),   error = sum_j (p_j - y_j)^2 of a picture

x: D numbers about a picture; y: its A attributes. Plain gradient descent with momentum on batches, the same batches for
all learning rates and all losses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gaussmix._typing import FloatArray

Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits and targets ``(..., A)`` to losses ``(...)``, one a picture."""
MOMENTUM = 0.9


@dataclass(frozen=True)
class Split:
    """One part of the data: x ``(N, D)`` and attributes y ``(N, A)`` in 0..1, float32."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class TrainingGrid:
    """How every network is trained, one for each rate and seed: the same for all losses."""

    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    n_steps: int
    batch_size: int
    n_hidden: int
    every: int
    """Steps between two looks at the errors."""


@dataclass(frozen=True)
class ErrorCurves:
    """Mean squared error of a picture at ``steps`` (T,), by rate and seed, (T, R, S); infinite where it diverged."""

    steps: NDArray[np.int64]
    valid: FloatArray
    test: FloatArray
    undecided: FloatArray
    """How far a probability is from the nearer of 0 and 1: mean over attributes and pictures of the test split."""


def train(loss: Loss, fit: Split, valid: Split, test: Split, how: TrainingGrid) -> ErrorCurves:
    """Train a network for each rate and seed, looking at the errors on the way."""
    weights = _start(fit, how)
    speed = [torch.zeros_like(weight) for weight in weights]
    rate = torch.tensor(how.rates).repeat_interleave(len(how.seeds))[:, None, None]
    orders = [np.random.default_rng([seed, 1]) for seed in how.seeds]
    looks, found = [], []
    for step in range(how.n_steps + 1):
        if step % how.every == 0 or step == how.n_steps:
            looks.append(step)
            found.append([_look(weights, part, how) for part in (valid, test)])
        if step == how.n_steps:
            break
        picked = torch.from_numpy(np.stack([rng.integers(0, len(fit.y), how.batch_size) for rng in orders]))
        x, y = (part[picked].repeat(len(how.rates), 1, 1) for part in (fit.x, fit.y))
        slopes = torch.autograd.grad(loss(_logits(weights, x), y).mean(-1).sum(), weights)
        with torch.no_grad():
            for weight, velocity, slope in zip(weights, speed, slopes, strict=True):
                velocity.mul_(MOMENTUM).add_(slope)
                weight.sub_(rate * velocity)
    seen = np.array(found, np.float64)
    seen = np.where(np.isfinite(seen), seen, np.inf)
    return ErrorCurves(np.array(looks), seen[:, 0, 0], seen[:, 1, 0], seen[:, 1, 1])


def _start(fit: Split, how: TrainingGrid) -> list[Tensor]:
    """W1 (M, D, H), b1, W2 (M, H, A), b2 of the M networks, rates first; alike for all rates."""
    rows = []
    for seed in how.seeds:
        generator = torch.Generator().manual_seed(seed)
        d, h, a = fit.x.shape[1], how.n_hidden, fit.y.shape[1]
        first = torch.randn(d, h, generator=generator) * (2 / d) ** 0.5
        second = torch.randn(h, a, generator=generator) * 0.1 / h**0.5  # logits start near 0
        rows.append((first, torch.zeros(1, h), second, torch.zeros(1, a)))
    stacked = [torch.stack(parts).repeat(len(how.rates), 1, 1) for parts in zip(*rows, strict=True)]
    return [weight.requires_grad_() for weight in stacked]


def _logits(weights: list[Tensor], x: Tensor) -> Tensor:
    """(M, N, A) logits of x (M, N, D)."""
    w1, b1, w2, b2 = weights
    return torch.baddbmm(b2, torch.baddbmm(b1, x, w1).relu(), w2)


@torch.no_grad()
def _look(weights: list[Tensor], part: Split, how: TrainingGrid) -> FloatArray:
    """(2, R, S) means over pictures: of the squared error, and of how far a probability is from 0 and 1."""
    p = _logits(weights, part.x.expand(len(weights[0]), -1, -1)).sigmoid()
    error = (p - part.y).square().sum(-1).mean(-1)
    undecided = torch.minimum(p, 1 - p).mean((-2, -1))
    return torch.stack([error, undecided]).reshape(2, len(how.rates), len(how.seeds)).double().numpy()


def tune(curves: ErrorCurves, rates: tuple[float, ...]) -> dict[str, float | None]:
    """Return what a loss comes to at its best rate, where it is stopped best, and at the largest rate.

    The best rate, and the best rate and step together, have the least error on the valid split; the errors are means
    over the seeds on the test split. The largest rate is that with which no network diverged.
    """
    valid = curves.valid.mean(-1)
    rate = int(valid[-1].argmin())
    stop, stop_rate = np.unravel_index(int(valid.argmin()), valid.shape)
    largest = np.flatnonzero(np.isfinite(curves.test[-1]).all(-1)).max(initial=0)
    return {
        "rate": rates[rate],
        "test_error": finite(curves.test[-1, rate].mean()),
        "standard_deviation": finite(curves.test[-1, rate].std(ddof=1)),
        "early_stopped": finite(curves.test[stop, stop_rate].mean()),
        "early_stopped_at": int(curves.steps[stop]),
        "largest_finite_rate": rates[largest],
        "test_error_there": finite(curves.test[-1, largest].mean()),
        "from_0_or_1_there": finite(curves.undecided[-1, largest].mean()),
    }


def finite(value: float) -> float | None:
    """Return the value, or None if it is not finite."""
    return float(value) if np.isfinite(value) else None
