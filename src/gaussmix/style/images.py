"""Pictures in and out: any file that Pillow reads as ``(H, W, 3)`` uint8, and such pictures as tensors of a network.

Films are animated GIFs, or MP4s with the help of imageio-ffmpeg; a sheet shows the variants of a picture.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy.ndimage import median_filter
from torch import Tensor

from gaussmix._files import whole_file
from gaussmix.data.base import DataError
from gaussmix.data.decode import FORMATS, BadImageError, one_large, upright_rgb
from gaussmix.sheets import contact_sheet

Picture = NDArray[np.uint8]

MIN_SIDE = 32
"""Pixels: the deepest style layer halves a picture four times, and needs a few places to take a mean over."""
FILM_FORMATS = (".gif", ".mp4")
_STANDS_OUT = 48  # of 256
_LEVELS = 257  # quantiles of a channel
_GREY = 1e-3  # of the largest deviation of colours: directions with less have none
_SHEET_CELL = 480  # pixels of the longer side on the contact sheet
_SHEET_COLUMNS = 5


def read_picture(path: str | os.PathLike[str], size: int | None = None) -> Picture:
    """Read ``(H, W, 3)`` RGB: upright as EXIF says, transparency laid over white, 16-bit grey scaled down.

    With ``size``, the longer side is resized to so many pixels. Raises `DataError` for a file that is no picture, is
    damaged or has a side under 32 pixels, OSError for one that cannot be opened.
    """
    pixels = read_layers(path)[0]
    return pixels if size is None else resize(pixels, *fit_size(pixels.shape[0], pixels.shape[1], size))


def read_layers(path: str | os.PathLike[str]) -> tuple[Picture, NDArray[np.uint8] | None]:
    """Read ``(H, W, 3)`` as `read_picture` does, and how opaque it is ``(H, W)``, None where it is everywhere.

    Raises what `read_picture` raises.
    """
    path, alpha = Path(path), None
    path.open("rb").close()  # a missing file is the system's to say
    try:
        with Image.open(path, formats=FORMATS) as image, one_large(image):
            ImageOps.exif_transpose(image, in_place=True)
            image.load()  # which may find what is transparent
            if image.has_transparency_data:
                alpha = np.array(image.convert("RGBA").getchannel("A"))
            pixels = np.array(upright_rgb(image))
    except BadImageError as error:
        raise DataError(f"{path} {error}") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{path} is too large ({error})") from error
    except UnidentifiedImageError:
        raise DataError(f"{path} is not an image ({', '.join(FORMATS)})") from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow's plugins raise nearly anything on damaged files
        raise DataError(f"{path} is damaged ({' '.join(str(error).split()) or type(error).__name__})") from error
    height, width = pixels.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise DataError(f"{path} has {width} x {height} pixels; give a picture of at least {MIN_SIDE} x {MIN_SIDE}")
    return pixels, None if alpha is None or alpha.min() == 255 else alpha


def fit_size(height: int, width: int, size: float) -> tuple[int, int]:
    """Return height and width in whole pixels with the longer side ``size``, in the same proportion."""
    scale = size / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize(picture: Picture, height: int, width: int) -> Picture:
    """Return ``(height, width, 3)`` of ``(H, W, 3)``, or without channels, smoothed where it shrinks."""
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))


def to_tensor(pictures: Picture, device: torch.device | str = "cpu") -> Tensor:
    """Return ``(B, 3, H, W)`` float32 in [0, 1] for ``(B, H, W, 3)`` uint8."""
    return torch.tensor(pictures, device=device).permute(0, 3, 1, 2).contiguous().float() / 255


def to_uint8(images: Tensor) -> Picture:
    """Return ``(B, H, W, 3)`` for ``(B, 3, H, W)`` in [0, 1]."""
    return (images.detach() * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()


def is_grey(picture: Picture) -> bool:
    """Whether the three channels of ``(H, W, 3)`` are the same."""
    return bool((picture == picture[..., :1]).all())


def specks(pictures: Picture) -> NDArray[np.float64]:
    """Return the share of pixels ``(K,)`` of ``(K, H, W, 3)`` that stand out, by 3/16 of the range in some channel.

    From the median of the 3 x 3 around them: .01 to .07 in paintings and photographs, .8 in noise.
    """
    around = median_filter(pictures, size=(1, 3, 3, 1))
    return (np.abs(pictures.astype(int) - around).max(-1) > _STANDS_OUT).mean((1, 2))


def lightness(picture: Picture) -> Picture:
    """Return the grey picture ``(H, W, 3)`` with the lightness (Y of YCbCr) of another."""
    return np.asarray(Image.fromarray(picture).convert("YCbCr").getchannel(0).convert("RGB"))


def with_colors_of(content: Picture, picture: Picture) -> Picture:
    """Return the lightness of ``picture`` with the colours (Cb and Cr) of ``content``, all ``(H, W, 3)``."""
    light = Image.fromarray(picture).convert("YCbCr").getchannel(0)
    _, blue, red = Image.fromarray(content).convert("YCbCr").split()
    return np.asarray(Image.merge("YCbCr", (light, blue, red)).convert("RGB"))


def match_lightness(style: Picture, content: Picture) -> Picture:
    """Return ``style`` in grey, with the mean and deviation of the lightness of ``content`` (Gatys et al. 2016b)."""
    own, wanted = (lightness(picture)[..., :1].astype(np.float64) for picture in (style, content))
    scale = wanted.std() / own.std() if own.std() > 0 else 1.0
    moved = (own - own.mean()) * scale + wanted.mean()
    return np.repeat(moved.round().clip(0, 255).astype(np.uint8), 3, axis=2)


def match_histograms(style: Picture, content: Picture) -> Picture:
    """Return ``style`` ``(H, W, 3)`` in the colours of ``content``, of any size.

    First by the linear map that takes one normal distribution of colours to the other and moves them least (Pitie and
    Kokaram 2007), so that what goes together stays together; then each channel by its quantiles, up to rounding.
    """
    own, wanted = (picture.reshape(-1, 3).astype(np.float64) for picture in (style, content))
    spread, goal = (_square_root(np.cov(colors.T)) for colors in (own, wanted))
    back = np.linalg.pinv(spread, rcond=_GREY)
    turned = (own - own.mean(0)) @ back @ _square_root(spread @ goal @ goal @ spread) @ back + wanted.mean(0)
    levels = np.linspace(0, 1, _LEVELS)
    for channel in range(3):
        have, want = (np.quantile(colors[:, channel], levels) for colors in (turned, wanted))
        turned[:, channel] = np.interp(turned[:, channel], have, want)
    matched = turned.round().clip(0, 255).astype(np.uint8).reshape(style.shape)
    return np.repeat(matched[..., :1], 3, axis=2) if is_grey(content) else matched


def _square_root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of a symmetric matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T


def check_film(path: Path) -> None:
    """Raise ValueError for a suffix that is no film's, ImportError where an MP4 cannot be written."""
    if path.suffix.lower() not in FILM_FORMATS:
        raise ValueError(f"cannot save the film {path.name!r}: use {' or '.join(FILM_FORMATS)}")
    if path.suffix.lower() == ".mp4":
        _ffmpeg()


def save_film(frames: Iterable[Picture], path: Path, *, rate: float) -> None:
    """Write frames ``(H, W, 3)``, all of one size, ``rate`` a second; a GIF repeats for ever.

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


def variants_sheet(images: Picture, *, title: str, caption: str) -> Image.Image:
    """Lay out variants ``(K, H, W, 3)`` of a picture, made smaller where they are large."""
    height, width = images.shape[1:3]
    height, width = fit_size(height, width, min(_SHEET_CELL, max(height, width)))
    pictures = np.stack([resize(image, height, width) for image in images])
    columns, scale = min(_SHEET_COLUMNS, len(images)), max(1, _SHEET_CELL // max(height, width))
    return contact_sheet(pictures, columns=columns, title=title, caption=caption, scale=scale)


def _ffmpeg():
    try:
        import imageio_ffmpeg  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        raise ImportError(
            "an .mp4 needs imageio-ffmpeg, which is not installed: pip install imageio-ffmpeg, or name a .gif"
        ) from None
    return imageio_ffmpeg
