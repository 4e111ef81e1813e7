from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.stats import special_ortho_group
from sklearn.metrics.pairwise import polynomial_kernel
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from gaussmix.data import load_dataset
from gaussmix.metrics import (
    frechet_distance,
    kernel_distance,
    manifolds,
    train_attribute_classifier,
)
from gaussmix.metrics.distances import distance_of_gaussians


class Features(torch.nn.Module):
    """Stands in for Inception in torchmetrics: "pictures" are rows of features already."""

    def __init__(self, num_features: int):
        super().__init__()
        self.num_features = num_features

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows.flatten(1)


def covariance(rng: np.random.Generator, size: int, rank: int) -> np.ndarray:
    factor = rng.normal(size=(rank, size)) * np.geomspace(1, 1e-3, rank)[:, None]
    return factor.T @ factor


def test_one_dimension_by_hand():
    distance = distance_of_gaussians(*map(np.array, ([1.0], [[4.0]], [3.0], [[9.0]])))
    assert distance == pytest.approx((3 - 1) ** 2 + (3 - 2) ** 2)


@pytest.mark.parametrize("rank", [12, 5, 1])
def test_covariances_that_share_eigenvectors(rank: int):
    """Then the distance is |mean difference|^2 + sum (sd_a - sd_b)^2 along them, whatever the rank."""
    rng = np.random.default_rng(rank)
    turn = special_ortho_group(12, seed=1).rvs()
    present = np.arange(12) < rank
    a, b = rng.uniform(0, 3, (2, 12)) * [present, present[::-1]]
    mean_a, mean_b = rng.normal(size=(2, 12))
    distance = distance_of_gaussians(mean_a, turn.T * a**2 @ turn, mean_b, turn.T * b**2 @ turn)
    assert distance == pytest.approx(((mean_a - mean_b) ** 2).sum() + ((a - b) ** 2).sum(), rel=1e-6)


@pytest.mark.parametrize("ranks", [(40, 40), (40, 3), (7, 20), (1, 1)])
def test_any_covariances_against_their_factors(ranks: tuple[int, int]):
    """tr (A^T A B^T B)^(1/2) is the sum of the singular values of A B^T: no square root of a matrix at all."""
    rng = np.random.default_rng(0)
    factors = [rng.normal(size=(rank, 40)) * np.geomspace(1, 1e-3, rank)[:, None] for rank in ranks]
    zero, covs = np.zeros(40), [factor.T @ factor for factor in factors]
    expected = sum(map(np.trace, covs)) - 2 * np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    assert distance_of_gaussians(zero, covs[0], zero, covs[1]) == pytest.approx(expected, rel=1e-6)


def test_against_the_matrix_square_root_of_scipy():
    rng = np.random.default_rng(1)
    a, b = covariance(rng, 10, 30), covariance(rng, 10, 30)
    mean_a, mean_b = rng.normal(size=(2, 10))
    expected = ((mean_a - mean_b) ** 2).sum() + np.trace(a + b) - 2 * np.trace(sqrtm(a @ b)).real
    assert distance_of_gaussians(mean_a, a, mean_b, b) == pytest.approx(expected, rel=1e-8)
    assert distance_of_gaussians(mean_b, b, mean_a, a) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("rank", [10, 2])
def test_no_distance_to_itself(rank: int):
    cov = covariance(np.random.default_rng(2), 10, rank)
    assert 0 <= distance_of_gaussians(np.ones(10), cov, np.ones(10), cov) < 1e-12 * np.trace(cov)
    point = np.zeros((10, 10))
    assert distance_of_gaussians(np.ones(10), point, np.ones(10), point) == 0
    assert distance_of_gaussians(np.ones(10), point, np.ones(10), cov) == pytest.approx(np.trace(cov))


@pytest.mark.parametrize(("rows", "width"), [((300, 200), 16), ((9, 30), 16)])
def test_of_features_against_torchmetrics(rows: tuple[int, int], width: int):
    rng = np.random.default_rng(3)
    a, b = rng.gamma(2.0, size=(rows[0], width)), rng.gamma(3.0, size=(rows[1], width)) + 100
    oracle = FrechetInceptionDistance(Features(width), input_img_size=(1, 1, width)).set_dtype(torch.float64)
    oracle.update(torch.from_numpy(a), real=True)
    oracle.update(torch.from_numpy(b), real=False)
    assert frechet_distance(a, b) == pytest.approx(oracle.compute().item(), rel=1e-6)


def test_blocks_and_single_precision_change_nothing(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(4)
    a, b = (rng.normal(1000, 1, (50, 4)).astype(np.float32) for _ in range(2))
    expected = frechet_distance(a.astype(np.float64), b.astype(np.float64))
    monkeypatch.setattr(manifolds, "_ROWS", 7)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_constant_features_are_no_obstacle():
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(2, 50, 3))
    wide = [np.concatenate([x, np.full((50, 2), 7.0)], axis=1) for x in (a, b)]
    assert frechet_distance(*wide) == pytest.approx(frechet_distance(a, b))
    assert frechet_distance(np.full((5, 2), 3.0), np.full((4, 2), 5.0)) == 8


