"""Draw the same faces with and without an attribute: same noise, same Z, one bit changed.

python examples/draw_faces.py --attribute Eyeglasses --out pairs.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from gaussmix import AttributeDiffusionPipeline
from gaussmix.diffusion.sampling import draw
from gaussmix.sheets import contact_sheet, save_atomic


def main(attribute: str = "Eyeglasses", count: int = 8, steps: int = 20, seed: int = 0, out: str = "pairs.png") -> Path:
    pipe = AttributeDiffusionPipeline.load()
    without = pipe.choose_attributes(absent=[attribute, "Sunglasses"], count=count, seed=seed)
    present = without.copy()
    present[:, pipe.attribute_names.index(attribute)] = 1
    pictures = [draw(pipe, attributes, seed=seed, steps=steps)[0] for attributes in (without, present)]
    sheet = contact_sheet(
        np.concatenate(pictures),
        columns=count,
        row_labels=["without", "with"],
        title=attribute.replace("_", " "),
        caption="A column is one noise and one Z; only the attribute differs.",
    )
    save_atomic(sheet, out)
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attribute", default="Eyeglasses")
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="pairs.png")
    print(main(**vars(parser.parse_args())))
