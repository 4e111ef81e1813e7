"""GramExpansion: rows and repair against eigh, the three couplings against loops and closed forms, blends, files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from gaussmix.density.basis import GaussianBasis
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.estimator import GMMExpansion
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.density.rules import algorithm2_weights, histogram_weights
from gaussmix.style.expansion import GramExpansion
from gaussmix.style.grams import GramLayout, Picks, PrincipalScores, repair
from gaussmix.style.vgg import STYLE_LAYERS, VGG19Features, gram_matrix

LAYOUT = GramLayout({"a": 3, "b": 2})


def grams(n: int, seed: int = 0, size: float = 1.0) -> dict[str, np.ndarray]:
    """Gram matrices of n random crops."""
    rng = np.random.default_rng(seed)
    features = {layer: size * rng.random((n, 1, 1)) * rng.random((n, c, 9)) for layer, c in LAYOUT.channels.items()}
    return {layer: f @ f.transpose(0, 2, 1) / 9 for layer, f in features.items()}


def blobs(seed: int = 0, side: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (side, side + 8, 3)).astype(np.uint8)


# -- rows and repair


def test_rows_and_back() -> None:
    found = grams(4)
    rows = LAYOUT.rows(found)
    assert rows.shape == (4, LAYOUT.size) == (4, 9)
    for layer, gram in LAYOUT.grams(rows[2]).items():
        np.testing.assert_allclose(gram, found[layer][2], rtol=1e-6)
        np.testing.assert_allclose(LAYOUT.traces(rows)[layer], np.trace(found[layer], axis1=1, axis2=2), rtol=1e-6)


def test_distance_of_rows_is_the_style_loss() -> None:
    rows, mean = LAYOUT.rows(grams(2)), LAYOUT.rows(grams(1, 5))[0]
    one, two, base = (LAYOUT.grams(row) for row in (*rows, mean))
    loss = np.mean([((one[k] - two[k]) ** 2).sum() / (base[k] ** 2).sum() for k in LAYOUT.channels])
    assert (((rows[0] - rows[1]) * LAYOUT.scale(mean)) ** 2).sum() == pytest.approx(loss, rel=1e-5)


def test_repair_clips_and_keeps_the_trace() -> None:
    matrix = np.array([[1.0, 2.0], [2.0, 1.0]])  # eigenvalues 3 and -1, trace 2
    np.testing.assert_allclose(repair(matrix), np.ones((2, 2)), rtol=1e-6)
    np.testing.assert_allclose(repair(np.array([[1.0, 4.0], [0.0, 1.0]])), np.ones((2, 2)), rtol=1e-6)
    faint = np.diag([1.0, -3.0])  # a negative trace: the least one is taken
    np.testing.assert_allclose(repair(faint, 0.5), np.diag([0.5, 0.0]), atol=1e-6)
    valid = grams(1)["a"][0]
    np.testing.assert_allclose(repair(valid), valid, rtol=1e-5)


# -- couplings


def picks(rows: np.ndarray, rule, together: bool = False, n: int = 6) -> Picks:
    shares = np.full(len(rows), 1 / len(rows))
    return Picks(rows, shares, together=together, rule=rule, n_components=n, bandwidth=0.5)


@pytest.mark.parametrize("rule", ["histogram", "algorithm2"])
@pytest.mark.parametrize("n_crops", [4, 30])
def test_a_pick_is_a_draw_from_the_papers_mixture(rule, n_crops: int) -> None:
    """Many entries with the same crops are as good as many draws; flat weight for 4 crops, clipped weight for 30."""
    values = np.random.default_rng(0).gamma(2.0, size=n_crops)
    basis = GaussianBasis.as_paper(values.min(), values.max(), 6, 0.5)
    counts = BinnedCounts(basis.axis()).add(np.minimum(values, basis.centers[-1]))
    if rule == "histogram":
        weights = histogram_weights(counts, basis)
    elif n_crops == 4:
        weights = algorithm2_weights(counts, basis)[0]
    else:
        with pytest.warns(UserWarning, match="below zero"):
            weights = algorithm2_weights(counts, basis)[0]
    rows = np.repeat(values[:, None], 20_000, 1).astype(np.float32)
    drawn = picks(rows, rule).draw(np.random.default_rng(1))
    mixture = GaussianMixture1D(weights, basis.centers, basis.stds)
    assert kstest(drawn, mixture.cdf).pvalue > 1e-3
    other = GaussianMixture1D(np.full(6, 1 / 6), basis.centers, basis.stds)
    assert kstest(drawn, other.cdf).pvalue < 1e-6  # it can fail


def test_entries_are_drawn_apart_and_crops_together() -> None:
    rows = np.repeat(np.array([[0.0], [60.0]], np.float32), 4000, 1)
    apart, together = (picks(rows, "histogram", t, n=60).draw(np.random.default_rng(0)) for t in (False, True))
    assert 0.45 < (apart > 30).mean() < 0.55
    assert (together > 30).mean() in (0.0, 1.0)
    assert np.std(together) == pytest.approx(0.5, rel=0.1)  # t r


def test_constant_entries_stay() -> None:
    rows = np.ones((3, 5), np.float32)
    np.testing.assert_array_equal(picks(rows, "histogram").draw(np.random.default_rng(0)), 1)


def gaussian_scores(n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Rows ``(n, 5)`` on a plane, and their covariance."""
    rng = np.random.default_rng(0)
    axes = np.array([[3.0, 0, 3, 0, 0], [0, 1, 0, -1, 0]])
    rows = 10 + rng.standard_normal((n, 2)) @ axes
    return rows.astype(np.float32), np.cov(rows.T)


