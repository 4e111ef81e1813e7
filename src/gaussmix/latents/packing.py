"""Many one-dimensional mixtures as few arrays: all their Gaussians one after another, and how many each has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaussmix.density.mixture import GaussianMixture1D

_LONG = {"weights": "gaussians", "means": "gaussians", "stds": "gaussians"} | dict.fromkeys(
    ("atom_positions", "atom_masses"), "atoms"
)
_SHORT = {"bounds": 2, "tail": 3}


def pack_mixtures(mixtures: Sequence[GaussianMixture1D]) -> dict[str, NDArray[Any]]:
    """Arrays for `unpack_mixtures`; none of their names starts with "part"."""
    each = [mixture.to_tensors() for mixture in mixtures]
    packed: dict[str, NDArray[Any]] = {
        name: np.concatenate([tensors[name] for tensors in each] or [np.empty(0)]) for name in _LONG
    }
    packed |= {
        name: np.concatenate([tensors[name] for tensors in each] or [np.empty(0)]).reshape(-1, size)
        for name, size in _SHORT.items()
    }
    packed["n_gaussians"] = np.array([len(tensors["weights"]) for tensors in each], np.int64)
    packed["n_atoms"] = np.array([len(tensors["atom_masses"]) for tensors in each], np.int64)
    return packed


def unpack_mixtures(packed: Mapping[str, NDArray[Any]]) -> tuple[GaussianMixture1D, ...]:
    """The mixtures of `pack_mixtures`. Raises KeyError for a missing array, ValueError for wrong values."""
    ends = {kind: np.cumsum(packed[f"n_{kind}"]) for kind in ("gaussians", "atoms")}
    mixtures = []
    for i in range(len(packed["n_gaussians"])):
        tensors = {
            name: packed[name][ends[kind][i] - packed[f"n_{kind}"][i] : ends[kind][i]] for name, kind in _LONG.items()
        }
        mixtures.append(GaussianMixture1D.from_tensors(tensors | {name: packed[name][i] for name in _SHORT}))
    return tuple(mixtures)
