"""Polynomials by their coefficients: halves and parts, values at nodes, and integrals of |p|."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import chebyshev, polynomial

from gaussmix.distances import _polynomials as poly
from gaussmix.distances._polynomials import LEFT, N_NODES, N_TERMS, RIGHT, absolute_integral

T = np.linspace(-1, 1, 41)
seeds = st.integers(0, 2**32 - 1)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_parts_of_a_polynomial_are_that_polynomial(seed: int):
    p = np.random.default_rng(seed).normal(size=N_TERMS)
    for half, shift in ((LEFT, -0.5), (RIGHT, 0.5)):
        np.testing.assert_allclose(chebyshev.chebval(T, p @ half), chebyshev.chebval(shift + 0.5 * T, p), atol=1e-13)
    half, shift = np.array([0.3]), np.array([-0.6])
    np.testing.assert_allclose(
        chebyshev.chebval(T, poly.part(p[None], shift, half)[0]), chebyshev.chebval(shift + half * T, p), atol=1e-13
    )


def test_matrices_are_as_exact_as_their_products_take_for_granted():
    """Of T_k((t +- 1) / 2) the coefficients are exact; the others are sums of cosines of exact parts of a circle."""
    for half, sign in ((LEFT, -1), (RIGHT, 1)):
        rows = [np.array([1.0]), np.array([0.5 * sign, 0.5])]
        while len(rows) < N_TERMS:
            doubled = chebyshev.chebadd(chebyshev.chebmulx(rows[-1]), sign * rows[-1])  # exact: multiples of 2^-N_NODES
            rows.append(chebyshev.chebsub(doubled, rows[-2]))
        for k, row in enumerate(rows):
            np.testing.assert_array_equal(half[k], np.pad(row, (0, N_TERMS - row.size)))
    angles = np.arccos(np.longdouble(-1)) * (2 * np.arange(N_NODES, dtype=np.longdouble) + 1) / (2 * N_NODES)
    if np.finfo(np.longdouble).eps < 1e-18:
        exact = np.cos(np.arange(N_NODES) * angles[:, None]) * np.append(1, np.full(N_NODES - 1, 2)) / N_NODES
        for matrix, rows in ((poly.TO_PDF[:, :-1], exact), (poly.TO_CDF, chebyshev.chebint(exact, lbnd=0, axis=1))):
            off = np.abs(matrix - rows).sum(axis=1)
            assert (off <= 3 * 2.0**-52 * np.abs(matrix).sum(axis=1).clip(0.02)).all()


def test_polynomials_of_values_up_to_one():
    at = chebyshev.chebvander(np.linspace(-1, 1, 4001), N_TERMS - 1)
    for matrix, most in ((poly.TO_PDF, poly.PDF_MOST), (poly.TO_CDF, poly.CDF_MOST)):
        assert 0.99 * most < np.abs(at @ matrix.T).sum(axis=1).max() <= most


@pytest.mark.parametrize(
    ("roots", "small"),
    [
        ([0.3], 1e-12),
        ([-0.5, 0.25, 0.250001], 1e-12),
        ([-1.0, 0.0, 1.0], 1e-12),
        ([0.1, 0.1], 1e-3),
        ([0.1, 0.1, 0.7, 0.7, -0.6], 1e-2),
        ([0.1, 0.1, 0.7, 0.7, -0.6], 10.0),
        ([1.5, -1.0 - 1e-9], 1e-12),
    ],
)
def test_the_integral_of_the_absolute_polynomial(roots: list[float], small: float):
    p = np.zeros((1, N_TERMS))
    p[0, : len(roots) + 1] = chebyshev.poly2cheb(polynomial.polyfromroots(roots))
    inside = np.unique([-1.0, 1.0, *(root for root in roots if abs(root) < 1)])
    exact = np.abs(np.diff(polynomial.polyval(inside, polynomial.polyint(polynomial.polyfromroots(roots))))).sum()
    value, error = absolute_integral(p, np.ones(1), np.full(1, small))
    assert abs(value - exact) <= error + 1e-14
    assert error <= 4 * small + 1e-12


def test_where_doubt_is_allowed_its_error_counts():
    """x^2 - 1/4 as a whole: |int| is 1/6, int || is 1/2."""
    p = np.zeros((1, N_TERMS))
    p[0, :3] = chebyshev.poly2cheb([-0.25, 0, 1])
    value, error = absolute_integral(p, np.ones(1), np.ones(1))
    assert value == pytest.approx(1 / 6)
    assert error >= 1 / 2 - 1 / 6
