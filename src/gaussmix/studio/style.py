"""The tab of styles: a photo in variants of a blend of paintings, a preview of it within seconds, and a film.

`render` and `make_film` run in jobs; `StylePage` lays out the tab. The network's weights are looked for on this machine
alone: where they are missing the tab says what to do, and takes the file.

What a rendering costs is its work, pixels times steps, at the seconds for one that the last rendering took here.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from nicegui import ui
from numpy.typing import NDArray

from gaussmix.studio import parts
from gaussmix.studio.drawing import load_network
from gaussmix.studio.pictures import (
    Choice,
    Gallery,
    NamedSlider,
    SeedBox,
    drop_pictures,
    picture_url,
    show_again,
    zip_of,
)
from gaussmix.studio.session import KeptFile, Session, Studio

if TYPE_CHECKING:
    from gaussmix.style.expansion import GramExpansion
    from gaussmix.style.transfer import StyleTransfer, TransferStep
    from gaussmix.style.vgg import VGG19Features

__all__ = ["Order", "Rendered", "StylePage", "build", "make_film", "render"]

SIZES, COUNTS = (64, 128, 256, 512), (1, 2, 4, 6)
PREVIEW_SIZE, PREVIEW_STEPS, PREVIEW_COUNT = 128, 30, 2
FRAMES, FRAME_STEPS, LEAD, RATE = 24, 5, 6, 12
_SECONDS = 1.2e-5  # for a pixel and step, of one core, until a rendering was measured
_LEARNING = 1 << 18  # pixels times steps that it takes to learn a painting, about
_SHOWN_EVERY = 1.0  # seconds between two pictures of what is being rendered
_SHOWN_SIDE, _KNOWN_SIDE, _LARGE_SIDE = 320, 512, 760
Told = Callable[..., None]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Order:
    """What is to be rendered, and how: the photo, the shares of the paintings, of sum 1, and the settings."""

    photo: Path
    shares: Mapping[Path, float]
    size: int = 512
    count: int = 4
    steps: int = 200
    seed: int = 0
    content_weight: float = 0.1
    original_colors: bool = False


@dataclass(frozen=True, eq=False)
class Rendered:
    """Pictures ``(K, H, W, 3)``, the shares that their targets have, by painting, and seconds for a unit of work."""

    images: Pixels
    realised: Mapping[Path, float]
    seconds: float


# -- jobs


def _begin(features: VGG19Features, order: Order) -> tuple[StyleTransfer, GramExpansion, dict[str, float]]:
    """What renders, the paintings' styles, and their blend."""
    from gaussmix.style.expansion import GramExpansion
    from gaussmix.style.images import read_picture

    shares = {path: share for path, share in order.shares.items() if share > 0}
    known = {path.stem: read_picture(path, order.size) for path in shares}
    style = GramExpansion().fit(known, features, random_state=order.seed)
    return transfer_of(features, order), style, {path.stem: share for path, share in shares.items()}


def transfer_of(features: VGG19Features, order: Order) -> StyleTransfer:
    """What renders an order."""
    from gaussmix.style.transfer import StyleTransfer

    options: Any = {name: getattr(order, name) for name in ("size", "steps", "content_weight")}
    return StyleTransfer(features, colors="content" if order.original_colors else "style", **options)


def render(studio: Studio, weights: Path | None, order: Order, *, progress: Told) -> Rendered:
    """Render an order. Told, once a second, are the number of the first variant and how those are that are drawn."""
    from gaussmix.style.images import read_picture

    features = load_network(studio, weights, progress=progress)
    content = read_picture(order.photo)
    progress(None, "learning the paintings")
    transfer, style, blend = _begin(features, order)
    targets = style.sample(order.count, blend, random_state=order.seed)
    started, shown, done = time.monotonic(), 0.0, 1

    def show(step: TransferStep) -> None:
        nonlocal shown, done
        value, done = None, step.done
        if time.monotonic() - shown > _SHOWN_EVERY:
            value, shown = (step.variants.start, step.images), time.monotonic()
        progress(step.done / step.total, f"step {step.step} of {step.steps}", value)

    images = transfer.run(content, targets, blends=[style.held(blend)], seed=order.seed, on_step=show).images
    seconds = (time.monotonic() - started) / done
    realised = dict(zip(style.styles, style.plane.shares_of(images, features).mean(0).tolist(), strict=True))
    return Rendered(images, {path: realised.get(path.stem, 0.0) for path in order.shares}, seconds)


