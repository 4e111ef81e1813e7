"""ExpansionSampler against the engine's own densities, quadrature, closed forms and itself reread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy.stats import ks_2samp
from sklearn.mixture import GaussianMixture

from gaussmix.density.estimator import GMMExpansion
from gaussmix.latents._parts import VARIANCE_ROWS, _expansions, parts_of_clusters
from gaussmix.latents.expansion import COUPLINGS, Coupling, ExpansionSampler


def correlated(count: int, seed: int = 0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, 2)) @ [[1.0, 0.9], [0.0, 0.4]] + [2.0, -1.0]


def labelled() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Two classes of unequal size, far apart."""
    z = np.concatenate([correlated(300), correlated(100, 1) + 30.0])
    return z, np.repeat([3, 7], [300, 100])


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_density_integrates_to_one(coupling: Coupling) -> None:
    sampler = ExpansionSampler(coupling, n_clusters=3, random_state=0).fit(correlated(1500))
    x = np.linspace(-10, 14, 481)
    grid = np.stack(np.meshgrid(x, x - 3), -1).reshape(-1, 2)
    assert np.exp(sampler.score_samples(grid)).sum() * (x[1] - x[0]) ** 2 == pytest.approx(1, abs=2e-3)


def test_independent_is_the_product_of_the_engines_densities() -> None:
    z = correlated(800)
    sampler = ExpansionSampler("independent").fit(z)
    expected = sum(
        GMMExpansion("histogram", n_components=100, bandwidth=2.0, bounds=None)
        .fit(column[:, None])
        .distributions_[0]
        .logpdf(column)
        for column in z.T
    )
    np.testing.assert_allclose(sampler.score_samples(z), expected, rtol=1e-9)


@pytest.mark.parametrize(("coupling", "kept"), [("independent", False), ("pca", True), ("cluster-pca", True)])
def test_covariance_and_marginals_of_what_is_drawn(coupling: Coupling, kept: bool) -> None:
    z = correlated(4000)
    drawn = ExpansionSampler(coupling, n_clusters=3, random_state=0).fit(z).sample(4000, random_state=1)
    for ours, theirs in zip(drawn.T, z.T, strict=True):
        pvalue: Any = ks_2samp(ours, theirs)[1]
        assert pvalue > 1e-3
    expected = np.cov(z.T) if kept else np.diag(z.var(0))
    np.testing.assert_allclose(np.cov(drawn.T), expected, atol=0.1)


def test_classes_have_their_shares_and_places() -> None:
    z, y = labelled()
    sampler = ExpansionSampler(n_clusters=2, random_state=0).fit(z, y)
    np.testing.assert_allclose(sampler.shares_, [0.75, 0.25])
    assert (sampler.sample(50, class_label=7, random_state=0)[:, 0] > 20).all()
    drawn = sampler.sample(4, class_label=[3, 7, 3, 7], random_state=0)
    assert (drawn[:, 0] > 20).tolist() == [False, True, False, True]
    assert np.mean(sampler.sample(4000, random_state=0)[:, 0] > 20) == pytest.approx(0.25, abs=0.03)
    total = np.log(np.exp(sampler.class_log_densities(z)) @ sampler.shares_)
    np.testing.assert_allclose(sampler.score_samples(z), total)


def test_truncation_narrows() -> None:
    sampler = ExpansionSampler("pca").fit(correlated(2000))
    whole, narrow = (sampler.sample(2000, truncation=t, random_state=0).std(0) for t in (1.0, 0.5))
    assert (narrow < 0.6 * whole).all()


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize("labels", [True, False])
def test_saved_and_read_is_the_same(coupling: Coupling, labels: bool, tmp_path: Path) -> None:
    z, y = labelled()
    z = np.column_stack([z, np.full(len(z), 5.0)])
    sampler = ExpansionSampler(coupling, n_clusters=2, random_state=0).fit(z, y if labels else None)
    sampler.save(tmp_path / "sampler.safetensors")
    again = ExpansionSampler.load(tmp_path / "sampler.safetensors")
    np.testing.assert_array_equal(again.score_samples(z), sampler.score_samples(z))
    np.testing.assert_array_equal(again.sample(20, random_state=0), sampler.sample(20, random_state=0))


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_a_constant_dimension_is_drawn_as_it_is(coupling: Coupling) -> None:
    z = np.column_stack([correlated(200), np.full(200, 5.0)])
    sampler = ExpansionSampler(coupling, n_clusters=2, random_state=0).fit(z)
    np.testing.assert_allclose(sampler.sample(50, random_state=0)[:, 2], 5.0, atol=1e-6)


@pytest.mark.parametrize("coupling", ["pca", "cluster-pca"])
def test_a_row_off_the_data_has_no_density(coupling: Coupling) -> None:
    z = np.column_stack([correlated(400), np.full(400, 5.0)])
    sampler = ExpansionSampler(coupling, n_clusters=2, shrinkage=4, random_state=0).fit(z)
    flat = ExpansionSampler(coupling, n_clusters=2, shrinkage=4, random_state=0).fit(z[:, :2])
    np.testing.assert_allclose(sampler.score_samples(z[:9]), flat.score_samples(z[:9, :2]), atol=1e-6)
    assert np.isneginf(sampler.score_samples(z[:9] + np.array([0.0, 0.0, 0.1]))).all()
    point = ExpansionSampler("pca").fit(np.full((4, 2), 3.0))
    np.testing.assert_array_equal(point.sample(2), np.full((2, 2), 3.0))
    assert point.score_samples([[3.0, 3.0], [3.0, 4.0]]).tolist() == [0.0, -np.inf]


