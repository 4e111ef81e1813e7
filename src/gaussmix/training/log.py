"""Where a run's numbers go: ``metrics.jsonl``, TensorBoard if it is installed, and a progress bar."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def progress_bar(*columns: ProgressColumn, console: Console | None = None, disable: bool = False) -> Progress:
    """A bar on standard error with elapsed and remaining time; ``columns`` come after the percentage."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        *columns,
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console or Console(stderr=True),
        disable=disable,
    )


class MetricsLog:
    """One JSON object a line, each with its ``step``. Opened at ``first_step``, it forgets what a killed run wrote
    after the checkpoint it continues from."""

    def __init__(self, folder: str | Path, first_step: int = 0):
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "metrics.jsonl"
        kept = [line for line in _whole_lines(path) if json.loads(line)["step"] <= first_step] if first_step else []
        self._file = path.open("w")
        self._file.writelines(line + "\n" for line in kept)
        self._file.flush()
        self._board = _summary_writer(folder / "tensorboard", first_step)

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


def _whole_lines(path: Path) -> list[str]:
    """The lines of a file that are complete JSON; a killed process may have left half a line at the end."""
    if not path.exists():
        return []
    lines = []
    for line in path.read_text().splitlines():
        try:
            json.loads(line)
        except json.JSONDecodeError:
            break
        lines.append(line)
    return lines


def _summary_writer(folder: Path, first_step: int):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=first_step or None)


class TrainingBar:
    """The progress bar of a training run: loss, images per second, time left (by steps or by minutes)."""

    def __init__(self, total: float, done: float, *, disable: bool = False):
        self._bar = progress_bar(
            TextColumn("loss {task.fields[loss]:.4f}"), TextColumn("{task.fields[rate]:.1f} images/s"), disable=disable
        )
        self._task: TaskID = self._bar.add_task("training", total=total, completed=done, loss=float("nan"), rate=0.0)

    def __enter__(self) -> TrainingBar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, done: float, loss: float, rate: float) -> None:
        self._bar.update(self._task, completed=done, loss=loss, rate=rate)

    def print(self, text: str) -> None:
        self._bar.console.print(text, highlight=False, markup=False)
