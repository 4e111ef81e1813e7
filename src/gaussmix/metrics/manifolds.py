"""Do generated pictures lie where real ones do, and the other way round? How much do they differ from each other?

The manifold of a set is taken for the union of balls around its rows, each reaching to the row's k-th nearest
neighbour in the set, with the rim. :math:`r_i` are the radii of the N real rows :math:`x_i`, :math:`s_j` those of the
M generated rows :math:`y_j`:

    precision  share of j with |y_j - x_i| <= r_i for some i            (Kynkaanniemi et al. 2019)
    recall     share of i with |x_i - y_j| <= s_j for some j
    density    mean over j of (number of i with |y_j - x_i| <= r_i) / k (Naeem et al. 2020)
    coverage   share of i with |x_i - y_j| <= r_i for some j

A row of features is one picture. Sums are in double precision whatever the features are in; all pairs of rows are
looked at a tile at a time, and neither an array of all pairs nor a second copy of the features is ever held.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import gen_batches

from gaussmix._typing import FloatArray


def pairwise_diversity(features: ArrayLike) -> float:
    """Return the mean Euclidean distance of two different rows, over all pairs.

    Does not depend on N in expectation. Much below that of real pictures: the generator repeats itself.
    Raises ValueError for fewer than two rows and for NaN or infinity.

    Parameters
    ----------
    features : array_like
        Of shape ``(N, D)``, a row for each picture.
    """
    rows = feature_rows(features, "features", at_least=2, why=", and a pair needs two")
    total = sum(float(np.sqrt(squares).sum()) for _, _, squares in squared_distances(rows, rows, middle(rows)))
    return total / (len(rows) * (len(rows) - 1))


def nearest_distances(a: ArrayLike, b: ArrayLike) -> FloatArray:
    """Return the Euclidean distance ``(N,)`` of every row of ``a`` to the nearest row of ``b``.

    With generated pictures in ``a`` and training pictures in ``b`` it finds copies: compare with held-out real
    pictures in ``a``.
    Raises ValueError for no rows, for widths that differ and for NaN or infinity.

    Parameters
    ----------
    a, b : array_like
        Features ``(N, D)`` and ``(M, D)``, a row for each picture.
    """
    a, b = feature_pair(a, b, ("a", "b"))
    nearest = np.full(len(a), np.inf)
    for i, _, squares in squared_distances(a, b, middle(b)):
        nearest[i] = np.minimum(nearest[i], squares.min(1))
    return np.sqrt(nearest)


_SIDE = 32  # pictures are compared at this size or just above: copies are found there, and finer pixels cost time
_PICTURES = 1024  # of the training pictures at a time


def nearest_pictures(images: NDArray[np.uint8], training: NDArray[np.uint8]) -> FloatArray:
    """Return how far each picture is from the nearest training picture, ``(N,)``.

    In levels of 255, the root mean square of the difference of pixels and colours; pictures of 64 pixels and more are
    averaged over squares first, down to 32 ... 63 pixels. Finds copies, but neither shifted nor mirrored ones, and
    blurred pictures lie nearer to all others than sharp ones do.
    Raises ValueError for no pictures and for sizes that differ.

    Parameters
    ----------
    images, training : ndarray of uint8
        Pictures ``(N, S, S, 3)`` and ``(M, S, S, 3)``.
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


class ManifoldScores(NamedTuple):
    """How well the manifolds of real and of generated pictures cover each other.

    Parameters
    ----------
    precision, recall, density, coverage : float
        Shares, but for density, which has the expectation 1 for two samples of one law.
    """

    precision: float
    recall: float
    density: float
    coverage: float

    @property
    def defect_rate(self) -> float:
        """1 - precision: the share of generated pictures that resemble no real one."""
        return 1 - self.precision


