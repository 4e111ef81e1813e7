"""Location, scale and kernel regression: honest out of fold, and blended as least squares asks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LinearRegression

from gaussmix.conditional import kernel_ridge
from gaussmix.conditional.folds import make_folds
from gaussmix.conditional.location import (
    InUnits,
    _balanced_samples,
    _error_products,
    _least_error,
    fit_location,
    fit_scale,
)


def test_leave_one_out_of_the_kernel_is_what_leaving_out_gives() -> None:
    """The closed form against a literal loop, landmarks and hyperparameters kept."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (40, 2))
    y = np.sin(3 * X[:, 0]) + 0.1 * rng.normal(size=40)
    folds = make_folds(40, rng)
    model, left_out, without_fold = kernel_ridge.fit_kernel_ridge(
        X, y, np.ones(40), np.ones(2), folds, np.random.default_rng(1)
    )
    Z = model._units(X)
    B = model.landmarks
    C = np.linalg.cholesky(kernel_ridge._kernel(B, B) + 1e-6 * np.eye(len(B)))
    P = np.linalg.solve(C, kernel_ridge._kernel(Z, B).T).T
    t = y - model.offset
    residual = {}
    for ridge in kernel_ridge._RIDGES:  # which one was chosen shows in the fit
        solved = np.linalg.solve(P.T @ P + ridge * np.eye(len(B)), P.T @ t)
        residual[ridge] = np.abs(P @ solved + model.offset - model.predict(X)).max()
    ridge = min(residual, key=lambda each: residual[each])
    assert residual[ridge] < 1e-6

    def without(rows: list[int]) -> np.ndarray:
        rest = np.setdiff1d(np.arange(40), rows)
        solved = np.linalg.solve(P[rest].T @ P[rest] + ridge * np.eye(len(B)), P[rest].T @ t[rest])
        return P[rows] @ solved + model.offset

    for i in range(0, 40, 7):
        assert left_out[i] == pytest.approx(without([i])[0], abs=1e-5)
    for fold in folds:
        np.testing.assert_allclose(without_fold[fold.test], without(fold.test.tolist()), atol=1e-5)


def test_members_do_not_know_their_own_row() -> None:
    """Noise cannot be predicted: out of fold the error is that of the mean, within a few standard errors."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(400, 3)), rng.normal(size=400)
    found = fit_location(X, y, np.ones(400), make_folds(400, rng), rng)
    errors = (y - found.out_of_fold) ** 2 - (y - y.mean()) ** 2
    assert errors.mean() > -3 * errors.std() / 20
    assert found.location.predict(X).shape == (400,)


def test_the_blend_has_the_least_error() -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(3, 3))
    C = root @ root.T
    blend = _least_error(C)
    assert blend.min() >= 0
    assert blend.sum() == pytest.approx(1)
    start = np.full(3, 1 / 3)
    solved = minimize(
        lambda a: a @ C @ a, start, bounds=[(0, 1)] * 3, constraints={"type": "eq", "fun": lambda a: a.sum() - 1}
    )
    assert blend @ C @ blend == pytest.approx(solved.fun, rel=1e-5)


def test_errors_of_many_members_are_foreseen_from_two_halves() -> None:
    """Members with independent errors of variance 1 and a common one of variance .5: (.5 + 1 / M)."""
    rng = np.random.default_rng(0)
    n, members = 200_000, 10
    common = np.sqrt(0.5) * rng.normal(size=n)
    halves = (common + rng.normal(size=(2, n)))[:, :, None]
    assert _error_products(halves, np.ones(n), members)[0, 0] == pytest.approx(0.5 + 1 / members, rel=0.02)


def test_trees_leave_all_rows_out_about_as_often() -> None:
    samples = _balanced_samples(100, 80, 50, np.random.default_rng(0))
    out = 50 - np.bincount(np.concatenate(samples), minlength=100)
    assert all(len(each) == 80 for each in samples)
    assert out.min() >= 5
    assert out.mean() == pytest.approx(10)


def test_the_scale_finds_where_errors_are_large_or_stays_constant() -> None:
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (2000, 2))
    true = np.exp(X[:, 0])
    error = true * rng.normal(size=2000)
    scale, unseen = fit_scale(X, error, np.ones(2000), make_folds(2000, rng), rng)
    ratio = unseen / (true * np.sqrt(2 / np.pi))
    assert np.abs(np.log(ratio)).mean() < 0.15
    np.testing.assert_allclose(scale.predict(X) / true, np.sqrt(2 / np.pi), rtol=0.6)
    floored = replace(scale, least=1.0).predict(X)
    np.testing.assert_array_equal(floored, np.maximum(scale.predict(X), 1.0))
    even, unseen = fit_scale(X, rng.normal(size=2000), np.ones(2000), make_folds(2000, rng), rng)
    assert np.ptp(unseen) == 0 or np.std(np.log(unseen)) < 0.05
    assert even.predict(X).shape == (2000,)
    with pytest.raises(ValueError, match="all errors are zero"):
        fit_scale(X, np.zeros(2000), np.ones(2000), make_folds(2000, rng), rng)


def test_a_regressor_of_the_user_gives_the_location() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    y = X @ [1.0, -2.0] + 0.1 * rng.normal(size=200)
    found = fit_location(X, y, np.ones(200), make_folds(200, rng), rng, regressor=InUnits(LinearRegression(), 0.0, 1.0))
    assert np.sqrt(np.mean((found.out_of_fold - y) ** 2)) < 0.13
    assert found.shrink == 1.0
