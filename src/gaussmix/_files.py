"""Files that are whole or absent, written under another name beside their own and then renamed; arrays in them; caches.

A safetensors file of ours is recognised by the format and the version that its metadata name, and holds a digest of the
rest. Equal contents are equal bytes.

A file that is being written is called ``.NAME.gm-HOST-PID-RANDOM.SUFFIX``: whoever next writes into the folder sees
whether its process still runs, and removes what a killed one left.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
import platformdirs
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

STALE_AFTER = 86400.0  # seconds without a write, after which a leftover of another machine's process is removed
_LEFTOVER = re.compile(r"\..*\.gm-([0-9a-f]{4})-(\d+)-[0-9a-f]{8}(\.[^.]*)?")
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
_LONGEST_STEM = 180  # bytes; names of files may have 255
_swept: set[Path] = set()  # folders in which this process has looked for leftovers


def cache_dir() -> Path:
    """Return the root of the cache: ``$GAUSSMIX_CACHE``, or the user's cache folder on this system."""
    chosen = os.environ.get("GAUSSMIX_CACHE")
    return Path(chosen).expanduser().absolute() if chosen else platformdirs.user_cache_path("gaussmix")


def flush(path: Path) -> None:
    """Have a file, or a folder's list of names, written to the disk; folders only where the system can.

    Raises OSError for a file that cannot be.
    """
    folder = path.is_dir()
    try:
        descriptor = os.open(path, os.O_RDONLY if folder else os.O_RDWR)  # Windows flushes what is open for writing
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        if not folder:  # Windows opens no folders, and some network file systems flush none
            raise


def aside_name(path: Path) -> Path:
    """A name beside ``path``, with its suffix, for what is still being written; `sweep` knows whose it was."""
    stem = path.stem.encode()[:_LONGEST_STEM].decode(errors="ignore")
    return path.with_name(f".{stem}.gm-{_host()}-{os.getpid()}-{secrets.token_hex(4)}{path.suffix}")


def sweep(folder: Path) -> None:
    """Remove what killed processes left unfinished in a folder; looks once a process."""
    if folder in _swept:
        return
    _swept.add(folder)
    with suppress(OSError):
        for path in folder.iterdir():
            found = _LEFTOVER.fullmatch(path.name)
            if found and _is_abandoned(path, found[1], int(found[2])):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _host() -> str:
    """Where a process's number means something: this machine and, in a container, its own numbering."""
    names = [socket.gethostname()]
    with suppress(OSError):
        names.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256(" ".join(names).encode()).hexdigest()[:4]


def _is_abandoned(path: Path, host: str, pid: int) -> bool:
    if host == _host() and sys.platform != "win32":  # where signal 0 would end the process
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, OverflowError):
            return True
        except OSError:
            pass
    inside = path.iterdir() if path.is_dir() else ()
    return max(each.stat().st_mtime for each in (path, *inside)) < time.time() - STALE_AFTER


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Around what writes to a file: what the system says of a full disk names it."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in _DISK:
            error.filename = str(path)
        raise


@contextmanager
def whole_file(path: str | os.PathLike[str], *, durable: bool = False) -> Iterator[Path]:
    """Yield a path to write to, with the suffix of ``path``; on leaving without an error it takes that one's place.

    A reader sees the old file or the new one, never half of it; after an error the old one is still there, and an
    OSError names ``path``. What is ``durable`` outlives a power cut, too, at the cost of a flush to the disk.
    """
    path = Path(path)
    sweep(path.parent)
    aside = aside_name(path)
    try:
        with naming(path):
            yield aside
        if durable:
            flush(aside)
        os.replace(aside, path)
        if durable:
            flush(path.parent)
    except OSError as error:
        if error.filename is not None and Path(error.filename) == aside:
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        aside.unlink(missing_ok=True)


def read_json(path: Path, most: int = 1 << 26) -> dict[str, Any]:
    """Return the object in a JSON file of at most so many bytes.

    Raises ValueError, naming the file, for anything else, FileNotFoundError for none.
    """
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"{path} has more than {most} bytes: it is not what gaussmix writes")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no whole JSON file ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no JSON object, but {found!r:.40}")
    return found


Tensors = dict[str, NDArray[Any]]


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, NDArray[Any]], kind: str, about: dict[str, str] | None = None
) -> None:
    """Write arrays as a file of the format ``gaussmix.{kind}``, with more metadata in ``about``.

    A file of that name is replaced once the new one is whole. Raises OSError where it cannot be written.
    """
    with whole_file(path, durable=True) as aside:
        aside.write_bytes(tensor_bytes(tensors, kind, about))


def tensor_bytes(tensors: Mapping[str, NDArray[Any]], kind: str, about: dict[str, str] | None = None) -> bytes:
    """The bytes of the file that `write_tensors` writes."""
    metadata = {"format": f"gaussmix.{kind}", "version": "1", **(about or {})}
    data = save({name: np.ascontiguousarray(value) for name, value in tensors.items()})
    header, start = _header(data)
    metadata["sha256"] = _digest(header, metadata, data, start)
    # safetensors itself would write metadata in another order each time.
    text = json.dumps({"__metadata__": metadata, **header}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, memoryview(data)[start:]])


def read_tensors(path: str | os.PathLike[str], kind: str) -> tuple[Tensors, dict[str, str]]:
    """Return arrays and metadata of a file that `write_tensors` wrote as ``kind``.

    Raises ValueError for a file that is cut short, damaged, of another format or another version, FileNotFoundError for
    none.
    """
    return tensors_of(Path(path).read_bytes(), kind, str(path))


def tensors_of(data: bytes, kind: str, path: str) -> tuple[Tensors, dict[str, str]]:
    """`read_tensors` of the bytes of a file that errors call ``path``."""
    try:
        tensors = load(data)
        header, start = _header(data)
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}); was it cut short?") from error
    metadata = header.pop("__metadata__", None) or {}
    found = metadata.get("format", "none that gaussmix knows")
    if found != f"gaussmix.{kind}":
        raise ValueError(f"{path} has the format {found}, not gaussmix.{kind}; load it with what wrote it")
    if metadata.get("version") != "1":
        raise ValueError(f"{path} has version {metadata.get('version')} of its format; this gaussmix reads version 1")
    digest = metadata.pop("sha256", None)  # files of the first months have none
    if digest is not None and digest != _digest(header, metadata, data, start):
        raise ValueError(f"{path} is damaged: its contents are not those that were written; make it anew")
    return tensors, metadata


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    """The JSON at the head of a safetensors file, and where the arrays begin."""
    start = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:start]), start


def _digest(header: Mapping[str, Any], metadata: Mapping[str, str], data: bytes, start: int) -> str:
    about = json.dumps([header, metadata], sort_keys=True).encode()
    return hashlib.sha256(about + hashlib.sha256(memoryview(data)[start:]).digest()).hexdigest()


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
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            why = error if isinstance(error, ValueError) else repr(error)
            raise ValueError(f"{path} holds no usable {cls.__name__}: {why}") from error
