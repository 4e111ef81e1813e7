"""Edit faces that the model never saw
===================================

Each column changes one thing, and the rest of the face stays. Drawing the held-out faces takes a minute, so the site
shows the picture that this wrote: ``python examples/edit_faces.py --out docs/editing-faces.png``

.. image:: /editing-faces.png
   :alt: Five cartoon faces, each as it is, as the model reads it, and with one attribute changed a column
"""

# sphinx_gallery_thumbnail_path = 'editing-faces.png'
from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gaussmix import AttributeDiffusionPipeline, load_dataset
from gaussmix.diffusion.edit import edit_images, reconstruct
from gaussmix.diffusion.sampling import label
from gaussmix.sheets import contact_sheet, save_atomic

CHANGES = ("+Eyeglasses", "-Sunglasses", "+Beard", "+Smiling", "+Wearing_Hat", "+Bald", "+Red_Hair", "+Dark_Skin")


def main(
    out: str = "edited-faces.png",
    changes: Sequence[str] = CHANGES,
    model: str | None = None,
    data: str = "avatars",
    data_count: int | None = 12_000,
    count: int = 5,
    steps: int = 10,
    seed: int = 0,
) -> Path:
    pipe = AttributeDiffusionPipeline.load(model)
    faces = load_dataset(data, size=pipe.network.config["sample_size"], count=data_count, progress=False)
    chosen = np.random.default_rng(seed).permutation(faces.indices("test"))[:count]
    images = np.asarray(faces.images[chosen])
    columns, labels = [images], ["the picture"]
    for change in changes:
        present, absent = ([change[1:]], []) if change[0] == "+" else ([], [change[1:]])
        result = edit_images(pipe, images, present, absent, seed=seed, steps=steps)
        if len(columns) == 1:
            columns.append(reconstruct(pipe, result, seed=seed))
            labels.append("as read")
        columns.append(result.images)
        labels.append(label(present, absent))
    sheet = contact_sheet(
        np.stack(columns, 1).reshape(-1, *images.shape[1:]),
        columns=len(columns),
        column_labels=labels,
        title="Held-out faces, edited",
        caption="As read: drawn anew from the attributes and the Z that the model reads off the picture. Then one edit "
        f"a column; who already is as asked for stays as before. {steps} steps, seed {seed}.",
    )
    save_atomic(sheet.quantize(256), out)  # a palette: a third of the bytes
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="edited-faces.png")
    parser.add_argument("--changes", nargs="+", default=CHANGES)
    parser.add_argument("--model")
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    print(main(**vars(parser.parse_args())))
