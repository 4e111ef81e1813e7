"""Long work, out of the event loop: a line of jobs, a few at a time, each with progress and a way to stop it.

A job is a function of the library's kind, slow and blocking, that takes ``progress`` and calls it now and then:

    def learn(path, column, *, progress):
        for done, total in ...:
            progress(done / total, "counting")
        return law

It runs in a thread of its own. `Progress` is where it can be stopped: once somebody has cancelled the job, or its time
is over, the next call raises, and the function ends as by any error. Everything else here runs in the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, Literal

__all__ = ["CancelledWorkError", "Job", "Progress", "WorkQueue"]

State = Literal["waiting", "running", "done", "failed", "cancelled"]
_SECONDS = 3600.0  # that a job may run
_WAITING = 4  # jobs that one owner may have, waiting and running
_EVERY = 0.1  # seconds between two messages to the page
_log = logging.getLogger("gaussmix")


class CancelledWorkError(Exception):
    """Raised in a job that somebody has cancelled, at its next call of ``progress``."""


class Progress:
    """What a job tells the page; to be called from its thread.

    A job calls as often as it likes: the page hears ten calls a second, and each one that brings a ``value``.
    """

    def __init__(self, job: Job, loop: asyncio.AbstractEventLoop):
        self._job, self._loop, self._told = job, loop, 0.0
        self._until = time.monotonic() + job.seconds

    def __call__(self, share: float | None = None, note: str = "", value: Any = None) -> None:
        """Tell how far the work is.

        Parameters
        ----------
        share : float, optional
            From 0 to 1; not known if not given.
        note : str
            What is being done, a few words.
        value : object, optional
            Something to show already, such as a picture.

        Raises
        ------
        CancelledWorkError
            The job was cancelled.
        ValueError
            Its time is over.
        """
        now = time.monotonic()
        if self._job.stopping.is_set():
            raise CancelledWorkError
        if now > self._until:
            raise ValueError(f"{self._job.title} took longer than {self._job.seconds / 60:g} minutes: ask for less")
        if value is None and now - self._told < _EVERY and share != 1:
            return
        self._told = now
        self._loop.call_soon_threadsafe(self._job.heard, share, note, value)


class Job:
    """A piece of work in a `WorkQueue`.

    Attributes
    ----------
    title : str
        What it is, for people.
    state : str
        "waiting", "running", "done", "failed" or "cancelled".
    before : int
        How many jobs will have ended or started before this one starts.
    share : float or None
        How far it is, from 0 to 1, where that is known.
    note : str
        What it is doing.
    listeners : list of callable
        Called with the job, in the event loop, whenever any of these changes.
    """

    def __init__(self, title: str, owner: Hashable, seconds: float, on_value: Callable[[Any], Any] | None):
        self.title, self.owner, self.seconds = title, owner, seconds
        self.state: State = "waiting"
        self.before, self.note = 0, ""
        self.share: float | None = None
        self.listeners: list[Callable[[Job], Any]] = []
        self.stopping = threading.Event()
        self._on_value = on_value
        self._result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._result.add_done_callback(lambda found: found.cancelled() or found.exception())  # nobody need wait for it

    async def result(self) -> Any:
        """Wait for what the function returns; raises what it raises, and CancelledWorkError."""
        return await asyncio.shield(self._result)

    def heard(self, share: float | None, note: str, value: Any = None) -> None:
        """Take in what the thread has told."""
        if self.state != "running":
            return
        self.share, self.note = share, note
        if value is not None and self._on_value is not None and not self.stopping.is_set():
            self._on_value(value)
        self.changed()

    def changed(self) -> None:
        """Tell the listeners; one that fails fails alone."""
        for listener in list(self.listeners):
            try:
                listener(self)
            except Exception:
                _log.exception("the page could not show how a job gets on")

    def end(self, state: State, result: Any = None, error: BaseException | None = None) -> None:
        """Close the job, once."""
        if self._result.done():
            return
        self.state = state
        if error is None:
            self._result.set_result(result)
        else:
            self._result.set_exception(error)
        self.changed()


class WorkQueue:
    """A line of jobs, first come, first served.

    Parameters
    ----------
    workers : int
        How many run at once.
    most : int
        How many jobs one owner may have at a time, the running one included.
    """

    def __init__(self, workers: int = 1, most: int = _WAITING):
        self.workers, self.most = workers, most
        self._waiting: list[Job] = []
        self._running: list[Job] = []
        self._work: dict[Job, Callable[[Progress], Any]] = {}
        self._threads: list[threading.Thread] = []

    def submit(
        self,
        title: str,
        owner: Hashable,
        function: Callable[..., Any],
        *args: Any,
        on_value: Callable[[Any], Any] | None = None,
        seconds: float = _SECONDS,
        **options: Any,
    ) -> Job:
        """Put ``function(*args, progress=..., **options)`` at the end of the line.

        Parameters
        ----------
        title : str
            What it is, for people: "Learning price".
        owner : hashable
            Whose it is: of each there are only so many.
        function : callable
            Slow and blocking; it must not touch the page.
        *args : object
            Its arguments.
        on_value : callable, optional
            Called in the event loop with each ``value`` that the function tells.
        seconds : float
            The most it may take once it runs.
        **options : object
            Its arguments by name.

        Returns
        -------
        Job
            Waiting, or running already.

        Raises
        ------
        ValueError
            The owner has too many jobs.
        """
        if sum(job.owner == owner for job in (*self._waiting, *self._running)) >= self.most:
            raise ValueError(f"{self.most} things are being worked on for this page: cancel one, or wait for it")
        job = Job(title, owner, seconds, on_value)
        self._work[job] = lambda progress: function(*args, progress=progress, **options)
        self._waiting.append(job)
        self._advance()
        return job

    def cancel(self, job: Job) -> None:
        """Take a job out of the line, or have it stop at its next call of ``progress``."""
        job.stopping.set()
        if job in self._waiting:
            self._waiting.remove(job)
            del self._work[job]
            job.end("cancelled", error=CancelledWorkError(f"{job.title} was cancelled"))
            self._advance()
        elif job in self._running:
            job.note = "stopping"
            job.changed()

    def cancel_all(self, owner: Hashable | None = None) -> None:
        """Cancel the jobs of an owner, or all."""
        for job in [*self._waiting, *self._running]:
            if owner is None or job.owner == owner:
                self.cancel(job)

    def wait(self, seconds: float) -> None:
        """Wait for jobs that are stopping: the libraries of a thread that Python's end cuts off may abort.

        Parameters
        ----------
        seconds : float
            The longest, for each.
        """
        for thread in self._threads:
            thread.join(seconds)

    def _advance(self) -> None:
        """Start what may start, and tell the others their place."""
        while self._waiting and len(self._running) < self.workers:
            job = self._waiting.pop(0)
            self._running.append(job)
            job.state, job.before = "running", 0
            loop = asyncio.get_running_loop()
            arguments = job, self._work.pop(job), Progress(job, loop), loop
            # A daemon: what does not listen to ``progress`` for a while does not hold up the end of the program.
            thread = threading.Thread(target=self._run, args=arguments, name="gaussmix-studio", daemon=True)
            self._threads = [*(each for each in self._threads if each.is_alive()), thread]
            thread.start()
            job.changed()
        for place, job in enumerate(self._waiting):
            before = place + len(self._running)
            if before != job.before:
                job.before = before
                job.changed()

    def _run(
        self, job: Job, work: Callable[[Progress], Any], progress: Progress, loop: asyncio.AbstractEventLoop
    ) -> None:
        """In the job's thread."""
        result, error = None, None
        try:
            result = work(progress)
        except BaseException as raised:
            error = raised
        try:
            loop.call_soon_threadsafe(self._ended, job, result, error)
        except RuntimeError:  # the loop has closed: nobody waits any more
            return

    def _ended(self, job: Job, result: Any, error: BaseException | None) -> None:
        self._running.remove(job)
        if job.stopping.is_set():
            job.end("cancelled", error=CancelledWorkError(f"{job.title} was cancelled"))
        elif error is None:
            job.share = 1.0
            job.end("done", result)
        else:
            if not isinstance(error, ValueError | OSError):
                _log.error("%s failed: %s", job.title, error, exc_info=error)
            job.end("failed", error=error if isinstance(error, Exception) else RuntimeError(str(error)))
        self._advance()
