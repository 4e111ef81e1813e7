"""Reading the images of a table: any picture to RGB, centre square, asked size; once, into the cache."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import threading
import warnings
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from gaussmix._progress import progress_bar
from gaussmix.data.base import DataError
from gaussmix.data.cache import Append, Built, Entry, digest, fetch, recall, remember
from gaussmix.data.table import ImageTable

if TYPE_CHECKING:
    from PIL import Image

DECODER = "decoder 1"  # part of the cache's key: raise it when `decode` gives other pixels
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")  # not EPS: Pillow would run Ghostscript on it
UNREADABLE = bytes(16)  # stands for the digest of a file without readable bytes
LARGE, BAND = 1 << 23, 1 << 20  # pixels: of more than so many one picture at a time is loaded; of a band of rows
MAX_THREADS = 8
BATCH = 8  # images a thread takes at a time
AHEAD = 32 * BATCH  # images that are read before the first of them is taken, at most

T = TypeVar("T")
_ONE_LARGE = threading.Lock()


class BadImageError(Exception):
    """Why a file does not give an image, worded to follow its name."""


def decode(data: bytes, size: int) -> np.ndarray:
    """``(size, size, 3)`` uint8 RGB from the bytes of an image file: its centre square, resized.

    The EXIF orientation is applied, transparency laid over white, 16-bit grey scaled by 1/257; an animation
    gives its first frame. Raises BadImageError.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image, one_large(image):
            # JPEG decodes to 1/2, 1/4 or 1/8 directly; from three times the asked size up, nothing shows.
            image.draft(None, (3 * size, 3 * size))
            rgb = upright_rgb(image)
            side = min(rgb.size)
            left, top = (rgb.width - side) // 2, (rgb.height - side) // 2
            square = rgb.crop((left, top, left + side, top + side))
            return np.asarray(square.resize((size, size), Image.Resampling.LANCZOS, reducing_gap=3.0))
    except (BadImageError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise BadImageError(f"is too large ({error})") from error
    except UnidentifiedImageError:
        raise BadImageError(f"is not an image ({', '.join(FORMATS)})" if data else "is empty") from None
    except Exception as error:  # Pillow's plugins raise nearly anything on damaged files
        raise BadImageError(f"is damaged ({' '.join(str(error).split()) or type(error).__name__})") from error


def read_square(path: Path, size: int) -> np.ndarray:
    """`decode` of a file. Raises ValueError naming a file that is no picture, OSError for one that cannot be read."""
    try:
        return decode(path.read_bytes(), size)
    except BadImageError as error:
        raise ValueError(f"{path} {error}") from error


@contextmanager
def one_large(image: Image.Image) -> Iterator[None]:
    """Around what loads a picture: of large ones one at a time is. Raises BadImageError for one that is too large."""
    from PIL import Image

    pixels, limit = image.width * image.height, Image.MAX_IMAGE_PIXELS
    if limit and image.format == "WEBP":
        limit //= 2  # whose decoder holds a picture several times
    if limit and pixels > limit:
        raise BadImageError(f"is too large ({image.width} x {image.height} pixels; at most {limit} in all)")
    with _ONE_LARGE if pixels > LARGE else nullcontext():
        yield


def upright_rgb(image: Image.Image) -> Image.Image:
    """An opened picture as RGB, as EXIF says; it is closed then, so that its pixels are held once.

    Transparency is laid over white, 16-bit grey scaled. Raises BadImageError for other ranges.
    """
    from PIL import ImageOps

    ImageOps.exif_transpose(image, in_place=True)
    rgb = _to_rgb(image)
    if rgb is not image:
        image.close()
    return rgb


def _to_rgb(image: Image.Image) -> Image.Image:
    """In bands of rows, where whole pictures would be needed in between."""
    from PIL import Image

    if image.mode == "F":
        raise BadImageError("holds fractions, whose range is not known")
    image.load()  # which may find what is transparent
    if image.mode[0] != "I" and not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    rgb, rows = Image.new("RGB", image.size), max(1, BAND // image.width)
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        rgb.paste(_grey(band) if image.mode[0] == "I" else _over_white(band), (0, top))
    return rgb


def _grey(band: Image.Image) -> Image.Image:
    """16 or 32 bits; Pillow's own conversion would clip at 255."""
    from PIL import Image

    values = np.asarray(band).astype(np.int64)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise BadImageError("holds values beyond 16 bits, whose range is not known")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")


def _over_white(band: Image.Image) -> Image.Image:
    from PIL import Image

    pixels = band.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", pixels.size, "white"), pixels).convert("RGB")


def load_table(table: ImageTable, *, size: int, skip_bad: bool, root: Path, progress: bool) -> Entry:
    """The images of ``table`` at ``size``, with attributes and split, from the cache under ``root``.

    Raises DataError if an image is missing or damaged; with ``skip_bad`` it leaves such images out, with a warning,
    and puts their number into ``info["skipped"]``.
    """
    stamp, missing = _stamp(table)

    def complaint(bad: dict[int, str]) -> str:
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        skip = ", or leave such images out with --skip-bad (skip_bad=True)" if len(bad) < len(table) else ""
        return f"{_describe(table, *next(iter(bad.items())))}{more}; correct the data{skip}"

    if missing and not skip_bad:
        raise DataError(complaint(missing))
    content = recall(root, stamp)
    if content is None:
        content, bad = _read_all(table, missing, "Checking images", progress, _read)
        if len(bad) == len(missing):  # all files that exist could be read
            remember(root, stamp, content)
    key = digest("images", DECODER, table.reader, size, skip_bad, content)

    def decoded(path: str) -> tuple[bytes, np.ndarray | str]:
        fingerprint, data = _read(path)
        if isinstance(data, str):
            return fingerprint, data
        try:
            return fingerprint, decode(data, size)
        except BadImageError as error:
            return fingerprint, str(error)

    def build(append: Append) -> Built:
        found, bad = _read_all(table, missing, "Decoding images", progress, decoded, append)
        if found != content:
            remember(root, stamp, None)
            raise DataError(f"the images in {table.root} changed while they were read; run again")
        if bad and (not skip_bad or len(bad) == len(table)):
            raise DataError(complaint(bad))
        kept = np.ones(len(table), bool)
        kept[list(bad)] = False
        info = {"skipped": len(bad), "first_bad": next(iter(bad.items()), None)}
        return {"attributes": table.attributes[kept], "split": table.split[kept]}, info

    entry = fetch(root, key, size, build)
    if entry.info["skipped"]:
        count = f"{entry.info['skipped']} of {len(table)} images"
        first = _describe(table, *entry.info["first_bad"])
        warnings.warn(f"skipped {count}; the first: {first}", stacklevel=3)  # the caller of load_dataset, load_labelled
    return entry


def _stamp(table: ImageTable) -> tuple[str, dict[int, str]]:
    """Digest of the table and of the state of its files on disk; the rows without a file, with the reason."""
    states: list[tuple[int, int, int] | None] = [None] * len(table)
    missing: dict[int, str] = {}
    for i, file in enumerate(table.files):
        try:
            found = os.stat(f"{table.root}/{file}")
            if stat.S_ISREG(found.st_mode):  # the time of change too: copying tools restore that of modification
                states[i] = (found.st_size, found.st_mtime_ns, found.st_ctime_ns)
            else:
                missing[i] = "is not a file"
        except (FileNotFoundError, NotADirectoryError):
            missing[i] = "does not exist"
        except OSError as error:
            missing[i] = f"cannot be read ({error.strerror})"
    return digest(str(table.root.resolve()), _hasher(table).hexdigest(), states), missing


def _hasher(table: ImageTable) -> hashlib.blake2b:
    """A hash that has seen all of ``table`` but the bytes of its images."""
    hasher = hashlib.blake2b(digest(table.attribute_names, table.files).encode(), digest_size=16)
    hasher.update(table.attributes.tobytes() + table.split.tobytes())
    return hasher


def _read_all(
    table: ImageTable,
    missing: dict[int, str],
    label: str,
    progress: bool,
    read: Callable[[str], tuple[bytes, T | str]],
    take: Callable[[T], object] = lambda _: None,
) -> tuple[str, dict[int, str]]:
    """Digest of the table and its files' bytes, and the rows that gave nothing, with the reason; others are taken."""
    hasher = _hasher(table)
    bad: dict[int, str] = {}
    with progress_bar(label, len(table), progress) as show, closing(_in_threads(read, table, missing)) as results:
        for i, (fingerprint, found) in enumerate(results):
            hasher.update(fingerprint)
            if isinstance(found, str):
                bad[i] = found
            else:
                take(found)
            show(i + 1)
    return hasher.hexdigest(), bad


def _read(path: str) -> tuple[bytes, bytes | str]:
    """Fingerprint and bytes of a file, or the reason why it has none."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        return UNREADABLE, f"cannot be read ({error.strerror})"
    return hashlib.blake2b(data, digest_size=16).digest(), data


def _in_threads(
    read: Callable[[str], tuple[bytes, T | str]], table: ImageTable, missing: dict[int, str]
) -> Generator[tuple[bytes, T | str]]:
    """``read(path)`` for every row in order, a bounded number ahead so that memory stays flat."""

    def read_rows(first: int) -> list[tuple[bytes, T | str]]:
        rows = range(first, min(first + BATCH, len(table)))
        return [(UNREADABLE, missing[i]) if i in missing else read(f"{table.root}/{table.files[i]}") for i in rows]

    pool = ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1))  # Pillow and the hash work outside the lock
    try:
        for start in range(0, len(table), AHEAD):
            for found in pool.map(read_rows, range(start, min(start + AHEAD, len(table)), BATCH)):
                yield from found
    finally:
        pool.shutdown(cancel_futures=True)


def _describe(table: ImageTable, place: int, reason: str) -> str:
    path, row = table.rows[place]
    return f"{path}, row {row}: image {table.root / table.files[place]} {reason}"
