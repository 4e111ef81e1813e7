"""``gaussmix style fit | transfer``: the distribution of a style, and pictures in many variants of it."""

from __future__ import annotations

import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from gaussmix.cli._flags import check_at_least, parse_flags

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from gaussmix.style.expansion import GramExpansion
    from gaussmix.style.transfer import StyleTransfer, TransferStep
    from gaussmix.style.vgg import VGG19Features

_SHEET_CELL = 240  # pixels of the longer side on the contact sheet
_SHEET_COLUMNS = 5
_RATE = 12  # frames a second
_LEAD = 6
"""Frames of the film's end that are drawn before its beginning and left out, so that it closes without a jump."""


@dataclass(frozen=True)
class FitConfig:
    """Learn the distribution of a style from pictures, to use it again and again."""

    pictures: tyro.conf.Positional[tuple[Path, ...]]
    """Pictures in this style, in any format that Pillow reads."""
    out: Path
    """The file to write, a .safetensors."""
    size: int = 512
    """Pixels of the longer side at which the pictures are looked at: strokes keep the width that they have there."""
    crops: int = 50
    """How many random crops to take, of all pictures together."""
    seed: int = 0
    """Of the crops."""
    weights: Path | None = None
    """VGG19's weights; if not given, where GAUSSMIX_VGG19 says, or from the Hugging Face hub."""
    threads: int = 1
    """Threads of the CPU; 0 leaves torch's own choice."""


@dataclass(frozen=True)
class TransferConfig:
    """Render a picture in many variants of one style or of a blend of styles."""

    content: tyro.conf.Positional[Path]
    """The picture to render, in any format that Pillow reads."""
    style: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="FILE[:SHARE]")] = ()
    """A picture, or what `gaussmix style fit` wrote, and its share in the blend; once for each style."""
    count: int = 4
    """Number of variants: each is another draw from the style's distribution."""
    seed: int = 0
    """The same seed draws the same variants."""
    size: int = 512
    """Pixels of the longer side of the results."""
    style_size: int | None = None
    """Pixels of the longer side at which style pictures are looked at, as --size if not given: more makes the strokes
    larger. What `gaussmix style fit` wrote has its own."""
    steps: int = 200
    """Steps of descent at the smallest size, and half as many at each larger one."""
    optimizer: Literal["adam", "lbfgs"] = "adam"
    """lbfgs takes one variant at a time and gets to a lower loss."""
    start: Literal["content", "noise"] = "content"
    """What to begin with; from noise, forms are freer and variants differ more."""
    content_weight: float = 0.1
    """How much the result holds on to the content; the style weighs 1."""
    tv_weight: float = 0.5
    """How much differences between neighbouring pixels are held down."""
    original_colors: bool = False
    """Keep the colours of the content; only lightness takes on the style."""
    out: Path = Path("out")
    """Folder for the variants, 00.png and on, and the contact sheet, sheet.png."""
    save_every: int | None = None
    """Also write the variants, as far as they are, after each so many steps."""
    animate: Path | None = None
    """Also write a film, .gif or .mp4, that walks through the distribution so that the strokes flow."""
    frames: int = 48
    """Of the film, 12 a second; it runs in a circle."""
    frame_steps: int = 5
    """Steps of descent from one frame to the next."""
    weights: Path | None = None
    """VGG19's weights; if not given, where GAUSSMIX_VGG19 says, or from the Hugging Face hub."""
    threads: int = 1
    """Threads of the CPU; 0 leaves torch's own choice."""


def fit(args: list[str]) -> int:
    """Learn the distribution of a style from pictures."""
    config: FitConfig = parse_flags(FitConfig, args, "style fit")
    check_at_least(2, crops=config.crops)
    check_at_least(0, seed=config.seed)
    if config.out.suffix != ".safetensors":
        raise ValueError(f"--out is {config.out.name}; a style is a .safetensors file")
    if not config.pictures:
        raise ValueError("no picture to learn from; name at least one")
    started = time.perf_counter()
    pictures = [_style_picture(path, config.size) for path in config.pictures]
    config.out.parent.mkdir(parents=True, exist_ok=True)  # what cannot be written is said before the work
    features = _features(config.weights, config.threads)

    from gaussmix.style.expansion import GramExpansion

    style = GramExpansion().fit({config.out.stem: pictures}, features, crops=config.crops, random_state=config.seed)
    style.save(config.out)
    print(f"{config.crops} crops of {len(pictures)} pictures: {config.out} ({time.perf_counter() - started:.1f} s)")
    return 0


