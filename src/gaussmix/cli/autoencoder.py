"""``gaussmix autoencoder train | sample | mix``: images of classes from distributions of latents."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from gaussmix.autoencoder.config import PRESETS, AutoencoderConfig
from gaussmix.cli._flags import check_at_least, one_line, parse_flags, parse_run_flags
from gaussmix.cli.editing import read_picture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from gaussmix.autoencoder.generate import LatentGenerator

_MOST_ON_A_SHEET = 400
_COLUMNS = 11  # of a sheet of one class: the given picture and ten like it fill a row
_STRANGE = 0.01  # share of known images at least as strange, below which a picture's class means little


@dataclass(frozen=True)
class AutoencoderSampleConfig:
    """Draw new images of classes, or images like a given one."""

    run: Path = PRESETS["digits"].output
    """The training run's folder."""
    classes: Annotated[str, tyro.conf.arg(metavar="A,B,...")] = ""
    """Classes, separated by commas, a row each; all if not given."""
    count: int = 10
    """Images of each class, or like the given picture."""
    seed: int = 0
    """The same seed draws the same images."""
    truncation: float | None = None
    """Above 0, up to 1: the central share of each distribution that is drawn from. Less varied, fewer outliers."""
    like: Path | None = None
    """A picture: draw images around it instead, and say how strange it is. Cropped to a square and resized."""
    strength: float = 0.6
    """With --like: 0 is the picture's reconstruction, 1 any image of the cluster of latents that it falls into."""
    out: Path = Path("images.png")
    """The picture to write."""
    folder: Path | None = None
    """Also write single PNGs into this folder, one sub-folder a class."""
    threads: int = 1
    """Threads of the CPU; 0 leaves torch's own choice."""


@dataclass(frozen=True)
class AutoencoderMixConfig:
    """Mix two or more classes (E Fig. 10)."""

    run: Path = PRESETS["digits"].output
    """The training run's folder."""
    classes: Annotated[str, tyro.conf.arg(metavar="A,B,...")] = ""
    """Two or more classes, separated by commas."""
    proportions: Annotated[str, tyro.conf.arg(metavar="P,Q,...")] = ""
    """One number a class, scaled to sum 1; equal if not given."""
    mode: Literal["dims", "lerp"] = "dims"
    """'dims' takes each latent number from a draw of one of the classes, at random; 'lerp' is the draws' mean."""
    count: int = 40
    """Images."""
    seed: int = 0
    """The same seed draws the same images."""
    out: Path = Path("mixes.png")
    """The picture to write."""
    threads: int = 1
    """Threads of the CPU; 0 leaves torch's own choice."""


def train(args: list[str]) -> int:
    """Train an autoencoder on labelled images, and fit the distribution of each class."""
    config: AutoencoderConfig = parse_run_flags(AutoencoderConfig, PRESETS, "digits", args, "autoencoder train")

    from gaussmix.data.load import load_labelled

    dataset = load_labelled(config.data, skip_bad=config.skip_bad)
    from gaussmix.autoencoder.train import TrainingError, train

    try:
        result = train(config, dataset)
    except TrainingError as error:
        print(f"gaussmix: {one_line(error)}", file=sys.stderr)
        return 1
    if result.interrupted:
        print(f"stopped after step {result.step}; continue with the same command and --resume", file=sys.stderr)
        return 130
    if result.model is not None:
        pictures = ", ".join(sorted(path.name for path in config.output.glob("*.png")))
        two, out = shlex.quote(",".join(dataset.class_names[:2])), shlex.quote(str(config.output))
        print(f"{result.step} steps; model: {result.model}\nin {config.output}: {pictures}")
        print(f"next: gaussmix autoencoder sample --run {out}")
        print(f"      gaussmix autoencoder mix --run {out} --classes {two}")
    return 0


def load_generator(run: Path, threads: int) -> LatentGenerator:
    """Of a finished run."""
    import torch

    from gaussmix.autoencoder.generate import LatentGenerator

    if threads:
        torch.set_num_threads(threads)
    return LatentGenerator.load(run)


