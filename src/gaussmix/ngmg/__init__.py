"""The negative Gaussian mixture gradient and learning weights with it (D section 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gaussmix._lazy import face

if TYPE_CHECKING:
    from gaussmix.ngmg.gradient import InvertedNGMG as InvertedNGMG
    from gaussmix.ngmg.gradient import inverted_ngmg_distance as inverted_ngmg_distance
    from gaussmix.ngmg.gradient import negative_gaussian_mixture_gradient as negative_gaussian_mixture_gradient
    from gaussmix.ngmg.learn import WeightPath as WeightPath
    from gaussmix.ngmg.learn import learn_weights as learn_weights
    from gaussmix.ngmg.learn import learn_weights_from_data as learn_weights_from_data
    from gaussmix.ngmg.learn import project_onto_simplex as project_onto_simplex

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "gradient": ["InvertedNGMG", "inverted_ngmg_distance", "negative_gaussian_mixture_gradient"],
        "learn": ["WeightPath", "learn_weights", "learn_weights_from_data", "project_onto_simplex"],
    },
)
