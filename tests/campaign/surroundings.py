"""What surrounds a process: full disks, four starts at once, caches that cannot be written to, no home, signals.

python -m campaign.surroundings [NAME ...] [--write]     in tests/; prints a table, ends with status 1 for faults

Each command is a process of its own. Full disks and read-only folders are tmpfs where mounting is allowed; elsewhere
(said in the table) a limit of the size of files and a folder without the right to write stand in for them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from campaign import page
from campaign.files import TINY, without_bars
from data.layouts import write_image_folder

SOURCE = Path(__file__).resolve().parents[2] / "src"
ROOMS = (0, 8, 40, 200, 1000)  # KiB that are left on a full disk
SIGNALS = 10  # of each kind, for each command


@dataclass
class Bench:
    """A folder with what the commands need, what they print, and the rows of the table."""

    root: Path
    rows: list[str] = field(default_factory=list)
    faults: int = 0

    def __post_init__(self):
        np.save(self.root / "a.npy", np.random.default_rng(0).normal(50, 10, 20_000))
        write_image_folder(self.root / "pictures", [f"{i}.png" for i in range(10)])

    def environment(self, **changes: str) -> dict[str, str]:
        caches = {name: str(self.root / "cache") for name in ("GAUSSMIX_CACHE", "NUMBA_CACHE_DIR")}
        usual = {name: value for name, value in os.environ.items() if name != "GAUSSMIX_DEBUG"}
        return {**usual, "PYTHONPATH": str(SOURCE), "HF_HUB_OFFLINE": "1", **caches, **changes}

    def start(
        self, words: list[str], env: dict[str, str] | None = None, room: int | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        """A command's process, as from a terminal; its files end after ``room`` bytes."""

        def prepare() -> None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # which a shell ignores for what it runs behind
            if room is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

        command = [sys.executable, "-m", "gaussmix", *words]
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=env or self.environment(), preexec_fn=prepare, **pipes, **options)

    def run(self, words: list[str], env: dict[str, str] | None = None, **options: Any) -> tuple[int, list[str]]:
        process = self.start(words, env, **options)
        return ended(process)

    def say(self, where: str, outcome: str, *faults: str) -> None:
        """Add a row; faults that are empty are none."""
        found = "; ".join(filter(None, faults))
        self.faults += bool(found)
        self.rows.append(f"| {where} | {outcome} | {found or 'none'} |")
        print(self.rows[-1], flush=True)

    def fit(self, folder: Path) -> list[str]:
        return ["density", "fit", str(self.root / "a.npy"), "-o", str(folder / "a.safetensors")]

    def train(self, folder: Path, steps: int = 6) -> list[str]:
        data = ["--data", str(self.root / "pictures"), "--output", str(folder / "run")]
        return ["faces", "train", *data, "--steps", str(steps), "--keep-checkpoints", "1", *TINY, "--resume"]


