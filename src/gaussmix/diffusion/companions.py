"""What else must change when an attribute of a picture is changed: black hair goes when red hair comes.

Nobody writes down which attributes exclude each other; the rows of the training data show it. Two attributes exclude
each other if no row has both although independent ones would have met in ``EXPECTED_MEETINGS`` rows or more. What is
linked by exclusions, directly or through others, is a group (all colours of hair, with Bald and Wearing_Hat), and a
group's values are possible if some row shows them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

EXPECTED_MEETINGS = 10.0
"""Rows in which two independent attributes would meet before their never meeting means anything."""


def exclusive_groups(rows: ArrayLike) -> NDArray[np.intp]:
    """The group of each attribute, ``(K,)``, for rows of 0/1 ``(M, K)``."""
    data = np.asarray(rows, np.float64)
    together = data.T @ data
    expected = np.outer(data.sum(0), data.sum(0)) / max(1, len(data))
    excluded = (together == 0) & (expected >= EXPECTED_MEETINGS)
    return np.asarray(connected_components(csr_array(excluded), directed=False)[1])


class Settled(NamedTuple):
    """``attributes``: ``(K,)`` uint8. ``unseen``: positions of what was asked for together and no row shows."""

    attributes: NDArray[np.uint8]
    unseen: list[int]


def settle(rows: ArrayLike, wanted: ArrayLike, named: ArrayLike) -> Settled:
    """The attribute row nearest to ``wanted`` ``(K,)`` that the data make possible, group by group.

    Args:
        rows: ``(M, K)`` of real images.
        named: positions that were asked for. They keep their values, and only their groups are looked at. In a group
            whose values no row shows, the values of the nearest row (the commonest among equals) that has what was
            asked for are taken; if no row has that, the group stays as it is wanted.
    """
    data, settled = np.asarray(rows, np.uint8), np.array(wanted, np.uint8)
    if not len(data):
        return Settled(settled, [])
    asked = np.zeros(len(settled), bool)
    asked[np.asarray(named, np.intp)] = True
    unseen: list[int] = []
    groups = exclusive_groups(data)
    for group in np.unique(groups[asked]):
        member = np.flatnonzero(groups == group)
        fixed = asked[member]
        seen, counts = np.unique(data[:, member], axis=0, return_counts=True)
        agrees = (seen[:, fixed] == settled[member][fixed]).all(1)
        if agrees.any():
            distance = (seen[agrees] != settled[member]).sum(1)
            order = np.lexsort((-counts[agrees], distance))
            settled[member] = seen[agrees][order[0]]
        else:
            unseen += [int(k) for k in member[fixed]]
    return Settled(settled, unseen)
