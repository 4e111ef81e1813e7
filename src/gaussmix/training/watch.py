"""What is seen of a run on the way: its log, and whether anything is learnt.

A network can fail without a word: a sigmoid that is saturated answers white to everything, and the loss stands still.
The guess is the mean of the data (`Guess` says of what kind); a run whose loss has not come below the guess's after a
quarter of its length, or after `LATEST` steps of a longer run, is stopped with a sentence.
"""

from __future__ import annotations

import json
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gaussmix._files import naming, whole_file

LEAST, LATEST = 300, 20_000
"""Steps before which nothing is said of a run, and after which a long one is judged."""
_SHARE = 0.25
_RECENT = 100


class Guess(NamedTuple):
    """``name`` of the losses' part that is looked at, the guess's ``loss``, ``what`` guesses, and the share ``most`` of
    its loss at which a network counts as having learnt nothing."""

    name: str
    loss: float
    what: str
    most: float


class LossWatch:
    """Takes the loss of every step, and says what is wrong with their mean over the last 100.

    Parameters
    ----------
    guess : Guess or None
        What losses are held against; without one nothing is ever wrong.
    """

    def __init__(self, guess: Guess | None):
        self.guess = guess
        self._recent: deque[float] = deque(maxlen=_RECENT)

    def see(self, value: float) -> None:
        """Take the loss of one more step.

        Parameters
        ----------
        value : float
            Of the part that the guess names.
        """
        self._recent.append(value)

    def complaint(self, step: int, progress: float, *, ended: bool = False) -> str | None:
        """Say what is wrong after so many steps, or return None.

        Parameters
        ----------
        step, progress : int, float
            Steps done, and the finished share of the run.
        ended : bool
            The run is over: it is judged however short it was.
        """
        guess = self.guess
        due = len(self._recent) == _RECENT and step >= LEAST and (progress >= _SHARE or step >= LATEST)
        if guess is None or not self._recent or not (due or ended):
            return None
        loss = float(np.mean(self._recent))
        if loss < guess.most * guess.loss:
            return None
        return f"after {step} steps the {guess.name} loss is {loss:.4g}, and that of {guess.what} is {guess.loss:.4g}"


class MetricsLog:
    """One JSON object a line, each with its ``step``. Opened at ``first_step``, it forgets what a killed run wrote
    after the checkpoint it continues from."""

    def __init__(self, folder: str | Path, first_step: int = 0):
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "metrics.jsonl"
        kept = []
        for line in path.read_text("utf-8", "replace").splitlines() if first_step and path.exists() else ():
            with suppress(ValueError, TypeError, KeyError, RecursionError):  # a kill may have left half a line
                if json.loads(line)["step"] <= first_step:
                    kept.append(line)
        with whole_file(path) as aside:  # a kill while the curve is copied does not lose it
            aside.write_text("".join(line + "\n" for line in kept), "utf-8")
        self._file = path.open("a", encoding="utf-8")
        try:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step or None)
        except ImportError:
            self._board = None

    def write(self, step: int, **values: float) -> None:
        with naming(Path(self._file.name)):
            self._file.write(json.dumps({"step": step, **values}) + "\n")
            self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        with naming(Path(self._file.name)):
            self._file.close()
        if self._board is not None:
            self._board.close()
