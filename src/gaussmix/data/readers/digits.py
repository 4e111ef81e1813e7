"""scikit-learn's 1797 digits of 8 x 8 pixels, which need no download."""

from __future__ import annotations

import numpy as np

from gaussmix.data.base import (
    LabelledImages,
    every_fifth_for_test,
    images_digest,
)

DIGITS_SIZE = 8


def _digits() -> LabelledImages:
    from sklearn.datasets import load_digits

    from gaussmix.data.cache import digest

    pixels, classes = load_digits(return_X_y=True)  # pixels 0 ... 16
    images = np.round(pixels * (255 / 16)).astype(np.uint8).reshape(-1, DIGITS_SIZE, DIGITS_SIZE, 1)
    labels = np.asarray(classes, np.int64)
    key = digest("digits", images_digest(images, labels))
    return LabelledImages("digits", images, labels, tuple("0123456789"), every_fifth_for_test(labels), key)
