"""A progress bar on standard error: how many are done, how fast, how long still.

It is rich's, with a rate; nothing is drawn unless it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")


@contextmanager
def progress_bar(label: str, total: int, show: bool) -> Iterator[Callable[[int], None]]:
    """Yield a function that sets how many of ``total`` are done; draws nothing unless ``show``.

    The bar goes to standard error: what a command prints stays whole where it is piped on.
    """
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _RateColumn()
    left = TimeRemainingColumn(elapsed_when_finished=True)
    with Progress(*columns, left, console=Console(stderr=True), disable=not show) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.update(task, completed=done)
