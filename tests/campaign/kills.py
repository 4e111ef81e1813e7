"""The kill campaign: work is stopped at named crash points and at random instants, goes on, and must end as unbroken.

    python -m campaign.kills SCENARIO[=POINTS] ... [--instants N] [--write]     in tests/, or with tests/ on PYTHONPATH

A crash point is a call by which files appear, change their names or go (Python announces each as an audit event); the
process ends just before it, as by SIGKILL. A scenario is work on a folder that can be started and gone on with by the
same call. What is saved in a new way joins a scenario, or becomes one: an entry of `SCENARIOS`.

Each try is a fork of one process that has imported everything. Prints a JSON object: tries, and what went wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from campaign import page

TESTS = Path(__file__).parents[1]
_EVENTS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree"}
_KILLED = 137


@dataclass(frozen=True)
class Scenario:
    """``work(folder)`` starts or goes on; ``outcome(folder)`` is compared; ``inspect(folder, step)`` looks at what a
    kill left, ``step`` being the last that was saved before it. ``imports`` are the slow ones, done once; what compiles
    or imports more is worked once before the forks (``warm``)."""

    work: Callable[[Path], object]
    imports: str
    outcome: Callable[[Path], str] = field(default=lambda folder: digest_of(folder))
    prepare: Callable[[Path], object] = lambda _folder: None
    inspect: Callable[[Path, int], object] = lambda _folder, _step: None
    warm: bool = False


def digest_of(folder: Path, pattern: str = "*.safetensors") -> str:
    """Of the names and the bytes of the files below a folder."""
    files = sorted(folder.rglob(pattern))
    assert files, f"no {pattern} in {folder}"
    parts = [(str(path.relative_to(folder)), hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def whole_checkpoints(folder: Path, step: int) -> None:
    """The newest checkpoint that was saved is there, or a later one."""
    from gaussmix.training.checkpoints import CheckpointStore

    newest = CheckpointStore(folder / "checkpoints").latest()
    found = -1 if newest is None else newest.step
    assert found >= step, f"step {step} was saved, and {found} is left"


def _diffusion(folder: Path, steps: int = 6, **settings: Any) -> None:
    from tiny import squares_dataset, tiny_config

    from gaussmix.diffusion.train import train

    settings = {"checkpoint_every": 2, "keep_checkpoints": 1, **settings}
    train(tiny_config(folder, steps=steps, resume=True, **settings), squares_dataset(), progress=False, sheet=False)


def _transformer(folder: Path) -> None:
    _diffusion(folder, network="transformer", grid=2, numbers=8, overlap=2, width=16, heads=2, depth=1)


def _model_loads(folder: Path, step: int) -> None:
    from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline

    whole_checkpoints(folder, step)
    AttributeDiffusionPipeline.load(folder)


def _autoencoder(folder: Path) -> None:
    from autoencoder.digits import digits_dataset, tiny_config

    from gaussmix.autoencoder.train import train

    config = tiny_config(folder, steps=6, checkpoint_every=2, keep_checkpoints=1, resume=True)
    train(config, digits_dataset(count=100), progress=False, sheet=False)


def _stores(folder: Path) -> None:
    """What trainings save with, without the training: a model beside it, each step once, and the last twice."""
    import torch

    from gaussmix.training.checkpoints import CheckpointStore, mend, save_whole_folder

    store = CheckpointStore(folder / "checkpoints", keep=1)
    mend(folder)
    newest = store.latest()
    for step in range(1 if newest is None else newest.step, 5):
        store.save(step, {"unet": {"w": torch.full((3,), float(step))}}, {"seconds": 1.0})

        def write(aside: Path, step: int = step) -> None:
            (aside / "unet").mkdir(parents=True)
            for name in ("unet/config.json", "weights.safetensors"):
                (aside / name).write_text(str(step))

        save_whole_folder(folder / "model", write)


def _stores_left(folder: Path, step: int) -> None:
    whole_checkpoints(folder, step)
    places = [place for place in (folder / "model", folder / ".replaced-model") if place.is_dir()]
    if step > 1:
        assert places, "the model of an earlier step is gone"
        assert len({path.read_text() for path in places[0].rglob("*") if path.is_file()}) == 1


def _density(folder: Path) -> None:
    import numpy as np

    from gaussmix.cli import main

    folder.mkdir(exist_ok=True)
    data = folder / "a.npy"
    np.save(data, np.random.default_rng(0).normal(size=500))
    assert main(["density", "fit", str(data), "-o", str(folder / "a.safetensors")]) == 0
    assert main(["table", "fit", str(data), "-o", str(folder / "a.gmx")]) == 0


def _style(folder: Path) -> None:
    from gaussmix.cli import main

    words = ["style", "fit", str(folder / "a.png"), "--weights", str(folder / "v.pth"), "--crops", "4"]
    assert main([*words, "-o", str(folder / "style.safetensors")]) == 0


def _style_inputs(folder: Path) -> None:
    import numpy as np
    import torch
    from PIL import Image

    from gaussmix.style.vgg import STYLE_LAYERS, VGG19Features

    folder.mkdir(exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8)).save(folder / "a.png")
    torch.save(VGG19Features.random(width=1, layers=STYLE_LAYERS).state_dict(), folder / "v.pth")


SCENARIOS = {
    "stores": Scenario(_stores, "gaussmix.training.checkpoints", inspect=_stores_left),
    "diffusion": Scenario(_diffusion, "tiny gaussmix.diffusion.train", inspect=whole_checkpoints),
    "transformer": Scenario(_transformer, "tiny gaussmix.diffusion.train", inspect=whole_checkpoints),
    "more-steps": Scenario(
        _diffusion,
        "tiny gaussmix.diffusion.train",
        prepare=lambda folder: _diffusion(folder, steps=3),
        inspect=_model_loads,
    ),
    "autoencoder": Scenario(_autoencoder, "autoencoder.digits gaussmix.autoencoder.train", inspect=whole_checkpoints),
    "density": Scenario(_density, "gaussmix.cli.density gaussmix.cli.table", warm=True),
    "style": Scenario(_style, "gaussmix.cli.style gaussmix.style.expansion gaussmix.style.vgg", prepare=_style_inputs),
}


class _Hook:
    """Counts crash points in a folder, writes their names, and ends the process before number ``stop``."""

    def __init__(self, folder: Path, names: Path, stop: int | None):
        self.folder, self.stop, self.count = str(folder), stop, 0
        self.names = os.open(names, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _EVENTS or (event == "open" and not (isinstance(arguments[2], int) and arguments[2] & 3)):
            return
        paths = [os.fspath(each) for each in arguments[:2] if isinstance(each, str | os.PathLike)]
        if not paths or not str(paths[0]).startswith(self.folder):
            return
        if self.count == self.stop:
            os._exit(_KILLED)
        name = re.sub(r"gm-[\w-]+", "gm", " ".join(os.path.relpath(each, self.folder) for each in map(str, paths)))
        os.write(self.names, f"{event} {name}\n".encode())
        self.count += 1


def _remember_steps(file: Path) -> None:
    """Has each step that a `CheckpointStore` has saved written down."""
    from gaussmix.training.checkpoints import CheckpointStore

    save = CheckpointStore.save

    def saving(self: CheckpointStore, step: int, *rest: Any) -> Path:
        path = save(self, step, *rest)
        file.with_suffix(".new").write_text(str(step))
        file.with_suffix(".new").replace(file)  # whole, whenever the end comes
        return path

    CheckpointStore.save = saving  # pyright: ignore[reportAttributeAccessIssue]


def start(work: Callable[[Path], object], folder: Path, beside: Path, stop: int | None = None) -> int:
    """Fork a process that works on a folder, up to crash point ``stop``; returns its number."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        sink = os.open(beside / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        os.fsync = lambda _descriptor: None  # no power is cut
        _remember_steps(beside / "step")
        sys.addaudithook(_Hook(folder, beside / "names", stop))
        work(folder)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def ended(child: int) -> int:
    """The exit status of a child, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Campaign:
    """Tries of one scenario in a folder of its own."""

    def __init__(self, scenario: Scenario, root: Path):
        self.scenario, self.root, self.tries = scenario, root, 0
        self.failures: list[str] = []
        for name in scenario.imports.split():
            importlib.import_module(name)
        if scenario.warm:
            with contextlib.redirect_stdout(sys.stderr):
                scenario.work(root / "warm")
        folder, beside = self._fresh()
        started = time.perf_counter()
        assert ended(start(scenario.work, folder, beside)) == 0, (beside / "output").read_text()
        self.seconds = time.perf_counter() - started
        self.expected = scenario.outcome(folder)
        self.names = (beside / "names").read_text().splitlines()

    def _fresh(self) -> tuple[Path, Path]:
        folder, beside = self.root / "work", self.root / "beside"
        for each in (folder, beside):
            shutil.rmtree(each, ignore_errors=True)
        beside.mkdir(parents=True)
        assert ended(start(self.scenario.prepare, folder, self.root)) == 0, (self.root / "output").read_text()
        return folder, beside

    def kill_at(self, number: int) -> None:
        """Stop before a crash point."""
        folder, beside = self._fresh()
        status = ended(start(self.scenario.work, folder, beside, number))
        self._look(f"before {self.names[number]}", status == _KILLED, folder, beside)

    def kill_after(self, seconds: float) -> None:
        """Stop by SIGKILL."""
        folder, beside = self._fresh()
        child = start(self.scenario.work, folder, beside)
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        self._look(f"after {seconds:.3f} s", ended(child) in (0, -signal.SIGKILL), folder, beside)

    def _look(self, where: str, stopped: bool, folder: Path, beside: Path) -> None:
        self.tries += 1
        try:
            assert stopped, "it did not stop there"
            step = beside / "step"
            self.scenario.inspect(folder, int(step.read_text()) if step.exists() else -1)
            assert ended(start(self.scenario.work, folder, beside)) == 0, "it does not go on"
            assert self.scenario.outcome(folder) == self.expected, "it ended otherwise"
            left = [str(path.relative_to(folder)) for path in folder.rglob(".*")]
            assert not left, f"left behind: {', '.join(left)}"
        except Exception as error:
            said = (beside / "output").read_text()[-500:] if (beside / "output").exists() else ""
            self.failures.append(f"{where}: {error!r} {said}")


def spread(count: int, most: int | None) -> list[int]:
    """All numbers below ``count``, or ``most`` of them at even distances."""
    return list(range(count)) if most is None or most >= count else [i * count // most for i in range(most)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="+", metavar="SCENARIO[=POINTS]", help="all crash points if not given")
    parser.add_argument("--instants", type=int, default=0, help="then kill each at so many random instants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="write the table into docs/campaign.md")
    options = parser.parse_args()
    said: dict[str, dict[str, Any]] = {}
    for word in options.scenarios:
        name, _, points = word.partition("=")
        with tempfile.TemporaryDirectory() as root:
            campaign = Campaign(SCENARIOS[name], Path(root))
            for number in spread(len(campaign.names), int(points) if points else None):
                campaign.kill_at(number)
            chance = random.Random(options.seed)
            for _ in range(options.instants):
                campaign.kill_after(chance.random() * campaign.seconds)
        said[name] = {"tries": campaign.tries, "points": len(campaign.names), "failures": campaign.failures}
    print(json.dumps(said))
    if options.write:
        page.write("kills", [*table(said, options.instants), "", page.versions()])
    return any(each["failures"] for each in said.values())


def table(said: dict[str, dict[str, Any]], instants: int) -> list[str]:
    """The table of the page: kills, and what was found after them."""
    found = {"do not go on": "it does not go on", "checkpoints lost": "is left", "other hashes": "it ended otherwise"}
    lines = [
        f"| work | kills | at calls | at random instants | {' | '.join(found)} | other faults |",
        "|" + " --- |" * 8,
    ]
    sums = [0] * 7
    for name, each in said.items():
        faults = [sum(words in fault for fault in each["failures"]) for words in found.values()]
        row = [each["tries"], each["tries"] - instants, instants, *faults, len(each["failures"]) - sum(faults)]
        sums = [a + b for a, b in zip(sums, row, strict=True)]
        lines.append(f"| {name} | {' | '.join(map(str, row))} |")
    return [*lines, f"| **all** | {' | '.join(map(str, sums))} |"]


if __name__ == "__main__":
    sys.exit(main())
