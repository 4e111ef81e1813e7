"""``gaussmix studio``: a page in the browser on which people look, click and understand."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from gaussmix.cli._flags import CommandError


@dataclass(frozen=True)
class OpenStudio:
    """Open a page in the browser: densities of your tables, predictions, faces, digits, styles.

    It is served on this machine alone, loads nothing from elsewhere, and needs the token in the address that is
    printed. Files that are dropped on it are removed when the page is closed. Ctrl-C ends it.
    """

    files: Positional[tuple[Path, ...]] = ()
    """Tables to choose from, as for `density fit`; others can be dropped on the page."""
    port: int | None = None
    """Where to serve; the first free port from 8077 on, if not given."""
    model: Path | None = None
    """The folder of a model of faces, from `faces train`, or of digits and other classes, from `autoencoder train`; for
    the other tab, and if not given for both, there is a model of our own."""
    open: bool = True
    """Open the page in a browser."""

    def __post_init__(self):
        if self.port is not None and not 1024 <= self.port <= 65535:
            raise ValueError(f"--port is {self.port}; it must lie from 1024 to 65535")

    def __call__(self) -> None:
        for path in self.files:
            os.stat(path)  # raises for one that is absent
            if not path.is_file():
                raise ValueError(f"{path} is a folder; name the files in it")
        if self.model is not None and not self.model.is_dir():
            raise ValueError(
                f"--model is {self.model}, which is no folder; give one that `faces train` or `autoencoder train` wrote"
            )

        import gaussmix.studio as studio

        try:
            studio.serve(studio.Settings(self.files, self.model), port=self.port, open_browser=self.open)
        except KeyboardInterrupt:
            raise CommandError(
                "gaussmix studio: stopped; the files that were dropped on its pages are gone", 130
            ) from None
