"""How well edits work: does the change show, and does everything else stay? Prints the table of docs/editing.md.

Each attribute in turn is switched in held-out avatars whose attributes are known: on where it is off, off where it is
on. A classifier that never saw the model (`gaussmix.metrics.classifier`) looks at every edit. *Found* is the share of
edits in which the attribute is as asked for. *Kept* is the share of right answers about attributes that were not to
change, and *kept before* the same share on the untouched pictures: the judge's own errors, hence the ceiling.

python benchmarks/edits.py --count 64          # about three minutes
python benchmarks/edits.py --strange FOLDER    # instead: how strange other pictures are, FOLDER's photographs too
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from gaussmix import AttributeDiffusionPipeline, load_dataset
from gaussmix._progress import progress_bar
from gaussmix.data import AttributeDataset
from gaussmix.diffusion.edit import EDIT_STEPS, FAR, edit_images, find_encoder, strangeness
from gaussmix.metrics.classifier import load_or_train_classifier


@dataclass(frozen=True, eq=False)
class EditReport:
    """Shares in [0, 1], one entry for each of the K attributes, NaN where there was no picture.

    ``switched_on`` and ``switched_off``: found as asked for, where it was absent and where it was present. ``kept`` and
    ``kept_before``: right answers about attributes that were to stay, after and before the edit. ``untouched``: share
    of the pixels that the edit cannot reach, m = 0. ``read``: share of pictures whose attribute the model's encoder
    reads rightly. ``count``: pictures edited for each attribute.
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
    progress: bool = True,
) -> EditReport:
    """Switch each attribute in ``count`` pictures of the test split, chosen by ``seed``; ``count * K`` edits.

    The model reads A and Z off the pictures by itself; what is right is decided by the data set.
    """
    names = pipeline.attribute_names
    if tuple(dataset.attribute_names) != names:
        raise ValueError(f"{dataset.name} has other attributes than the model; edit the data it was trained on")
    if count < 1:
        raise ValueError(f"count is {count}; it must be at least 1")
    held_out = np.random.default_rng(seed).permutation(dataset.indices("test"))[:count]
    images, truth = np.asarray(dataset.images[held_out]), dataset.attributes[held_out]
    judge, _ = load_or_train_classifier(dataset, progress=progress)
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
                result = edit_images(pipeline, images[rows], present, absent, seed=seed, steps=steps, guidance=guidance)
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


def other_pictures(folder: Path, size: int, count: int = 64, seed: int = 7) -> dict[str, NDArray[np.uint8]]:
    """Avatars of another seed as they are and altered, and what no avatar is: ``(M, size, size, 3)`` each."""
    rng = np.random.default_rng(seed)
    faces = np.asarray(load_dataset("avatars", size=size, count=200, seed=seed, progress=False).images)
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    chosen = rng.choice(len(files), min(count, len(files)), replace=False)
    photographs = [Image.open(files[i]).convert("RGB").resize((size, size), Image.Resampling.LANCZOS) for i in chosen]
    return {
        "avatars": faces,
        "photographs": np.stack([np.asarray(photograph) for photograph in photographs]),
        "drawn shapes": np.stack([_shape(rng, size) for _ in range(count)]),
        "one colour": np.broadcast_to(rng.integers(0, 256, (count, 1, 1, 3), np.uint8), (count, size, size, 3)),
        "noise": rng.integers(0, 256, (count, size, size, 3), np.uint8),
        "inverted colours": 255 - faces[:count],
        "upside down": faces[:count, ::-1],
    }


def _shape(rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """A disc or a square of a random colour on another."""
    colours = rng.integers(0, 256, (2, 3))
    image = Image.new("RGB", (size, size), tuple(colours[0].tolist()))
    half, (x, y) = int(rng.integers(size // 6, size // 3)), rng.integers(size // 3, 2 * size // 3, 2).tolist()
    draw = ImageDraw.Draw(image)
    shape = draw.ellipse if rng.integers(2) else draw.rectangle
    shape((x - half, y - half, x + half, y + half), fill=tuple(colours[1].tolist()))
    return np.asarray(image)


def strange(folder: Path, model: str | None = None) -> str:
    """The table of `strangeness`: how many times the error of the model's own pictures."""
    torch.set_num_threads(1)
    pipe = AttributeDiffusionPipeline.load(model)
    heads = "| pictures | how many | least | median | 99 of 100 up to | most | refused |"
    lines = [heads, "| --- " + "| ---: " * 6 + "|"]
    for name, images in other_pictures(folder, pipe.network.config["sample_size"]).items():
        times = strangeness(pipe, np.ascontiguousarray(images))
        figures = [times.min(), np.median(times), np.quantile(times, 0.99), times.max()]
        cells = " | ".join(f"{figure:.3g}" for figure in figures)
        lines.append(f"| {name} | {len(times)} | {cells} | {(times > FAR).mean():.1%} |")
    return "\n".join(lines)


def main(
    model: str | None = None,
    count: int = 64,
    steps: int = EDIT_STEPS,
    guidance: float = 1.0,
    seed: int = 0,
    data: str = "avatars",
    data_count: int | None = 12_000,
) -> str:
    """The table and a line about how it was made."""
    torch.set_num_threads(1)
    pipe = AttributeDiffusionPipeline.load(model)
    faces = load_dataset(data, size=pipe.network.config["sample_size"], count=data_count, progress=False)
    started = time.process_time()
    report = measure_edits(pipe, faces, count=count, steps=steps, guidance=guidance, seed=seed)
    cost = (time.process_time() - started) / (report.count * len(report.attribute_names))
    about = (
        f"{report.count} held-out pictures, {steps} steps, guidance {guidance:g}, seed {seed}; {cost:.2f} CPU-s an edit"
    )
    return f"{report.markdown()}\n\n{about}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--steps", type=int, default=EDIT_STEPS)
    parser.add_argument("--guidance", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--strange", type=Path, metavar="FOLDER", help="of photographs")
    chosen = vars(parser.parse_args())
    photographs = chosen.pop("strange")
    print(strange(photographs, chosen["model"]) if photographs else main(**chosen))
