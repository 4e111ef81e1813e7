"""A data set that a small network learns in a second: a square on a background."""

from __future__ import annotations

import numpy as np

from gaussmix.data.base import AttributeDataset

SIZE = 16
NAMES = ("Red", "Left", "Dot", "Striped")  # a square is red or blue, left or right; nothing is ever striped


def draw_squares(attributes: np.ndarray, brightness: np.ndarray) -> np.ndarray:
    """``(N, 16, 16, 3)`` uint8 for attributes ``(N, 4)`` and a background brightness ``(N,)`` in [0, 1]."""
    images = np.repeat((60 + 60 * brightness)[:, None, None, None], SIZE, 1).repeat(SIZE, 2).repeat(3, 3)
    for image, (red, left, dot, _) in zip(images, attributes, strict=True):
        columns = slice(2, 7) if left else slice(9, 14)
        image[2:9, columns] = (220, 0, 0) if red else (0, 0, 220)
        if dot:
            image[11:14, 6:9] = 255
    return images.astype(np.uint8)


def coloured_squares(count: int = 400) -> AttributeDataset:
    """8 of 10 train, then one valid, one test; one in eight has a dot."""
    rng = np.random.default_rng(5)
    attributes = (rng.random((count, 4)) < (0.5, 0.4, 0.125, 0)).astype(np.uint8)
    position = np.arange(count) % 10
    split = np.select([position == 8, position == 9], [1, 2], 0).astype(np.uint8)
    return AttributeDataset("squares", draw_squares(attributes, rng.random(count)), attributes, NAMES, split, "sq1")
