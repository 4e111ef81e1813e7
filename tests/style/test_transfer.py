"""Pictures in a style: descent, variants, pyramid, Ctrl-C, films."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gaussmix.style.expansion import GramExpansion
from gaussmix.style.images import lightness, resize, to_tensor
from gaussmix.style.transfer import StyleTransfer, TransferStep
from gaussmix.style.vgg import STYLE_LAYERS, VGG19Features, gram_matrix


@pytest.fixture(scope="module")
def network() -> VGG19Features:
    return VGG19Features.random(width=4)


def picture(seed: int, height: int = 40, width: int = 48) -> NDArray[np.uint8]:
    """Blots of colour."""
    return resize(np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8), height, width)


def grams(network: VGG19Features, image: NDArray[np.uint8]) -> dict[str, Tensor]:
    with torch.no_grad():
        found = network(to_tensor(image[None]))
    return {layer: gram_matrix(found[layer])[0] for layer in STYLE_LAYERS}


def small(network: VGG19Features, **options) -> StyleTransfer:
    return StyleTransfer(network, **{"size": 48, "steps": 12, "half_precision": False, **options})


@pytest.mark.parametrize("options", [{}, {"start": "noise"}, {"optimizer": "adam"}, {"half_precision": True}])
def test_the_loss_falls_and_the_picture_takes_on_the_style(network, options):
    target = grams(network, picture(1))
    result = small(network, **options).run(picture(0), [target])
    assert result.images.shape == (1, 40, 48, 3)
    assert result.images.dtype == np.uint8
    assert result.losses.shape == (1, 12)
    assert result.losses[0, -1] < 0.5 * result.losses[0, 0]
    assert not result.interrupted

    def distance(image: NDArray[np.uint8]) -> float:
        found = grams(network, image)
        return sum(float(((found[k] - target[k]) / target[k].norm()).norm()) for k in target)

    assert distance(result.images[0]) < 0.8 * distance(picture(0))


def test_content_alone_is_drawn_from_noise(network):
    content = picture(0, 48, 48)
    transfer = small(network, style_weight=0.0, content_weight=1.0, tv_weight=0.0, start="noise", steps=60)
    result = transfer.run(content, [grams(network, content)])
    assert result.losses[0, -1] < 0.1 * result.losses[0, 0]


def test_variants_do_not_depend_on_one_another(network):
    """All at once, one by one, and alone."""
    targets = [grams(network, picture(k)) for k in (1, 2, 3)]
    together = small(network, start="noise").run(picture(0), targets, seed=5)
    apart = small(network, start="noise", max_pixels=40 * 48).run(picture(0), targets, seed=5)
    alone = small(network, start="noise").run(picture(0), targets[:1], seed=5)
    assert np.abs(together.images.astype(int) - apart.images).max() <= 2
    assert np.abs(together.images[0].astype(int) - alone.images[0]).max() <= 2
    assert together.losses == pytest.approx(apart.losses, rel=1e-3)


def test_a_seed_gives_one_picture(network):
    target = [grams(network, picture(1))] * 2
    first, again, other = (small(network, start="noise").run(picture(0), target, seed=s).images for s in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()
    assert (first[0] != first[1]).any()


def test_the_pyramid_goes_up_to_the_size(network):
    seen: list[tuple[int, ...]] = []
    work = []

    def watch(step: TransferStep) -> None:
        seen.append(tuple(step.pixels.shape[2:]))
        work.append((step.done, step.total, step.step, step.steps))
        assert step.images.shape == (1, *step.pixels.shape[2:], 3)

    transfer = small(network, size=260, steps=2)
    result = transfer.run(picture(0), [grams(network, picture(1))], on_step=watch)
    assert seen == [(108, 130)] * 2 + [(153, 184)] + [(217, 260)]
    assert result.images.shape == (1, 217, 260, 3)
    total = 2 * 108 * 130 + 153 * 184 + 217 * 260
    assert work[-1] == (total, total, 4, 4)
    assert transfer.work(picture(0)) == total


def test_a_later_size_begins_with_the_content_s_detail(network):
    """With the content at its optimum from the start, no size of the pyramid has anything to do."""
    content = np.random.default_rng(0).integers(0, 256, (150, 184, 3), dtype=np.uint8)
    transfer = small(network, size=184, steps=2, style_weight=0.0, content_weight=1.0, tv_weight=0.0)
    result = transfer.run(content, [grams(network, content)])
    assert result.losses.max() < 1e-6


def test_ctrl_c_leaves_what_there_is(network):
    targets = [grams(network, picture(k)) for k in (1, 2, 3)]

    def stop(step: TransferStep) -> None:
        if step.variants.start == 1 and step.step == 5:
            raise KeyboardInterrupt

    result = small(network, max_pixels=40 * 48).run(picture(0), targets, on_step=stop)
    assert result.interrupted
    assert len(result.images) == len(result.losses) == 2
    assert np.isfinite(result.losses).sum(1).tolist() == [12, 5]


def test_ctrl_c_before_anything_is_there_is_passed_on(network, monkeypatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    transfer = small(network)
    monkeypatch.setattr(transfer, "_begin", interrupt)
    with pytest.raises(KeyboardInterrupt):
        transfer.run(picture(0), [grams(network, picture(1))])


def test_original_colours_stay(network):
    content = np.full((40, 48, 3), (170, 120, 110), np.uint8)
    images = small(network, colors="content").run(content, [grams(network, picture(1))]).images.astype(float)
    inner = images[(images.min(-1) > 20) & (images.max(-1) < 235)]  # at the ends of the range colour is cut off
    assert inner.mean(-1).std() > 3
    assert (inner[:, 0] - inner[:, 1]).std() < 2.5


def test_luminance_is_drawn_in_grey_and_takes_the_content_s_colours(network):
    content, style = picture(0), lightness(picture(1))
    seen = []
    transfer = small(network, colors="luminance", start="noise")
    image = transfer.run(content, [grams(network, style)], on_step=lambda step: seen.append(step.images)).images[0]
    assert (seen[-1] == seen[-1][..., :1]).all()
    inner = (image.min(-1) > 30) & (image.max(-1) < 225)  # at the ends of the range colour is cut off
    chroma = [np.asarray(Image.fromarray(p).convert("YCbCr"), float)[..., 1:][inner] for p in (image, content)]
    assert np.abs(chroma[0] - chroma[1]).mean() < 3


def test_regions_take_their_styles_and_the_rest_stays(network):
    content = picture(0, 48, 48)
    masks = np.zeros((2, 48, 48), np.uint8)
    masks[0, :, :16] = masks[1, :, 16:32] = 255
    one, two = grams(network, picture(1)), grams(network, 255 - picture(1) // 4)
    stacked, turned = ({layer: torch.stack([a[layer], b[layer]]) for layer in a} for a, b in ((one, two), (two, one)))
    images = [small(network).run(content, [t], masks=masks).images[0].astype(int) for t in (stacked, turned)]
    for image in images:
        assert (image[:, 32:] == content[:, 32:]).all()
    assert images[0][:, :16].mean() < images[1][:, :16].mean() - 5  # the second style is brighter
    assert images[0][:, 16:32].mean() > images[1][:, 16:32].mean() + 5


def test_wrong_masks_are_refused(network):
    content, target = picture(0), grams(network, picture(1))
    stacked = {layer: gram[None] for layer, gram in target.items()}
    with pytest.raises(ValueError, match=r"masks are uint8 \(1, 40, 47\); give uint8 \(R, 40, 48\)"):
        small(network).run(content, [stacked], masks=np.full((1, 40, 47), 255, np.uint8))
    with pytest.raises(ValueError, match="mask 0 is black everywhere"):
        small(network).run(content, [stacked], masks=np.zeros((1, 40, 48), np.uint8))
    with pytest.raises(ValueError, match=r"target 0 at relu1_1 is \(4, 4\), .* give finite \(1, 4, 4\)"):
        small(network).run(content, [target], masks=np.full((1, 40, 48), 255, np.uint8))


def test_noise_begins_where_it_is_coarse(network):
    sizes = []
    small(network, size=100, steps=2, start="noise").run(
        picture(0, 60, 60), [grams(network, picture(1))], on_step=lambda step: sizes.append(step.pixels.shape[2])
    )
    assert sizes == [35, 35, 50, 71, 100]


def test_a_blend_is_held_in_the_pictures(network):
    """Without it the content's own matrices pull pictures away from what was asked for."""
    styles = {"one": picture(1, 64, 64), "two": 255 - picture(2, 64, 64) // 3}
    expansion = GramExpansion().fit(styles, network, crops=6, random_state=0)
    blend = {"one": 0.9, "two": 0.1}
    targets, held = expansion.sample(3, blend, random_state=1), expansion.held(blend)
    assert held is not None
    gaps = []
    for blends in (None, [held]):
        transfer = small(network, size=64, steps=40, content_weight=0.5)
        images = transfer.run(styles["two"], targets, blends=blends).images
        found = [grams(network, image) for image in images]
        rows = expansion.layout.rows({k: np.stack([f[k].numpy() for f in found]) for k in found[0]})
        np.testing.assert_allclose(held.plane.shares_of(images, network), held.plane.shares(rows), atol=1e-4)
        gaps.append(np.abs(held.plane.shares(rows)[:, 1].mean() - 0.1))
    assert gaps[1] < 0.05
    assert gaps[0] > 2 * gaps[1]


def test_a_film_follows_its_path(network):
    content, start = picture(0), grams(network, picture(1))
    end = grams(network, picture(2))
    path = [{k: (1 - s) * start[k] + s * end[k] for k in start} for s in np.linspace(0, 1, 12)]
    transfer = small(network, steps=40)
    first = transfer.run(content, path[:1]).images[0]
    frames = list(transfer.follow(content, path, first, steps=6))
    assert len(frames) == 12
    assert frames[0].shape == first.shape

    def style_distance(image: NDArray[np.uint8]) -> float:
        found = grams(network, image)
        return sum(float(((found[k] - end[k]) / end[k].norm()).norm()) for k in end)

    assert style_distance(frames[-1]) < 0.7 * style_distance(frames[0])
    steps = [np.abs(a.astype(int) - b).mean() for a, b in pairwise(frames[1:])]
    assert max(steps) < 0.5 * np.abs(frames[0].astype(int) - frames[-1]).mean()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "sgd"}, "optimizer is 'sgd'; choose lbfgs or adam"),
        ({"start": "grey"}, "start is 'grey'; choose content or noise"),
        ({"colors": "grey"}, "colors is 'grey'; choose style or content or luminance"),
        ({"steps": 0}, "steps is 0; it must be at least 1"),
        ({"size": 31}, "size is 31; it must be at least 32"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"content_weight": -1.0}, "content_weight is -1.0; it must be finite and not negative"),
        ({"tv_weight": float("nan")}, "tv_weight is nan"),
        ({"style_weight": 0.0, "content_weight": 0.0}, "both 0; nothing is left to draw"),
    ],
)
def test_wrong_options_are_refused(network, options, message):
    with pytest.raises(ValueError, match=message):
        small(network, **options)


