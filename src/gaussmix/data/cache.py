"""A memory-mapped cache of decoded images, keyed by content.

    <root>/datasets/<key>/  images.npy (N, H, W, 3) uint8, one .npy for each small array, meta.json
    <root>/index/<stamp>    the content digest of files with that stamp (names, sizes, times), so that
                            unchanged files need not be read again

``key`` is a digest of everything that decides the result, so an entry never goes stale. An entry is written in a
folder of its own beside its place, its images flushed to disk, and renamed: readers see a whole entry or none, and of
two processes that build the same one the first wins. ``meta.json`` holds the size of every file and a digest of every
small array; an entry that disagrees with it is damaged and built again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gaussmix._files import whole_file
from gaussmix._guard import reading
from gaussmix.data.base import AttributeDataset, DataError

FORMAT = 1  # part of every key: raise it when the files of an entry change
STALE_AFTER = 86400.0  # seconds without a write, after which an unfinished entry belongs to a dead process

Append = Callable[[np.ndarray], None]  # takes one (H, W, 3) or several (B, H, W, 3) uint8 images
Built = tuple[dict[str, np.ndarray], dict[str, Any]]  # the small arrays by name, and facts for meta.json


@dataclass(frozen=True)
class Entry:
    """A cached data set: ``(N, H, W, 3)`` uint8 read-only images, small arrays by name, facts from meta.json."""

    key: str
    images: np.ndarray
    arrays: dict[str, np.ndarray]
    info: dict[str, Any]

    def dataset(self, name: str, attribute_names: tuple[str, ...]) -> AttributeDataset:
        """The entry, with its arrays ``attributes``, ``split`` and ``part-...``, as a dataset."""
        parts = {key.removeprefix("part-"): kinds for key, kinds in self.arrays.items() if key.startswith("part-")}
        attributes, split, skipped = self.arrays["attributes"], self.arrays["split"], self.info.get("skipped", 0)
        return AttributeDataset(name, self.images, attributes, attribute_names, split, self.key, skipped, parts or None)


def digest(*facts: Any) -> str:
    """Hex digest of JSON-able facts and of the format of the cache."""
    return hashlib.blake2b(json.dumps([FORMAT, *facts]).encode(), digest_size=16).hexdigest()


def fetch(root: Path, key: str, size: int, build: Callable[[Append], Built]) -> Entry:
    """Entry ``key`` of the cache under ``root``, built first if it is absent or damaged.

    ``build`` passes its images of shape ``(size, size, 3)`` to the function it is given, in order, and returns the
    small arrays, N long, and facts. It runs again only if another process removes the entry in between.
    """
    folder = root / "datasets" / key
    for _ in range(3):
        entry = _open(folder)
        if entry is not None:
            return entry
        try:
            _remove(folder)
            _build(folder, size, build)
        except OSError as error:
            raise DataError(
                f"cannot write the image cache in {root}: {error.strerror or error}; make room there, or set "
                "GAUSSMIX_CACHE to another folder"
            ) from error
    raise DataError(f"{folder} vanishes or breaks as soon as it is written; set GAUSSMIX_CACHE to another folder")


def recall(root: Path, stamp: str) -> str | None:
    """The content digest remembered for files with this stamp, or None."""
    try:
        content = (root / "index" / stamp).read_text("ascii")
    except (OSError, ValueError):
        return None
    return content if len(content) == len(stamp) else None


def remember(root: Path, stamp: str, content: str | None) -> None:
    """Remember the content digest of files with this stamp; None forgets it. A failure costs time only."""
    path = root / "index" / stamp
    with contextlib.suppress(OSError):
        if content is None:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as aside:
            aside.write_text(content, "ascii")


def _open(folder: Path) -> Entry | None:
    """The entry in ``folder``, or None if it is absent or damaged in any way that shows."""
    try:
        with reading(folder):
            return _read_whole(folder)
    except (OSError, ValueError, MemoryError):  # the last of a head that asks for too much
        return None


def _read_whole(folder: Path) -> Entry | None:
    """The entry in ``folder``, None if it disagrees with its meta.json. Raises nearly anything if it is damaged."""
    meta = json.loads((folder / "meta.json").read_text("utf-8"))
    if meta.pop("digest", None) != digest(meta):
        return None
    if meta["bytes"].keys() != {"images.npy", *(f"{name}.npy" for name in meta["digests"])}:
        return None
    if any((folder / name).stat().st_size != size for name, size in meta["bytes"].items()):
        return None
    images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
    arrays = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in meta["digests"]}
    if images.dtype != np.uint8 or list(images.shape) != meta["shape"]:
        return None
    if any(_checksum(arrays[name]) != expected for name, expected in meta["digests"].items()):
        return None
    return Entry(folder.name, images, arrays, meta["info"])


def _build(folder: Path, size: int, build: Callable[[Append], Built]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(folder.parent)
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    aside.mkdir()
    try:
        _write(aside, size, build)
        try:
            aside.rename(folder)
        except OSError:
            if not folder.is_dir():  # another process was first; its entry is as good
                raise
    finally:  # after Ctrl-C too
        shutil.rmtree(aside, ignore_errors=True)


def _write(folder: Path, size: int, build: Callable[[Append], Built]) -> None:
    # A stream and not a memory map: on a full disk it gives an OSError, where the map would kill the process.
    with (folder / "images.npy").open("wb") as file:

        def write_header(total: int) -> int:
            about = {"descr": "|u1", "fortran_order": False, "shape": (total, size, size, 3)}
            np.lib.format.write_array_header_1_0(file, about)
            return file.tell()

        def append(images: np.ndarray) -> None:
            assert images.dtype == np.uint8, images.dtype
            assert images.shape[-3:] == (size, size, 3), images.shape
            file.write(np.ascontiguousarray(images).data)

        start = write_header(0)
        arrays, info = build(append)
        total = (file.tell() - start) // (size * size * 3)
        file.seek(0)
        end = write_header(total)
        assert end == start, "NumPy pads the header so that the first axis can grow in place"
        file.flush()
        os.fsync(file.fileno())
    for name, array in arrays.items():
        assert len(array) == total, (name, len(array), total)
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    meta = {
        "shape": [total, size, size, 3],
        "info": info,
        "bytes": {path.name: path.stat().st_size for path in sorted(folder.iterdir())},
        "digests": {name: _checksum(array) for name, array in arrays.items()},
    }
    meta["digest"] = digest(json.loads(json.dumps(meta)))  # of what will be read
    (folder / "meta.json").write_text(json.dumps(meta, indent=1), "utf-8")


def _checksum(array: np.ndarray) -> str:
    head = f"{array.dtype.str} {array.shape}".encode()
    return hashlib.blake2b(head + np.ascontiguousarray(array).tobytes(), digest_size=16).hexdigest()


def _remove(folder: Path) -> None:
    """Remove a damaged entry, under another name first so that nobody opens half of it."""
    if folder.exists():
        aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
        with contextlib.suppress(FileNotFoundError):  # another process was first
            folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def _remove_stale(parent: Path) -> None:
    """Remove unfinished entries that nobody has written to for a while: their process was killed."""
    for folder in parent.glob(".*"):
        with contextlib.suppress(OSError):
            latest = max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
            if latest < time.time() - STALE_AFTER:
                shutil.rmtree(folder, ignore_errors=True)
