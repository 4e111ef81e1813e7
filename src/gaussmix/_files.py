"""Files that are whole or absent, written under another name beside their own and then renamed; arrays in them; caches.

A safetensors file of ours is recognised by the format and the version that its metadata name.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import platformdirs
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save


def cache_dir() -> Path:
    """Return the root of the cache: ``$GAUSSMIX_CACHE``, or the user's cache folder on this system."""
    chosen = os.environ.get("GAUSSMIX_CACHE")
    return Path(chosen).expanduser().absolute() if chosen else platformdirs.user_cache_path("gaussmix")


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path to write to, with the suffix of ``path``; on leaving without an error it takes that one's place.

    A reader sees the old file or the new one, never half of it; after an error the old one is still there.
    """
    path = Path(path)
    aside = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


Tensors = dict[str, NDArray[Any]]


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, NDArray[Any]], kind: str, about: dict[str, str] | None = None
) -> None:
    """Write arrays as a file of the format ``gaussmix.{kind}``, with more metadata in ``about``.

    A file of that name is replaced once the new one is whole. Raises OSError where it cannot be written.
    """
    metadata = {"format": f"gaussmix.{kind}", "version": "1", **(about or {})}
    data = save({name: np.ascontiguousarray(value) for name, value in tensors.items()}, metadata=metadata)
    with whole_file(path) as aside:
        aside.write_bytes(data)


def read_tensors(path: str | os.PathLike[str], kind: str) -> tuple[Tensors, dict[str, str]]:
    """Return arrays and metadata of a file that `write_tensors` wrote as ``kind``.

    Raises ValueError for a file that is cut short, of another format or another version, FileNotFoundError for none.
    """
    data = Path(path).read_bytes()
    try:
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}); was it cut short?") from error
    metadata = header.get("__metadata__") or {}
    found = metadata.get("format", "none that gaussmix knows")
    if found != f"gaussmix.{kind}":
        raise ValueError(f"{path} has the format {found}, not gaussmix.{kind}; load it with what wrote it")
    if metadata.get("version") != "1":
        raise ValueError(f"{path} has version {metadata.get('version')} of its format; this gaussmix reads version 1")
    return tensors, metadata


class TensorRecord:
    """What arrays by name say all about: equal where they are, and a safetensors file of the class's own format."""

    def to_tensors(self) -> Tensors:
        """Return everything as arrays by name, for `from_tensors`."""
        raise NotImplementedError

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """Make what gave `to_tensors()`. Raises KeyError or ValueError for other arrays."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)):
            return NotImplemented
        mine, theirs = self.to_tensors(), other.to_tensors()
        return mine.keys() == theirs.keys() and all(np.array_equal(mine[name], theirs[name]) for name in mine)

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # equality is by value

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file; another of that name is replaced once the new one is whole."""
        write_tensors(path, self.to_tensors(), type(self).__name__)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote. Raises ValueError, naming the file, for another kind of file or a damaged one."""
        tensors, _ = read_tensors(path, cls.__name__)
        try:
            return cls.from_tensors(tensors)
        except (KeyError, ValueError) as error:
            raise ValueError(f"{path} holds no usable {cls.__name__}: {error}") from error
