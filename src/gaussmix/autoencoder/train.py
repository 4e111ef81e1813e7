"""Training the autoencoder against its discriminator (E Sec. 3.2.1); the losses are in `gaussmix.autoencoder.losses`.

A step is one of the discriminator, on real images and what the decoder makes of them, then one of encoder and decoder
against the discriminator so improved. Batches follow from (seed, step) and nothing else is random, so a resumed run is
bit-identical to one that was never interrupted, on the same machine and number of processes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from gaussmix.autoencoder.config import AutoencoderConfig
from gaussmix.autoencoder.losses import (
    AutoencoderLosses,
    discriminator_loss,
    generator_adversarial_loss,
    generator_loss,
    reconstruction_loss,
)
from gaussmix.autoencoder.model import ClassConditionalAutoencoder, to_tensor
from gaussmix.training.checkpoints import Checkpoint
from gaussmix.training.device import make_accelerator
from gaussmix.training.loop import finished_share
from gaussmix.training.optimizers import optimizer_tensors, restore_optimizer
from gaussmix.training.schedule import ShuffledBatches, warmup_cosine


class LabelledPictures(Protocol):
    """N images ``(N, S, S)`` or ``(N, S, S, C)`` uint8, labels ``(N,)`` into K names, and a split."""

    @property
    def images(self) -> np.ndarray: ...
    @property
    def labels(self) -> np.ndarray: ...
    @property
    def class_names(self) -> tuple[str, ...]: ...
    @property
    def key(self) -> str: ...
    def indices(self, split: str) -> np.ndarray: ...


def as_stack(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images ``(N, S, S)`` or ``(N, S, S, C)`` as ``(N, S, S, C)``."""
    images = np.asarray(images)
    return images[..., None] if images.ndim == 3 else images


def training_rows(dataset: LabelledPictures) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images ``(M, S, S, C)`` and labels ``(M,)`` of the training split.

    Raises ValueError for images that are not square, labels without a class name and a class of fewer than 2 images.
    """
    rows = dataset.indices("train")
    images, labels = as_stack(dataset.images[rows]), np.asarray(dataset.labels[rows]).astype(np.int64)
    if images.ndim != 4 or images.shape[1] != images.shape[2]:
        raise ValueError(f"images are {dataset.images.shape}; expected (N, S, S) or (N, S, S, C), square")
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(dataset.class_names):
        raise ValueError(
            f"labels are {labels.min()} to {labels.max()}, but there are {len(dataset.class_names)} class names; "
            "number the classes from 0"
        )
    counts = np.bincount(labels, minlength=len(dataset.class_names))
    if counts.min() < 2:
        k = int(counts.argmin())
        raise ValueError(
            f"class {dataset.class_names[k]!r} has {counts[k]} images to train on; give at least 2, or leave it out"
        )
    return images, labels


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
