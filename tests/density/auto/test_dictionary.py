"""Cells and the multi-scale dictionary."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gaussmix.density.auto.scoring import cell_probabilities
from gaussmix.density.auto.selection import MAX_CELLS, SUPPORT, Dictionary, build_dictionary, cell_boundaries

OPEN = (-math.inf, math.inf)


def normal_bins(n: int = 50_000, m: int = 16_384) -> np.ndarray:
    return np.histogram(np.random.default_rng(0).normal(size=n), m)[0].astype(float)


def test_few_bins_are_their_own_cells() -> None:
    np.testing.assert_array_equal(cell_boundaries(np.ones(37)), np.arange(38))


@pytest.mark.parametrize("m", [16_384, 9_999])
def test_cells_tile_the_bins_and_mirror_with_them(m: int) -> None:
    counts = normal_bins(m=m)
    starts = cell_boundaries(counts)
    assert starts[0] == 0
    assert starts[-1] == m
    assert np.all(np.diff(starts) > 0)
    assert len(starts) <= MAX_CELLS + 60
    np.testing.assert_array_equal(cell_boundaries(counts[::-1]), (m - starts)[::-1])


def test_no_cell_is_wide_or_heavy_and_the_ends_are_fine() -> None:
    counts = normal_bins()
    starts = cell_boundaries(counts)
    heavy = np.add.reduceat(counts, starts[:-1]) > 1.5 * counts.sum() / (MAX_CELLS / 2)
    assert np.all(np.diff(starts)[heavy] == 1)
    assert np.diff(starts).max() <= math.ceil(len(counts) / (MAX_CELLS / 2)) + 1
    ends = np.cumsum(counts)[starts[1:] - 1]
    assert np.any((ends >= SUPPORT / 2) & (ends <= 2 * SUPPORT))


def dictionary_of(bounds: tuple[float, float] = OPEN) -> tuple[np.ndarray, np.ndarray, Dictionary]:
    counts = normal_bins()
    starts = cell_boundaries(counts)
    edges = np.linspace(0, 8, len(counts) + 1)[starts]
    cells = np.add.reduceat(counts, starts[:-1])
    return edges, cells, build_dictionary(edges, cells, bounds)


def test_atoms_are_supported_at_every_scale() -> None:
    edges, cells, atoms = dictionary_of()
    cumulative = np.r_[0, np.cumsum(cells)]
    near = np.interp(atoms.means + atoms.stds, edges, cumulative) - np.interp(
        atoms.means - atoms.stds, edges, cumulative
    )
    assert near.min() >= SUPPORT
    scales = np.unique(atoms.stds)[::-1]
    np.testing.assert_allclose(scales[:-1] / scales[1:], 2)
    assert scales[0] == pytest.approx(2.0)
    assert len(scales) >= 6


@pytest.mark.parametrize("bounds", [OPEN, (0.0, 8.0)])
def test_scores_are_derivatives_of_the_likelihood(bounds: tuple[float, float]) -> None:
    edges, cells, atoms = dictionary_of(bounds)
    n = cells.sum()
    p = cell_probabilities(edges, np.array([4.0]), np.array([1.5]), bounds)[0] + 1e-6
    gradient, curvature = atoms.scores(cells, p)
    A = cell_probabilities(edges, atoms.means, atoms.stds, bounds)

    def log_likelihood(k: int, weight: float) -> float:
        """A point's, with atom k at ``weight``; less the atom's mass, which the other components give up."""
        return float(cells @ np.log(p + weight * A[k]) / n - weight)

    for k in range(0, len(atoms.means), 37):
        step = 1e-4 * p.max() / A[k].max()
        ahead, here, behind = (log_likelihood(k, weight) for weight in (step, 0.0, -step))
        if not (math.isfinite(behind) and step * A[k].max() < 0.1 * p[A[k] > 1e-9].min()):
            continue
        assert gradient[k] == pytest.approx((ahead - behind) / (2 * step), rel=1e-3, abs=1e-3)
        assert curvature[k] + 1 == pytest.approx(-(ahead - 2 * here + behind) / step**2, rel=1e-2)
