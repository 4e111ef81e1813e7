"""Gaussian mixtures as a language for learning distributions.

`GMMExpansion` learns the density of a column of numbers in one pass (`gaussmix.density`); `gaussmix.distances` says how
far two of them are apart, `gaussmix.ngmg` moves one to the other, `gaussmix.nn` has both for torch.
`AttributeDiffusionPipeline` draws pictures from chosen attributes, each attribute a Gaussian mixture and not one fixed
embedding (`gaussmix.diffusion`), `LatentGenerator` new images of a class, mixed, or like a given one
(`gaussmix.autoencoder`), `StyleTransfer` renderings in a style whose Gram matrices are a distribution
(`gaussmix.style`), with datasets, latents and metrics around them.
Nothing heavy loads on `import gaussmix`; a name loads what it needs when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from gaussmix import distances, ngmg, nn
    from gaussmix.autoencoder.generate import LatentGenerator
    from gaussmix.autoencoder.model import ClassConditionalAutoencoder
    from gaussmix.data.base import AttributeDataset
    from gaussmix.data.load import load_dataset, load_labelled
    from gaussmix.density.basis import GaussianBasis
    from gaussmix.density.counts import BinnedCounts
    from gaussmix.density.estimator import GMMExpansion
    from gaussmix.density.mixture import GaussianMixture1D
    from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
    from gaussmix.diffusion.schedulers import RenoiseScheduler
    from gaussmix.diffusion.unet import AttributeUNet
    from gaussmix.latents.attributes import AttributeLatents
    from gaussmix.latents.expansion import ExpansionSampler
    from gaussmix.style.expansion import GramExpansion
    from gaussmix.style.transfer import StyleTransfer
    from gaussmix.style.vgg import VGG19Features

__all__ = [
    "AttributeDataset",
    "AttributeDiffusionPipeline",
    "AttributeLatents",
    "AttributeUNet",
    "BinnedCounts",
    "ClassConditionalAutoencoder",
    "ExpansionSampler",
    "GMMExpansion",
    "GaussianBasis",
    "GaussianMixture1D",
    "GramExpansion",
    "LatentGenerator",
    "RenoiseScheduler",
    "StyleTransfer",
    "VGG19Features",
    "__version__",
    "distances",
    "load_dataset",
    "load_labelled",
    "ngmg",
    "nn",
]

# Public name -> (module that is or defines it, extra that installs what the module needs).
_LAZY = {
    "distances": ("gaussmix.distances", None),
    "ngmg": ("gaussmix.ngmg", None),
    "nn": ("gaussmix.nn", "diffusion"),
    "AttributeDataset": ("gaussmix.data.base", None),
    "BinnedCounts": ("gaussmix.density.counts", None),
    "GaussianBasis": ("gaussmix.density.basis", None),
    "GaussianMixture1D": ("gaussmix.density.mixture", None),
    "GMMExpansion": ("gaussmix.density.estimator", None),
    "ExpansionSampler": ("gaussmix.latents.expansion", None),
    "load_dataset": ("gaussmix.data.load", None),
    "load_labelled": ("gaussmix.data.load", None),
    "AttributeLatents": ("gaussmix.latents.attributes", "diffusion"),
    "AttributeUNet": ("gaussmix.diffusion.unet", "diffusion"),
    "RenoiseScheduler": ("gaussmix.diffusion.schedulers", "diffusion"),
    "AttributeDiffusionPipeline": ("gaussmix.diffusion.pipeline", "diffusion"),
    "ClassConditionalAutoencoder": ("gaussmix.autoencoder.model", "diffusion"),
    "LatentGenerator": ("gaussmix.autoencoder.generate", "diffusion"),
    "GramExpansion": ("gaussmix.style.expansion", "style"),
    "StyleTransfer": ("gaussmix.style.transfer", "style"),
    "VGG19Features": ("gaussmix.style.vgg", "style"),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'gaussmix' has no attribute {name!r}")
    module, extra = _LAZY[name]
    try:
        loaded = importlib.import_module(module)
        value = loaded if module == f"{__name__}.{name}" else getattr(loaded, name)
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
