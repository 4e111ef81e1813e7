"""Matched latents on pictures whose modes are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import normalized_mutual_info_score

from gaussmix.latents.attributes import AttributeLatents
from gaussmix.latents.matching import match_latents


def bars(count: int, seed: int = 0):
    """Pictures with a bar at the top (attribute 0) in one of three colours and one at the bottom (attribute 1) of
    varying brightness. Returns images, attributes and the colour."""
    rng = np.random.default_rng(seed)
    attributes = rng.integers(0, 2, (count, 2)).astype(np.uint8)
    colour = rng.choice(3, count, p=(0.6, 0.3, 0.1))
    brightness = rng.uniform(60, 200, count)
    images = rng.normal(100, 4, (count, 8, 8, 3))
    palette = np.array([[250, 10, 10], [10, 250, 10], [10, 10, 250]])
    on = attributes[:, 0] == 1
    images[on, :3] += palette[colour[on], None, None] - 100
    on = attributes[:, 1] == 1
    images[on, 5:] = brightness[on, None, None, None]
    return images.clip(0, 255).astype(np.uint8), attributes, colour, brightness


@pytest.fixture(scope="module")
def matched():
    images, attributes, colour, brightness = bars(1500)
    latents = AttributeLatents(2, base_token=True)
    return match_latents(images, attributes, latents), attributes, colour, brightness


def test_clusters_are_the_modes_and_shares_their_frequencies(matched):
    result, attributes, colour, _ = matched
    on = attributes[:, 0] == 1
    assert (result.clusters[~on, 0] == -1).all()
    assert normalized_mutual_info_score(colour[on], result.clusters[on, 0]) > 0.8
    assert result.latents.shares is not None
    assert sorted(result.latents.shares[0]) == pytest.approx([0.1, 0.3, 0.6], abs=0.05)


def test_first_number_follows_the_mixture_and_tells_the_mode(matched):
    result, attributes, _, _ = matched
    on = attributes[:, 0] == 1
    z, mode, latents = result.table[on, 0, 0], result.clusters[on, 0], result.latents

    def cdf(x):
        return stats.norm.cdf((np.asarray(x)[:, None] - latents.means) / latents.sigma) @ latents.weights(0)

    assert stats.kstest(z, cdf).pvalue > 0.01
    for c in range(3):
        low, high = latents.quantile(latents.band(0, c), latents.weights(0))
        assert ((z >= low - 1e-6) & (z <= high + 1e-6))[mode == c].all()


def test_latents_order_a_continuous_attribute():
    images, attributes, _, brightness = bars(1000)
    alone = attributes[:, 0] == 0
    result = match_latents(images[alone], attributes[alone], AttributeLatents(2))
    on = attributes[alone, 1] == 1
    ranks = [stats.rankdata(values) for values in (result.table[on, 1, 0], brightness[alone][on])]
    assert abs(np.corrcoef(ranks)[0, 1]) > 0.9


def test_further_numbers_follow_the_mixture(matched):
    result, attributes, _, _ = matched
    on = attributes[:, 0] == 1
    latents = result.latents

    def cdf(x):
        return stats.norm.cdf((np.asarray(x)[:, None] - latents.means) / latents.sigma).mean(1)

    for c in range(3):
        inside = result.table[on, 0, 1][result.clusters[on, 0] == c]
        assert stats.kstest(inside, cdf).pvalue > 0.01


def test_latents_do_not_tell_other_attributes():
    """A mouth whose look depends on two attributes at once: Z of the one must not say whether the other is there."""
    rng = np.random.default_rng(0)
    attributes = rng.integers(0, 2, (1600, 2)).astype(np.uint8)
    kind = rng.integers(0, 2, 1600)  # two looks for each combination
    looks = rng.integers(0, 255, (2, 2, 2, 3, 4, 3))
    images = rng.normal(128, 3, (1600, 8, 8, 3))
    images[:, 2:5, 2:6] += looks[attributes[:, 0], attributes[:, 1], kind] - 128
    images = images.clip(0, 255).astype(np.uint8)
    result = match_latents(images, attributes, AttributeLatents(2))
    for k, other in ((0, 1), (1, 0)):
        on = attributes[:, k] == 1
        target = attributes[on, other] - attributes[on, other].mean()
        told = np.column_stack([result.table[on, k, :4], np.eye(3)[result.clusters[on, k]]])
        rest = target - told @ np.linalg.lstsq(told, target, rcond=None)[0]
        assert 1 - rest.var() / target.var() < 0.02
        alone = on & (attributes[:, other] == 0)  # and it still tells the look
        assert normalized_mutual_info_score(kind[alone], result.clusters[alone, k]) > 0.4


def test_maps_show_where_an_attribute_acts(matched):
    maps = matched[0].maps
    assert maps.shape == (2, 8, 8)
    assert maps.max(axis=(1, 2)) == pytest.approx([1, 1])
    assert maps[0, :3].min() > 0.5 > maps[0, 3:].max()
    assert maps[1, 5:].min() > 0.5 > maps[1, :5].max()


def test_deterministic_and_seeded():
    images, attributes, _, _ = bars(200)
    latents = AttributeLatents(2)
    first, again = match_latents(images, attributes, latents), match_latents(images, attributes, latents)
    assert np.array_equal(first.table, again.table)
    assert not np.array_equal(first.table, match_latents(images, attributes, latents, seed=1).table)


def test_a_rare_attribute_keeps_random_latents():
    images, attributes, _, _ = bars(200)
    attributes[:, 1] = 0
    attributes[:5, 1] = 1
    result = match_latents(images, attributes, AttributeLatents(2))
    assert result.latents.shares is not None
    assert result.latents.shares[1] == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert (result.clusters[:, 1] == -1).all()
    assert np.isfinite(result.table).all()


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_constant_images_and_few_images_do_not_break():
    images = np.full((40, 8, 8, 3), 7, np.uint8)
    attributes = np.ones((40, 2), np.uint8)
    result = match_latents(images, attributes, AttributeLatents(2, base_token=True))
    assert np.isfinite(result.table).all()
    assert np.isfinite(match_latents(images[:1], attributes[:1], AttributeLatents(2, base_token=True)).table).all()


def test_mismatched_inputs_are_refused():
    with pytest.raises(ValueError, match="3 images and 2 attribute rows"):
        match_latents(np.zeros((3, 8, 8, 3), np.uint8), np.zeros((2, 2), np.uint8), AttributeLatents(2))
    with pytest.raises(ValueError, match="attributes have 3 columns; the latents expect 2"):
        match_latents(np.zeros((3, 8, 8, 3), np.uint8), np.zeros((3, 3), np.uint8), AttributeLatents(2))
    with pytest.raises(ValueError, match="attributes must be 0 or 1"):
        match_latents(np.zeros((3, 8, 8, 3), np.uint8), -np.ones((3, 2), int), AttributeLatents(2))
    images: Any = np.zeros((3, 8, 8, 3))
    with pytest.raises(ValueError, match="images hold float64; give uint8"):
        match_latents(images, np.ones((3, 2), np.uint8), AttributeLatents(2))


def hats(count: int, seed: int = 0):
    """Pictures with a stripe across or down, in one of many colours, where attribute 0 is on. Returns images,
    attributes and whether it lies across."""
    rng = np.random.default_rng(seed)
    attributes = rng.integers(0, 2, (count, 1)).astype(np.uint8)
    across = rng.integers(0, 2, count)
    images = rng.normal(128, 3, (count, 16, 16, 3))
    colours = rng.choice([0, 40, 215, 255], (count, 3))
    for i in np.flatnonzero(attributes[:, 0]):
        if across[i]:
            images[i, 6:9, 3:13] = colours[i]
        else:
            images[i, 3:13, 6:9] = colours[i]
    return images.clip(0, 255).astype(np.uint8), attributes, across


def test_modes_of_shape_are_found_among_many_colours():
    images, attributes, across = hats(1200)
    result = match_latents(images, attributes, AttributeLatents(1))
    on = attributes[:, 0] == 1
    joint = np.array([np.bincount(result.clusters[on & (across == a), 0], minlength=3) for a in (0, 1)])
    assert joint.min(0).sum() < 0.05 * on.sum()  # no component has stripes of both kinds


def test_numbers_of_two_attributes_that_share_their_looks_are_not_correlated():
    """Both attributes tint the same region by an amount of the image: the second one must not repeat the first."""
    rng = np.random.default_rng(0)
    attributes = rng.integers(0, 2, (2000, 2)).astype(np.uint8)
    tint = rng.normal(0, 30, 2000)
    images = rng.normal(128, 3, (2000, 8, 8, 3))
    images[:, 2:6, 2:6] += (attributes @ [[25, 5, 0], [0, 5, 25]])[:, None, None]
    images[:, 2:6, 2:6] += (tint * attributes.any(1))[:, None, None, None]
    result = match_latents(images.clip(0, 255).astype(np.uint8), attributes, AttributeLatents(2))
    both = attributes.all(1)
    correlations = np.corrcoef(result.table[both, 0], result.table[both, 1], rowvar=False)[:8, 8:]
    assert np.abs(correlations).max() < 0.3
    alone = (attributes == [1, 0]).all(1)
    told = np.corrcoef(stats.rankdata(result.table[alone, 0, 0]), stats.rankdata(tint[alone]))[0, 1]
    assert abs(told) > 0.9  # the first one does tell
