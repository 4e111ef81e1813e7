"""What a step of training sees: images, attributes and the Z paired to them, by step number."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gaussmix._files import read_tensors, write_tensors
from gaussmix.data.base import AttributeDataset
from gaussmix.diffusion.config import DiffusionConfig
from gaussmix.latents.attributes import AttributeLatents
from gaussmix.latents.encoder import LatentEncoder
from gaussmix.latents.matching import match_latents
from gaussmix.training.schedule import ShuffledBatches

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
        self.latent_distribution = AttributeLatents(
            self.attributes.shape[1],
            config.latent_dim,
            config.n_components,
            config.separation,
            base_token=config.pairing == "matched",
        )
        if config.pairing == "matched":
            self._match(table_file)
        self.order = ShuffledBatches(len(self.positions), batch_size, config.seed)

    def load(
        self, step: int, rows: slice, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The ``rows`` of the batch of ``step``: images ``(B, 3, H, W)`` in [-1, 1], ``(B, K)``, Z ``(B, T, N)``."""
        rank = self.order[step][rows]
        images = torch.from_numpy(np.ascontiguousarray(self.dataset.images[self.positions[rank]]))
        attributes = torch.from_numpy(self.attributes[rank].astype(np.float32))
        if self.table is not None:
            latents = torch.from_numpy(self.table[rank]).to(generator.device)
            if self.config.redraw_details:
                latents = self._with_details_redrawn(latents, generator)
        elif self.config.pairing == "fixed":
            latents = self.latent_distribution.fixed(self.positions[rank], self.config.seed)
        else:
            latents = self.latent_distribution.draw(len(rank), generator)
        device = generator.device
        pixels = images.to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
        return pixels, attributes.to(device), latents.to(device)

    def _with_details_redrawn(self, latents: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Z ``(B, T, N)`` with new numbers after the first in some of the tokens; in the base token all are details."""
        fresh = self.latent_distribution.draw(len(latents), generator)
        first = torch.zeros(latents.shape[1:], dtype=torch.bool, device=latents.device)
        first[: self.latent_distribution.n_attributes, 0] = True
        chosen = torch.rand(latents.shape[:2], generator=generator, device=latents.device) < self.config.redraw_details
        return torch.where(chosen[:, :, None] & ~first, fresh, latents)

    def _match(self, file: Path) -> None:
        """Finds Z that describes each image, once a run; it is kept beside the checkpoints."""
        seed = self.config.seed
        wanted = json.dumps({"dataset": self.dataset.key, "seed": seed, **self.latent_distribution.to_config()})
        try:
            kept, about = read_tensors(file, _KIND)
        except (FileNotFoundError, ValueError):
            kept, about = {}, {}
        if about.get("wanted") == wanted:
            kept = {name: tensor.copy() for name, tensor in kept.items()}  # torch wants to be able to write to them
            own = {name.removeprefix(_ENCODER): tensor for name, tensor in kept.items() if name.startswith(_ENCODER)}
            self.table, self.maps, self.encoder = kept["table"], kept["maps"], LatentEncoder.from_tensors(own)
            self.latent_distribution = AttributeLatents.from_config(json.loads(about["latents"]))
            return
        images = np.asarray(self.dataset.images[self.positions])
        matched = match_latents(images, self.attributes, self.latent_distribution, seed=seed)
        self.table, self.maps, self.encoder = matched.table, matched.maps, matched.encoder
        self.latent_distribution = matched.latents
        encoder = {f"{_ENCODER}{name}": tensor for name, tensor in matched.encoder.to_tensors().items()}
        file.parent.mkdir(parents=True, exist_ok=True)
        about = {"wanted": wanted, "latents": json.dumps(matched.latents.to_config())}
        write_tensors(file, {"table": matched.table, "maps": matched.maps, **encoder}, _KIND, about)
