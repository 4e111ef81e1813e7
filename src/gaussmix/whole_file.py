"""Files that are whole or absent: written under another name beside their own, then renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path to write to, with the suffix of `path`; on leaving without an error it takes the place of `path`.

    A reader sees the old file or the new one, never half of it; after an error the old one is still there.
    """
    path = Path(path)
    aside = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
