"""Committees of networks: their gradients, what they learn and do not, files, and the rule that stacks them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from scipy.stats import norm

from gaussmix import ConditionalGMMExpansion
from gaussmix.conditional import network
from gaussmix.conditional.folds import make_folds
from gaussmix.conditional.location import fit_location
from gaussmix.conditional.network import Networks, NetworkWeights, fit_network_weights, fit_regressions


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Committees that learn in a second."""
    monkeypatch.setattr(network, "_LEAST_STEPS", 700)
    monkeypatch.setattr(network, "_EPOCHS", 20)


@pytest.mark.parametrize("head", ["regression", "weights"])
def test_gradients_are_those_of_finite_differences(head: str) -> None:
    """In double precision, of the loss as it is written and not as it is computed."""
    rng = np.random.default_rng(0)
    widths = np.array([3, 5, 4, 1 if head == "regression" else 6])
    parameters: Any = rng.normal(size=network._size(widths))  # in double precision
    x: Any = rng.normal(size=(7, 3))
    y, w = rng.normal(size=7), rng.uniform(0.5, 2, 7)
    N, log_prior = rng.gamma(1.0, size=(7, 6)), np.log(rng.dirichlet(np.ones(6)))

    def loss(values: np.ndarray) -> float:
        (A, a), (B, b), (C, c) = network._layers(values, widths)
        h = x @ A + a
        h = h / (1 + np.exp(-h)) @ B + b
        f = h / (1 + np.exp(-h)) @ C + c
        if head == "regression":
            return float(w @ (f[:, 0] - y) ** 2) / 2
        p = np.exp(f + log_prior)
        return -float(w @ np.log((p * N).sum(1) / p.sum(1)))

    gradient = np.zeros_like(parameters)
    if head == "regression":
        slope = lambda f: (f - y[:, None]) * w[:, None]  # noqa: E731
    else:
        slope: Any = partial(network._likelihood_slope, *cast(Any, (N, w, log_prior)), rows=np.arange(7))
    network.backpropagate(x, network._layers(parameters, widths), slope, network._layers(gradient, widths))
    step = 1e-5
    for k in range(0, len(parameters), 3):
        change = step * (np.arange(len(parameters)) == k)
        slow = (loss(parameters + change) - loss(parameters - change)) / (2 * step)
        assert gradient[k] == pytest.approx(slow, rel=1e-4, abs=1e-6)


def test_a_smooth_function_is_found_and_noise_is_not(few_steps: None) -> None:
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (600, 2))
    y = np.sin(4 * X[:, 0]) * X[:, 1]
    repeats = [make_folds(600, rng), make_folds(600, rng)]
    networks_at, staged = fit_regressions(X, y, np.ones(600), repeats, rng)
    last = networks_at(staged.shape[1] - 1)
    assert ((staged[:, -1] - y) ** 2).mean() < 1e-2 * y.var()
    Z = rng.uniform(-1, 1, (200, 2))
    assert ((last.predict(Z) - np.sin(4 * Z[:, 0]) * Z[:, 1]) ** 2).mean() < 1e-2 * y.var()
    noise = rng.normal(size=600)
    _, staged = fit_regressions(X, noise, np.ones(600), repeats[:1], rng)
    errors = (staged[0] - noise) ** 2 - (noise - noise.mean()) ** 2
    assert (errors.mean(1) > -3 * errors.std(1) / np.sqrt(600)).all()


