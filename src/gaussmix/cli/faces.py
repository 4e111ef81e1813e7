"""``gaussmix train | sample | attributes | evaluate``: pictures from chosen attributes."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from gaussmix.cli._flags import check_at_least, one_line, parse_flags, parse_run_flags
from gaussmix.cli.components import describe, read_components
from gaussmix.diffusion.config import PRESETS, DiffusionConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
    from gaussmix.diffusion.sampling import DrawnBatch

_MOST_ON_A_SHEET = 256


@dataclass(frozen=True)
class SampleConfig:
    """Draw pictures with the attributes you ask for."""

    present: Annotated[str, tyro.conf.arg(name="with", metavar="A,B,...")] = ""
    """Attributes that every picture shall have, separated by commas."""
    absent: Annotated[str, tyro.conf.arg(name="without", metavar="A,B,...")] = ""
    """Attributes that no picture shall have. All others vary as in the training data."""
    component: Annotated[str, tyro.conf.arg(metavar="A=N,...")] = ""
    """Kinds of attributes by number, such as Eyeglasses=2; these attributes are then asked for too. Wearing_Hat=all
    draws a row for each kind, with the same noise and otherwise the same Z."""
    model: Path | None = None
    """A model folder or a training run's folder; the built-in faces if not given."""
    count: int | None = None
    """Number of pictures, in each row of --component A=all; 16, or 8 a row, if not given."""
    seed: int = 0
    """The same seed draws the same pictures; picture i does not depend on --count."""
    steps: int | None = None
    """Denoising steps: 10 for dpm++, 20 for ddim, all T for renoise and ddpm if not given."""
    scheduler: Literal["dpm++", "ddim", "ddpm", "renoise"] = "dpm++"
    """The sampler; renoise is the paper's (D Eq. 10)."""
    guidance: float = 2.0
    """1 follows the data, more follows the request more closely and varies less."""
    classifier_scale: float = 0.0
    """How much a classifier on the bottleneck guides, if the model has one (--classifier-weight of gaussmix train)."""
    out: Path = Path("faces.png")
    """The picture to write."""
    folder: Path | None = None
    """Also write single PNGs and a metadata.csv into this folder."""
    fix_latent: bool = False
    """One attribute vector and one Z for all pictures: only the noise differs (D Fig. 5)."""
    fix_noise: bool = False
    """One attribute vector and one starting noise for all pictures: only Z differs."""
    trajectory: bool = False
    """Draw the estimate x0* along the way, a row a picture (D Fig. 6)."""
    threads: int = 1
    """Threads of the CPU; 0 leaves torch's own choice."""


@dataclass(frozen=True)
class AttributesConfig:
    """List the attributes that a model knows and how common they are in its data."""

    model: Path | None = None
    """A model folder or a training run's folder; the built-in faces if not given."""


@dataclass(frozen=True)
class EvaluateConfig:
    """Measure how well the pictures show what was asked for, and how much they resemble real ones.

    An independent classifier, trained once on the real images and kept in the cache, looks at generated pictures and
    at held-out real ones.
    """

    model: Path | None = None
    """A model folder or a training run's folder; the built-in faces if not given."""
    data: str | None = None
    """'avatars' or a folder; what the model was trained on if not given."""
    count: int = 512
    """Pictures to generate, with the attributes of held-out images."""
    seed: int = 0
    """Of noise and latents."""
    steps: int | None = None
    """Denoising steps: 10 for dpm++, 20 for ddim, all T for renoise and ddpm if not given."""
    scheduler: Literal["dpm++", "ddim", "ddpm", "renoise"] = "dpm++"
    """The sampler."""
    guidance: float = 2.0
    """Guidance scale."""
    features: Path | None = None
    """TorchScript file of an InceptionV3: quality in its features (FID), not in the classifier's. Such a file is a
    program; use one that you trust."""
    json: Path | None = None
    """Also write the report to this file."""
    skip_bad: bool = False
    """Leave out missing and damaged images of --data."""
    threads: int = 1
    """Threads of the CPU; 0 leaves torch's own choice."""


