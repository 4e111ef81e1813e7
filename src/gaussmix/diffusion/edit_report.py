"""How well edits work: does the change show, and does everything else stay?

Each attribute in turn is switched in held-out pictures whose attributes are known: on where it is off, off where it is
on. A classifier that never saw the model (`gaussmix.metrics.classifier`) looks at every edit. *Found* is the share of
edits in which the attribute is as asked for. *Kept* is the share of right answers about attributes that were not to
change, and *kept before* the same share on the untouched pictures: the judge's own errors, hence the ceiling.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gaussmix._progress import progress_bar
from gaussmix.data.base import AttributeDataset
from gaussmix.diffusion.edit import EDIT_STEPS, edit, find_encoder
from gaussmix.metrics.classifier import load_or_train_classifier

if TYPE_CHECKING:
    from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline


@dataclass(frozen=True, eq=False)
class EditReport:
    """Shares in [0, 1], one entry for each of the K attributes, NaN where there was no picture.

    Attributes:
        attribute_names: K names.
        switched_on, switched_off: found as asked for, where it was absent and where it was present.
        kept, kept_before: right answers about attributes that were to stay, after and before the edit.
        untouched: share of the pixels that the edit cannot reach, m = 0.
        read: share of pictures whose attribute the model's encoder reads rightly.
        count: pictures edited for each attribute.
    """

    attribute_names: tuple[str, ...]
    switched_on: NDArray[np.float64]
    switched_off: NDArray[np.float64]
    kept: NDArray[np.float64]
    kept_before: NDArray[np.float64]
    untouched: NDArray[np.float64]
    read: NDArray[np.float64]
    count: int

    def markdown(self) -> str:
        """A table with a row for each attribute and their mean."""
        columns = ("switched_on", "switched_off", "kept", "kept_before", "untouched", "read")
        table = np.stack([getattr(self, name) for name in columns], 1)
        rows = [*zip(self.attribute_names, table, strict=True), ("mean", np.nanmean(table, 0))]
        headings = (
            *("attribute", "found when switched on", "gone when switched off", "others kept", "before the edit"),
            *("pixels out of reach", "read rightly"),
        )
        lines = [f"| {' | '.join(headings)} |", "| --- " * (1 + len(columns)) + "|"]
        for name, values in rows:
            cells = ["-" if np.isnan(value) else f"{value:.1%}" for value in values]
            lines.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")
        return "\n".join(lines)


def measure_edits(
    pipeline: AttributeDiffusionPipeline,
    dataset: AttributeDataset,
    *,
    count: int = 64,
    seed: int = 0,
    steps: int = EDIT_STEPS,
    guidance: float = 1.0,
    cache: Path | None = None,
    progress: bool = True,
) -> EditReport:
    """Switch each attribute in ``count`` pictures of the test split, chosen by ``seed``; ``count * K`` edits.

    The model reads A and Z off the pictures by itself; what is right is decided by the data set. The classifier is
    trained on first use and kept under ``cache`` (by default `gaussmix.data.cache_dir`).
    """
    names = pipeline.attribute_names
    if tuple(dataset.attribute_names) != names:
        raise ValueError(f"{dataset.name} has other attributes than the model; edit the data it was trained on")
    if count < 1:
        raise ValueError(f"count is {count}; it must be at least 1")
    held_out = np.random.default_rng(seed).permutation(dataset.indices("test"))[:count]
    images, truth = np.asarray(dataset.images[held_out]), dataset.attributes[held_out]
    judge, _ = load_or_train_classifier(dataset, cache=cache, progress=progress)
    right_before = judge.predict(images) == truth
    switched = np.full((2, len(names)), np.nan)
    kept, kept_before, untouched = np.zeros((3, len(names)))
    with progress_bar("editing", len(images) * len(names), progress) as show:
        for k, name in enumerate(names):
            stayed = []
            for value in (0, 1):  # of the attribute before the edit
                rows = np.flatnonzero(truth[:, k] == value)
                if not len(rows):
                    continue
                present, absent = ([], [name]) if value else ([name], [])
                result = edit(pipeline, images[rows], present, absent, seed=seed, steps=steps, guidance=guidance)
                found = judge.predict(result.images)
                switched[value, k] = (found[:, k] != value).mean()
                stays = result.attributes_after == result.attributes_before
                stays[:, k] = False
                stayed.append(np.stack([(found == truth[rows])[stays], right_before[rows][stays]]))
                untouched[k] += (result.masks == 0).mean((1, 2)).sum() / len(images)
            kept[k], kept_before[k] = np.concatenate(stayed, 1).mean(1)
            show((k + 1) * len(images))
    read = (find_encoder(pipeline).read_attributes(images) == truth).mean(0)
    return EditReport(names, switched[0], switched[1], kept, kept_before, untouched, read, count=len(images))