def manifold_scores(real: ArrayLike, generated: ArrayLike, *, k: int = 5) -> ManifoldScores:
    """Return precision, recall, density and coverage of generated pictures against real ones.

    All four depend on N, M and k: compare them at equal ones. One outlier among the real rows has a large ball and
    raises precision; density and coverage are made to mind it less. Takes time in proportion to (N + M)^2 D, and
    memory that does not grow with the number of pairs.
    Raises ValueError if k is not from 1 to N - 1 and M - 1, for widths that differ and for NaN or infinity.

    Parameters
    ----------
    real, generated : array_like
        Features ``(N, D)`` and ``(M, D)``, a row for each picture.
    k : int, default 5
        Neighbours that make a ball.
    """
    if k < 1:
        raise ValueError(f"k is {k}; it must be at least 1")
    real, generated = feature_pair(
        real, generated, ("real", "generated"), at_least=k + 1, why=f", and each needs k = {k} neighbours"
    )
    centre = middle(real)
    r, s = _squared_radii(real, k, centre), _squared_radii(generated, k, centre)
    containing = np.zeros(len(generated), int)  # balls of real rows around each generated one
    reached, covered = np.zeros((2, len(real)), bool)
    for i, j, squares in squared_distances(real, generated, centre):
        inside = squares <= r[i, None]
        containing[j] += inside.sum(0)
        covered[i] |= inside.any(1)
        reached[i] |= (squares <= s[j]).any(1)
    return ManifoldScores(
        precision=float((containing > 0).mean()),
        recall=float(reached.mean()),
        density=float(containing.mean() / k),
        coverage=float(covered.mean()),
    )


def _squared_radii(rows: Features, k: int, centre: FloatArray) -> FloatArray:
    """Squared distance of every row to its k-th nearest other row, ``(N,)``."""
    nearest = np.full((len(rows), k), np.inf)
    for i, j, squares in squared_distances(rows, rows, centre):
        if i == j:
            np.fill_diagonal(squares, np.inf)
        both = np.concatenate([nearest[i], squares], axis=1)
        nearest[i] = np.partition(both, k - 1, axis=1)[:, :k]
    return nearest.max(1)


Features = NDArray[np.float32] | FloatArray
_ROWS = 1024  # of a tile: 8 MB of pairs in double precision


def feature_rows(values: ArrayLike, name: str, *, at_least: int = 1, why: str = "") -> Features:
    """``values`` as ``(N, D)`` float32 or float64. Raises ValueError or TypeError, naming the argument ``name``."""
    rows = np.asarray(values)
    if rows.dtype.kind not in "fiub":
        raise TypeError(f"{name} holds {rows.dtype}; give numbers (N, D), a row of features for each picture")
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise ValueError(f"{name} has shape {rows.shape}; give (N, D), a row of features for each picture")
    if len(rows) < at_least:
        raise ValueError(f"{name} has {len(rows)} row(s){why}; give at least {at_least}")
    rows = rows if rows.dtype in (np.float32, np.float64) else rows.astype(np.float64)
    bad = [
        i
        for part in gen_batches(len(rows), _ROWS)
        for i in part.start + np.flatnonzero(~np.isfinite(rows[part]).all(1))
    ]
    if bad:
        raise ValueError(
            f"{name}: {len(bad)} of {len(rows)} rows hold NaN or infinity, the first is row {bad[0]}; leave them out"
        )
    return rows


def feature_pair(
    a: ArrayLike, b: ArrayLike, names: tuple[str, str], *, at_least: int = 1, why: str = ""
) -> tuple[Features, Features]:
    """Two sets of `feature_rows` of one width."""
    first = feature_rows(a, names[0], at_least=at_least, why=why)
    second = feature_rows(b, names[1], at_least=at_least, why=why)
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"{names[0]} has {first.shape[1]} features a row and {names[1]} has {second.shape[1]}; "
            "compute both with one extractor"
        )
    return first, second


def blocks(rows: Features, centre: FloatArray) -> Iterator[tuple[slice, FloatArray]]:
    """``rows`` less ``centre`` ``(D,)`` in double precision, some at a time."""
    for part in gen_batches(len(rows), _ROWS):
        yield part, rows[part] - centre


def squared_distances(a: Features, b: Features, centre: FloatArray) -> Iterator[tuple[slice, slice, FloatArray]]:
    """Yield rows of ``a``, rows of ``b`` and their squared Euclidean distances, a tile at a time.

    |x - y|^2 = |x|^2 + |y|^2 - 2 x.y with x and y less ``centre`` ``(D,)``. A result that is not above the rounding of
    that sum is 0, so equal rows have distance 0.
    """
    rounding = a.shape[1] * np.finfo(np.float64).eps
    for rows, x in blocks(a, centre):
        x_squares = np.einsum("ij,ij->i", x, x)[:, None]
        for columns, y in blocks(b, centre):
            sums = x_squares + np.einsum("ij,ij->i", y, y)
            squares = sums - 2 * x @ y.T
            squares[squares <= rounding * sums] = 0
            yield rows, columns, squares


def middle(rows: Features) -> FloatArray:
    """Medians ``(D,)``, a centre for `squared_distances`: no offset cancels, whole numbers stay multiples of 1/2."""
    return np.median(rows, axis=0).astype(np.float64)
