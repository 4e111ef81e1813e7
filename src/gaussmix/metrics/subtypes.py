r"""A judge of sub-types: which of several kinds of a part does a picture show?

The avatars know which pair of glasses, which hat and which mouth was drawn (``AttributeDataset.parts``). A small
network learns to read that off real pictures, one softmax for each part,

.. math:: L = -\sum_p \log \mathrm{softmax}(\ell_p)_{s_p},

with :math:`\ell_p` the logits of the kinds of part :math:`p` and :math:`s_p` the kind that was drawn. With it one can
ask of a generated picture whether a component of the latents picks a sub-type (`gaussmix.latents.shares`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from gaussmix.data.load import AttributeDataset
from gaussmix.metrics.classifier import BATCH_SIZE, AttributeClassifier, _augmented, _placed
from gaussmix.training.schedule import ShuffledBatches, warmup_cosine

STEPS = 1000


class SubtypeJudge:
    """``predict`` names the kind of every part in uint8 images ``(N, S, S, 3)``.

    ``kinds``: for each part its kinds, sorted. ``network`` has one logit for each of them, the parts in this order.
    """

    def __init__(self, kinds: dict[str, tuple[str, ...]], image_size: int):
        self.kinds = kinds
        self.network = AttributeClassifier(
            tuple(f"{part}={kind}" for part in kinds for kind in kinds[part]), image_size
        )

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
    Raises ValueError for parts that the data set does not know and for less than one step, DataError (a ValueError)
    if the train split is empty.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; it must be at least 1")
    known = dataset.parts or {}
    missing = [part for part in parts if part not in known]
    if missing or not parts:
        raise ValueError(f"parts are {', '.join(parts) or 'none'}; {dataset.name} knows {', '.join(known) or 'none'}")
    rows = dataset.indices("train")
    codes = [np.unique(known[part], return_inverse=True) for part in parts]
    truth = torch.from_numpy(np.stack([code[rows] for _, code in codes]))
    kinds = {part: tuple(map(str, names)) for part, (names, _) in zip(parts, codes, strict=True)}
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        judge = SubtypeJudge(kinds, dataset.images.shape[1])
    network, sizes = _placed(judge.network, "cpu"), [len(names) for names in kinds.values()]
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: warmup_cosine(s, s / steps, steps // 5))
    batches = ShuffledBatches(len(rows), BATCH_SIZE, seed)
    for step in range(steps):
        picked = batches[step]
        logits = network(_augmented(dataset.images, rows[picked], rng, torch.device("cpu"))).split(sizes, 1)
        losses = [F.cross_entropy(part, wanted[picked]) for part, wanted in zip(logits, truth, strict=True)]
        loss = torch.stack(losses).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if on_progress is not None:
            on_progress(step + 1, loss.item())
    network.eval()
    return judge
