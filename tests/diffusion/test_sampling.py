"""Drawing in batches: the same pictures however many at once, a folder that is whole at any time."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import NAMES

from gaussmix.data import load_dataset
from gaussmix.diffusion import sampling as drawing
from gaussmix.diffusion.evaluate import evaluate_pipeline
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.sampling import (
    DrawnBatch,
    batch_size,
    default_steps,
    draw,
    draw_batches,
    draw_sheet,
    first_pictures,
    stream_to_folder,
)
from gaussmix.training.schedule import step_generator

ROWS = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 0], [0, 1, 0]], np.uint8)


@pytest.fixture(autouse=True)
def two_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(drawing._PIXELS_AT_ONCE, "cpu", 2 * 8 * 8)
    monkeypatch.setattr("gaussmix.training.device.has_fast_bfloat16", lambda device: False)


def by_hand(
    pipeline: AttributeDiffusionPipeline, row: int, latent_of: int, noise_of: int, **options: Any
) -> np.ndarray:
    """One picture of `ROWS`, all on its own."""
    starts = []
    for i in (latent_of, noise_of):
        generator = step_generator(4, i, stream=0)
        z = pipeline.draw_attribute_latents(1, generator, options.get("components"))
        starts.append((z, torch.randn((1, 3, 8, 8), generator=generator)))
    out: Any = pipeline(
        ROWS[row : row + 1],
        starts[0][0],
        num_inference_steps=3,
        guidance_scale=1.5,
        latents=starts[1][1],
        output_type="uint8",
    )
    return out.images[0]


def close(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal up to what rounding in other batches does."""
    return bool(np.abs(a.astype(int) - b.astype(int)).max() <= 1)


@pytest.mark.parametrize("options", [{}, {"components": {"Bald": 2, "Sunglasses": 0}}])
@pytest.mark.parametrize(("fix_latent", "fix_noise"), [(False, False), (True, False), (False, True)])
def test_each_picture_is_the_one_drawn_alone(
    pipeline: AttributeDiffusionPipeline, fix_latent: bool, fix_noise: bool, options: Any
) -> None:
    images, path = draw(
        pipeline, ROWS, seed=4, steps=3, guidance=1.5, fix_latent=fix_latent, fix_noise=fix_noise, **options
    )
    assert path is None
    assert images.shape == (5, 8, 8, 3)
    for i in range(5):
        alone = by_hand(pipeline, i, 0 if fix_latent else i, 0 if fix_noise else i, **options)
        assert close(images[i], alone)
        assert not close(images[i], by_hand(pipeline, i, i + 1, i + 2, **options))


