"""Visits of the page without a browser, with NiceGUI's user."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from nicegui import core
from nicegui.testing.user import User
from nicegui.testing.user_simulation import user_simulation

from gaussmix.studio.layout import PAGES, Page, build_page
from gaussmix.studio.session import Settings, Studio

CSV = b"price,name\n" + b"".join(b"%d.25,a\n" % (i % 37) for i in range(200))


def opened(folder: Path, settings: Settings | None = None) -> Iterator[Studio]:
    """A studio whose files lie in a folder, for a fixture."""
    (folder / "studio").mkdir()
    studio = Studio(settings or Settings(), folder=folder / "studio")
    yield studio
    studio.close()


def visit(
    studio: Studio,
    steps: Callable[[User], Awaitable[None]],
    pages: tuple[Page, ...] = PAGES,
    tab: str = "",
    seconds: float = 60,
) -> None:
    """Open the page, and take the steps of somebody who uses it."""

    async def go() -> None:
        async with user_simulation(root=lambda: build_page(studio, tab, pages) and None) as user:
            core.app.config.reconnect_timeout = 1.0  # as a server's start sets it
            await user.open("/")
            await steps(user)

    asyncio.run(asyncio.wait_for(go(), seconds))
