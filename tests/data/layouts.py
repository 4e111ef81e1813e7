"""Small data sets on disk, in the layouts that the readers know."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def pixels(seed: int, height: int = 16, width: int = 16) -> np.ndarray:
    """(height, width, 3) uint8 noise, another for every seed."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encode(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def write_image(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(seed)).save(path)


def write_image_folder(folder: Path, files: Sequence[str], table: str | None = None) -> Path:
    """Image i is `pixels(i)`. The table at the root gives it attributes "odd" (i % 2) and "all" (1)."""
    for i, file in enumerate(files):
        write_image(folder / file, i)
    if table is None:
        table = "file_name,odd,all\n" + "".join(f"{file},{i % 2},1\n" for i, file in enumerate(files))
    (folder / "metadata.csv").write_text(table, "utf-8")
    return folder


def write_celeba(folder: Path, count: int = 10) -> Path:
    """Image i is `pixels(i)`, PNG; attributes "Odd" (i % 2) and "Never"; of each five: 3 train, valid, test."""
    (folder / "img_align_celeba").mkdir(parents=True)
    attributes, partition = f"{count}\nOdd Never\n", ""
    for i in range(count):
        write_image(folder / f"img_align_celeba/{i:06}.png", i)
        attributes += f"{i:06}.png {'1' if i % 2 else '-1':>2} -1\n"
        partition += f"{i:06}.png {max(0, i % 5 - 2)}\n"
    (folder / "list_attr_celeba.txt").write_text(attributes)
    (folder / "list_eval_partition.txt").write_text(partition)
    return folder
