"""Trainer: a training run, from what its folder holds to the finished model.

An application says what a step is and what a finished run leaves; the loop around it is here. Ctrl-C and SIGTERM end a
run after the current step, in all its processes, with a checkpoint.

A step is a function of the weights, the optimisers' state and the step's number: whatever is drawn comes from
generators seeded by (seed, step), `gaussmix.training.schedule`. That is why a resumed run is bit-identical to one that
was never interrupted, on the same machine and number of processes.

A run's folder holds ``config.json``, ``checkpoints/``, ``metrics.jsonl``, ``tensorboard/``, ``samples/step-*.png``, and
at the end ``model/`` and what else the application makes of it.
"""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from accelerate.utils import broadcast

from gaussmix._files import sweep, whole_file
from gaussmix._progress import TrainingBar
from gaussmix.training.checkpoints import Checkpoint, CheckpointStore, mend, optimizer_tensors, restore_optimizer
from gaussmix.training.device import make_accelerator
from gaussmix.training.lock import check_free, only_run
from gaussmix.training.run import RunConfig, flag
from gaussmix.training.schedule import warmup_cosine
from gaussmix.training.watch import LEAST, Guess, LossWatch, MetricsLog

LOGGER = logging.getLogger("gaussmix")
ConfigT = TypeVar("ConfigT", bound=RunConfig)
NetworkT = TypeVar("NetworkT", bound=torch.nn.Module)


class TrainingError(RuntimeError):
    """A run that cannot go on: one line with the step and what is left of it."""


@dataclass(frozen=True)
class TrainResult:
    """How a run ended: its last ``step``, the folder of the ``model``, a picture of its ``samples``.

    A run that was ``interrupted``, by Ctrl-C or SIGTERM, left a checkpoint, but no model; processes other than the
    first know of none either.
    """

    step: int
    interrupted: bool = False
    model: Path | None = None
    samples: Path | None = None


@contextmanager
def _stop_on_signal() -> Iterator[threading.Event]:
    """Turns Ctrl-C and SIGTERM into an event; a second Ctrl-C stops at once. Does nothing outside the main thread."""
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


