"""What the distances accept, and the sentences for what they do not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gaussmix import GaussianBasis, GaussianMixture1D, GMMExpansion
from gaussmix.distances import compare, energy_distance, gaussian_mmd2, wasserstein_distance
from gaussmix.distances._inputs import Sample, as_law, as_mixture, check_weight_rows, weight_rows

BASIS = GaussianBasis.spanning(0.0, 1.0, 4)
NORMAL = GaussianMixture1D([1.0], [0.0], [1.0])
X = np.random.default_rng(0).normal(3.0, 2.0, 2000)


def test_laws_come_as_mixtures_models_and_numbers() -> None:
    model = GMMExpansion("fast").fit(X)
    assert as_law(NORMAL, "a") is NORMAL
    assert as_law(model, "a") is model.distribution_
    for numbers in ([1, 2, 3], np.array([1.0, 2.0, 3.0], np.float32), pd.Series([1, 2, 3]), (True, 2, 3)):
        law = as_law(numbers, "a")
        assert isinstance(law, Sample)
        assert law.values.dtype == np.float64
        np.testing.assert_array_equal(law.values, [1, 2, 3])
        assert law.masses is None


def test_weights_of_a_sample_are_normalised() -> None:
    law = as_law([1.0, 2.0], "a", [3, 1])
    assert isinstance(law, Sample)
    np.testing.assert_array_equal(law.masses, [0.75, 0.25])


def test_a_sample_is_learnt_where_a_density_is_needed() -> None:
    assert as_mixture(NORMAL, "a") is NORMAL
    learnt = as_mixture(X, "a")
    assert learnt == GMMExpansion().fit(X).distribution_
    weighted = as_mixture(X, "a", np.where(X > 3, 1.0, 0.0))
    assert weighted.ppf(0.05) > 2.5
    counts = np.random.default_rng(1).poisson(3, X.size)
    assert as_mixture(X, "a", counts) == as_mixture(np.repeat(X, counts), "a")


@pytest.mark.parametrize(
    ("value", "weights", "error", "message"),
    [
        ("word", None, TypeError, "a is a str; give a GaussianMixture1D, a fitted GMMExpansion or numbers"),
        (GMMExpansion(), None, ValueError, "a has no distribution to compare: .*not fitted yet"),
        (
            GMMExpansion("histogram").fit(np.c_[X, X]),
            None,
            ValueError,
            r"a has .*: 2 columns were fitted: use distributions_\[column\]",
        ),
        ([], None, ValueError, "a is empty"),
        (
            np.ones((2, 3)),
            None,
            ValueError,
            r"a has shape \(2, 3\); give numbers \(N,\), such as one column",
        ),
        (1.5, None, ValueError, r"a has shape \(\)"),
        ([1.0, np.nan], None, ValueError, "a contains nan"),
        ([1.0, np.inf], None, ValueError, "a contains inf"),
        ([1.0, 2.0], [1.0], ValueError, r"a_weights has shape \(1,\); give one weight for each of the 2 numbers"),
        ([1.0, 2.0], [1.0, -1.0], ValueError, "a_weights contains -1; weights must not be negative"),
        ([1.0, 2.0], [0.0, 0.0], ValueError, "a_weights sums to 0; at least one weight must be positive"),
        ([1.0, 2.0], [1.0, np.nan], ValueError, "a_weights contains nan"),
        (NORMAL, [1.0], TypeError, "a_weights are for samples, but a is a mixture"),
    ],
)
def test_laws_that_are_none(value, weights, error, message) -> None:
    with pytest.raises(error, match=message):
        as_law(value, "a", weights)


def test_masked_entries_are_refused_and_not_counted() -> None:
    x, weights = np.ma.masked_equal([1.0, 2.0, 9.0], 9.0), np.ma.masked_equal([1.0, 2.0, 9.0], 1.0)
    for values, masses in ((x, None), ([1.0, 2.0, 3.0], weights)):
        with pytest.raises(ValueError, match="has masked entries, which cannot be measured: leave them out"):
            as_law(values, "x", masses)
    with pytest.raises(ValueError, match="b has masked entries"):
        weight_rows(np.full(4, 0.25), np.ma.masked_equal([0.25, 0.25, 0.25, 0.25], 0.25), BASIS)
    law = as_law(np.ma.masked_array([1.0, 2.0], mask=[False, False]), "x")
    assert isinstance(law, Sample)
    np.testing.assert_array_equal(law.values, [1, 2])


def test_scipys_names_of_arguments_are_translated() -> None:
    options = {"b_weights": np.ones(2000), "u_weights": np.ones(2000)}
    with pytest.raises(TypeError, match="compare has no u_weights, as SciPy calls it; here it is a_weights"):
        compare(X, X, **options)


def test_weights_on_a_basis_are_broadcast() -> None:
    a, b = np.full((2, 3, 4), 0.25), np.array([1.0, 0, 0, 0], np.float32)
    first, second, shape = weight_rows(a, b, BASIS)
    assert shape == (2, 3)
    assert first.shape == second.shape == (6, 4)
    assert second.dtype == np.float64
    np.testing.assert_array_equal(second, np.tile(b, (6, 1)))
    assert weight_rows(b, b, BASIS)[2] == ()


def test_weights_of_another_basis() -> None:
    with pytest.raises(ValueError, match=r"b has shape \(5,\), but the basis has 4 components"):
        weight_rows(np.full(4, 0.25), np.full(5, 0.2), BASIS)
    with pytest.raises(TypeError, match="a is a GaussianMixture1D; with basis=, give weights"):
        weight_rows(NORMAL, np.full(4, 0.25), BASIS)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="basis is a tuple; give the GaussianBasis"):
        weight_rows(np.full(4, 0.25), np.full(4, 0.25), (0, 1))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"a has shape \(2, 4\) and b \(3, 4\), which do not broadcast"):
        weight_rows(np.full((2, 4), 0.25), np.full((3, 4), 0.25), BASIS)


def test_weights_are_normalised_exactly_and_only_then() -> None:
    exact = np.array([[0.25, 0.25, 0.5]])
    np.testing.assert_array_equal(check_weight_rows(exact, "a"), exact)
    near = exact * (1 + 5e-7)
    assert check_weight_rows(near, "a").sum() == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([0.5, 0.6], "a has weights that sum to 1.1; they must sum to 1: divide by their sum"),
        ([1.5, -0.5], "a contains -0.5; weights must not be negative"),
        ([np.nan, 1.0], "a contains nan"),
        ([np.inf, 0.0], "a contains inf"),
    ],
)
def test_weights_that_are_none(row, message) -> None:
    with pytest.raises(ValueError, match=message):
        check_weight_rows(np.array([[0.5, 0.5], row]), "a")


@pytest.mark.parametrize("function", [wasserstein_distance, energy_distance, gaussian_mmd2])
def test_every_distance_of_samples_hints_at_our_names(function) -> None:
    with pytest.raises(TypeError, match=f"{function.__name__} has no v_values, as SciPy calls it; here it is b"):
        function([1.0], v_values=[2.0])
