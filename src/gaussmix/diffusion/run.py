"""A training run from start to finish: checkpoints, logs, pictures, interruptions, the finished model.

A run's folder holds ``config.json``, ``checkpoints/``, ``latents.safetensors`` (matched Z), ``metrics.jsonl``,
``tensorboard/``, ``samples/step-*.png``, and at the end ``samples.png`` and ``model/``.
"""

from __future__ import annotations

import json
import math
import shutil
import signal
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from gaussmix.data.dataset import AttributeDataset
from gaussmix.diffusion.draw import draw_sheet
from gaussmix.diffusion.encoder import train_encoder
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.presets import TrainConfig
from gaussmix.diffusion.train import Losses, Trainer
from gaussmix.progress import progress_bar
from gaussmix.training.checkpoints import CheckpointStore
from gaussmix.training.log import MetricsLog, TrainingBar

_MAY_CHANGE = {
    *("out", "resume", "steps", "minutes", "threads", "checkpoint_every", "keep_checkpoints"),
    *("sample_every", "guidance", "log_every", "skip_bad", "reader_steps"),
}


class TrainingError(RuntimeError):
    """A run that cannot go on: one line with the step and what is left of it."""


@dataclass(frozen=True)
class TrainResult:
    """How a run ended. An interrupted run left a checkpoint, but no model."""

    step: int
    interrupted: bool
    model: Path | None
    samples: Path | None


def train(config: TrainConfig, dataset: AttributeDataset, *, progress: bool = True, sheet: bool = True) -> TrainResult:
    """Train on ``dataset`` as ``config`` says, writing everything to ``config.out``.

    Ctrl-C or SIGTERM end the run after the current step with a checkpoint; ``resume`` continues it. ``sheet=False``
    leaves out the overview of the finished model.

    Raises ValueError if the folder holds another run, if resuming with settings that do not fit the checkpoint, or if
    ``init`` names no model, or one of another network or other attributes;
    TrainingError if the loss or a gradient is no longer finite.
    """
    store = CheckpointStore(config.out / "checkpoints", config.keep_checkpoints)
    checkpoint = store.latest() if config.resume else None
    if not config.resume and store.paths():
        raise ValueError(f"{config.out} already holds a run; continue it with --resume or choose another --out")
    if checkpoint is not None:
        _check_same_run(config, checkpoint.state["config"], dataset.key, checkpoint.state["dataset"])
    begin_with = None
    if config.init and checkpoint is None:
        begin_with = AttributeDiffusionPipeline.load(None if config.init == "built-in" else config.init)
    trainer = Trainer(config, dataset)
    if begin_with is not None:
        trainer.start_from(begin_with)
    if checkpoint is not None:
        trainer.restore(checkpoint)
    main = trainer.accelerator.is_main_process
    if main:
        config.out.mkdir(parents=True, exist_ok=True)
        (config.out / "config.json").write_text(json.dumps(config.to_dict(), indent=1) + "\n")
    log = MetricsLog(config.out, trainer.step) if main else None
    try:
        with (
            _stop_on_signal() as stop,
            TrainingBar(trainer.progress(), disable=not (main and progress)) as bar,
        ):
            _loop(trainer, store, log, bar, stop)
    finally:
        if log is not None:
            log.close()
    if stop.is_set():
        return TrainResult(trainer.step, True, None, None)
    trainer.accelerator.wait_for_everyone()
    if not main:
        return TrainResult(trainer.step, False, None, None)
    pipeline = trainer.pipeline()
    _add_encoder(pipeline, trainer, progress)
    model = _save_model(pipeline, config.out / "model")
    if not sheet:
        return TrainResult(trainer.step, False, model, None)
    samples = config.out / "samples.png"
    draw_sheet(pipeline, samples, guidance=config.guidance, seed=config.seed, step=trainer.step)
    return TrainResult(trainer.step, False, model, samples)


