"""Distances by the probabilities of regions around the centres of a basis (E sections 2.3 and 3).

    L   = |P_a{x <= mu_1 - d} - P_b{..}| + sum_i |P_a{mu_i +- d} - P_b{..}| + |P_a{x > mu_n + d} - P_b{..}|    E Eq. 9
    DIL = sum_i sum_j |P_a{d_ij} - P_b{d_ij}|                                                                E Eq. 1

{mu_i +- d} is (mu_i - d, mu_i + d], closed above as the paper's outermost regions imply; d_i1 .. d_im are the m equal
parts of (mu_i - r/2, mu_i + r/2], r the spacing. With d = r/2 the regions tile the line.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaussmix._typing import FloatArray
from gaussmix.density.auto.scoring import cell_probabilities
from gaussmix.density.basis import SUB_BINS, GaussianBasis
from gaussmix.density.reflection import finite_or_not
from gaussmix.distances._inputs import Sample, Weights, as_law, shaped, weight_rows

_ROUNDING = 1e-9  # by which another's distribution function may leave [0, 1]
_NUMBERS = 1 << 20  # at a time, to bound the memory


def binned_l1(
    a: Any,
    b: Any,
    cells: GaussianBasis,
    *,
    basis: GaussianBasis | None = None,
    half_width: float | None = None,
    a_weights: Weights = None,
    b_weights: Weights = None,
) -> float | FloatArray:
    """Return L of E Eq. 9, from 0 to 2: the sum of absolute differences of the regions' probabilities.

    As the paper. With half-width r/2, L is at most the integral of ``|f - g|`` and at least twice the difference of the
    two distribution functions at any edge.

    Parameters
    ----------
    a, b : GaussianMixture1D, GMMExpansion, array_like (N,) or distribution
        Mixtures, fitted one-column expansions, samples, or objects whose ``cdf(x)`` takes arrays, such as frozen SciPy
        distributions. ValueError or TypeError for anything else.
    cells : GaussianBasis
        Around whose centres the regions lie; it may be another one than ``basis``.
    basis : GaussianBasis, optional
        If given, ``a`` and ``b`` are weights ``(..., n)`` on it, which broadcast, and an array ``(...)`` is returned.
    half_width : float, optional
        The d of Eq. 9, in the unit of ``cells.spacing`` (on a warped basis that of the asinh axis, where regions then
        lie around the centres); r/2 if not given. A smaller one leaves gaps that nothing looks at; ValueError for a
        larger one, with which regions would overlap and L could exceed 2.
    a_weights, b_weights : array_like (N,), optional
        Masses of a sample's numbers, in proportion; equal if not given.
    """
    _check_cells(cells)
    r = cells.spacing
    if half_width is not None and not isinstance(half_width, Real):
        raise TypeError(f"half_width is {half_width!r}; give a positive number of at most half the spacing, {r / 2}")
    if half_width is not None and not 0 < half_width <= r / 2:
        raise ValueError(
            f"half_width is {half_width}; it must be positive and at most half the spacing, {r / 2}, or regions "
            "overlap and L can exceed 2"
        )
    if half_width is None or half_width == r / 2:
        edges = cells.axis().edges[::SUB_BINS]
        counted = np.arange(edges.size + 1)
    else:
        u = cells.start + r * np.arange(cells.n_components)
        edges = cells.axis().inverse(np.column_stack([u - half_width, u + half_width]).ravel())
        counted = np.append(np.append(0, np.arange(1, edges.size, 2)), edges.size)  # not the gaps between the regions
    return _loss(a, b, edges, counted, basis, (a_weights, b_weights))


def density_information_loss(
    a: Any,
    b: Any,
    cells: GaussianBasis,
    *,
    basis: GaussianBasis | None = None,
    parts: int = 4,
    a_weights: Weights = None,
    b_weights: Weights = None,
) -> float | FloatArray:
    """Return the density information loss of E Eq. 1: Eq. 9 with every region of ``cells`` split into equal parts.

    It grows with 2, 4, 8, ... parts and tends to the integral of ``|f - g|`` over the regions, twice the total
    variation distance if neither law has mass elsewhere: what lies outside is not counted. Where no part's
    probabilities differ by more than tau, it is at most ``cells.n_components * parts * tau``. As the paper, whose proof
    in section 2.3 uses half-width r/2; section 2.2 prints r, with which regions would overlap.

    Parameters
    ----------
    a, b : GaussianMixture1D, GMMExpansion, array_like (N,) or distribution
        As in `binned_l1`.
    cells : GaussianBasis
        Around whose centres the regions (mu_i - r/2, mu_i + r/2] lie; it may be another one than ``basis``.
    basis : GaussianBasis, optional
        If given, ``a`` and ``b`` are weights ``(..., n)`` on it, which broadcast, and an array ``(...)`` is returned.
    parts : int
        Into how many parts, at least 1, each region is split.
    a_weights, b_weights : array_like (N,), optional
        Masses of a sample's numbers, in proportion; equal if not given.
    """
    _check_cells(cells)
    if not (isinstance(parts, int | np.integer) and parts >= 1):
        raise ValueError(f"parts is {parts}; it must be a whole number, at least 1")
    n, u = cells.n_components, cells.start - cells.spacing / 2
    edges = cells.axis().inverse(u + cells.spacing / parts * np.arange(n * parts + 1))
    return _loss(a, b, edges, np.arange(1, edges.size), basis, (a_weights, b_weights))


def _check_cells(cells: GaussianBasis) -> None:
    if not isinstance(cells, GaussianBasis):
        raise TypeError(f"cells is a {type(cells).__name__}; give the GaussianBasis whose regions are compared")


def _loss(
    a: Any, b: Any, edges: FloatArray, counted: NDArray[np.intp], basis: GaussianBasis | None, weights: tuple[Any, Any]
) -> float | FloatArray:
    """Sum of |P_a - P_b| over those that are counted of the M + 2 regions below, between and above the M + 1 edges."""
    if basis is None:
        difference = _masses(a, edges, "a", weights[0]) - _masses(b, edges, "b", weights[1])
        return float(np.abs(difference[counted]).sum())
    first, second, shape = weight_rows(a, b, basis, *weights)
    bounds = low, high = finite_or_not(basis.bounds)
    regions = np.concatenate([[low], edges.clip(low, high), [high]])
    of_components = cell_probabilities(regions, basis.centers, basis.stds, bounds)[:, counted]
    out, rows = np.empty(len(first)), max(1, _NUMBERS // of_components.shape[1])
    for k in range(0, len(out), rows):
        part = slice(k, k + rows)
        out[part] = np.abs((first[part] - second[part]) @ of_components).sum(1)
    return shaped(out, shape)


def _masses(value: Any, edges: FloatArray, name: str, weights: ArrayLike | None) -> FloatArray:
    """P{x <= e_0}, P{e_0 < x <= e_1}, .., P{x > e_M} for increasing ``edges`` (M + 1,): (M + 2,)."""
    cdf = getattr(value, "cdf", None)
    if not callable(cdf):
        law = as_law(value, name, weights)
        if isinstance(law, Sample):
            regions = np.searchsorted(edges, law.values)  # e_(k-1) < x <= e_k
            counts = np.bincount(regions, law.masses, edges.size + 1).astype(np.float64)
            return counts if law.masses is not None else counts / regions.size
        cdf = law.cdf
    elif weights is not None:
        raise TypeError(f"{name}_weights are for samples, but {name} is a {type(value).__name__}")
    values = np.asarray(cdf(edges), np.float64)
    if values.shape != edges.shape or not (np.abs(values - 0.5) <= 0.5 + _ROUNDING).all():
        raise ValueError(
            f"{name}.cdf gave shape {values.shape} for {edges.shape} points, from {values.min(initial=math.inf):g} to "
            f"{values.max(initial=-math.inf):g}; it must give a probability for each"
        )
    return np.diff(values, prepend=0.0, append=1.0)
