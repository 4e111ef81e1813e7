"""Training the autoencoder against its discriminator (E Sec. 3.2.1); the losses are in `gaussmix.autoencoder.train`.

A step is one of the discriminator, on real images and what the decoder makes of them, then one of encoder and decoder
against the discriminator so improved. Batches follow from (seed, step) and nothing else is random, so a resumed run is
bit-identical to one that was never interrupted, on the same machine and number of processes.

The losses of the autoencoder as a generator and of its discriminator (E Eq. 10).

    J_G = alpha / 2 * E[-log D(G(z))] + mean (x - G(z))^2 + beta * E[-log c_y(G(z))]
    J_D = 1 / 2 * E[-log D(x)] + 1 / 2 * E[-log(1 - D(G(z)))] + E[-log c_y(x)]

with z = E(x), D the probability of "real", y the class of x and c_y the probability of that class.

Differs from the paper. E Eq. 10 prints ``-alpha / 2 * E[log(1 - D(G(z)))]`` in J_G. It falls as D(G(z)) falls: with D
the probability of "real", which the discriminator's own loss makes it, the generator would learn to be recognised as a
fake. With the sign turned it is the minimax loss of Goodfellow et al. 2014, whose gradient vanishes as long as the
discriminator is sure; ``-log D(G(z))``, their non-saturating form, has the same fixed point and does not stall. The
printed term is there with ``literal=True``. The squared error is a mean over pixels (E's text: "Mean Square Loss"), so
that alpha does not depend on the image size.
The term of the class (as in an auxiliary-classifier GAN) is not in E's equation; beta = 0 leaves it out.

A training run of the autoencoder from start to finish.

A run's folder holds ``config.json``, ``checkpoints/``, ``metrics.jsonl``, ``tensorboard/``, ``samples/step-*.png``, and
at the end ``model/``, ``latents.safetensors``: z ``(M, d)`` and labels y ``(M,)`` of the training split,
``sampler.safetensors``: the distribution of each class fitted to them, ``novelty.safetensors``: how strange held-out
images are, and pictures: ``reconstructions``, ``samples``, ``mixes``, ``marginals`` and ``map.png``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import Tensor

from gaussmix._files import whole_file
from gaussmix.autoencoder.config import AutoencoderConfig
from gaussmix.autoencoder.generate import NOVELTY_FILE, SAMPLER_FILE, LatentGenerator
from gaussmix.autoencoder.model import ClassConditionalAutoencoder, LabelledPictures, as_stack, to_tensor, training_rows
from gaussmix.autoencoder.sheets import draw_map, draw_marginals, draw_mixes, draw_reconstructions, draw_samples
from gaussmix.latents.expansion import ExpansionSampler
from gaussmix.training.checkpoints import Checkpoint, optimizer_tensors, restore_optimizer
from gaussmix.training.device import make_accelerator
from gaussmix.training.loop import TrainingError, TrainResult, finished_share, run_steps
from gaussmix.training.run import open_run, save_whole_folder
from gaussmix.training.schedule import ShuffledBatches, warmup_cosine

__all__ = [
    "AutoencoderLosses",
    "AutoencoderTrainer",
    "TrainResult",
    "TrainingError",
    "discriminator_loss",
    "fit_sampler",
    "generator_adversarial_loss",
    "generator_loss",
    "load_latents",
    "reconstruction_loss",
    "train",
]


class AutoencoderLosses(NamedTuple):
    """Scalars of one step: ``total`` is J_G, then its parts without their weights, and J_D."""

    total: Tensor
    reconstruction: Tensor
    adversarial: Tensor
    classification: Tensor
    discriminator: Tensor

    def numbers(self) -> dict[str, float]:
        """For the log."""
        return {("loss" if name == "total" else name): float(value) for name, value in self._asdict().items()}


def reconstruction_loss(decoded: Tensor, images: Tensor) -> Tensor:
    """Mean squared error of pixels."""
    return F.mse_loss(decoded, images)


def generator_adversarial_loss(fake_logits: Tensor, *, literal: bool = False) -> Tensor:
    """``E[-log D(G(z))] / 2`` from D's logits ``(B,)``; with ``literal``, as printed, ``-E[log(1 - D(G(z)))] / 2``."""
    return F.softplus(fake_logits if literal else -fake_logits).mean() / 2


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor, class_logits: Tensor, labels: Tensor) -> Tensor:
    """J_D from D's logits ``(B,)`` of real and decoded images and the class logits ``(B, K)`` of the real ones."""
    adversarial = (F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()) / 2
    return adversarial + F.cross_entropy(class_logits, labels)


def generator_loss(
    reconstruction: Tensor, adversarial: Tensor, classification: Tensor, alpha: float, beta: float
) -> Tensor:
    """J_G."""
    return reconstruction + alpha * adversarial + beta * classification


