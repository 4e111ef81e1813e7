"""What the tabs of pictures share: a gallery, one choice of several, sliders that say their value, pictures to drop.

Pictures are shown as JPEGs of the size that they have on the page, which travel with the page's own messages; what is
downloaded is a zip of PNGs of their own size.
"""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from nicegui import ui
from numpy.typing import NDArray

from gaussmix.studio import parts
from gaussmix.studio.session import KeptFile, Session

__all__ = [
    "Choice",
    "Gallery",
    "Latest",
    "NamedSlider",
    "SeedBox",
    "drop_pictures",
    "ink_of",
    "picture",
    "picture_url",
    "show_again",
    "zip_of",
]

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")
_MOST_BYTES, _MOST_SEED = 100 << 20, 2**31 - 1
_MOST_DRAWING = 1 << 18  # letters of what a canvas sends
_SIDE = 144  # pixels of the longer side of a picture in a gallery
Value = TypeVar("Value")
Pixels = NDArray[np.uint8]


def picture_url(image: Pixels, side: int = _SIDE) -> str:
    """Return a picture as an address that holds it.

    Parameters
    ----------
    image : ndarray of uint8
        ``(H, W, 3)``, or ``(H, W, 1)`` of grey.
    side : int
        Pixels to bring its longer side to.
    """
    from PIL import Image

    shown, scale = _as_image(image), side / max(image.shape[:2])
    size = [max(1, round(length * scale)) for length in shown.size]
    shown = shown.resize((size[0], size[1]), Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.LANCZOS)
    written = io.BytesIO()
    shown.save(written, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(written.getvalue()).decode()


def zip_of(images: Sequence[Pixels], more: Mapping[str, str | bytes] | None = None) -> bytes:
    """Return a zip of pictures, 00000.png and on.

    Parameters
    ----------
    images : sequence of ndarray
        As for `picture_url`, each of its own size.
    more : mapping of str to str or bytes, optional
        Other files, by name.
    """
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for i, image in enumerate(images):
            png = io.BytesIO()
            _as_image(image).save(png, "PNG")
            archive.writestr(f"{i:05d}.png", png.getvalue())
        for name, content in (more or {}).items():
            archive.writestr(name, content)
    return written.getvalue()


def ink_of(sent: str, size: int, typical: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what was drawn on the canvas as an image ``(size, size, 1)``, as large in it as images typically are.

    Parameters
    ----------
    sent : str
        A PNG in a data address, its ink in the alpha channel.
    size : int
        Pixels.
    typical : ndarray of uint8
        Images ``(N, size, size, 1)`` of the kind.

    Raises
    ------
    ValueError
        For anything else, and for an empty canvas.
    """
    from PIL import Image

    head, _, data = sent.partition(",")
    if head != "data:image/png;base64" or len(data) > _MOST_DRAWING:
        raise ValueError("that is no drawing of this page's canvas: clear it, and draw again")
    try:
        with Image.open(io.BytesIO(base64.b64decode(data)), formats=("PNG",)) as image:
            drawn = image.getchannel("A")
    except Exception:  # Pillow raises nearly anything
        raise ValueError("the drawing cannot be read: clear it, and draw again") from None
    box = drawn.getbbox()
    if box is None:
        raise ValueError("nothing is drawn yet")
    usual = typical.mean(0)[..., 0] > 0.1 * typical.mean(0).max()
    top, left = (int(np.flatnonzero(usual.any(axis))[0]) for axis in (1, 0))
    bottom, right = (int(np.flatnonzero(usual.any(axis))[-1]) + 1 for axis in (1, 0))
    drawn = drawn.crop(box)
    scale = min((bottom - top) / drawn.height, (right - left) / drawn.width)
    wide, high = (max(1, round(length * scale)) for length in drawn.size)
    small = np.asarray(drawn.resize((wide, high), Image.Resampling.BOX))
    found = np.zeros((size, size, 1), np.uint8)
    y, x = (top + bottom - high) // 2, (left + right - wide) // 2
    found[y : y + high, x : x + wide, 0] = small
    return found


def _as_image(image: Pixels) -> Any:
    from PIL import Image

    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def picture(image: Pixels, about: str, side: int = _SIDE) -> ui.element:
    """Lay out one picture, with what it shows in words, and return it.

    Parameters
    ----------
    image, side : ndarray, int
        As for `picture_url`.
    about : str
        For those who do not see it.
    """
    shown = ui.element("img").classes("gm-image")
    shown.props["src"], shown.props["alt"] = picture_url(image, side), about
    return shown


class Gallery(ui.element):
    """Pictures in rows, each a button; they can be shown one after the other, and again while they get better.

    Parameters
    ----------
    name : str
        What one of them is called: "Face" makes "Face 1" and on.
    on_open : callable
        Called with the number of one that is pressed, from 0.
    corner : tuple of str, str, callable, optional
        A button in the corner of each: its icon, what it does, such as "Keep", and what is called with its number.
    side : int
        Pixels of the longer side.
    """

    def __init__(
        self,
        name: str,
        on_open: Callable[[int], Any],
        *,
        corner: tuple[str, str, Callable[[int], Any]] | None = None,
        side: int = _SIDE,
    ):
        super().__init__("div")
        self.classes("gm-gallery")
        self._name, self._on_open, self._corner, self._side = name, on_open, corner, side
        self._images: list[ui.element] = []

    def show(self, images: Sequence[Pixels] | Pixels, first: int = 0) -> None:
        """Show pictures in the places from ``first`` on; others stay as they are.

        Parameters
        ----------
        images : sequence of ndarray
            As for `picture_url`.
        first : int
            The number of the first one.
        """
        while len(self._images) < first + len(images):
            self._add(len(self._images))
        for place, image in zip(self._images[first:], images, strict=False):
            place.props["src"] = picture_url(image, self._side)

    def cut(self, count: int) -> None:
        """Take away the places from ``count`` on."""
        for cell in list(self.default_slot.children)[count:]:
            cell.delete()
        del self._images[count:]

    def _add(self, number: int) -> None:
        words = f"{self._name} {number + 1}"
        with self, ui.element("div").classes("gm-cell"):
            opener = ui.button(color=None, on_click=lambda: self._on_open(number)).props("flat").classes("gm-picture")
            opener.props["aria-label"] = words
            with opener:
                image = ui.element("img").classes("gm-image").props('alt=""')
            if self._corner is not None:
                icon, verb, called = self._corner
                button = ui.button(icon=icon, color=None, on_click=lambda: called(number)).props("flat round")
                button.classes("gm-corner").props["aria-label"] = f"{verb} {words}"
        self._images.append(image)


class Choice(ui.element):
    """One of a few, as buttons side by side.

    Parameters
    ----------
    name : str
        What is chosen, for those who do not see it.
    options : mapping
        The words of each, by value.
    value : object
        Which is chosen.
    on_change : callable
        Called with the value, when another is chosen.
    """

    def __init__(self, name: str, options: Mapping[Value, str], value: Value, on_change: Callable[[Value], Any]):
        super().__init__("div")
        self.classes("gm-choice")
        self.props["role"], self.props["aria-label"] = "group", name
        self.value: Any = value
        self._on_change: Callable[[Any], Any] = on_change
        self._buttons: dict[Any, ui.button] = {}
        with self:
            for each, words in options.items():
                button = ui.button(words, color=None, on_click=lambda each=each: self._choose(each)).props("flat")
                button.classes("gm-segment").props["aria-label"] = f"{name}: {words}"
                self._buttons[each] = button
        self.set_value(value)

    def set_value(self, value: Any) -> None:
        """Choose one, without a call of ``on_change``."""
        self.value = value
        for each, button in self._buttons.items():
            button.props["aria-pressed"] = "true" if each == value else "false"

    def _choose(self, value: Any) -> Any:
        if value != self.value:
            self.set_value(value)
            return self._on_change(value)
        return None


class NamedSlider(ui.column):
    """A slider with its name and its value above it.

    Parameters
    ----------
    name : str
        What it moves.
    low, high, step, value : float
        As of `parts.Slider`.
    on_move : callable, optional
        Called with the value.
    said : str
        How a value is written, a format.
    """

    def __init__(
        self,
        name: str,
        low: float,
        high: float,
        *,
        step: float,
        value: float,
        on_move: Callable[[float], Any] | None = None,
        said: str = "{:g}",
    ):
        super().__init__()
        self.classes("gm-named")
        self._said, self._on_move = said, on_move
        with self:
            with ui.row().classes("gm-between"):
                ui.label(name)
                self.shown = ui.label(said.format(value)).classes("gm-soft")
            self._slider = parts.Slider(name, low, high, step=step, value=value, on_move=self._move)

    @property
    def value(self) -> float:
        """Where it stands."""
        return self._slider.value

    def set_value(self, value: float) -> None:
        """Move it, without a call of ``on_move``."""
        self._slider.set_value(value)
        self.shown.text = self._said.format(self._slider.value)

    def _move(self, value: float) -> Any:
        self.shown.text = self._said.format(value)
        return None if self._on_move is None else self._on_move(value)


class SeedBox(ui.row):
    """The seed, to be typed or to be raised by one.

    Parameters
    ----------
    on_again : callable
        Called once it was raised.
    """

    def __init__(self, on_again: Callable[[], Any]):
        super().__init__()
        self.classes("gm-row gm-seed")
        self._on_again = on_again
        with self:
            self._box = ui.number("Seed", value=0, min=0, max=_MOST_SEED, precision=0).props("outlined dense")
            self.again = ui.button("Again", icon="casino", color=None, on_click=self._raise).classes("gm-chip")
            self.again.props("flat").props["title"] = "The next seed: others of the same kind"

    @property
    def value(self) -> int:
        """A number from 0 on."""
        return min(max(int(self._box.value or 0), 0), _MOST_SEED)

    def _raise(self) -> Any:
        self._box.value = self.value + 1
        return self._on_again()


class Latest:
    """Does one thing again and again, as often as it is asked for, but never twice at once: the last request counts."""

    def __init__(self, work: Callable[[], Awaitable[None]]):
        self._work, self._wanted, self._running = work, False, False

    async def __call__(self) -> None:
        self._wanted = True
        if self._running:
            return
        self._running = True
        try:
            while self._wanted:
                self._wanted = False
                await self._work()
        finally:
            self._running = False


def drop_pictures(session: Session, on_file: Callable[[KeptFile], Awaitable[None]], about: str = "") -> ui.upload:
    """Return a place to drop a picture on.

    Parameters
    ----------
    session, on_file : Session, callable
        As for `parts.drop_files`.
    about : str
        What for; the formats are said beside it.
    """
    formats = "PNG, JPEG, WebP, GIF, TIFF or BMP, up to 100 MB"
    return parts.drop_files(
        session, on_file, suffixes=SUFFIXES, about=f"{about}: {formats}" if about else formats, most=_MOST_BYTES
    )


def show_again(element: ui.element) -> None:
    """Scroll to an element where it is out of sight, as results are on a phone."""
    ui.run_javascript(
        f"const e = getHtmlElement({element.id}), box = e && e.getBoundingClientRect();"
        "if (box && (box.top > innerHeight - 120 || box.bottom < 60)) e.scrollIntoView({block: 'start'})"
    )