def test_principal_scores_of_gaussian_rows() -> None:
    rows, covariance = gaussian_scores()
    scores = PrincipalScores.fit(rows, np.ones(5, np.float32), GMMExpansion("fast", bounds=None))
    assert scores.axes.shape == (2, 5)
    rng = np.random.default_rng(1)
    drawn = np.stack([scores.draw(rng) for _ in range(1500)])
    np.testing.assert_allclose(drawn.mean(0), rows.mean(0), atol=0.3)
    np.testing.assert_allclose(np.cov(drawn.T), covariance, atol=1.2)
    np.testing.assert_allclose(drawn[:, 0], drawn[:, 2], rtol=1e-4)  # within the plane of the rows


def test_a_walk_is_smooth_closed_and_distributed_as_draws() -> None:
    rows, _ = gaussian_scores()
    scores = PrincipalScores.fit(rows, np.ones(5, np.float32), GMMExpansion("fast", bounds=None))
    walk = scores.walk(40, np.random.default_rng(0))
    steps = np.linalg.norm(np.diff(walk, axis=0, append=walk[:1]), axis=1)
    assert steps.max() < 0.5 * np.linalg.norm(walk - walk.mean(0), axis=1).max()
    starts = np.stack([scores.walk(3, np.random.default_rng(i))[1] for i in range(300)])
    marginal = GMMExpansion("fast", bounds=None).fit(rows[:, 0].astype(float)).distribution_
    assert kstest(starts[:, 0], marginal.cdf).pvalue > 1e-3


# -- the class


@pytest.mark.parametrize("settings", [
    {"coupling": "pca"}, {"coupling": "crop"}, {"coupling": "entry"},
    {"coupling": "entry", "rule": "algorithm2"}, {"coupling": "entry", "mixing": "data"},
])  # fmt: skip
def test_draws_are_valid_repeatable_and_survive_the_disk(settings, tmp_path: Path) -> None:
    expansion = GramExpansion(**settings).fit_grams({"one": grams(12), "two": grams(9, 1, 3.0)})
    blend = {"one": 0.25, "two": 0.75}
    drawn = expansion.sample(3, blend, random_state=4)
    for target in drawn:
        assert {layer: tuple(gram.shape) for layer, gram in target.items()} == {"a": (3, 3), "b": (2, 2)}
        for gram in target.values():
            assert gram.dtype == torch.float32
            assert np.linalg.eigvalsh(gram.numpy())[0] > -1e-5
            torch.testing.assert_close(gram, gram.T)
    assert not torch.equal(drawn[0]["a"], drawn[1]["a"])
    expansion.save(tmp_path / "style.safetensors")
    loaded = GramExpansion.load(tmp_path / "style.safetensors")
    assert loaded.styles == ("one", "two")
    for again in (loaded.sample(3, blend, random_state=4), expansion.sample(4, blend, random_state=4)):
        for layer in ("a", "b"):
            torch.testing.assert_close(drawn[2][layer], again[2][layer])


