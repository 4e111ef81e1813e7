"""Drawing many pictures and laying them out: what the command line and the training run share.

Picture ``i`` of seed ``s`` takes its noise and its Z from ``(s, i)`` alone, so the first four of sixteen are the four.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.requests import unpack_rows
from gaussmix.pictures import contact_sheet, save_atomic
from gaussmix.training.schedule import step_generator

BATCH = 32
_SHEET_ROWS, _SHEET_COLUMNS = 8, 8


def default_steps(scheduler_name: str, timesteps: int) -> int:
    """Enough steps for a good picture: 20 for the solvers of a deterministic path, all T for the random ones."""
    return min(20, timesteps) if scheduler_name in ("dpm++", "ddim") else timesteps


def draw(
    pipeline: AttributeDiffusionPipeline,
    attributes: NDArray[np.uint8],
    *,
    seed: int = 0,
    steps: int = 20,
    guidance: float = 2.0,
    fix_latent: bool = False,
    fix_noise: bool = False,
    trajectory: bool = False,
    on_step: Callable[[int], None] | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Draw pictures for attributes ``(M, K)``, `BATCH` at a time.

    Args:
        fix_latent: all pictures share the Z of the first (D Fig. 5: what the noise decides).
        fix_noise: all share its starting noise (what Z decides).
        trajectory: also return the estimates x0* of each step.
        on_step: called after each step with the number of picture-steps done, ``M * steps`` in all.

    Returns ``(M, H, W, 3)`` uint8 and, if asked for, ``(steps, M, H, W, 3)``.
    """
    size, channels = pipeline.unet.config["sample_size"], pipeline.unet.config["in_channels"]
    device = pipeline.unet.device
    # bf16 is up to 1.6 times faster on a CPU; parameters in half precision are computed with as they are elsewhere.
    precision = torch.autocast("cpu", torch.bfloat16) if device.type == "cpu" else nullcontext()
    pipeline.set_progress_bar_config(disable=True)
    pictures, paths, done = [], [], 0
    for start in range(0, len(attributes), BATCH):
        part = attributes[start : start + BATCH]
        generators = [step_generator(seed, start + i, stream=0) for i in range(len(part))]
        first = step_generator(seed, 0, stream=0)
        first_latent, first_noise = _start(pipeline, first, channels, size)
        pairs = [_start(pipeline, generator, channels, size) for generator in generators]
        latents = torch.cat([first_latent if fix_latent else z for z, _ in pairs])
        noise = torch.cat([first_noise if fix_noise else x for _, x in pairs])

        def report(step: int, _timestep: int, _estimate: torch.Tensor, done: int = done, n: int = len(part)) -> None:
            if on_step is not None:
                on_step(done + (step + 1) * n)

        with precision:
            out = pipeline(
                part,
                latents,
                num_inference_steps=steps,
                guidance_scale=guidance,
                generator=generators,
                noise=noise,
                output_type="np",
                callback=report,
                return_trajectory=trajectory,
            )
        pictures.append(np.asarray(out.images))
        paths.append(out.trajectory)
        done += len(part) * steps
    return np.concatenate(pictures), np.concatenate(paths, axis=1) if trajectory else None


def _start(
    pipeline: AttributeDiffusionPipeline, generator: torch.Generator, channels: int, size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Z ``(1, T, N)`` and noise ``(1, C, H, W)`` of one picture."""
    return pipeline.draw_latents(1, generator), torch.randn((1, channels, size, size), generator=generator)


def sheet_requests(pipeline: AttributeDiffusionPipeline, rows: int = _SHEET_ROWS) -> list[list[str]]:
    """What to ask for in the rows of an overview: pairs of attributes that are nearly independent in the data.

    Attributes come from the rarest up, each in one pair at most.
    """
    names, packed = pipeline.attribute_names, pipeline.config["attribute_rows"]
    data = unpack_rows(packed, len(names)).astype(float) if packed else np.zeros((1, len(names)))
    together = data.T @ data
    expected = np.outer(np.diag(together), np.diag(together)) / len(data)
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
    pipeline: AttributeDiffusionPipeline,
    path: Path,
    *,
    guidance: float,
    seed: int,
    step: int,
    num_steps: int = 20,
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


def write_folder(
    folder: Path, images: NDArray[np.uint8], attributes: NDArray[np.uint8], names: tuple[str, ...]
) -> None:
    """Write single PNGs and a metadata.csv, an image folder that `gaussmix.load_dataset` reads back."""
    for i, image in enumerate(images):
        save_atomic(Image.fromarray(image), folder / f"{i:05d}.png")
    lines = ["file_name," + ",".join(names)]
    lines += [f"{i:05d}.png," + ",".join(str(int(a)) for a in row) for i, row in enumerate(attributes)]
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
