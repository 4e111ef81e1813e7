"""Films: a sequence of pictures as an animated GIF, or as an MP4 with the help of imageio-ffmpeg."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gaussmix.whole_file import whole_file

FORMATS = (".gif", ".mp4")


def check_film(path: Path) -> None:
    """Raises ValueError for a suffix that is no film's, ImportError where an MP4 cannot be written."""
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"cannot save the film {path.name!r}: use {' or '.join(FORMATS)}")
    if path.suffix.lower() == ".mp4":
        _ffmpeg()


def save_film(frames: Iterable[NDArray[np.uint8]], path: Path, *, rate: float) -> None:
    """Write frames ``(H, W, 3)`` uint8, all of one size, at `rate` a second; a GIF repeats for ever.

    The file is whole or absent. Of an odd height or width an MP4 lacks the last row or column, which its format does
    not have. Raises what `check_film` raises, and ValueError for no frames.
    """
    check_film(path)
    pictures = list(frames)
    if not pictures:
        raise ValueError("a film needs at least one frame")
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as aside:
        if path.suffix.lower() == ".gif":
            first, *rest = [Image.fromarray(picture) for picture in pictures]
            first.save(aside, save_all=True, append_images=rest, duration=round(1000 / rate), loop=0)
            return
        height, width = (side // 2 * 2 for side in pictures[0].shape[:2])
        film = _ffmpeg().write_frames(str(aside), (width, height), fps=rate, macro_block_size=2)
        film.send(None)
        for picture in pictures:
            film.send(np.ascontiguousarray(picture[:height, :width]))
        film.close()


def _ffmpeg():
    try:
        import imageio_ffmpeg  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        raise ImportError(
            "an .mp4 needs imageio-ffmpeg, which is not installed: pip install imageio-ffmpeg, or name a .gif"
        ) from None
    return imageio_ffmpeg
