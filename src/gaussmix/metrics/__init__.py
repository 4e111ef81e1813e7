"""How good a generator is: does it draw what it was asked for, and do its pictures resemble real ones?

Numbers come from rows of features and need NumPy alone; what looks at pictures needs torch and loads on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gaussmix.metrics.classifier import balanced_accuracy
from gaussmix.metrics.distances import KernelDistance, frechet_distance, frechet_distance_of_gaussians, kernel_distance
from gaussmix.metrics.manifolds import (
    ManifoldScores,
    manifold_scores,
    nearest_distances,
    nearest_pictures,
    pairwise_diversity,
)
from gaussmix.metrics.quality import FeatureExtractor, QualityReport, QualityScores, measure_quality

if TYPE_CHECKING:
    from gaussmix.metrics.classifier import (
        AttributeClassifier,
        load_or_train_classifier,
        train_attribute_classifier,
    )
    from gaussmix.metrics.features import InceptionFeatures
    from reproduction.diffusion.components import SubtypeJudge, train_subtype_judge

__all__ = [
    "AttributeClassifier",
    "FeatureExtractor",
    "InceptionFeatures",
    "KernelDistance",
    "ManifoldScores",
    "QualityReport",
    "QualityScores",
    "SubtypeJudge",
    "balanced_accuracy",
    "frechet_distance",
    "frechet_distance_of_gaussians",
    "kernel_distance",
    "load_or_train_classifier",
    "manifold_scores",
    "measure_quality",
    "nearest_distances",
    "nearest_pictures",
    "pairwise_diversity",
    "train_attribute_classifier",
    "train_subtype_judge",
]

_NEEDS_TORCH = {
    "AttributeClassifier": "classifier",
    "InceptionFeatures": "inception",
    "SubtypeJudge": "subtypes",
    "load_or_train_classifier": "classifier",
    "train_attribute_classifier": "classifier",
    "train_subtype_judge": "subtypes",
}  # public name -> module of this package


def __getattr__(name: str) -> Any:
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module 'gaussmix.metrics' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"gaussmix.metrics.{_NEEDS_TORCH[name]}"), name)
    globals()[name] = value  # the next access does not come here
    return value