class AutoencoderTrainer:
    """The state of a run: the model, two optimisers, step. `run` drives it; `steps` is the bare loop."""

    def __init__(self, config: AutoencoderConfig, dataset: LabelledPictures):
        self.config = config
        self.data_key = dataset.key
        self.accelerator = make_accelerator(config.threads, config.mixed_precision)
        self.images_per_step = config.batch_size * self.accelerator.num_processes
        self.images, self.labels = training_rows(dataset)
        self.order = ShuffledBatches(len(self.images), self.images_per_step, config.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.model = ClassConditionalAutoencoder(
                class_names=list(dataset.class_names),
                image_size=self.images.shape[1],
                in_channels=self.images.shape[3],
                latent_dim=config.latent_dim,
                channels=list(config.channels),
                hidden=config.hidden,
            )
        model = self.model.to(self.accelerator.device)
        judge = model.discriminator
        self.names = [f"{part}.{name}" for part in _GENERATOR for name, _ in getattr(model, part).named_parameters()]
        self.judge_names = [name for name, _ in judge.named_parameters()]
        own = [*model.encoder.parameters(), *model.decoder.parameters()]
        (self.encoder, self.decoder, self.discriminator, self.optimizer, self.judge_optimizer) = (
            self.accelerator.prepare(
                model.encoder,
                model.decoder,
                judge,
                torch.optim.Adam(own, lr=config.learning_rate, fused=True),
                torch.optim.Adam(judge.parameters(), lr=config.discriminator_learning_rate, fused=True),
            )
        )
        self.step = 0
        self.seconds = 0.0  # spent in training, over all resumed parts

    def progress(self) -> float:
        """The finished share of the run: by steps or by minutes, whichever is further."""
        return finished_share(self.config, self.step, self.seconds, self.accelerator.device)

    def steps(self) -> Iterator[tuple[AutoencoderLosses, torch.Tensor]]:
        """Train until the run's end; after each step yields the losses and the gradients' norm, on the device."""
        config = self.config
        self.model.train()
        while (progress := self.progress()) < 1:
            started = time.perf_counter()
            factor = warmup_cosine(self.step, progress, config.warmup_steps)
            for optimizer, rate in (
                (self.optimizer, config.learning_rate),
                (self.judge_optimizer, config.discriminator_learning_rate),
            ):
                for group in optimizer.param_groups:
                    group["lr"] = rate * factor
            images, labels = self.batch(self.step)
            decoded = self.decoder(self.encoder(images))
            judged, judge_norm = self.judge_step(images, decoded.detach(), labels)
            losses, norm = self.generator_step(images, decoded, labels, judged)
            self.step += 1
            self.seconds += time.perf_counter() - started
            yield losses, torch.hypot(norm, judge_norm)

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """This process's images ``(B, C, S, S)`` in [0, 1] and labels ``(B,)`` of a step."""
        first = self.accelerator.process_index * self.config.batch_size
        rows = self.order[step][first : first + self.config.batch_size]
        device = self.accelerator.device
        size, channels = self.images.shape[1], self.images.shape[3]
        return to_tensor(self.images[rows], size, channels).to(device), torch.from_numpy(self.labels[rows]).to(device)

    def judge_step(
        self, images: torch.Tensor, decoded: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Improve the discriminator. Returns J_D and the norm of its gradient."""
        logits, class_logits = self.discriminator(torch.cat([images, decoded]))
        real, fake = logits.chunk(2)
        loss = discriminator_loss(real, fake, class_logits[: len(images)], labels)
        return loss.detach(), self._descend(loss, self.judge_optimizer, self.discriminator.parameters())

    def generator_step(
        self, images: torch.Tensor, decoded: torch.Tensor, labels: torch.Tensor, judged: torch.Tensor
    ) -> tuple[AutoencoderLosses, torch.Tensor]:
        """Improve encoder and decoder, whose answer to ``images`` is ``decoded``. Returns the losses and the norm."""
        config, judge = self.config, self.model.discriminator
        judge.requires_grad_(False)  # it passes gradients on to the image, and learns nothing here
        try:
            fake, class_logits = judge(decoded)
        finally:
            judge.requires_grad_(True)
        reconstruction = reconstruction_loss(decoded, images)
        adversarial = generator_adversarial_loss(fake, literal=config.adversarial_sign == "printed")
        classification = F.cross_entropy(class_logits, labels)
        total = generator_loss(
            reconstruction, adversarial, classification, config.adversarial_weight, config.class_weight
        )
        norm = self._descend(total, self.optimizer, [*self.encoder.parameters(), *self.decoder.parameters()])
        parts = (total, reconstruction, adversarial, classification, judged)
        return AutoencoderLosses(*(part.detach() for part in parts)), norm

    def _descend(self, loss: torch.Tensor, optimizer, parameters) -> torch.Tensor:
        self.accelerator.backward(loss)
        norm = self.accelerator.clip_grad_norm_(parameters, self.config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return torch.as_tensor(norm)

    # -- checkpoints -------------------------------------------------------------------------------------------

    def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        """All tensors of the run's state, by group."""
        return {
            "model": dict(self.model.state_dict()),
            "optimizer": optimizer_tensors(self.optimizer, self.names),
            "discriminator_optimizer": optimizer_tensors(self.judge_optimizer, self.judge_names),
        }

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint of a run with the same settings."""
        self.model.load_state_dict(checkpoint.tensors["model"])
        restore_optimizer(self.optimizer, self.names, checkpoint.tensors["optimizer"])
        restore_optimizer(self.judge_optimizer, self.judge_names, checkpoint.tensors["discriminator_optimizer"])
        self.step, self.seconds = checkpoint.step, float(checkpoint.state["seconds"])

    def finished(self) -> ClassConditionalAutoencoder:
        """The model as it is now, in evaluation mode (not a copy), with what is worth knowing of its training."""
        self.model.register_to_config(
            training={
                **{name: self.config.to_dict()[name] for name in ("data", "seed", "batch_size")},
                "dataset_key": self.data_key,
                "steps": self.step,
                "seconds": round(self.seconds, 1),
                "processes": self.accelerator.num_processes,
            }
        )
        return self.model.eval()


_GENERATOR = ("encoder", "decoder")


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
