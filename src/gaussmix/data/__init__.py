"""Pictures with binary attributes, or each of one class, in the layouts people have, behind one small interface."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gaussmix._lazy import face

if TYPE_CHECKING:
    from gaussmix.data.base import SPLITS as SPLITS
    from gaussmix.data.base import AttributeDataset as AttributeDataset
    from gaussmix.data.base import DataError as DataError
    from gaussmix.data.base import LabelledImages as LabelledImages
    from gaussmix.data.load import cache_dir as cache_dir
    from gaussmix.data.load import load_dataset as load_dataset
    from gaussmix.data.load import load_labelled as load_labelled

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "base": ["SPLITS", "AttributeDataset", "DataError", "LabelledImages"],
        "load": ["cache_dir", "load_dataset", "load_labelled"],
    },
)
