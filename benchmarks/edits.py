"""Each attribute switched in held-out avatars: found, and the rest kept? Prints the table of docs/editing.md.

python benchmarks/edits.py --count 64          # about three minutes
"""

from __future__ import annotations

import argparse
import time

import torch

from gaussmix import AttributeDiffusionPipeline, load_dataset
from gaussmix.diffusion.edit import EDIT_STEPS
from gaussmix.diffusion.edit_report import measure_edits


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
    faces = load_dataset(data, size=pipe.unet.config["sample_size"], count=data_count, progress=False)
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
    print(main(**vars(parser.parse_args())))
