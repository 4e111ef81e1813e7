"""Networks for faces at equal CPU: the transformer on numbers, what it is without each of its parts, and others.

Every variant trains for the same CPU seconds, one thread, from nothing, on the built-in faces; then it draws 512
pictures for the attributes of held-out faces, which a judge looks at that never saw the model. Drawing and matching
are the same for all and are left out of the budget; what a variant finds in closed form is in it. A row of the file is
kept for each variant, seed and budget, and what is there is not done again.

    python benchmarks/faces.py --cpu 300 --seeds 0 1                       # the table of ablations: hours
    python benchmarks/faces.py --cpu 900 3600 --variants transformer unet  # longer
    python benchmarks/faces.py --report --docs docs                        # from the rows, without running anything
    python benchmarks/faces.py --quick                                     # a minute: figures mean little
"""

from __future__ import annotations

import os

os.environ.update({f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")})

import argparse
import dataclasses
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DModel
from numpy.typing import NDArray

from gaussmix import load_dataset
from gaussmix.data.base import AttributeDataset
from gaussmix.diffusion.config import PRESETS, DiffusionConfig
from gaussmix.diffusion.outputs import to_uint8
from gaussmix.diffusion.sampling import draw
from gaussmix.diffusion.train import DiffusionTrainer
from gaussmix.metrics import AttributeClassifier, balanced_accuracy, load_or_train_classifier, measure_quality

RESULTS = Path("results/faces.json")
TRANSFORMER, UNET = PRESETS["transformer"], PRESETS["unet"]
# Variants of the preset: what each differs in.
VARIANTS: dict[str, tuple[str, DiffusionConfig]] = {
    "transformer": ("the preset", TRANSFORMER),
    "no mean": ("without the linear mean", dataclasses.replace(TRANSFORMER, linear_mean=False)),
    "all numbers": ("no component left out", dataclasses.replace(TRANSFORMER, numbers=192)),
    "48 numbers": ("48 numbers a patch", dataclasses.replace(TRANSFORMER, numbers=48)),
    "16 numbers": ("16 numbers a patch", dataclasses.replace(TRANSFORMER, numbers=16)),
    "64 patches": ("8 x 8 patches of 12 numbers", dataclasses.replace(TRANSFORMER, grid=8, numbers=12, overlap=2)),
    "no overlap": ("patches that end at their borders", dataclasses.replace(TRANSFORMER, overlap=0)),
    "power 1": ("numbers with the variances of pixels", dataclasses.replace(TRANSFORMER, power=1.0)),
    "no detail": ("all pixels count alike", dataclasses.replace(TRANSFORMER, detail_weight=0.0)),
    "narrow": ("width 96", dataclasses.replace(TRANSFORMER, width=96)),
    "wide": ("width 192", dataclasses.replace(TRANSFORMER, width=192)),
    "shallow": ("2 blocks", dataclasses.replace(TRANSFORMER, depth=2)),
    "deep": ("6 blocks", dataclasses.replace(TRANSFORMER, depth=6)),
    "low rate": ("learning rate .0015", dataclasses.replace(TRANSFORMER, learning_rate=1.5e-3)),
    "muon": ("Muon for the blocks' matrices", TRANSFORMER),
    "unet": ("the pixel U-Net, preset `unet`", UNET),
    "unet mean": ("the same around the linear mean", dataclasses.replace(UNET, linear_mean=True)),
}  # fmt: skip
CONTROLS = {
    "no network": "the Gaussian around the linear mean, before the first step",
    "diffusers": "diffusers' DDPM example: UNet2DModel, noise prediction, multi-hot condition",
}
MEASURES = {  # heading, form
    "accuracy": ("accuracy", ".3f"), "worst": ("worst attribute", ".3f"), "frechet": ("Frechet distance", ".2f"),
    "recall": ("recall", ".3f"), "detail": ("detail", ".3f"), "seams": ("seams", ".2f"),
}  # fmt: skip
_MUON = 0.02  # its learning rate, that of its authors
Draw = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


class Both:
    """Two optimisers as one, as far as a trainer looks at it."""

    def __init__(self, first: torch.optim.Optimizer, second: torch.optim.Optimizer, ratio: float):
        self.each, self.ratio, self.param_groups = (first, second), ratio, first.param_groups

    def step(self) -> None:
        for group in self.each[1].param_groups:
            group["lr"] = self.ratio * self.param_groups[0]["lr"]
        for optimizer in self.each:
            optimizer.step()

    def zero_grad(self, **options: Any) -> None:
        for optimizer in self.each:
            optimizer.zero_grad(**options)


def train_ours(config: DiffusionConfig, dataset: AttributeDataset, cpu: float, muon: bool = False) -> tuple[Draw, int]:
    """Trains for ``cpu`` seconds; what draws, and how many steps it took."""
    trainer = DiffusionTrainer(config, dataset)
    started = time.process_time()
    trainer.progress = lambda: min(1.0, (time.process_time() - started) / cpu)
    if muon:
        matrices = [p for name, p in trainer.network.named_parameters() if name.startswith("blocks.") and p.ndim == 2]
        chosen = set(map(id, matrices))
        rest = [p for p in trainer.network.parameters() if id(p) not in chosen]
        adam = torch.optim.AdamW(
            rest, lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, config.beta2)
        )
        both: Any = Both(adam, torch.optim.Muon(matrices, lr=_MUON), _MUON / config.learning_rate)
        trainer.optimizer = both
        trainer.optimizers = {"optimizer": (both, config.learning_rate)}
    for _ in trainer.steps():
        pass
    pipeline = trainer.pipeline()
    return lambda attributes: draw(pipeline, attributes, guidance=config.guidance)[0], trainer.step


def without_network(config: DiffusionConfig, dataset: AttributeDataset) -> tuple[Draw, int]:
    pipeline = DiffusionTrainer(config, dataset).pipeline()
    return lambda attributes: draw(pipeline, attributes, guidance=1.0)[0], 0


def train_diffusers(dataset: AttributeDataset, cpu: float, seed: int) -> tuple[Draw, int]:
    """The peer: its network at the size of our U-Net, its scheduler, AdamW at 1e-4, batches of 16, no guidance."""
    torch.manual_seed(seed)
    rows = dataset.indices("train")
    attributes = torch.from_numpy(dataset.attributes[rows]).float()
    pixels = torch.from_numpy(np.asarray(dataset.images[rows])).permute(0, 3, 1, 2).float() / 127.5 - 1
    network: Any = UNet2DModel(
        sample_size=pixels.shape[-1], block_out_channels=(32, 64, 128), layers_per_block=2, norm_num_groups=8,
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"), class_embed_type="identity",
    )  # fmt: skip
    told = torch.nn.Linear(attributes.shape[1], 128)
    scheduler: Any = DDPMScheduler(num_train_timesteps=1000)
    optimizer = torch.optim.AdamW([*network.parameters(), *told.parameters()], lr=1e-4, weight_decay=1e-6)
    started, step = time.process_time(), 0
    while time.process_time() - started < cpu:
        for group in optimizer.param_groups:
            group["lr"] = 1e-4 * min(1.0, (step + 1) / 500)
        chosen = torch.randint(0, len(rows), (16,))
        noise, levels = torch.randn(16, *pixels.shape[1:]), torch.randint(0, 1000, (16,))
        noisy = scheduler.add_noise(pixels[chosen], noise, levels)
        loss = (network(noisy, levels, told(attributes[chosen])).sample - noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        step += 1

    @torch.no_grad()
    def paint(wanted: NDArray[np.uint8]) -> NDArray[np.uint8]:
        network.eval()
        generator, drawn = torch.Generator().manual_seed(0), []
        scheduler.set_timesteps(50)
        for part in torch.from_numpy(wanted).float().split(64):
            x, condition = torch.randn(len(part), *pixels.shape[1:], generator=generator), told(part)
            for level in scheduler.timesteps:
                x = scheduler.step(network(x, level, condition).sample, level, x, generator=generator).prev_sample
            drawn.append(to_uint8(x))
        return np.concatenate(drawn)

    return paint, step


def judge(paint: Draw, dataset: AttributeDataset, classifier: AttributeClassifier, count: int) -> dict[str, float]:
    """Measures of ``count`` pictures for the attributes of held-out faces."""
    test, valid = dataset.indices("test"), dataset.indices("valid")
    rows = np.resize(np.random.default_rng(0).permutation(test), count)
    started = time.process_time()
    images = paint(dataset.attributes[rows])
    seconds = (time.process_time() - started) * 16 / count
    accuracy = balanced_accuracy(classifier.predict(images), dataset.attributes[rows])
    once = np.unique(rows, return_index=True)[1]
    real = np.random.default_rng(0).permutation(valid)[: len(once)]
    found = measure_quality(images[once], dataset.images[real], classifier, control=dataset.images[rows[once]])
    made = found.generated
    return {
        "accuracy": float(np.nanmean(accuracy)), "worst": float(np.nanmin(accuracy)), "frechet": made.frechet_distance,
        "recall": made.recall, "detail": made.detail, "seams": made.seams, "cpu_16_pictures": seconds,
        "frechet_real": found.reference.frechet_distance, "detail_real": found.reference.detail,
        "recall_real": found.reference.recall, "seams_real": found.reference.seams,
    }  # fmt: skip


def run(
    rows: list[dict[str, Any]], out: Path, variants: Sequence[str], budgets: Sequence[float], seeds: Sequence[int],
    count: int, faces: int,
) -> None:  # fmt: skip
    """Adds to the file what it lacks."""
    torch.set_num_threads(1)
    dataset = load_dataset("avatars", count=faces)
    classifier, real = load_or_train_classifier(dataset)
    shared = Path(tempfile.mkdtemp())
    try:
        for cpu in budgets:
            for seed in seeds:
                for name in variants:
                    key = {"variant": name, "cpu": cpu if name != "no network" else 0, "seed": seed, "faces": faces}
                    if any(all(row[field] == value for field, value in key.items()) for row in rows):
                        continue
                    made = _train(name, dataset, cpu, seed, shared, faces)
                    found = judge(made[0], dataset, classifier, count)
                    rows.append({**key, "steps": made[1], **found, "accuracy_real": float(np.nanmean(real))})
                    out.parent.mkdir(exist_ok=True)
                    out.write_text(json.dumps({"torch": torch.__version__, "rows": rows}, indent=1) + "\n")
                    print(f"{name}, {key['cpu']:g} s, seed {seed}: accuracy {found['accuracy']:.3f}, "
                          f"Frechet {found['frechet']:.2f}, detail {found['detail']:.3f}", flush=True)  # fmt: skip
    finally:
        shutil.rmtree(shared)


def _train(name: str, dataset: AttributeDataset, cpu: float, seed: int, shared: Path, faces: int) -> tuple[Draw, int]:
    if name == "diffusers":
        return train_diffusers(dataset, cpu, seed)
    _, config = VARIANTS.get(name, VARIANTS["transformer"])
    folder, kept = shared / f"{name}-{cpu:g}-{seed}", shared / f"latents-{seed}.safetensors"
    folder.mkdir()
    if kept.exists():  # matched once for all
        shutil.copy(kept, folder / "latents.safetensors")
    settings = {"output": folder, "seed": seed, "count": faces, "steps": 10**9, "minutes": None, "sample_every": 0}
    config = dataclasses.replace(config, **settings)
    made = (
        without_network(config, dataset) if name == "no network" else train_ours(config, dataset, cpu, name == "muon")
    )
    shutil.copy(folder / "latents.safetensors", kept)
    return made


def report(rows: list[dict[str, Any]], docs: Path) -> None:
    """Writes the page: a table a budget, means over seeds and their spread."""
    about = {**{name: text for name, (text, _) in VARIANTS.items()}, **CONTROLS}
    lines = [
        "# Networks for faces at equal CPU", "",
        "Written by `python benchmarks/faces.py --report --docs docs` from [rows](../results/faces.json). Each variant",
        "trains for the same CPU seconds, one thread, from nothing, on the built-in faces (10 % held out, 10 % for",
        "validation), and draws 512 pictures, guidance 2, 10 steps (diffusers: 50 of DDPM), for the attributes of",
        "held-out faces. Accuracy, Frechet distance and recall are in the eyes of a classifier that never saw the",
        "model; detail and seams are of the pixels ([metrics](metrics.md)). Means over seeds, ± half the spread.", "",
    ]  # fmt: skip
    control = rows[0]
    real = {
        "accuracy": control["accuracy_real"],
        **{m: control[f"{m}_real"] for m in ("frechet", "recall", "detail", "seams")},
    }
    for cpu in sorted({row["cpu"] for row in rows if row["cpu"]}):
        lines += [
            f"## {cpu:g} CPU seconds",
            "",
            "| | seeds | steps | " + " | ".join(h for h, _ in MEASURES.values()) + " | 16 pictures, s |",
        ]
        lines += ["|---|" + "---:|" * (len(MEASURES) + 3)]
        for name in about:
            own = [row for row in rows if row["variant"] == name and row["cpu"] in (cpu, 0)]
            if not own:
                continue
            cells = [_cell([row[m] for row in own], form) for m, (_, form) in MEASURES.items()]
            steps, pictures = (np.mean([row[m] for row in own]) for m in ("steps", "cpu_16_pictures"))
            lines.append(f"| {about[name]} | {len(own)} | {steps:,.0f} | " + " | ".join(cells) + f" | {pictures:.2f} |")
        cells = [format(real[m], form) if m in real else "" for m, (_, form) in MEASURES.items()]
        lines += ["| real faces | | | " + " | ".join(cells) + " | |", ""]
    (docs / "faces-benchmark.md").write_text("\n".join(lines).rstrip() + "\n")


def _cell(values: list[float], form: str) -> str:
    spread = f" ± {np.ptp(values) / 2:{form}}" if len(values) > 1 else ""
    return f"{np.mean(values):{form}}{spread}"


def main(
    variants: Sequence[str] = (*VARIANTS, *CONTROLS), cpu: Sequence[float] = (300.0,), seeds: Sequence[int] = (0, 1),
    count: int = 512, faces: int = 4000, out: Path = RESULTS, docs: Path | None = None, only_report: bool = False,
    quick: bool = False,
) -> list[dict[str, Any]]:  # fmt: skip
    """Runs what is asked for and lacks, and writes the rows and, with `docs`, the page; all rows."""
    rows = json.loads(out.read_text())["rows"] if out.exists() else []
    if quick:
        cpu, seeds, count, faces = (1.0,), (0,), 40, 400
        out = Path(tempfile.mkdtemp()) / "faces.json" if out == RESULTS else out
        rows = []
    if not only_report:
        run(rows, out, variants, cpu, seeds, count, faces)
    if docs is not None:
        report(rows, docs)
    return rows


def arguments() -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = (*VARIANTS, *CONTROLS)
    parser.add_argument("--variants", nargs="+", choices=names, default=names)
    parser.add_argument("--cpu", nargs="+", type=float, default=(300.0,), help="CPU seconds of training")
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1))
    parser.add_argument("--out", type=Path, default=RESULTS, help="a row for each variant, seed and budget (JSON)")
    parser.add_argument("--docs", type=Path, help="folder for faces-benchmark.md")
    parser.add_argument("--report", action="store_true", dest="only_report", help="run nothing")
    parser.add_argument("--quick", action="store_true", help="a second each, 400 faces")
    return vars(parser.parse_args())


if __name__ == "__main__":
    main(**arguments())
