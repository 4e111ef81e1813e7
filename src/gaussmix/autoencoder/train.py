"""Training the autoencoder against its discriminator (E Sec. 3.2.1).

A step is one of the discriminator, on real images and what the decoder makes of them, then one of encoder and decoder
against the discriminator so improved. Their losses (E Eq. 10 is the first):

    J_G = alpha / 2 * E[-log D(G(z))] + w mean (x - G(z))^2 + beta * E[-log c_y(G(z))],    w = max(1, .05 / m)
    J_D = 1 / 2 * E[-log D(x)] + 1 / 2 * E[-log(1 - D(G(z)))] + E[-log c_y(x)]

with z = E(x), D the probability of "real", y the class of x, c_y the probability of that class and m the squared error
of the mean image: .07 to .09 for digits and clothes, for which w = 1 as in the paper. Of thin lines on white it is a
tenth of that, and without w the other terms were all that was learnt.

Differs from the paper. E Eq. 10 prints ``-alpha / 2 * E[log(1 - D(G(z)))]`` in J_G. It falls as D(G(z)) falls: with D
the probability of "real", which the discriminator's own loss makes it, the generator would learn to be recognised as a
fake. With the sign turned it is the minimax loss of Goodfellow et al. 2014, whose gradient vanishes as long as the
discriminator is sure; ``-log D(G(z))``, their non-saturating form, has the same fixed point and does not stall. The
printed term is there with ``literal=True``. The squared error is a mean over pixels (E's text: "Mean Square Loss"), so
that alpha does not depend on the image size.
The term of the class (as in an auxiliary-classifier GAN) is not in E's equation; beta = 0 leaves it out.

The decoder starts at the mean image of the training split, and the squared error is held against that of the mean
image: a run in which it does not fall below is stopped (`gaussmix.training.watch`).

A run's folder holds, beside what every `Trainer` writes, at the end ``latents.safetensors``: z ``(M, d)`` and labels y
``(M,)`` of the training split, ``sampler.safetensors``: the distribution of each class fitted to them,
``novelty.safetensors``: how strange held-out images are, and pictures: ``reconstructions``, ``samples``, ``mixes``,
``marginals`` and ``map.png``.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gaussmix._files import read_tensors, write_tensors
from gaussmix._guard import reading
from gaussmix._typing import IntArray
from gaussmix.autoencoder.config import AutoencoderConfig
from gaussmix.autoencoder.generate import NOVELTY_FILE, SAMPLER_FILE, LatentGenerator
from gaussmix.autoencoder.model import ClassConditionalAutoencoder, to_tensor, training_rows
from gaussmix.autoencoder.sheets import draw_map, draw_marginals, draw_mixes, draw_reconstructions, draw_samples
from gaussmix.data.base import LabelledImages
from gaussmix.latents.expansion import ExpansionSampler
from gaussmix.metrics.features import shifted
from gaussmix.training.checkpoints import save_whole_folder
from gaussmix.training.loop import Trainer, TrainingError, TrainResult
from gaussmix.training.schedule import ShuffledBatches
from gaussmix.training.watch import Guess

__all__ = ["AutoencoderTrainer", "TrainResult", "TrainingError", "train"]

_LATENTS, _KIND = "latents.safetensors", "autoencoder_latents"
_HARDLY = 0.97  # of the mean image's error: an autoencoder that ends there has learnt nothing
_USUAL_ERROR = 0.05  # of a mean image: below it the squared error weighs as if it were so much
_SEEN = 1024  # moved images of few, of which the mean is taken
_AT_ONCE = 1024
_SHEET_SECONDS, _FIT_SECONDS = 6.0, 2e-4  # of the pictures, and of the distributions an image and latent number


class AutoencoderLosses(NamedTuple):
    """Scalars of one step: ``total`` is J_G, then its parts without their weights, and J_D."""

    total: Tensor
    reconstruction: Tensor
    adversarial: Tensor
    classification: Tensor
    discriminator: Tensor


def generator_adversarial_loss(fake_logits: Tensor, *, literal: bool = False) -> Tensor:
    """``E[-log D(G(z))] / 2`` from D's logits ``(B,)``; with ``literal``, as printed, ``-E[log(1 - D(G(z)))] / 2``."""
    return F.softplus(fake_logits if literal else -fake_logits).mean() / 2


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor, class_logits: Tensor, labels: Tensor) -> Tensor:
    """J_D from D's logits ``(B,)`` of real and decoded images and the class logits ``(B, K)`` of the real ones."""
    adversarial = (F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()) / 2
    return adversarial + F.cross_entropy(class_logits, labels)


