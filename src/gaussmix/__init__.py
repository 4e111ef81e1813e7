"""Gaussian mixtures as a language for learning distributions.

Here: pictures generated from chosen attributes, each attribute a Gaussian mixture and not one fixed embedding
(`gaussmix.diffusion`), with the datasets, latents and metrics around it.
Nothing heavy loads on `import gaussmix`; torch and diffusers load when a name that needs them is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from gaussmix.data.dataset import AttributeDataset, load_dataset
    from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
    from gaussmix.diffusion.schedulers import RenoiseScheduler
    from gaussmix.diffusion.unet import AttributeUNet
    from gaussmix.latents.attributes import AttributeLatents

__all__ = [
    "AttributeDataset",
    "AttributeDiffusionPipeline",
    "AttributeLatents",
    "AttributeUNet",
    "RenoiseScheduler",
    "__version__",
    "load_dataset",
]

# Public name -> (module that defines it, extra that installs what the module needs).
_LAZY = {
    "AttributeDataset": ("gaussmix.data.dataset", None),
    "load_dataset": ("gaussmix.data.dataset", None),
    "AttributeLatents": ("gaussmix.latents.attributes", "diffusion"),
    "AttributeUNet": ("gaussmix.diffusion.unet", "diffusion"),
    "RenoiseScheduler": ("gaussmix.diffusion.schedulers", "diffusion"),
    "AttributeDiffusionPipeline": ("gaussmix.diffusion.pipeline", "diffusion"),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'gaussmix' has no attribute {name!r}")
    module, extra = _LAZY[name]
    try:
        value = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if extra is None or (error.name or "").partition(".")[0] == "gaussmix":
            raise
        raise ImportError(
            f"gaussmix.{name} needs {error.name}, which is not installed: pip install 'gaussmix[{extra}]'"
        ) from error
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