def sample(args: list[str]) -> int:
    """Draw new images of classes, or images like a given one."""
    config: AutoencoderSampleConfig = parse_flags(AutoencoderSampleConfig, args, "autoencoder sample")
    check_at_least(1, count=config.count)
    check_at_least(0, seed=config.seed)
    if config.like is not None and (config.classes or config.truncation is not None):
        raise ValueError("--like draws from the cluster of the picture: leave out --classes and --truncation")

    import numpy as np

    from gaussmix.sheets import picture_format, save_atomic

    picture_format(config.out)  # a wrong suffix is said before the drawing, not after
    generator = load_generator(config.run, config.threads)
    if config.like is not None:
        drawn, about = _like(config.like, generator, config)
        title = f"More like {config.like.name}"
    else:
        rng = np.random.RandomState(config.seed)
        names = _names(config.classes) or list(generator.class_names)
        drawn = {
            name: generator.sample(config.count, class_name=name, truncation=config.truncation, random_state=rng)
            for name in names
        }
        about = f"Seed {config.seed}" + ("" if config.truncation is None else f", truncation {config.truncation:g}")
        title = "New images of each class"
    if config.folder is not None:
        for name, images in drawn.items():
            _write_single(images, config.folder / name)
        print(f"single images: {config.folder}")
    save_atomic(_sheet(drawn, title, about), config.out)
    print(f"{config.count} x {', '.join(drawn)}: {config.out}")
    return 0


def mix(args: list[str]) -> int:
    """Mix two or more classes."""
    config: AutoencoderMixConfig = parse_flags(AutoencoderMixConfig, args, "autoencoder mix")
    check_at_least(1, count=config.count)
    check_at_least(0, seed=config.seed)
    proportions = _numbers(config.proportions) if config.proportions else None

    from gaussmix.sheets import picture_format, save_atomic

    picture_format(config.out)
    generator = load_generator(config.run, config.threads)
    names = _names(config.classes)
    images = generator.mix(
        names, mode=config.mode, proportions=proportions, n_samples=config.count, random_state=config.seed
    )
    shares = "" if proportions is None else f", proportions {' : '.join(f'{p:g}' for p in proportions)}"
    request = " + ".join(names)
    save_atomic(_sheet({"": images}, request, f"Mode {config.mode}{shares}, seed {config.seed}"), config.out)
    print(f"{config.count} x {request}: {config.out}")
    return 0


def _like(
    path: Path, generator: LatentGenerator, config: AutoencoderSampleConfig
) -> tuple[dict[str, NDArray[np.uint8]], str]:
    """The picture followed by images around it, by the name of its class, and what to say of them."""
    import numpy as np
    from PIL import Image

    settings = generator.model.config
    image = read_picture(path, settings["image_size"]).copy()  # torch wants to be able to write to it
    if settings["in_channels"] == 1:
        image = np.array(Image.fromarray(image).convert("L"))[..., None]
    images = generator.more_like(image, config.count, strength=config.strength, random_state=config.seed)
    name = generator.class_of(image)
    print(f"{path.name} is taken for a {name}", end="")
    if generator.scale is None:
        print()
    else:
        share = float(generator.novelty(image[None]).share[0])
        said = f"{share:.1%} of known images are at least as strange"
        print(
            f"; hardly any known image is as strange ({share:.1%}): that says little"
            if share < _STRANGE
            else f"; {said}"
        )
    about = f"First the given picture. Strength {config.strength:g}, seed {config.seed}"
    return {name: np.concatenate([image[None], images])}, about


def _sheet(drawn: dict[str, NDArray[np.uint8]], title: str, about: str) -> Image.Image:
    """A row a class; of a single class, rows of ten. As many as a sheet takes, the first of each."""
    import numpy as np

    from gaussmix.autoencoder.sheets import sheet_of

    count = len(next(iter(drawn.values())))
    shown = min(count, max(1, _MOST_ON_A_SHEET // len(drawn)))
    if shown < count:
        about += f"; the first {shown} of {count}"
    return sheet_of(
        np.concatenate([images[:shown] for images in drawn.values()]),
        columns=min(_COLUMNS, shown) if len(drawn) == 1 else shown,
        title=title,
        row_labels=list(drawn) if len(drawn) > 1 else None,
        caption=f"{about}.",
    )


def _write_single(images: NDArray[np.uint8], folder: Path) -> None:
    from PIL import Image

    from gaussmix.sheets import save_atomic

    for i, image in enumerate(images):
        save_atomic(Image.fromarray(image[..., 0] if image.shape[2] == 1 else image), folder / f"{i:05d}.png")


def _names(text: str) -> list[str]:
    return [name for name in (part.strip() for part in text.split(",")) if name]


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--proportions is {text!r}; give numbers separated by commas, such as 0.5,0.5") from None