def test_a_blend_is_the_convex_combination_of_the_same_draws() -> None:
    expansion = GramExpansion().fit_grams({"one": grams(12), "two": grams(9, 1, 3.0)})
    one, two, both = (
        expansion.sample_rows(2, blend, 7) for blend in ({"one": 1.0}, {"two": 1}, {"one": 0.2, "two": 0.8})
    )
    np.testing.assert_allclose(both, 0.2 * one + 0.8 * two, rtol=1e-5)
    np.testing.assert_allclose(expansion.sample_rows(2, None, 7), 0.5 * one + 0.5 * two, rtol=1e-5)
    with pytest.warns(UserWarning, match="add up to 5; they were divided"):
        np.testing.assert_allclose(expansion.sample_rows(2, {"one": 1, "two": 4}, 7), both, rtol=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("coupling", ["pca", "crop", "entry"])
def test_draws_of_a_blend_have_the_shares_that_were_asked_for(share, coupling) -> None:
    expansion = GramExpansion(coupling).fit_grams({"one": grams(12), "two": grams(9, 1, 2.0)})
    blend = {"one": 1 - share, "two": share}
    plane = expansion.plane
    placed = expansion.layout.rows(stacked(expansion.sample(20, blend, 3)))
    as_drawn = expansion.layout.rows(stacked(expansion.targets(expansion.sample_rows(20, blend, 3), blend)))
    off, before = (np.abs(plane.shares(rows)[:, 1] - share) for rows in (placed, as_drawn))
    assert off.mean() < 0.05
    assert before.mean() > 2 * off.mean()


def stacked(targets: list[dict[str, torch.Tensor]]) -> dict[str, np.ndarray]:
    return {layer: np.stack([target[layer].numpy() for target in targets]) for layer in targets[0]}


def test_shares_are_least_squares_on_the_means() -> None:
    expansion = GramExpansion().fit_grams({"a": grams(8), "b": grams(8, 1), "c": grams(8, 2)})
    plane, rows = expansion.plane, LAYOUT.rows(grams(5, 7))
    scale = LAYOUT.scale(plane.means.mean(0))
    for row, found in zip(rows, plane.shares(rows), strict=True):
        tied = np.column_stack([plane.means * scale, np.full((3, 1), 1e4)]).T  # a heavy row that ties the sum to 1
        expected = np.linalg.lstsq(tied, np.append(row * scale, 1e4), rcond=None)[0]
        np.testing.assert_allclose(found, expected, atol=2e-3)
        asked = np.array([0.2, 0.5, 0.3])
        moved = plane.place(row, asked)
        np.testing.assert_allclose(plane.shares(moved[None])[0], asked, atol=1e-4)


def test_a_single_style_has_nothing_to_hold() -> None:
    expansion = GramExpansion().fit_grams({"one": grams(12)})
    assert expansion.held() is None
    two = GramExpansion().fit_grams({"one": grams(12), "two": grams(9, 1)}).held({"two": 1.0})
    assert two is not None
    np.testing.assert_array_equal(two.asked, [0.0, 1.0])


def test_the_distance_from_a_blend_is_that_of_the_shares_on_the_plane() -> None:
    """Of matrices off the plane, it is |sum_s (w_s - asked_s) m_s|^2 for their shares w."""
    expansion = GramExpansion().fit_grams({"a": grams(8), "b": grams(8, 1), "c": grams(8, 2)})
    held = expansion.held({"a": 0.2, "b": 0.5, "c": 0.3})
    assert held is not None
    found = grams(4, 7)
    off = (held.plane.shares(LAYOUT.rows(found)) - held.asked) @ held.plane.means
    expected = ((off * LAYOUT.scale(held.plane.means.mean(0))) ** 2).sum(1)
    tensors = {layer: torch.tensor(gram, dtype=torch.float32) for layer, gram in found.items()}
    np.testing.assert_allclose(held.distance(tensors), expected, rtol=1e-3)
    blended = LAYOUT.grams(held.asked @ held.plane.means)
    assert float(held.distance({layer: torch.from_numpy(gram)[None] for layer, gram in blended.items()})) < 1e-8


def test_grey_pictures_are_remembered(tmp_path: Path) -> None:
    features = VGG19Features.random(layers=STYLE_LAYERS, width=1)
    grey = np.repeat(blobs()[..., :1], 3, 2)
    for picture, known in ((grey, True), (blobs(), False)):
        expansion = GramExpansion().fit({"a": picture}, features, crops=3, random_state=0)
        assert expansion.grey == known
        expansion.save(tmp_path / "s.safetensors")
        assert GramExpansion.load(tmp_path / "s.safetensors").grey == known


def test_mixed_data_are_picked_by_share() -> None:
    """The paper's way: an entry is of style two as often as its share says."""
    low, high = ({layer: g * 0.01 + level for layer, g in grams(20, 3).items()} for level in (1.0, 5.0))
    expansion = GramExpansion("entry", mixing="data").fit_grams({"low": low, "high": high})
    rows = expansion.sample_rows(200, {"low": 0.8, "high": 0.2}, 0)
    assert (rows > 3).mean() == pytest.approx(0.2, abs=0.03)


def test_joined_styles_are_those_learnt_together() -> None:
    parts = {"one": grams(12), "two": grams(9, 1)}
    joined = GramExpansion.join([GramExpansion().fit_grams({name: own}) for name, own in parts.items()])
    whole = GramExpansion().fit_grams(parts)
    np.testing.assert_array_equal(joined.sample_rows(2, None, 3), whole.sample_rows(2, None, 3))
    with pytest.raises(ValueError, match="two styles are called 'one'"):
        GramExpansion.join([whole, joined])
    with pytest.raises(ValueError, match="learn one of them anew"):
        GramExpansion.join([whole, GramExpansion("crop").fit_grams({"three": grams(5)})])
    with pytest.raises(ValueError, match="no style to join"):
        GramExpansion.join([])


def test_walk_of_a_blend() -> None:
    expansion = GramExpansion().fit_grams({"one": grams(12), "two": grams(9, 1)})
    frames = expansion.walk(6, {"one": 0.5, "two": 0.5}, random_state=1)
    assert len(frames) == 6
    assert all(np.linalg.eigvalsh(gram.numpy())[0] > -1e-5 for frame in frames for gram in frame.values())
    with pytest.raises(ValueError, match="coupling 'entry' has no walk"):
        GramExpansion("entry").fit_grams({"one": grams(5)}).walk(4)


def test_fit_learns_from_crops_of_pictures() -> None:
    """Crops as large as the picture are the picture: the draws vary about its own matrix by rounding only."""
    features = VGG19Features.random(layers=STYLE_LAYERS, width=2)
    two = [blobs(i) for i in range(3)]
    square = [picture[:40, :40] for picture in two]
    expansion = GramExpansion("crop", n_components=10_000).fit(square, features, crops=3, crop_size=40, random_state=0)
    assert expansion.styles == ("style",)
    drawn = expansion.sample(1, random_state=0)[0]
    own = features(torch.tensor(np.stack(square)).permute(0, 3, 1, 2) / 255)
    for layer in ("relu1_1", "relu4_1"):
        gap = (gram_matrix(own[layer]) - drawn[layer]).abs().amax((1, 2))
        assert gap.min() < 1e-3 * drawn[layer].abs().max()
    again = [GramExpansion().fit({"a": blobs(), "b": two}, features, crops=4, random_state=2) for _ in range(2)]
    np.testing.assert_array_equal(again[0].sample_rows(1, None, 0), again[1].sample_rows(1, None, 0))


# -- what can be wrong


@pytest.mark.parametrize(("pictures", "settings", "message"), [
    ({}, {}, "there is no style"),
    ({"x": []}, {}, "there are no pictures of x"),
    (blobs(), {"crops": 1}, "crops is 1; a distribution needs at least 2"),
    (blobs(), {"crop_size": 41}, "crop_size is 41, the shorter side .* of style 40; choose from 16"),
    (blobs(), {"crop_size": 8}, "crop_size is 8"),
    (np.full((40, 40, 3), 7, np.uint8), {}, r"picture 0 of style has one colour, \[7, 7, 7\]"),
    (blobs().astype(float), {}, r"is float64 \(40, 48, 3\); give uint8"),
])  # fmt: skip
def test_pictures_that_make_no_style(pictures, settings, message: str) -> None:
    features = VGG19Features.random(layers=STYLE_LAYERS, width=1)
    with pytest.raises(ValueError, match=message):
        GramExpansion().fit(pictures, features, **settings)


@pytest.mark.parametrize(("own", "message"), [
    (None, "there is no style"),
    (grams(1), r"style has \[1\] crops; give at least 2"),
    ({"a": np.ones((3, 2, 3))}, r"shape \(3, 2, 3\); give \(crops, C, C\)"),
    ({"a": np.full((3, 2, 2), np.nan)}, "not finite"),
    ({"a": np.arange(12.0).reshape(3, 2, 2)}, "not symmetric"),
    ({"a": np.ones((3, 2, 2))}, "all 3 crops of style have the same"),
    ({"a": np.ones((3, 2, 2)), "b": np.ones((2, 2, 2))}, r"\[2, 3\] crops"),
])  # fmt: skip
def test_matrices_that_make_no_style(own, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GramExpansion().fit_grams({} if own is None else {"style": own})


def test_styles_have_the_same_layers() -> None:
    with pytest.raises(ValueError, match="y has layers"):
        GramExpansion().fit_grams({"x": grams(3), "y": {"a": grams(3)["a"]}})


@pytest.mark.parametrize(("settings", "message"), [
    ({"coupling": "cluster"}, "coupling is 'cluster'; choose from entry, crop, pca"),
    ({"coupling": "entry", "rule": "auto"}, "takes histogram or algorithm2"),
    ({"coupling": "crop", "rule": "algorithm2"}, "takes histogram"),
    ({"mixing": "data"}, "mixing is 'data'"),
    ({"n_components": 0}, "must be positive"),
])  # fmt: skip
def test_settings_out_of_range(settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GramExpansion(**settings)


@pytest.mark.parametrize(("blend", "message"), [
    ({"three": 1}, r"blend names \['three'\]; choose from one, two"),
    ({}, "blend names no style"),
    ({"one": -0.5, "two": 1.5}, r"blend weights are \{'one': -0.5\}"),
    ({"one": 0, "two": 0}, "at least one above 0"),
    ({"one": float("nan")}, "give finite ones"),
])  # fmt: skip
def test_blends_that_cannot_be(blend, message: str) -> None:
    expansion = GramExpansion().fit_grams({"one": grams(5), "two": grams(5, 1)})
    with pytest.raises(ValueError, match=message):
        expansion.sample(1, blend)


def test_nothing_learnt_nothing_drawn_and_other_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="call fit first"):
        GramExpansion().sample()
    with pytest.raises(ValueError, match="call fit first"):
        GramExpansion().save(tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="n_samples is 0"):
        GramExpansion().fit_grams({"one": grams(5)}).sample(0)
    (tmp_path / "x.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        GramExpansion.load(tmp_path / "x.safetensors")
