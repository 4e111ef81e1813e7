"""Distributions over latent vectors that condition the generators: of attributes (D), of classes (E), and rivals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gaussmix._lazy import face

if TYPE_CHECKING:
    from gaussmix.latents.attributes import AttributeLatents as AttributeLatents
    from gaussmix.latents.baselines import EMSampler as EMSampler
    from gaussmix.latents.baselines import SlicedWassersteinSampler as SlicedWassersteinSampler
    from gaussmix.latents.expansion import ExpansionSampler as ExpansionSampler
    from gaussmix.latents.matching import MatchedLatents as MatchedLatents
    from gaussmix.latents.matching import match_latents as match_latents

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "attributes": ["AttributeLatents"],
        "baselines": ["EMSampler", "SlicedWassersteinSampler"],
        "expansion": ["ExpansionSampler"],
        "matching": ["MatchedLatents", "match_latents"],
    },
    extra="diffusion",
)
