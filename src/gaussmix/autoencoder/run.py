"""A training run of the autoencoder from start to finish.

A run's folder holds ``config.json``, ``checkpoints/``, ``metrics.jsonl``, ``tensorboard/``, ``samples/step-*.png``, and
at the end ``model/``, ``latents.safetensors``: z ``(M, d)`` and labels y ``(M,)`` of the training split,
``sampler.safetensors``: the distribution of each class fitted to them, ``novelty.safetensors``: how strange held-out
images are, and pictures: ``reconstructions``, ``samples``, ``mixes``, ``marginals`` and ``map.png``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from gaussmix.autoencoder.config import AutoencoderConfig
from gaussmix.autoencoder.generate import NOVELTY_FILE, SAMPLER_FILE, LatentGenerator
from gaussmix.autoencoder.latent_plots import draw_map, draw_marginals
from gaussmix.autoencoder.model import ClassConditionalAutoencoder
from gaussmix.autoencoder.sheets import draw_mixes, draw_reconstructions, draw_samples
from gaussmix.autoencoder.train import AutoencoderTrainer, LabelledPictures, as_stack
from gaussmix.latents.expansion import ExpansionSampler
from gaussmix.training.loop import TrainingError, TrainResult, run_steps
from gaussmix.training.run import open_run, save_whole_folder
from gaussmix.whole_file import whole_file

__all__ = ["TrainResult", "TrainingError", "fit_sampler", "load_latents", "train"]

_MAY_CHANGE = {
    *("out", "resume", "steps", "minutes", "threads", "checkpoint_every", "keep_checkpoints"),
    *("sample_every", "log_every", "skip_bad"),
}
_LATENTS = "latents.safetensors"
_CLUSTERS, _ROWS_A_CLUSTER = 20, 20


def train(config: AutoencoderConfig, dataset: LabelledPictures, *, progress: bool = True) -> TrainResult:
    """Train on the training split of ``dataset`` as ``config`` says, writing everything to ``config.out``.

    Ctrl-C or SIGTERM end the run after the current step with a checkpoint; ``resume`` continues it.

    Raises ValueError if the folder holds another run, for data the network cannot take, or if resuming with settings
    that do not fit the checkpoint; TrainingError if a loss or a gradient is no longer finite.
    """
    store, checkpoint = open_run(config, AutoencoderConfig(), dataset.key, _MAY_CHANGE)
    trainer = AutoencoderTrainer(config, dataset)
    if checkpoint is not None:
        trainer.restore(checkpoint)

    def draw(path: Path) -> None:
        draw_reconstructions(trainer.finished(), trainer.images, trainer.labels, path)
        trainer.model.train()

    if run_steps(trainer, store, draw, progress=progress):
        return TrainResult(trainer.step, True, None, None)
    trainer.accelerator.wait_for_everyone()
    if not trainer.accelerator.is_main_process:
        return TrainResult(trainer.step, False, None, None)
    model = trainer.finished()
    folder = save_whole_folder(config.out / "model", model.save_pretrained)
    _save_latents(model, trainer.images, trainer.labels, config.out / _LATENTS)
    draw(config.out / "reconstructions.png")
    z, y = load_latents(config.out)
    sampler = fit_sampler(z, y, seed=config.seed)
    sampler.save(config.out / SAMPLER_FILE)
    generator = LatentGenerator(model, sampler)
    generator.calibrate(_held_out(dataset)).save(config.out / NOVELTY_FILE)
    samples = config.out / "samples.png"
    draw_samples(generator, samples, seed=config.seed)
    if len(generator.class_names) > 1:
        draw_mixes(generator, config.out / "mixes.png", seed=config.seed)
    draw_marginals(generator, z, y, config.out / "marginals.png", seed=config.seed)
    if config.latent_dim > 1:
        draw_map(generator, z, y, config.out / "map.png", seed=config.seed)
    return TrainResult(trainer.step, False, folder, samples)


def _held_out(dataset: LabelledPictures) -> NDArray[np.uint8]:
    """Images that took no part in the training; those that did, whose errors are lower, if there are none."""
    rows = np.flatnonzero(~np.isin(np.arange(len(dataset.images)), dataset.indices("train")))
    return as_stack(dataset.images[rows if len(rows) > 1 else dataset.indices("train")])


def _save_latents(
    model: ClassConditionalAutoencoder, images: NDArray[np.uint8], labels: NDArray[np.int64], path: Path
) -> None:
    with whole_file(path) as aside:
        save_file({"z": model.encode(images), "y": labels}, aside)


def fit_sampler(z: NDArray[np.float32], y: NDArray[np.int64], *, seed: int = 0) -> ExpansionSampler:
    """A distribution of latents ``(M, d)`` for each label: `ExpansionSampler`, with 20 clusters a class if the
    smallest class has 400 rows, else fewer."""
    return ExpansionSampler(n_clusters=fitting_clusters(y), random_state=seed).fit(z, y)


def fitting_clusters(y: NDArray[np.int64]) -> int:
    """How many clusters a class has in `fit_sampler`, by labels ``(M,)``."""
    smallest = int(np.unique(y, return_counts=True)[1].min())
    return min(_CLUSTERS, max(1, smallest // _ROWS_A_CLUSTER))


def load_latents(folder: str | Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Latents ``(M, d)`` and labels ``(M,)`` of the training split of a finished run.

    Raises ValueError if there are none, and for a damaged file.
    """
    path = Path(folder) / _LATENTS
    if not path.is_file():
        raise ValueError(f"no {_LATENTS} in {folder}; it is written when a run ends: finish it first")
    try:
        tensors = load_file(path)
        z, y = tensors["z"], tensors["y"]
    except Exception as error:
        raise ValueError(f"{path} is damaged ({error}); finish the run again with --resume") from error
    if z.ndim != 2 or y.shape != (len(z),) or not np.isfinite(z).all():
        raise ValueError(f"{path} is damaged: latents {z.shape}, labels {y.shape}; finish the run again with --resume")
    return z, y
