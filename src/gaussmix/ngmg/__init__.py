"""The negative Gaussian mixture gradient and learning weights with it (D section 4)."""

from __future__ import annotations

from gaussmix.ngmg.gradient import negative_gaussian_mixture_gradient
from gaussmix.ngmg.inverse import InvertedNGMG, inverted_ngmg_distance
from gaussmix.ngmg.learn import WeightPath, learn_weights, learn_weights_from_data, project_onto_simplex

__all__ = [
    "InvertedNGMG",
    "WeightPath",
    "inverted_ngmg_distance",
    "learn_weights",
    "learn_weights_from_data",
    "negative_gaussian_mixture_gradient",
    "project_onto_simplex",
]
