"""The loop around the steps of a trainer: log, bar, checkpoints, pictures, interruption, numbers that are not finite.

What a step is, and what belongs to the state of a run, the trainer says (`Trainable`).

Ctrl-C and SIGTERM end a run after its current step, in all its processes.
"""

from __future__ import annotations

import json
import math
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast

from gaussmix.training.checkpoints import CheckpointStore
from gaussmix.training.log import MetricsLog, TrainingBar
from gaussmix.training.run import RunSettings


@contextmanager
def stop_on_signal() -> Iterator[threading.Event]:
    """Turn Ctrl-C and SIGTERM into an event; a second Ctrl-C stops at once. Does nothing outside the main thread."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(signum: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def anyone_stops(accelerator: Accelerator, stop: threading.Event) -> bool:
    """Whether any process was asked to stop; all must agree, or the others would wait for ever."""
    if accelerator.num_processes == 1:
        return stop.is_set()
    flag = torch.tensor(float(stop.is_set()), device=accelerator.device)
    total: Any = accelerator.reduce(flag, "sum")
    return float(total) > 0


class TrainingError(RuntimeError):
    """A run that cannot go on: one line with the step and what is left of it."""


@dataclass(frozen=True)
class TrainResult:
    """How a run ended. An interrupted run left a checkpoint, but no model."""

    step: int
    interrupted: bool
    model: Path | None
    samples: Path | None


class StepLosses(Protocol):
    """The losses of a step, on the device; ``total`` is the one to watch, ``numbers()`` go to the log."""

    @property
    def total(self) -> torch.Tensor: ...
    def numbers(self) -> dict[str, float]: ...


class Trainable(Protocol):
    """What the loop needs of a trainer.

    ``steps()`` trains until ``progress()`` is 1 and after each step yields the losses and the gradient's norm, on the
    device; ``tensors()`` are the state that a checkpoint holds.
    """

    step: int
    seconds: float

    @property
    def config(self) -> RunSettings: ...
    @property
    def accelerator(self) -> Accelerator: ...
    @property
    def optimizer(self) -> Any: ...
    @property
    def images_per_step(self) -> int: ...
    @property
    def data_key(self) -> str: ...
    def progress(self) -> float: ...
    def steps(self) -> Iterator[tuple[StepLosses, torch.Tensor]]: ...
    def tensors(self) -> dict[str, dict[str, torch.Tensor]]: ...


def finished_share(config: RunSettings, step: int, seconds: float, device: torch.device) -> float:
    """The finished share of a run: by steps or by minutes, whichever is further."""
    by_steps = step / config.steps
    if config.minutes is None:
        return by_steps
    by_time: Any = torch.tensor(seconds / (60 * config.minutes), device=device)
    by_time = broadcast(by_time)  # all processes go by the first one's clock
    return max(by_steps, float(by_time))


def run_steps(
    trainer: Trainable, store: CheckpointStore, draw: Callable[[Path], object], *, progress: bool = True
) -> bool:
    """Train to the end of the run, writing to ``config.out``; True if Ctrl-C or SIGTERM ended it before.

    Either way the last step has a checkpoint. ``draw`` makes the picture of ``config.sample_every``.

    Raises TrainingError if the loss or a gradient is no longer finite.
    """
    config = trainer.config
    main = trainer.accelerator.is_main_process
    if main:
        config.out.mkdir(parents=True, exist_ok=True)
        (config.out / "config.json").write_text(json.dumps(config.to_dict(), indent=1) + "\n")
    log = MetricsLog(config.out, trainer.step) if main else None
    try:
        with (
            stop_on_signal() as stop,
            TrainingBar(trainer.progress(), disable=not (main and progress)) as bar,
        ):
            _loop(trainer, store, draw, log, bar, stop)
    finally:
        if log is not None:
            log.close()
    return stop.is_set()


def _loop(
    trainer: Trainable,
    store: CheckpointStore,
    draw: Callable[[Path], object],
    log: MetricsLog | None,
    bar: TrainingBar,
    stop: threading.Event,
) -> None:
    config = trainer.config
    # Reading a number off a GPU waits for it, so there the losses are looked at in groups.
    look_every = 1 if trainer.accelerator.device.type == "cpu" else min(10, config.log_every)
    unseen: list[tuple[int, StepLosses, torch.Tensor]] = []
    recent: deque[float] = deque(maxlen=100)
    since, since_step = perf_counter(), trainer.step

    def look() -> None:
        for step, losses, norm in unseen:
            _check_finite(step, losses.total, norm, store, config)
            recent.append(float(losses.total))
        unseen.clear()

    for losses, norm in trainer.steps():
        step = trainer.step
        unseen.append((step, losses, norm))
        logging, saving = step % config.log_every == 0, step % config.checkpoint_every == 0
        stopping = anyone_stops(trainer.accelerator, stop)
        if step % look_every == 0 or logging or saving or stopping:
            look()
            rate = (step - since_step) * trainer.images_per_step / max(1e-9, perf_counter() - since)
            bar.update(trainer.progress(), step, float(np.mean(recent)), rate)
            if logging and log is not None:
                learning_rate = trainer.optimizer.param_groups[0]["lr"]
                log.write(
                    step,
                    **losses.numbers(),
                    gradient_norm=float(norm),
                    learning_rate=learning_rate,
                    images_per_second=rate,
                    seconds=trainer.seconds,
                )
            if perf_counter() - since > 10:
                since, since_step = perf_counter(), step
        if saving or stopping:
            _save_checkpoint(trainer, store)
        if stopping:
            stop.set()
            return
        if config.sample_every and step % config.sample_every == 0 and trainer.accelerator.is_main_process:
            draw(config.out / "samples" / f"step-{step:08d}.png")
    look()
    _save_checkpoint(trainer, store)


def _check_finite(
    step: int, loss: torch.Tensor, norm: torch.Tensor, store: CheckpointStore, config: RunSettings
) -> None:
    if math.isfinite(float(loss)) and math.isfinite(float(norm)):
        return
    paths = store.paths()
    good = f"the last good checkpoint is {paths[-1]}" if paths else "there is no checkpoint yet"
    raise TrainingError(
        f"the loss or its gradient became {float(loss) + 0 * float(norm)} at step {step}; {good}. "
        f"Try a smaller --learning-rate (it is {config.learning_rate:g})"
    )


def _save_checkpoint(trainer: Trainable, store: CheckpointStore) -> None:
    trainer.accelerator.wait_for_everyone()
    if trainer.accelerator.is_main_process:
        state = {
            "seconds": trainer.seconds,
            "config": trainer.config.to_dict(),
            "dataset": trainer.data_key,
            "processes": trainer.accelerator.num_processes,
        }
        store.save(trainer.step, trainer.tensors(), state)
