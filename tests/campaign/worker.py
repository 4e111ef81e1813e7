"""A process that makes tries and says how each went, a line of JSON on standard output; `run` watches it.

Arguments: a folder of its own, the number to begin with, the place in the list of readers, and names, if not all.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import resource
import sys
import warnings
from dataclasses import asdict
from itertools import dropwhile
from pathlib import Path
from typing import TextIO

from campaign.readers import READERS
from campaign.tries import Outcome, Tries, schedule

ROOM = 8 << 30  # bytes of addresses beyond those in use: the machine is not to suffer


def main(folder: Path, first: int, skip: int, names: list[str]) -> None:
    """Make tries until the process is ended."""
    faulthandler.enable()
    readers = [reader for reader in READERS if not names or reader.name in names]
    told, quiet = os.fdopen(os.dup(1), "w"), os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)  # what libraries in C print
    made: dict[str, Tries] = {}
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limited = False
        order = dropwhile(lambda each: each[1] == first and readers.index(each[0]) < skip, schedule(readers, first))
        for reader, n in order:
            if reader.name not in made:
                made[reader.name] = Tries(reader, folder / reader.name.replace(" ", "-"))
                _tell(told, {"whole": reader.name, "place": readers.index(reader), "n": n})
                outcome = made[reader.name].check()
                if outcome.kind != "right":
                    _tell(told, {"broken": reader.name, "said": outcome.said})
                    return
            if not limited and len(made) == len(readers):
                _limit_memory()
                limited = True
            _tell(told, {"start": reader.name, "place": readers.index(reader), "n": n})
            outcome = _one(made[reader.name], n)
            _tell(told, {"reader": reader.name, "n": n, **asdict(outcome)})


def _one(tries: Tries, n: int) -> Outcome:
    name, data = tries.damage(n)
    return tries.run(name, data)


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    if pages:
        most = pages * resource.getpagesize() + ROOM
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _tell(told: TextIO, facts: dict[str, object]) -> None:
    told.write(json.dumps(facts) + "\n")
    told.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
