"""What a step of training sees: images, attributes and the Z paired to them, by step number."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from gaussmix.data.base import AttributeDataset
from gaussmix.diffusion.config import TrainConfig
from gaussmix.latents.attributes import AttributeLatents
from gaussmix.latents.encoder import LatentEncoder
from gaussmix.latents.matching import match_latents
from gaussmix.training.checkpoints import fsync
from gaussmix.training.schedule import ShuffledBatches

_ENCODER = "encoder."  # before the names of the encoder's tensors in a run's latents.safetensors


class TrainingBatches:
    """Batches of ``(x_0, A, Z)`` from the training split, by step number.

    ``latents`` is the distribution to sample Z from afterwards.
    """

    def __init__(self, dataset: AttributeDataset, config: TrainConfig, table_file: Path, batch_size: int):
        self.dataset = dataset
        self.positions = dataset.indices("train")
        self.attributes = np.asarray(dataset.attributes[self.positions])
        self.pairing, self.seed = config.pairing, config.seed
        self.redraw_details = config.redraw_details
        self.latents = AttributeLatents(
            self.attributes.shape[1],
            config.latent_dim,
            config.n_components,
            config.separation,
            base_token=config.pairing == "matched",
        )
        self.table: NDArray[np.float32] | None = None
        self.maps: NDArray[np.float32] | None = None
        self.encoder: LatentEncoder | None = None
        if config.pairing == "matched":
            self.table, self.maps, self.latents, self.encoder = _matched(
                dataset, self.positions, self.latents, config.seed, table_file
            )
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
            if self.redraw_details:
                latents = self._with_details_redrawn(latents, generator)
        elif self.pairing == "fixed":
            latents = self.latents.fixed(self.positions[rank], self.seed)
        else:
            latents = self.latents.draw(len(rank), generator)
        device = generator.device
        pixels = images.to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
        return pixels, attributes.to(device), latents.to(device)

    def _with_details_redrawn(self, latents: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Z ``(B, T, N)`` with new numbers after the first in some of the tokens; in the base token all are details."""
        fresh = self.latents.draw(len(latents), generator)
        first = torch.zeros(latents.shape[1:], dtype=torch.bool, device=latents.device)
        first[: self.latents.n_attributes, 0] = True
        chosen = torch.rand(latents.shape[:2], generator=generator, device=latents.device) < self.redraw_details
        return torch.where(chosen[:, :, None] & ~first, fresh, latents)


def _matched(
    dataset: AttributeDataset, positions: NDArray, latents: AttributeLatents, seed: int, file: Path
) -> tuple[NDArray[np.float32], NDArray[np.float32], AttributeLatents, LatentEncoder]:
    """Matched Z ``(M, T, N)``, maps ``(K, H, W)``, the distribution to sample from and what reads Z off new pictures.

    Computed once a run and kept beside the checkpoints. A run from before there was an encoder is matched anew.
    """
    wanted = {"dataset": dataset.key, "seed": seed, **latents.to_config()}
    note = file.with_suffix(".json")
    if file.exists() and note.exists():
        known = json.loads(note.read_text())
        if known["wanted"] == json.loads(json.dumps(wanted)):
            kept = load_file(file)
            own = {name.removeprefix(_ENCODER): tensor for name, tensor in kept.items() if name.startswith(_ENCODER)}
            if own:
                found = AttributeLatents.from_config(known["latents"])
                return kept["table"], kept["maps"], found, LatentEncoder.from_tensors(own)
    matched = match_latents(np.asarray(dataset.images[positions]), dataset.attributes[positions], latents, seed=seed)
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".writing-{file.name}")
    encoder = {f"{_ENCODER}{name}": tensor for name, tensor in matched.encoder.to_tensors().items()}
    save_file({"table": matched.table, "maps": matched.maps, **encoder}, aside)
    fsync(aside)
    aside.replace(file)
    note.write_text(json.dumps({"wanted": wanted, "latents": matched.latents.to_config()}))
    return matched.table, matched.maps, matched.latents, matched.encoder
