"""AttributeEncoder: from a picture to the attributes A and the latents Z that describe it.

    A = [logits(x) > thresholds]        a small convolutional network, the reader
    Z = LatentEncoder(x, A)             projections and ranks found with the matched latents

Both are trained on the pictures of the diffusion model's own training set and are saved beside it, in half precision.
The reader has the architecture of the judge in `gaussmix.metrics.classifier`, but other weights: it is made from
another seed, so that the judge stays an independent witness of what an edit did.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin

# In scope for diffusers: to reload a pipeline it looks the base class of a component up in the component's module.
from diffusers.schedulers.scheduling_utils import SchedulerMixin  # noqa: F401
from numpy.typing import NDArray

from gaussmix.data.base import AttributeDataset
from gaussmix.latents.encoder import LatentEncoder
from gaussmix.metrics.classifier import AttributeClassifier, train_attribute_classifier

READER_SEED = 1  # the judge's is 0
_LATENTS = "latents_"  # before the names of the latent encoder's tensors


class AttributeEncoder(ModelMixin, ConfigMixin):
    """Reads the K ``attribute_names`` and their Z off pictures of ``image_size``; `train_encoder` makes one.

    ``map_size`` is the height and width of the attributes' maps, ``latent_tensors`` name, dtype and shape of each of
    `LatentEncoder.to_tensors`.
    """

    maps: torch.Tensor  # (K, map_size, map_size), where each attribute acts, with maximum 1

    @register_to_config
    def __init__(
        self, attribute_names: list[str], image_size: int, map_size: int, latent_tensors: list[tuple[str, str, list]]
    ):
        super().__init__()
        self.reader = AttributeClassifier(tuple(attribute_names), image_size)
        self.register_buffer("maps", torch.zeros(len(attribute_names), map_size, map_size))
        for name, dtype, shape in latent_tensors:
            self.register_buffer(_LATENTS + name, torch.zeros(shape, dtype=getattr(torch, dtype)))

    @classmethod
    def build(cls, reader: AttributeClassifier, latents: LatentEncoder, maps: NDArray[np.float32]) -> AttributeEncoder:
        """From its parts; ``maps`` is ``(K, S, S)``."""
        tensors = {name: torch.from_numpy(np.ascontiguousarray(t)) for name, t in latents.to_tensors().items()}
        names, size = list(reader.attribute_names), reader.image_size
        told = [(name, str(t.dtype).removeprefix("torch."), list(t.shape)) for name, t in tensors.items()]
        encoder = cls(attribute_names=names, image_size=size, map_size=maps.shape[1], latent_tensors=told)
        encoder.reader.load_state_dict(reader.state_dict())
        encoder.maps.copy_(torch.from_numpy(maps))
        for name, tensor in tensors.items():
            getattr(encoder, _LATENTS + name).copy_(tensor)
        return encoder.eval()

    def read_attributes(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """``(M, K)`` of 0/1 for pictures ``(M, S, S, 3)`` uint8. Raises ValueError for another shape."""
        return self.reader.predict(images).astype(np.uint8)

    def encode(self, images: NDArray[np.uint8], attributes: NDArray[np.uint8], seed: int = 0) -> torch.Tensor:
        """Z ``(M, T, N)`` of pictures ``(M, S, S, 3)`` with attributes ``(M, K)``; `LatentEncoder.encode`.

        One by one, so that the numbers that no picture decides are those of ``seed``, whatever pictures are beside it.
        """
        names = [name for name, _, _ in self.config["latent_tensors"]]
        latents = LatentEncoder.from_tensors({name: getattr(self, _LATENTS + name).cpu().numpy() for name in names})
        rows = [latents.encode(images[i : i + 1], attributes[i : i + 1], seed=seed) for i in range(len(images))]
        return torch.from_numpy(np.concatenate(rows))

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> None:  # pyright: ignore
        """As diffusers, in half precision: the reader needs no more, and the tables are kept so anyway."""
        ModelMixin.save_pretrained(copy.deepcopy(self).half(), save_directory, **options)


def train_encoder(
    dataset: AttributeDataset,
    latents: LatentEncoder,
    maps: NDArray[np.float32],
    *,
    steps: int = 400,
    device: str | torch.device = "cpu",
    on_progress: Callable[[int, float], None] | None = None,
) -> AttributeEncoder:
    """Train the reader on ``dataset`` and put it together with what `match_latents` found.

    ``latents`` and ``maps`` ``(K, S, S)`` are ``encoder`` and ``maps`` of `gaussmix.latents.matching.MatchedLatents`.
    ``on_progress`` is called with the number of steps done and the loss.
    """
    reader = train_attribute_classifier(dataset, steps=steps, seed=READER_SEED, device=device, on_progress=on_progress)
    encoder = AttributeEncoder.build(reader, latents, maps)
    return encoder.to(torch.device(device))  # pyright: ignore[reportArgumentType]
