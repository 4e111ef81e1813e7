"""From a request ("Bald, not Smiling") to attribute vectors that go with the data.

A request decides a few attributes and leaves the others open. Open ones are not simply absent: they follow the data,
given what was decided. So a sample of the training set's attribute rows travels with the model, and a request draws
rows that agree with it (`choose_attributes`).

A change of a given picture demands others: black hair goes when red hair comes (`nearest_possible`). Nobody writes down
which attributes exclude each other; the rows show it. Two exclude each other if no row has both although independent
ones would have met in ``EXPECTED_MEETINGS`` rows or more. What is linked by exclusions, directly or through others, is
a group (all colours of hair, with Bald and Wearing_Hat), and a group's values are possible if some row shows them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from gaussmix.latents.attributes import AttributeLatents

MAX_ROWS = 2048
"""Attribute rows kept with a model."""


def pack_rows(attributes: ArrayLike) -> list[str]:
    """Rows of 0/1 ``(M, K)`` as hexadecimal strings, for a JSON config."""
    return [row.tobytes().hex() for row in np.packbits(np.asarray(attributes, np.uint8), axis=1)]


def unpack_rows(rows: Sequence[str], n_attributes: int) -> NDArray[np.uint8]:
    """The inverse of `pack_rows`: ``(M, K)`` uint8."""
    packed = np.frombuffer(bytes.fromhex("".join(rows)), np.uint8).reshape(len(rows), -(-n_attributes // 8))
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

    ``rows`` ``(M, K)`` are those of real images. Rows that agree with the request are drawn with replacement; if none
    does (say Bald with Long_Hair), those that disagree least, corrected.

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


EXPECTED_MEETINGS = 10.0
"""Rows in which two independent attributes would meet before their never meeting means anything."""


def exclusive_groups(rows: ArrayLike) -> NDArray[np.intp]:
    """The group of each attribute, ``(K,)``, for rows of 0/1 ``(M, K)``."""
    from scipy.sparse.csgraph import connected_components  # here, because listing attributes does without SciPy

    data = np.asarray(rows, np.float64)
    together = data.T @ data
    expected = np.outer(data.sum(0), data.sum(0)) / max(1, len(data))
    return connected_components((together == 0) & (expected >= EXPECTED_MEETINGS))[1].astype(np.intp)


class PossibleAttributes(NamedTuple):
    """``attributes``: ``(K,)`` uint8. ``unseen``: positions of what was asked for together and no row shows."""

    attributes: NDArray[np.uint8]
    unseen: list[int]


def nearest_possible(rows: ArrayLike, wanted: ArrayLike, named: ArrayLike) -> PossibleAttributes:
    """The attribute row nearest to ``wanted`` ``(K,)`` that the rows ``(M, K)`` of real images make possible.

    ``named`` are the positions that were asked for. They keep their values, and only their groups are looked at. In a
    group whose values no row shows, the values of the nearest row (the commonest among equals) that has what was asked
    for are taken; if no row has that, the group stays as it is wanted.
    """
    data, possible = np.asarray(rows, np.uint8), np.array(wanted, np.uint8)
    if not len(data):
        return PossibleAttributes(possible, [])
    asked = np.zeros(len(possible), bool)
    asked[np.asarray(named, np.intp)] = True
    unseen: list[int] = []
    groups = exclusive_groups(data)
    for group in np.unique(groups[asked]):
        member = np.flatnonzero(groups == group)
        fixed = asked[member]
        seen, counts = np.unique(data[:, member], axis=0, return_counts=True)
        agrees = (seen[:, fixed] == possible[member][fixed]).all(1)
        if agrees.any():
            distance = (seen[agrees] != possible[member]).sum(1)
            order = np.lexsort((-counts[agrees], distance))
            possible[member] = seen[agrees][order[0]]
        else:
            unseen += [int(k) for k in member[fixed]]
    return PossibleAttributes(possible, unseen)


def exclusion(rows: ArrayLike, names: Sequence[str], present: Iterable[str], absent: Iterable[str]) -> str | None:
    """Say which parts of a request exclude each other in the rows ``(M, K)`` of real images, with counts, or None."""
    data = np.asarray(rows, np.uint8)
    on, off = find_attributes(present, names), find_attributes(absent, names)
    if not len(data) or set(on) & set(off):
        return None
    wanted = np.zeros(len(names), np.uint8)
    wanted[on] = 1
    unseen = sorted(set(nearest_possible(data, wanted, [*on, *off]).unseen))
    if not unseen:
        return None
    has = {("" if k in on else "no ") + names[k].replace("_", " "): data[:, k] == wanted[k] for k in unseen}
    counts = ", ".join(f"{name} {int(each.sum())}" for name, each in has.items())
    chance = float(np.prod([each.mean() for each in has.values()]) * len(data))
    return (
        f"of {len(data)} rows of training pictures none has {' and '.join(has)} together ({counts}; by chance "
        f"{chance:.0f} would)"
    )


def attribute_row(wanted: Iterable[str], known: Sequence[str]) -> NDArray[np.uint8]:
    """Return a row ``(K,)`` of 0/1 over the names ``known``, with ones for those that are wanted."""
    row = np.zeros(len(known), np.uint8)
    row[find_attributes(wanted, known)] = 1
    return row


def read_components(text: str, known: Sequence[str], latents: AttributeLatents) -> list[dict[str, int]]:
    """Return which modes of attributes a text asks for, ``{name: component}``: ``Eyeglasses=2,Wearing_Hat=all``.

    One entry for each component of the attribute that is ``all``, if any; those that the training data never show are
    left out. Raises ValueError for what is not ``NAME=NUMBER``, unknown attributes (naming the nearest), components
    that do not exist or never occur, and for more than one ``all``.
    """
    fixed: dict[str, int] = {}
    every: dict[str, list[int]] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        given, equals, value = (word.strip() for word in part.partition("="))
        if not equals:
            raise ValueError(f"{part!r} is no component; write an attribute and a number, such as Eyeglasses=1")
        token = find_attributes([given], known)[0]
        name = known[token]
        occur = [c for c, share in enumerate(latents.weights(token)) if share > 0]
        if name in fixed or name in every:
            raise ValueError(f"there are two components of {name}; choose one")
        if value == "all":
            every[name] = occur
        elif value.isdecimal() and int(value) in occur:
            fixed[name] = int(value)
        else:
            raise ValueError(f"the component of {name} is {value!r}; choose {', '.join(map(str, occur))} or all")
    if len(every) > 1:
        raise ValueError(f"all components of {' and of '.join(every)}; choose one of them")
    return [{**fixed, name: c} for name, occur in every.items() for c in occur] or [fixed]
