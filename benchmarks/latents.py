"""New digits by what their latents are drawn from, at every size of data: E Figure 9 from 100 images a class on.

For each data set one autoencoder of all training images. For each number of training images a class and each seed:
that many of them at random, distributions of their latents learnt in each way, and images decoded from draws, with the
labels of real ones, half of the test images or `PICTURES`. A classifier judges that learnt from all training images
and never saw a decoded one. Seeds vary the training images, what is random in learning and drawing, and the halves of
the test images, not the autoencoder: the rows compare laws of latents. An autoencoder of few images would make every
row worse. Rows are kept and not done again, the autoencoder too.

    python benchmarks/latents.py --mnist FOLDER --fashion-mnist FOLDER --docs docs    # half an hour
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

from gaussmix._typing import IntArray
from gaussmix.autoencoder.config import PRESETS
from gaussmix.autoencoder.evaluate import LatentSampler, Reference, evaluate_samplers
from gaussmix.autoencoder.model import ClassConditionalAutoencoder
from gaussmix.autoencoder.train import load_latents, train
from gaussmix.data.base import SPLITS, LabelledImages, images_digest, ranks_within
from gaussmix.data.load import load_labelled
from gaussmix.latents.baselines import EMSampler, SlicedWassersteinSampler
from gaussmix.latents.expansion import ExpansionSampler
from gaussmix.metrics.classifier import STEPS as JUDGE_STEPS
from gaussmix.metrics.classifier import load_or_train_label_classifier

RESULTS = Path("results/latents.json")
SETS = ("digits", "MNIST", "Fashion-MNIST")
SIZES = (100, 1000, None)  # images a class to learn latents from; None: all
STEPS = {"digits": 2000, "MNIST": 600, "Fashion-MNIST": 600}  # of an autoencoder; the preset of MNIST has 4000
PICTURES = 1000
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


def some_rows(labels: IntArray, size: int | None, seed: int) -> IntArray:
    """Positions, in order, of ``size`` of each of the labels ``(N,)`` at random; of all if None."""
    shuffled = np.random.default_rng([seed, 1]).permutation(len(labels))
    return np.sort(shuffled if size is None else shuffled[ranks_within(labels[shuffled]) < size])


def fewer(dataset: LabelledImages, rows: IntArray) -> LabelledImages:
    """The test images, and of those to train on the ones at ``rows``."""
    training, test = dataset.indices("train")[rows], dataset.indices("test")
    split = np.repeat([SPLITS.index("train"), SPLITS.index("test")], [len(training), len(test)]).astype(np.uint8)
    both = np.concatenate([training, test])
    images, labels = np.asarray(dataset.images[both]), dataset.labels[both]
    return LabelledImages(dataset.name, images, labels, dataset.class_names, split, images_digest(images, labels))


def autoencoder(name: str, source: str, dataset: LabelledImages, folder: Path, steps: int) -> Path:
    """The folder of the run, which is trained now or further if it is not finished."""
    preset = PRESETS["digits" if source == "digits" else "mnist"]
    config = dataclasses.replace(
        preset, data=source, minutes=None, steps=steps, output=folder / f"{name}-{steps}", resume=True, threads=1,
        checkpoint_every=200,
    )  # fmt: skip
    if not (config.output / "latents.safetensors").exists():
        train(config, dataset, progress=False, sheet=False)
    return config.output


def run(
    rows: list[dict[str, Any]], out: Path, sources: dict[str, str], sizes: Sequence[int | None], seeds: Sequence[int],
    ways: Sequence[str], runs: Path, steps: int | None = None,
) -> None:  # fmt: skip
    """Add to the file what it lacks."""
    torch.set_num_threads(1)
    for name, source in sources.items():
        dataset = load_labelled(source, progress=False)
        folder = autoencoder(name, source, dataset, runs, steps or STEPS[name])
        model, (z, y) = ClassConditionalAutoencoder.load(folder), load_latents(folder)
        judge, _ = load_or_train_label_classifier(dataset, steps=steps or JUDGE_STEPS, progress=False)
        for seed in seeds:
            for size in sizes:
                lacks = [way for way in ways if not _of(rows, name, size, way, seed)]
                if not lacks or (size or 0) > np.bincount(y).min():
                    continue
                mine = some_rows(y, size, seed)
                latents = z[mine], y[mine]
                reference = Reference(fewer(dataset, mine), judge, count=PICTURES, seed=seed)
                learnt = {way: sampler(way, *latents, seed) for way in lacks}
                found = evaluate_samplers(model, latents, reference, learnt, seed=seed)
                key = {"set": name, "size": size, "seed": seed, "rows": len(mine)}
                scores = {way: each for way, each in found.rows.items() if not _of(rows, name, size, way, seed)}
                rows += [{**key, "way": way, **dataclasses.asdict(each)} for way, each in scores.items()]
                out.parent.mkdir(exist_ok=True)
                told = {"torch": torch.__version__, "summary": summarise(rows), "rows": rows}
                out.write_text(json.dumps(told, indent=1) + "\n")
                for way, each in scores.items():
                    about = f"{name}, {size or 'all'} a class, seed {seed}, {way}"
                    measures = ", ".join(f"{m} {getattr(each, m):{form}}" for m, (form, _) in MEASURES.items())
                    print(f"{about}: {measures}, close {each.close:.3f}", flush=True)


def _of(rows: list[dict[str, Any]], name: str, size: int | None, way: str, seed: int | None = None) -> list[Any]:
    wanted = (name, size, way)
    return [row for row in rows if (row["set"], row["size"], row["way"]) == wanted and seed in (None, row["seed"])]


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """By set and size: means and 95 % intervals of each way's scores, and what they say of ours.

    Ours is behind a rival in a measure if the interval of the differences, seed by seed, lies on the wrong side of 0,
    best if it is ahead of all by theirs, tied otherwise; open with fewer than three seeds.
    """
    found: dict[str, Any] = {}
    for name, size in ((name, size) for name in SETS for size in SIZES):
        if not (ours := _of(rows, name, size, "ours")):
            continue
        own = {way: each for way in (*BOUNDS, *WAYS) if (each := _of(rows, name, size, way))}
        scores = {
            way: {m: _interval([row[m] for row in each]) for m in (*MEASURES, *MORE) if each[0][m] is not None}
            for way, each in own.items()
        }
        ahead = {
            way: {m: _ahead(ours, own[way], m, sign) for m, (_, sign) in MEASURES.items()}
            for way in own
            if way in WAYS and way != "ours"
        }
        about = {"rows": ours[0]["rows"], "seeds": len(ours), "scores": scores, "ahead": ahead}
        verdicts = {m: _verdict({way: each[m] for way, each in ahead.items()}, len(ours)) for m in MEASURES}
        found.setdefault(name, {})[str(size or "all")] = {**about, "verdict": verdicts}
    return found


def _interval(values: Sequence[float]) -> dict[str, float | None]:
    n = len(values)
    half = student.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n) if n > 1 else None
    return {"mean": float(np.mean(values)), "half": None if half is None else float(half)}


def _ahead(ours: list[Any], rival: list[Any], measure: str, sign: int) -> dict[str, float | None]:
    by_seed = {row["seed"]: row[measure] for row in rival}
    return _interval([sign * (row[measure] - by_seed[row["seed"]]) for row in ours if row["seed"] in by_seed])


def _verdict(ahead: dict[str, dict[str, Any]], seeds: int) -> str:
    if seeds < 3:
        return "open"
    behind = [WAYS[way] for way, each in ahead.items() if each["mean"] + each["half"] < 0]
    if behind:
        return f"behind {'; '.join(behind)}"
    return "best" if all(each["mean"] > each["half"] for each in ahead.values()) else "tied"


def report(rows: list[dict[str, Any]], docs: Path) -> None:
    """Write the page: the verdicts, and a table for each data set and size."""
    summary = summarise(rows)
    lines = [
        "# New images at every size of data", "",
        "Written by `python benchmarks/latents.py --report --docs docs` from [rows](../results/latents.json): see the",
        "file's head for what was done, and [E Figure 9](reproduction/expansion-fig9.md) for what the columns mean.",
        "Means over seeds. Behind a score: how much better ours is, seed by seed, ± half its 95 % interval; *close* is",
        "the share of images nearer to a training image than 95 % of the real ones. Ours is *behind* a rival if that",
        "interval lies below 0, *best* if it lies above 0 for all, else *tied*; *open*: fewer than three seeds.",
        "The rule by which ours chooses clusters and shrinkage was settled on held-out training images, but earlier",
        "versions of it had been judged on these test images: it is not blind to them.", "",
        "| data | images a class | seeds | " + " | ".join(MEASURES) + " |",
        "|---|---:|---:|" + "---|" * len(MEASURES),
        *(f"| {name} | {size} | {each['seeds']} | " + " | ".join(each["verdict"].values()) + " |"
          for name, sizes in summary.items() for size, each in sizes.items()), "",
    ]  # fmt: skip
    for name, size, each in ((name, size, each) for name, sizes in summary.items() for size, each in sizes.items()):
        lines += [f"## {name}, {size} images a class ({each['rows']:,} images)", ""]
        lines += ["| latents drawn from | seeds | " + " | ".join([*MEASURES, *MORE]) + " |"]
        lines += ["|---|" + "---:|" * (1 + len(MEASURES) + len(MORE))]
        for way, scores in each["scores"].items():
            cells = [_cell(scores[m], each["ahead"].get(way, {}).get(m), form) for m, (form, _) in MEASURES.items()]
            cells += [f"{scores[m]['mean']:{form}}" if m in scores else "" for m, form in MORE.items()]
            lines.append(f"| {({**BOUNDS, **WAYS})[way]} | {each['seeds']} | " + " | ".join(cells) + " |")
        lines.append("")
    (docs / "latents-benchmark.md").write_text("\n".join(lines).rstrip() + "\n")


def _cell(score: dict[str, Any], ahead: dict[str, Any] | None, form: str) -> str:
    if ahead is None or ahead["half"] is None:
        return f"{score['mean']:{form}}" + ("" if score["half"] is None else f" ± {score['half']:{form}}")
    return f"{score['mean']:{form}} ({ahead['mean']:+{form}} ± {ahead['half']:{form}})"


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