def train(args: list[str]) -> int:
    """Train an attribute-conditioned diffusion model."""
    config: DiffusionConfig = parse_run_flags(DiffusionConfig, PRESETS, "demo", args, "train")

    from gaussmix.data.load import load_dataset

    dataset = load_dataset(
        config.data, size=config.size, count=config.count, seed=config.seed, skip_bad=config.skip_bad
    )
    from gaussmix.diffusion.train import TrainingError, train

    try:
        result = train(config, dataset)
    except TrainingError as error:
        print(f"gaussmix: {one_line(error)}", file=sys.stderr)
        return 1
    if result.interrupted:
        print(f"stopped after step {result.step}; continue with the same command and --resume", file=sys.stderr)
        return 130
    if result.model is not None:
        print(f"{result.step} steps; model: {result.model}, picture: {result.samples}")
    return 0


def load_model(model: Path | None, scheduler: str, threads: int) -> AttributeDiffusionPipeline:
    """The model that was asked for, or the one in the package, with the scheduler that was asked for."""
    import torch
    from diffusers.utils import logging as diffusers_logging

    from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
    from gaussmix.diffusion.schedulers import switch_scheduler

    diffusers_logging.disable_progress_bar()
    if threads:
        torch.set_num_threads(threads)
    pipeline = AttributeDiffusionPipeline.load(model)
    pipeline.scheduler = switch_scheduler(pipeline.scheduler, scheduler)  # pyright: ignore[reportArgumentType]
    if torch.cuda.is_available():
        pipeline.to("cuda")
    return pipeline


def split_names(text: str) -> list[str]:
    return [name for name in (part.strip() for part in text.split(",")) if name]


