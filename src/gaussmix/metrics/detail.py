"""Ghosts, blur, grain and seams: what features of a classifier do not see, measured on the pixels themselves.

Three numbers of a set of pictures beside real ones. None looks at what a picture shows, and a picture that is right in
all three can still be wrong in everything else.

*Detail.* Differences ``d`` of neighbouring cells of s x s pixels, s = 1, 2, 4, to the right and down. In a real picture
most are nearly 0 and few are large: surfaces and outlines. Translucent hair, grain and blur make middling ones of both.
With W1 the Wasserstein distance of their distributions,

    detail = mean over s of W1(|d| generated, |d| real) / mean |d| real

*Spectrum.* Power P(f) on rings of spatial frequency, without the mean: the root mean square over rings of
``10 log10 (P generated / P real)``, in decibel. It sees blur and grain; ghosts it hardly sees: a Gaussian with the
covariance of real pictures has their spectrum.

*Seams.* For generators that draw patches: the mean |difference| of pixels on either side of the patches' borders over
that of all other neighbours, divided by the same of real pictures. 1 is right, more are edges where nothing is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaussmix.distances import wasserstein_distance

_CELLS = (1, 2, 4)


class DetailScores(NamedTuple):
    """How far pictures are from real ones in their detail; real against real is near (0, 0, 1).

    Parameters
    ----------
    detail : float
        W1 of the sizes of differences, as a share of the mean size.
    spectrum : float
        Root mean square over rings of frequency, in decibel.
    seams : float
        Ratio of the steps at patches' borders, 1 for none.
    """

    detail: float
    spectrum: float
    seams: float


def measure_detail(generated: NDArray[np.uint8], real: NDArray[np.uint8], *, patch: int = 8) -> DetailScores:
    """Compare the detail of two sets of pictures.

    Parameters
    ----------
    generated, real : ndarray of uint8
        Pictures ``(M, S, S, 3)`` and ``(N, S, S, 3)``.
    patch : int, default 8
        Pixels from one border of patches to the next.

    Returns
    -------
    DetailScores
        ``detail`` as a share of the mean difference, ``spectrum`` in decibel, ``seams`` as a ratio; NaN where the
        pictures have no second patch, or real ones no differences.

    Raises
    ------
    ValueError
        For pictures of unlike size.
    """
    if generated.shape[1:] != real.shape[1:]:
        raise ValueError(f"pictures of {generated.shape[1:]} and of {real.shape[1:]}; give one size")
    first, second = (images.astype(np.float32) for images in (generated, real))
    with np.errstate(divide="ignore", invalid="ignore"):
        return DetailScores(
            float(np.mean([_detail(first, second, cell) for cell in _CELLS if cell < first.shape[1]])),
            float(np.sqrt(np.mean((10 * np.log10(_rings(first) / _rings(second))) ** 2))),
            _ratio(_step_at_borders(first, patch), _step_at_borders(second, patch)),
        )


def _ratio(a: float, b: float) -> float:
    """NaN where there is nothing to divide by."""
    return a / b if b else float("nan")


def _detail(first: NDArray[np.float32], second: NDArray[np.float32], cell: int) -> float:
    a, b = (np.concatenate([each.ravel() for each in _steps(_pooled(images, cell))]) for images in (first, second))
    return _ratio(wasserstein_distance(a, b), float(b.mean()))


def _steps(images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Absolute differences of neighbours, to the right and down."""
    return abs(np.diff(images, axis=2)), abs(np.diff(images, axis=1))


def _pooled(images: NDArray[np.float32], cell: int) -> NDArray[np.float32]:
    """Means of cells; pixels beyond the last whole cell are left out."""
    count, size = len(images), images.shape[1] // cell
    whole = images[:, : size * cell, : size * cell]
    return whole.reshape(count, size, cell, size, cell, -1).mean((2, 4))


def _rings(images: NDArray[np.float32]) -> NDArray[np.floating]:
    """Mean power on rings of one frequency each, from 1 a picture to the highest along an axis."""
    size = images.shape[1]
    power = (abs(np.fft.fft2(images, axes=(1, 2))) ** 2).mean((0, 3))
    frequency = np.fft.fftfreq(size, 1 / size)
    ring = np.hypot(frequency[:, None], frequency).round().astype(int)
    return np.array([power[ring == f].mean() for f in range(1, size // 2 + 1)])


def _step_at_borders(images: NDArray[np.float32], patch: int) -> float:
    """Mean difference across the borders of patches over that of all other neighbours; NaN without a border."""
    at_border = np.arange(1, images.shape[1]) % patch == 0
    right, down = _steps(images)
    across = np.concatenate([right[:, :, at_border].ravel(), down[:, at_border].ravel()])
    within = np.concatenate([right[:, :, ~at_border].ravel(), down[:, ~at_border].ravel()])
    return _ratio(float(across.mean()), float(within.mean())) if across.size and within.size else float("nan")
