"""What happens at which step: learning rate, batches, random numbers. All are functions of the step alone.

Nothing here has a state that could be lost: batch and noise of step ``s`` follow from ``(seed, s)``, so a resumed run
draws the very numbers that the uninterrupted one would have drawn.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray


def warmup_cosine(step: int, progress: float, warmup_steps: int, floor: float = 0.02) -> float:
    """Factor on the learning rate: linear over ``warmup_steps``, then a half cosine down to ``floor``.

    ``progress`` in [0, 1] is the finished share of the run, counted in steps or in time.
    """
    warm = min(1.0, (step + 1) / max(1, warmup_steps))
    return warm * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def step_generator(seed: int, step: int, stream: int, device: torch.device | str = "cpu") -> torch.Generator:
    """The random numbers of one step; ``stream`` tells processes and gradient-accumulation parts apart."""
    state = np.random.SeedSequence([seed, step, stream]).generate_state(2, np.uint32)
    return torch.Generator(device).manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)


class ShuffledBatches:
    """Batches from an endless series of epochs, each a new permutation of ``n_items``; a batch may span two epochs."""

    def __init__(self, n_items: int, batch_size: int, seed: int):
        if n_items < 1 or batch_size < 1:
            raise ValueError(f"{n_items} items in batches of {batch_size}: both must be at least 1")
        self.n_items, self.batch_size, self.seed = n_items, batch_size, seed
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def __getitem__(self, step: int) -> NDArray[np.int64]:
        """Positions of the items in the batch of ``step``, ``(batch_size,)``."""
        position, end = step * self.batch_size, (step + 1) * self.batch_size
        parts = []
        while position < end:
            epoch, offset = divmod(position, self.n_items)
            if epoch != self._epoch:
                rng = np.random.default_rng([self.seed, epoch])
                self._epoch, self._order = epoch, rng.permutation(self.n_items)
            parts.append(self._order[offset : offset + end - position])
            position += len(parts[-1])
        return np.concatenate(parts)
