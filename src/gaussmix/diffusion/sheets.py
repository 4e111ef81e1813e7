"""Contact sheets of a model: what to ask for in an overview, and how a request is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.sampling import draw
from gaussmix.sheets import contact_sheet, save_atomic

if TYPE_CHECKING:
    from gaussmix.diffusion.edit import EditResult

MOST_ON_A_SHEET = 256
_TRAJECTORY = 10  # estimates in a row
_COLUMNS, _EDITS_IN_A_ROW = 8, 6
_SHEET_ROWS, _SHEET_COLUMNS = 8, 8


def sheet_requests(pipeline: AttributeDiffusionPipeline, rows: int = _SHEET_ROWS) -> list[list[str]]:
    """What to ask for in the rows of an overview: pairs of attributes that are nearly independent in the data.

    Attributes come from the rarest up, each in one pair at most.
    """
    names, data = pipeline.attribute_names, pipeline.known_rows().astype(float)
    together = data.T @ data
    expected = np.outer(np.diag(together), np.diag(together)) / max(1, len(data))
    free = [int(k) for k in np.argsort(np.diag(together), kind="stable") if together[k, k] > 0]
    requests: list[list[str]] = []
    while free and len(requests) < rows:
        k = free.pop(0)
        partners = [j for j in free if together[k, j] > 0]
        pair = [k]
        if partners:
            pair.append(min(partners, key=lambda j: abs(np.log(together[k, j] / expected[k, j]))))
            free.remove(pair[1])
        requests.append([names[j] for j in pair])
    return requests or [[]]


def draw_sheet(
    pipeline: AttributeDiffusionPipeline, path: Path, *, guidance: float, seed: int, step: int, num_steps: int = 10
) -> None:
    """Draw an overview after ``step`` training steps: each row a request, all else as in the data."""
    requests = sheet_requests(pipeline)
    attributes = [
        pipeline.choose_attributes(request, count=_SHEET_COLUMNS, seed=seed + i) for i, request in enumerate(requests)
    ]
    images, _ = draw(pipeline, np.concatenate(attributes), seed=seed, steps=num_steps, guidance=guidance)
    sheet = contact_sheet(
        images,
        columns=_SHEET_COLUMNS,
        title=f"Faces on request, after {step:,} training steps",
        row_labels=[label(request) for request in requests],
        caption=(
            "Each row shows pictures with the attributes named on its left; all else is drawn as in the training "
            f"data. Guidance {guidance:g}, {num_steps} steps, seed {seed}."
        ),
    )
    save_atomic(sheet, path)


def label(present: list[str], absent: list[str] | None = None) -> str:
    """A request in words: "Bald and Sunglasses, not Smiling"."""
    words = " and ".join(present)
    if absent:
        words += (", " if words else "") + "not " + " nor ".join(absent)
    return words.replace("_", " ") or "as in the data"


def describe(components: Mapping[str, int]) -> str:
    """Components in words: "Eyeglasses = 2"."""
    return ", ".join(f"{name.replace('_', ' ')} = {component}" for name, component in components.items())


def sample_sheet(
    images: NDArray[np.uint8],
    trajectory: NDArray[np.uint8] | None,
    timesteps: Sequence[int],
    kinds: Sequence[Mapping[str, int]],
    *,
    title: str,
    caption: str,
) -> Image.Image:
    """Lay out drawn pictures ``(R M, S, S, 3)``, a row for each of R kinds, which are choices of components.

    With the estimates ``trajectory`` ``(steps, R M, S, S, 3)`` at ``timesteps``, a row a picture and ten of its
    estimates.
    """
    per_kind = len(images) // len(kinds)
    columns, row_labels, column_labels, about = min(_COLUMNS, len(images)), None, None, ""
    if len(kinds) > 1:
        columns, row_labels = per_kind, [describe(kind) for kind in kinds]
        about = "A row is a kind. A column is one noise and one Z but for that. "
    if trajectory is not None:
        shown = sorted({round(i) for i in np.linspace(0, len(trajectory) - 1, _TRAJECTORY)})
        images = trajectory[shown].swapaxes(0, 1).reshape(-1, *images.shape[1:])
        columns, column_labels = len(shown), [f"t = {timesteps[i]}" for i in shown]
        row_labels = None if row_labels is None else [label for label in row_labels for _ in range(per_kind)]
        about = "The estimate x0* on the way from noise, a row a picture. "
    return contact_sheet(
        images,
        columns=columns,
        title=title,
        row_labels=row_labels,
        column_labels=column_labels,
        caption=about + caption,
    )


def edit_sheet(
    picture: NDArray[np.uint8],
    redrawn: NDArray[np.uint8],
    results: Sequence[EditResult],
    kinds: Sequence[Mapping[str, int]],
    *,
    title: str,
    caption: str,
) -> Image.Image:
    """Lay out rows of a picture ``(S, S, 3)``, what was read in it, ``redrawn``, and its edits, of several kinds."""
    cells, labels = [], []
    for result, kind in zip(results, kinds, strict=True):
        for start in range(0, len(result.images), _EDITS_IN_A_ROW):
            edits = list(result.images[start : start + _EDITS_IN_A_ROW])
            blank = [np.full_like(picture, 255)] * (min(len(result.images), _EDITS_IN_A_ROW) - len(edits))
            cells += [picture, redrawn, *edits, *blank]
            labels.append(describe(kind) if start == 0 else "")
    columns = len(cells) // len(labels)
    return contact_sheet(
        np.stack(cells),
        columns=columns,
        title=title,
        row_labels=labels if any(labels) else None,
        column_labels=["the picture", "as read", *["edit"] * (columns - 2)],
        caption=f"As read: drawn anew from the attributes and the Z that were read. {caption}",
    )
