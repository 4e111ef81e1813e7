"""How much pictures differ from each other, and how near they come to those that a model was trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaussmix.metrics._rows import Array, feature_pair, feature_rows, middle, squared_distances


def pairwise_diversity(features: ArrayLike) -> float:
    """Mean Euclidean distance of two different rows of ``features`` ``(N, D)``, over all pairs.

    Does not depend on N in expectation. Much below that of real pictures: the generator repeats itself.
    Raises ValueError for fewer than two rows and for NaN or infinity.
    """
    rows = feature_rows(features, "features", at_least=2, why=", and a pair needs two")
    total = sum(float(np.sqrt(squares).sum()) for _, _, squares in squared_distances(rows, rows, middle(rows)))
    return total / (len(rows) * (len(rows) - 1))


def nearest_distances(a: ArrayLike, b: ArrayLike) -> Array:
    """Euclidean distance of every row of ``a`` ``(N, D)`` to the nearest row of ``b`` ``(M, D)``: ``(N,)`` float64.

    With generated pictures in ``a`` and training pictures in ``b`` it finds copies: compare with held-out real
    pictures in ``a``. Raises ValueError for no rows, for widths that differ and for NaN or infinity.
    """
    a, b = feature_pair(a, b, ("a", "b"))
    nearest = np.full(len(a), np.inf)
    for i, _, squares in squared_distances(a, b, middle(b)):
        nearest[i] = np.minimum(nearest[i], squares.min(1))
    return np.sqrt(nearest)


_SIDE = 32
"""Pictures are compared at this size or just above: copies are found there, and finer pixels cost time."""
_PICTURES = 1024  # of the training pictures at a time


def nearest_pictures(images: NDArray[np.uint8], training: NDArray[np.uint8]) -> Array:
    """How far each of ``images`` ``(N, S, S, 3)`` is from the nearest of ``training`` ``(M, S, S, 3)``: ``(N,)``.

    Root mean square of the difference of pixels and colours, in levels of 255; pictures of 64 pixels and more are
    averaged over squares first, down to 32 ... 63 pixels. Finds copies, but neither shifted nor mirrored ones, and
    blurred pictures lie nearer to all others than sharp ones do.
    Raises ValueError for no pictures and for sizes that differ.
    """
    if not (len(images) and len(training)) or images.shape[1:] != training.shape[1:]:
        raise ValueError(f"pictures have shapes {images.shape} and {training.shape}; give some, of one size")
    rows = _averaged(images)
    nearest = np.full(len(images), np.inf)
    for start in range(0, len(training), _PICTURES):
        part = _averaged(training[start : start + _PICTURES])
        nearest = np.minimum(nearest, nearest_distances(rows, part))
    return nearest / np.sqrt(rows.shape[1])


def _averaged(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Means over squares of pixels, a row a picture; a rim that fills no square is left out."""
    n, size = images.shape[:2]
    side = max(1, size // _SIDE)
    fields = size // side
    kept = images[:, : fields * side, : fields * side].reshape(n, fields, side, fields, side, -1)
    return kept.mean((2, 4), dtype=np.float32).reshape(n, -1)
