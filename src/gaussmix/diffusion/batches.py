"""What a training step of the diffusion model is shown: batches of pictures with A and Z, by step number."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from gaussmix._files import Tensors, read_tensors, write_tensors
from gaussmix.data.base import AttributeDataset
from gaussmix.diffusion.config import DiffusionConfig
from gaussmix.diffusion.precondition import redraw_details
from gaussmix.diffusion.unet import ConditionConfig
from gaussmix.latents.attributes import AttributeLatents
from gaussmix.latents.encoder import LatentEncoder
from gaussmix.latents.matching import match_latents
from gaussmix.training.schedule import ShuffledBatches

LOGGER = logging.getLogger("gaussmix")
_KIND = "matched_latents"
_ENCODER = "encoder."  # before the names of the encoder's tensors in a run's latents.safetensors


class TrainingBatches:
    """Batches of ``(x_0, A, Z)`` from the training split, by step number.

    ``latent_distribution`` is the one to sample Z from afterwards. Where Z is matched, ``table`` ``(M, T, N)`` is that
    of each image, ``maps`` ``(K, H, W)`` says where attributes act, and ``encoder`` reads Z off other pictures.
    """

    table: NDArray[np.float32] | None = None
    maps: NDArray[np.float32] | None = None
    encoder: LatentEncoder | None = None

    def __init__(self, dataset: AttributeDataset, config: DiffusionConfig, table_file: Path, batch_size: int):
        self.dataset, self.config = dataset, config
        self.positions = dataset.indices("train")
        self.attributes = np.asarray(dataset.attributes[self.positions])
        shared = ("latent_dim", "n_components", "separation", "conditioning", "injection")
        self.condition = ConditionConfig(
            n_attributes=self.attributes.shape[1],
            base_token=config.pairing == "matched",
            **{name: getattr(config, name) for name in shared},
        )
        self.latent_distribution = self.condition.latents()
        if config.pairing == "matched":
            self._match(table_file)
        self.order = ShuffledBatches(len(self.positions), batch_size, config.seed)

    def load(self, step: int, rows: slice, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
        """The ``rows`` of the batch of ``step``: images ``(B, 3, H, W)`` in [-1, 1], ``(B, K)``, Z ``(B, T, N)``."""
        rank = self.order[step][rows]
        images = torch.from_numpy(np.ascontiguousarray(self.dataset.images[self.positions[rank]]))
        attributes = torch.from_numpy(self.attributes[rank].astype(np.float32))
        if self.table is not None:
            latents = torch.from_numpy(self.table[rank]).to(generator.device)
            if self.config.redraw_details:
                latents = redraw_details(self.latent_distribution, latents, self.config.redraw_details, generator)
        elif self.config.pairing == "fixed":
            latents = self.latent_distribution.fixed(self.positions[rank], self.config.seed)
        else:
            latents = self.latent_distribution.draw(len(rank), generator)
        device = generator.device
        pixels = images.to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
        return pixels, attributes.to(device), latents.to(device)

    def training_latents(self, generator: Generator) -> Tensor:
        """Z ``(M, T, N)`` of all training images; where it is new at each step, of one of them."""
        if self.table is not None:
            return torch.from_numpy(self.table)
        if self.config.pairing == "fixed":
            return self.latent_distribution.fixed(self.positions, self.config.seed)
        return self.latent_distribution.draw(len(self.positions), generator)

    def _match(self, file: Path) -> None:
        """Finds Z that describes each image, once a run; it is kept beside the checkpoints, anew if it is damaged."""
        seed = self.config.seed
        wanted = json.dumps({"dataset": self.dataset.key, "seed": seed, **self.latent_distribution.to_config()})
        try:
            kept, about = read_tensors(file, _KIND)
            if about.get("wanted") == wanted:
                self._take_matched(kept, AttributeLatents.from_config(json.loads(about["latents"])))
                return
        except FileNotFoundError:
            pass
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            why = str(error) if str(file) in str(error) else f"{file} is damaged ({error!r})"
            LOGGER.warning("%s; latents are matched anew", why)
        images = np.asarray(self.dataset.images[self.positions])
        matched = match_latents(images, self.attributes, self.latent_distribution, seed=seed)
        self.table, self.maps, self.encoder = matched.table, matched.maps, matched.encoder
        self.latent_distribution = matched.latents
        encoder = {f"{_ENCODER}{name}": tensor for name, tensor in matched.encoder.to_tensors().items()}
        file.parent.mkdir(parents=True, exist_ok=True)
        about = {"wanted": wanted, "latents": json.dumps(matched.latents.to_config())}
        write_tensors(file, {"table": matched.table, "maps": matched.maps, **encoder}, _KIND, about)

    def _take_matched(self, kept: Tensors, latents: AttributeLatents) -> None:
        """Takes what a file holds. Raises KeyError, ValueError and the like where it is not what `_match` wrote."""
        kept = {name: tensor.copy() for name, tensor in kept.items()}  # torch wants to be able to write to them
        own = {name.removeprefix(_ENCODER): tensor for name, tensor in kept.items() if name.startswith(_ENCODER)}
        table, maps, encoder = kept["table"], kept["maps"], LatentEncoder.from_tensors(own)
        shape = len(self.positions), latents.n_tokens, latents.latent_dim
        if table.shape != shape or maps.ndim != 3 or len(maps) != latents.n_attributes:
            raise ValueError(f"its arrays are {table.shape} and {maps.shape}")
        self.table, self.maps, self.encoder, self.latent_distribution = table, maps, encoder, latents
