"""Ghosts, blur, grain and seams are seen, each by the number that is meant for it, and real pictures pass."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from gaussmix.metrics.detail import measure_detail


def squares(count: int, seed: int, size: int = 32) -> np.ndarray:
    """Surfaces of one colour with sharp outlines."""
    rng = np.random.default_rng(seed)
    images = np.empty((count, size, size, 3), np.uint8)
    for image in images:
        image[:] = rng.integers(0, 256, 3)
        for _ in range(4):
            top, left = rng.integers(0, size - 8, 2)
            height, width = rng.integers(4, 16, 2)
            image[top : top + height, left : left + width] = rng.integers(0, 256, 3)
    return images


REAL, OTHER = squares(1500, 0), squares(1500, 1)


def blurred(images: np.ndarray) -> np.ndarray:
    return gaussian_filter(images.astype(float), (0, 0.7, 0.7, 0)).astype(np.uint8)


def ghosts(images: np.ndarray) -> np.ndarray:
    return (0.75 * images + 0.25 * np.roll(images, 1, axis=0)).astype(np.uint8)


def grainy(images: np.ndarray) -> np.ndarray:
    return np.clip(images + np.random.default_rng(2).normal(0, 12, images.shape), 0, 255).astype(np.uint8)


def gaussian(images: np.ndarray) -> np.ndarray:
    """Drawn from the normal law with the mean and the covariance of the pictures."""
    rows = images.reshape(len(images), -1).astype(float)
    weights = np.random.default_rng(3).normal(size=(len(rows), len(rows))) / math.sqrt(len(rows) - 1)
    drawn = rows.mean(0) + weights @ (rows - rows.mean(0))
    return np.clip(drawn, 0, 255).astype(np.uint8).reshape(images.shape)


def tiled(images: np.ndarray) -> np.ndarray:
    """Each patch of 8 x 8 with a brightness of its own."""
    shift = np.random.default_rng(4).normal(0, 12, (len(images), 4, 4, 1)).repeat(8, 1).repeat(8, 2)
    return np.clip(images + shift, 0, 255).astype(np.uint8)


def test_real_pictures_pass():
    scores = measure_detail(OTHER, REAL)
    assert scores.detail < 0.02
    assert scores.spectrum < 0.2
    assert scores.seams == pytest.approx(1, abs=0.1)
    assert measure_detail(REAL, REAL) == (0, 0, 1)


@pytest.mark.parametrize("spoilt", [blurred, ghosts, grainy, gaussian])
def test_detail_sees_what_is_neither_surface_nor_outline(spoilt):
    assert measure_detail(spoilt(OTHER), REAL).detail > 10 * measure_detail(OTHER, REAL).detail


def test_the_spectrum_sees_blur_but_not_a_gaussian_of_the_same_covariance():
    assert measure_detail(blurred(OTHER), REAL).spectrum > 3
    assert measure_detail(gaussian(OTHER), REAL).spectrum < 1


def test_seams_are_edges_at_borders_alone():
    assert measure_detail(tiled(OTHER), REAL).seams > 2
    assert measure_detail(np.roll(tiled(OTHER), 3, axis=(1, 2)), REAL).seams < 1
    assert measure_detail(gaussian(OTHER), REAL).seams == pytest.approx(1, abs=0.1)


def test_without_a_second_patch_there_are_no_seams():
    assert math.isnan(measure_detail(OTHER, REAL, patch=32).seams)
    with pytest.raises(ValueError, match=r"pictures of \(16, 32, 3\) and of \(32, 32, 3\); give one size"):
        measure_detail(OTHER[:, :16], REAL)


def test_pictures_without_a_difference_are_no_error():
    plain = np.full((9, 32, 32, 3), 100, np.uint8)
    assert math.isnan(measure_detail(plain, plain).detail)
    assert math.isnan(measure_detail(OTHER, plain).seams)
    assert measure_detail(plain, REAL).detail == pytest.approx(1)
