"""``gaussmix autoencoder evaluate``: how good are images from distributions of latents, ours and its rivals?"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gaussmix.autoencoder.config import PRESETS
from gaussmix.cli._flags import check_at_least, parse_flags

_QUICK = "independent,pca,cluster-pca,em"


@dataclass(frozen=True)
class AutoencoderEvaluateConfig:
    """Draw images from distributions of latents that are learnt in different ways, and have a classifier judge them.

    The classifier is trained once on the real images, never sees a decoded one, and is kept in the cache.
    """

    run: Path = PRESETS["digits"].output
    """The training run's folder."""
    data: str = ""
    """The data that the run was trained on, if they have moved."""
    samplers: Annotated[str, tyro.conf.arg(metavar="A,B,...")] = _QUICK
    """What to compare, separated by commas: independent (the paper's), algorithm2 (as printed), pca, cluster-pca (the
    default of gaussmix), gaussian, em, sliced-wasserstein; or all."""
    clusters: int | None = None
    """Parts of a class for cluster-pca; those of the run's own distributions if not given."""
    components: int = 10
    """Gaussians of a class for em and sliced-wasserstein."""
    count: int | None = None
    """Images of each kind; half of the test images if not given."""
    seed: int = 0
    """Of the halves of the test images and of all that is drawn."""
    json: Path | None = None
    """Also write the numbers to this file."""
    threads: int = 1
    """Threads of the CPU; 0 leaves torch's own choice."""


def evaluate(args: list[str]) -> int:
    """Judge images from distributions of latents, beside real ones and rivals."""
    config: AutoencoderEvaluateConfig = parse_flags(AutoencoderEvaluateConfig, args, "autoencoder evaluate")
    given = {name: getattr(config, name) for name in ("clusters", "components", "count")}
    check_at_least(1, **{name: value for name, value in given.items() if value is not None})
    check_at_least(0, seed=config.seed)

    import torch
    from rich.console import Console

    from gaussmix._files import whole_file
    from gaussmix._progress import progress_bar
    from gaussmix.autoencoder.evaluate import Reference, check_test_images, evaluate_samplers, samplers
    from gaussmix.autoencoder.model import ClassConditionalAutoencoder
    from gaussmix.autoencoder.train import fitting_clusters, load_latents
    from gaussmix.data.load import load_labelled
    from gaussmix.metrics.label_classifier import load_or_train_label_classifier

    if config.threads:
        torch.set_num_threads(config.threads)
    model, latents = ClassConditionalAutoencoder.load(config.run), load_latents(config.run)
    known = samplers(config.clusters or fitting_clusters(latents[1]), config.components, config.seed)
    names = list(known) if config.samplers == "all" else [name.strip() for name in config.samplers.split(",")]
    for name in names:
        if name not in known:
            raise ValueError(f"--samplers: no {name!r}; choose from {', '.join(known)}, or all")
    training = model.config["training"] or {}
    dataset = load_labelled(config.data or training.get("data", ""))
    if dataset.key != training.get("dataset_key"):
        print("gaussmix: these are not the data that the run was trained on, or they have changed", file=sys.stderr)
    check_test_images(dataset)  # before the judge's minute of training
    judge, _ = load_or_train_label_classifier(dataset)
    reference = Reference(dataset, judge, count=config.count, seed=config.seed)
    with progress_bar("judging", 2 + len(names), show=True) as show:
        done: list[str] = []

        def on_row(name: str, _: object) -> None:
            done.append(name)
            show(len(done))

        compared = {name: known[name] for name in names}
        report = evaluate_samplers(model, latents, reference, compared, seed=config.seed, on_row=on_row)
    Console().print(report.table())
    if config.json is not None:
        with whole_file(config.json) as aside:
            aside.write_text(json.dumps(report.to_dict(), indent=1) + "\n")
    return 0
