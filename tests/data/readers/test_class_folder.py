"""Folders with a sub-folder of pictures for each class, with and without splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data.layouts import pixels, write_image
from PIL import Image

from gaussmix.data import DataError, LabelledImages, load_labelled


def load(source: Path | str, **options) -> LabelledImages:
    return load_labelled(source, progress=False, **options)


def write_classes(folder: Path, counts: dict[str, int]) -> Path:
    seed = 0
    for name, count in counts.items():
        for i in range(count):
            write_image(folder / name / f"{i:02}.png", seed)
            seed += 1
    return folder


def test_class_folder(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "pets", {"cat": 6, "dog": 7})
    (folder / "dog" / "notes.txt").write_text("not a picture")
    (folder / ".hidden").mkdir()
    data = load(folder, size=16)
    assert (data.name, data.class_names) == ("pets", ("cat", "dog"))
    assert data.labels.tolist() == [0] * 6 + [1] * 7
    assert np.flatnonzero(data.split == 2).tolist() == [4, 10]
    np.testing.assert_array_equal(data.images[7], pixels(7))
    assert load(folder).images.shape == (13, 32, 32, 3)
    some = load(folder, size=16, count=6)
    assert some.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert np.bincount(some.split).tolist() == [4, 0, 2]
    np.testing.assert_array_equal(some.images[2], pixels(4))


def test_pictures_are_cropped_to_their_centre(tmp_path: Path) -> None:
    write_classes(tmp_path, {"a": 1, "b": 1})
    wide = pixels(5, 8, 20)
    Image.fromarray(wide).save(tmp_path / "a" / "00.png")
    np.testing.assert_array_equal(load(tmp_path, size=8).images[0], wide[:, 6:14])


def test_class_folder_with_splits(tmp_path: Path) -> None:
    write_classes(tmp_path, {"train/b": 2, "train/a": 2, "validation/a": 1, "test/b": 1})
    data = load(tmp_path, size=8)
    assert data.class_names == ("a", "b")
    assert sorted(zip(data.split.tolist(), data.labels.tolist(), strict=True)) == [
        (0, 0), (0, 0), (0, 1), (0, 1), (1, 0), (2, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, "holds no images of classes"),
        ({"a": 3}, "has one class, a; give two"),
        ({"train/a": 1, "train/b": 1, "test/c": 1}, "test/c is a class without a folder in train/"),
        ({"train/a": 1, "train/b": 1, "c": 1}, "c lies beside .*train"),
    ],
)
def test_class_folders_that_are_not_right(tmp_path: Path, counts: dict[str, int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(write_classes(tmp_path, counts))


def test_empty_class_and_damaged_picture(tmp_path: Path) -> None:
    write_classes(tmp_path, {"a": 2, "b": 1})
    (tmp_path / "c").mkdir()
    with pytest.raises(DataError, match="c holds no pictures"):
        load(tmp_path)
    (tmp_path / "c").rmdir()
    (tmp_path / "a" / "01.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match=r"a/01\.png is"):
        load(tmp_path)
    with pytest.warns(UserWarning, match="skipped 1 of 3 images") as said:
        assert load(tmp_path, skip_bad=True).labels.tolist() == [0, 1]
    assert said[0].filename == __file__  # not one of ours
    (tmp_path / "b" / "00.png").write_bytes(b"\x89PNG")
    with (
        pytest.warns(UserWarning, match="skipped 2 of 3"),
        pytest.raises(DataError, match=r"class 'b' of .* has no image to train on"),
    ):
        load(tmp_path, skip_bad=True)
