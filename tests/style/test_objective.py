"""The losses against their formulas, their gradients against differences, and tiles against the whole picture."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from gaussmix.style.blending import HeldBlend
from gaussmix.style.expansion import GramExpansion
from gaussmix.style.objective import HOLD, Objective, make_tiles
from gaussmix.style.vgg import STYLE_LAYERS, VGG19Features

LAYERS = (*STYLE_LAYERS, "relu4_2")
WEIGHTS: dict[str, Any] = {"style_weight": 1.3, "content_weight": 0.4, "tv_weight": 0.2}


@pytest.fixture(scope="module")
def network() -> VGG19Features:
    return VGG19Features.random(width=2).double()


def pictures(*shape: int, seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def targets(network: VGG19Features, k: int) -> dict[str, Tensor]:
    found = network(pictures(k, 3, 48, 40, seed=9))
    return {
        layer: torch.einsum("kihw,kjhw->kij", f, f) / f[0, 0].numel()
        for layer, f in found.items()
        if layer != "relu4_2"
    }


def blend(network: VGG19Features) -> HeldBlend:
    """A tenth of a style that is brighter."""
    grams = targets(network, 6)
    styles = {name: {layer: scale * gram[part] for layer, gram in grams.items()} for name, scale, part in (
        ("one", 1.0, slice(3)), ("two", 2.0, slice(3, 6)),
    )}  # fmt: skip
    held = GramExpansion("crop").fit_grams(styles).held({"one": 0.9, "two": 0.1})
    assert held is not None
    return held


def test_losses_are_the_formulas(network):
    x, content, wanted = pictures(2, 3, 45, 52, seed=0), pictures(1, 3, 45, 52, seed=1), targets(network, 2)
    losses, _ = Objective(network, content, wanted, **WEIGHTS, max_pixels=10**6)(x)
    found, still = network(x), network(content)
    for k in range(2):
        style = 0.0
        for layer in STYLE_LAYERS:
            rows = found[layer][k].flatten(1)
            gram = rows @ rows.T / rows.shape[1]
            style += float((gram - wanted[layer][k]).square().mean() / wanted[layer][k].square().mean()) / 5
        c = found["relu4_2"][k] - still["relu4_2"][0]
        content_loss = float(c.square().mean() / still["relu4_2"].square().mean())
        tv = float((x[k, :, 1:] - x[k, :, :-1]).square().mean() + (x[k, :, :, 1:] - x[k, :, :, :-1]).square().mean())
        assert float(losses[k]) == pytest.approx(1.3 * style + 0.4 * content_loss + 0.2 * tv, rel=1e-10)


def test_gradient_is_that_of_differences(network):
    x, content = pictures(1, 3, 34, 33, seed=0), pictures(1, 3, 34, 33, seed=1)
    objective = Objective(network, content, targets(network, 1), **WEIGHTS, max_pixels=10**6, blends=[blend(network)])
    _, gradient = objective(x)
    way = pictures(1, 3, 34, 33, seed=2) - 0.5
    h = 1e-6
    difference = (objective(x + h * way)[0] - objective(x - h * way)[0]) / (2 * h)
    assert float(difference) == pytest.approx(float((gradient * way).sum()), rel=1e-5)


@pytest.mark.parametrize("content_weight", [0.0, 0.4])
def test_tiles_give_what_the_whole_picture_gives(network, content_weight):
    x, content, wanted = pictures(2, 3, 250, 333, seed=0), pictures(1, 3, 250, 333, seed=1), targets(network, 2)
    weights = {**WEIGHTS, "content_weight": content_weight}
    whole = Objective(network, content, wanted, **weights, max_pixels=250 * 333)
    tiled = Objective(network, content, wanted, **weights, max_pixels=60_000)
    assert (len(whole.tiles), len(tiled.tiles)) == (1, 5)
    (losses, gradient), (expected, slope) = tiled(x), whole(x)
    torch.testing.assert_close(losses, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, slope, rtol=0, atol=1e-12 * float(slope.abs().max()))


def test_tiles_without_their_margin_do_not(network):
    """The test above can fail."""
    x, wanted = pictures(1, 3, 250, 333, seed=0), targets(network, 1)
    objective = Objective(network, x, wanted, **WEIGHTS, max_pixels=250 * 333)
    expected, _ = objective(x * 0.9)
    objective.tiles = make_tiles(250, 333, 16, 0, 60_000)
    objective.content = [objective._content_of(tile, x) for tile in objective.tiles]
    losses, _ = objective(x * 0.9)
    assert abs(float(losses / expected) - 1) > 1e-6


def test_half_precision_is_near(network):
    single = VGG19Features.random(width=4)
    x, content = pictures(1, 3, 48, 48, seed=0).float(), pictures(1, 3, 48, 48, seed=1).float()
    wanted = {layer: gram.detach() for layer, gram in targets(single.double(), 1).items()}
    single = single.float()
    wanted = {layer: gram.float() for layer, gram in wanted.items()}
    networks = single, single.in_half_precision()
    kinds = [Objective(network, content, wanted, **WEIGHTS, max_pixels=10**6)(x) for network in networks]
    (loss, gradient), (near, slope) = kinds
    assert gradient.dtype == slope.dtype == torch.float32
    assert float(near) == pytest.approx(float(loss), rel=0.02)
    assert float(torch.cosine_similarity(gradient.flatten(), slope.flatten(), 0)) > 0.98
    assert float(near) != float(loss)


def test_a_target_or_content_of_nothing_is_refused(network):
    x, wanted = pictures(1, 3, 32, 32, seed=0), targets(network, 1)
    wanted["relu3_1"] = torch.zeros_like(wanted["relu3_1"])
    with pytest.raises(ValueError, match="the target is zero at layer relu3_1"):
        Objective(network, x, wanted, **WEIGHTS, max_pixels=10**6)


# -- regions -----------------------------------------------------------------------------------------------------------


def halves(height: int, width: int) -> Tensor:
    """Masks ``(2, H, W)`` that overlap softly."""
    left = torch.linspace(1.5, -0.5, width, dtype=torch.float64).clamp(0, 1).expand(height, width)
    return torch.stack([left, 1 - left])


def region_targets(network: VGG19Features, k: int) -> dict[str, Tensor]:
    one, two = targets(network, 2 * k), targets(network, 2 * k)
    return {layer: torch.stack([one[layer][:k], 3 * two[layer][k:]], 1) for layer in one}


def test_regions_have_matrices_of_their_own(network):
    x, wanted, masks = pictures(2, 3, 48, 64, seed=0), region_targets(network, 2), halves(48, 64)
    only_style: dict[str, Any] = {"style_weight": 1.3, "content_weight": 0.0, "tv_weight": 0.0}
    losses, _ = Objective(network, x[:1], wanted, **only_style, max_pixels=10**6, masks=masks)(x)
    found = network(x)
    for k in range(2):
        style = 0.0
        for r in range(2):
            area = float(masks[r].sum() / masks.sum())
            for layer in STYLE_LAYERS:
                f = found[layer][k].flatten(1)
                side = 48 // found[layer].shape[2]
                m = masks[r].reshape(48 // side, side, 64 // side, side).mean((1, 3)).flatten()
                gram = sum(m[p] * torch.outer(f[:, p], f[:, p]) for p in range(len(m))) / m.sum()
                target = wanted[layer][k, r]
                style += area * float((gram - target).square().mean() / target.square().mean()) / 5
        assert float(losses[k]) == pytest.approx(1.3 * style, rel=1e-10)


def test_a_region_that_is_everywhere_is_the_picture(network):
    x, wanted = pictures(2, 3, 45, 52, seed=0), targets(network, 2)
    plain = Objective(network, x[:1], wanted, **WEIGHTS, max_pixels=10**6)
    everywhere = torch.ones(1, 45, 52, dtype=torch.float64)
    whole = Objective(
        network, x[:1], {k: t[:, None] for k, t in wanted.items()}, **WEIGHTS, max_pixels=10**6, masks=everywhere
    )
    for found, expected in zip(whole(x), plain(x), strict=True):
        torch.testing.assert_close(found, expected)


def test_a_region_off_its_blend_pays_for_it(network):
    x, wanted, masks, held = pictures(1, 3, 48, 64, seed=0), region_targets(network, 1), halves(48, 64), blend(network)
    plain, holding = (
        Objective(network, x, wanted, **WEIGHTS, max_pixels=10**6, masks=masks, blends=blends)(x)[0]
        for blends in ((), [None, held])
    )
    own = {}
    for layer, found in network(x).items():
        if layer != "relu4_2":
            weights = torch.nn.functional.adaptive_avg_pool2d(masks[1:], found.shape[2:])
            own[layer] = torch.einsum("kihw,kjhw,hw->kij", found, found, weights[0]) / weights.sum()
    extra = 1.3 * HOLD * float(masks[1].sum() / masks.sum()) * held.distance(own)
    torch.testing.assert_close(holding - plain, extra, rtol=1e-6, atol=0)


def test_tiles_of_regions_give_what_the_whole_picture_gives(network):
    x, content, wanted = pictures(1, 3, 250, 333, seed=0), pictures(1, 3, 250, 333, seed=1), region_targets(network, 1)
    masks = halves(250, 333)
    parts: dict[str, Any] = {"masks": masks, "blends": [None, blend(network)]}
    whole, tiled = (
        Objective(network, content, wanted, **WEIGHTS, max_pixels=most, **parts) for most in (250 * 333, 60_000)
    )
    assert (len(whole.tiles), len(tiled.tiles)) == (1, 5)
    (losses, gradient), (expected, slope) = tiled(x), whole(x)
    torch.testing.assert_close(losses, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, slope, rtol=0, atol=1e-12 * float(slope.abs().max()))


def test_no_seam_shows_in_the_gradient(network):
    """What tiling adds, at the borders of cores and elsewhere: rounding alone."""
    x, wanted = pictures(1, 3, 250, 333, seed=0), targets(network, 1)
    whole, tiled = (Objective(network, x, wanted, **WEIGHTS, max_pixels=most) for most in (250 * 333, 60_000))
    off = (tiled(x * 0.9)[1] - whole(x * 0.9)[1]).abs().amax((0, 1))
    at_borders = torch.zeros(250, 333, dtype=torch.bool)
    for tile in tiled.tiles:
        (top, bottom), (left, right) = tile.core
        at_borders[[top, bottom - 1], left:right] = True
        at_borders[top:bottom, [left, right - 1]] = True
    assert float(off[at_borders].max()) < 1e-12 * float(whole(x * 0.9)[1].abs().max())


def test_a_region_too_small_for_the_deepest_layer_is_refused(network):
    masks = torch.zeros(1, 50, 60, dtype=torch.float64)
    masks[0, 49, 59] = 1  # beyond the last whole place of 16 x 16 pixels
    wanted = {k: t[:, None] for k, t in targets(network, 1).items()}
    with pytest.raises(ValueError, match="a region has no place at the deepest layers"):
        Objective(network, pictures(1, 3, 50, 60, seed=1), wanted, **WEIGHTS, max_pixels=10**6, masks=masks)


# -- tiles -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(250, 333), (1000, 48), (1024, 1024), (999, 640)])
def test_cores_cover_the_picture_once_within_margins(height, width):
    tiles = make_tiles(height, width, 16, 70, 60_000)
    covered = torch.zeros(height, width, dtype=torch.int)
    for tile in tiles:
        (top, bottom), (left, right) = tile.core
        covered[top:bottom, left:right] += 1
        for (first, last), (start, end), side in zip(tile.core, tile.outer, (height, width), strict=True):
            assert start % 16 == 0
            assert end % 16 == 0 or end == side
            assert start == 0 or first - start >= 70
            assert end == side or end - last >= 70
        assert tile.cut(covered).numel() <= 60_000
    assert (covered == 1).all()


def test_a_small_picture_is_one_tile_and_tiles_need_room():
    assert len(make_tiles(200, 300, 16, 70, 60_000)) == 1
    with pytest.raises(ValueError, match="max_pixels is 20000; tiles of this network take at least 36864"):
        make_tiles(400, 300, 16, 70, 20_000)
