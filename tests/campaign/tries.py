"""One try: a whole file damaged and read, and how that ended.

right      it was read: nothing that matters was damaged, or it means something else now
sentence   one line that names the file
unnamed    an error that does not name the file
fault      any other error, which would be a traceback; of a cache of ours, any error
slow       more than `SLOW` seconds;  large    more than `LARGE` bytes beyond what the process had
crash      the process died, or hung for so long that it was stopped
"""

from __future__ import annotations

import os
import random
import shutil
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from campaign.mutations import damaged
from campaign.readers import Reader, SaidError

GOOD, BAD = ("right", "sentence"), ("unnamed", "fault", "slow", "large", "crash")
SLOW, LARGE = 10.0, 1 << 30


@dataclass(frozen=True)
class Outcome:
    """How a try ended, what was said, and what it took, seconds of the processor and bytes."""

    kind: str
    said: str = ""
    seconds: float = 0.0
    memory: int = 0


class Tries:
    """Tries of one reader in a folder of its own; number ``n`` is always the same."""

    def __init__(self, reader: Reader, folder: Path):
        self.reader, self._whole, self._at = reader, folder / "whole", folder / "now"
        self._whole.mkdir(parents=True)
        reader.make(self._whole)
        self._data = {name: (self._whole / name).read_bytes() for name in reader.files}

    def damage(self, n: int) -> tuple[str, bytes]:
        """The file that try ``n`` damages, and what it is then."""
        rng = random.Random(f"{self.reader.name} {n}")
        name = rng.choice(self.reader.files)
        return name, damaged(self._data[name], rng, list(self._data.values()))

    def run(self, name: str, data: bytes) -> Outcome:
        """Read the whole files but for one, which holds other bytes."""
        shutil.rmtree(self._at, ignore_errors=True)
        shutil.copytree(self._whole, self._at)
        (self._at / name).write_bytes(data)
        os.environ["GAUSSMIX_CACHE"] = str(self._at / "cache-of-this-try")
        before, started = reset_peak(), time.process_time()
        kind, said = self._read(name)
        seconds, memory = time.process_time() - started, peak() - before
        if kind in GOOD and seconds > SLOW:
            kind = "slow"
        if kind in GOOD and memory > LARGE:
            kind = "large"
        return Outcome(kind, said, seconds, memory)

    def check(self) -> Outcome:
        """Read the whole files, which must be right."""
        name = self.reader.files[0]
        return self.run(name, self._data[name])

    def _read(self, name: str) -> tuple[str, str]:
        try:
            self.reader.read(self._at)
        except (ValueError, OSError, MemoryError, ImportError) as error:
            named = str(getattr(error, "filename", None) or error)
            own = isinstance(error, SaidError) or not isinstance(error, ImportError)
            if self.reader.rebuilt or not own:
                return "fault", _short_traceback(error)
            if Path(name).name in named or (self.reader.named and self.reader.named in named):
                return "sentence", str(error)
            return "unnamed", _short_traceback(error)
        except Exception as error:
            return "fault", _short_traceback(error)
        return "right", ""


def _short_traceback(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)[-3:]) + f"{type(error).__name__}: {error}"


def reset_peak() -> int:
    """Bytes in memory now; the peak is counted from here. 0 where the system does not say."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 0
    return _status("VmRSS")


def peak() -> int:
    return _status("VmHWM")


def _status(field: str) -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(field)), 0)


def schedule(readers: list[Reader], first: int) -> Iterator[tuple[Reader, int]]:
    """Readers and numbers of tries without end: the dearer a reader, the more rarely."""
    n = first
    while True:
        yield from ((reader, n) for reader in readers if n % reader.cost == 0)
        n += 1
