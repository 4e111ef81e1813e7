"""Training runs that a page of results is made from: each is trained once, and goes on where it was stopped.

A run lies in ``<folder>/<digest>``, the digest taken over the settings in which it differs from the defaults of its
kind, `DiffusionConfig` or `AutoencoderConfig`, and over the data. So two pages that ask for the same run share it.
What was measured of it may be kept there too.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gaussmix._files import whole_file
from gaussmix.data.base import AttributeDataset
from gaussmix.data.cache import digest
from gaussmix.diffusion.config import DiffusionConfig
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.train import TrainResult, train
from gaussmix.training.run import RunConfig

_WHERE_AND_WHEN = {
    *("output", "resume", "data", "threads", "checkpoint_every", "keep_checkpoints", "guidance", "reader_steps"),
}
"""Settings that do not change what is learnt; the data are told by their key."""
_COST = "cost.json"
Rows = NDArray[np.uint8]


class Keyed(Protocol):
    """Data, named by their content."""

    @property
    def key(self) -> str: ...


@dataclass(frozen=True)
class Curve:
    """The lines of a run's metrics.jsonl, ``(S,)`` each, and the CPU time that it cost, over all sittings.

    ``gradient_norm`` is that of the whole loss, before clipping; NaN where a run did not write a number.
    """

    steps: NDArray[np.int64]
    denoising: NDArray[np.float64]
    gradient_norm: NDArray[np.float64]
    cpu_seconds: float

    @classmethod
    def read(cls, out: Path) -> Curve:
        """From a run's folder."""
        rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        steps = np.array([row["step"] for row in rows], np.int64)
        columns = [[row.get(name, np.nan) for row in rows] for name in ("denoising", "gradient_norm")]
        denoising, gradient_norm = np.array(columns, float)
        return cls(steps, denoising, gradient_norm, cpu_seconds(out))


def run_folder(config: RunConfig, dataset: Keyed, folder: Path) -> Path:
    """Where the run of these settings on these data lies.

    Settings count where they differ from the defaults: a new one, off by default, leaves old runs what they are.
    """
    plain = type(config)().to_dict()
    decisive = {n: v for n, v in config.to_dict().items() if n not in _WHERE_AND_WHEN and v != plain[n]}
    return folder / digest("run", decisive, dataset.key)[:16]


def trained(
    config: DiffusionConfig, dataset: AttributeDataset, folder: Path
) -> tuple[AttributeDiffusionPipeline, Curve]:
    """The model and the curve of one run, trained now, trained further, or read if it is finished.

    ``config.output`` and ``config.resume`` are set here.

    Raises KeyboardInterrupt after Ctrl-C or SIGTERM, once a checkpoint is written; ValueError if the folder holds a
    run with other settings.
    """
    out = run_folder(config, dataset, folder)
    config = replace(config, output=out, resume=True)
    finish(config, out / "model" / "model_index.json", lambda: train(config, dataset, progress=False, sheet=False))
    return AttributeDiffusionPipeline.load(out), Curve.read(out)


def finish(config: RunConfig, last: Path, sitting: Callable[[], TrainResult]) -> None:
    """Have ``sitting`` bring a run to its end unless ``last``, what a run writes at its end, is there; note its cost.

    Raises as `trained`.
    """
    if last.is_file():
        _check_settings(config, config.output)
    else:
        before = time.process_time()
        result = sitting()
        total = cpu_seconds(config.output) + time.process_time() - before
        (config.output / _COST).write_text(json.dumps({"cpu_seconds": round(total, 1)}) + "\n")
        if result.interrupted:
            raise KeyboardInterrupt
    shutil.rmtree(config.output / "checkpoints", ignore_errors=True)  # a finished run goes on no more


def cpu_seconds(out: Path) -> float:
    """What the run in this folder cost, over all sittings."""
    file = out / _COST
    return json.loads(file.read_text())["cpu_seconds"] if file.is_file() else 0.0


def _check_settings(config: RunConfig, out: Path) -> None:
    """A finished run whose settings were defaults that have changed since is another run."""
    before = json.loads((out / "config.json").read_text())
    now = json.loads(json.dumps(config.to_dict()))
    changed = [n for n in now if n in before and n not in _WHERE_AND_WHEN and now[n] != before[n]]
    if changed:
        pairs = ", ".join(f"{name} was {before[name]} and is {now[name]}" for name in changed)
        raise ValueError(f"{out} holds a run with other settings ({pairs}); remove it to train anew")


def given_folder(path: str) -> Path | None:
    """The folder of a setting that may name an environment variable; None if that is not set."""
    expanded = os.path.expandvars(path)
    return Path(expanded).expanduser() if expanded and "$" not in expanded else None


def kept_arrays(file: Path, make: Callable[[], Mapping[str, Any]]) -> dict[str, NDArray[Any]]:
    """The arrays in ``file``, which is made now if it is not there."""
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        arrays = make()
        with whole_file(file) as aside, aside.open("wb") as stream:
            np.savez(stream, **arrays)
    with np.load(file) as found:
        return dict(found)


@contextmanager
def runs_under(name: str) -> Iterator[Path]:
    """The folder of that name, or one that vanishes afterwards if the name is empty (for quick runs)."""
    if name:
        yield Path(name).expanduser()
        return
    with TemporaryDirectory() as folder:
        yield Path(folder)


def counted(on_step: Callable[[int], None]) -> Callable[[], None]:
    """A function to call after each piece of work, which tells ``on_step`` how many there were."""
    done = 0

    def one_more() -> None:
        nonlocal done
        done += 1
        on_step(done)

    return one_more
