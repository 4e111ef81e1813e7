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

from typing import TYPE_CHECKING

from gaussmix._lazy import face

__version__ = "0.1.0"

if TYPE_CHECKING:
    from gaussmix import distances as distances
    from gaussmix import ngmg as ngmg
    from gaussmix import nn as nn
    from gaussmix.autoencoder.generate import LatentGenerator as LatentGenerator
    from gaussmix.conditional.estimator import ConditionalGMMExpansion as ConditionalGMMExpansion
    from gaussmix.data.load import load_dataset as load_dataset
    from gaussmix.data.load import load_labelled as load_labelled
    from gaussmix.density.basis import GaussianBasis as GaussianBasis
    from gaussmix.density.counts import BinnedCounts as BinnedCounts
    from gaussmix.density.discrete import LatticeMixture1D as LatticeMixture1D
    from gaussmix.density.estimator import GMMExpansion as GMMExpansion
    from gaussmix.density.mixture import GaussianMixture1D as GaussianMixture1D
    from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline as AttributeDiffusionPipeline
    from gaussmix.style.transfer import StyleTransfer as StyleTransfer
    from gaussmix.tables.estimator import TableDensity as TableDensity

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "density": ["BinnedCounts", "GMMExpansion", "GaussianBasis", "GaussianMixture1D", "LatticeMixture1D"],
        "conditional": ["ConditionalGMMExpansion"],
        "distances": ["distances"],
        "ngmg": ["ngmg"],
        "nn": ["nn"],
        "data": ["load_dataset", "load_labelled"],
        "diffusion": ["AttributeDiffusionPipeline"],
        "autoencoder": ["LatentGenerator"],
        "style": ["StyleTransfer"],
        "tables": ["TableDensity"],
    },
    extra={"nn": "diffusion"},
)