def make_film(
    studio: Studio, weights: Path | None, order: Order, first: Pixels, path: Path, *, progress: Told
) -> bytes:
    """Return a film, a GIF, that walks through the distribution of an order's blend."""
    from gaussmix.style.images import read_picture, save_film

    features = load_network(studio, weights, progress=progress)
    content = read_picture(order.photo)
    progress(None, "learning the paintings")
    transfer, style, blend = _begin(features, order)
    walk = style.walk(FRAMES, blend, random_state=order.seed)

    def frames() -> Iterator[Pixels]:
        film = transfer.follow(content, walk, first, blends=[style.held(blend)], steps=FRAME_STEPS, lead=LEAD)
        for number, frame in enumerate(film, 1):
            progress(number / FRAMES, f"frame {number} of {FRAMES}", frame)
            yield frame

    save_film(frames(), path, rate=RATE)
    return path.read_bytes()


# -- the tab


class Painting:
    """A painting: its file, and its slider of the blend."""

    def __init__(self, file: KeptFile, shown: Pixels, page: StylePage):
        self.file = file
        with ui.row().classes("gm-painting") as self.row:
            image = ui.element("img").classes("gm-image gm-thumb")
            image.props.update({"src": picture_url(shown, 96), "alt": f"Painting {file.name}"})
            with ui.column().classes("gm-painting-words"):
                self.slider = NamedSlider(file.name, 0, 100, step=1, value=50, on_move=lambda _: page.judge())
                self.realised = ui.label().classes("gm-soft gm-small")
            ui.button(icon="close", color=None, on_click=lambda: page.remove(self)).props("flat round dense").props[
                "aria-label"
            ] = f"Remove {file.name}"


