"""Pictures with binary attributes, in the layouts people have, behind one small interface."""

from gaussmix.data.base import SPLITS, AttributeDataset, DataError
from gaussmix.data.cache import cache_dir
from gaussmix.data.load import load_dataset

__all__ = ["SPLITS", "AttributeDataset", "DataError", "cache_dir", "load_dataset"]