class AutoencoderTrainer(Trainer[AutoencoderConfig, ClassConditionalAutoencoder]):
    """Trains a `ClassConditionalAutoencoder`, then fits what is drawn from.

    Parameters
    ----------
    config : AutoencoderConfig
        The settings.
    dataset : LabelledImages
        Labelled images; the training split is used, and the others to say what is usual.
    started : float, optional
        As in `Trainer`.

    Raises
    ------
    ValueError
        If the folder holds another run or, with ``config.resume``, one of other settings or data, and for data that
        the network cannot take.
    """

    def __init__(self, config: AutoencoderConfig, dataset: LabelledImages, started: float | None = None):
        super().__init__(config, dataset.key, started=started)
        self.dataset = dataset
        self.images, self.labels = training_rows(dataset)
        self.order = ShuffledBatches(len(self.images), self.images_per_step, config.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.network = ClassConditionalAutoencoder(
                class_names=list(dataset.class_names),
                image_size=self.images.shape[1],
                in_channels=self.images.shape[3],
                latent_dim=config.latent_dim,
                channels=config.levels(self.images.shape[1]),
                hidden=config.hidden,
                around_mean=True,
            )
        mean, error = mean_image(self._as_seen())
        self.network.start_at(torch.from_numpy(mean).permute(2, 0, 1))
        self.guess = Guess("reconstruction", error, "the mean image", _HARDLY)
        self._weight = max(1.0, _USUAL_ERROR / error) if error > 0 else 1.0
        model = self.network.to(self.accelerator.device)
        judge = model.discriminator
        own = [*model.encoder.parameters(), *model.decoder.parameters()]
        generator_adam = torch.optim.Adam(own, lr=config.learning_rate, fused=True)
        judge_adam = torch.optim.Adam(judge.parameters(), lr=config.discriminator_learning_rate, fused=True)
        self.encoder, self.decoder, self.discriminator, self.optimizer, self.judge_optimizer = self.accelerator.prepare(
            model.encoder, model.decoder, judge, generator_adam, judge_adam
        )
        self.optimizers = {
            "optimizer": (self.optimizer, config.learning_rate),
            "discriminator_optimizer": (self.judge_optimizer, config.discriminator_learning_rate),
        }

    def _as_seen(self) -> NDArray[np.uint8]:
        """Training images as the steps see them: moved, where the configuration says so and they are few."""
        if not self.config.shift or len(self.images) >= _SEEN:
            return self.images
        rows = np.resize(np.arange(len(self.images)), _SEEN)
        return shifted(self.images, rows, np.random.default_rng([self.config.seed]), self.config.shift)

    def _train_step(self) -> tuple[AutoencoderLosses, Tensor]:
        images, labels = self._batch(self.step)
        decoded = self.decoder(self.encoder(images))
        judged, judge_norm = self._judge_step(images, decoded.detach(), labels)
        losses, norm = self._generator_step(images, decoded, labels, judged)
        return losses, torch.hypot(norm, judge_norm)

    def _batch(self, step: int) -> tuple[Tensor, Tensor]:
        """This process's images ``(B, C, S, S)`` in [0, 1] and labels ``(B,)`` of a step."""
        first = self.accelerator.process_index * self.config.batch_size
        rows, device = self.order[step][first : first + self.config.batch_size], self.accelerator.device
        rng = np.random.default_rng([self.config.seed, step])
        picked = shifted(self.images, rows, rng, self.config.shift) if self.config.shift else self.images[rows]
        images = to_tensor(picked, self.images.shape[1], self.images.shape[3])
        return images.to(device), torch.from_numpy(self.labels[rows]).to(device)

    def _judge_step(self, images: Tensor, decoded: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Improves the discriminator; J_D and the norm of its gradient."""
        logits, class_logits = self.discriminator(torch.cat([images, decoded]))
        real, fake = logits.chunk(2)
        loss = discriminator_loss(real, fake, class_logits[: len(images)], labels)
        return loss.detach(), self._descend(loss, self.judge_optimizer, self.discriminator.parameters())

    def _generator_step(
        self, images: Tensor, decoded: Tensor, labels: Tensor, judged: Tensor
    ) -> tuple[AutoencoderLosses, Tensor]:
        """Improves encoder and decoder, whose answer to ``images`` is ``decoded``; the losses and the norm."""
        config, judge = self.config, self.network.discriminator
        judge.requires_grad_(False)  # it passes gradients on to the image, and learns nothing here
        try:
            fake, class_logits = judge(decoded)
        finally:
            judge.requires_grad_(True)
        reconstruction = F.mse_loss(decoded, images)
        adversarial = generator_adversarial_loss(fake, literal=config.adversarial_sign == "printed")
        classification = F.cross_entropy(class_logits, labels)
        judgement = config.adversarial_weight * adversarial + config.class_weight * classification
        total = self._weight * reconstruction + judgement
        norm = self._descend(total, self.optimizer, [*self.encoder.parameters(), *self.decoder.parameters()])
        parts = (total, reconstruction, adversarial, classification, judged)
        return AutoencoderLosses(*(part.detach() for part in parts)), norm

    def _descend(self, loss: Tensor, optimizer, parameters) -> Tensor:
        self.accelerator.backward(loss)
        norm = self.accelerator.clip_grad_norm_(parameters, self.config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return torch.as_tensor(norm)

    def finished(self) -> ClassConditionalAutoencoder:
        """Return the model as it is now, in evaluation mode (not a copy), with a record of its training."""
        self.network.register_to_config(training=self._record("size", "label_by", "skip_bad"))
        return self.network.eval()

    def finishing(self) -> float:
        """Return about how many seconds `_finish` will take."""
        images = len(self.dataset.images)
        alone = _SHEET_SECONDS + images * _FIT_SECONDS * self.config.latent_dim
        return self.waiting * alone + images * self._image_seconds / 2

    def _draw(self, path: Path) -> None:
        draw_reconstructions(self.finished(), self.images, self.labels, path)
        self.network.train()

    def _finish(self, progress: bool, sheet: bool) -> tuple[Path, Path | None]:
        output, seed, model = self.config.output, self.config.seed, self.finished()
        for name in (
            _LATENTS,
            SAMPLER_FILE,
            NOVELTY_FILE,
        ):  # those of an earlier model: no kill leaves both side by side
            (output / name).unlink(missing_ok=True)
        folder = save_whole_folder(output / "model", model.save_pretrained)
        z, y = model.encode(self.images), self.labels
        write_tensors(output / _LATENTS, {"z": z, "y": y}, _KIND)
        sampler = fit_sampler(z, y, seed=seed)
        sampler.save(output / SAMPLER_FILE)
        generator = LatentGenerator(model, sampler)
        train, images = self.dataset.indices("train"), self.dataset.images
        held_out = np.setdiff1d(np.arange(len(images)), train)
        known = np.asarray(images[held_out if len(held_out) > 1 else train])  # the latter have lower errors
        generator.calibrate(known).save(output / NOVELTY_FILE)
        if not sheet:
            return folder, None
        draw_reconstructions(model, self.images, self.labels, output / "reconstructions.png")
        draw_samples(generator, output / "samples.png", seed=seed)
        if len(generator.class_names) > 1:
            draw_mixes(generator, self.images, self.labels, output / "mixes.png", seed=seed)
        draw_marginals(generator, z, y, output / "marginals.png", seed=seed)
        if self.config.latent_dim > 1:
            draw_map(generator, z, y, output / "map.png", seed=seed)
        return folder, output / "samples.png"


def train(
    config: AutoencoderConfig,
    dataset: LabelledImages,
    *,
    progress: bool = True,
    sheet: bool = True,
    started: float | None = None,
) -> TrainResult:
    """Train on ``dataset`` as ``config`` says: `AutoencoderTrainer`, `Trainer.run`."""
    return AutoencoderTrainer(config, dataset, started).run(progress=progress, sheet=sheet)


def mean_image(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
    """The mean ``(S, S, C)`` in [0, 1] of images ``(M, S, S, C)``, and its mean squared error."""
    total, squares = np.zeros(images.shape[1:]), 0.0
    for start in range(0, len(images), _AT_ONCE):
        part = images[start : start + _AT_ONCE] / 255.0
        total, squares = total + part.sum(0), squares + float(np.square(part).sum())
    mean = total / len(images)
    return mean.astype(np.float32), squares / images.size - float(np.square(mean).mean())


def fit_sampler(z: NDArray[np.float32], y: IntArray, *, seed: int = 0) -> ExpansionSampler:
    """A distribution of latents ``(M, d)`` for each label: `ExpansionSampler`, which chooses its clusters."""
    return ExpansionSampler(random_state=seed).fit(z, y)


def load_latents(folder: str | Path) -> tuple[NDArray[np.float32], IntArray]:
    """Latents ``(M, d)`` and labels ``(M,)`` of the training split of a finished run.

    Raises ValueError if there are none, and for a damaged file.
    """
    path = Path(folder) / _LATENTS
    if not path.is_file():
        raise ValueError(f"no {_LATENTS} in {folder}; it is written when a run ends: finish it first")
    with reading(path, "holds no latents"):
        tensors, _ = read_tensors(path, _KIND)
        z, y = tensors["z"].copy(), tensors["y"].copy()
        if z.ndim != 2 or z.dtype != np.float32 or not np.isfinite(z).all():
            raise ValueError(f"z is {z.dtype} of shape {z.shape}, or holds numbers that are not finite")
        if y.shape != z.shape[:1] or y.dtype.kind not in "iu" or y.min(initial=0) < 0:
            raise ValueError(f"y is {y.dtype} of shape {y.shape}; it holds a class for each of {len(z)} rows")
    return z, y
