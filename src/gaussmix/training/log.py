"""Where a run's numbers go: ``metrics.jsonl``, TensorBoard if it is installed, and a progress bar."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from gaussmix._files import whole_file

_PARTS = 1_000_000  # rich counts in whole numbers
_LINE_EVERY = 30.0  # seconds


class MetricsLog:
    """One JSON object a line, each with its ``step``. Opened at ``first_step``, it forgets what a killed run wrote
    after the checkpoint it continues from."""

    def __init__(self, folder: str | Path, first_step: int = 0):
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "metrics.jsonl"
        kept = []
        for line in path.read_text().splitlines() if first_step and path.exists() else ():
            try:
                step = json.loads(line)["step"]
            except json.JSONDecodeError:  # a killed process may have left half a line at the end
                break
            if step <= first_step:
                kept.append(line)
        with whole_file(path) as aside:  # a kill while the curve is copied does not lose it
            aside.write_text("".join(line + "\n" for line in kept))
        self._file = path.open("a")
        try:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step or None)
        except ImportError:
            self._board = None

    def write(self, step: int, **values: float) -> None:
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()


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
        self._task: TaskID = self._bar.add_task("training", total=_PARTS, step=0, loss=float("nan"), rate=0.0)
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
