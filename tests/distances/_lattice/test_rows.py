"""Integrals of absolute differences on a lattice, against quadrature between zeros that a fine grid finds."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import ndtr

from gaussmix._typing import FloatArray
from gaussmix.distances._lattice.cells import tables
from gaussmix.distances._lattice.rows import absolute_integrals

Kind = Literal["cdf", "density"]
root: Any = brentq
KINDS: tuple[Kind, ...] = ("cdf", "density")


def normal_density(z: FloatArray) -> FloatArray:
    return np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def oracle(a: FloatArray, b: FloatArray, t: float, kind: Kind) -> float:
    """integral |g| with every component at every point: G's differences between zeros that change g's sign."""
    centers = np.arange(a.size)

    def g(x: Any) -> Any:
        z = (np.atleast_1d(x)[:, None] - centers) / t
        return (ndtr(z) if kind == "cdf" else normal_density(z) / t) @ (a - b)

    def whole(x: FloatArray) -> FloatArray:
        z = (x[:, None] - centers) / t
        return (t * (z * ndtr(z) + normal_density(z)) if kind == "cdf" else ndtr(z)) @ (a - b)

    reach = 9 * t + 2
    grid = np.linspace(-reach, a.size + reach, int((a.size + 2 * reach) * max(24, 24 / t)))
    grid = grid[g(grid) != 0]
    signs = np.sign(g(grid))
    zeros = [-reach]
    for i in np.flatnonzero(signs[1:] * signs[:-1] < 0):
        ends = float(grid[i]), float(grid[i + 1])
        values = [float(g(end)[0]) for end in ends]
        zeros.append(root(lambda x: float(g(x)[0]), *ends, xtol=1e-14) if values[0] * values[1] < 0 else ends[0])
    return float(np.abs(np.diff(whole(np.array([*zeros, a.size + reach])))).sum())


def rows(seed: int, n: int, shape: str) -> tuple[FloatArray, FloatArray]:
    """Four pairs of weights."""
    rng = np.random.default_rng(seed)
    if shape == "rough":
        return rng.dirichlet(np.ones(n), 4), rng.dirichlet(np.ones(n), 4)
    if shape == "sparse":
        pair = rng.dirichlet(np.ones(n), (2, 4)) * (rng.random((2, 4, n)) < 0.1)
        pair[..., rng.integers(n)] += 0.01
        return tuple(pair / pair.sum(2, keepdims=True))
    i, out = np.arange(n), []
    for _ in range(2):
        mean, std = rng.uniform(0.2, 0.8, (4, 3, 1)) * n, rng.uniform(0.03, 0.15, (4, 3, 1)) * n
        weights = (rng.random((4, 3, 1)) / std * np.exp(-0.5 * ((i - mean) / std) ** 2)).sum(1) + 1e-12
        out.append(weights / weights.sum(1, keepdims=True))
    return out[0], out[1]


@pytest.mark.parametrize("many", [1, 10**9])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", ["smooth", "rough", "sparse"])
@pytest.mark.parametrize("t", [0.05, 0.5, 1.0, 2.0, 7.3, 50.0])
def test_against_quadrature(kind: Kind, shape: str, t: float, many: int) -> None:
    """With the compiled loop and without."""
    a, b = rows(1, 60, shape)
    values, errors = absolute_integrals(a, b, 1.0, t, kind, many)
    for row in range(4):
        expected = oracle(a[row], b[row], t, kind)
        assert abs(values[row] - expected) <= errors[row] + 1e-14, row
        assert errors[row] <= 1e-9 * expected + 1e-9


@pytest.mark.parametrize("many", [1, 10**9])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 3, 64, 129])
def test_any_number_of_components(kind: Kind, n: int, many: int) -> None:
    a, b = rows(2, n, "rough")
    values, errors = absolute_integrals(a, b, 1.0, 2.0, kind, many)
    for row in range(4):
        assert abs(values[row] - oracle(a[row], b[row], 2.0, kind)) <= errors[row] + 1e-14


def test_closed_forms() -> None:
    """One Gaussian moved by k spacings: W1 is the way; the total variation 2 Phi(d / 2 sigma) - 1."""
    a, b = np.zeros((5, 40)), np.zeros((5, 40))
    moves = np.array([1, 2, 5, 20, 33])
    a[:, 3], b[np.arange(5), 3 + moves] = 1, 1
    spacing, t = 0.37, 2.5
    np.testing.assert_allclose(absolute_integrals(a, b, spacing, t, "cdf")[0], spacing * moves, rtol=1e-13)
    np.testing.assert_allclose(
        absolute_integrals(a, b, spacing, t, "density")[0], 2 * (2 * ndtr(moves / (2 * t)) - 1), rtol=1e-12
    )


def test_equal_means_and_other_spreads() -> None:
    """Symmetric weights have a zero at the centre of the middle component."""
    a, b = np.zeros((1, 41)), np.zeros((1, 41))
    a[0, 20], b[0, [0, 40]] = 1, 0.5
    value, error = absolute_integrals(a, b, 1.0, 2.0, "cdf")
    assert abs(value[0] - oracle(a[0], b[0], 2.0, "cdf")) <= error[0] + 1e-14
    assert error[0] < 1e-11


@pytest.mark.parametrize("kind", KINDS)
def test_equal_rows_have_no_distance(kind: Kind) -> None:
    a, _ = rows(3, 77, "rough")
    scaled = a * (1 + 3e-7)
    assert not absolute_integrals(a, a.copy(), 1.0, 2.0, kind)[0].any()
    assert not absolute_integrals(scaled, scaled.copy(), 1.0, 2.0, kind)[0].any()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(2, 90),
    st.sampled_from([0.3, 1.0, 2.0, 4.7]),
    st.sampled_from(["rough", "sparse"]),
    st.sampled_from([1, 10**9]),
)
def test_properties(seed: int, n: int, t: float, shape: str, many: int) -> None:
    """Symmetry, the triangle inequality, mirroring, the atoms' upper and the means' lower bound."""
    (a, b), (c, _) = rows(seed, n, shape), rows(seed + 1, n, shape)
    for kind in KINDS:
        ab, error = absolute_integrals(a, b, 1.0, t, kind, many)
        slack = 3 * error + 1e-13
        assert np.all(np.abs(ab - absolute_integrals(b, a, 1.0, t, kind, many)[0]) <= slack)
        mirrored = absolute_integrals(a[:, ::-1].copy(), b[:, ::-1].copy(), 1.0, t, kind, many)[0]
        assert np.all(np.abs(ab - mirrored) <= slack)
        others = absolute_integrals(a, c, 1.0, t, kind, many), absolute_integrals(c, b, 1.0, t, kind, many)
        assert np.all(ab <= sum(value for value, _ in others) + 3 * sum(wrong for _, wrong in others) + slack)
        atoms = np.abs(np.cumsum(a - b, 1) if kind == "cdf" else a - b).sum(1)
        means = np.abs((a - b) @ np.arange(n)) if kind == "cdf" else 0
        assert np.all(ab <= atoms + slack)
        assert np.all(ab >= means - slack)


def test_smoothing_lessens_what_is_rough() -> None:
    """The certificate holds where signs of the weights' differences outnumber the zeros by far."""
    n = 64
    a, b = np.full((1, n), 1 / n), np.full((1, n), 1 / n)
    a[0, ::2] *= 1.5
    a[0, 1::2] *= 0.5
    narrow, wide = (absolute_integrals(a, b, 1.0, t, "density")[0][0] for t in (0.05, 3.0))
    assert narrow == pytest.approx(0.5, rel=1e-9)
    value, error = absolute_integrals(a, b, 1.0, 3.0, "density")
    assert abs(value[0] - oracle(a[0], b[0], 3.0, "density")) <= error[0] + 1e-14
    assert wide < 0.1


