"""``gaussmix train | sample | attributes | evaluate``: pictures from chosen attributes."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from gaussmix.cli.flags import one_line, parse_flags
from gaussmix.diffusion.presets import PRESETS, TrainConfig

if TYPE_CHECKING:
    from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline

_NO_STEP_LIMIT = 10_000_000


@dataclass(frozen=True)
class SampleConfig:
    """Draw pictures with the attributes you ask for."""

    present: Annotated[str, tyro.conf.arg(name="with", metavar="A,B,...")] = ""
    """Attributes that every picture shall have, separated by commas."""
    absent: Annotated[str, tyro.conf.arg(name="without", metavar="A,B,...")] = ""
    """Attributes that no picture shall have. All others vary as in the training data."""
    model: Path | None = None
    """A model folder or a training run's folder; the built-in faces if not given."""
    count: int = 16
    """Number of pictures."""
    seed: int = 0
    """The same seed draws the same pictures; picture i does not depend on --count."""
    steps: int | None = None
    """Denoising steps: 20 for dpm++ and ddim, all T for renoise and ddpm if not given."""
    scheduler: Literal["dpm++", "ddim", "ddpm", "renoise"] = "dpm++"
    """The sampler; renoise is the paper's (D Eq. 10)."""
    guidance: float = 2.0
    """1 follows the data, more follows the request more closely and varies less."""
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
    """Measure how well the pictures show what was asked for.

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
    """Denoising steps: 20 for dpm++ and ddim, all T for renoise and ddpm if not given."""
    scheduler: Literal["dpm++", "ddim", "ddpm", "renoise"] = "dpm++"
    """The sampler."""
    guidance: float = 2.0
    """Guidance scale."""
    json: Path | None = None
    """Also write the report to this file."""
    skip_bad: bool = False
    """Leave out missing and damaged images of --data."""
    threads: int = 1
    """Threads of the CPU; 0 leaves torch's own choice."""


