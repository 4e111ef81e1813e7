"""Captioned contact sheets of small pictures, drawn with Pillow and its built-in font.

    title
                column label    column label
    row label     picture         picture
    row label     picture         picture
    caption

The built-in font covers ASCII: accents are dropped, letters of other scripts become empty boxes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from gaussmix._files import whole_file

_IN_COLOUR = frozenset(
    "AVIF BMP DIB EPS GIF JPEG JPEG2000 PCX PDF PNG PPM SGI TGA TIFF WEBP".split()
)  # Pillow's names of formats of RGB pictures of any size
_CELL = 192  # pixels a picture is enlarged to by default, roughly
_GAP = 12
_FILTER = Image.Resampling.BICUBIC  # keeps edges as crisp as Lanczos does, with weaker halos around them
_MARGIN = 32
_MIN_WIDTH = 640  # of the sheet, so that a title above a single picture is not broken into syllables
_ROW_LABEL_CHARACTERS, _LONGEST = 18, 30  # in a line; of a single word, before it is broken
_WIDEST = 2  # times the width of a picture: how far columns make room for a word above them

_PAPER, _FRAME, _INK, _FAINT, _MARK = "#ffffff", "#d9d9d9", "#1e1e1e", "#5a5a5a", "#d62728"


def contact_sheet(
    images: NDArray[np.uint8],
    *,
    columns: int,
    title: str | None = None,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    caption: str | None = None,
    scale: int | None = None,
    marked: Collection[int] = (),
) -> Image.Image:
    """Lay out pictures in rows; all texts are wrapped.

    Parameters
    ----------
    images : ndarray of uint8
        ``(N, H, W, 3)``.
    columns : int
        Pictures in a row; the last row may be short.
    title, caption : str, optional
        Texts above and below.
    row_labels, column_labels : sequence of str, optional
        At the left, one a row, and on top, one a column.
    scale : int, optional
        How many times each picture is enlarged; by default to about 192 pixels.
    marked : collection of int
        Positions of pictures that get a red frame.

    Raises
    ------
    ValueError
        For images of another shape or type and for a number of labels that does not fit.
    """
    rows = _check(images, columns, scale, row_labels, column_labels)
    height, width = images.shape[1:3]
    scale = scale or max(1, round(_CELL / max(height, width)))
    cell_width, cell_height = width * scale, height * scale
    large, small = _font(40), _font(28)
    n = small.getlength("n")
    label_limit = max(_ROW_LABEL_CHARACTERS, min(_LONGEST, _longest_word(row_labels or (), small) // n + 1)) * n
    row_texts = [_WrappedText(label, small, label_limit) for label in row_labels or [""] * rows]
    pitch = max(cell_width, min(_longest_word(column_labels or (), small), _WIDEST * cell_width))
    column_texts = [_WrappedText(label, small, pitch) for label in column_labels or [""] * columns]
    label_width = max(text.width for text in row_texts) if row_labels else 0
    left = _MARGIN + (label_width + 2 * _GAP if label_width else 0)
    right = max(left + columns * (pitch + _GAP) - _GAP, _MIN_WIDTH - _MARGIN)
    title_text = _WrappedText(title or "", large, right - _MARGIN)
    caption_text = _WrappedText(caption or "", small, right - _MARGIN)

    top = _MARGIN + (title_text.height + 2 * _GAP if title else 0)
    column_height = max(text.height for text in column_texts) if column_labels else 0
    first_row = top + (column_height + _GAP if column_labels else 0)
    row_heights = [max(cell_height, text.height) for text in row_texts]
    below = first_row + sum(row_heights) + _GAP * (rows - 1)
    bottom = below + (2 * _GAP + caption_text.height if caption else 0) + _MARGIN

    sheet = Image.new("RGB", (right + _MARGIN, bottom), _PAPER)
    draw = ImageDraw.Draw(sheet)
    title_text.write(draw, _MARGIN, _MARGIN, "l", _INK)
    caption_text.write(draw, _MARGIN, below + 2 * _GAP, "l", _FAINT)
    for column, text in enumerate(column_texts):
        x = left + column * (pitch + _GAP) + pitch // 2
        text.write(draw, x, top + column_height - text.height, "m", _INK)
    y = first_row
    for row, (text, row_height) in enumerate(zip(row_texts, row_heights, strict=True)):
        text.write(draw, left - 2 * _GAP, y + (row_height - text.height) // 2, "r", _INK)
        for place, pixels in enumerate(images[row * columns : (row + 1) * columns], row * columns):
            cell = Image.fromarray(pixels).resize((cell_width, cell_height), _FILTER)
            x = left + place % columns * (pitch + _GAP) + (pitch - cell_width) // 2
            _draw_frame(draw, (x, y, x + cell_width, y + cell_height), marked=place in marked)
            sheet.paste(cell, (x, y))
        y += row_height + _GAP
    return sheet


def _check(
    images: NDArray[np.uint8],
    columns: int,
    scale: int | None,
    row_labels: Sequence[str] | None,
    column_labels: Sequence[str] | None,
) -> int:
    """The number of rows. Raises ValueError as `contact_sheet` says."""
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8 or 0 in images.shape:
        raise ValueError(f"images are {images.shape} {images.dtype}: give (N, H, W, 3) uint8, none of them 0")
    for name, given in (("columns", columns), ("scale", 1 if scale is None else scale)):
        if given < 1:
            raise ValueError(f"{name}={given}: give at least 1")
    rows = -(-len(images) // columns)
    for name, labels, needed in (("row_labels", row_labels, rows), ("column_labels", column_labels, columns)):
        if labels is not None and len(labels) != needed:
            raise ValueError(f"{len(labels)} {name} for {len(images)} images in {columns} columns: give {needed}")
    return rows


def _draw_frame(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], *, marked: bool) -> None:
    """Around a picture from (left, top) up to (right, bottom)."""
    colour, width = (_MARK, _GAP // 2) if marked else (_FRAME, 2)
    left, top, right, bottom = box
    draw.rectangle((left - width, top - width, right + width - 1, bottom + width - 1), outline=colour, width=width)


def picture_format(path: str | Path) -> str:
    """Return Pillow's name of the format of a file's suffix. Raises ValueError if no RGB picture can be written so."""
    path = Path(path)
    file_format = Image.registered_extensions().get(path.suffix.lower())
    if file_format not in _IN_COLOUR or file_format not in Image.SAVE:
        raise ValueError(
            f"cannot save {path.name!r}: {path.suffix!r} is no picture format that holds colours, use .png or .jpg"
        )
    return file_format


def save_atomic(image: Image.Image, path: str | Path, *, metadata: Mapping[str, object] | None = None) -> None:
    """Save a picture, whole or not at all, in the format of the file's suffix, creating parent folders.

    A PNG takes ``metadata`` as text by keyword, ``Image.open(path).text``; other formats have no place for it. Raises
    ValueError for a suffix that Pillow cannot write.
    """
    path, file_format = Path(path), picture_format(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {}
    if metadata and file_format == "PNG":
        options["pnginfo"] = PngInfo()
        for keyword, text in metadata.items():
            options["pnginfo"].add_itxt(keyword, str(text))
    with whole_file(path) as aside:
        image.save(aside, format=file_format, **options)


def save_images(
    images: NDArray[np.uint8],
    folder: Path,
    *,
    first: int = 0,
    digits: int = 5,
    metadata: Mapping[str, object] | None = None,
) -> None:
    """Save each of ``(N, H, W, 1, 3 or 4)`` uint8 as a PNG in a folder, numbered from ``first``: 00000.png and on.

    ``metadata``, such as request and seed, goes into each, beside its number as "picture".
    """
    for number, image in enumerate(images, first):
        picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
        about = None if metadata is None else {**metadata, "picture": number}
        save_atomic(picture, folder / f"{number:0{digits}}.png", metadata=about)


def _longest_word(texts: Sequence[str], font: ImageFont.FreeTypeFont) -> int:
    """In pixels."""
    return max((int(font.getlength(word)) + 1 for text in texts for word in text.split()), default=0)


class _WrappedText:
    """A text wrapped to ``limit`` pixels: explicit line breaks are kept, words too long for a line are cut."""

    def __init__(self, text: str, font: ImageFont.FreeTypeFont, limit: float):
        self.font = font
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
        self.lines = [line for part in text.split("\n") for line in self._wrap(part, limit)]
        self.line_height = sum(font.getmetrics())
        self.width = max(int(font.getlength(line)) + 1 for line in self.lines)
        self.height = self.line_height * len(self.lines)

    def _wrap(self, text: str, limit: float) -> list[str]:
        lines = [""]
        for word in text.split():
            longer = f"{lines[-1]} {word}".strip()
            if self.font.getlength(longer) <= limit:
                lines[-1] = longer
                continue
            if lines[-1]:
                lines.append("")
            for letter in word:
                if lines[-1] and self.font.getlength(lines[-1] + letter) > limit:
                    lines.append("")
                lines[-1] += letter
        return lines

    def write(self, draw: ImageDraw.ImageDraw, x: float, y: float, side: str, fill: str) -> None:
        """Write from (x, y) down; of each line, ``side`` lies at x: "l" its left end, "m" middle, "r" right."""
        for number, line in enumerate(self.lines):
            draw.text((x, y + number * self.line_height), line, fill=fill, font=self.font, anchor=f"{side}a")


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size=size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise ImportError("this Pillow was built without FreeType, which draws the labels: reinstall Pillow")
    return font