def transfer(args: list[str]) -> int:
    """Render a picture in many variants of a style."""
    config: TransferConfig = parse_flags(TransferConfig, args, "style transfer")
    check_at_least(1, count=config.count, save_every=config.save_every, frames=config.frames)
    check_at_least(1, frame_steps=config.frame_steps)
    check_at_least(0, seed=config.seed)
    shares = read_shares(config.style)

    from gaussmix.style.images import check_film, read_picture
    from gaussmix.style.transfer import StyleTransfer

    if config.animate is not None:
        check_film(config.animate)
    content = read_picture(config.content)
    config.out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    features = _features(config.weights, config.threads)
    rendering = StyleTransfer(
        features,
        optimizer=config.optimizer,
        steps=config.steps,
        content_weight=config.content_weight,
        tv_weight=config.tv_weight,
        size=config.size,
        start=config.start,
        original_colors=config.original_colors,
    )
    style, blend = _styles(shares, config, features)
    targets = style.sample(config.count, blend, random_state=config.seed)
    images, interrupted = _render(rendering, content, targets, config)
    described = ", ".join(f"{share:.0%} {name}" for name, share in blend.items())
    sheet = _write(images, described, config)
    print(f"{len(images)} x {config.content.stem} in {described}: {sheet} ({time.perf_counter() - started:.1f} s)")
    if interrupted:
        print(f"stopped early; the variants are as far as they came: {config.out}", file=sys.stderr)
        return 130
    if config.animate is not None:
        walk = style.walk(config.frames, blend, random_state=config.seed)
        _film(rendering, content, walk, images[0], config)
        print(f"{config.frames} frames: {config.animate} ({time.perf_counter() - started:.1f} s)")
    return 0


def read_shares(styles: tuple[str, ...]) -> dict[str, float]:
    """``{file: share}`` from FILE or FILE:SHARE, shares summing to 1.

    Without shares all are equal; shares that do not sum to 1 are divided by their sum, with a warning. Raises
    ValueError for no style, a style named twice, and shares that are negative, not finite, missing for some, or all 0.
    """
    if not styles:
        raise ValueError("no style: name one with --style, a picture or what `gaussmix style fit` wrote")
    shares: dict[str, float | None] = {}
    for text in styles:
        name, colon, number = text.rpartition(":")
        try:
            name, share = (name, float(number)) if colon else (text, None)
        except ValueError:  # the colon is part of the name
            name, share = text, None
        if name in shares:
            raise ValueError(f"--style names {name} twice; name it once")
        if share is not None and not 0 <= share < float("inf"):
            raise ValueError(f"--style gives {name} the share {number}; it must be finite and not negative")
        shares[name] = share
    given = {name: share for name, share in shares.items() if share is not None}
    if not given:
        return dict.fromkeys(shares, 1 / len(shares))
    if len(given) < len(shares):
        missing = next(name for name, share in shares.items() if share is None)
        raise ValueError(f"--style gives no share to {missing}, but to others; give all a share or none")
    total = sum(given.values())
    if not total:
        raise ValueError("all shares of --style are 0; give one of them more")
    if abs(total - 1) > 1e-6:
        normalised = ", ".join(f"{Path(name).name}:{share / total:.3g}" for name, share in given.items())
        warnings.warn(f"the shares of --style sum to {total:g}, not 1; taken as {normalised}", stacklevel=2)
    return {name: share / total for name, share in given.items()}


