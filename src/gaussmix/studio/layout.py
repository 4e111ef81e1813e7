"""The frame of the page: a header with the tabs, light and dark, and the tabs' panels, each built when it is opened."""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path
from typing import NamedTuple

from nicegui import ui

from gaussmix.studio.parts import saying
from gaussmix.studio.session import Session, Studio

__all__ = ["PAGES", "Page", "build_page"]

_STYLE = Path(__file__).with_name("house.css")
_MARK = (
    '<svg viewBox="0 0 48 32" width="42" height="28" fill="none" stroke-width="2.5" stroke-linecap="round" '
    'aria-hidden="true"><path stroke="var(--line-strong)" d="M2 28c16 0 12-25 21-25s5 25 23 25"/>'
    '<path stroke="var(--blue)" d="M2 28c9 0 9-17 14-17s5 17 14 17"/>'
    '<path stroke="var(--orange)" d="M20 28c8 0 8-11 12-11s4 11 12 11"/></svg>'
)
_SHADES = {
    None: ("brightness_auto", "Light or dark as the system is"),
    False: ("light_mode", "Light"),
    True: ("dark_mode", "Dark"),
}


class Page(NamedTuple):
    """A tab: its name in the address, its title, and the module whose ``build(session)`` fills it."""

    name: str
    title: str
    module: str


PAGES = (
    Page("densities", "Densities", "gaussmix.studio.densities"),
    Page("prediction", "Prediction", "gaussmix.studio.prediction"),
    Page("faces", "Faces", "gaussmix.studio.faces"),
    Page("digits", "Digits", "gaussmix.studio.digits"),
    Page("style", "Style", "gaussmix.studio.style"),
)  # fmt: skip


def build_page(studio: Studio, tab: str = "", pages: tuple[Page, ...] = PAGES) -> Session:
    """Lay out the whole page for a new session, which ends with it.

    Parameters
    ----------
    studio : Studio
        What sessions share.
    tab : str
        The name of the tab that is open first; the first one if there is none of that name.
    pages : tuple of Page
        The tabs.
    """
    session = studio.open()
    ui.context.client.on_delete(session.close)
    ui.add_head_html(f"<style>{_STYLE.read_text()}</style>")
    ui.colors(primary="var(--blue)", dark_page="var(--paper)", dark="var(--surface)")
    first = next((page for page in pages if page.name == tab), pages[0])
    with ui.header(elevated=False).classes("gm-header"):
        with ui.row().classes("gm-brand"):
            ui.html(_MARK, sanitize=False)
            ui.label("gaussmix studio").props("role=heading aria-level=1")
        with ui.tabs().classes("gm-tabs").props("no-caps mobile-arrows outside-arrows") as tabs:
            for page in pages:
                ui.tab(page.name, page.title)
        _add_switch()
    panels: dict[str, ui.element] = {}
    with ui.tab_panels(tabs, value=first.name, animated=False, keep_alive=True).classes("gm-panels").props("role=main"):
        for page in pages:
            with ui.tab_panel(page.name).classes("gm-panel"):
                panels[page.name] = ui.column().classes("gm-page")

    opened: set[str] = set()

    async def open_tab(name: str) -> None:
        if name not in opened:
            opened.add(name)
            await _fill(session, panels[name], next(page for page in pages if page.name == name))

    tabs.on_value_change(lambda event: open_tab(str(event.value)))
    ui.timer(0.0, lambda: open_tab(first.name), once=True)
    return session


async def _fill(session: Session, panel: ui.element, page: Page) -> None:
    """Import a tab's module, out of the event loop, and have it build the tab."""
    with panel:
        waiting = ui.label(f"{page.title} ...").classes("gm-soft").props("role=status")
        with saying(session, panel):
            module = await asyncio.to_thread(importlib.import_module, page.module)
            if session.closed:
                return
            waiting.delete()
            module.build(session)


def _add_switch() -> None:
    """Follow the system, or light, or dark; in turn."""
    dark = ui.dark_mode(value=None)
    order = list(_SHADES)

    def show() -> None:
        icon, words = _SHADES[dark.value]
        button.props["icon"] = icon
        button.props["aria-label"] = f"{words}; press to change"
        button.props["title"] = words

    def turn() -> None:
        dark.value = order[(order.index(dark.value) + 1) % len(order)]
        show()

    button = ui.button(icon="brightness_auto", on_click=turn, color=None).props("flat round").classes("gm-switch")
    show()
