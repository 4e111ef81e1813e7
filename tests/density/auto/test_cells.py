"""Cell probabilities of reflected Gaussians, against SciPy and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from oracles.gaussian_sums import images
from scipy.stats import norm

from gaussmix.density.auto.scoring import cell_derivatives, cell_probabilities, sparse_probabilities
from gaussmix.density.reflection import reflect

INF = math.inf
BOUNDS = [(-INF, INF), (0.0, INF), (-INF, 3.0), (0.0, 3.0)]
MEANS, STDS = np.array([0.1, 1.0, 2.9, 1.5]), np.array([0.05, 0.5, 1.0, 4.0])


def edges_within(bounds: tuple[float, float]) -> np.ndarray:
    inner = np.linspace(0.2, 2.8, 30)
    return np.r_[bounds[0], inner, bounds[1]]


def by_images(edges: np.ndarray, mean: float, std: float, bounds: tuple[float, float]) -> np.ndarray:
    _, means, stds = images(np.ones(1), np.array([mean]), np.array([std]), bounds)
    return np.diff(norm.cdf(edges[:, None], means.astype(float), stds.astype(float)), axis=0).sum(1)


@pytest.mark.parametrize("bounds", BOUNDS)
def test_probabilities_are_those_of_all_mirror_images(bounds: tuple[float, float]) -> None:
    edges = edges_within(bounds)
    P = cell_probabilities(edges, MEANS, STDS, bounds)
    for k in range(len(MEANS)):
        np.testing.assert_allclose(P[k], by_images(edges, MEANS[k], STDS[k], bounds), atol=1e-14, rtol=1e-10)
    np.testing.assert_allclose(P.sum(1), 1, rtol=1e-14)


def test_far_tails_keep_their_relative_precision_on_either_side() -> None:
    edges = np.array([-8.0, -7.5, 7.5, 8.0])
    P = cell_probabilities(edges, np.zeros(1), np.ones(1), (-INF, INF))[0]
    assert P[0] == P[2] == pytest.approx(norm.sf(7.5) - norm.sf(8.0), rel=1e-12)


@pytest.mark.parametrize("bounds", BOUNDS)
def test_derivatives_are_finite_differences(bounds: tuple[float, float]) -> None:
    edges, step = edges_within(bounds), 1e-5
    P, D, S = cell_derivatives(edges, MEANS, STDS, bounds)
    np.testing.assert_allclose(P, cell_probabilities(edges, MEANS, STDS, bounds), rtol=1e-13, atol=1e-18)
    for ours, d_mean, d_log in ((D, STDS * step, 0.0), (S, 0.0 * STDS, step)):
        ahead, behind = (
            cell_probabilities(edges, MEANS + sign * d_mean, STDS * math.exp(sign * d_log), bounds) for sign in (1, -1)
        )
        np.testing.assert_allclose(ours, (ahead - behind) / (2 * step), atol=1e-9)


@pytest.mark.parametrize("bounds", BOUNDS)
def test_sparse_rows_leave_out_what_is_out_of_reach_only(bounds: tuple[float, float]) -> None:
    edges = edges_within(bounds)
    rows = sparse_probabilities(edges, MEANS, STDS, bounds)
    assert rows.nnz < len(MEANS) * (len(edges) - 1)
    np.testing.assert_allclose(rows.toarray(), cell_derivatives(edges, MEANS, STDS, bounds)[0], rtol=1e-13, atol=1e-18)


@pytest.mark.parametrize("bounds", BOUNDS)
def test_reflected_means_lie_inside_and_leave_the_density(bounds: tuple[float, float]) -> None:
    outside = np.array([-0.4, 3.3, 1.0, -7.0, 10.0])
    inside = reflect(outside, *bounds)
    assert inside.min() >= bounds[0]
    assert inside.max() <= bounds[1]
    edges = edges_within(bounds)
    for mean, moved in zip(outside, inside, strict=True):
        ours = cell_probabilities(edges, np.array([moved]), np.array([0.3]), bounds)[0]
        if np.isfinite(bounds).any():
            np.testing.assert_allclose(ours, by_images(edges, mean, 0.3, bounds), atol=1e-14)