def ended(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """The exit status, and the lines on standard error but for progress bars."""
    _, said = process.communicate(timeout=600)
    return process.returncode, without_bars(said)


def digest(folder: Path, pattern: str = "*.safetensors") -> str:
    """Of the bytes of the files below a folder, by name."""
    files = sorted(path for path in folder.rglob(pattern) if path.is_file())
    said = [(str(path.relative_to(folder)), hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]
    return hashlib.sha256(repr(said).encode()).hexdigest()[:12] if files else "nothing"


def left_behind(folder: Path) -> str:
    """Files of an interrupted writer."""
    hidden = [str(path.relative_to(folder)) for path in folder.rglob(".*") if path.name != ".lock"]
    return f"left behind: {', '.join(hidden[:3])}" if hidden else ""


def one_line(status: int, said: list[str], *statuses: int) -> str:
    """What is wrong with an error."""
    if any("Traceback" in line or "fault of gaussmix" in line for line in said):
        return "traceback"
    if status not in statuses or (status and len(said) != 1):
        return f"status {status}, {len(said)} lines"
    return ""


@contextlib.contextmanager
def mounted(place: Path, options: str) -> Iterator[bool]:
    """A tmpfs, where mounting is allowed; false otherwise."""
    place.mkdir(exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    done = shutil.which("mount") and subprocess.run(words, check=False, capture_output=True).returncode == 0
    try:
        yield bool(done)
    finally:
        if done:
            subprocess.run(["umount", "-l", str(place)], check=True)


def full_disk(bench: Bench) -> None:
    """A model and a run are there, and then so many KiB are left: a command ends in a line, and they are as before.

    With room again, the run goes on and ends as one that was never disturbed.
    """
    whole, kernel = bench.root / "unbroken", ["--components", "64", "--rule", "kernel"]
    for words in (bench.train(whole, 4), bench.train(whole), [*bench.fit(whole), *kernel]):
        assert bench.run(words)[0] == 0
    for room in ROOMS:
        place = bench.root / "small"
        with mounted(place, "size=64m") as real:
            for words in (bench.train(place, 4), bench.fit(place)):
                assert bench.run(words)[0] == 0
            options: dict[str, Any] = {} if real else {"room": room << 10}
            if real:
                _fill(place / "filler", room)
            disk = f"{'tmpfs' if real else 'limit of files'} with {room} KiB left"
            for name, words, part in (
                ("density fit", [*bench.fit(place), *kernel], "a.safetensors"),
                ("density plot", ["density", "plot", str(place / "a.safetensors"), "-o", str(place / "a.png")], "a.*s"),
                ("faces train", bench.train(place), "run/checkpoints/*/*.safetensors"),
            ):
                before = digest(place, part)
                status, said = bench.run(words, **options)
                kept = status == 0 or digest(place, part) == before
                lost = "" if kept else "what was there has changed"
                if name == "faces train" and digest(place, part) == "nothing":
                    lost = "no checkpoint is left"
                elif name == "faces train":
                    lost = ""  # a later step may have been saved
                hidden = left_behind(place) if name != "faces train" else ""
                bench.say(f"{name}, {disk}", _short(status, said), one_line(status, said, 0, 1, 2), lost, hidden)
            (place / "filler").unlink(missing_ok=True)
            status, said = bench.run(bench.train(place))
            same = digest(place / "run") == digest(whole / "run")
            bench.say(
                f"faces train --resume, room again ({disk})",
                _short(status, said),
                "" if status == 0 else "it does not go on",
                "" if same else "other weights",
                left_behind(place),
            )
        shutil.rmtree(place, ignore_errors=True)


def _fill(path: Path, room: int) -> None:
    """Fill a disk but for so many KiB."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(1 << 10))
    os.truncate(path, max(0, path.stat().st_size - (room << 10)))


def _short(status: int, said: list[str]) -> str:
    text = re.sub(r"/\S*/(?=[^/\s]*)", "", said[-1].removeprefix("gaussmix: ")).replace("|", "\\|") if said else ""
    return f"status {status}" + (f": {text[:90]}" if text else "")


def four_at_once(bench: Bench) -> None:
    """On empty caches, of compiled loops and of pictures: each answers as one alone does, and nothing is left over."""
    for name, make in (("density fit", bench.fit), ("faces train", bench.train)):
        alone = bench.root / f"alone-{name}"
        assert bench.run(make(alone))[0] == 0
        cache = str(bench.root / f"empty-{name}")
        env = bench.environment(GAUSSMIX_CACHE=cache, NUMBA_CACHE_DIR=cache)
        places = [bench.root / f"four-{name}-{i}" for i in range(4)]
        outcomes = [ended(each) for each in [bench.start(make(place), env) for place in places]]
        same = all(digest(place) == digest(alone) for place in places)
        bench.say(
            f"{name}, four at once on an empty cache",
            f"statuses {', '.join(str(status) for status, _ in outcomes)}",
            "" if all(status == 0 for status, _ in outcomes) else f"fails: {outcomes}",
            "" if same else "other bytes",
            left_behind(Path(cache)),
        )


def no_place(bench: Bench) -> None:
    """Caches on a disk that is read only, and a user without a home."""
    place = bench.root / "read-only"
    with mounted(place, "ro,size=1m") as real:
        if not real:
            place.chmod(0o500)
        cache = f"a {'tmpfs' if real else 'folder'} that is read only"
        env = bench.environment(GAUSSMIX_CACHE=str(place), NUMBA_CACHE_DIR=str(place))
        for name, make in (("density fit", bench.fit), ("faces train", bench.train)):
            status, said = bench.run(make(bench.root / f"read-only-{name}"), env)
            lines = [line for line in said if "compil" not in line]
            wrong = one_line(status, lines, 0, 1, 2) if status or any("Traceback" in line for line in said) else ""
            bench.say(f"{name}, caches on {cache}", _short(status, said), wrong)
    bare = bench.environment()
    for each in ("HOME", "GAUSSMIX_CACHE", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        bare.pop(each, None)
    nobody: dict[str, Any] = {"user": 54321, "group": 54321, "extra_groups": []}
    try:
        subprocess.run([sys.executable, "-c", ""], check=True, **nobody)
        unnamed = [("no HOME, a user without a name", bare, nobody)]
    except (OSError, subprocess.CalledProcessError):  # not root, or a Python that only its owner may run
        unnamed = []
    for where, env, options in (
        ("HOME is not there", {**bare, "HOME": "/nowhere/at/all"}, {}), ("no HOME", bare, {}), *unnamed
    ):  # fmt: skip
        for name, make in (("density fit", bench.fit), ("faces train", bench.train)):
            folder = bench.root / f"{where} {name}".replace(" ", "-")
            folder.mkdir()
            folder.chmod(0o777)
            status, said = bench.run(make(folder), env, **options)
            wrong = "" if status == 0 else f"fails: {said[-1:]}"
            bench.say(f"{name}, {where}", _short(status, said), wrong, left_behind(folder))


def signals(bench: Bench) -> None:
    """Ctrl-C and SIGTERM at random instants, from the first on: the same command ends as one that was undisturbed.

    A negative status is the own end of a signal, without a word: of SIGINT before Python has begun, of SIGTERM
    where no training is to be saved.
    """
    chance = random.Random(0)
    for name, make in (("density fit", bench.fit), ("faces train", bench.train)):
        whole, lasts = bench.root / f"whole-{name}", 0.0
        for folder in (bench.root / f"first-{name}", whole):  # the first compiles
            started = time.monotonic()
            assert bench.run(make(folder))[0] == 0
            lasts = time.monotonic() - started
        for kind, allowed in ((signal.SIGINT, (0, 130)), (signal.SIGTERM, (0, 130))):
            outcomes: dict[str, int] = {}
            faults = []
            for i in range(SIGNALS):
                folder = bench.root / f"{kind.name}-{name}-{i}"
                process = bench.start(make(folder))
                time.sleep(0.1 + chance.random() * lasts)
                process.send_signal(kind)
                status, said = ended(process)
                outcomes[f"status {status}"] = outcomes.get(f"status {status}", 0) + 1
                wrong = one_line(status, said, *allowed) if status >= 0 else "; ".join(said)
                again, last = bench.run(make(folder))
                wrong = wrong or ("" if again == 0 else f"it does not go on: {last[-1:]}")
                wrong = wrong or ("" if digest(folder) == digest(whole) else "other bytes")
                faults += [wrong or left_behind(folder)]
                if wrong:
                    print(wrong, said[-3:], file=sys.stderr)
            said_of = ", ".join(f"{count} with {status}" for status, count in sorted(outcomes.items()))
            bench.say(f"{name}, {kind.name} at {SIGNALS} instants", said_of, *faults)


SCENES: dict[str, Callable[[Bench], None]] = {
    "full-disk": full_disk, "four-at-once": four_at_once, "no-place": no_place, "signals": signals,
}  # fmt: skip


def main() -> int:
    """Print the table; the exit status is 1 for a fault."""
    rows, faults = ["| what | how it ended | faults |", "| --- | --- | --- |"], 0
    for name in [word for word in sys.argv[1:] if word != "--write"] or SCENES:
        with tempfile.TemporaryDirectory() as root:
            Path(root).chmod(0o755)
            bench = Bench(Path(root))
            SCENES[name](bench)
            rows, faults = rows + bench.rows, faults + bench.faults
    print(last := f"\n{faults} faults")
    if "--write" in sys.argv:
        page.write("surroundings", [*rows, f"{last}. {page.versions()}"])
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