def _features(weights: Path | None, threads: int) -> VGG19Features:
    import torch

    from gaussmix.style.vgg import VGG19Features

    if threads:
        torch.set_num_threads(threads)
    features = VGG19Features.load(weights)
    return features.to(torch.accelerator.current_accelerator() or torch.device("cpu"))


def _style_picture(path: Path, size: int) -> NDArray[np.uint8]:
    from gaussmix.style.images import fit_size, read_picture, resize

    picture = read_picture(path)
    height, width = fit_size(picture.shape[0], picture.shape[1], size)
    return resize(picture, height, width)


def _styles(
    shares: dict[str, float], config: TransferConfig, features: VGG19Features
) -> tuple[GramExpansion, dict[str, float]]:
    """The distributions of all styles, learnt here or before, and the blend by their names.

    The styles of a file that holds several share its share alike.
    """
    from gaussmix.style.expansion import GramExpansion

    expansions, blend = [], {}
    for file, share in shares.items():
        path = Path(file)
        if path.suffix == ".safetensors":
            found = GramExpansion.load(path)
        else:
            picture = _style_picture(path, config.style_size or config.size)
            found = GramExpansion().fit({path.stem: picture}, features, random_state=config.seed)
        expansions.append(found)
        blend |= dict.fromkeys(found.styles, share / len(found.styles))
    return GramExpansion.join(expansions), blend


def _render(
    rendering: StyleTransfer, content: NDArray[np.uint8], targets: list[dict[str, Tensor]], config: TransferConfig
) -> tuple[NDArray[np.uint8], bool]:
    """``(K, H, W, 3)``, and whether Ctrl-C ended it early."""
    from gaussmix._progress import progress_bar

    thousand = 1000  # the bar counts thousands of pixels: steps at the pyramid's sizes take their time in proportion
    with progress_bar("thousand pixels", rendering.work(content, len(targets)) // thousand, show=True) as show:

        def report(step: TransferStep) -> None:
            show(step.done // thousand)
            if config.save_every is not None and step.step % config.save_every == 0 and step.step < step.steps:
                _save(step.images, step.variants, config.out)

        result = rendering.run(content, targets, seed=config.seed, on_step=report)
    return result.images, result.interrupted


def _save(images: NDArray[np.uint8], variants: range, folder: Path) -> None:
    from PIL import Image

    from gaussmix.sheets import save_atomic

    for image, variant in zip(images, variants, strict=True):
        save_atomic(Image.fromarray(image), folder / f"{variant:02}.png")


def _write(images: NDArray[np.uint8], blend: str, config: TransferConfig) -> Path:
    """All variants and the contact sheet."""
    import numpy as np

    from gaussmix.sheets import contact_sheet, save_atomic
    from gaussmix.style.images import fit_size, resize

    _save(images, range(len(images)), config.out)
    height, width = images.shape[1:3]
    height, width = fit_size(height, width, min(_SHEET_CELL, max(height, width)))
    sheet = contact_sheet(
        np.stack([resize(image, height, width) for image in images]),
        columns=min(_SHEET_COLUMNS, len(images)),
        title=f"{config.content.stem} in {blend}",
        caption=f"Variants: draws from the distribution of the style. {config.size} px, {config.steps} steps, content "
        f"weight {config.content_weight:g}, {config.optimizer}, from {config.start}, seed {config.seed}.",
        scale=max(1, _SHEET_CELL // max(height, width)),
    )
    path = config.out / "sheet.png"
    save_atomic(sheet, path)
    return path


def _film(
    rendering: StyleTransfer,
    content: NDArray[np.uint8],
    walk: list[dict[str, Tensor]],
    first: NDArray[np.uint8],
    config: TransferConfig,
) -> None:
    from gaussmix._progress import progress_bar
    from gaussmix.style.images import save_film

    assert config.animate is not None
    lead = walk[-_LEAD:]
    frames = []
    with progress_bar("frames", len(lead) + len(walk), show=True) as show:
        for frame in rendering.follow(content, [*lead, *walk], first, steps=config.frame_steps):
            frames.append(frame)
            show(len(frames))
    save_film(frames[len(lead) :], config.animate, rate=_RATE)
