"""Progress bars on standard error, or below a notebook's cell: how many are done, how fast, how long still.

They are rich's, with a rate; nothing is drawn unless it is asked for. In a notebook rich's bars need widgets that may
not be installed; a browser has a bar of its own. Who shows progress elsewhere, as on a page, hears of it by `watched`.
"""

from __future__ import annotations

import html
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

_PARTS = 1_000_000  # rich counts in whole numbers
_LINE_EVERY = 30.0  # seconds
_REDRAWN = 0.2  # seconds, at least, until a notebook's bar is drawn anew
_watcher: ContextVar[Callable[[float | None, str], None] | None] = ContextVar("_watcher", default=None)


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")


@contextmanager
def watched(tell: Callable[[float | None, str], None]) -> Iterator[None]:
    """Call ``tell(share, what)`` with the progress of every `progress_bar` inside; what it raises stops the work."""
    token = _watcher.set(tell)
    try:
        yield
    finally:
        _watcher.reset(token)


@contextmanager
def progress_bar(label: str, total: int | None, show: bool) -> Iterator[Callable[..., None]]:
    """Yield a function of how many of ``total`` (None: not known) are done, and of what is being done, if that changes.

    Draws nothing unless ``show``. The bar goes to standard error: what a command prints stays whole where it is piped
    on.
    """
    if show and _in_notebook():
        yield _notebook_bar(label, total)
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _RateColumn()
    left = TimeRemainingColumn(elapsed_when_finished=True)
    watcher = _watcher.get()
    with Progress(*columns, left, console=Console(stderr=True), disable=not show) as bar:
        task = bar.add_task(label, total=total)

        def advance(done: int, what: str = "") -> None:
            bar.update(task, completed=done, description=f"{label}: {what}" if what else label)
            if watcher is not None:
                watcher(done / total if total else None, what or label)

        yield advance


def _in_notebook() -> bool:
    """Whether a kernel of Jupyter runs this."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


def _notebook_bar(label: str, total: int | None) -> Callable[..., None]:
    """Show a bar below the cell; the function sets how many are done, and of what."""
    display = importlib.import_module("IPython.display")
    start = last = perf_counter()

    def page(done: int, what: str = "") -> object:
        speed = done / max(perf_counter() - start, 1e-9)
        about = f"{done:,}" + ("" if total is None else f" of {total:,}") + f", {speed:,.0f}/s"
        if total is not None and 0 < done < total:
            about += f", {(total - done) / speed:.0f} s left"
        share = "" if total is None else f' value="{done}" max="{max(total, 1)}"'
        return display.HTML(
            f"{html.escape(f'{label}: {what}' if what else label)} <progress{share}></progress> {about}"
        )

    handle = display.display(page(0), display_id=True)

    def set_done(done: int, what: str = "") -> None:
        nonlocal last
        if done == total or perf_counter() - last >= _REDRAWN:
            last = perf_counter()
            handle.update(page(done, what))

    return set_done


class TrainingBar:
    """The progress of a training run: share done, loss, images per second, time left.

    A bar on a terminal; elsewhere, as in a log file, a line every half minute.
    """

    def __init__(self, done: float, *, disable: bool = False):
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  step {task.fields[step]:,}  loss {task.fields[loss]:.4f}"),
            TextColumn("{task.fields[rate]:.0f} images/s  left"),
            TimeRemainingColumn(),
            console=console,
            disable=disable or not console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=_PARTS, step=0, loss=float("nan"), rate=0.0)
        self._start, self._done_at_start, self._last_line = perf_counter(), done, -_LINE_EVERY
        self._lines = not disable and not console.is_terminal

    def __enter__(self) -> TrainingBar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, done: float, step: int, loss: float, rate: float) -> None:
        """Show the share ``done`` (0 ... 1), the step, the loss and the images per second."""
        self._bar.update(self._task, completed=int(_PARTS * done), step=step, loss=loss, rate=rate)
        elapsed = perf_counter() - self._start
        if self._lines and elapsed - self._last_line >= _LINE_EVERY:
            self._last_line = elapsed
            left = elapsed * (1 - done) / max(1e-9, done - self._done_at_start)
            about = f"step {step:,}  loss {loss:.4f}  {rate:.0f} images/s  {left / 60:.0f} min left"
            print(f"training {done:4.0%}  {about}", file=sys.stderr, flush=True)
