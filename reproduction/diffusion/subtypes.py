r"""What latents decide: a judge of sub-types, what a component says of a sub-type, what latents say of each other.

The avatars know which pair of glasses, which hat and which mouth was drawn (``AttributeDataset.parts``). A small
network learns to read that off real pictures, one softmax for each part,

.. math:: L = -\sum_p \log \mathrm{softmax}(\ell_p)_{s_p},

with :math:`\ell_p` the logits of the kinds of part :math:`p` and :math:`s_p` the kind that was drawn. With it one can
ask of a generated picture whether a component of the latents picks a sub-type. What component C says of kind S is
their normalised mutual information, :math:`2 I(C; S) / (H(C) + H(S))`. And latents may be drawn independently only if
they are nearly so in the data, also of the attributes beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray

from gaussmix.data.base import AttributeDataset
from gaussmix.metrics.classifier import AttributeClassifier
from gaussmix.metrics.features import train_network

STEPS = 1000
LEAST_IMAGES = 100
"""With fewer images that have both attributes, the largest of their correlations is mostly chance: NaN."""


class SubtypeJudge:
    """``predict`` names the kind of every part in uint8 images ``(N, S, S, 3)``.

    ``kinds``: for each part its kinds, sorted. ``network`` has one logit for each of them, the parts in this order.
    """

    def __init__(self, kinds: dict[str, tuple[str, ...]], network: AttributeClassifier):
        self.kinds, self.network = kinds, network

    def predict(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.str_]]:
        """For each part the likeliest kind in each image, ``(N,)`` strings."""
        sizes = [len(kinds) for kinds in self.kinds.values()]
        parts = np.split(self.network.logits(images), np.cumsum(sizes)[:-1], axis=1)
        return {
            part: np.array(self.kinds[part])[logits.argmax(1)] for part, logits in zip(self.kinds, parts, strict=True)
        }


def train_subtype_judge(
    dataset: AttributeDataset,
    parts: Sequence[str],
    *,
    steps: int = STEPS,
    seed: int = 0,
    on_progress: Callable[[int, float], None] | None = None,
) -> SubtypeJudge:
    """Train on the train split of a data set that knows the ``parts`` of its pictures.

    AdamW and pictures shifted and brightened as for the judge of attributes. One seed gives one result on one machine;
    the global random state stays as it was. ``on_progress`` gets the number of steps done and the loss.
    """
    assert dataset.parts is not None
    rows = dataset.indices("train")
    codes = [np.unique(dataset.parts[part], return_inverse=True) for part in parts]
    truth = torch.from_numpy(np.stack([code[rows] for _, code in codes]))
    kinds = {part: tuple(map(str, names)) for part, (names, _) in zip(parts, codes, strict=True)}
    outputs = tuple(f"{part}={kind}" for part in kinds for kind in kinds[part])
    sizes = [len(names) for names in kinds.values()]

    def loss(logits: torch.Tensor, picked: NDArray[np.int64]) -> torch.Tensor:
        pairs = zip(logits.split(sizes, 1), truth, strict=True)
        return torch.stack([F.cross_entropy(part, wanted[picked]) for part, wanted in pairs]).sum()

    network = train_network(
        lambda data: AttributeClassifier(outputs, data.images.shape[1]),
        dataset,
        rows,
        loss,
        steps=steps,
        seed=seed,
        on_progress=on_progress,
    )
    return SubtypeJudge(kinds, network)


def component_information(components: ArrayLike, kinds: ArrayLike) -> float:
    """Normalised mutual information (arithmetic) of components ``(M,)`` and sub-types ``(M,)``, any labels, 0 ... 1.

    0 if either takes a single value. Independent labels have about ``(C-1)(S-1) / M / (H(C) + H(S))``, entropies in
    nats, and not 0.
    """
    c, s = (np.unique(labels, return_inverse=True)[1] for labels in (components, kinds))
    joint = np.zeros((c.max() + 1, s.max() + 1))
    np.add.at(joint, (c, s), 1 / len(c))

    def entropy(p: NDArray) -> float:
        return float(-(p[p > 0] * np.log(p[p > 0])).sum())

    apart = entropy(joint.sum(1)) + entropy(joint.sum(0))
    single = min(joint.shape) == 1
    return 0.0 if single else 2 * (apart - entropy(joint)) / apart


def latent_correlations(table: NDArray, has: NDArray) -> NDArray[np.float64]:
    """Largest absolute correlation of a number of ``Z_k`` with one of ``Z_l``, ``(T, T)``.

    ``table``: Z ``(M, T, N)``. ``has``: ``(M, K)`` of 0/1; a base token, ``T = K + 1``, belongs to every image. Taken
    over the images that have both; NaN on the diagonal and below `LEAST_IMAGES`. Of ``N^2`` numbers the largest is not
    zero by chance: about ``2.9 / sqrt(images)`` for N = 8.
    """
    z, gate = table.astype(float), _gate(table, has)
    n_tokens, n_numbers = z.shape[1:]
    worst = np.full((n_tokens, n_tokens), np.nan)
    for k in range(n_tokens):
        for j in range(k):
            both = gate[:, k] & gate[:, j]
            if both.sum() >= LEAST_IMAGES:
                pair = np.corrcoef(z[both, k], z[both, j], rowvar=False)[:n_numbers, n_numbers:]
                worst[k, j] = worst[j, k] = np.abs(pair).max()
    return worst


def attributes_told(table: NDArray, has: NDArray) -> NDArray[np.float64]:
    """R² of a linear regression of attribute ``l`` on ``Z_k`` and ``Z_k^2``, among images with attribute k, ``(K, K)``.

    ``table`` and ``has`` as in `latent_correlations`. NaN on the diagonal and where fewer than `LEAST_IMAGES` have k,
    or all or none of them have l.
    """
    z, gate = table.astype(float), _gate(table, has)
    n_attributes = has.shape[1]
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


def _gate(table: NDArray, has: NDArray) -> NDArray[np.bool_]:
    """Which tokens each image has, ``(M, T)``."""
    rest = table.shape[1] - has.shape[1]
    return np.column_stack([has, np.ones((len(has), rest))]).astype(bool)
