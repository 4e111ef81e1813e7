"""What the tabs of faces and digits have the models draw, and the network of styles: where torch is loaded.

Of faces what is asked for is a `Wish`, and what comes is a `Face`. `draw`, `vary`, `change`, `look_at` and
`draw_each_kind` run in jobs (`gaussmix.studio.work`). What the attributes are, and how often each occurs, stands in the
model's folder and is read without torch (`ModelCard`).

Of digits `load_generator` runs in a job: it loads what ``--model`` names, if that is an autoencoder's, or what it has
trained once on scikit-learn's digits and kept in the cache. Images of so few numbers are drawn in a second or two at
most: `mix` and `near` run beside the line of jobs, so that the pad moves though others wait.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gaussmix._files import aside_name, cache_dir
from gaussmix._guard import reading
from gaussmix.diffusion.conditions import attribute_row, unpack_rows
from gaussmix.diffusion.config import find_model
from gaussmix.diffusion.saved import read_index
from gaussmix.studio.session import Studio

if TYPE_CHECKING:
    from gaussmix.autoencoder.generate import LatentGenerator
    from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
    from gaussmix.style.vgg import VGG19Features

__all__ = [
    "Face",
    "Mix",
    "ModelCard",
    "Wish",
    "change",
    "draw",
    "draw_each_kind",
    "load_generator",
    "load_network",
    "look_at",
    "metadata",
    "mix",
    "near",
    "read_image",
    "said",
    "vary",
]

COUNT = 24
"""Digits that are drawn at once."""
_EDITS, _VARIATIONS = 4, 8
_STRANGE = 0.01  # share of known images at least as strange, below which a class says little
_KEPT = "digits-1"  # in the cache: another number for another preset
_AUTOENCODER = "sampler.safetensors"  # what the folder of a model of digits holds
Told = Callable[..., None]


@dataclass(frozen=True)
class ModelCard:
    """What a model says of itself: its K attributes, rows of real ones ``(M, K)``, the shares of each one's kinds."""

    folder: Path
    names: tuple[str, ...]
    rows: NDArray[np.uint8]
    kinds: tuple[tuple[float, ...], ...]

    @classmethod
    def read(cls, model: Path | None) -> ModelCard:
        """Read that of a folder; of the model in the package for None, and for the folder of an autoencoder.

        Raises ValueError for a folder without a model, or with a damaged one.
        """
        folder = find_model(None if model is not None and (model / _AUTOENCODER).is_file() else model)
        with reading(folder, "holds no model that can be read"):
            about = read_index(folder)
            names = tuple(about["attribute_names"])
            rows = unpack_rows(about.get("attribute_rows") or [], len(names))
            latents = about.get("latent_distribution") or {}
            count = latents.get("n_components", 1)
            shares = latents.get("shares") or [[1 / count] * count] * len(names)
            kinds = tuple(tuple(each) for each in shares[: len(names)])
        return cls(folder, names, rows, kinds)

    def kinds_of(self, name: str) -> list[int]:
        """The numbers of the kinds of an attribute that occur; none where there is but one."""
        found = [kind for kind, share in enumerate(self.kinds[self.names.index(name)]) if share > 0]
        return found if len(found) > 1 else []


@dataclass(frozen=True)
class Wish:
    """What is asked for, and how it is to be drawn."""

    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    kinds: Mapping[str, int] = field(default_factory=dict)
    count: int = 16
    guidance: float = 2.0
    steps: int = 10
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Face:
    """A picture ``(S, S, 3)`` and its attributes ``(K,)``; of a drawn one the wish, and its number among them."""

    image: NDArray[np.uint8]
    attributes: NDArray[np.uint8]
    wish: Wish | None = None
    number: int = 0


# -- jobs of faces


def _load(studio: Studio, folder: Path) -> AttributeDiffusionPipeline:
    """The model, once for all sessions."""
    import torch

    torch.set_num_threads(1)  # as the command line does: the same seed gives the same picture

    def make() -> AttributeDiffusionPipeline:
        from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
        from gaussmix.diffusion.schedulers import switch_scheduler

        pipeline = AttributeDiffusionPipeline.load(folder)
        pipeline.scheduler = switch_scheduler(pipeline.scheduler, "dpm++")
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to("cuda") if torch.cuda.is_available() else pipeline

    return studio.once(("faces", folder), make)


