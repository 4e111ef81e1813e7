"""The tab of digits: a pad between classes, images that are mixed where its point lies, and what is like a given one.

`Pad` is the pad and `Digits` the tab; what they ask for is drawn by `gaussmix.studio.drawing`.

On the pad a point p between n corners v_i has the shares (Wachspress 1975), in proportion to

    w_i = 1 / (A(p, v_{i-1}, v_i) A(p, v_i, v_{i+1})),   A the area of a triangle

which are those of the plain barycentric coordinates where n is 3, and put p at ``sum w_i v_i`` for every n.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from nicegui import events, ui
from nicegui.elements.mixins.text_element import TextElement
from numpy.typing import ArrayLike, NDArray

from gaussmix._typing import FloatArray
from gaussmix.studio import parts
from gaussmix.studio.drawing import Mix, load_generator, mix, near, read_image
from gaussmix.studio.pictures import (
    Choice,
    Gallery,
    Latest,
    NamedSlider,
    SeedBox,
    drop_pictures,
    ink_of,
    picture_url,
    zip_of,
)
from gaussmix.studio.session import KeptFile, Session

if TYPE_CHECKING:
    from gaussmix.autoencoder.generate import LatentGenerator

__all__ = ["DigitsPage", "Pad", "build", "corners", "shares_at"]

_FEWEST, _MOST = 3, 5  # corners of the pad
_MODES = {"dims": "numbers of each", "lerp": "their mean"}
_RADIUS, _EDGE, _LEAST_AREA = 0.85, 1.15, 1e-9
_STEP = 0.05  # of the pad's point, by keys
_LETTERS = 14  # of a name at a corner

_POINT = """(event) => {
  if (event.type === 'pointermove' && !event.buttons) return;
  const box = event.currentTarget.getBoundingClientRect();
  if (event.type === 'pointerdown') event.currentTarget.setPointerCapture(event.pointerId);
  emit((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
}"""
_KEY = """(event) => {
  const way = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], Home: [0, 0]}[event.key];
  if (way) { event.preventDefault(); emit(...way); }
}"""
_STROKE = """(event) => {
  const canvas = event.currentTarget, box = canvas.getBoundingClientRect(), pen = canvas.getContext('2d');
  const x = (event.clientX - box.left) * canvas.width / box.width;
  const y = (event.clientY - box.top) * canvas.height / box.height;
  if (event.type === 'pointerdown') {
    canvas.setPointerCapture(event.pointerId);
    Object.assign(pen, {lineWidth: canvas.width / 9, lineCap: 'round', lineJoin: 'round', strokeStyle: '#fff'});
    pen.beginPath(); pen.moveTo(x, y);
  } else if (!event.buttons) return;
  pen.lineTo(x + .01, y); pen.stroke();
}"""
_SEND = "(event) => emit(event.currentTarget.toDataURL('image/png'))"


def corners(count: int) -> FloatArray:
    """Return the corners of the pad ``(count, 2)``, the first on top (two lie side by side)."""
    turn = -np.pi if count == 2 else -np.pi / 2
    angles = turn + 2 * np.pi * np.arange(count) / count
    return _RADIUS * np.stack([np.cos(angles), np.sin(angles)], 1)


def shares_at(point: ArrayLike, count: int) -> FloatArray:
    """Return the shares ``(count,)`` of the corners at a point, those of the nearest edge outside of the pad.

    Parameters
    ----------
    point : array_like
        x and y, the pad's middle at 0.
    count : int
        Of corners.
    """
    place = np.asarray(point, np.float64)
    if count < 3:
        along = np.clip((place[0] + _RADIUS) / (2 * _RADIUS), 0, 1)
        return np.array([1 - along, along])[-count:] if count == 2 else np.ones(1)
    first = corners(count) - place
    second = np.roll(first, -1, 0)
    areas = np.maximum(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0], _LEAST_AREA)
    weights = 1 / (areas * np.roll(areas, 1))
    return weights / weights.sum()


# -- the pad


class _Words(TextElement):
    """The name of a corner, beside it; a long one at a side, where it ends at the picture's edge."""

    def __init__(self, name: str, x: float, y: float):
        super().__init__(tag="text", text=name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…")
        if len(name) > 2:
            self.classes("gm-long")
        if len(name) > 2 and abs(x) > 0.1:
            self.props["text-anchor"], x = "start" if x < 0 else "end", np.sign(x) * _EDGE
            y -= 0.15 if y < 0.4 else 0.0
        self.props["x"], self.props["y"] = round(float(x), 3), round(float(y), 3)


class Pad(ui.element):
    """A point between classes, which pointer and keys move; to those who do not see it, a slider that says the shares.

    Parameters
    ----------
    on_move : callable
        Called with the shares, of sum 1.
    """

    def __init__(self, on_move: Callable[[FloatArray], Any]):
        super().__init__("div")
        self.classes("gm-pad")
        self.props.update(
            {"role": "slider", "tabindex": 0, "aria-label": "Shares of the classes; arrows move the point"}
        )
        self.props.update({"aria-valuemin": 0, "aria-valuemax": 100})
        self._on_move, self._names, self._point, self._high = on_move, (), np.zeros(2), 2.0
        self.shares = np.ones(1)
        for name in ("pointerdown", "pointermove"):
            self.on(name, self._pointed, throttle=0.03, js_handler=_POINT)
        self.on("keydown", self._pressed, js_handler=_KEY)

    def set_classes(self, names: Sequence[str]) -> None:
        """Show other corners, the point in their middle.

        Parameters
        ----------
        names : sequence of str
            One or more.
        """
        self._names, count = tuple(names), len(names)
        self.clear()
        points = corners(count)
        self._high = _EDGE + float(points[:, 1].max()) + 0.3
        box = f'viewBox="{-_EDGE} {-_EDGE} {2 * _EDGE} {self._high:.3f}" aria-hidden="true"'
        with self, ui.element("svg").props(box):
            ui.element("polygon").props["points"] = " ".join(f"{x:.3f},{y:.3f}" for x, y in points)
            for x, y in points:
                spoke = ui.element("line").classes("gm-spoke")
                spoke.props.update({"x1": 0, "y1": 0, "x2": round(x, 3), "y2": round(y, 3)})
            for name, (x, y) in zip(names, points * 1.18, strict=True):
                _Words(name, x, y)
            self._knob = ui.element("circle").props("r=0.085")
        self._go(np.zeros(2))

    def _pointed(self, event: events.GenericEventArguments) -> Any:
        x, y = (float(part) for part in event.args)
        return self._moved(np.array([2 * _EDGE * x, self._high * y]) - _EDGE)

    def _pressed(self, event: events.GenericEventArguments) -> Any:
        way = np.array([float(part) for part in event.args])
        return self._moved(self._point + _STEP * way if way.any() else np.zeros(2))

    def _moved(self, point: FloatArray) -> Any:
        self._go(point)
        return self._on_move(self.shares)

    def _go(self, point: FloatArray) -> None:
        self.shares = shares_at(point, len(self._names))
        self._point = self.shares @ corners(len(self._names))
        self._knob.props.update({"cx": round(float(self._point[0]), 3), "cy": round(float(self._point[1]), 3)})
        self.props.update({"aria-valuenow": round(100 * float(self.shares.max())), "aria-valuetext": self.said})

    @property
    def said(self) -> str:
        """The shares in words."""
        return ", ".join(f"{name}: {share:.0%}" for name, share in zip(self._names, self.shares, strict=True))


# -- the tab


class DigitsPage:
    """What the tab shows of a session."""

    def __init__(self, session: Session):
        self.session = session
        self.generator: LatentGenerator | None = None
        self.chosen: list[str] = []
        self.images: NDArray[np.uint8] = np.zeros((0, 8, 8, 1), np.uint8)
        self.image: NDArray[np.uint8] | None = None
        self._mixing, self._nearing = Latest(self._show_mix), Latest(self._show_near)
        with ui.column().classes("gm-wide") as self._where:
            self._retry = ui.button("Load it", on_click=self._load, color=None).classes("gm-button")
        self._retry.set_visibility(False)
        ui.timer(0.0, self._load, once=True)

    async def _load(self) -> None:
        self._retry.set_visibility(False)
        arguments = (self.session.studio, self.session.settings.model)
        found = await parts.run(self.session, self._where, "Loading the model of digits", load_generator, *arguments)
        if self.session.closed:
            return
        if found is None:
            self._retry.set_visibility(True)
            return
        self.generator = found
        self._where.clear()
        with self._where:
            self._lay_out(found)
        await self._mixing()

    def _lay_out(self, generator: LatentGenerator) -> None:
        names = generator.class_names
        usual = ["3", "5", "8"]
        self.chosen = usual if set(usual) <= set(names) else list(names[:_FEWEST])
        with parts.columns() as (side, main):
            with side:
                with parts.card("Mix") as self._mix_card:
                    with ui.row().classes("gm-row gm-tight"):
                        self._chips = {
                            name: ui.button(name, color=None, on_click=partial(self._choose, name))
                            .classes("gm-chip")
                            .props("flat")
                            for name in names
                        }
                    self._pad = Pad(self._moved)
                    self._shares = ui.label().classes("gm-soft").props("role=status")
                with parts.card("How").classes("gm-late"):
                    self._mode = Choice("Each image takes", _MODES, "dims", lambda _: self._mixing())
                    self._truncation = NamedSlider(
                        "Truncation", 0.05, 1, step=0.05, value=1, on_move=lambda _: self._mixing()
                    )
                    ui.label("Less draws from the middle of each class: cleaner, and less varied.").classes(
                        "gm-soft gm-small"
                    )
                    self._seed = SeedBox(self._again)
                self._lay_out_own(generator.model.config["in_channels"] == 1)
            with main:
                with parts.card() as self._main:
                    self._title = ui.label().classes("gm-title").props("role=heading aria-level=2")
                    ui.label("Press one for others like it.").classes("gm-soft")
                    self._gallery = Gallery("image", lambda i: self._open(self.images[i], f"Image {i + 1}"), side=112)
                    save = ui.button("Download these", icon="download", color=None).classes("gm-chip gm-start")
                    save.props("flat").on_click(lambda: ui.download(zip_of(list(self.images)), "images.zip"))
                self._lay_out_one()
        self._set_classes()

    def _lay_out_own(self, grey: bool) -> None:
        with parts.card("One of your own").classes("gm-late") as self._own:
            if grey:
                ui.label("Draw one:").classes("gm-soft")
                self._canvas = ui.element("canvas").classes("gm-canvas")
                self._canvas.props.update({"width": 192, "height": 192, "role": "img", "aria-label": "A place to draw"})
                for name in ("pointerdown", "pointermove"):
                    self._canvas.on(name, js_handler=_STROKE)
                self._canvas.on("pointerup", self._drawn, js_handler=_SEND)
                ui.button("Clear", color=None, on_click=self._wipe).classes("gm-chip gm-start").props("flat")
            drop_pictures(self.session, self._dropped, "its centre square is used")

    def _lay_out_one(self) -> None:
        with parts.card("Others like one") as self._one:
            with ui.element("div").classes("gm-one"):
                self._image = ui.element("img").classes("gm-image gm-large")
                with ui.column().classes("gm-one-words"):
                    self._name = ui.label().classes("gm-title")
                    self._said = ui.label().classes("gm-soft").props("role=status")
                    move = lambda _: self._nearing()  # noqa: E731
                    self._strength = NamedSlider("How far from it", 0, 1, step=0.05, value=0.6, on_move=move)
                    ui.button("Invert", color=None, on_click=self._invert).classes("gm-chip gm-start").props("flat")
            self._likes: NDArray[np.uint8] = self.images
            self._near = Gallery("like it", lambda i: self._open(self._likes[i], "One like it"), side=112)
        self._one.set_visibility(False)

    # -- mixing

    def _choose(self, name: str) -> Any:
        known = self._chips
        if name in self.chosen:
            if len(self.chosen) <= min(_FEWEST, len(known)):
                parts.tell(self._mix_card, f"The pad takes {_FEWEST} to {_MOST} classes: choose another one first.")
                return None
            self.chosen.remove(name)
        elif len(self.chosen) < _MOST:
            self.chosen = [each for each in known if each in self.chosen or each == name]
        else:
            parts.tell(self._mix_card, f"The pad takes {_FEWEST} to {_MOST} classes: take one away first.")
            return None
        parts.hush(self._mix_card)
        self._set_classes()
        return self._mixing()

    def _set_classes(self) -> None:
        for name, chip in self._chips.items():
            chip.props["aria-pressed"] = "true" if name in self.chosen else "false"
        self._pad.set_classes(self.chosen)
        self._shares.text = self._pad.said

    def _moved(self, _shares: FloatArray) -> Any:
        self._shares.text = self._pad.said
        return self._mixing()

    async def _again(self) -> None:
        await self._mixing()
        if self.image is not None:
            await self._nearing()

    async def _show_mix(self) -> None:
        assert self.generator is not None
        how = {"mode": self._mode.value, "truncation": self._truncation.value, "seed": self._seed.value}
        wish = Mix(tuple(self.chosen), tuple(self._pad.shares.tolist()), **how)
        with parts.saying(self.session, self._main):
            self.images = await asyncio.to_thread(mix, self.generator, wish)
            self._title.text = self._pad.said
            self._gallery.show(self.images)

    # -- one image

    async def _open(self, image: NDArray[np.uint8], name: str) -> None:
        self.image = image
        self._name.text = name
        self._image.props.update({"src": picture_url(image, 288), "alt": name})
        self._one.set_visibility(True)
        await self._nearing()

    async def _show_near(self) -> None:
        if self.generator is None or self.image is None:
            return
        with parts.saying(self.session, self._one):
            arguments = (self.generator, self.image, self._strength.value, self._seed.value)
            self._likes, self._said.text = await asyncio.to_thread(near, *arguments)
            self._near.show(self._likes)

    async def _invert(self) -> None:
        if self.image is not None:
            await self._open(255 - self.image, self._name.text)

    async def _drawn(self, event: events.GenericEventArguments) -> None:
        assert self.generator is not None
        with parts.saying(self.session, self._own):
            typical = await asyncio.to_thread(self.generator.sample, 64, random_state=0)
            image = ink_of(str(event.args), self.generator.model.config["image_size"], typical)
            await self._open(image, "What you drew")

    def _wipe(self) -> None:
        ui.run_javascript(f"const c = getHtmlElement({self._canvas.id}); c.getContext('2d').clearRect(0, 0, 999, 999)")

    async def _dropped(self, file: KeptFile) -> None:
        assert self.generator is not None
        image = await asyncio.to_thread(read_image, file.path, self.generator.model.config)
        await self._open(image, file.name)


def build(session: Session) -> None:
    """Lay out the tab.

    Parameters
    ----------
    session : Session
        Whose it is.
    """
    DigitsPage(session)