def test_wrong_pictures_and_targets_are_refused(network):
    transfer, good = small(network), grams(network, picture(1))
    with pytest.raises(ValueError, match=r"content is float64 \(40, 48, 3\); give uint8 \(H, W, 3\)"):
        transfer.run(picture(0) / 255, [good])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="content of 400 x 40 pixels is 5 pixels thin at size 48; crop it"):
        transfer.run(picture(0, 40, 400), [good])
    with pytest.raises(ValueError, match="there are no targets"):
        transfer.run(picture(0), [])
    with pytest.raises(ValueError, match=r"target 1 has the layers \['relu1_1'\]; give some of"):
        transfer.run(picture(0), [good, {"relu1_1": good["relu1_1"]}])
    with pytest.raises(ValueError, match=r"target 0 at relu2_1 is \(4, 4\), 16 values finite; give finite \(8, 8\)"):
        transfer.run(picture(0), [{**good, "relu2_1": good["relu1_1"]}])
    with pytest.raises(ValueError, match=r"target 0 at relu1_1 is \(4, 4\), 0 values finite"):
        transfer.run(picture(0), [{**good, "relu1_1": good["relu1_1"] / 0}])
    only_style = VGG19Features.random(width=4, layers=STYLE_LAYERS)
    with pytest.raises(ValueError, match=r"the content needs \('relu4_2',\), too"):
        small(only_style)
