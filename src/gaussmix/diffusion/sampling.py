"""Drawing many pictures and laying them out on contact sheets: what the command line and the training run share.

Picture ``i`` of seed ``s`` takes its noise and its Z from ``(s, i)`` alone, so the first four of sixteen are the four.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gaussmix._guard import counted
from gaussmix.diffusion.conditions import find_attributes
from gaussmix.diffusion.outputs import to_uint8
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.sheets import contact_sheet, save_atomic
from gaussmix.training.device import fast_autocast
from gaussmix.training.schedule import step_generator

if TYPE_CHECKING:
    from gaussmix.diffusion.edit import EditResult

TABLE = "metadata.csv"
MOST_ON_A_SHEET = 256
_TRAJECTORY, _COLUMNS, _EDITS_IN_A_ROW, _SHEET_ROWS, _SHEET_COLUMNS = 10, 8, 6, 8, 8  # pictures
SHEET_PICTURES = _SHEET_ROWS * _SHEET_COLUMNS
_PIXELS_AT_ONCE = {"cpu": 32 * 32 * 32}
"""Pixels of the pictures drawn at once. On a CPU an evaluation costs the same an image from 16 images of 32 x 32 up."""
_PIXELS_ELSEWHERE = 512 * 32 * 32


class DrawnBatch(NamedTuple):
    """Consecutive pictures ``(B, H, W, 3)`` uint8, the first of which has the number ``start``, and perhaps the
    ``trajectory``: the estimates x0* of each step, ``(steps, B, H, W, 3)`` uint8."""

    start: int
    images: NDArray[np.uint8]
    trajectory: NDArray[np.uint8] | None = None


def default_steps(scheduler_name: str, timesteps: int) -> int:
    """Enough steps for a good picture: few for the solvers of a deterministic path, all T for the random ones.

    Ten of DPM-Solver++ are as good as twenty (docs/sampling.md); DDIM is of first order and wants more.
    """
    return min({"dpm++": 10, "ddim": 20}.get(scheduler_name, timesteps), timesteps)


def batch_size(size: int, device: torch.device) -> int:
    """How many pictures of ``size`` x ``size`` pixels to draw at once: enough to be fast, few enough for memory."""
    return max(1, _PIXELS_AT_ONCE.get(device.type, _PIXELS_ELSEWHERE) // size**2)


def draw_batches(
    pipeline: AttributeDiffusionPipeline,
    attributes: NDArray[np.uint8],
    *,
    seed: int = 0,
    first: int = 0,
    steps: int = 10,
    guidance: float = 2.0,
    classifier_scale: float = 0.0,
    components: Mapping[str, int] | None = None,
    fix_latent: bool = False,
    fix_noise: bool = False,
    trajectory: bool = False,
    on_step: Callable[[int], None] | None = None,
    on_estimate: Callable[[int, NDArray[np.uint8]], None] | None = None,
) -> Iterator[DrawnBatch]:
    """Draw pictures one batch after the other: memory does not grow with their number.

    Parameters
    ----------
    pipeline, attributes : AttributeDiffusionPipeline, ndarray
        The model, and ``(M, K)`` of 0/1, a picture each.
    seed, first : int
        Row i is picture ``first + i``, which takes its noise and its Z from ``(seed, first + i)``.
    steps, guidance, classifier_scale : int, float, float
        The pipeline's ``num_inference_steps``, ``guidance_scale`` and ``classifier_scale``.
    components : mapping of str to int, optional
        Modes of attributes, by name: ``{"Eyeglasses": 2}``.
    fix_latent, fix_noise : bool
        All pictures share the Z of the first (D Fig. 5: what the noise decides), or its starting noise.
    trajectory : bool
        Keep the estimates x0* of each step.
    on_step, on_estimate : callable, optional
        Called after each step, with the number of picture-steps done, ``M * steps`` in all; with the row of the batch's
        first picture and the batch's estimates x0* ``(B, H, W, 3)``.

    Yields
    ------
    DrawnBatch
        The next pictures.
    """
    device = pipeline.network.device
    pipeline.set_progress_bar_config(disable=True)
    first_z, first_noise = _start(pipeline, step_generator(seed, first, stream=0), components)
    at_once = batch_size(pipeline.network.config["sample_size"], device)
    for start in range(0, len(attributes), at_once):
        part = attributes[start : start + at_once]
        generators = [step_generator(seed, first + start + i, stream=0) for i in range(len(part))]
        pairs = [_start(pipeline, generator, components) for generator in generators]
        path: list[NDArray[np.uint8]] = []

        def report(step: int, _timestep: int, estimate: Tensor, start=start, part=part, path=path) -> None:
            if trajectory:
                path.append(to_uint8(estimate))
            if on_estimate is not None:
                on_estimate(start, to_uint8(estimate))
            if on_step is not None:
                on_step(start * steps + (step + 1) * len(part))

        with fast_autocast(device, pipeline.network.dtype):
            out = pipeline(
                part,
                torch.cat([first_z if fix_latent else z for z, _ in pairs]),
                num_inference_steps=steps,
                guidance_scale=guidance,
                classifier_scale=classifier_scale,
                generator=generators,
                latents=torch.cat([first_noise if fix_noise else noise for _, noise in pairs]),
                output_type="uint8",
                callback=report if trajectory or on_step is not None or on_estimate is not None else None,
            )
        yield DrawnBatch(start, np.asarray(out.images), np.stack(path) if path else None)


def draw_kinds(
    pipeline: AttributeDiffusionPipeline,
    attributes: NDArray[np.uint8],
    kinds: Iterable[Mapping[str, int]],
    *,
    steps: int,
    on_step: Callable[[int], None],
    **options: Any,
) -> Iterator[DrawnBatch]:
    """Draw pictures for attributes ``(M, K)`` with one choice of components after the other, of the same noise.

    Picture i of choice r has the number ``r M + i``. Takes the options of `draw_batches`.
    """
    for row, components in enumerate(kinds):
        first = row * len(attributes)
        told = partial(lambda before, done: on_step(before + done), first * steps)
        for batch in draw_batches(pipeline, attributes, components=components, steps=steps, on_step=told, **options):
            yield batch._replace(start=first + batch.start)


def draw(
    pipeline: AttributeDiffusionPipeline, attributes: NDArray[np.uint8], **options: Any
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Draw all pictures of `draw_batches`: ``(M, H, W, 3)`` uint8 and, with ``trajectory``, ``(steps, M, H, W, 3)``.

    Parameters
    ----------
    pipeline, attributes, **options : AttributeDiffusionPipeline, ndarray, options
        As in `draw_batches`.
    """
    return first_pictures(draw_batches(pipeline, attributes, **options), len(attributes))