@pytest.mark.parametrize("many", [1, 10**9])
def test_weights_that_are_not_quite_normalised(many: int) -> None:
    a, b = rows(4, 50, "rough")
    exact = absolute_integrals(a, b, 1.0, 2.0, "cdf", many)[0]
    np.testing.assert_allclose(
        absolute_integrals(a * (1 - 8e-7), b * (1 + 8e-7), 1.0, 2.0, "cdf", many)[0], exact, rtol=1e-12
    )


@pytest.mark.parametrize("many", [1, 10**9])
def test_signed_zeros_are_zeros(many: int) -> None:
    a, b = rows(5, 50, "sparse")
    exact = absolute_integrals(a, b, 1.0, 2.0, "cdf", many)[0]
    np.testing.assert_array_equal(absolute_integrals(np.where(a == 0, -0.0, a), b, 1.0, 2.0, "cdf", many)[0], exact)


@pytest.mark.parametrize("many", [1, 10**9])
@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        ((0, np.nan), "a contains nan; weights are finite"),
        ((0, np.inf), "a contains inf"),
        ((0, -1e-30), "a contains -1e-30; weights must not be negative"),
        ((1, 0.5), "b has weights that sum to .*divide by their sum"),
        ((0, 2e-6), "a has weights that sum to"),
    ],
)
def test_what_is_no_weight(spoil: tuple[int, float], match: str, many: int) -> None:
    which, value = spoil
    pair = rows(6, 50, "rough")
    pair[which][2, 17] = value if abs(value) < 1e-20 else pair[which][2, 17] + value
    with pytest.raises(ValueError, match=match):
        absolute_integrals(*pair, 1.0, 2.0, "cdf", many)


def test_no_rows() -> None:
    values, errors = absolute_integrals(np.empty((0, 5)), np.empty((0, 5)), 1.0, 2.0, "cdf")
    assert values.shape == errors.shape == (0,)


def test_the_oracle_tells_a_wrong_kernel() -> None:
    """A lattice of another bandwidth is another integral."""
    a, b = rows(7, 40, "rough")
    other, error = absolute_integrals(a, b, 1.0, 1.9, "cdf")
    assert abs(other[0] - oracle(a[0], b[0], 2.0, "cdf")) > 1e3 * error[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("t", [0.3, 2.0, 11.0])
def test_certified_zeros_and_cells_agree(kind: Kind, t: float) -> None:
    """Also where the weights are close to each other, and where they end abruptly."""
    a, b = (np.concatenate(parts) for parts in zip(*(rows(seed, 120, "smooth") for seed in range(30)), strict=True))
    b[::2] = (1 - 1e-6) * a[::2] + 1e-6 * b[::2]
    b[::3, :50] = 0
    b /= b.sum(1, keepdims=True)
    zeros, cells = (absolute_integrals(a, b, 1.0, t, kind, many) for many in (1, 10**9))
    assert np.all(np.abs(zeros[0] - cells[0]) <= zeros[1] + cells[1])
    assert np.all(zeros[1] <= 1e-10 * zeros[0] + 2e-13)  # the weights are rounded


def test_tables_are_kept() -> None:
    assert tables(2.0, "cdf") is tables(2.0, "cdf")