def ring(count: int, seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    angle, radius = rng.uniform(0, 2 * np.pi, count), rng.normal(4, 0.3, count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)


def test_clusters_follow_what_axes_cannot() -> None:
    """A ring: uncorrelated, not independent. As many Gaussians by EM are no better."""
    z, held = ring(4000, 0), ring(2000, 1)
    found = {c: np.median(ExpansionSampler(c, random_state=0).fit(z).score_samples(held)) for c in COUPLINGS}
    assert found["cluster-pca"] > max(found["pca"], found["independent"]) + 0.5
    em = GaussianMixture(10, random_state=0).fit(z)
    assert found["cluster-pca"] > np.median(em.score_samples(held)) - 0.1


def test_small_clusters_share_their_shape() -> None:
    """About ten rows a cluster in ten dimensions: held-out rows have a density, samples the variance."""
    rng = np.random.default_rng(0)
    z, held = rng.standard_normal((60, 10)), rng.standard_normal((200, 10))
    sampler = ExpansionSampler(n_clusters=6, random_state=0).fit(z)
    one, other = (part.marginals[0] for part in sampler.parts_[0][:2])
    standard = [each.ppf([0.1, 0.5, 0.9]) / each.std() for each in (one, other)]
    np.testing.assert_allclose(standard[0], standard[1], atol=1e-3)
    assert np.isfinite(sampler.score_samples(held)).all()
    assert sampler.sample(4000, random_state=0).var(0).mean() == pytest.approx(1, abs=0.2)


def test_covariances_of_small_clusters_are_shrunk_as_far_as_held_out_rows_say() -> None:
    """Six clusters of fifteen rows in ten dimensions, of one covariance: neither their own nor no clusters are best."""
    rng = np.random.default_rng(1)
    axes = rng.standard_normal((10, 10)) * np.linspace(1, 0.05, 10)
    centres = 9 * rng.standard_normal((6, 10))
    z, held = (centres[np.arange(n) % 6] + rng.standard_normal((n, 10)) @ axes.T for n in (90, 600))
    chosen = ExpansionSampler(random_state=0).fit(z)
    assert chosen.n_clusters_ in (5, 10)
    assert chosen.shrinkage_ >= 40  # four rows a dimension and more
    own = ExpansionSampler(n_clusters=chosen.n_clusters_, shrinkage=0.1, random_state=0).fit(z)
    one = ExpansionSampler(n_clusters=1, random_state=0).fit(z)
    best = np.median(chosen.score_samples(held))
    assert best > max(np.median(rival.score_samples(held)) for rival in (own, one)) + 0.5


def test_of_what_held_out_rows_hardly_tell_apart_the_most_clusters_are_taken() -> None:
    """One Gaussian: more clusters with few rows, for which one more covariance costs much; not with many."""
    rng = np.random.default_rng(0)
    few, many = (ExpansionSampler(random_state=0).fit(rng.standard_normal((n, 8))) for n in (60, 4000))
    assert few.n_clusters_ > 1
    assert many.n_clusters_ == 1


def test_a_cluster_of_one_row() -> None:
    """It has the spread that is within the others."""
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.standard_normal((400, 4)), [[90.0, 0.0, 0.0, 0.0]]])
    sampler = ExpansionSampler(n_clusters=2, shrinkage=4, random_state=0).fit(z)
    alone = min(sampler.parts_[0], key=lambda term: term.weight)
    assert alone.weight == pytest.approx(1 / 401)
    assert [marginal.std() for marginal in alone.marginals] == pytest.approx([1] * 4, abs=0.15)
    with_twins = ExpansionSampler(n_clusters=10, random_state=0).fit(np.repeat(z[:20], 2, axis=0))
    assert np.isfinite(with_twins.sample(100, random_state=0)).all()


def test_axes_and_variances_are_those_of_the_formulas() -> None:
    rng = np.random.default_rng(0)
    rows, cluster = rng.standard_normal((90, 3)) * [3.0, 1.0, 0.3], np.arange(90) % 3
    own = [rows[cluster == k] - rows[cluster == k].mean(0) for k in range(3)]
    within = sum(each.T @ each for each in own) / 87
    terms = list(parts_of_clusters(rows, cluster, GMMExpansion("histogram", bounds=None), 5.0))
    for term, each in zip(terms, own, strict=True):
        shrunk = (each.T @ each + 5 * within) / (len(each) - 1 + 5)
        turned = term.axes.T @ shrunk @ term.axes
        np.testing.assert_allclose(turned, np.diag(np.diag(turned)), atol=1e-12)
        total = ((each @ term.axes) ** 2).sum(0) + VARIANCE_ROWS * np.diag(turned)
        expected = total / (len(each) - 1 + VARIANCE_ROWS)
        # a guard and a bandwidth add a little
        assert [marginal.var() for marginal in term.marginals] == pytest.approx(expected.tolist(), rel=0.1)