def _loop(
    trainer: Trainer, store: CheckpointStore, log: MetricsLog | None, bar: TrainingBar, stop: threading.Event
) -> None:
    config, world = trainer.config, trainer.accelerator.num_processes
    images_a_step = config.batch_size * config.accumulate * world
    # Reading a number off a GPU waits for it, so there the losses are looked at in groups.
    look_every = 1 if trainer.accelerator.device.type == "cpu" else min(10, config.log_every)
    unseen: list[tuple[int, Losses, torch.Tensor]] = []
    recent: deque[float] = deque(maxlen=100)
    since, since_step = perf_counter(), trainer.step

    def look() -> None:
        for step, losses, norm in unseen:
            loss = losses.total
            if not (math.isfinite(float(loss)) and math.isfinite(float(norm))):
                paths = store.paths()
                good = f"the last good checkpoint is {paths[-1]}" if paths else "there is no checkpoint yet"
                raise TrainingError(
                    f"the loss or its gradient became {float(loss) + 0 * float(norm)} at step {step}; {good}. "
                    f"Try a smaller --learning-rate (it is {config.learning_rate:g})"
                )
            recent.append(float(loss))
        unseen.clear()

    for losses, norm in trainer.steps():
        step = trainer.step
        unseen.append((step, losses, norm))
        logging, saving = step % config.log_every == 0, step % config.checkpoint_every == 0
        stopping = _anyone(trainer, stop)
        if step % look_every == 0 or logging or saving or stopping:
            look()
            rate = (step - since_step) * images_a_step / max(1e-9, perf_counter() - since)
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
            path = config.out / "samples" / f"step-{step:08d}.png"
            draw_sheet(trainer.pipeline(), path, guidance=config.guidance, seed=config.seed, step=step, num_steps=10)
    look()
    _save_checkpoint(trainer, store)


def _add_encoder(pipeline: AttributeDiffusionPipeline, trainer: Trainer, progress: bool) -> None:
    """What `gaussmix edit` needs, where Z is matched to the pictures: a reader of their attributes and of Z."""
    config, batches = trainer.config, trainer.batches
    if not config.reader_steps or batches.encoder is None or batches.maps is None:
        return
    with progress_bar("learning to read", config.reader_steps, progress) as show:
        encoder = train_encoder(
            batches.dataset,
            batches.encoder,
            batches.maps,
            steps=config.reader_steps,
            device=trainer.accelerator.device,
            on_progress=lambda step, _loss: show(step),
        )
    pipeline.register_modules(encoder=encoder)


def _save_checkpoint(trainer: Trainer, store: CheckpointStore) -> None:
    trainer.accelerator.wait_for_everyone()
    if trainer.accelerator.is_main_process:
        state = {
            "seconds": trainer.seconds,
            "config": trainer.config.to_dict(),
            "dataset": trainer.batches.dataset.key,
            "processes": trainer.accelerator.num_processes,
        }
        store.save(trainer.step, trainer.tensors(), state)


def _anyone(trainer: Trainer, stop: threading.Event) -> bool:
    """Whether any process was asked to stop; all must agree, or the others would wait for ever."""
    if trainer.accelerator.num_processes == 1:
        return stop.is_set()
    flag = torch.tensor(float(stop.is_set()), device=trainer.accelerator.device)
    total: Any = trainer.accelerator.reduce(flag, "sum")
    return float(total) > 0


@contextmanager
def _stop_on_signal() -> Iterator[threading.Event]:
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


def _check_same_run(config: TrainConfig, before: dict, key: str, key_before: str) -> None:
    now = json.loads(json.dumps(config.to_dict()))
    before = json.loads(json.dumps(TrainConfig().to_dict())) | before  # a field that is newer than the run
    changed = [name for name in now if name not in _MAY_CHANGE and now[name] != before[name]]
    if changed:
        flags = ", ".join(f"--{name.replace('_', '-')} was {before[name]} and is {now[name]}" for name in changed)
        raise ValueError(f"cannot resume {config.out}: {flags}")
    if key != key_before:
        raise ValueError(f"cannot resume {config.out}: the data in {config.data} have changed since the checkpoint")


def _save_model(pipeline: AttributeDiffusionPipeline, folder: Path) -> Path:
    """Write the model aside and put it in its place."""
    aside = folder.with_name(f".writing-{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        pipeline.save_pretrained(aside)
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return folder
