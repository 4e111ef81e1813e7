"""Readers, a module for each layout: one function finds its files in a folder, another reads them.

A reader returns an `ImageTable`, whose files `gaussmix.data.decode` decodes, or a finished dataset.
`gaussmix.data.load` alone knows the readers.
"""

from __future__ import annotations

from gaussmix._lazy import face

__getattr__, __dir__, __all__ = face(
    __name__, {name: [name] for name in ("avatars", "celeba", "cifar10", "idx", "image_folder")}
)