def first_pictures(
    batches: Iterable[DrawnBatch], most: int, row: int | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Run through all batches and keep the first ``most`` pictures, and trajectories where there are.

    With ``row``, pictures come in rows of so many, and the first ``most`` of each row are kept.
    """
    images, paths = [], []
    for batch in batches:
        place = np.arange(batch.start, batch.start + len(batch.images))
        kept = (place if row is None else place % row) < most
        if kept.any():
            images.append(batch.images[kept])
            paths += [] if batch.trajectory is None else [batch.trajectory[:, kept]]
    return np.concatenate(images), np.concatenate(paths, axis=1) if paths else None


def _start(
    pipeline: AttributeDiffusionPipeline, generator: torch.Generator, components: Mapping[str, int] | None
) -> tuple[Tensor, Tensor]:
    """Z ``(1, T, N)`` and noise ``(1, *state_shape)`` of one picture."""
    z = pipeline.draw_attribute_latents(1, generator, components)
    return z, torch.randn((1, *pipeline.network.state_shape), generator=generator)


def check_folder(folder: Path) -> None:
    """Raises ValueError for a folder that has a metadata.csv, which might be the only list of its pictures."""
    if (folder / TABLE).exists():
        raise ValueError(f"{folder / TABLE} exists and is not replaced; name another folder, or move it away")


def stream_to_folder(
    folder: Path,
    batches: Iterable[DrawnBatch],
    attributes: NDArray[np.uint8],
    names: Sequence[str],
    about: Mapping[str, object] = MappingProxyType({}),
) -> Iterator[DrawnBatch]:
    """Write each batch as single PNGs and rows of a metadata.csv, and pass it on.

    ``attributes`` ``(M, K)`` are those of all pictures, ``names`` the K names. ``about``, such as request and seed,
    goes into each PNG as text, beside its number as "picture" and what it has as "attributes". After each batch the
    folder is an image folder that `gaussmix.load_dataset` reads, also if nothing comes after it. Before the first one
    is there nothing is touched. Raises as `check_folder`.
    """
    check_folder(folder)
    digits = max(5, len(str(len(attributes) - 1)))
    remaining = iter(batches)
    first = list(islice(remaining, 1))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / TABLE).open("x", encoding="utf-8") as table:
        table.write("file_name," + ",".join(names) + "\n")
        for batch in chain(first, remaining):
            rows = []
            for i, image in enumerate(batch.images, batch.start):
                own = ", ".join(name for name, on in zip(names, attributes[i], strict=True) if on)
                told = {**about, "attributes": own, "picture": i}
                save_atomic(Image.fromarray(image), folder / f"{i:0{digits}d}.png", metadata=told)
                rows.append(f"{i:0{digits}d}.png," + ",".join(str(int(a)) for a in attributes[i]))
            table.write("\n".join(rows) + "\n")
            table.flush()
            yield batch


def write_folder(folder: Path, images: NDArray[np.uint8], *rest: Any) -> None:
    """`stream_to_folder` of pictures ``(M, H, W, 3)`` that are all there."""
    for _ in stream_to_folder(folder, [DrawnBatch(0, images)], *rest):
        pass


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
        pair = [k := free.pop(0)]
        if partners := [j for j in free if together[k, j] > 0]:
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
    name = Path(str(pipeline.training.get("data", ""))).name
    subject = "Faces" if name == "avatars" else f"Pictures like those of {name}" if name else "Pictures"
    title, labels = f"{subject} on request, after {counted(step, 'training step')}", list(map(label, requests))
    caption = (
        "For each row the attributes on its left were asked for; all else is drawn as in the training data. "
        f"{guided(guidance).capitalize()}, {counted(num_steps, 'step')}, seed {seed}."
    )
    sheet = contact_sheet(images, columns=_SHEET_COLUMNS, title=title, row_labels=labels, caption=caption)
    save_atomic(sheet, path)


def label(present: list[str], absent: list[str] | None = None) -> str:
    """A request in words: "Bald and Sunglasses, not Smiling"."""
    words = " and ".join(present)
    if absent:
        words += (", " if words else "") + "not " + " nor ".join(absent)
    return words.replace("_", " ") or "as in the data"


def guided(scale: float) -> str:
    """What a guidance scale does, in words that are true of it.

    Parameters
    ----------
    scale : float
        w.
    """
    if scale > 0:
        return f"guidance {scale:g}"
    return f"guidance {scale:g}: {'away from' if scale else 'without regard to'} the request"


def check_pictures(
    pipeline: AttributeDiffusionPipeline, images: NDArray[np.uint8], asked: NDArray[np.uint8], named: Sequence[str]
) -> tuple[NDArray[np.bool_], str]:
    """Have an independent judge look at pictures ``(M, S, S, 3)`` for the attributes that were named in the request.

    Returns which pictures it denies one, ``(M,)``, for what was asked for ``(M, K)``, and a sentence. The judge is
    trained once on the data that the model was trained on. Raises ValueError where these are not known or not there.
    """
    from gaussmix.data.load import load_dataset
    from gaussmix.metrics.classifier import load_or_train_classifier

    told = pipeline.training
    if not told.get("data"):
        raise ValueError("the model does not say what it was trained on: no judge can check its pictures")
    known = {name: told[name] for name in ("count", "seed", "skip_bad") if told.get(name) is not None}
    dataset = load_dataset(told["data"], size=images.shape[1], **known)
    judge, accuracy = load_or_train_classifier(dataset)
    names = pipeline.attribute_names
    own = find_attributes(names, dataset.attribute_names)
    columns = find_attributes(dict.fromkeys(named), names)
    found = judge.predict(images)[:, [own[k] for k in columns]]
    wrong = found != (asked[:, columns] > 0)
    each = ", ".join(
        f"{names[k].replace('_', ' ')} as asked for in {int(right)} (right in {accuracy[own[k]]:.0%} of real pictures)"
        for k, right in zip(columns, (~wrong).sum(0), strict=True)
    )
    said = f"Checked by a judge: of {len(images)} pictures {each or 'nothing was asked for'}. Red: it denies some"
    return wrong.any(1), said


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
    marked: Collection[int] = (),
) -> Image.Image:
    """Lay out drawn pictures ``(R M, S, S, 3)``, a row for each of R kinds, which are choices of components.

    With the estimates ``trajectory`` ``(steps, R M, S, S, 3)`` at ``timesteps``, a row a picture and ten of its
    estimates; without them the ``marked`` ones get a red frame.
    """
    per_kind = len(images) // len(kinds)
    columns, rows, column_labels, about = min(_COLUMNS, len(images)), None, None, ""
    if len(kinds) > 1:
        columns, rows = per_kind, [describe(kind) for kind in kinds]
        about = "A row is a kind. A column is one noise and one Z but for that. "
    if trajectory is not None:
        shown = sorted({round(i) for i in np.linspace(0, len(trajectory) - 1, _TRAJECTORY)})
        images = trajectory[shown].swapaxes(0, 1).reshape(-1, *images.shape[1:])
        columns, column_labels = len(shown), [f"t = {timesteps[i]}" for i in shown]
        rows = None if rows is None else [row for row in rows for _ in range(per_kind)]
        marked = ()
        about = "The estimate x0* on the way from noise, a row a picture. "
    return contact_sheet(
        images,
        columns=columns,
        title=title,
        row_labels=rows,
        column_labels=column_labels,
        caption=about + caption,
        marked=marked,
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
    columns, rows = len(cells) // len(labels), labels if any(labels) else None
    above = ["the picture", "as read", *["edit"] * (columns - 2)]
    caption = f"As read: drawn anew from the attributes and the Z that were read. {caption}"
    return contact_sheet(
        np.stack(cells), columns=columns, title=title, row_labels=rows, column_labels=above, caption=caption
    )
