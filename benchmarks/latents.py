"""New digits by what their latents are drawn from, at every size of data: E Figure 9 from 100 images a class on.

For each data set, number of training images a class and seed: an autoencoder of these images alone, as the preset
trains it; distributions of its latents, learnt in each way; as many images as half of the test images, decoded from
draws, with the labels of real ones. A classifier judges that learnt from all training images and never saw a decoded
one. Rows are kept one by one and not done again, autoencoders too.

    python benchmarks/latents.py --mnist FOLDER --fashion-mnist FOLDER --docs docs    # hours
    python benchmarks/latents.py --sets digits
    python benchmarks/latents.py --report --docs docs                                 # from the rows
    python benchmarks/latents.py --quick                                              # figures mean little
"""

from __future__ import annotations

import os

os.environ.update({f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")})

import argparse
import dataclasses
import json
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import t as student

from gaussmix.autoencoder.config import PRESETS
from gaussmix.autoencoder.evaluate import LatentSampler, Reference, evaluate_samplers
from gaussmix.autoencoder.model import ClassConditionalAutoencoder
from gaussmix.autoencoder.train import load_latents, train
from gaussmix.data.base import SPLITS, LabelledImages, images_digest, ranks_within
from gaussmix.data.load import load_labelled
from gaussmix.latents.baselines import EMSampler, SlicedWassersteinSampler
from gaussmix.latents.expansion import ExpansionSampler
from gaussmix.metrics.classifier import STEPS, load_or_train_label_classifier

RESULTS = Path("results/latents.json")
SETS = ("digits", "MNIST", "Fashion-MNIST")
SIZES = (100, 1000, None)  # images a class to train on; None: all
WAYS = {
    "ours": "ours, `ExpansionSampler`",
    "independent": "each number by itself (E)",
    "gaussian": "one Gaussian",
    "em": "EM, 10 Gaussians, full covariance",
    "em-chosen": "EM, 1 to 20 Gaussians by BIC",
    "sliced-wasserstein": "sliced Wasserstein, 10 Gaussians",
}
BOUNDS = {"real images": "real test images", "reconstructions": "reconstructions of test images"}
MEASURES = {"accuracy": (".3f", 1), "recall": (".3f", 1), "frechet": (".2f", -1)}  # form, and which way is better
MORE = {"precision": ".3f", "diversity": ".2f", "nearest": ".2f", "close": ".3f", "fit_seconds": ".2f"}


def sampler(way: str, z: Any, y: Any, seed: int) -> LatentSampler:
    """How latents ``(N, d)`` with labels ``(N,)`` are learnt."""
    fewest = int(np.unique(y, return_counts=True)[1].min())
    if way == "em-chosen":
        from sklearn.mixture import GaussianMixture

        def information(k: int) -> float:
            each = (z[y == label].astype(float) for label in np.unique(y))
            return sum(GaussianMixture(k, random_state=seed).fit(own).bic(own) for own in each)

        return EMSampler(min((k for k in (1, 2, 5, 10, 20) if k < fewest), key=information), random_state=seed)
    if way == "sliced-wasserstein":
        return SlicedWassersteinSampler(min(10, fewest), random_state=seed)
    if way in ("gaussian", "em"):
        return EMSampler(1 if way == "gaussian" else min(10, fewest), random_state=seed)
    if way == "independent":
        return ExpansionSampler("independent")
    return ExpansionSampler(random_state=seed)


def some_images(dataset: LabelledImages, size: int | None, seed: int) -> LabelledImages:
    """The test images, and ``size`` images of each class to train on, at random."""
    if size is None:
        return dataset
    training = np.random.default_rng([seed, 1]).permutation(dataset.indices("train"))
    chosen = np.sort(training[ranks_within(dataset.labels[training]) < size])
    rows = np.concatenate([chosen, dataset.indices("test")])
    split = np.repeat([SPLITS.index("train"), SPLITS.index("test")], [len(chosen), len(rows) - len(chosen)])
    images, labels = np.asarray(dataset.images[rows]), dataset.labels[rows]
    key = images_digest(images, labels)
    return LabelledImages(dataset.name, images, labels, dataset.class_names, split.astype(np.uint8), key)


def run(
    rows: list[dict[str, Any]], out: Path, sources: dict[str, str], sizes: Sequence[int | None], seeds: Sequence[int],
    ways: Sequence[str], runs: Path, steps: int | None = None,
) -> None:  # fmt: skip
    """Add to the file what it lacks."""
    torch.set_num_threads(1)
    for seed in seeds:
        for name, source in sources.items():
            dataset = load_labelled(source, progress=False)
            judge, _ = load_or_train_label_classifier(dataset, steps=steps or STEPS, progress=False)
            fewest = int(np.bincount(dataset.labels[dataset.indices("train")]).min())
            for size in sizes:
                lacks = [way for way in ways if not _of(rows, name, size, way, seed)]
                if not lacks or (size or 0) > fewest:
                    continue
                mine = some_images(dataset, size, seed)
                preset = PRESETS["digits" if source == "digits" else "mnist"]
                folder = runs / f"{name}-{size or 'all'}-{seed}"
                config = dataclasses.replace(
                    preset, data=source, seed=seed, minutes=None, steps=steps or preset.steps, output=folder,
                    resume=(folder / "run.json").exists(), threads=1,
                )  # fmt: skip
                if not (folder / "sampler.safetensors").exists():
                    train(config, mine, progress=False)
                z, y = load_latents(folder)
                model = ClassConditionalAutoencoder.load(folder)
                learnt = {way: sampler(way, z, y, seed) for way in lacks}
                found = evaluate_samplers(model, (z, y), Reference(mine, judge, seed=seed), learnt, seed=seed)
                key = {"set": name, "size": size, "seed": seed, "rows": len(y)}
                present = {row["way"] for row in rows if all(row[field] == value for field, value in key.items())}
                scores = {way: each for way, each in found.rows.items() if way not in present}
                rows += [{**key, "way": way, **dataclasses.asdict(each)} for way, each in scores.items()]
                out.parent.mkdir(exist_ok=True)
                out.write_text(json.dumps({"torch": torch.__version__, "rows": rows}, indent=1) + "\n")
                for way, each in scores.items():
                    about = f"{name}, {size or 'all'} a class, seed {seed}, {way}"
                    found_here = f"accuracy {each.accuracy:.3f}, recall {each.recall:.3f}, Frechet {each.frechet:.2f}"
                    print(f"{about}: {found_here}, close {each.close:.3f}", flush=True)


def _of(rows: list[dict[str, Any]], name: str, size: int | None, way: str, seed: int | None = None) -> list[Any]:
    wanted = (name, size, way)
    return [row for row in rows if (row["set"], row["size"], row["way"]) == wanted and seed in (None, row["seed"])]


def report(rows: list[dict[str, Any]], docs: Path) -> None:
    """Write the page: a table for each data set and size, means over seeds and how far ours is ahead."""
    lines = [
        "# New images at every size of data", "",
        "Written by `python benchmarks/latents.py --report --docs docs` from [rows](../results/latents.json): see the",
        "file's head for what was done, and [E Figure 9](reproduction/expansion-fig9.md) for what the columns mean.",
        "Means over seeds. Behind a score: how much better ours is, seed by seed, ± half its 95 % interval; *close* is",
        "the share of images nearer to a training image than 95 % of the real ones.", "",
    ]  # fmt: skip
    for name in SETS:
        for size in SIZES:
            if not (ours := _of(rows, name, size, "ours")):
                continue
            counts = f"{ours[0]['rows']:,} training images"
            lines += [f"## {name}, {'all' if size is None else size} images a class ({counts})", ""]
            lines += ["| latents drawn from | seeds | " + " | ".join([*MEASURES, *MORE]) + " |"]
            lines += ["|---|" + "---:|" * (1 + len(MEASURES) + len(MORE))]
            for way, text in {**BOUNDS, **WAYS}.items():
                if not (own := _of(rows, name, size, way)):
                    continue
                cells = [_cell(own, ours, measure, form, sign, way) for measure, (form, sign) in MEASURES.items()]
                cells += ["" if own[0][m] is None else f"{np.mean([row[m] for row in own]):{form}}"
                          for m, form in MORE.items()]  # fmt: skip
                lines.append(f"| {text} | {len(own)} | " + " | ".join(cells) + " |")
            lines.append("")
    (docs / "latents-benchmark.md").write_text("\n".join(lines).rstrip() + "\n")


def _cell(own: list[Any], ours: list[Any], measure: str, form: str, sign: int, way: str) -> str:
    mean = f"{np.mean([row[measure] for row in own]):{form}}"
    by_seed = {row["seed"]: row[measure] for row in own}
    ahead = [sign * (row[measure] - by_seed[row["seed"]]) for row in ours if row["seed"] in by_seed]
    if way == "ours" or way in BOUNDS or len(ahead) < 2:
        return mean
    half = student.ppf(0.975, len(ahead) - 1) * np.std(ahead, ddof=1) / math.sqrt(len(ahead))
    return f"{mean} ({np.mean(ahead):+{form}} ± {half:{form}})"


def main(
    mnist: str | None = None, fashion_mnist: str | None = None, sets: Sequence[str] = SETS,
    sizes: Sequence[int | None] = SIZES, seeds: Sequence[int] = (0, 1, 2), ways: Sequence[str] = tuple(WAYS),
    runs: Path = Path("runs/latents"), out: Path = RESULTS, docs: Path | None = None, only_report: bool = False,
    quick: bool = False,
) -> list[dict[str, Any]]:  # fmt: skip
    """Run what is asked for and lacks, and write the rows and, with ``docs``, the page; all rows."""
    rows = json.loads(out.read_text())["rows"] if out.exists() and not quick else []
    sources = {"digits": "digits", "MNIST": mnist, "Fashion-MNIST": fashion_mnist}
    if quick:
        folder = Path(tempfile.mkdtemp())
        runs, out = folder / "runs", folder / "latents.json"
        sets, sizes, seeds = ("digits",), (100,), (0,)
    if not only_report:
        chosen = {name: source for name, source in sources.items() if name in sets and source}
        run(rows, out, chosen, sizes, seeds, ways, runs, 60 if quick else None)
    if docs is not None:
        report(rows, docs)
    return rows


def arguments() -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", help="folder with MNIST's files; left out if not given")
    parser.add_argument("--fashion-mnist", help="folder with Fashion-MNIST's files; left out if not given")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--sizes", nargs="+", type=lambda word: None if word == "all" else int(word), default=SIZES)
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--ways", nargs="+", choices=tuple(WAYS), default=tuple(WAYS))
    parser.add_argument("--runs", type=Path, default=Path("runs/latents"), help="folder of the autoencoders")
    parser.add_argument("--out", type=Path, default=RESULTS, help="a row for each set, size, seed and way (JSON)")
    parser.add_argument("--docs", type=Path, help="folder for latents-benchmark.md")
    parser.add_argument("--report", action="store_true", dest="only_report", help="run nothing")
    parser.add_argument("--quick", action="store_true", help="100 images a class, 60 steps, one seed")
    return vars(parser.parse_args())


if __name__ == "__main__":
    main(**arguments())
