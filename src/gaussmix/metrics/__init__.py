"""How good a generator is: does it draw what it was asked for?"""

from gaussmix.metrics.attributes import balanced_accuracy
from gaussmix.metrics.classifier import (
    AttributeClassifier,
    load_or_train_classifier,
    train_attribute_classifier,
)

__all__ = [
    "AttributeClassifier",
    "balanced_accuracy",
    "load_or_train_classifier",
    "train_attribute_classifier",
]
