"""The model in the package, made again with one command: trained, packed in bytes, and judged beside real faces.

Trains by the preset `avatars` unless the run is finished, writes the model with its numbers in bytes, loads that again
and measures what its card tells: attributes and quality on held-out faces, and on faces drawn with another seed that
nothing was chosen on, edits, what a component says of the kind that is drawn (`reproduction.diffusion.components`), and
the CPU seconds of 16 faces. Figures go to ``evaluation.json`` beside the model; the card, README.md there, quotes them.

    make model                                                            # trains for an hour and a half of a core
    python -m benchmarks.built_in --model RUN_OR_MODEL --json FIGURES     # only judges
"""

from __future__ import annotations

import os

os.environ.update({f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")})

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.edits import measure_edits
from gaussmix import AttributeDiffusionPipeline, load_dataset
from gaussmix._files import whole_file
from gaussmix.data.base import AttributeDataset
from gaussmix.diffusion.config import BUILT_IN_MODEL, PRESETS, find_model
from gaussmix.diffusion.evaluate import evaluate_pipeline
from gaussmix.diffusion.sampling import draw
from gaussmix.diffusion.train import train
from reproduction.diffusion.components import CASES, KIND_STEPS, information
from reproduction.diffusion.faces import numbered_latents
from reproduction.diffusion.subtypes import train_subtype_judge

NEW_SEED = 101
"""Of the faces on which nothing was chosen."""
PICTURES, EDITS = 512, 64
_GUIDANCE = 2.0


def measure_drawing(pipeline: AttributeDiffusionPipeline, rows: Any) -> float:
    """CPU seconds of 16 faces after loading, the median of five."""
    found = []
    for seed in range(6):
        started = time.process_time()
        draw(pipeline, rows[:16], seed=seed, guidance=_GUIDANCE)
        found.append(time.process_time() - started)
    return float(np.median(found[1:]))


def measure_kinds(pipeline: AttributeDiffusionPipeline, faces: AttributeDataset, seed: int = 0) -> dict[str, Any]:
    """Mutual information of the component asked for and the kind drawn, and by chance, for each case."""
    names, test = pipeline.attribute_names, faces.indices("test")
    asked = faces.attributes[test]
    judge = train_subtype_judge(faces, tuple(dict.fromkeys(case.part for case in CASES)), steps=KIND_STEPS)
    pictures, _ = draw(pipeline, asked, seed=seed, guidance=_GUIDANCE)
    latents = numbered_latents(pipeline, range(len(asked)), seed=seed)  # those that were drawn with
    components = pipeline.latent_distribution.components(latents)
    seen = judge.predict(pictures)
    found = {}
    for case in CASES:
        rows, k = case.rows(asked, names), names.index(case.attribute)
        found[case.label] = information(components[rows, k], seen[case.part][rows], seed)
    return found


def measure(pipeline: AttributeDiffusionPipeline) -> dict[str, Any]:
    """All figures of the card."""
    count = PRESETS["avatars"].count
    faces = load_dataset("avatars", count=count, progress=False)
    new = load_dataset("avatars", count=count, seed=NEW_SEED, progress=False)
    options = {"count": PICTURES, "guidance_scale": _GUIDANCE}
    held_out, unseen = (json.loads(evaluate_pipeline(pipeline, each, **options).to_json()) for each in (faces, new))
    edits = measure_edits(pipeline, faces, count=EDITS)
    told = {name: float(np.nanmean(getattr(edits, name))) for name in ("switched_on", "switched_off", "kept", "read")}
    told["found"] = (told["switched_on"] + told["switched_off"]) / 2
    return {
        **held_out,
        "new_faces": {"seed": NEW_SEED, **unseen},
        "edits": {**told, "kept_before": float(np.nanmean(edits.kept_before)), "count": edits.count},
        "kinds": measure_kinds(pipeline, faces),
        "drawing_16_cpu_seconds": measure_drawing(pipeline, faces.attributes[faces.indices("test")]),
    }


def main(model: Path | None = None, to: Path = BUILT_IN_MODEL, json_file: Path | None = None) -> dict[str, Any]:
    """Make the model unless one is given, and write what is measured of it."""
    torch.set_num_threads(1)
    if model is None:
        config = dataclasses.replace(PRESETS["avatars"], resume=True)
        if not (config.output / "model" / "model_index.json").is_file():
            train(config, load_dataset("avatars", count=config.count))
        AttributeDiffusionPipeline.load(config.output).save_compact(to)
        model, json_file = to, to / "evaluation.json"
    found = measure(AttributeDiffusionPipeline.load(model))
    found["megabytes"] = sum(path.stat().st_size for path in find_model(model).rglob("*") if path.is_file()) / 1e6
    text = json.dumps(found, indent=2)
    if json_file is not None:
        with whole_file(json_file) as file:
            file.write_text(text)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="judge this model, and train none")
    parser.add_argument("--to", type=Path, default=BUILT_IN_MODEL, help="folder of the packed model")
    parser.add_argument("--json", type=Path, dest="json_file", help="where figures of --model go")
    print(json.dumps(main(**vars(parser.parse_args())), indent=1)[:3000])
