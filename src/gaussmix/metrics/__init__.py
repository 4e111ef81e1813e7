"""How good a generator is: does it draw what it was asked for, and do its pictures resemble real ones?

Numbers come from rows of features; what looks at pictures needs torch and loads on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gaussmix._lazy import face

if TYPE_CHECKING:
    from gaussmix.metrics.classifier import AttributeClassifier as AttributeClassifier
    from gaussmix.metrics.classifier import balanced_accuracy as balanced_accuracy
    from gaussmix.metrics.classifier import load_or_train_classifier as load_or_train_classifier
    from gaussmix.metrics.classifier import train_attribute_classifier as train_attribute_classifier
    from gaussmix.metrics.defects import DefectScores as DefectScores
    from gaussmix.metrics.defects import load_or_train_defects as load_or_train_defects
    from gaussmix.metrics.defects import measure_defects as measure_defects
    from gaussmix.metrics.detail import DetailScores as DetailScores
    from gaussmix.metrics.detail import measure_detail as measure_detail
    from gaussmix.metrics.distances import KernelDistance as KernelDistance
    from gaussmix.metrics.distances import frechet_distance as frechet_distance
    from gaussmix.metrics.distances import kernel_distance as kernel_distance
    from gaussmix.metrics.features import InceptionFeatures as InceptionFeatures
    from gaussmix.metrics.manifolds import ManifoldScores as ManifoldScores
    from gaussmix.metrics.manifolds import manifold_scores as manifold_scores
    from gaussmix.metrics.manifolds import nearest_distances as nearest_distances
    from gaussmix.metrics.manifolds import nearest_pictures as nearest_pictures
    from gaussmix.metrics.manifolds import pairwise_diversity as pairwise_diversity
    from gaussmix.metrics.quality import QualityReport as QualityReport
    from gaussmix.metrics.quality import QualityScores as QualityScores
    from gaussmix.metrics.quality import measure_quality as measure_quality

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "classifier": [
            "AttributeClassifier", "balanced_accuracy", "load_or_train_classifier", "train_attribute_classifier",
        ],
        "defects": ["DefectScores", "load_or_train_defects", "measure_defects"],
        "detail": ["DetailScores", "measure_detail"],
        "distances": ["KernelDistance", "frechet_distance", "kernel_distance"],
        "features": ["InceptionFeatures"],
        "manifolds": [
            "ManifoldScores", "manifold_scores", "nearest_distances", "nearest_pictures", "pairwise_diversity",
        ],
        "quality": ["QualityReport", "QualityScores", "measure_quality"],
    },
    extra="diffusion",
)  # fmt: skip
