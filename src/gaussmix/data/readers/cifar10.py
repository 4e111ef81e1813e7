"""CIFAR-10's official layouts (Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009).

    cifar-10-batches-bin/  data_batch_1.bin ... data_batch_5.bin, test_batch.bin, batches.meta.txt
    cifar-10-batches-py/   data_batch_1 ... data_batch_5, test_batch, batches.meta

A record of the binary layout has 3073 bytes: the label, then 32 x 32 pixels of red, of green and of blue. A file of the
other layout is a Python pickle, which can hold any program: `_Unpickler` builds arrays, lists and dictionaries
and refuses everything else.

The K = 10 attributes are the classes; each image has one. Of every six images in a row, five come from the training
files and the sixth from the test file, so that a few images have every split. Every tenth training image is valid.
"""

from __future__ import annotations

import hashlib
import io
import math
import pickle
import pickletools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gaussmix._guard import reading, shown
from gaussmix._progress import progress_bar
from gaussmix.data.base import SPLITS, AttributeDataset, DataError
from gaussmix.data.cache import Append, Built, digest, fetch, recall, remember
from gaussmix.data.table import check_names, read_text

READER = "cifar-10 1"
SIDE = 32
CLASSES = 10
RECORDS = 10_000  # in each file
BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
TEST = "test_batch"
BINARY_NAMES, PICKLED_NAMES = "batches.meta.txt", "batches.meta"

_PIXELS = 3 * SIDE * SIDE


def find_cifar10(folder: Path) -> Path | None:
    """Where the files lie: ``folder`` or the archive's own folder in it; None if it is not CIFAR-10."""
    layouts = ((BINARY_NAMES, "cifar-10-batches-bin"), (PICKLED_NAMES, "cifar-10-batches-py"))
    files = (place / name for name, archive in layouts for place in (folder, folder / archive))
    return next((file.parent for file in files if file.is_file()), None)


def load_cifar10(place: Path, *, size: int, count: int | None, root: Path, progress: bool) -> AttributeDataset:
    """The data set in ``place``, from the cache under ``root`` or read and put there.

    ``size`` other than 32 resizes; ``count`` keeps the first images. DataError names the file of what is wrong.
    """
    binary = (place / BINARY_NAMES).is_file()
    names_file = place / (BINARY_NAMES if binary else PICKLED_NAMES)
    paths = [place / (f"{name}.bin" if binary else name) for name in (*BATCHES, TEST)]
    for path in paths:
        if not path.is_file():
            raise DataError(f"{path} is missing; CIFAR-10 comes in {len(paths)} files and {names_file.name}")
    read = _read_records if binary else _read_pickled
    names = tuple(read_text(names_file).split() if binary else _listed_names(names_file))
    check_names(names, names_file, 1)
    if len(names) != CLASSES:
        raise DataError(f"{names_file} names {len(names)} classes; CIFAR-10 has {CLASSES}")
    stamp = digest(READER, [_state(path) for path in (names_file, *paths)])
    content = recall(root, stamp)
    if content is None:
        content = digest(READER, names, [_fingerprint(path) for path in paths])
        remember(root, stamp, content)
    total = min(count or 6 * RECORDS, 6 * RECORDS)
    key = digest("images", READER, size, total, content)

    def build(append: Append) -> Built:
        labels, split, done = [], [], 0
        with progress_bar("Reading CIFAR-10", total, progress) as show:
            for images, classes, codes in _interleaved(paths, read):
                kept = slice(total - done)
                append(_resized(images[kept], size))
                labels.append(classes[kept])
                split.append(codes[kept])
                done += len(labels[-1])
                show(done)
                if done == total:
                    break
        attributes = np.eye(CLASSES, dtype=np.uint8)[np.concatenate(labels)]
        return {"attributes": attributes, "split": np.concatenate(split)}, {}

    return fetch(root, key, size, build).dataset("cifar10", names)


