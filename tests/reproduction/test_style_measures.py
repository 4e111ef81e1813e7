"""Measurements of Gram draws and of pictures: matrices worked out by hand, known spans and known blends."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gaussmix.style.grams import GramLayout
from gaussmix.style.vgg import VGG19Features, gram_matrix
from reproduction.expansion.style import (
    negative_mass,
    picture_grams,
    realised_blend,
    span_share,
    style_losses,
    variety,
)

LAYOUT = GramLayout({"a": 3, "b": 2})


def test_negative_mass_by_hand() -> None:
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    matrix = (turn * [3.0, 2.0, -1.0]) @ turn.T
    assert negative_mass({"a": matrix}) == pytest.approx(1 / 6)
    assert negative_mass({"a": matrix, "b": np.eye(2)}) == pytest.approx(1 / 12)
    assert negative_mass({"a": np.zeros((2, 2))}) == 0


def test_span_share_of_crops_and_of_what_is_across() -> None:
    rng = np.random.default_rng(0)
    crops = rng.random((4, LAYOUT.size)).astype(np.float32) + 1
    mean = crops.mean(0)
    inside = (mean + 2 * (crops[0] - mean) - (crops[2] - mean))[None]
    np.testing.assert_allclose(span_share(inside, crops, LAYOUT), 1, atol=1e-4)
    scale = LAYOUT.scale(mean)
    known = (crops - mean) * scale
    across = np.linalg.svd(known)[2][-1]  # orthogonal to all differences
    half = mean + (across + known[0] / np.linalg.norm(known[0])) / scale
    np.testing.assert_allclose(span_share(half[None].astype(np.float32), crops, LAYOUT), 0.5, atol=1e-3)
    assert np.isnan(span_share(mean[None], crops, LAYOUT)).all()


def test_realised_blend_of_known_blends() -> None:
    means = np.random.default_rng(1).random((3, LAYOUT.size)).astype(np.float32) + 1
    blends = np.array([[1, 0, 0], [0.2, 0.5, 0.3], [-0.1, 0.6, 0.5]])
    np.testing.assert_allclose(realised_blend((blends @ means).astype(np.float32), means, LAYOUT), blends, atol=1e-3)
    with pytest.raises(ValueError, match="there are 1 styles"):
        realised_blend(means, means[:1], LAYOUT)


def test_realised_blend_of_something_else_is_the_nearest() -> None:
    rng = np.random.default_rng(2)
    means, row = rng.random((2, LAYOUT.size)).astype(np.float32), rng.random((1, LAYOUT.size)).astype(np.float32)
    found = realised_blend(row, means, LAYOUT)[0, 1]
    scale = LAYOUT.scale(means.mean(0))
    shares = np.linspace(found - 1, found + 1, 2001)
    gaps = [(((1 - w) * means[0] + w * means[1] - row[0]) * scale) ** 2 for w in shares]
    assert shares[np.argmin([gap.sum() for gap in gaps])] == pytest.approx(found, abs=2e-3)


def test_style_losses() -> None:
    target = {"a": torch.eye(2), "b": 2 * torch.ones(2, 2)}
    found = {"a": torch.stack([torch.eye(2), torch.zeros(2, 2)]), "b": torch.stack([target["b"], 3 * torch.ones(2, 2)])}
    np.testing.assert_allclose(style_losses(found, [target, target]), [0, (1 + 0.25) / 2])


def test_pictures_and_their_variety() -> None:
    features = VGG19Features.random(width=2)
    images = np.random.default_rng(0).integers(0, 255, (5, 32, 32, 3)).astype(np.uint8)
    whole = features(torch.tensor(images).permute(0, 3, 1, 2) / 255)
    torch.testing.assert_close(picture_grams(images, features)["relu3_1"], gram_matrix(whole["relu3_1"]))
    rows = whole["relu4_2"].flatten(1).numpy()
    gaps = [np.linalg.norm(rows[a] - rows[b]) for a in range(5) for b in range(a)]
    assert variety(images, features) == pytest.approx(np.mean(gaps) / np.sqrt((rows**2).sum(1).mean()), rel=1e-4)
    assert variety(images[[0, 0]], features) == 0
    with pytest.raises(ValueError, match="there are 1 pictures"):
        variety(images[:1], features)
