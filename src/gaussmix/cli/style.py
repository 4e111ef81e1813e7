"""``gaussmix style transfer | fit``: the distribution of a style, and pictures in many variants of it."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from gaussmix.cli._flags import Output, TorchCommand, check_at_least, check_suffix

if TYPE_CHECKING:
    from gaussmix.style.images import Picture
    from gaussmix.style.transfer import StyleTransfer, Target, TransferStep
    from gaussmix.style.vgg import VGG19Features

_LEAST_SIDE = 32  # pixels, as of a picture's sides in `gaussmix.style.images`
_RATE = 12  # frames a second
_LEAD = 6  # frames that a film begins before its beginning, so that it closes without a jump
_THOUSAND = 1000  # the bar counts thousands of pixels: steps at the pyramid's sizes take their time in proportion


def commands(words: list[str]) -> dict[str, Any]:
    """Commands by name."""
    return {"transfer": RenderPicture, "fit": FitStyle}


@dataclass(frozen=True, kw_only=True)
class _StyleCommand(TorchCommand):
    weights: Path | None = None
    """VGG19's weights; if not given, where GAUSSMIX_VGG19 says, or from the Hugging Face hub."""

    def load_features(self) -> VGG19Features:
        """The network, where it computes fastest."""
        self.set_threads()
        import torch

        from gaussmix.style.vgg import VGG19Features

        return VGG19Features.load(self.weights).to(torch.accelerator.current_accelerator() or torch.device("cpu"))


@dataclass(frozen=True)
class FitStyle(_StyleCommand):
    """Learn the distribution of a style from pictures, to use it again and again."""

    pictures: Positional[tuple[Path, ...]] = ()
    """Pictures in this style, in any format that Pillow reads."""
    output: Output = Path("style.safetensors")
    """The file to write, a .safetensors."""
    size: int = 512
    """Pixels of the longer side at which the pictures are looked at: strokes keep the width that they have there."""
    crops: int = 50
    """How many random crops to take, of all pictures together."""

    def __call__(self) -> None:
        check_at_least(2, crops=self.crops)
        check_at_least(_LEAST_SIDE, size=self.size)
        check_suffix(self.output, "style", ".safetensors")
        if not self.pictures:
            raise ValueError("no picture to learn from; name at least one")
        from gaussmix.style.expansion import GramExpansion
        from gaussmix.style.images import read_picture

        started = time.perf_counter()
        pictures = [read_picture(path, self.size) for path in self.pictures]
        self.output.parent.mkdir(parents=True, exist_ok=True)  # what cannot be written is said before the work
        known = {self.output.stem: pictures}
        style = GramExpansion().fit(known, self.load_features(), crops=self.crops, random_state=self.seed)
        style.save(self.output)
        seconds = time.perf_counter() - started
        print(f"{self.crops} crops of {len(pictures)} pictures: {self.output} ({seconds:.1f} s)")


@dataclass(frozen=True)
class RenderPicture(_StyleCommand):
    """Render a picture in many variants of one style or of a blend of styles."""

    content: Positional[Path]
    """The picture to render, in any format that Pillow reads."""
    style: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="FILE[:SHARE]")] = ()
    """A picture, or what `gaussmix style fit` wrote, and its share in the blend; once for each style."""
    count: int = 4
    """Number of variants: each is another draw from the style's distribution."""
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
    output: Output = Path("out")
    """Folder for the variants, 00.png and on, and the contact sheet, sheet.png."""
    save_every: int | None = None
    """Also write the variants, as far as they are, after each so many steps."""
    animate: Path | None = None
    """Also write a film, .gif or .mp4, that walks through the distribution so that the strokes flow."""
    frames: int = 48
    """Of the film, 12 a second; it runs in a circle."""
    frame_steps: int = 5
    """Steps of descent from one frame to the next."""

    def __call__(self) -> int:
        check_at_least(1, save_every=self.save_every, frames=self.frames, frame_steps=self.frame_steps)
        check_at_least(_LEAST_SIDE, size=self.size, style_size=self.style_size)
        for flag, weight in (("--content-weight", self.content_weight), ("--tv-weight", self.tv_weight)):
            if not 0 <= weight < float("inf"):
                raise ValueError(f"{flag} is {weight}; it must be finite and not negative")
        shares = read_shares(self.style)

        from gaussmix.sheets import save_atomic, save_images
        from gaussmix.style.expansion import load_styles
        from gaussmix.style.images import check_film, read_picture, save_film, variants_sheet
        from gaussmix.style.transfer import StyleTransfer

        if self.animate is not None:
            check_film(self.animate)
        content = read_picture(self.content)
        self.output.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        features = self.load_features()
        options = ("optimizer", "steps", "content_weight", "tv_weight", "size", "start", "original_colors")
        rendering = StyleTransfer(features, **{name: getattr(self, name) for name in options})
        style, blend = load_styles(shares, features, size=self.style_size or self.size, random_state=self.seed)
        images, interrupted = self._render(rendering, content, style.sample(self.count, blend, random_state=self.seed))
        save_images(images, self.output, digits=2)
        described = ", ".join(f"{share:.0%} {name}" for name, share in blend.items())
        caption = (
            f"Variants: draws from the distribution of the style. {self.size} px, {self.steps} steps, content weight "
            f"{self.content_weight:g}, {self.optimizer}, from {self.start}, seed {self.seed}."
        )
        sheet = self.output / "sheet.png"
        save_atomic(variants_sheet(images, title=f"{self.content.stem} in {described}", caption=caption), sheet)
        seconds = time.perf_counter() - started
        print(f"{len(images)} x {self.content.stem} in {described}: {sheet} ({seconds:.1f} s)")
        if interrupted:
            print(f"stopped early; the variants are as far as they came: {self.output}", file=sys.stderr)
            return 130
        if self.animate is not None:
            walk = style.walk(self.frames, blend, random_state=self.seed)
            save_film(self._frames(rendering, content, walk, images[0]), self.animate, rate=_RATE)
            print(f"{self.frames} frames: {self.animate} ({time.perf_counter() - started:.1f} s)")
        return 0

    def _render(self, rendering: StyleTransfer, content: Picture, targets: list[Any]) -> tuple[Picture, bool]:
        """``(K, H, W, 3)``, and whether Ctrl-C ended it early."""
        from gaussmix._progress import progress_bar
        from gaussmix.sheets import save_images

        work = len(targets) * rendering.work(content)
        with progress_bar("thousand pixels", work // _THOUSAND, show=True) as show:

            def report(step: TransferStep) -> None:
                show(step.done // _THOUSAND)
                if self.save_every is not None and step.step % self.save_every == 0 and step.step < step.steps:
                    save_images(step.images, self.output, first=step.variants.start, digits=2)

            result = rendering.run(content, targets, seed=self.seed, on_step=report)
        return result.images, result.interrupted

    def _frames(
        self, rendering: StyleTransfer, content: Picture, walk: Sequence[Target], first: Picture
    ) -> Iterator[Picture]:
        from gaussmix._progress import progress_bar

        with progress_bar("frames", len(walk), show=True) as show:
            film = rendering.follow(content, walk, first, steps=self.frame_steps, lead=_LEAD)
            for number, frame in enumerate(film, 1):
                yield frame
                show(number)


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