class Trainer(ABC, Generic[ConfigT, NetworkT]):
    """The state of a run: networks, optimisers, step. `run` drives it; `steps` is the bare loop.

    A subclass makes in its constructor ``network`` and ``optimizers``, by the names that their tensors have in a
    checkpoint and with their learning rates after warm-up; and it says how to take one step, to draw and to finish.

    Parameters
    ----------
    config, data_key : RunConfig, str
        The settings, and what names the content of the data.
    accumulate : int
        Batches whose gradients are added up before a step.
    started : float, optional
        `time.perf_counter` when the command began: reading the data counts too. Now if not given.

    Raises
    ------
    ValueError
        If the folder holds another run, or one that is going on, or, with ``config.resume``, one of other settings or
        other data or without a whole checkpoint.
    """

    group = "model"
    """Name of the network's tensors in a checkpoint."""
    draws_untrained = False
    """Whether a picture before the first step says something."""
    guess: Guess | None = None
    """What the loss is held against."""
    network: NetworkT
    optimizers: dict[str, tuple[Any, float]]

    def __init__(self, config: ConfigT, data_key: str, accumulate: int = 1, started: float | None = None):
        self.config, self.data_key = config, data_key
        self._started = perf_counter() if started is None else started
        self._seconds_before = 0.0
        self._since = perf_counter(), process_time()
        self.store = CheckpointStore(config.output / "checkpoints", config.keep_checkpoints)
        if os.environ.get("RANK", "0") == "0":  # the lock is the first process's
            check_free(config.output)
        self.newest = self._newest_checkpoint()
        self._seen: list[Path] | None = self.store.paths()
        self._saved_step = -1 if self.newest is None else self.newest.step
        self.accelerator = make_accelerator(config.threads, config.mixed_precision, accumulate)
        self.images_per_step = config.batch_size * accumulate * self.accelerator.num_processes
        self.step = 0
        self._image_seconds = 0.0  # of training, lately

    @property
    def seconds(self) -> float:
        """By the clock, from the command's beginning on, over all resumed parts."""
        return self._seconds_before + perf_counter() - self._started

    def _newest_checkpoint(self) -> Checkpoint | None:
        """The one to continue from, if there is one and it is asked for."""
        config, output = self.config, self.config.output
        if not config.resume and self.store.paths():
            raise ValueError(f"{output} already holds a run; continue it with --resume or choose another --output")
        checkpoint = self.store.latest() if config.resume else None
        if checkpoint is None:
            return None
        self._check_state(checkpoint)
        # A checkpoint from before a field was added is taken to have had its default.
        now, defaults = (json.loads(json.dumps(each.to_dict())) for each in (config, type(config)()))
        before = defaults | checkpoint.state["config"]
        changed = [name for name in now if name not in config.may_change and now[name] != before[name]]
        if changed:
            flags = ", ".join(f"{flag(name)} was {before[name]} and is {now[name]}" for name in changed)
            raise ValueError(f"cannot resume {output}: {flags}")
        if checkpoint.state["dataset"] != self.data_key:
            raise ValueError(f"cannot resume {output}: the data in {config.data} have changed since the checkpoint")
        return checkpoint

    @staticmethod
    def _check_state(checkpoint: Checkpoint) -> None:
        """Raises ValueError, naming the file, where something is missing or of another kind."""
        state, path = checkpoint.state, checkpoint.path
        kinds = {"config": dict, "dataset": str, "processes": int, "seconds": (int, float)}
        wrong = [name for name, kind in kinds.items() if not isinstance(state.get(name), kind)]
        if not wrong and not 0 <= state["seconds"] < math.inf:
            wrong = ["seconds"]
        for name in wrong:
            raise ValueError(
                f"{path / 'state.json'} is damaged: {name} is {state.get(name)!r:.40}; delete {path} to continue from "
                "the checkpoint before it"
            )

    # -- what an application says ------------------------------------------------------------------------------

    @abstractmethod
    def _train_step(self) -> tuple[Any, torch.Tensor]:
        """Does step number ``step``: its losses, a named tuple of scalars with a ``total``, and the gradients' norm."""

    @abstractmethod
    def _draw(self, path: Path) -> None:
        """Draws what has been learnt so far."""

    @abstractmethod
    def _finish(self, progress: bool, sheet: bool) -> tuple[Path, Path | None]:
        """Writes the model, and for a ``sheet`` pictures; the model's folder, and a picture of what it draws."""

    @property
    def waiting(self) -> float:
        """Seconds by the clock for one of this process's computing: above 1 where others compute too."""
        wall, computed = perf_counter() - self._since[0], process_time() - self._since[1]
        return min(20.0, max(1.0, wall / max(1e-3, computed)))

    def finishing(self) -> float:
        """Return about how many seconds `_finish` will take: they are kept back of the minutes."""
        return 0.0

    # -- the loop ----------------------------------------------------------------------------------------------

    def progress(self) -> float:
        """Return the finished share of the run: by steps or by minutes, whichever is further."""
        by_steps = self.step / self.config.steps
        if self.config.minutes is None:
            return by_steps
        limit = max(1e-9, 60 * self.config.minutes - self.finishing())
        by_time: Any = torch.tensor(self.seconds / limit, device=self.accelerator.device)
        by_time = broadcast(by_time)  # all processes go by the first one's clock
        return max(by_steps, float(by_time))

    def steps(self) -> Iterator[tuple[Any, torch.Tensor]]:
        """Train until the run's end; after each step yield the losses and the gradients' norm, on the device."""
        self.network.train()
        first = self.step
        while (progress := self.progress()) < 1 or self.step == first == 0:  # no time is too short for one step
            started = perf_counter()
            factor = warmup_cosine(self.step, progress, self.config.warmup_steps)
            for optimizer, rate in self.optimizers.values():
                for group in optimizer.param_groups:
                    group["lr"] = rate * factor
            losses, norm = self._train_step()
            self.step += 1
            now = (perf_counter() - started) / self.images_per_step
            self._image_seconds += (now - self._image_seconds) / min(20, self.step - first)
            yield losses, norm

    def run(self, *, progress: bool = True, sheet: bool = True) -> TrainResult:
        """Train to the end of the run, from the newest checkpoint if it is resumed.

        The last step has a checkpoint, also of a run that Ctrl-C or SIGTERM ended.

        Parameters
        ----------
        progress, sheet : bool
            Show a bar; draw what the finished model does.

        Raises
        ------
        TrainingError
            If the loss or a gradient is no longer finite, and if nothing is learnt.
        ValueError
            If another process trains in the folder, or has done so since this trainer was made, and for a checkpoint
            that does not fit the network.
        """
        self.accelerator.wait_for_everyone()  # all have read the checkpoint
        if not self.accelerator.is_main_process:
            return self._run(progress, sheet)
        self.config.output.mkdir(parents=True, exist_ok=True)
        with only_run(self.config.output):
            if self._seen is not None and self._seen != self.store.paths():
                raise ValueError(f"another process has trained in {self.config.output} meanwhile; start again")
            self._seen = None
            for folder in (self.config.output, self.store.folder):
                sweep(folder)
                mend(folder)
            self.store.prune(self._saved_step)
            return self._run(progress, sheet)

    def _run(self, progress: bool, sheet: bool) -> TrainResult:
        config, main = self.config, self.accelerator.is_main_process
        if self.newest is not None:
            self._restore(self.newest)
            self.newest = None
        if main:
            with whole_file(config.output / "config.json") as aside:
                aside.write_text(json.dumps(config.to_dict(), indent=1) + "\n", "utf-8")
        with (
            closing(MetricsLog(config.output, self.step)) if main else nullcontext() as log,
            _stop_on_signal() as stop,
            TrainingBar(self.progress(), disable=not (main and progress)) as bar,
        ):
            self._loop(log, bar, stop)
        if stop.is_set():
            return TrainResult(self.step, interrupted=True)
        self.accelerator.wait_for_everyone()
        if not main:
            return TrainResult(self.step)
        return TrainResult(self.step, False, *self._finish(progress, sheet))

    def _loop(self, log: MetricsLog | None, bar: TrainingBar, stop: threading.Event) -> None:
        config = self.config
        # Reading a number off a GPU waits for it, so there the losses are looked at in groups.
        look_every = 1 if self.accelerator.device.type == "cpu" else min(10, config.log_every)
        unseen: list[tuple[int, Any, torch.Tensor]] = []
        recent: deque[float] = deque(maxlen=100)
        watch = LossWatch(self.guess)
        since, since_step = perf_counter(), self.step

        def look() -> None:
            for step, losses, norm in unseen:
                value = float(losses.total) + 0 * float(norm)  # not finite if either is not
                if not math.isfinite(value):
                    paths = self.store.paths()
                    good = f"the last good checkpoint is {paths[-1]}" if paths else "there is no checkpoint yet"
                    raise TrainingError(
                        f"the loss or its gradient became {value} at step {step}; {good}. "
                        f"Try a smaller --learning-rate (it is {config.learning_rate:g})"
                    )
                recent.append(value)
                if self.guess is not None:
                    watch.see(float(getattr(losses, self.guess.name)))
            unseen.clear()
            if (complaint := watch.complaint(self.step, self.progress())) is not None:
                raise TrainingError(
                    f"nothing is learnt: {complaint}. Look at the pictures, and start again with another "
                    f"--learning-rate, mostly a smaller one (it is {config.learning_rate:g})"
                )

        if config.sample_every and self.step == 0 and self.draws_untrained and self.accelerator.is_main_process:
            self._draw(config.output / "samples" / "step-00000000.png")
        for losses, norm in self.steps():
            step = self.step
            unseen.append((step, losses, norm))
            logging, saving = step % config.log_every == 0, step % config.checkpoint_every == 0
            stopping = self._anyone_stops(stop)
            if step % look_every == 0 or logging or saving or stopping:
                look()
                rate = (step - since_step) * self.images_per_step / max(1e-9, perf_counter() - since)
                bar.update(self.progress(), step, float(np.mean(recent)), rate)
                if logging and log is not None:
                    named = {"loss" if name == "total" else name: loss for name, loss in losses._asdict().items()}
                    log.write(
                        step,
                        **{name: float(loss) for name, loss in named.items() if loss is not None},
                        gradient_norm=float(norm),
                        learning_rate=next(iter(self.optimizers.values()))[0].param_groups[0]["lr"],
                        images_per_second=rate,
                        seconds=self.seconds,
                    )
                if perf_counter() - since > 10:
                    since, since_step = perf_counter(), step
            if saving or stopping:
                self._save_checkpoint()
            if stopping:
                stop.set()
                return
            if config.sample_every and step % config.sample_every == 0 and self.accelerator.is_main_process:
                self._draw(config.output / "samples" / f"step-{step:08d}.png")
        look()
        self._save_checkpoint()
        if self.step < LEAST and (complaint := watch.complaint(self.step, 1.0, ended=True)) is not None:
            LOGGER.warning("too few steps to learn from: %s; go on with --resume and more --steps", complaint)

    def _anyone_stops(self, stop: threading.Event) -> bool:
        """Whether any process was asked to stop; all must agree, or the others would wait for ever."""
        if self.accelerator.num_processes == 1:
            return stop.is_set()
        flags: Any = self.accelerator.reduce(torch.tensor(float(stop.is_set()), device=self.accelerator.device), "sum")
        return float(flags) > 0

    # -- checkpoints -------------------------------------------------------------------------------------------

    def _restore(self, checkpoint: Checkpoint) -> None:
        """As `restore`. Raises ValueError, naming the checkpoint, where it is that of another network."""
        try:
            self.restore(checkpoint)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            why = " ".join(str(error).split())[:200]
            raise ValueError(
                f"{checkpoint.path} does not fit this run ({why}); delete it to continue from the checkpoint before it"
            ) from error

    def _save_checkpoint(self) -> None:
        """Unless this step has one."""
        if self.step == self._saved_step:
            return
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            state = {"seconds": self.seconds, "config": self.config.to_dict(), "dataset": self.data_key}
            self.store.save(self.step, self.tensors(), {**state, "processes": self.accelerator.num_processes})
        self._saved_step = self.step

    def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return all tensors of the run's state, by group."""
        moments = {name: optimizer_tensors(each, self.network) for name, (each, _) in self.optimizers.items()}
        return {self.group: dict(self.network.state_dict()), **moments}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint of a run with the same settings."""
        self.network.load_state_dict(checkpoint.tensors[self.group])
        for name, (optimizer, _) in self.optimizers.items():
            restore_optimizer(optimizer, self.network, checkpoint.tensors[name])
        self.step, self._seconds_before = checkpoint.step, float(checkpoint.state["seconds"])

    def _record(self, *names: str) -> dict[str, Any]:
        """What a model should tell of its training: the settings of these ``names``, data, steps, time."""
        settings = self.config.to_dict()
        return {
            **{name: settings[name] for name in ("data", "seed", "batch_size", *names)},
            "dataset_key": self.data_key,
            "steps": self.step,
            "seconds": round(self.seconds, 1),
            "processes": self.accelerator.num_processes,
        }