def test_weights_find_a_mixture_that_changes_with_x(few_steps: None) -> None:
    """Two fixed Gaussians whose share is a smooth function of one feature; the other says nothing."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (1500, 2))
    p = 1 / (1 + np.exp(-4 * X[:, 0]))
    v = np.where(rng.random(1500) < p, 2.0, -2.0) + 0.5 * rng.normal(size=1500)
    means, stds = np.array([2.0, -2.0]), np.full(2, 0.5)
    folds = make_folds(1500, rng)
    found, likelihood = fit_network_weights(X, v, None, np.ones(1500), (means, stds), np.array([1.9, 0.1]), folds, rng)
    weights = found.weights(X)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
    assert np.abs(weights[:, 0] - p).mean() < 0.03
    densities = norm.pdf(v[:, None], means, stds)
    constant = max(np.log(densities @ [a, 1 - a]).mean() for a in np.linspace(0.05, 0.95, 19))
    truth = np.log(densities[:, 0] * p + densities[:, 1] * (1 - p)).mean()
    assert constant + 0.9 * (truth - constant) < np.log(likelihood).mean() <= truth + 0.01
    unseen = np.einsum("nk,nk->n", found.member(2).weights(X[folds[2].test]), densities[folds[2].test])
    np.testing.assert_allclose(unseen, likelihood[folds[2].test], rtol=1e-3)


def test_missing_features_are_told_and_arrays_are_checked() -> None:
    X = np.array([[1.0, np.nan], [3.0, 5.0], [5.0, 7.0]])
    networks = Networks.untrained(X, np.array([1.0, 2.0]), 1)
    z = networks.units(X)
    np.testing.assert_array_equal(z[:, 2], [1, 0, 0])
    assert z[0, 1] == 0
    bent = lambda t: t / np.hypot(1, t / 5)  # noqa: E731
    np.testing.assert_allclose(z[:, 0], bent((X[:, 0] - 3) / X[:, 0].std()), rtol=1e-6)
    assert z[2, 1] == pytest.approx(bent(2.0))  # twice the importance
    assert np.isfinite(networks.units(np.array([[np.nan, 1e300]]))).all()
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 2))
    basis = np.array([-1.0, 1.0]), np.ones(2)
    found, _ = fit_network_weights(X, X[:, 0], None, np.ones(30), basis, np.ones(2), make_folds(30, rng), rng)
    tensors = found.to_tensors()
    again = NetworkWeights.from_tensors(tensors, 2)
    np.testing.assert_array_equal(again.weights(X), found.weights(X))
    for name, value, why in [
        ("stds", -found.stds, "not positive"),
        ("networks.widths", np.array([2, 96, 96, 9]), "have widths"),
        ("networks.missing", np.array([7]), "features that there are not"),
        ("networks.spread", np.zeros(2), "units are not positive"),
        ("networks.parameters", found.networks.parameters * np.nan, "not finite"),
        ("networks.parameters", found.networks.parameters[:, 1:], "do not fit its layers"),
    ]:
        with pytest.raises(ValueError, match=why):
            NetworkWeights.from_tensors(tensors | {name: value}, 2)
    with pytest.raises(ValueError, match="2 and not 3"):
        NetworkWeights.from_tensors(tensors, 3)


def test_a_smooth_location_is_left_to_the_networks(few_steps: None) -> None:
    """A wave along a direction that no feature has: trees and kernels need more rows."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (500, 6))
    y = np.sin(2 * X @ [1, -1, 1, 1, -1, 1]) + 0.02 * rng.normal(size=500)
    known, new = slice(0, 300), slice(300, 500)
    found = fit_location(X[known], y[known], np.ones(300), make_folds(300, rng), rng, network=True)
    assert found.location.kernel is not None
    error, others = (np.mean((each.predict(X[new]) - y[new]) ** 2) for each in (found.location, found.location.kernel))
    assert error < 0.5 * others
    assert found.location.weights[-1] > 0.5


def test_the_rule_stacks_and_is_saved(few_steps: None, tmp_path: Path) -> None:
    """An inverse problem: where x is .5 there are three y, in the middle most often."""
    rng = np.random.default_rng(0)
    y = rng.uniform(0, 1, 400)
    X = (y + 0.3 * np.sin(2 * np.pi * y) + 0.05 * rng.normal(size=400))[:, None]
    X[::50] = np.nan
    model = ConditionalGMMExpansion("network", random_state=0).fit(X, y)
    assert model.report_.shares["network"] > 0.1
    law = model.predict_distribution([[0.5], [np.nan]])
    assert np.isfinite(law.mean()).all()
    slopes = 1 + 0.6 * np.pi * np.cos(2 * np.pi * np.array([0.21, 0.5, 0.79]))
    first, middle, _ = 1 / np.abs(slopes) / np.sum(1 / np.abs(slopes))
    np.testing.assert_allclose(law[0].cdf(np.array([0.35, 0.65])), [first, first + middle], atol=0.1)
    model.save(tmp_path / "m.gmx")
    again = ConditionalGMMExpansion.load(tmp_path / "m.gmx")
    np.testing.assert_array_equal(again.predict_quantiles(X, [0.1, 0.9]), model.predict_quantiles(X, [0.1, 0.9]))


def test_threads_change_nothing(few_steps: None) -> None:
    rng = np.random.default_rng(0)
    X, y, weight = rng.normal(size=(60, 2)), rng.normal(size=60), rng.uniform(0.5, 2, 60)
    repeats = [make_folds(60, rng)]
    one, two = (fit_regressions(X, y, weight, repeats, np.random.default_rng(1), n_jobs)[1] for n_jobs in (1, 2))
    np.testing.assert_array_equal(one, two)
