"""From a request ("Bald, not Smiling") to attribute vectors.

A request settles a few attributes and leaves the others open. Open ones are not simply absent: they follow the data,
given what was settled. So a sample of the training set's attribute rows travels with the model, and a request draws
rows that agree with it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_ROWS = 2048
"""Attribute rows kept with a model."""


def pack_rows(attributes: ArrayLike) -> list[str]:
    """Rows of 0/1 ``(M, K)`` as hexadecimal strings, for a JSON config."""
    return [row.tobytes().hex() for row in np.packbits(np.asarray(attributes, np.uint8), axis=1)]


def unpack_rows(rows: Sequence[str], n_attributes: int) -> NDArray[np.uint8]:
    """The inverse of `pack_rows`: ``(M, K)`` uint8."""
    packed = np.frombuffer(bytes.fromhex("".join(rows)), np.uint8).reshape(len(rows), -1)
    return np.unpackbits(packed, axis=1, count=n_attributes)


def find_attributes(wanted: Iterable[str], known: Sequence[str]) -> list[int]:
    """Positions of attribute names; case and spaces against underscores do not matter.

    Raises ValueError for an unknown name, with the nearest known one and the whole list.
    """
    folded = {name.lower().replace(" ", "_"): position for position, name in enumerate(known)}
    positions = []
    for name in wanted:
        key = name.strip().lower().replace(" ", "_")
        if key not in folded:
            near = difflib.get_close_matches(key, folded, n=1, cutoff=0.5)
            hint = f"; did you mean {known[folded[near[0]]]}?" if near else "."
            raise ValueError(f"unknown attribute {name.strip()!r}{hint} Known: {', '.join(known)}")
        positions.append(folded[key])
    return positions


def choose_attributes(
    rows: ArrayLike, present: Sequence[int], absent: Sequence[int], count: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Draw ``count`` attribute vectors ``(count, K)`` in which ``present`` are 1 and ``absent`` are 0.

    Args:
        rows: ``(M, K)`` attribute rows of real images. Rows that agree with the request are drawn with replacement;
            if none does (say Bald with Long_Hair), those that disagree least, corrected.

    Raises ValueError if an attribute is asked for and ruled out at once.
    """
    rows = np.asarray(rows, np.uint8)
    both = set(present) & set(absent)
    if both:
        raise ValueError(f"attributes {sorted(both)} are asked for and ruled out at once")
    disagreement = (rows[:, list(present)] == 0).sum(1) + (rows[:, list(absent)] == 1).sum(1)
    nearest = np.flatnonzero(disagreement == disagreement.min())
    chosen = rows[rng.choice(nearest, count)].copy()
    chosen[:, list(present)] = 1
    chosen[:, list(absent)] = 0
    return chosen