class StylePage:
    """What the tab shows of a session."""

    def __init__(self, session: Session):
        self.session = session
        self.features: VGG19Features | None = None
        self.weights: Path | None = None
        self.photo: tuple[KeptFile, Pixels] | None = None
        self.paintings: list[Painting] = []
        self.images: list[Pixels] = []
        self._order: Order | None = None
        self._rate, self._measured = _SECONDS, False
        with parts.card("The network") as self._missing:
            ui.label("Paintings are looked at through VGG19, whose weights are a file of their own.").classes("gm-soft")
            about = "vgg19-dcbb9e9d.pth or .safetensors, up to 1 GB"
            parts.drop_files(session, self._take_weights, suffixes=(".safetensors", ".pth"), about=about)
        with parts.columns() as (side, main):
            with side:
                with parts.card("The photo") as self._photo_card:
                    self._photo = ui.element("img").classes("gm-image")
                    drop_pictures(session, self._take_photo)
                with parts.card("The paintings") as self._paintings_card:
                    self._list = ui.column().classes("gm-wide")
                    drop_pictures(session, self._take_painting)
                self._lay_out_how()
            with main, parts.card() as self._main:
                self._lay_out_main()
        for hidden in (self._missing, self._photo):
            hidden.set_visibility(False)
        self.judge()
        ui.timer(0.0, self._load, once=True)

    def _lay_out_how(self) -> None:
        judge = lambda _: self.judge()  # noqa: E731
        with parts.card("How").classes("gm-late"):
            with ui.row().classes("gm-between"):
                ui.label("Pixels of the longer side")
                self._size = Choice("Pixels", {size: str(size) for size in SIZES}, 256, judge)
            with ui.row().classes("gm-between"):
                ui.label("Variants")
                self._count = Choice("Variants", {count: str(count) for count in COUNTS}, 4, judge)
            self._steps = NamedSlider("Steps", 20, 400, step=20, value=200, on_move=judge)
            self._hold = NamedSlider("Hold on to the photo", 0.02, 0.5, step=0.02, value=0.1)
            self._colors = ui.checkbox("Keep the photo's colours")
            self._seed = SeedBox(self._preview)

    def _lay_out_main(self) -> None:
        self._title = ui.label("A photo in the style of paintings").classes("gm-title")
        self._title.props("role=heading aria-level=2")
        with ui.row().classes("gm-row"):
            self._quick = ui.button("Preview", color=None, on_click=self._preview).classes("gm-button")
            self._full = ui.button("Render", color=None, on_click=self._render).classes("gm-button")
        self._cost = ui.label().classes("gm-soft").props("role=status")
        self._strip = Gallery("variant", self._open, side=_SHOWN_SIDE).classes("gm-wide-cells")
        with ui.row().classes("gm-row") as self._done:
            take = ui.button("Download these", icon="download", color=None).classes("gm-chip").props("flat")
            take.on_click(lambda: ui.download(zip_of(self.images), "variants.zip"))
            self._filming = ui.button("Film", icon="movie", color=None, on_click=self._film).classes("gm-chip")
            self._filming.props("flat")
        self._done.set_visibility(False)
        self._large = ui.column().classes("gm-wide")

    # -- what is there

    async def _load(self) -> None:
        """Looks for the network."""
        arguments = (self.session.studio, self.weights)
        found = await parts.run(self.session, self._missing, "Looking for VGG19", load_network, *arguments)
        if not self.session.closed:
            self.features = found
            self._missing.set_visibility(found is None)
            self.judge()

    async def _take_weights(self, file: KeptFile) -> None:
        self.weights = file.path
        await self._load()

    async def _take_photo(self, file: KeptFile) -> None:
        self.photo = file, await asyncio.to_thread(_read, file.path)
        self._photo.props.update({"src": picture_url(self.photo[1], _SHOWN_SIDE), "alt": f"Photo {file.name}"})
        self._photo.set_visibility(True)
        self.judge()

    async def _take_painting(self, file: KeptFile) -> None:
        shown = await asyncio.to_thread(_read, file.path)
        with self._list:
            self.paintings.append(Painting(file, shown, self))
        self.judge()

    def remove(self, painting: Painting) -> None:
        """Take a painting away."""
        self.paintings.remove(painting)
        painting.row.delete()
        self.judge()

    def order(self) -> Order | None:
        """What is asked for now; None while something is missing."""
        total = sum(painting.slider.value for painting in self.paintings)
        if self.photo is None or not total:
            return None
        shares = {painting.file.path: painting.slider.value / total for painting in self.paintings}
        how = {"content_weight": self._hold.value, "original_colors": bool(self._colors.value)}
        numbers = {"size": self._size.value, "count": self._count.value, "steps": int(self._steps.value)}
        return Order(self.photo[0].path, shares, seed=self._seed.value, **numbers, **how)

    def judge(self) -> None:
        """Say what is missing, or what it would cost; and each painting's share."""
        order = self.order()
        total = sum(painting.slider.value for painting in self.paintings) or 1
        for painting in self.paintings:
            painting.realised.text = f"{painting.slider.value / total:.0%} of the blend"
        ready = order is not None and self.features is not None
        for button in (self._quick, self._full):
            button.set_enabled(ready)
        self._full.text = f"Render at {self._size.value} px"
        if self.photo is None:
            self._cost.text = "Drop a photo, and one painting or more."
        elif order is None:
            self._cost.text = "Drop one painting or more, and give one of them a share."
        elif self.features is None:
            self._cost.text = "All is there but the network: see above."
        else:
            cost, quick, film = (
                _duration(s) for s in (*map(self._seconds, (order, _quick(order))), self._film_seconds())
            )
            known = "reckoned from the last one" if self._measured else "a guess, until one was measured"
            self._cost.text = f"A preview takes about {quick}, {order.size} px about {cost}; {known}."
            self._filming.text = f"A film of the first, about {film}"

    def _seconds(self, order: Order) -> float:
        assert self.features is not None
        assert self.photo is not None
        learning = _LEARNING * len(order.shares) * (order.size / 512)
        return self._rate * (learning + order.count * transfer_of(self.features, order).work(self.photo[1]))

    def _film_seconds(self) -> float:
        first = self.images[0] if self.images else np.zeros((1, 1, 3))
        return self._rate * (FRAMES + LEAD) * FRAME_STEPS * first.shape[0] * first.shape[1]

    # -- rendering

    async def _preview(self) -> None:
        order = self.order()
        if order is not None and self.features is not None:
            await self._make(_quick(order))

    async def _render(self) -> None:
        order = self.order()
        if order is not None:
            await self._make(order)

    async def _make(self, order: Order) -> None:
        for button in (self._quick, self._full):
            button.set_enabled(False)
        self._strip.cut(order.count)
        self._large.clear()
        show_again(self._main)
        title = f"Rendering {order.count} at {order.size} px"
        arguments = (self.session.studio, self.weights, order)
        place = lambda value: self._strip.show(value[1], value[0])  # noqa: E731
        done = await parts.run(self.session, self._main, title, render, *arguments, on_value=place)
        if self.session.closed:
            return
        if done is not None:
            self.images, self._order = list(done.images), order
            self._rate, self._measured = done.seconds, True
            self._done.set_visibility(True)
        self._strip.cut(len(self.images))
        self._strip.show(self.images)
        self.judge()
        if done is not None:
            for painting in self.paintings:
                share = done.realised.get(painting.file.path)
                painting.realised.text += "" if share is None else f", {share:.0%} in what was drawn"

    def _open(self, number: int) -> None:
        if number < len(self.images):
            self._show_large(picture_url(self.images[number], self._large_side), f"Variant {number + 1}")

    @property
    def _large_side(self) -> int:
        """Pixels of the longer side at which a picture is shown large; more would only be soft."""
        return min(2 * max(self.images[0].shape[:2]), _LARGE_SIDE)

    def _show_large(self, source: str, about: str) -> None:
        self._large.clear()
        with self._large:
            image = ui.element("img").classes("gm-image").style(f"max-width:{self._large_side}px")
            image.props.update({"src": source, "alt": about})
        show_again(self._large)

    async def _film(self) -> None:
        if self._order is None:
            return
        path = self.session.folder / f"{secrets.token_hex(8)}.gif"
        arguments = (self.session.studio, self.weights, self._order, self.images[0], path)
        place = lambda frame: self._strip.show([frame])  # noqa: E731
        film = await parts.run(self.session, self._main, "Filming", make_film, *arguments, on_value=place)
        self._strip.show(self.images)
        if film is not None:
            self._show_large("data:image/gif;base64," + base64.b64encode(film).decode(), "The film")
            with self._large:
                take = ui.button("Download the film", icon="download", color=None).classes("gm-chip gm-start")
                take.props("flat").on_click(lambda: ui.download(film, "film.gif"))


def _quick(order: Order) -> Order:
    """What shows within seconds what an order will be like."""
    how = {**vars(order), "size": PREVIEW_SIZE, "steps": PREVIEW_STEPS}
    return Order(**{**how, "count": min(order.count, PREVIEW_COUNT)})


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _read(path: Path) -> Pixels:
    from gaussmix.style.images import fit_size, read_picture, resize

    found = read_picture(path)
    height, width = found.shape[:2]
    return resize(found, *fit_size(height, width, min(_KNOWN_SIDE, max(height, width))))


def build(session: Session) -> None:
    """Lay out the tab."""
    StylePage(session)