def test_small_samples_of_one_law_are_apart():
    """The bias that the guide speaks of: it falls as the samples grow."""
    rng = np.random.default_rng(6)
    few, many = (frechet_distance(*rng.normal(size=(2, n, 8))) for n in (40, 4000))
    assert few > 20 * many > 0


def test_what_cannot_be_compared():
    a = np.zeros((4, 3))
    with pytest.raises(ValueError, match=r"^b has 1 row\(s\), and a covariance needs two; give at least 2"):
        frechet_distance(a, a[:1])
    with pytest.raises(ValueError, match="a has 3 features a row and b has 2; compute both with one extractor"):
        frechet_distance(a, a[:, :2])
    for shape in ((4,), (4, 0), (4, 2, 2)):
        with pytest.raises(ValueError, match=r"^a has shape"):
            frechet_distance(np.zeros(shape), a)
    with pytest.raises(TypeError, match=r"^a holds"):
        frechet_distance([["x"]], a)
    bad = np.zeros((4, 3), np.float32)
    bad[2:, 1] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"^b: 2 of 4 rows hold NaN or infinity, the first is row 2"):
        frechet_distance(a, bad)


# --- kernel distance -------------------------------------------------------------------------------------------------


def kernel(x: np.ndarray, y: np.ndarray) -> float:
    return (sum(u * v for u, v in zip(x, y, strict=True)) / len(x) + 1) ** 3


def test_kernel_distance_against_loops_over_pairs():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(7, 3)), rng.normal(1, 1, size=(5, 3))
    within = sum(np.mean([kernel(x, y) for x, y in itertools.permutations(rows, 2)]) for rows in (a, b))
    across = np.mean([kernel(x, y) for x in a for y in b])
    assert kernel_distance(a, b).value == pytest.approx(within - 2 * across, rel=1e-12)


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save all extracted features")
def test_kernel_distance_against_torchmetrics():
    """With subsets as large as the samples, which must then be of one size."""
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(40, 6)), rng.normal(0.3, 1.2, size=(40, 6))
    oracle = KernelInceptionDistance(Features(6), subsets=1, subset_size=40).set_dtype(torch.float64)
    oracle.update(torch.from_numpy(a), real=True)
    oracle.update(torch.from_numpy(b), real=False)
    assert kernel_distance(a, b).value == pytest.approx(oracle.compute()[0].item(), rel=1e-9)


def test_kernel_distance_is_symmetric_and_does_not_depend_on_the_tiles(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(30, 4)), rng.normal(1, 1, size=(21, 4))
    whole = kernel_distance(a, b)
    assert kernel_distance(b, a) == pytest.approx(whole, rel=1e-12)
    monkeypatch.setattr(manifolds, "_ROWS", 8)
    assert kernel_distance(a, b) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize(("shift", "low", "high"), [(0.0, 0.95, 1.35), (0.3, 0.85, 1.15)])
def test_standard_error_of_a_kernel_distance_is_the_spread_of_repetitions(shift: float, low: float, high: float):
    rng = np.random.default_rng(3)
    found = [kernel_distance(rng.normal(size=(60, 8)), rng.normal(size=(90, 8)) + shift) for _ in range(600)]
    values, errors = np.transpose(found)
    assert low < np.sqrt((errors**2).mean()) / values.std() < high
    if not shift:
        assert abs(values.mean()) < 3 * values.std() / np.sqrt(600)


def test_splits_of_real_pictures_are_not_apart():
    """Unbiased on features of real avatars: the mean over random splits is 0 within two standard errors."""
    faces = load_dataset("avatars", count=120, progress=False)
    features = train_attribute_classifier(faces, steps=4).features(faces.images)
    rng, found, biased = np.random.default_rng(4), [], []
    for _ in range(60):
        order = rng.permutation(len(features))
        a, b = features[order[:50]], features[order[50:]]
        found.append(kernel_distance(a, b))
        biased.append(sum(f * polynomial_kernel(x, y).mean() for f, x, y in ((1, a, a), (1, b, b), (-2, a, b))))
    values = np.array([distance.value for distance in found])
    error = values.std(ddof=1) / np.sqrt(len(values))
    assert abs(values.mean()) < 2 * error
    assert np.mean(biased) > 5 * error  # the test can fail: a row's pair with itself, counted, would show
    assert np.mean([abs(d.value) < 3 * d.standard_error for d in found]) > 0.9


def test_kernel_distance_of_constant_features():
    assert kernel_distance(np.full((9, 2), 3.0), np.full((8, 2), 3.0)) == (0, 0)


def test_kernel_distance_of_what_cannot_be_compared():
    a = np.zeros((5, 3))
    with pytest.raises(ValueError, match=r"^b has 3 row\(s\), and a standard error needs four"):
        kernel_distance(a, a[:3])
    with pytest.raises(ValueError, match="compute both with one extractor"):
        kernel_distance(a, a[:, :2])
    with pytest.raises(ValueError, match="a: 5 of 5 rows hold NaN"):
        kernel_distance(a * np.nan, a)
