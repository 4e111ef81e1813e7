"""The encoder against the table it was fitted with, stored and read again, and on new pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from latents.test_matching import bars
from safetensors.numpy import load_file, save_file
from sklearn.metrics import normalized_mutual_info_score

from gaussmix.latents.attributes import AttributeLatents
from gaussmix.latents.encoder import LatentEncoder
from gaussmix.latents.matching import MatchedLatents, match_latents


@pytest.fixture(scope="module")
def matched() -> MatchedLatents:
    images, attributes, _, _ = bars(1500)
    return match_latents(images, attributes, AttributeLatents(2, base_token=True))


@pytest.fixture(scope="module")
def stored(matched: MatchedLatents, tmp_path_factory: pytest.TempPathFactory) -> LatentEncoder:
    file: Path = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    save_file(matched.encoder.to_tensors(), file)
    return LatentEncoder.from_tensors(load_file(file))


def test_the_stored_encoder_gives_the_table_again(matched: MatchedLatents, stored: LatentEncoder):
    images, attributes, _, _ = bars(1500)
    table, components = stored.read(images, attributes)
    assert stored.latents == matched.latents
    for k in range(2):
        on = attributes[:, k] == 1
        assert (components[on, k] == matched.clusters[on, k]).mean() > 0.95
        assert (components[~on, k] == -1).all()
        for n in range(8):
            assert np.corrcoef(table[on, k, n], matched.table[on, k, n])[0, 1] > 0.95
    for n in range(8):
        assert np.corrcoef(table[:, 2, n], matched.table[:, 2, n])[0, 1] > 0.95


def test_new_pictures_are_read_as_the_old_ones(stored: LatentEncoder):
    images, attributes, colour, brightness = bars(600, seed=1)
    table, components = stored.read(images, attributes)
    on = attributes[:, 0] == 1
    assert normalized_mutual_info_score(colour[on], components[on, 0]) > 0.8
    on = attributes[:, 1] == 1
    order = np.argsort(np.argsort(table[on, 1, 0])), np.argsort(np.argsort(brightness[on]))
    assert abs(np.corrcoef(*order)[0, 1]) > 0.9


def test_a_picture_is_read_by_itself_and_noise_depends_on_the_seed(stored: LatentEncoder):
    images, attributes, _, _ = bars(1200, seed=2)
    table = stored.encode(images, attributes)
    assert np.array_equal(table, stored.encode(images, attributes))
    i = int(np.flatnonzero(attributes.all(1))[-1])
    other = stored.encode(images[i : i + 1], attributes[i : i + 1], seed=7)
    np.testing.assert_allclose(other[0, :, :6], table[i, :, :6], atol=1e-4)  # six details; the base token has eight
    np.testing.assert_allclose(other[0, 2], table[i, 2], atol=1e-4)
    assert not np.allclose(other[0, :2, 6:], table[i, :2, 6:])
    assert stored.encode(images[:0], attributes[:0]).shape == (0, 3, 8)


def test_larger_pictures_are_shrunk():
    images, attributes, colour, _ = bars(300)
    large = images.repeat(8, 1).repeat(8, 2)
    encoder = match_latents(large, attributes, AttributeLatents(2)).encoder
    assert encoder.side == 32
    on = attributes[:, 0] == 1
    assert normalized_mutual_info_score(colour[on], encoder.read(large, attributes)[1][on, 0]) > 0.8


def test_what_does_not_fit_is_refused(stored: LatentEncoder):
    images, attributes, _, _ = bars(3)
    with pytest.raises(ValueError, match=r"attributes have shape \(3, 1\); expected \(3, 2\)"):
        stored.encode(images, attributes[:, :1])
    with pytest.raises(ValueError, match="squares that shrink to 8 px"):
        stored.encode(images.repeat(2, 1).repeat(2, 2), attributes)
    with pytest.raises(ValueError, match="expected squares"):
        stored.encode(images[:, :4], attributes)
    with pytest.raises(ValueError, match="images hold float64; give uint8"):
        stored.encode(images / 255, attributes)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="attributes must be 0 or 1"):
        stored.encode(images, 2 * attributes.astype(int) - 1)
    with pytest.raises(ValueError, match="'shares' is missing"):
        LatentEncoder.from_tensors({"sizes": np.array([8, 2, 8, 3])})
