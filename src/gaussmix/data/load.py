"""The one interface to pictures with attributes: N images, K binary attributes each, and a split.

`load_dataset` reads the built-in avatars, an image folder with `metadata.csv`, or the official layouts of CelebA and
CIFAR-10.
Every image is decoded once, into a memory-mapped cache keyed by content (`gaussmix.data.cache`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

SPLITS = ("train", "valid", "test")  # codes 0, 1, 2, as in CelebA's list_eval_partition.txt
AVATAR_SIZES = (32, 64)
AVATAR_COUNT = 4000


class DataError(ValueError):
    """Data that cannot be used; one line that names the file and row and says what to do."""


@dataclass(frozen=True, eq=False)
class AttributeDataset:
    """N images with K binary attributes.

    Attributes
    ----------
    name : "avatars", "celeba", "cifar10", or the folder's name.
    images : (N, H, W, 3) uint8, usually a read-only memory map.
    attributes : (N, K) uint8, 0 or 1.
    attribute_names : K names.
    split : (N,) uint8, index into `SPLITS`.
    key : hex digest of the content; names whatever is derived from this data.
    skipped : images left out because they were missing or damaged (only with `skip_bad`).
    parts : avatars only, else None: for each part of a face the (N,) sub-types drawn, as strings.
    """

    name: str
    images: np.ndarray
    attributes: np.ndarray
    attribute_names: tuple[str, ...]
    split: np.ndarray
    key: str
    skipped: int = 0
    parts: dict[str, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def indices(self, split: str) -> np.ndarray:
        """(M,) int64 positions of the images of `split`, ascending. DataError if there are none."""
        if split not in SPLITS:
            raise DataError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
        found = np.flatnonzero(self.split == SPLITS.index(split))
        if not len(found):
            counts = np.bincount(self.split, minlength=len(SPLITS))
            filled = ", ".join(f"{n} in {name}" for name, n in zip(SPLITS, counts, strict=True) if n)
            raise DataError(
                f"{self.name}: split {split!r} is empty (images: {filled}); choose another or add some to it"
            )
        return found


def load_dataset(
    source: str | Path,
    *,
    size: int = 32,
    count: int | None = None,
    seed: int = 0,
    skip_bad: bool = False,
    cache: Path | None = None,
    progress: bool = True,
) -> AttributeDataset:
    """Load pictures with attributes, decoding them only if the cache does not hold them yet.

    Parameters
    ----------
    source : "avatars" for the built-in faces (write "./avatars" for a folder of that name); else a folder:
        CelebA's layout if `list_attr_celeba.txt` lies in it or in its `Anno` sub-folder; CIFAR-10's if
        `batches.meta.txt` (binary) or `batches.meta` (pickled) lies in it or in the archive's own sub-folder; an image
        folder if `metadata.csv` lies in it or in a sub-folder named after a split.
    size : height and width in pixels. Pictures of any size are cropped to their centre square and resized;
        avatars come in 32 and 64.
    count : avatars: how many to draw (default 4000). A folder: use only the first `count` images it lists.
    seed : avatars only: which faces are drawn; 0 or more.
    skip_bad : leave out images that are missing or damaged, with a warning, instead of raising. CIFAR-10's files
        hold ten thousand images each and are whole or refused.
    cache : root of the cache, default `cache_dir()`.
    progress : show progress bars on standard error.

    Avatars are split by position: of every ten the first eight train, the ninth is valid, the tenth test. CIFAR-10
    keeps its test images; of its training images every tenth is valid. Its classes are K = 10 attributes.

    Raises
    ------
    DataError : one line naming the file and the row.
    """
    # Imported here: the readers need DataError from this module, and Pillow should load on first use only.
    from gaussmix.data.cache import cache_dir
    from gaussmix.data.decode import load_table
    from gaussmix.data.readers.celeba import find_celeba, read_celeba
    from gaussmix.data.readers.cifar10 import find_cifar10, load_cifar10
    from gaussmix.data.readers.image_folder import find_tables, read_image_folder

    _check_whole("size", size, 1)
    _check_whole("seed", seed, 0)
    if count is not None:
        _check_whole("count", count, 1)
    root = cache_dir() if cache is None else Path(cache)
    if source == "avatars":
        return _load_avatars(size, AVATAR_COUNT if count is None else count, seed, root, progress)

    folder = Path(source).expanduser()
    if not folder.is_dir():
        problem = "is not a folder" if folder.exists() else "does not exist"
        raise DataError(f"{folder} {problem}; give a folder of images, or 'avatars' for the built-in faces")
    if find_celeba(folder) is not None:
        name, table = "celeba", read_celeba(folder)
    elif (place := find_cifar10(folder)) is not None:
        return load_cifar10(place, size=size, count=count, root=root, progress=progress)
    elif find_tables(folder):
        name, table = folder.resolve().name, read_image_folder(folder)
    else:
        raise DataError(
            f"{folder} holds no data set; expected list_attr_celeba.txt (CelebA), batches.meta.txt (CIFAR-10), or "
            "metadata.csv (image folder) in it or in its train/, validation/, test/"
        )
    if count is not None:
        table = table.first(count)
    entry, key = load_table(table, size=size, skip_bad=skip_bad, root=root, progress=progress)
    return AttributeDataset(
        name=name,
        images=entry.images,
        attributes=entry.arrays["attributes"],
        attribute_names=table.attribute_names,
        split=entry.arrays["split"],
        key=key,
        skipped=entry.info["skipped"],
    )


def _load_avatars(size: int, count: int, seed: int, root: Path, progress: bool) -> AttributeDataset:
    from gaussmix._progress import progress_bar
    from gaussmix.data.cache import Append, Built, digest, fetch
    from gaussmix.data.readers import avatars

    if size not in AVATAR_SIZES:
        raise DataError(f"avatars cannot be drawn at size {size}; choose {' or '.join(map(str, AVATAR_SIZES))}")
    key = digest("avatars", avatars.VERSION, count, size, seed)

    def build(append: Append) -> Built:
        with progress_bar("Drawing avatars", count, progress) as advance:
            images, attributes, parts = avatars.draw_avatars(count, size, seed, advance)
        append(images)
        position = np.arange(count) % 10
        split = np.select([position == 8, position == 9], [1, 2], 0).astype(np.uint8)
        named = {f"part-{name}": np.asarray(kinds, dtype=np.str_) for name, kinds in parts.items()}
        return {"attributes": attributes, "split": split, **named}, {}

    entry = fetch(root, key, size, build)
    return AttributeDataset(
        name="avatars",
        images=entry.images,
        attributes=entry.arrays["attributes"],
        attribute_names=tuple(avatars.ATTRIBUTES),
        split=entry.arrays["split"],
        key=key,
        parts={name.removeprefix("part-"): kinds for name, kinds in entry.arrays.items() if name.startswith("part-")},
    )


def _check_whole(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise DataError(f"{name} must be a whole number of at least {least}, got {value!r}")