def sample(args: list[str]) -> int:
    """Draw pictures with the attributes you ask for."""
    config: SampleConfig = parse_flags(SampleConfig, args, "sample")
    check_at_least(1, count=config.count)
    check_at_least(0, seed=config.seed)
    import numpy as np

    from gaussmix.sheets import picture_format, save_atomic

    picture_format(config.out)  # a wrong suffix is said before the drawing, not after
    started = time.perf_counter()
    pipeline = load_model(config.model, config.scheduler, config.threads)
    kinds = read_components(config.component, pipeline)
    present, absent = split_names(config.present), split_names(config.absent)
    asked = list(dict.fromkeys([*present, *kinds[0]]))
    count = config.count or (8 if len(kinds) > 1 else 16)
    attributes = pipeline.choose_attributes(asked, absent, count=count, seed=config.seed)
    if config.fix_latent or config.fix_noise:
        attributes[:] = attributes[0]

    from gaussmix._progress import progress_bar
    from gaussmix.diffusion.sampling import default_steps, draw_batches, first_pictures, stream_to_folder
    from gaussmix.diffusion.sheets import label

    total = int(pipeline.scheduler.config["num_train_timesteps"])
    steps = default_steps(config.scheduler, total) if config.steps is None else config.steps
    with progress_bar("drawing", len(kinds) * count * steps, show=True) as show:

        def rows() -> Iterator[DrawnBatch]:
            for row, components in enumerate(kinds):
                before = row * count
                for batch in draw_batches(
                    pipeline,
                    attributes,
                    seed=config.seed,
                    steps=steps,
                    guidance=config.guidance,
                    classifier_scale=config.classifier_scale,
                    components=components,
                    fix_latent=config.fix_latent,
                    fix_noise=config.fix_noise,
                    trajectory=config.trajectory,
                    on_step=lambda done, before=before: show(before * steps + done),
                ):
                    yield batch._replace(start=before + batch.start)

        batches = rows()
        if config.folder is not None:
            of_all = np.tile(attributes, (len(kinds), 1))
            batches = stream_to_folder(config.folder, batches, of_all, pipeline.attribute_names)
        shown = min(count, max(1, _MOST_ON_A_SHEET // len(kinds)))
        images, path = first_pictures(batches, shown, row=count)
    request = label(asked, absent)
    about = [f"{config.scheduler}, {steps} steps, guidance {config.guidance:g}, seed {config.seed}"]
    if config.classifier_scale:
        about[0] += f", classifier scale {config.classifier_scale:g}"
    about += [text for on, text in ((config.fix_latent, "one Z"), (config.fix_noise, "one noise")) if on]
    if len(kinds) == 1 and kinds[0]:
        about.append(describe(kinds[0]))
    if shown < count:
        about.append(f"the first {shown} of {count}")
    timesteps = [int(t) + 1 for t in pipeline.scheduler.timesteps]
    save_atomic(_sample_sheet(images, path, timesteps, kinds, request, ", ".join(about) + "."), config.out)
    if config.folder is not None:
        print(f"single pictures and metadata.csv: {config.folder}")
    print(f"{len(kinds) * count} x {request}: {config.out} ({time.perf_counter() - started:.1f} s)")
    return 0


def _sample_sheet(
    images: NDArray[np.uint8],
    path: NDArray[np.uint8] | None,
    timesteps: list[int],
    kinds: list[dict[str, int]],
    request: str,
    about: str,
) -> Image.Image:
    """All pictures, a row for each of several kinds; with the estimates ``path``, a row a picture."""
    from gaussmix.sheets import contact_sheet

    if path is not None:
        shown = sorted({round(i) for i in _spread(len(path), 10)})
        return contact_sheet(
            path[shown].swapaxes(0, 1).reshape(-1, *images.shape[1:]),
            columns=len(shown),
            title=request,
            row_labels=[describe(kind) for kind in kinds for _ in range(len(images) // len(kinds))]
            if len(kinds) > 1
            else None,
            column_labels=[f"t = {timesteps[i]}" for i in shown],
            caption=f"The estimate x0* on the way from noise, a row a picture. {about}",
        )
    if len(kinds) == 1:
        return contact_sheet(images, columns=min(8, len(images)), title=request, caption=about)
    return contact_sheet(
        images,
        columns=len(images) // len(kinds),
        row_labels=[describe(kind) for kind in kinds],
        title=request,
        caption=f"A row is a kind. A column is one noise and one Z but for that. {about}",
    )


def _spread(length: int, most: int) -> list[float]:
    """At most ``most`` positions from 0 to ``length - 1``, evenly spaced."""
    n = min(length, most)
    return [i * (length - 1) / max(1, n - 1) for i in range(n)]


def attributes(args: list[str]) -> int:
    """List the attributes that a model knows."""
    config: AttributesConfig = parse_flags(AttributesConfig, args, "attributes")
    pipeline = load_model(config.model, "dpm++", 1)

    from gaussmix.diffusion.conditions import unpack_rows

    names = pipeline.attribute_names
    packed = pipeline.config["attribute_rows"]
    shares = unpack_rows(packed, len(names)).mean(0) if packed else [float("nan")] * len(names)
    width = max(map(len, names))
    for name, share in zip(names, shares, strict=True):
        print(f"{name:<{width}}  {share:6.1%} of the data")
    return 0


def evaluate(args: list[str]) -> int:
    """Measure how well the pictures show what was asked for, and how much they resemble real ones."""
    config: EvaluateConfig = parse_flags(EvaluateConfig, args, "evaluate")
    check_at_least(1, count=config.count)
    check_at_least(0, seed=config.seed)
    pipeline = load_model(config.model, config.scheduler, config.threads)
    trained = pipeline.training
    source = config.data or trained.get("data")
    if source is None:
        raise ValueError("the model does not say what it was trained on; name the data with --data")

    from gaussmix._files import whole_file
    from gaussmix.data.load import load_dataset
    from gaussmix.diffusion.evaluate import evaluate_pipeline
    from gaussmix.diffusion.sampling import default_steps
    from gaussmix.metrics import InceptionFeatures

    extractor = None if config.features is None else InceptionFeatures(config.features, pipeline.unet.device)
    if config.json is not None:  # a folder that cannot be made is said before the drawing, not after
        config.json.parent.mkdir(parents=True, exist_ok=True)

    same = config.data in (None, trained.get("data"))
    dataset = load_dataset(
        source,
        size=pipeline.unet.config["sample_size"],
        count=trained.get("count") if same else None,
        seed=trained.get("seed", 0) if same else 0,
        skip_bad=config.skip_bad,
    )
    total = int(pipeline.scheduler.config["num_train_timesteps"])
    report = evaluate_pipeline(
        pipeline,
        dataset,
        count=config.count,
        seed=config.seed,
        guidance_scale=config.guidance,
        num_inference_steps=default_steps(config.scheduler, total) if config.steps is None else config.steps,
        extractor=extractor,
    )
    from rich.console import Console

    console = Console()
    console.print(report.table())
    console.print(f"No quality: {report.without_quality}." if report.quality is None else report.quality.table())
    if config.json is not None:
        with whole_file(config.json) as aside:
            aside.write_text(report.to_json() + "\n", encoding="utf-8")
    return 0