def train(args: list[str]) -> int:
    """Train an attribute-conditioned diffusion model."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset", choices=list(PRESETS), default="demo")
    chosen, rest = first.parse_known_args(args)
    preset = PRESETS[chosen.preset]
    given = {arg.partition("=")[0] for arg in rest}
    if "--steps" in given and "--minutes" not in given:  # whoever names one limit means that one
        preset = dataclasses.replace(preset, minutes=None)
    if "--minutes" in given and "--steps" not in given:
        preset = dataclasses.replace(preset, steps=_NO_STEP_LIMIT)
    if "-h" in given or "--help" in given:
        print(f"--preset {{{','.join(PRESETS)}}} chooses the defaults of all flags below; here: {chosen.preset}\n")
    config: TrainConfig = parse_flags(TrainConfig, rest, "train", preset)

    from gaussmix.data.dataset import load_dataset

    dataset = load_dataset(
        config.data, size=config.size, count=config.count, seed=config.seed, skip_bad=config.skip_bad
    )
    from gaussmix.diffusion.run import TrainingError, train

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


def _load(model: Path | None, scheduler: str, threads: int) -> AttributeDiffusionPipeline:
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


def _names(text: str) -> list[str]:
    return [name for name in (part.strip() for part in text.split(",")) if name]


def sample(args: list[str]) -> int:
    """Draw pictures with the attributes you ask for."""
    config: SampleConfig = parse_flags(SampleConfig, args, "sample")
    if config.count < 1:
        raise ValueError(f"--count is {config.count}; it must be at least 1")
    from gaussmix.pictures import contact_sheet, picture_format, save_atomic

    picture_format(config.out)  # a wrong suffix is said before the drawing, not after
    started = time.perf_counter()
    pipeline = _load(config.model, config.scheduler, config.threads)
    present, absent = _names(config.present), _names(config.absent)
    attributes = pipeline.choose_attributes(present, absent, count=config.count, seed=config.seed)
    if config.fix_latent or config.fix_noise:
        attributes[:] = attributes[0]

    from gaussmix.diffusion.draw import default_steps, draw, label, write_folder
    from gaussmix.progress import progress_bar

    total = int(pipeline.scheduler.config["num_train_timesteps"])
    steps = default_steps(config.scheduler, total) if config.steps is None else config.steps
    with progress_bar("drawing", config.count * steps, show=True) as show:
        images, path = draw(
            pipeline,
            attributes,
            seed=config.seed,
            steps=steps,
            guidance=config.guidance,
            fix_latent=config.fix_latent,
            fix_noise=config.fix_noise,
            trajectory=config.trajectory,
            on_step=show,
        )
    request = label(present, absent)
    about = f"{config.scheduler}, {steps} steps, guidance {config.guidance:g}, seed {config.seed}"
    if path is not None:
        shown = sorted({round(i) for i in _spread(len(path), 10)})
        timesteps = [int(t) + 1 for t in pipeline.scheduler.timesteps]
        sheet = contact_sheet(
            path[shown].swapaxes(0, 1).reshape(-1, *images.shape[1:]),
            columns=len(shown),
            title=request,
            column_labels=[f"t = {timesteps[i]}" for i in shown],
            caption=f"The estimate x0* on the way from noise, a row a picture. {about}.",
        )
    else:
        held = [text for on, text in ((config.fix_latent, "one Z"), (config.fix_noise, "one noise")) if on]
        sheet = contact_sheet(
            images,
            columns=min(8, config.count),
            title=request,
            caption=", ".join([about, *held]) + ".",
        )
    save_atomic(sheet, config.out)
    if config.folder is not None:
        write_folder(config.folder, images, attributes, pipeline.attribute_names)
        print(f"single pictures and metadata.csv: {config.folder}")
    print(f"{config.count} x {request}: {config.out} ({time.perf_counter() - started:.1f} s)")
    return 0


def _spread(length: int, most: int) -> list[float]:
    """At most ``most`` positions from 0 to ``length - 1``, evenly spaced."""
    n = min(length, most)
    return [i * (length - 1) / max(1, n - 1) for i in range(n)]


def attributes(args: list[str]) -> int:
    """List the attributes that a model knows."""
    config: AttributesConfig = parse_flags(AttributesConfig, args, "attributes")
    pipeline = _load(config.model, "dpm++", 1)

    from gaussmix.diffusion.requests import unpack_rows

    names = pipeline.attribute_names
    packed = pipeline.config["attribute_rows"]
    shares = unpack_rows(packed, len(names)).mean(0) if packed else [float("nan")] * len(names)
    width = max(map(len, names))
    for name, share in zip(names, shares, strict=True):
        print(f"{name:<{width}}  {share:6.1%} of the data")
    return 0


def evaluate(args: list[str]) -> int:
    """Measure how well the pictures show what was asked for."""
    config: EvaluateConfig = parse_flags(EvaluateConfig, args, "evaluate")
    if config.count < 1:
        raise ValueError(f"--count is {config.count}; it must be at least 1")
    pipeline = _load(config.model, config.scheduler, config.threads)
    trained = pipeline.training
    source = config.data or trained.get("data")
    if source is None:
        raise ValueError("the model does not say what it was trained on; name the data with --data")

    from gaussmix.data.dataset import load_dataset
    from gaussmix.diffusion.draw import default_steps
    from gaussmix.diffusion.evaluate import evaluate

    same = config.data in (None, trained.get("data"))
    dataset = load_dataset(
        source,
        size=pipeline.unet.config["sample_size"],
        count=trained.get("count") if same else None,
        seed=trained.get("seed", 0) if same else 0,
        skip_bad=config.skip_bad,
    )
    total = int(pipeline.scheduler.config["num_train_timesteps"])
    report = evaluate(
        pipeline,
        dataset,
        count=config.count,
        seed=config.seed,
        guidance_scale=config.guidance,
        num_inference_steps=default_steps(config.scheduler, total) if config.steps is None else config.steps,
    )
    from rich.console import Console

    Console().print(report.table())
    if config.json is not None:
        config.json.parent.mkdir(parents=True, exist_ok=True)
        config.json.write_text(report.to_json() + "\n")
    return 0
