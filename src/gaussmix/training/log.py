"""Where a run's numbers go: ``metrics.jsonl``, and TensorBoard if it is installed."""

from __future__ import annotations

import json
from pathlib import Path

from gaussmix._files import whole_file


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
