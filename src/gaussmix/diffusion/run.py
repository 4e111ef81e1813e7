"""A training run from start to finish: checkpoints, logs, pictures, interruptions, the finished model.

A run's folder holds ``config.json``, ``checkpoints/``, ``latents.safetensors`` (matched Z), ``metrics.jsonl``,
``tensorboard/``, ``samples/step-*.png``, and at the end ``samples.png`` and ``model/``.
"""

from __future__ import annotations

from pathlib import Path

from gaussmix._progress import progress_bar
from gaussmix.data.load import AttributeDataset
from gaussmix.diffusion.config import TrainConfig
from gaussmix.diffusion.encoder import train_encoder
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.sampling import draw_sheet
from gaussmix.diffusion.train import Trainer
from gaussmix.training.loop import TrainingError, TrainResult, run_steps
from gaussmix.training.run import open_run, save_whole_folder

__all__ = ["TrainResult", "TrainingError", "train"]

_MAY_CHANGE = {
    *("out", "resume", "steps", "minutes", "threads", "checkpoint_every", "keep_checkpoints"),
    *("sample_every", "guidance", "log_every", "skip_bad", "reader_steps"),
}


def train(config: TrainConfig, dataset: AttributeDataset, *, progress: bool = True, sheet: bool = True) -> TrainResult:
    """Train on ``dataset`` as ``config`` says, writing everything to ``config.out``.

    Ctrl-C or SIGTERM end the run after the current step with a checkpoint; ``resume`` continues it. ``sheet=False``
    leaves out the overview of the finished model.

    Raises ValueError if the folder holds another run, if resuming with settings that do not fit the checkpoint, or if
    ``init`` names no model, or one of another network or other attributes;
    TrainingError if the loss or a gradient is no longer finite.
    """
    store, checkpoint = open_run(config, TrainConfig(), dataset.key, _MAY_CHANGE)
    begin_with = None
    if config.init and checkpoint is None:
        begin_with = AttributeDiffusionPipeline.load(None if config.init == "built-in" else config.init)
    trainer = Trainer(config, dataset)
    if begin_with is not None:
        trainer.start_from(begin_with)
    if checkpoint is not None:
        trainer.restore(checkpoint)

    def draw(path: Path) -> None:
        draw_sheet(
            trainer.pipeline(), path, guidance=config.guidance, seed=config.seed, step=trainer.step, num_steps=10
        )

    if run_steps(trainer, store, draw, progress=progress):
        return TrainResult(trainer.step, True, None, None)
    trainer.accelerator.wait_for_everyone()
    if not trainer.accelerator.is_main_process:
        return TrainResult(trainer.step, False, None, None)
    pipeline = trainer.pipeline()
    _add_encoder(pipeline, trainer, progress)
    model = save_whole_folder(config.out / "model", pipeline.save_pretrained)
    if not sheet:
        return TrainResult(trainer.step, False, model, None)
    samples = config.out / "samples.png"
    draw_sheet(pipeline, samples, guidance=config.guidance, seed=config.seed, step=trainer.step)
    return TrainResult(trainer.step, False, model, samples)


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
