"""The tab of faces: attributes that are asked for, pictures that come out of noise step by step, and changes of one.

`FacesPage` lays out the tab and keeps what it shows, `OneFace` is its card of one face; what they ask for is drawn by
the jobs of `gaussmix.studio.drawing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from nicegui import ui

from gaussmix.diffusion.conditions import attribute_row, exclusion
from gaussmix.studio import parts
from gaussmix.studio.drawing import (
    Face,
    ModelCard,
    Wish,
    change,
    draw,
    draw_each_kind,
    look_at,
    metadata,
    said,
    vary,
)
from gaussmix.studio.pictures import (
    Choice,
    Gallery,
    NamedSlider,
    SeedBox,
    drop_pictures,
    picture,
    picture_url,
    show_again,
    zip_of,
)
from gaussmix.studio.session import KeptFile, Session

__all__ = ["FacesPage", "OneFace", "build"]

COUNTS = (4, 16, 32, 64)
_MANY = 20  # attributes, from which on there is a box to look for one
_STATES = {"on": "on", "any": "any", "off": "off"}


class FacesPage:
    """What the tab shows of a session."""

    def __init__(self, session: Session, about: ModelCard):
        self.session, self.about = session, about
        self.wanted = dict.fromkeys(about.names, "any")
        self.kinds: dict[str, int] = {}
        self.faces: list[Face] = []
        self.kept: list[Face] = []
        with parts.columns() as (side, main):
            with side:
                self._lay_out_wish()
                self._lay_out_how()
                with parts.card("A picture of your own").classes("gm-late") as self._own:
                    drop_pictures(session, self._look_at, "to edit; its centre square is used")
            with main:
                with parts.card() as self._drawing:
                    self._title = ui.label("As in the data").classes("gm-title").props("role=heading aria-level=2")
                    self._caption = ui.label().classes("gm-soft")
                    corner = ("star_outline", "Keep", lambda i: self.keep(self.faces[i : i + 1]))
                    self._gallery = Gallery("face", lambda i: self._open(self.faces[i : i + 1]), corner=corner)
                    self._save = ui.button("Download these", icon="download", color=None).props("flat")
                    self._save.classes("gm-chip gm-start").on_click(lambda: self._download(self.faces))
                self._one = OneFace(self)
                with parts.card("Favourites") as self._tray:
                    corner = ("close", "Remove", self._remove)
                    self._favourites = Gallery(
                        "favourite", lambda i: self._open(self.kept[i : i + 1]), corner=corner, side=96
                    )
                    save = ui.button("Download them", icon="download", color=None).props("flat")
                    save.classes("gm-chip gm-start").on_click(lambda: self._download(self.kept))
        for hidden in (self._save, self._tray):
            hidden.set_visibility(False)
        self._judge()
        ui.timer(0.0, self._draw, once=True)

    def _lay_out_wish(self) -> None:
        with parts.card("Ask for") as self._asking:
            with ui.row().classes("gm-row"):
                self._go = ui.button("Draw", on_click=self._draw, color=None).classes("gm-button")
                ui.button("Clear", on_click=self._clear, color=None).classes("gm-chip").props("flat")
            self._sentence = ui.label().classes("gm-soft gm-small").props("role=status")
            rows: dict[str, ui.element] = {}
            if len(self.about.names) > _MANY:

                def find(text: str | None) -> None:
                    for name, row in rows.items():
                        row.set_visibility((text or "").strip().lower() in said(name).lower())

                words = f"Look for one of {len(self.about.names)}"
                ui.input(words, on_change=lambda event: find(event.value)).props("outlined dense clearable")
            self._choices: dict[str, Choice] = {}
            self._kind_rows: dict[str, ui.element] = {}
            with ui.column().classes("gm-asks"):
                for k, name in enumerate(self.about.names):
                    rows[name] = self._lay_out_attribute(k, name)

    def _lay_out_attribute(self, k: int, name: str) -> ui.element:
        with ui.column().classes("gm-ask") as row:
            with ui.row().classes("gm-between gm-nowrap"):
                with ui.column().classes("gm-ask-name"):
                    ui.label(said(name))
                    if len(self.about.rows):
                        share = float(self.about.rows[:, k].mean())
                        with ui.element("div").classes("gm-share"):
                            ui.element("div").classes("gm-share-bar").style(f"width:{3.5 * share:.2f}rem")
                            ui.label(f"{share:.0%}" if share >= 0.01 else "< 1%").classes("gm-soft gm-small")
                self._choices[name] = Choice(said(name), _STATES, "any", partial(self._want, name))
            self._kind_rows[name] = ui.column().classes("gm-kinds")
        return row

    def _lay_out_how(self) -> None:
        with parts.card("How").classes("gm-late"):
            with ui.row().classes("gm-between gm-nowrap"):
                ui.label("Pictures")
                self._count = Choice("Pictures", {count: str(count) for count in COUNTS}, 16, lambda _: None)
            self._guidance = NamedSlider("Guidance", 0, 6, step=0.25, value=2)
            ui.label("1 follows the data; more, the request: clearer, and less varied.").classes("gm-soft gm-small")
            self._steps = NamedSlider("Steps", 1, 50, step=1, value=10)
            self._seed = SeedBox(self._draw)

    # -- the wish

    def wish(self) -> Wish:
        """What is asked for now."""
        present, absent = ([n for n, state in self.wanted.items() if state == wanted] for wanted in ("on", "off"))
        how = {"guidance": self._guidance.value, "steps": int(self._steps.value), "seed": self._seed.value}
        return Wish(tuple(present), tuple(absent), dict(self.kinds), self._count.value, **how)

    def _want(self, name: str, state: str) -> None:
        self.wanted[name] = state
        if state != "on":
            self.kinds.pop(name, None)
        self._kind_rows[name].clear()
        if state == "on" and self.about.kinds_of(name):
            with self._kind_rows[name]:
                self._lay_out_kinds(name)
        self._judge()

    def _clear(self) -> None:
        for name, choice in self._choices.items():
            if choice.value != "any":
                choice.set_value("any")
                self._want(name, "any")

    def _lay_out_kinds(self, name: str) -> None:
        shares = self.about.kinds[self.about.names.index(name)]
        options: dict[int | None, str] = {None: "any kind"} | {
            kind: str(kind + 1) for kind in self.about.kinds_of(name)
        }

        def choose(kind: int | None) -> None:
            self.kinds.pop(name, None)
            self.kinds |= {} if kind is None else {name: kind}

        async def compare() -> None:
            title = f"One {said(name)} of each kind"
            arguments = (self.session.studio, self.about.folder, name, self.about.kinds_of(name))
            found = await parts.run(self.session, where, title, draw_each_kind, *arguments)
            if found is not None and not where.is_deleted:
                shown.clear()
                with shown:
                    for kind, image in zip(self.about.kinds_of(name), found, strict=True):
                        with ui.column().classes("gm-kind"):
                            picture(image, f"{said(name)}, kind {kind + 1}", 96)
                            ui.label(f"{kind + 1}: {shares[kind]:.0%}").classes("gm-soft gm-small")

        with ui.column().classes("gm-wide gm-tight") as where:
            Choice(f"Kind of {said(name)}", options, self.kinds.get(name), choose)
            with ui.row().classes("gm-row") as shown:
                ui.button("See one of each", on_click=compare, color=None).props("flat").classes("gm-link")

    def _judge(self) -> None:
        """Say how many training pictures are as asked for, or what excludes each other."""
        wish, rows = self.wish(), self.about.rows
        excluded = exclusion(rows, self.about.names, wish.present, wish.absent)
        self._go.text = "Draw anyway" if excluded else "Draw"
        if excluded:
            self._sentence.text = f"{excluded[0].upper()}{excluded[1:]}: pictures would mix them."
        elif not (wish.present or wish.absent):
            self._sentence.text = "Nothing yet: pictures are drawn as they occur in the data."
        else:
            on, off = (attribute_row(names, self.about.names) > 0 for names in (wish.present, wish.absent))
            like = int(((rows[:, on] == 1).all(1) & (rows[:, off] == 0).all(1)).sum())
            self._sentence.text = f"{like} of {len(rows)} training pictures are like that." if len(rows) else ""

    # -- drawing

    async def _draw(self) -> None:
        wish, session = self.wish(), self.session
        self._go.set_enabled(False)
        self.faces, before = [], self.faces
        self._gallery.cut(wish.count)
        show_again(self._drawing)
        try:
            arguments = (session.studio, self.about.folder, wish)
            place = lambda value: self._gallery.show(value[1], value[0])  # noqa: E731
            done = await parts.run(session, self._drawing, "Drawing", draw, *arguments, on_value=place)
        finally:
            self._go.set_enabled(True)
        if done is None:
            self.faces = before
        else:
            title, self.faces = done
            self._title.text = title[0].upper() + title[1:]
            self._caption.text = (
                f"{wish.count} pictures, guidance {wish.guidance:g}, {wish.steps} steps, seed {wish.seed}"
            )
        self._gallery.cut(len(self.faces))
        self._gallery.show([face.image for face in self.faces])
        self._save.set_visibility(bool(self.faces))

    async def _look_at(self, file: KeptFile) -> None:
        arguments = (self.session.studio, self.about.folder, file.path)
        found = await parts.run(self.session, self._own, f"Looking at {file.name}", look_at, *arguments)
        if found is not None:
            self._one.show(found[0], found[1])

    def _open(self, faces: list[Face]) -> None:
        if faces:
            self._one.show(faces[0])

    # -- favourites

    def keep(self, faces: list[Face]) -> None:
        """Put faces among the favourites.

        Parameters
        ----------
        faces : list of Face
            Those that are there already are not put twice.
        """
        self.kept += [face for face in faces if face not in self.kept]
        self._show_kept()

    def _remove(self, number: int) -> None:
        del self.kept[number]
        self._show_kept()

    def _show_kept(self) -> None:
        self._favourites.cut(len(self.kept))
        self._favourites.show([face.image for face in self.kept])
        self._tray.set_visibility(bool(self.kept))

    def _download(self, faces: Sequence[Face]) -> None:
        if faces:
            table = {"metadata.csv": metadata(self.about.names, faces)}
            ui.download(zip_of([face.image for face in faces], table), "faces.zip")


class OneFace:
    """The card of one face: what it has, a change of it, and its variations."""

    def __init__(self, page: FacesPage):
        self._page, self._results = page, []
        self.face: Face | None = None
        with parts.card("One face") as self._card:
            with ui.element("div").classes("gm-one"):
                self._image = ui.element("img").classes("gm-image gm-large")
                with ui.column().classes("gm-one-words"):
                    self._note = ui.label().classes("gm-soft").props("role=status")
                    with ui.row().classes("gm-row"):
                        ui.button("Keep", icon="star_outline", color=None, on_click=self._keep).classes(
                            "gm-chip"
                        ).props("flat")
                        self._again = [
                            ui.button(words, color=None, on_click=partial(self._vary, kept))
                            .classes("gm-chip")
                            .props("flat")
                            for words, kept in (("Same face, other noise", "latent"), ("Same noise, other Z", "noise"))
                        ]
                    self._correct = ui.checkbox("Only correct what was read, and change nothing")
                    ui.label("Press an attribute to change it:").classes("gm-soft")
                    with ui.row().classes("gm-row"):
                        self._chips = {
                            name: ui.button(said(name), color=None, on_click=partial(self._change, name))
                            .classes("gm-chip")
                            .props("flat aria-pressed=false")
                            for name in page.about.names
                        }
            corner = ("star_outline", "Keep", lambda i: page.keep(self._results[i : i + 1]))
            self._gallery = Gallery("result", self._open, corner=corner)
        self._card.set_visibility(False)

    def show(self, face: Face, note: str = "") -> None:
        """Show a face.

        Parameters
        ----------
        face : Face
            Any.
        note : str
            What was found out about it; then its attributes were read, and can be corrected.
        """
        self.face, self._results = face, []
        self._gallery.cut(0)
        parts.hush(self._card)
        self._card.set_visibility(True)
        has = ", ".join(said(n) for n, on in zip(self._page.about.names, face.attributes, strict=True) if on)
        self._image.props["src"] = picture_url(face.image, 288)
        self._image.props["alt"] = f"A face with {has or 'none of the attributes'}"
        self._note.text = note
        self._note.set_visibility(bool(note))
        self._correct.value = False
        self._correct.set_visibility(bool(note))
        for button in self._again:
            button.set_visibility(face.wish is not None)
        self._show_chips()
        show_again(self._card)

    def _show_chips(self) -> None:
        assert self.face is not None
        for chip, on in zip(self._chips.values(), self.face.attributes, strict=True):
            chip.props["aria-pressed"] = "true" if on else "false"

    def _open(self, number: int) -> None:
        if number < len(self._results):
            self.show(self._results[number])

    def _keep(self) -> None:
        if self.face is not None:
            self._page.keep([self.face])

    async def _vary(self, kept: str) -> None:
        face, page = self.face, self._page
        if face is not None:
            title = "Same face, other noise" if kept == "latent" else "Same noise, other Z"
            arguments = (page.session.studio, page.about.folder, face, kept)
            place = lambda value: self._gallery.show(value[1], value[0])  # noqa: E731
            self._show(face, await parts.run(page.session, self._card, title, vary, *arguments, on_value=place))

    async def _change(self, name: str) -> None:
        face, page = self.face, self._page
        if face is None:
            return
        k = page.about.names.index(name)
        if self._correct.value:
            row = face.attributes.copy()
            row[k] ^= 1
            self.face = replace(face, attributes=row)
            self._show_chips()
            return
        on = not face.attributes[k]
        arguments = (page.session.studio, page.about.folder, face, name, on, page.wish().seed)
        found = await parts.run(page.session, self._card, f"{said(name)} {'on' if on else 'off'}", change, *arguments)
        faces, also = (None, "") if found is None else found
        self._show(face, faces)
        if also and self.face is face:
            self._note.text = also
            self._note.set_visibility(True)

    def _show(self, face: Face, faces: list[Face] | None) -> None:
        """What has come of a face, if it is still the one that is shown."""
        if self.face is face:
            self._results = faces or []
            self._gallery.cut(len(self._results))
            self._gallery.show([each.image for each in self._results])


def build(session: Session) -> None:
    """Lay out the tab.

    Parameters
    ----------
    session : Session
        Whose it is.
    """
    FacesPage(session, ModelCard.read(session.settings.model))
