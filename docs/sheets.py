"""Draw the sheets of faces that the guides show, with the model in the package: python docs/sheets.py [NAME...]"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from gaussmix import AttributeDiffusionPipeline, load_dataset
from gaussmix.cli import main as gaussmix
from gaussmix.diffusion.edit import find_encoder
from gaussmix.diffusion.loss import detail_weights
from gaussmix.diffusion.sampling import draw_sheet
from gaussmix.sheets import contact_sheet

DOCS = Path(__file__).resolve().parent
COMMANDS = {
    "fixed_z.png": "--with Wearing_Hat --count 8 --seed 3 --fix-latent",
    "fixed_noise.png": "--with Wearing_Hat --count 8 --seed 3 --fix-noise",
    "trajectory.png": "--with Smiling,Eyeglasses --count 4 --seed 3 --scheduler renoise --trajectory",
}


def faces(path: Path) -> None:
    """What the model draws for pairs of attributes."""
    pipeline = AttributeDiffusionPipeline.load()
    draw_sheet(pipeline, path, guidance=2, seed=0, step=pipeline.training["steps"])


def maps(path: Path) -> None:
    """Where attributes act: the mean face, their maps, and the weights of the loss, in rows of nine."""
    pipeline = AttributeDiffusionPipeline.load()
    mean = load_dataset("avatars", size=32, count=2000, progress=False).images.mean(0).astype(np.uint8)
    shown = find_encoder(pipeline).maps.numpy()
    weights = detail_weights(shown, 1.0, shown.shape[1])[0, 0].numpy()
    grey = [np.uint8(255 * each / each.max()) for each in (*shown, weights)]
    pictures = [mean, *(np.dstack([each] * 3) for each in grey)]
    labels = ["mean face", *(name.replace("_", " ") for name in pipeline.attribute_names), "loss weight"]
    halves = [contact_sheet(np.stack(pictures[k : k + 9]), columns=9, column_labels=labels[k : k + 9]) for k in (0, 9)]
    both = Image.new("RGB", (halves[0].width, sum(half.height for half in halves)))
    for half, top in zip(halves, (0, halves[0].height), strict=True):
        both.paste(half, (0, top))
    both.save(path)


def main(names: list[str]) -> None:
    """Draw those that are named, or all, in 256 colours: a third of the bytes."""
    drawn = {"faces.png": faces, "maps.png": maps}
    for name in names or [*drawn, *COMMANDS]:
        path = DOCS / name
        if name in drawn:
            drawn[name](path)
        else:
            gaussmix(["faces", "sample", *COMMANDS[name].split(), "--output", str(path)])
        Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1:])