def _state(path: Path) -> tuple[str, int, int, int]:
    found = path.stat()
    return str(path.resolve()), found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _fingerprint(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _interleaved(
    paths: list[Path], read: Callable[[Path], tuple[np.ndarray, np.ndarray]]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Images ``(B, 32, 32, 3)``, labels ``(B,)`` and split codes ``(B,)``, a training file at a time."""
    *train, test = paths
    held_out = (*read(test), np.full(RECORDS, SPLITS.index("test"), np.uint8))
    is_valid = np.arange(RECORDS) % 10 == 9
    codes = np.where(is_valid, SPLITS.index("valid"), SPLITS.index("train")).astype(np.uint8)
    share = RECORDS // len(train)
    for i, path in enumerate(train):
        pairs = zip((*read(path), codes), held_out, strict=True)
        images, labels, split = (_alternating(array, other[i * share : (i + 1) * share]) for array, other in pairs)
        yield images, labels, split


def _alternating(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Five rows of ``train``, one of ``test``, and so on."""
    groups = train.reshape(len(test), -1, *train.shape[1:])
    return np.concatenate([groups, test[:, None]], axis=1).reshape(-1, *train.shape[1:])


def _resized(images: np.ndarray, size: int) -> np.ndarray:
    if size == SIDE:
        return images
    from PIL import Image

    resized = (Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS) for image in images)
    return np.stack([np.asarray(image) for image in resized])


def _checked(pixels: np.ndarray, labels: np.ndarray, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images ``(N, 32, 32, 3)`` of pixels ``(N, 3072)`` in planes of colour, and the labels."""
    wrong = np.flatnonzero((labels < 0) | (labels >= CLASSES))
    if len(wrong):
        raise DataError(f"{path}, image {wrong[0]}: label {labels[wrong[0]]}; expected 0 to {CLASSES - 1}")
    return np.ascontiguousarray(pixels.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)), labels


def _read_records(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of a binary file."""
    data = np.fromfile(path, np.uint8)
    if len(data) != RECORDS * (1 + _PIXELS):
        raise DataError(
            f"{path} has {len(data)} bytes; expected {RECORDS} records of {1 + _PIXELS}: it is cut off or another "
            "data set (CIFAR-100 has records of two labels)"
        )
    records = data.reshape(RECORDS, 1 + _PIXELS)
    return _checked(records[:, 1:], records[:, 0], path)


def _read_pickled(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of a pickled file."""
    content = read_pickle(path)
    pixels, labels = content.get("data"), content.get("labels")
    if not isinstance(pixels, _PickledBytes) or pixels.shape != (RECORDS, _PIXELS):
        raise DataError(f"{path} has no 'data' of {RECORDS} x {_PIXELS} bytes; it is not a batch of CIFAR-10")
    if not isinstance(labels, list) or len(labels) != RECORDS or {type(label) for label in labels} != {int}:
        raise DataError(f"{path} has no 'labels', a list of {RECORDS} whole numbers; it is not a batch of CIFAR-10")
    if not all(0 <= label < CLASSES for label in labels):
        wrong = next(i for i, label in enumerate(labels) if not 0 <= label < CLASSES)
        raise DataError(f"{path}, image {wrong}: label {shown(repr(labels[wrong]))}; expected 0 to {CLASSES - 1}")
    return _checked(pixels.array(), np.array(labels), path)


def _listed_names(path: Path) -> list[str]:
    names = read_pickle(path).get("label_names")
    if not isinstance(names, list):
        raise DataError(f"{path} has no list 'label_names'; it is not CIFAR-10's")
    return [_text(name) for name in names]


def _text(value: object) -> str:
    """Texts of Python 2 arrive as bytes."""
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def read_pickle(path: Path) -> dict[str, Any]:
    """The dictionary in a pickle, its keys as texts. DataError names the file; nothing in it is run."""
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise DataError(f"{path} has {size} bytes; a batch of CIFAR-10 has {RECORDS * _PIXELS} and a few more")
    with reading(path, kind=DataError):
        data = path.read_bytes()
        _check_opcodes(data)
        content = _Unpickler(io.BytesIO(data), path).load()
        if not isinstance(content, dict):
            raise DataError(f"{path} holds a {type(content).__name__}; expected a dictionary of CIFAR-10")
        return {_text(key): value for key, value in content.items()}


def _check_opcodes(data: bytes) -> None:
    """Raises ValueError for what CIFAR-10 does not need, and what could fill memory or nest without end."""
    tuples = 0
    for number, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if opcode.name in _MEMO and int(argument or 0) > number:  # memory is laid out up to that place
            raise ValueError(f"place {argument} of the memo after {number} steps")
        tuples += opcode.name in _TUPLES
        if tuples > _MOST_TUPLES:
            raise ValueError(f"more than {_MOST_TUPLES} tuples")


class _Unpickler(pickle.Unpickler):
    """Builds what the files of CIFAR-10 hold: bytes in two dimensions, beside numbers, texts, lists and dictionaries.

    A pickle names the functions that it wants called. All but those of `_ALLOWED` are refused before anything runs,
    and these are stand-ins: NumPy's own functions take sizes and types that could fill memory.
    """

    def __init__(self, file: Any, path: Path):
        super().__init__(file, encoding="bytes")
        self.path = path

    def find_class(self, module_name: str, global_name: str) -> Any:
        try:
            return _ALLOWED[module_name, global_name]
        except KeyError:
            raise DataError(
                f"{self.path} asks for {shown(module_name)}.{shown(global_name)}, which no file of CIFAR-10 needs; it "
                "may be harmful and was not run. Get the data again, best in the binary version"
            ) from None


class _PickledBytes:
    """An array of bytes as its state in a pickle says it, checked; ``shape`` is () of other numbers and of none."""

    shape: tuple[int, ...] = ()

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, by_column, data = state
        if not isinstance(kind, _PickledKind) or kind.code not in _BYTE_CODES:
            return
        data = data.encode("latin1") if isinstance(data, str) else data
        if not isinstance(data, bytes) or not all(type(size) is int and size > 0 for size in shape):
            raise ValueError("an array without bytes")
        if math.prod(shape) != len(data):
            raise ValueError(f"{len(data)} bytes for an array of shape {shape}")
        self.shape, self._data, self._by_column = tuple(shape), data, bool(by_column)

    def array(self) -> np.ndarray:
        """The array, read-only."""
        return np.frombuffer(self._data, np.uint8).reshape(self.shape, order="F" if self._by_column else "C")


class _PickledKind:
    """Stands for a dtype by its code, whose state says nothing more."""

    def __init__(self, code: Any, *options: Any):
        self.code = code

    def __setstate__(self, state: Any) -> None:
        pass


def _new_array(kind: object, shape: tuple[int, ...], code: bytes | str) -> _PickledBytes:
    """NumPy's way to begin an array that its bytes follow."""
    return _PickledBytes()


def _latin1(text: str, encoding: str) -> bytes:
    """Python 3's way to write bytes in an old format."""
    if encoding != "latin1":
        raise ValueError(f"bytes in {encoding}")
    return text.encode("latin1")


MOST_BYTES = 1 << 26
_BYTE_CODES = ("u1", b"u1", "|u1", b"|u1")
_MEMO = {"PUT", "BINPUT", "LONG_BINPUT"}
_TUPLES, _MOST_TUPLES = {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET"}, 1000
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): object(),  # a name that an array begins with
    ("numpy", "dtype"): _PickledKind,
    ("_codecs", "encode"): _latin1,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _new_array for core in ("core", "_core")},
}
