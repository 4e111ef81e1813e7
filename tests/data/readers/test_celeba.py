"""CelebA's official layout, and one clear line for everything that is wrong with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data.layouts import pixels, write_celeba

from gaussmix.data import DataError, load_dataset
from gaussmix.data.readers.celeba import read_celeba


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_celeba(tmp_path / "faces")


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def check_round_trip(folder: Path, cache: Path) -> None:
    data = load_dataset(folder, size=16, cache=cache, progress=False)
    assert data.name == "celeba"
    assert data.attribute_names == ("Odd", "Never")
    np.testing.assert_array_equal(data.images, [pixels(i) for i in range(10)])
    np.testing.assert_array_equal(data.attributes, [[i % 2, 0] for i in range(10)])
    np.testing.assert_array_equal(data.split, [0, 0, 0, 1, 2] * 2)


def test_round_trip(folder: Path, tmp_path: Path) -> None:
    check_round_trip(folder, tmp_path / "cache")


def test_folders_of_the_official_archives(folder: Path, tmp_path: Path) -> None:
    for name, place in (
        ("img_align_celeba", "Img"),
        ("list_attr_celeba.txt", "Anno"),
        ("list_eval_partition.txt", "Eval"),
    ):
        (folder / place).mkdir()
        (folder / name).rename(folder / place / name)
    check_round_trip(folder, tmp_path / "cache")


def test_partition_in_another_order(folder: Path) -> None:
    """And with rows for images that the list of attributes does not name."""
    path = folder / "list_eval_partition.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(["other.jpg 1", *reversed(lines)]))
    assert read_celeba(folder).split.tolist() == [0, 0, 0, 1, 2] * 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("10\nOdd", "11\nOdd", "row 1: announces 11 images, but 10 rows follow"),
        ("10\nOdd", "ten\nOdd", "row 1: 'ten' is not the number of images"),
        ("Odd Never", "Odd Odd", "row 2: the column 'Odd' appears twice"),
        ("Odd Never", "", "row 2: no attributes"),
        ("000003.png  1 -1", "000003.png  1", "row 6: 2 fields; expected a file name and 2 values"),
        ("000003.png  1 -1", "000003.png  1 7", "row 6: column 'Never' holds '7', not 0/1, -1/1"),
        ("000003.png  1 -1", "000003.png  1  0", "row 6: column 'Never' holds 0, but -1 in an earlier row"),
        ("000003.png", "000002.png", r"row 6: 000002.png was named before, in \S+, row 5"),
        ("000003.png", "../3.png", "row 6: '../3.png' leads out of the folder"),
    ],
)
def test_errors_in_the_attributes(folder: Path, old: str, new: str, message: str) -> None:
    path = folder / "list_attr_celeba.txt"
    replace(path, old, new)
    with pytest.raises(DataError, match=message) as caught:
        read_celeba(folder)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "0\n", "0\nOdd Never\n"])
def test_empty_attributes(folder: Path, text: str) -> None:
    (folder / "list_attr_celeba.txt").write_text(text)
    with pytest.raises(DataError, match=r"list_attr_celeba.txt(, row 1: announces 0 images| has [01] rows)"):
        read_celeba(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("000003.png 1", "000003.png 3", "row 4: '000003.png 3'; expected a file name and 0"),
        ("000003.png 1", "000003.png", "row 4: '000003.png'; expected a file name and 0"),
        ("000003.png 1", "000002.png 1", "row 4: 000002.png was put into another split before"),
        ("000003.png 1\n", "", r"list_eval_partition.txt has no row for 000003.png \(\S+celeba.txt, row 6\)"),
    ],
)
def test_errors_in_the_partition(folder: Path, old: str, new: str, message: str) -> None:
    path = folder / "list_eval_partition.txt"
    replace(path, old, new)
    with pytest.raises(DataError, match=message) as caught:
        read_celeba(folder)
    assert str(caught.value).startswith(str(path))


def test_missing_parts(folder: Path) -> None:
    (folder / "img_align_celeba").rename(folder / "images")
    with pytest.raises(DataError, match=r"img_align_celeba is missing: it holds the images"):
        read_celeba(folder)
    (folder / "list_eval_partition.txt").unlink()
    with pytest.raises(DataError, match=r"list_eval_partition.txt is missing: it assigns every image to a split"):
        read_celeba(folder)


def test_missing_image(folder: Path, tmp_path: Path) -> None:
    (folder / "img_align_celeba/000007.png").unlink()
    with pytest.raises(DataError, match=r"list_attr_celeba.txt, row 10: image \S+000007.png does not exist;"):
        load_dataset(folder, size=16, cache=tmp_path / "cache", progress=False)