def test_damaged_and_foreign_files(tmp_path: Path) -> None:
    z, y = labelled()
    ExpansionSampler("pca").fit(z, y).save(tmp_path / "s.safetensors")
    whole = (tmp_path / "s.safetensors").read_bytes()
    (tmp_path / "s.safetensors").write_bytes(whole[:-10])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        ExpansionSampler.load(tmp_path / "s.safetensors")
    GMMExpansion().fit(z[:, 0]).save(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"not gaussmix\.expansion_sampler"):
        ExpansionSampler.load(tmp_path / "other.safetensors")


def test_number_of_clusters_by_held_out_rows() -> None:
    rng = np.random.default_rng(0)
    z = np.concatenate([0.1 * rng.standard_normal((300, 2)) + centre for centre in ([0, 0], [9, 0], [0, 9], [5, 4])])
    assert ExpansionSampler(n_clusters="auto", random_state=0).fit(z).n_clusters_ > 1
    assert ExpansionSampler(n_clusters="auto", random_state=0).fit(rng.standard_normal((800, 3))).n_clusters_ <= 2
    few = ExpansionSampler(n_clusters="auto", random_state=0).fit(rng.standard_normal((6, 3)))
    assert few.n_clusters_ <= 4  # of the 6 rows 4 are left to fit


@pytest.mark.parametrize(
    ("settings", "z", "y", "message"),
    [
        ({}, np.ones((3, 2)), [0, 0, 1], "class 1 has 1 row"),
        ({"n_clusters": 9}, np.eye(5), None, "5 rows for 9 clusters"),
        ({}, [[0.0, np.nan], [1, 1]], None, "1 of 2 rows are not finite, the first is row 0"),
        ({}, np.ones(3), None, r"rows have shape \(3,\)"),
        ({}, np.ones((3, 2)), [0, 1], r"labels have shape \(2,\)"),
        ({"coupling": "copula"}, np.ones((3, 2)), None, "coupling is 'copula'"),
        ({"n_clusters": 0}, np.ones((3, 2)), None, "n_clusters is 0"),
        ({"shrinkage": 0}, np.ones((3, 2)), None, "shrinkage is 0; give a number above 0"),
    ],
)
def test_bad_input_is_named(settings: dict[str, Any], z: Any, y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ExpansionSampler(**settings).fit(z, y)


def test_bad_requests_are_named() -> None:
    z, y = labelled()
    sampler = ExpansionSampler("pca").fit(z, y)
    with pytest.raises(ValueError, match="no class 4; the sampler knows 3, 7"):
        sampler.sample(1, class_label=4)
    with pytest.raises(ValueError, match="truncation is 2"):
        sampler.sample(1, truncation=2)
    with pytest.raises(ValueError, match="rows have 3 numbers; the sampler knows 2"):
        sampler.score_samples(np.ones((1, 3)))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("shares", lambda a: a[:1]),
        ("n_parts", lambda a: a[:1]),
        ("n_parts", lambda a: a * 2),
        ("part_means", lambda a: np.full_like(a, np.nan)),
        ("part_axes", lambda a: a[:, :1].copy()),
        ("n_marginals", lambda a: a[:1]),
        ("n_marginals", lambda a: -a),
    ],
)
def test_a_damaged_file_is_refused(name: str, change: Any, tmp_path: Path) -> None:
    z = correlated(200)
    ExpansionSampler(n_clusters=2, random_state=0).fit(z, np.arange(200) % 2).save(tmp_path / "s.safetensors")
    with safe_open(tmp_path / "s.safetensors", "np") as file:
        about, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    save_file({**tensors, name: change(tensors[name])}, tmp_path / "d.safetensors", about)
    with pytest.raises(ValueError, match=r"d\.safetensors is damaged"):
        ExpansionSampler.load(tmp_path / "d.safetensors")


def test_counting_alone_gives_what_the_estimator_gives():
    """Columns without ties or values far out are counted without looking for either: the same densities come out."""
    rng = np.random.default_rng(0)
    columns = [
        rng.standard_normal(400),
        rng.gamma(2.0, size=400),
        rng.standard_cauchy(400),
        np.round(rng.normal(size=400), 1),
    ]
    scores = np.column_stack(columns)
    expansion = GMMExpansion("histogram", n_components=100, bandwidth=2.0, bounds=None)
    quick = _expansions(scores, expansion)
    for own, whole, column in zip(quick, expansion.fit(scores).distributions_, scores.T, strict=True):
        low, high = np.quantile(column, [0.01, 0.99]).tolist()
        x = np.linspace(low, high, 200)
        np.testing.assert_allclose(own.pdf(x), whole.pdf(x), rtol=1e-3, atol=1e-5 * whole.pdf(x).max())
        far = column.max() + 50 * column.std()
        assert own.logpdf(far) == pytest.approx(whole.logpdf(far), rel=0.1)  # the guard
