"""A session: what belongs to one open page, its files and its jobs, and goes with it.

Files are kept under names of our own in a folder of the session; the name that the browser gave is only ever shown, as
text. The folder goes when the page has been closed for longer than a connection may be lost, or the program ends.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, Protocol

from gaussmix._guard import shown
from gaussmix.studio.work import WorkQueue

__all__ = ["MOST_BYTES", "MOST_KEPT", "KeptFile", "Session", "Settings", "Studio"]

MOST_BYTES = 1 << 30
"""Of one file that comes in: 1 GB."""
MOST_KEPT = 2 << 30
"""Of all files of one session."""
_FOLDER = "gaussmix-studio-"
_LAST_SECONDS = 5.0  # for a job to stop, when the program ends
_log = logging.getLogger("gaussmix")


class Incoming(Protocol):
    """A file on its way in, as NiceGUI hands it over."""

    name: str

    def size(self) -> int:
        """In bytes."""
        ...

    async def save(self, path: Path) -> None:
        """Write it."""
        ...


@dataclass(frozen=True)
class Settings:
    """What the command line asks of the studio."""

    files: tuple[Path, ...] = ()
    """Tables to choose from beside those that are dropped."""
    model: Path | None = None
    """A folder of a model of faces, or of an autoencoder's run; the tabs have models of their own if not given."""


@dataclass(frozen=True)
class KeptFile:
    """A file that a page may work with: where it lies, and what people call it."""

    path: Path
    name: str
    size: int


@dataclass
class Studio:
    """What all sessions share: the settings, one line of work, a folder for their files.

    Parameters
    ----------
    settings : Settings
        What the command line asks for.
    work : WorkQueue
        Where long work is done.
    folder : Path
        Of the sessions' files; it is removed in the end.
    sessions : set of Session
        Those that are open.
    shared : dict
        What `once` has made.
    """

    settings: Settings = field(default_factory=Settings)
    work: WorkQueue = field(default_factory=WorkQueue)
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix=_FOLDER)))
    sessions: set[Session] = field(default_factory=set)
    shared: dict[Any, Any] = field(default_factory=dict)

    def open(self) -> Session:
        """Return a new session."""
        session = Session(self)
        self.sessions.add(session)
        return session

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """Return what ``make`` has made for ``key``, once for all sessions, such as a model; to be called in a job.

        With one worker two jobs never make the same; with more of them the last one stays.

        Parameters
        ----------
        key : hashable
            What it is, such as ("faces", folder).
        make : callable
            Makes it.
        """
        if key not in self.shared:
            self.shared[key] = make()
        return self.shared[key]

    def close(self) -> None:
        """End all sessions, their jobs and their files."""
        for session in list(self.sessions):
            session.close()
        self.work.cancel_all()
        self.work.wait(_LAST_SECONDS)
        shutil.rmtree(self.folder, ignore_errors=True)


class Session:
    """One open page: its files and its jobs.

    Parameters
    ----------
    studio : Studio
        What it shares with the others.

    Attributes
    ----------
    files : list of KeptFile
        What was dropped on the page, and what the command line named.
    closed : bool
        Whether the page is gone.
    """

    def __init__(self, studio: Studio):
        self.studio, self.closed = studio, False
        self.files = [KeptFile(path, path.name, path.stat().st_size) for path in studio.settings.files]
        self._folder = studio.folder / secrets.token_hex(8)

    @property
    def settings(self) -> Settings:
        """What the command line asks for."""
        return self.studio.settings

    @property
    def folder(self) -> Path:
        """The session's own, made when it is first needed; readable by its user alone."""
        if self.closed:
            raise ValueError("this page was closed: load it again")
        self._folder.mkdir(mode=0o700, exist_ok=True)
        return self._folder

    async def keep(self, file: Incoming, suffixes: Collection[str]) -> KeptFile:
        """Write a file that came in into the session's folder, under a name of our own.

        Parameters
        ----------
        file : Incoming
            As ``event.file`` of an upload.
        suffixes : collection of str
            Endings that are taken, such as ".csv" or ".csv.gz".

        Returns
        -------
        KeptFile
            Also the last one of `files`.

        Raises
        ------
        ValueError
            For another ending, a file too large, or one too many.
        """
        name = shown(PurePath(file.name.replace("\\", "/")).name)
        name = name if name.strip(" .") else "a file without a name"
        suffix = max((end for end in suffixes if name.lower().endswith(end)), key=len, default=None)
        if suffix is None:
            raise ValueError(f"{name} is none of {', '.join(sorted(suffixes))}: convert it to one")
        size = file.size()
        if size > MOST_BYTES:
            raise ValueError(f"{name} has {size / 1e9:.1f} GB; the page takes files up to {MOST_BYTES >> 30} GB")
        kept = sum(each.size for each in self.files if each.path.parent == self._folder)
        if size + kept > MOST_KEPT:
            raise ValueError(
                f"{name} is too much beside what this page holds already ({kept / 1e9:.1f} GB): load the page again"
            )
        path = self.folder / f"{secrets.token_hex(8)}{suffix}"
        await file.save(path)
        if self.closed:  # while it came in
            shutil.rmtree(self._folder, ignore_errors=True)
            raise ValueError("this page was closed: load it again")
        found = KeptFile(path, name, size)
        self.files.append(found)
        return found

    def sentence(self, error: BaseException) -> str:
        """What people are told of an error: a ValueError or OSError in its own words, with the names that they know.

        Of anything else the log has more than the page.
        """
        if isinstance(error, ValueError | OSError | ImportError | MemoryError):
            text = str(error) or type(error).__name__
            for file in self.files:
                text = text.replace(str(file.path), file.name)
            return shown(text.replace(str(self._folder), ""), 400)
        _log.error("the studio met an error of its own: %s", error, exc_info=error)
        return "That did not work, by a fault of gaussmix; the terminal that runs the studio says more."

    def close(self) -> None:
        """Cancel the jobs, remove the files."""
        self.closed = True
        self.studio.work.cancel_all(self)
        self.studio.sessions.discard(self)
        shutil.rmtree(self._folder, ignore_errors=True)
