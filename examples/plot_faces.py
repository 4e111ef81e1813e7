"""The same faces with and without an attribute
============================================

The model in the package, told the same noise and the same Z twice: only one attribute differs. Glasses come, and the
face stays.
"""

import numpy as np
from matplotlib import pyplot as plt

from gaussmix import AttributeDiffusionPipeline
from gaussmix.diffusion.sampling import draw
from gaussmix.sheets import contact_sheet

ATTRIBUTE = "Eyeglasses"
COUNT = 8
STEPS = 10
SEED = 0

pipe = AttributeDiffusionPipeline.load()
without = pipe.choose_attributes(absent=[ATTRIBUTE, "Sunglasses"], count=COUNT, seed=SEED)
present = without.copy()
present[:, pipe.attribute_names.index(ATTRIBUTE)] = 1
pictures = [draw(pipe, attributes, seed=SEED, steps=STEPS)[0] for attributes in (without, present)]
sheet = contact_sheet(
    np.concatenate(pictures),
    columns=COUNT,
    row_labels=["without", "with"],
    title=ATTRIBUTE.replace("_", " "),
    caption="A column is one noise and one Z; only the attribute differs.",
)

figure = plt.figure(figsize=(sheet.width / 100, sheet.height / 100), dpi=100)
axes = figure.add_axes((0, 0, 1, 1))
axes.imshow(sheet)
axes.set_axis_off()