def _drawn(
    pipeline: AttributeDiffusionPipeline,
    attributes: NDArray[np.uint8],
    wish: Wish,
    progress: Told,
    *,
    first: int = 0,
    **fixed: Any,
) -> list[Face]:
    """Draws a picture for each row of attributes ``(M, K)``, and tells each step's estimates and where they belong."""
    from gaussmix.diffusion.sampling import draw_batches

    steps = min(wish.steps, int(pipeline.scheduler.config["num_train_timesteps"]))
    done = 0

    def show(start: int, estimates: NDArray[np.uint8]) -> None:
        nonlocal done
        done += len(estimates)
        step = (done - start * steps) // len(estimates)
        progress(done / (len(attributes) * steps), f"step {step} of {steps}", (start, estimates))

    options = {"seed": wish.seed, "steps": steps, "guidance": wish.guidance, "components": wish.kinds, "first": first}
    batches = draw_batches(pipeline, attributes, on_estimate=show, **options, **fixed)
    images = np.concatenate([batch.images for batch in batches])
    return [Face(image, attributes[i], wish, first + i) for i, image in enumerate(images)]


def draw(studio: Studio, folder: Path, wish: Wish, *, progress: Told) -> tuple[str, list[Face]]:
    """Draw what is asked for: a title, and faces. Told are the first one's number and each step's estimates x0*."""
    progress(None, "loading the model")
    pipeline = _load(studio, folder)
    from gaussmix.diffusion.sampling import label

    attributes = pipeline.choose_attributes(wish.present, wish.absent, count=wish.count, seed=wish.seed)
    return label(list(wish.present), list(wish.absent)), _drawn(pipeline, attributes, wish, progress)


def vary(studio: Studio, folder: Path, face: Face, kept: str, *, progress: Told) -> list[Face]:
    """Draw a drawn face again, first as it was, then with its "latent" or its "noise" kept alone; told as by `draw`."""
    assert face.wish is not None
    rows = face.attributes[None].repeat(_VARIATIONS, 0)
    fixed = {f"fix_{kept}": True}
    return _drawn(_load(studio, folder), rows, face.wish, progress, first=face.number, **fixed)


def draw_each_kind(
    studio: Studio, folder: Path, name: str, kinds: Sequence[int], *, progress: Told
) -> list[NDArray[np.uint8]]:
    """Draw one picture ``(S, S, 3)`` of each kind of an attribute, all else the same."""
    progress(None, "loading the model")
    pipeline = _load(studio, folder)
    attributes = pipeline.choose_attributes([name], count=1)
    found = [_drawn(pipeline, attributes, Wish(kinds={name: kind}), lambda *_: progress()) for kind in kinds]
    return [faces[0].image for faces in found]


def change(
    studio: Studio, folder: Path, face: Face, name: str, present: bool, seed: int, *, progress: Told
) -> tuple[list[Face], str]:
    """Change one attribute of a face, in several ways; the faces, and what else the data demand, in words."""
    pipeline = _load(studio, folder)
    from gaussmix.diffusion.edit import EDIT_STEPS, edit_images

    many, rows = (each[None].repeat(_EDITS, 0) for each in (face.image, face.attributes))
    told = {"attributes": rows, "seed": seed, "on_step": lambda done: progress(done / (_EDITS * EDIT_STEPS), "editing")}
    result = edit_images(pipeline, many, [name] if present else [], [] if present else [name], **told)
    after, named = result.attributes_after, attribute_row([name], pipeline.attribute_names) > 0
    also = np.flatnonzero((after[0] != face.attributes) & ~named)
    words = [f"{pipeline.attribute_names[k].replace('_', ' ')} {'on' if after[0, k] else 'off'}" for k in also]
    said = f"Also changed, as the training pictures demand: {', '.join(words)}" if words else ""
    return [Face(image, row) for image, row in zip(result.images, after, strict=True)], said


def look_at(studio: Studio, folder: Path, path: Path, *, progress: Told) -> tuple[Face, str]:
    """Read a picture's attributes, and say how strange it is to the model. ValueError for a model that cannot."""
    progress(None, "loading the model")
    pipeline = _load(studio, folder)
    from gaussmix.data.decode import read_square
    from gaussmix.diffusion.edit import FAR, find_encoder, strangeness

    encoder = find_encoder(pipeline)
    image = read_square(path, pipeline.network.config["sample_size"]).copy()
    progress(0.5, "looking at the picture")
    times = float(strangeness(pipeline, image[None])[0])
    said = f"The model denoises this picture with {times:.1f} times the error of those that it draws itself"
    if times > FAR:
        said += f": it is strange to the model (up to {FAR:g} is usual), and edits may go wrong"
    return Face(image, encoder.read_attributes(image[None])[0]), f"{said}."


def metadata(names: Sequence[str], faces: Sequence[Face]) -> str:
    """Return the table of attributes that makes a folder of pictures a data set, as ``faces sample --folder`` does."""
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerow(["file_name", *names])
    table.writerows([f"{i:05d}.png", *face.attributes.tolist()] for i, face in enumerate(faces))
    return written.getvalue()


def said(name: str) -> str:
    """An attribute's name for people."""
    return name.replace("_", " ")


# -- digits


