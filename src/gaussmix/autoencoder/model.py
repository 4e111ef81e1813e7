"""ClassConditionalAutoencoder (E Sec. 3.2.1, Fig. 8): encoder, decoder, and a discriminator with two heads.

    z = E(x)                       image to latents, (B, d)
    G(z)                           latents to image, each pixel in [0, 1]
    D(x), c(x)                     logit of "x is a real image", logits of its class

What makes generation class-conditional is the distribution of z in each class, fitted afterwards (for example
`gaussmix.latents.ExpansionSampler`): the decoder itself is not told the class.

Differs from the paper: E shows no layer sizes and names the network of Kolouri et al. 2018. Ours is two levels of
strided convolutions each way, without normalisation, so that an image's latents do not depend on its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from gaussmix._typing import IntArray
from gaussmix.data.base import LabelledImages
from gaussmix.training.saved import TRAINING, list_of, load_network, optional, text, whole, yes_or_no

_BATCH = 512  # images at once outside training
_SLOPE = 0.2  # of the leaky rectifiers
_LEAST_PIXEL = 1 / 255
_SETTINGS = {
    "class_names": list_of(text, least=1),
    "image_size": whole(most=1 << 14),
    "in_channels": whole(),
    "latent_dim": whole(),
    "channels": list_of(whole(), least=1, most=12),
    "hidden": whole(),
    "around_mean": yes_or_no,
    "training": optional(TRAINING),
}


def _body(inputs: int, channels: Sequence[int], features: int, hidden: int) -> list[nn.Module]:
    """Levels that each halve height and width, and ``hidden`` numbers of the ``features`` that are left."""
    layers: list[nn.Module] = []
    for outputs in channels:
        layers += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.LeakyReLU(_SLOPE)]
        inputs = outputs
    return [*layers, nn.Flatten(), nn.Linear(features, hidden), nn.LeakyReLU(_SLOPE)]


class Discriminator(nn.Module):
    """Images ``(B, C, S, S)`` to the logits of "real" ``(B,)`` and of the class ``(B, K)``."""

    def __init__(self, in_channels: int, channels: Sequence[int], features: int, hidden: int, n_classes: int):
        super().__init__()
        self.body = nn.Sequential(*_body(in_channels, channels, features, hidden))
        self.adversarial = nn.Linear(hidden, 1)
        self.classes = nn.Linear(hidden, n_classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        found = self.body(images)
        return self.adversarial(found).squeeze(1), self.classes(found)


class _AroundImage(nn.Module):
    """Adds the logits ``(C, S, S)`` of an image, which are learnt on."""

    def __init__(self, shape: tuple[int, int, int]):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.logits


class ClassConditionalAutoencoder(ModelMixin, ConfigMixin):
    """Encoder, decoder and discriminator for square images of K classes.

    Parameters
    ----------
    class_names : sequence of str
        K names, at least one.
    image_size, in_channels : int
        Height and width S of the images, a multiple of 2 for each level; 1 for grey images, 3 for colours.
    latent_dim : int
        Numbers d that describe an image.
    channels, hidden : sequence of int, int
        Of each level of the convolutions; width of the layer between feature maps and latents, or heads.
    around_mean : bool
        The decoder adds its answer to the logits of an image, from `start_at`; models of older versions do not.
    training : dict, optional
        What to remember of the training, JSON-able.

    Raises
    ------
    ValueError
        For a size that the levels do not divide.
    """

    @register_to_config
    def __init__(
        self,
        class_names: Sequence[str],
        image_size: int = 8,
        in_channels: int = 1,
        latent_dim: int = 16,
        channels: Sequence[int] = (32, 64),
        hidden: int = 128,
        around_mean: bool = False,
        training: dict | None = None,
    ):
        super().__init__()
        if not class_names:
            raise ValueError("class_names is empty; give at least one")
        if image_size % 2 ** len(channels):
            raise ValueError(
                f"images are {image_size} pixels high and wide, but {len(channels)} levels of channels need a multiple "
                f"of {2 ** len(channels)}: resize the images or use fewer levels"
            )
        small = image_size // 2 ** len(channels)
        features = channels[-1] * small**2
        self.encoder = nn.Sequential(*_body(in_channels, channels, features, hidden), nn.Linear(hidden, latent_dim))
        up: list[nn.Module] = [nn.Unflatten(1, (channels[-1], small, small))]
        for inputs, outputs in zip(channels[::-1], [*channels[-2::-1], in_channels], strict=True):
            up += [nn.LeakyReLU(_SLOPE), nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)]
        start = nn.Linear(latent_dim, hidden), nn.LeakyReLU(_SLOPE), nn.Linear(hidden, features)
        if around_mean:
            up.append(_AroundImage((in_channels, image_size, image_size)))
        self.decoder = nn.Sequential(*start, *up, nn.Sigmoid())
        self.discriminator = Discriminator(in_channels, channels, features, hidden, len(class_names))

    @torch.no_grad()
    def start_at(self, image: Tensor) -> None:
        """Make the decoder answer with this image to everything, as before a training.

        Parameters
        ----------
        image : tensor
            ``(C, S, S)`` in [0, 1]; pixels nearer to its ends than 1/255 are kept so far from them, so that the sigmoid
            is not saturated.
        """
        last, around = self.decoder[-3], self.decoder[-2]
        assert isinstance(last, nn.ConvTranspose2d), last
        assert isinstance(around, _AroundImage), around
        around.logits.copy_(torch.logit(image.clamp(_LEAST_PIXEL, 1 - _LEAST_PIXEL)))
        for parameter in last.parameters():
            parameter.zero_()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The K names, in the order of the labels."""
        return tuple(self.config["class_names"])

    def encode(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return latents ``(N, d)`` of images ``(N, S, S)`` or ``(N, S, S, C)`` uint8; ValueError for another shape."""
        return self._in_batches(self.encoder, to_tensor(images, self.config["image_size"], self.config["in_channels"]))

    def decode(self, latents: ArrayLike) -> NDArray[np.uint8]:
        """Return images ``(N, S, S, C)`` uint8 of latents ``(N, d)``; ValueError for another shape or NaN."""
        rows = np.asarray(latents, np.float32)
        if rows.ndim != 2 or not len(rows) or rows.shape[1] != self.config["latent_dim"]:
            raise ValueError(f"latents have shape {rows.shape}; expected (N, {self.config['latent_dim']}), N > 0")
        if not np.isfinite(rows).all():
            raise ValueError("latents hold numbers that are not finite; leave those rows out")
        pixels = self._in_batches(self.decoder, torch.from_numpy(rows))
        return np.round(255 * pixels).astype(np.uint8).transpose(0, 2, 3, 1)

    def classify(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the probabilities ``(N, K)`` that the discriminator's class head gives images as in `encode`.

        It took part in the training of the decoder and is no independent judge of decoded images.
        """
        pixels = to_tensor(images, self.config["image_size"], self.config["in_channels"])
        return self._in_batches(lambda part: self.discriminator(part)[1].softmax(1), pixels)

    @torch.no_grad()
    def _in_batches(self, function: Callable[[Tensor], Tensor], rows: Tensor) -> NDArray[np.float32]:
        parts = [function(part.to(self.device, self.dtype)).float().cpu() for part in rows.split(_BATCH)]
        return torch.cat(parts).numpy()

    @classmethod
    def load(cls, folder: str | Path) -> ClassConditionalAutoencoder:
        """Load from a training run's folder or a saved model's; ValueError if there is none, or a damaged one.

        Nothing that the folder names is imported or run.
        """
        folder = Path(folder)
        for candidate in (folder / "model", folder / ".replaced-model", folder):  # the second: a kill took its name
            if (candidate / "config.json").is_file() and any(candidate.glob("*.safetensors")):
                try:
                    return load_network(cls, candidate, _SETTINGS, ["class_names"])
                except (ValueError, OSError) as error:
                    raise ValueError(f"the model in {candidate} cannot be loaded: {error}") from error
        raise ValueError(f"no model in {folder}: expected a folder with config.json and weights, or a run with model/")


def to_tensor(images: NDArray[np.uint8], size: int, channels: int) -> Tensor:
    """Images ``(N, S, S)`` (grey) or ``(N, S, S, C)`` uint8 as ``(N, C, S, S)`` in [0, 1]."""
    pixels = np.asarray(images)
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    if pixels.dtype != np.uint8 or not len(pixels) or pixels.shape[1:] != (size, size, channels):
        raise ValueError(
            f"images are {np.shape(images)} {pixels.dtype}; expected at least one of ({size}, {size}, {channels}) uint8"
        )
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).float() / 255


def training_rows(dataset: LabelledImages) -> tuple[NDArray[np.uint8], IntArray]:
    """Images ``(M, S, S, C)`` and labels ``(M,)`` of the training split.

    Raises ValueError for images that are not square, labels without a class name and a class of fewer than 2 images.
    """
    rows = dataset.indices("train")
    images, labels = np.asarray(dataset.images[rows]), dataset.labels[rows]
    if images.ndim != 4 or images.shape[1] != images.shape[2]:
        raise ValueError(f"images are {dataset.images.shape}; expected (N, S, S, C), square")
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(dataset.class_names):
        raise ValueError(
            f"labels are {labels.min()} to {labels.max()}, but there are {len(dataset.class_names)} class names; "
            "number the classes from 0"
        )
    names, counts = dataset.class_names, np.bincount(labels, minlength=len(dataset.class_names))
    if counts.min() < 2:
        k = int(counts.argmin())
        raise ValueError(f"class {names[k]!r} has {counts[k]} images to train on; give at least 2, or leave it out")
    return images, labels