def test_batches_come_one_by_one(pipeline: AttributeDiffusionPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    call = AttributeDiffusionPipeline.__call__

    def counted(self: Any, attributes: Any, *positional: Any, **named: Any) -> Any:
        calls.append((len(attributes), named["classifier_scale"]))
        return call(self, attributes, *positional, **{**named, "classifier_scale": 0.0})

    monkeypatch.setattr(AttributeDiffusionPipeline, "__call__", counted)
    batches = draw_batches(pipeline, np.tile(ROWS, (20_000, 1)), seed=4, steps=3, classifier_scale=0.7)
    first = [next(batches) for _ in range(3)]
    assert [batch.start for batch in first] == [0, 2, 4]
    assert calls == [(2, 0.7)] * 3
    assert close(np.concatenate([batch.images for batch in first])[:5], draw(pipeline, ROWS, seed=4, steps=3)[0])


def test_trajectory_ends_in_the_picture(pipeline: AttributeDiffusionPipeline) -> None:
    images, path = draw(pipeline, ROWS, seed=4, steps=3, trajectory=True)
    assert path is not None
    assert path.shape == (3, *images.shape)
    assert close(path[-1], images)
    assert not close(path[0], images)


def test_progress_counts_every_step_of_every_picture(pipeline: AttributeDiffusionPipeline) -> None:
    seen: list[int] = []
    draw(pipeline, ROWS, steps=3, on_step=seen.append)
    assert seen == [2, 4, 6, 8, 10, 12, 13, 14, 15]


@pytest.mark.parametrize("fast", [False, True])
def test_half_precision_where_it_is_fast(
    pipeline: AttributeDiffusionPipeline, monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    used: set[torch.dtype] = set()
    pipeline.network.unet.conv_in.register_forward_hook(lambda module, inputs, output: used.add(output.dtype))
    monkeypatch.setattr("gaussmix.training.device.has_fast_bfloat16", lambda device: fast)
    draw(pipeline, ROWS[:1], steps=1)
    assert used == {torch.bfloat16 if fast else torch.float32}


@pytest.mark.parametrize("function", [draw_batches, draw_sheet, evaluate_pipeline, AttributeDiffusionPipeline.__call__])
def test_all_draw_with_the_same_number_of_steps(function: Any) -> None:
    defaults = {name: p.default for name, p in inspect.signature(function).parameters.items()}
    given = {defaults[name] for name in ("steps", "num_steps", "num_inference_steps") if name in defaults}
    assert given == {default_steps("dpm++", 100)}


def test_batch_size_keeps_the_pixels() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert batch_size(8, cpu) == 2
    assert batch_size(64, cpu) == 1
    assert batch_size(64, gpu) * 4 == batch_size(32, gpu)


def fake(n: int, at_once: int = 2) -> Iterator[DrawnBatch]:
    """Picture i is grey i; the path is twice as bright."""
    for start in range(0, n, at_once):
        grey = np.arange(start, min(n, start + at_once), dtype=np.uint8)
        images = np.broadcast_to(grey[:, None, None, None], (len(grey), 8, 8, 3))
        yield DrawnBatch(start, images, np.stack([images, 2 * images]))


@pytest.mark.parametrize("most", [1, 2, 3, 5, 9])
def test_first_pictures_runs_through_all_and_keeps_some(most: int) -> None:
    batches = fake(5)
    images, path = first_pictures(batches, most)
    assert path is not None
    assert images[:, 0, 0, 0].tolist() == list(range(min(5, most)))
    assert path[1, :, 0, 0, 0].tolist() == [2 * i for i in range(min(5, most))]
    assert next(batches, None) is None


def test_first_pictures_of_each_row() -> None:
    images, path = first_pictures(fake(9), 2, row=3)
    assert path is not None
    assert images[:, 0, 0, 0].tolist() == [0, 1, 3, 4, 6, 7]
    assert path[1, :, 0, 0, 0].tolist() == [0, 2, 6, 8, 12, 14]


def test_a_request_that_is_refused_leaves_no_folder(pipeline: AttributeDiffusionPipeline, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="choose 1 to 20"):
        list(stream_to_folder(tmp_path / "new", draw_batches(pipeline, ROWS, steps=99), ROWS, NAMES))
    assert not (tmp_path / "new").exists()


def test_a_metadata_csv_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "metadata.csv").write_text("file_name,a\nme.png,1\n")
    with pytest.raises(ValueError, match=r"mine/metadata\.csv exists and is not replaced"):
        next(stream_to_folder(tmp_path / "mine", fake(5), ROWS, NAMES))
    assert (tmp_path / "mine" / "metadata.csv").read_text() == "file_name,a\nme.png,1\n"
    assert len(list((tmp_path / "mine").iterdir())) == 1


def test_folder_reads_back_as_a_data_set(tmp_path: Path) -> None:
    folder = tmp_path / "faces"
    passed = list(stream_to_folder(folder, fake(5), ROWS, NAMES))
    assert [batch.start for batch in passed] == [0, 2, 4]
    data = load_dataset(folder, size=8, cache=tmp_path / "cache", progress=False)
    assert data.attribute_names == tuple(NAMES)
    np.testing.assert_array_equal(data.attributes, ROWS)
    assert data.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]


def test_what_an_interruption_leaves_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = Image.Image.save
    left = [3]

    def failing(image: Image.Image, file: Any, *rest: Any, **options: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            Path(file).write_bytes(b"half")
            raise KeyboardInterrupt
        saved(image, file, *rest, **options)

    monkeypatch.setattr(Image.Image, "save", failing)
    folder = tmp_path / "faces"
    writing = stream_to_folder(folder, fake(5), ROWS, NAMES)
    next(writing)
    with pytest.raises(KeyboardInterrupt):
        next(writing)
    assert sorted(path.name for path in folder.iterdir()) == ["00000.png", "00001.png", "00002.png", "metadata.csv"]
    with pytest.warns(UserWarning, match="00002.png"):  # not in the table yet
        data = load_dataset(folder, size=8, cache=tmp_path / "cache", progress=False)
    np.testing.assert_array_equal(data.attributes, ROWS[:2])


def test_names_sort_as_numbers(tmp_path: Path) -> None:
    list(stream_to_folder(tmp_path, fake(1), np.zeros((100_001, 3), np.uint8), NAMES))
    assert (tmp_path / "000000.png").exists()


def test_a_batch_begins_with_any_picture_of_a_seed(pipeline):
    every, _ = draw(pipeline, ROWS, seed=3, steps=4)
    np.testing.assert_array_equal(draw(pipeline, ROWS[3:], seed=3, steps=4, first=3)[0], every[3:])
    same, _ = draw(pipeline, ROWS[[3, 3]], seed=3, steps=4, first=3, fix_noise=True)
    np.testing.assert_array_equal(same[0], every[3])
    assert (same[0] != same[1]).any()


def test_estimates_are_told_as_they_come(pipeline):
    told: list[tuple[int, np.ndarray]] = []
    _, path = draw(
        pipeline, ROWS, steps=4, trajectory=True, on_estimate=lambda first, images: told.append((first, images))
    )
    assert path is not None
    assert [first for first, _ in told] == [0] * 4 + [2] * 4 + [4] * 4
    for number, (first, images) in enumerate(told):
        np.testing.assert_array_equal(images, path[number % 4, first : first + 2])
