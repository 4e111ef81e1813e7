"""Images of classes from distributions of an autoencoder's latents: train, draw, mix, judge (E Sec. 3.2.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gaussmix._lazy import face

if TYPE_CHECKING:
    from gaussmix.autoencoder.config import PRESETS as PRESETS
    from gaussmix.autoencoder.config import AutoencoderConfig as AutoencoderConfig
    from gaussmix.autoencoder.generate import LatentGenerator as LatentGenerator
    from gaussmix.autoencoder.model import ClassConditionalAutoencoder as ClassConditionalAutoencoder
    from gaussmix.autoencoder.train import AutoencoderTrainer as AutoencoderTrainer

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "config": ["PRESETS", "AutoencoderConfig"],
        "generate": ["LatentGenerator"],
        "model": ["ClassConditionalAutoencoder"],
        "train": ["AutoencoderTrainer"],
    },
    extra="diffusion",
)
