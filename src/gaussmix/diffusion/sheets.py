"""Contact sheets of a model: what to ask for in an overview, and how a request is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.sampling import draw
from gaussmix.sheets import contact_sheet, save_atomic

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
