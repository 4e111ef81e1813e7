r"""What the latents decide: what a component says of a sub-type, and what the latents say of each other.

- Information of a component: :math:`2 I(C; S) / (H(C) + H(S))`, normalised mutual information (arithmetic).
- Latents may be drawn independently only if they are nearly so in the data, also of the attributes beside them.

Their share of a picture is estimated by `gaussmix.papers.variance_parts`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEAST_IMAGES = 100
"""With fewer images that have both attributes, the largest of their correlations is mostly chance: NaN."""


def component_information(components: ArrayLike, kinds: ArrayLike) -> float:
    """Normalised mutual information (arithmetic) of components ``(M,)`` and sub-types ``(M,)``, any labels, 0 ... 1.

    0 if either takes a single value. Independent labels have about ``(C-1)(S-1) / M / (H(C) + H(S))``, entropies in
    nats, and not 0.
    Raises ValueError if the lengths differ or are zero.
    """
    components, kinds = np.asarray(components), np.asarray(kinds)
    if components.shape != kinds.shape or components.ndim != 1 or not len(kinds):
        raise ValueError(
            f"components have shape {components.shape} and kinds {kinds.shape}; give one of each a picture"
        )
    c, s = (np.unique(labels, return_inverse=True)[1] for labels in (components, kinds))
    joint = np.zeros((c.max() + 1, s.max() + 1))
    np.add.at(joint, (c, s), 1 / len(c))

    def entropy(p: NDArray) -> float:
        return float(-(p[p > 0] * np.log(p[p > 0])).sum())

    apart = entropy(joint.sum(1)) + entropy(joint.sum(0))
    single = min(joint.shape) == 1
    return 0.0 if single else 2 * (apart - entropy(joint)) / apart


def latent_correlations(table: ArrayLike, has: ArrayLike) -> NDArray[np.float64]:
    """Largest absolute correlation of a number of ``Z_k`` with one of ``Z_l``, ``(T, T)``.

    ``table``: Z ``(M, T, N)``. ``has``: ``(M, K)`` of 0/1; a base token, ``T = K + 1``, belongs to every image. Taken
    over the images that have both; NaN on the diagonal and below `LEAST_IMAGES`. Of ``N^2`` numbers the largest is not
    zero by chance: about ``2.9 / sqrt(images)`` for N = 8.
    """
    z, gate = _checked(table, has)
    n_tokens, n_numbers = z.shape[1:]
    worst = np.full((n_tokens, n_tokens), np.nan)
    for k in range(n_tokens):
        for j in range(k):
            both = gate[:, k] & gate[:, j]
            if both.sum() >= LEAST_IMAGES:
                pair = np.corrcoef(z[both, k], z[both, j], rowvar=False)[:n_numbers, n_numbers:]
                worst[k, j] = worst[j, k] = np.abs(pair).max()
    return worst


def attributes_told(table: ArrayLike, has: ArrayLike) -> NDArray[np.float64]:
    """R² of a linear regression of attribute ``l`` on ``Z_k`` and ``Z_k^2``, among images with attribute k, ``(K, K)``.

    ``table`` and ``has`` as in `latent_correlations`. NaN on the diagonal and where fewer than `LEAST_IMAGES` have k,
    or all or none of them have l.
    """
    z, gate = _checked(table, has)
    n_attributes = np.asarray(has).shape[1]
    told = np.full((n_attributes, n_attributes), np.nan)
    for k in range(n_attributes):
        own = z[gate[:, k], k]
        if len(own) < LEAST_IMAGES:
            continue
        known = np.column_stack([np.ones(len(own)), own, own**2])
        target = gate[gate[:, k], :n_attributes].astype(float)
        rest = target - known @ np.linalg.lstsq(known, target, rcond=None)[0]
        varying = target.var(0) > 0
        told[k, varying] = 1 - rest.var(0)[varying] / target.var(0)[varying]
    return told


def _checked(table: ArrayLike, has: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Z ``(M, T, N)`` and the gate ``(M, T)``."""
    z, gate = np.asarray(table, float), np.asarray(has, bool)
    if z.ndim != 3 or gate.ndim != 2 or len(z) != len(gate) or z.shape[1] - gate.shape[1] not in (0, 1):
        raise ValueError(
            f"table has shape {z.shape} and has {gate.shape}; expected (M, T, N) and (M, K), T = K or K + 1"
        )
    if z.shape[1] > gate.shape[1]:
        gate = np.column_stack([gate, np.ones(len(gate), bool)])
    return z, gate
