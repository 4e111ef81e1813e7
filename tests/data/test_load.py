"""The interface: sources, splits, counts, missing and damaged images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data.layouts import pixels, write_celeba, write_image, write_image_folder
from PIL import Image
from sklearn.datasets import load_digits

from gaussmix.data import SPLITS, AttributeDataset, DataError, load_dataset, load_labelled
from gaussmix.data.readers import avatars

FILES = [f"{i:02}.png" for i in range(30)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GAUSSMIX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def load(source: Path, **options: object) -> AttributeDataset:
    return load_dataset(source, **{"size": 16, "progress": False, **options})  # pyright: ignore[reportArgumentType]


def make(split: list[int]) -> AttributeDataset:
    n = len(split)
    images, attributes = np.zeros((n, 8, 8, 3), np.uint8), np.zeros((n, 1), np.uint8)
    return AttributeDataset("faces", images, attributes, ("a",), np.array(split, np.uint8), "key")


def test_indices_are_ascending_positions() -> None:
    data = make([0, 2, 0, 1])
    assert len(data) == 4
    assert [data.indices(name).tolist() for name in SPLITS] == [[0, 2], [3], [1]]


def test_empty_and_unknown_splits() -> None:
    with pytest.raises(DataError, match=r"faces: split 'valid' is empty \(images: 2 in train, 1 in test\)"):
        make([0, 2, 0]).indices("valid")
    with pytest.raises(DataError, match="unknown split 'validation'; choose one of train, valid, test"):
        make([0]).indices("validation")


def test_source_that_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere does not exist; give a folder of images, or 'avatars'"):
        load(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file is not a folder"):
        load(tmp_path / "file")
    with pytest.raises(DataError, match=r"holds no data set; expected list_attr_celeba.txt .*metadata.csv"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size must be a whole number of at least 1, got 0"),
        ({"size": 32.0}, r"size must be a whole number of at least 1, got 32\.0"),
        ({"count": 0}, "count must be a whole number of at least 1, got 0"),
        ({"count": True}, "count must be a whole number of at least 1, got True"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
    ],
)
def test_bad_numbers(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(write_image_folder(tmp_path / "faces", FILES[:2]), **options)


def test_count_takes_the_first_images(tmp_path: Path) -> None:
    folder = write_image_folder(tmp_path / "faces", FILES)
    whole, some = load(folder), load(folder, count=7)
    assert len(some) == 7
    np.testing.assert_array_equal(some.images, whole.images[:7])
    np.testing.assert_array_equal(some.split, whole.split[:7])
    assert some.key != whole.key
    assert load(folder, count=1000).key == whole.key


def test_celeba_is_recognised_first(tmp_path: Path) -> None:
    folder = write_celeba(tmp_path / "both")
    (folder / "metadata.csv").write_text("not read")
    assert load(folder).name == "celeba"


def test_missing_images_are_an_error(tmp_path: Path) -> None:
    folder = write_image_folder(tmp_path / "faces", FILES[:6])
    (folder / "02.png").unlink()
    (folder / "04.png").unlink()
    (folder / "04.png").mkdir()
    with pytest.raises(DataError) as caught:
        load(folder)
    assert str(caught.value) == (
        f"{folder}/metadata.csv, row 4: image {folder}/02.png does not exist (and 1 more); correct the data, "
        "or leave such images out with --skip-bad (skip_bad=True)"
    )


def test_damaged_images_are_an_error_and_leave_nothing(tmp_path: Path, cache: Path) -> None:
    folder = write_image_folder(tmp_path / "faces", FILES[:6])
    whole = (folder / "03.png").read_bytes()
    (folder / "03.png").write_bytes(whole[: len(whole) // 2])
    (folder / "05.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"metadata.csv, row 5: image \S+/03.png is damaged .*\(and 1 more\)"):
        load(folder)
    assert list((cache / "datasets").iterdir()) == []


def test_skip_bad_leaves_out_and_counts(tmp_path: Path) -> None:
    folder = write_image_folder(tmp_path / "faces", FILES[:6])
    (folder / "01.png").write_bytes(b"no image")
    (folder / "04.png").unlink()
    for _ in range(2):  # built, then from the cache
        with pytest.warns(
            UserWarning, match=r"skipped 2 of 6 images; the first: \S+, row 3: .*01.png is not an"
        ) as said:
            data = load(folder, skip_bad=True)
        assert said[0].filename == __file__  # not one of ours
        assert data.skipped == 2
        np.testing.assert_array_equal(data.images, [pixels(i) for i in (0, 2, 3, 5)])
        np.testing.assert_array_equal(data.attributes, [[0, 1], [0, 1], [1, 1], [1, 1]])
        assert len(data) == len(data.split) == 4


def test_skipped_image_that_was_repaired_comes_back(tmp_path: Path) -> None:
    folder = write_image_folder(tmp_path / "faces", FILES[:6])
    (folder / "01.png").rename(tmp_path / "aside.png")
    with pytest.warns(UserWarning, match="skipped 1 of 6"):
        load(folder, skip_bad=True)
    (tmp_path / "aside.png").rename(folder / "01.png")
    assert load(folder, skip_bad=True).skipped == 0


def test_skip_bad_needs_one_good_image(tmp_path: Path) -> None:
    folder = write_image_folder(tmp_path / "faces", FILES[:3])
    for file in FILES[:3]:
        (folder / file).write_bytes(b"")
    with pytest.raises(DataError, match=r"row 2: image \S+00.png is empty \(and 2 more\); correct the data$"):
        load(folder, skip_bad=True)


def test_source_may_start_with_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_image_folder(tmp_path / "faces", FILES[:2])
    assert load_dataset("~/faces", size=16, progress=False).name == "faces"


def test_progress_goes_to_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_image_folder(tmp_path / "faces", FILES[:4])
    load(folder, progress=False)
    assert capsys.readouterr() == ("", "")
    load(folder, progress=True, size=8)
    out, err = capsys.readouterr()
    assert out == ""
    assert "Decoding images" in err
    assert "4/4" in err


# --- avatars


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    """The (count, size, seed) that were drawn; the drawings are noise."""
    calls = []

    def draw(count: int, size: int, seed: int, on_progress: object = None) -> object:
        calls.append((count, size, seed))
        rng = np.random.default_rng(seed)
        images = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
        attributes = rng.integers(0, 2, (count, len(avatars.ATTRIBUTES)), dtype=np.uint8)
        return images, attributes, {"hat": np.array(["NONE", "TURBAN"])[attributes[:, 0]]}

    monkeypatch.setattr(avatars, "draw_avatars", draw)
    return calls


def test_avatars_are_drawn_once(drawn: list[tuple[int, int, int]]) -> None:
    first = load_dataset("avatars", count=20, seed=3, progress=False)
    again = load_dataset("avatars", count=20, seed=3, progress=False)
    assert drawn == [(20, 32, 3)]
    assert first.name == "avatars"
    assert first.attribute_names == avatars.ATTRIBUTES
    assert first.parts is not None
    assert again.parts is not None
    assert first.parts["hat"].tolist() == again.parts["hat"].tolist()
    assert again.parts["hat"].tolist() == [("NONE", "TURBAN")[has] for has in again.attributes[:, 0]]
    images = np.random.default_rng(3).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(first.images, images)
    np.testing.assert_array_equal(first.images, again.images)


def test_avatars_key_tells_everything_apart(drawn: list[tuple[int, int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    def key(count: int, size: int = 32, seed: int = 0) -> str:
        return load_dataset("avatars", count=count, size=size, seed=seed, progress=False).key

    keys = {key(10), key(11), key(10, seed=1), key(10, size=64)}
    monkeypatch.setattr(avatars, "VERSION", avatars.VERSION + 1)
    keys.add(key(10))
    assert len(keys) == len(drawn) == 5


@pytest.mark.parametrize("count", [10, 17, 40])
def test_avatars_fill_all_splits(drawn: list[tuple[int, int, int]], count: int) -> None:
    data = load_dataset("avatars", count=count, progress=False)
    assert data.indices("valid").tolist() == list(range(8, count, 10))
    assert data.indices("test").tolist() == list(range(9, count, 10))
    assert sum(len(data.indices(name)) for name in SPLITS) == count


def test_avatars_sizes(drawn: list[tuple[int, int, int]]) -> None:
    with pytest.raises(DataError, match="avatars cannot be drawn at size 48; choose 32 or 64"):
        load_dataset("avatars", size=48, progress=False)
    assert drawn == []


# --- images of classes


def test_digits_are_scikit_learns() -> None:
    data, (rows, labels) = load_labelled("digits"), load_digits(return_X_y=True)
    assert data.images.shape == (1797, 8, 8, 1)
    np.testing.assert_allclose(data.images.reshape(-1, 64) * (16 / 255), rows, atol=0.04)
    np.testing.assert_array_equal(data.labels, np.asarray(labels))
    for k in range(10):
        of_class = np.flatnonzero(data.labels == k)
        np.testing.assert_array_equal(data.split[of_class], [2 * (i % 5 == 4) for i in range(len(of_class))])
    assert not set(data.indices("train")) & set(data.indices("test"))
    with pytest.raises(DataError, match="unknown split 'tests'"):
        data.indices("tests")
    with pytest.raises(DataError, match="split 'valid' is empty"):
        data.indices("valid")
    with pytest.raises(DataError, match="size is 16, but the images of digits have 8 pixels"):
        load_labelled("digits", size=16)


def test_some_images_keep_classes_and_splits_in_proportion() -> None:
    whole, some = load_labelled("digits"), load_labelled("digits", count=300)
    assert len(some) == 300
    assert np.bincount(some.labels).min() >= 28
    assert some.key != whole.key
    for k in range(10):
        for split in (0, 2):
            ours, theirs = (data.images[(data.labels == k) & (data.split == split)] for data in (some, whole))
            np.testing.assert_array_equal(ours, theirs[: len(ours)])
            assert len(ours) == pytest.approx(len(theirs) / 6, abs=1)
    assert len(load_labelled("digits", count=5000)) == 1797
    assert len(np.unique(load_labelled("digits", count=20).labels * 3 + load_labelled("digits", count=20).split)) == 20
    with pytest.raises(DataError, match="count is 19; give at least 20"):
        load_labelled("digits", count=19)
    with pytest.raises(DataError, match="count must be a whole number"):
        load_labelled("digits", count=0)


def test_sources_that_are_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file is not a folder"):
        load_labelled(tmp_path / "file")
    with pytest.raises(DataError, match="none does not exist; give a folder"):
        load_labelled(tmp_path / "none")


def write_shapes(folder: Path, rows: list[tuple[int, int]], size: tuple[int, int] = (24, 16)) -> Path:
    """Pictures named 0.png and on, of such a height and width, with the attributes Red and Round."""
    table = "file_name,Red,Round\n" + "".join(f"{i}.png,{red},{round_}\n" for i, (red, round_) in enumerate(rows))
    folder.mkdir()
    for i in range(len(rows)):
        Image.fromarray(pixels(i, *size)).save(folder / f"{i}.png")
    (folder / "metadata.csv").write_text(table)
    return folder


def test_combinations_of_attributes_are_classes(tmp_path: Path) -> None:
    rows = [(i % 2, i // 2 % 2) for i in range(40)]
    folder = write_shapes(tmp_path / "shapes", rows)
    data = load_labelled(folder, size=16, progress=False)
    assert data.class_names == ("none", "Round", "Red", "Red+Round")
    names = [data.class_names[label] for label in data.labels]
    assert names == [
        "+".join(name for name, on in zip(("Red", "Round"), row, strict=True) if on) or "none" for row in rows
    ]
    assert data.images.shape == (40, 16, 16, 3)
    assert np.array_equal(data.split, load_dataset(folder, size=16, progress=False).split)
    by_one = load_labelled(folder, size=16, label_by=["Round"], progress=False)
    assert by_one.class_names == ("none", "Round")
    assert by_one.labels.tolist() == [round_ for _, round_ in rows]
    with pytest.raises(DataError, match=r"label_by names 'Blue'; the attributes of .* are Red, Round"):
        load_labelled(folder, label_by=["Blue"], progress=False)


def test_an_attribute_a_picture_is_its_class(tmp_path: Path) -> None:
    folder = write_shapes(tmp_path / "kinds", [(i % 2, 1 - i % 2) for i in range(40)])
    assert load_labelled(folder, size=16, progress=False).class_names == ("Round", "Red")


def test_too_many_combinations_are_refused(tmp_path: Path) -> None:
    names = [f"A{k}" for k in range(7)]
    table = "file_name," + ",".join(names) + "\n"
    table += "".join(f"{i}.png,{','.join(f'{i:07b}')}\n" for i in range(128))
    (tmp_path / "metadata.csv").write_text(table)
    with pytest.raises(DataError, match=r"the 7 attributes of .* make 128 combinations.*--label-by A0,A1"):
        load_labelled(tmp_path, progress=False)


@pytest.mark.parametrize("size", [32, 64])
def test_wide_pictures_are_cut_and_not_stretched(tmp_path: Path, size: int) -> None:
    """A disc stays round at any size."""
    y, x = np.mgrid[:60, :120]
    disc = np.where(np.hypot(y - 29.5, x - 59.5) < 20, 0, 255).astype(np.uint8)
    for i in range(4):
        path = tmp_path / "wide" / ("a" if i % 2 else "b") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(disc).save(path)
    data = load_labelled(tmp_path / "wide", size=size, progress=False)
    dark = data.images[0, ..., 0] < 128
    height, width = dark.any(1).sum(), dark.any(0).sum()
    assert abs(height - size * 40 / 60) <= 1
    assert abs(height - width) <= 1


def test_unlisted_pictures_are_counted_and_named(tmp_path: Path) -> None:
    folder = write_image_folder(tmp_path / "set", [f"{i}.png" for i in range(10)])
    for name in ("more/x.png", "more/y.jpg", "more/.hidden.png", "z.png", "w.gif"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"anything")
    (folder / "notes.txt").write_text("no picture")
    said = r"4 pictures in .*set that no metadata.csv lists: left out \(w.gif, z.png, more/x.png and 1 more\)"
    with pytest.warns(UserWarning, match=said):
        assert len(load(folder)) == 10
    for k in range(4):
        (tmp_path / "kinds" / "ab"[k % 2]).mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / "kinds" / "ab"[k % 2] / f"{k}.png", k)
    assert len(load_labelled(tmp_path / "kinds", progress=False)) == 4  # and no warning
    write_image(tmp_path / "kinds" / "lost.png", 5)
    with pytest.warns(UserWarning, match=r"1 picture in .*kinds that lie in no class's folder: left out"):
        assert len(load_labelled(tmp_path / "kinds", progress=False)) == 4