def load_generator(studio: Studio, model: Path | None, *, progress: Callable[..., None]) -> LatentGenerator:
    """Return what draws images of classes, once for all sessions: an autoencoder's run, or digits that it learns."""
    progress(None, "starting to compute")
    import torch

    from gaussmix.autoencoder.generate import SAMPLER_FILE, LatentGenerator

    torch.set_num_threads(1)
    named = model if model is not None and (model / SAMPLER_FILE).is_file() else None

    def make() -> LatentGenerator:
        if named is not None:
            return LatentGenerator.load(named)
        folder = cache_dir() / "studio" / _KEPT
        if not (folder / SAMPLER_FILE).is_file():
            _train(folder, progress)
        return LatentGenerator.load(folder)

    return studio.once(("digits", named), make)


def _train(folder: Path, progress: Callable[..., None]) -> None:
    """Trains on scikit-learn's digits, in a folder aside that is then whole; of two processes the first one wins."""
    from gaussmix.autoencoder.config import PRESETS
    from gaussmix.autoencoder.train import AutoencoderTrainer
    from gaussmix.data.load import load_labelled

    class Told(AutoencoderTrainer):
        def _train_step(self) -> Any:
            progress(self.progress(), f"learning the digits, once: step {self.step} of {self.config.steps}")
            return super()._train_step()

    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_name(folder)
    config = dataclasses.replace(PRESETS["digits"], output=aside)
    try:
        Told(config, load_labelled(config.data, **config.loading)).run(progress=False, sheet=False)
        shutil.rmtree(aside / "checkpoints", ignore_errors=True)
        if not folder.exists():
            os.rename(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@dataclass(frozen=True)
class Mix:
    """What is asked for: classes and their shares, how they are merged, the central share that is drawn from."""

    classes: tuple[str, ...]
    shares: tuple[float, ...]
    mode: str = "dims"
    truncation: float = 1.0
    count: int = COUNT
    seed: int = 0


def mix(generator: LatentGenerator, wish: Mix) -> NDArray[np.uint8]:
    """Return images ``(count, S, S, C)``; image i moves little when the shares do."""
    how = {"truncation": None if wish.truncation >= 1 else wish.truncation, "random_state": wish.seed}
    if len(wish.classes) == 1:
        return generator.sample(wish.count, class_name=wish.classes[0], **how)
    options: Any = {"mode": wish.mode, "proportions": wish.shares}
    return generator.mix(wish.classes, n_samples=wish.count, **options, **how)


def near(
    generator: LatentGenerator, image: NDArray[np.uint8], strength: float, seed: int, count: int = 16
) -> tuple[NDArray[np.uint8], str]:
    """Return images ``(count, S, S, C)`` like one ``(S, S, C)``, and what it is taken for and how strange it is."""
    images = generator.more_like(image, count, strength=strength, random_state=seed)
    said = f"Taken for {generator.class_of(image)}"
    if generator.scale is None:
        return images, f"{said}."
    share = float(generator.novelty(image[None]).share[0])
    if share < _STRANGE:
        return images, f"{said}, but hardly any known image is as strange ({share:.1%}): that says little."
    return images, f"{said}; {share:.0%} of known images are at least as strange."


def read_image(path: Path, settings: Any) -> NDArray[np.uint8]:
    """A picture as ``(S, S, C)`` of the model."""
    from PIL import Image

    from gaussmix.data.decode import read_square

    image = read_square(path, settings["image_size"]).copy()
    return np.array(Image.fromarray(image).convert("L"))[..., None] if settings["in_channels"] == 1 else image


# -- styles


def load_network(studio: Studio, weights: Path | None, *, progress: Told) -> VGG19Features:
    """Return VGG19, once for all sessions with these weights.

    Raises
    ------
    ValueError
        Where there are none: what to do. Nothing is fetched.
    """
    progress(None, "starting to compute")
    from gaussmix.style import vgg

    def find() -> Path:
        if os.environ.get(vgg.VARIABLE) or _is_cached(vgg.HUB_REPOSITORY, vgg.HUB_FILE, vgg.HUB_REVISION):
            return vgg.find_weights()
        raise ValueError(
            "The weights of VGG19 are not on this machine, and this page fetches nothing. Drop their file here: "
            "torchvision's vgg19-dcbb9e9d.pth, or a .safetensors with the same keys "
            f"({vgg.HUB_REPOSITORY} on the Hugging Face hub); or start the studio with ${vgg.VARIABLE} naming it"
        )

    return studio.once(("vgg", weights), lambda: vgg.VGG19Features.load(weights or find()))


def _is_cached(repository: str, file: str, revision: str) -> bool:
    try:
        from huggingface_hub import try_to_load_from_cache
    except ModuleNotFoundError:
        return False
    return isinstance(try_to_load_from_cache(repository, file, revision=revision), str)
