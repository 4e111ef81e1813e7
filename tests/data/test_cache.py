"""The cache: found by content, never half-written, never trusted when damaged."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import platformdirs
import pytest
from data.layouts import pixels, write_image, write_image_folder

from gaussmix.data import AttributeDataset, DataError, cache_dir, load_dataset
from gaussmix.data import cache as cache_module
from gaussmix.data import decode as decode_module
from gaussmix.data.cache import Append, Built, digest, fetch

FILES = [f"{i:02}.png" for i in range(20)]


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GAUSSMIX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_image_folder(tmp_path / "faces", FILES)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One element for every image decoded since."""
    return count_calls(monkeypatch, "decode")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One element for every image file read since."""
    return count_calls(monkeypatch, "_read")


def count_calls(monkeypatch: pytest.MonkeyPatch, name: str) -> list[int]:
    calls: list[int] = []
    function = getattr(decode_module, name)

    def counted(*arguments: object) -> object:
        calls.append(1)
        return function(*arguments)

    monkeypatch.setattr(decode_module, name, counted)
    return calls


def load(folder: Path, size: int = 16) -> AttributeDataset:
    return load_dataset(folder, size=size, progress=False)


def entries(root: Path) -> list[Path]:
    return sorted((root / "datasets").iterdir())


def test_place(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    assert cache_dir() == root
    monkeypatch.setenv("GAUSSMIX_CACHE", "~/somewhere")
    assert cache_dir() == Path.home() / "somewhere"
    monkeypatch.delenv("GAUSSMIX_CACHE")
    assert cache_dir() == platformdirs.user_cache_path("gaussmix")


def test_images_are_a_read_only_memory_map(folder: Path) -> None:
    images = load(folder).images
    assert isinstance(images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


def test_unchanged_folder_is_neither_read_nor_decoded(folder: Path, read: list[int], decoded: list[int]) -> None:
    first = load(folder)
    assert len(decoded) == 20
    assert len(read) == 40  # to look for it, to decode
    again = load(folder)
    assert len(decoded) == 20
    assert len(read) == 40
    assert again.key == first.key
    np.testing.assert_array_equal(again.images, first.images)
    np.testing.assert_array_equal(again.attributes, first.attributes)
    np.testing.assert_array_equal(again.split, first.split)


def test_touched_and_copied_folders_are_read_but_not_decoded(
    folder: Path, tmp_path: Path, read: list[int], decoded: list[int]
) -> None:
    first = load(folder)
    os.utime(folder / FILES[3], (1, 1))
    assert load(folder).key == first.key
    shutil.copytree(folder, tmp_path / "copy")
    copy = load(tmp_path / "copy")
    assert copy.key == first.key
    assert copy.name == "copy"
    assert len(decoded) == 20
    assert len(read) == 80


def test_another_size_is_decoded_without_another_look(folder: Path, read: list[int]) -> None:
    first = load(folder)
    assert load(folder, size=8).key != first.key
    assert len(read) == 60


def change_byte(folder: Path) -> None:
    path = folder / FILES[3]
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # the checksum of the end marker, which Pillow does not read
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # only the time of change tells


def change_attribute(folder: Path) -> None:
    path = folder / "metadata.csv"
    path.write_text(path.read_text().replace("00.png,0", "00.png,1"))


def change_name(folder: Path) -> None:
    path = folder / "metadata.csv"
    path.write_text(path.read_text().replace("odd", "eve"))


@pytest.mark.parametrize("change", [change_byte, change_attribute, change_name])
def test_any_change_of_content_misses(folder: Path, decoded: list[int], change: Callable[[Path], None]) -> None:
    first = load(folder)
    change(folder)
    assert load(folder).key != first.key
    assert len(decoded) == 40


def test_swapped_images_miss(folder: Path) -> None:
    first = load(folder)
    (folder / FILES[0]).rename(folder / "aside")
    (folder / FILES[1]).rename(folder / FILES[0])
    (folder / "aside").rename(folder / FILES[1])
    second = load(folder)
    assert second.key != first.key
    np.testing.assert_array_equal(second.images[:2], [pixels(1), pixels(0)])


def truncate(name: str) -> Callable[[Path], None]:
    return lambda entry: os.truncate(entry / name, (entry / name).stat().st_size - 1)


def append_byte(entry: Path) -> None:
    with (entry / "images.npy").open("ab") as file:
        file.write(b"x")


def shorten(entry: Path) -> None:
    """A header that announces fewer images than the file holds."""
    data = (entry / "images.npy").read_bytes()
    assert data.count(b"(20, 16") == 1
    (entry / "images.npy").write_bytes(data.replace(b"(20, 16", b"(10, 16"))


def ask_for_more(entry: Path) -> None:
    """A header that announces more numbers than any memory holds, in as many bytes."""
    data = (entry / "split.npy").read_bytes()
    (entry / "split.npy").write_bytes(data.replace(b"(20,), }" + b" " * 16, b"(1000000000000000,), }  "))


def change_type(entry: Path) -> None:
    """The same bytes as truth values."""
    data = (entry / "split.npy").read_bytes()
    assert b"'|u1'" in data
    (entry / "split.npy").write_bytes(data.replace(b"'|u1'", b"'|b1'"))


def forget_skipped(entry: Path) -> None:
    text = (entry / "meta.json").read_text()
    assert '"skipped"' in text
    (entry / "meta.json").write_text(text.replace('"skipped"', '"skippex"'))


def flip(name: str, place: int) -> Callable[[Path], None]:
    def change(entry: Path) -> None:
        data = bytearray((entry / name).read_bytes())
        data[place] ^= 1
        (entry / name).write_bytes(data)

    return change


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(truncate("images.npy"), id="images cut"),
        pytest.param(append_byte, id="images longer"),
        pytest.param(shorten, id="fewer images"),
        pytest.param(ask_for_more, id="split of 10^15"),
        pytest.param(change_type, id="split of truth values"),
        pytest.param(forget_skipped, id="info"),
        pytest.param(truncate("meta.json"), id="meta cut"),
        pytest.param(flip("images.npy", 0), id="images not .npy"),
        pytest.param(flip("images.npy", 12), id="header of images"),
        pytest.param(flip("attributes.npy", -1), id="attributes"),
        pytest.param(flip("split.npy", -1), id="split"),
        pytest.param(lambda entry: (entry / "split.npy").unlink(), id="split gone"),
        pytest.param(lambda entry: (entry / "images.npy").unlink(), id="images gone"),
        pytest.param(lambda entry: (entry / "meta.json").unlink(), id="meta gone"),
        pytest.param(lambda entry: (entry / "meta.json").write_text("[]"), id="meta of another shape"),
        pytest.param(lambda entry: (entry / "meta.json").write_bytes(b"\xff"), id="meta not text"),
    ],
)
def test_damaged_entry_is_built_again(
    folder: Path, root: Path, decoded: list[int], damage: Callable[[Path], None]
) -> None:
    first = load(folder)
    expected = first.images.copy()
    (entry,) = entries(root)
    damage(entry)
    again = load(folder)
    assert len(decoded) == 40
    assert entries(root) == [entry]
    np.testing.assert_array_equal(again.images, expected)
    np.testing.assert_array_equal(again.split, first.split)
    load(folder)
    assert len(decoded) == 40


def test_damaged_index_does_no_harm(folder: Path, root: Path) -> None:
    first = load(folder)
    (stamp,) = (root / "index").iterdir()
    stamp.write_bytes(b"\xff")
    assert load(folder).key == first.key


def test_interrupt_leaves_nothing(folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(data: bytes, size: int) -> np.ndarray:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(decode_module, "decode", interrupt)
        with pytest.raises(KeyboardInterrupt):
            load(folder)
    assert entries(root) == []
    assert len(load(folder)) == 20


def test_images_that_change_while_they_are_read(folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_all = decode_module._read_all

    def change_first(table: object, missing: object, label: str, *arguments: object) -> object:
        if label == "Decoding images":
            write_image(folder / FILES[0], 99)
        return read_all(table, missing, label, *arguments)  # pyright: ignore[reportArgumentType]

    with monkeypatch.context() as patch:
        patch.setattr(decode_module, "_read_all", change_first)
        with pytest.raises(DataError, match=r"images in \S+faces changed while they were read; run again"):
            load(folder)
    assert entries(root) == []
    np.testing.assert_array_equal(load(folder).images[0], pixels(99))


def test_full_disk(folder: Path, root: Path) -> None:
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(DataError, match=r"cannot write the image cache in \S+cache: .*GAUSSMIX_CACHE") as caught:
            load(folder, size=64)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert entries(root) == []


def test_place_that_cannot_be_written(folder: Path, root: Path) -> None:
    root.write_text("a file where the cache should be")
    with pytest.raises(DataError, match=r"cannot write the image cache in \S+cache: .*GAUSSMIX_CACHE"):
        load(folder)


def grey(value: int, count: int = 3) -> Callable[[Append], Built]:
    def build(append: Append) -> Built:
        for _ in range(count):
            append(np.full((4, 4, 3), value, np.uint8))
        return {"split": np.zeros(count, np.uint8)}, {"value": value}

    return build


def test_of_two_builders_the_first_wins(root: Path) -> None:
    def slow(append: Append) -> Built:
        fetch(root, "key", 4, grey(1))  # another process is faster
        return grey(2)(append)

    entry = fetch(root, "key", 4, slow)
    assert entry.info == {"value": 1}
    assert entry.images.tolist() == np.ones((3, 4, 4, 3), int).tolist()
    assert [path.name for path in entries(root)] == ["key"]


def test_folders_of_dead_processes_are_removed(root: Path) -> None:
    for name, age in (("dead", 1e6), ("alive", 10)):
        path = root / f"datasets/.key.{name}"
        path.mkdir(parents=True)
        (path / "images.npy").touch()
        for old in (path / "images.npy", path):
            os.utime(old, (time.time() - age, time.time() - age))
    fetch(root, "key", 4, grey(1))
    assert [path.name for path in entries(root)] == [".key.alive", "key"]


def test_entry_is_plain_files(root: Path) -> None:
    """What an entry holds can be read with NumPy and JSON alone, nothing pickled."""
    fetch(root, "key", 4, grey(7, count=12))
    images = np.load(root / "datasets/key/images.npy", allow_pickle=False)
    assert images.tolist() == np.full((12, 4, 4, 3), 7).tolist()
    meta = json.loads((root / "datasets/key/meta.json").read_text())
    assert meta["shape"] == [12, 4, 4, 3]
    assert meta["bytes"]["images.npy"] == (root / "datasets/key/images.npy").stat().st_size


def test_entry_that_cannot_be_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "_open", lambda folder: None)
    with pytest.raises(DataError, match="key vanishes or breaks as soon as it is written"):
        fetch(root, "key", 4, grey(1))


def test_digest_tells_facts_apart() -> None:
    assert digest("a", 1) == digest("a", 1)
    assert len({digest("a", 1), digest("a", "1"), digest("a1"), digest(["a"], 1), digest("a", True)}) == 5
