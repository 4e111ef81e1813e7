"""``gaussmix faces sample | edit | attributes | train | evaluate``: pictures from chosen attributes."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from gaussmix._guard import counted, reading
from gaussmix.cli._flags import Names, Output, TorchCommand, check_finite, choose_preset, run_training
from gaussmix.diffusion.config import PRESETS, DiffusionConfig, find_model

if TYPE_CHECKING:
    from gaussmix.diffusion.edit import EditResult
    from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline

    Preset = str
else:
    Preset = tyro.extras.literal_type_from_choices(PRESETS)

Scheduler = Literal["dpm++", "ddim", "ddpm", "renoise"]


def commands(words: list[str]) -> dict[str, Any]:
    """Commands by name; ``words`` may choose a preset."""
    return {
        "sample": SampleFaces,
        "edit": EditFace,
        "attributes": ListAttributes,
        "train": TrainFaces(*choose_preset(PRESETS, "transformer", words)),
        "evaluate": EvaluateFaces,
    }


@dataclass(frozen=True)
class SampleFaces(TorchCommand):
    """Draw pictures with the attributes you ask for."""

    model: Positional[Path | None] = None
    """A model folder or a training run's folder; the built-in faces if not given."""
    present: Annotated[Names, tyro.conf.arg(name="with")] = ()
    """Attributes that every picture shall have, separated by commas."""
    absent: Annotated[Names, tyro.conf.arg(name="without")] = ()
    """Attributes that no picture shall have. All others vary as in the training data."""
    component: Annotated[str, tyro.conf.arg(metavar="A=N,...")] = ""
    """Kinds of attributes by number, such as Eyeglasses=2; these attributes are then asked for too. Wearing_Hat=all
    draws a row for each kind, with the same noise and otherwise the same Z."""
    count: int | None = None
    """Number of pictures, in each row of --component A=all; 16, or 8 a row, if not given. Picture i does not depend on
    it."""
    steps: int | None = None
    """Denoising steps: 10 for dpm++, 20 for ddim, all T for renoise and ddpm if not given."""
    scheduler: Scheduler = "dpm++"
    """The sampler; renoise is the paper's (D Eq. 10)."""
    guidance: float = 2.0
    """1 follows the data, more follows the request more closely and varies less."""
    classifier_scale: float = 0.0
    """How much a classifier on the bottleneck guides, if the model has one (--classifier-weight of the training)."""
    output: Output = Path("faces.png")
    """The picture to write."""
    folder: Path | None = None
    """Also write single PNGs and a metadata.csv into this folder."""
    fix_latent: bool = False
    """One attribute vector and one Z for all pictures: only the noise differs (D Fig. 5)."""
    fix_noise: bool = False
    """One attribute vector and one starting noise for all pictures: only Z differs."""
    trajectory: bool = False
    """Draw the estimate x0* along the way, a row a picture (D Fig. 6)."""
    anyway: bool = False
    """Draw also what the training data never show together."""
    check: bool = False
    """Have a classifier, trained once on the model's data, look at each picture: a red frame where it denies it."""

    def __call__(self) -> None:
        import numpy as np

        from gaussmix._progress import progress_bar
        from gaussmix.diffusion import sampling
        from gaussmix.diffusion.conditions import read_components
        from gaussmix.sheets import picture_format, save_atomic

        picture_format(self.output)  # a wrong suffix is said before the drawing, not after
        check_finite(guidance=self.guidance, classifier_scale=self.classifier_scale)
        if self.folder is not None:
            sampling.check_folder(self.folder)
        started = time.perf_counter()
        pipeline, steps = load_model(self, self.model, self.scheduler, self.steps)
        kinds = read_components(self.component, pipeline.attribute_names, pipeline.latent_distribution)
        asked, absent = list(dict.fromkeys([*self.present, *kinds[0]])), list(self.absent)
        excluded = check_request(pipeline, asked, absent, self.anyway)
        count = self.count or (8 if len(kinds) > 1 else 16)
        attributes = pipeline.choose_attributes(asked, absent, count=count, seed=self.seed)
        if self.fix_latent or self.fix_noise:
            attributes[:] = attributes[0]
        with progress_bar("drawing", len(kinds) * count * steps, show=True) as show:
            names = ("seed", "guidance", "classifier_scale", "fix_latent", "fix_noise", "trajectory")
            options = {name: getattr(self, name) for name in names}
            batches = sampling.draw_kinds(pipeline, attributes, kinds, steps=steps, on_step=show, **options)
            request = sampling.label(asked, absent)
            told = {"request": request, "scheduler": self.scheduler, "steps": steps}
            told |= {name: getattr(self, name) for name in ("guidance", "seed")}
            if self.folder is not None:
                of_all = np.tile(attributes, (len(kinds), 1))
                batches = sampling.stream_to_folder(self.folder, batches, of_all, pipeline.attribute_names, told)
            shown = min(count, max(1, sampling.MOST_ON_A_SHEET // len(kinds)))
            images, path = sampling.first_pictures(batches, shown, row=count)
        guidance = sampling.guided(self.guidance)
        about = [f"{self.scheduler}, {counted(steps, 'step')}, {guidance}, seed {self.seed}"]
        about += [f"classifier scale {self.classifier_scale:g}"] if self.classifier_scale else []
        about += [text for on, text in ((self.fix_latent, "one Z"), (self.fix_noise, "one noise")) if on]
        about += [sampling.describe(kinds[0])] if len(kinds) == 1 and kinds[0] else []
        about += [f"the first {shown} of {count}"] if shown < count else []
        timesteps = [int(t) + 1 for t in pipeline.scheduler.timesteps]
        caption, marked = f"{', '.join(about)}.", []
        caption += f" Note: {excluded}." if excluded else ""
        if self.check:
            rows = np.tile(attributes[:shown], (len(kinds), 1))
            denied, said = sampling.check_pictures(pipeline, images, rows, [*asked, *absent])
            marked, caption = np.flatnonzero(denied).tolist(), f"{caption} {said}."
            print(said)
        texts = {"title": f"Asked for: {request}" if asked or absent else request, "caption": caption, "marked": marked}
        save_atomic(sampling.sample_sheet(images, path, timesteps, kinds, **texts), self.output, metadata=told)
        if self.folder is not None:
            print(f"single pictures and metadata.csv: {self.folder}")
        print(f"{len(kinds) * count} x {request}: {self.output} ({time.perf_counter() - started:.1f} s)")


@dataclass(frozen=True)
class EditFace(TorchCommand):
    """Change attributes of a picture and keep the rest of it."""

    picture: Positional[Path]
    """The picture, in any format that Pillow reads; its centre square is used, at the model's size."""
    model: Positional[Path | None] = None
    """A model folder or a training run's folder; the built-in faces if not given."""
    present: Annotated[Names, tyro.conf.arg(name="with")] = ()
    """Attributes that the picture shall have, separated by commas."""
    absent: Annotated[Names, tyro.conf.arg(name="without")] = ()
    """Attributes that it shall not have. All others stay, unless the data never show them beside these."""
    component: Annotated[str, tyro.conf.arg(metavar="A=N,...")] = ""
    """Kinds of attributes by number, such as Eyeglasses=1; the picture then gets these attributes too, anew if it has
    them. Wearing_Hat=all draws a row for each kind."""
    attributes: Annotated[Names | None, tyro.conf.arg(metavar="A,B,...")] = None
    """What the picture has, all of it, if the model reads it wrongly."""
    count: int = 4
    """Number of edits: what is new in the picture can look in several ways. Edit i does not depend on it."""
    steps: int = 10
    """Levels of noise on the way."""
    guidance: float = 1.0
    """More exaggerates the change."""
    output: Output = Path("edited.png")
    """The picture to write: the original, what the model reads in it, and the edits."""
    folder: Path | None = None
    """Also write the edits as single PNGs and a metadata.csv into this folder."""
    anyway: bool = False
    """Edit also pictures that are far from what the model knows, and ask for what its data never show together."""

    def __call__(self) -> None:
        if not (self.present or self.absent or self.component):
            raise ValueError("nothing to change: say what with --with, --without or --component")
        import numpy as np

        from gaussmix._progress import progress_bar
        from gaussmix.data.decode import read_square
        from gaussmix.diffusion.conditions import attribute_row, read_components
        from gaussmix.diffusion.edit import FAR, edit_images, find_encoder, reconstruct, strangeness
        from gaussmix.diffusion.sampling import check_folder, edit_sheet, guided, label, write_folder
        from gaussmix.sheets import picture_format, save_atomic

        picture_format(self.output)  # a wrong suffix is said before the drawing, not after
        check_finite(guidance=self.guidance)
        if self.folder is not None:
            check_folder(self.folder)
        started = time.perf_counter()
        pipeline, _ = load_model(self, self.model)
        names = pipeline.attribute_names
        find_encoder(pipeline)  # a model without one is named before the picture is looked at
        picture = read_square(self.picture, pipeline.network.config["sample_size"])
        kinds = read_components(self.component, names, pipeline.latent_distribution)
        check_request(pipeline, [*self.present, *kinds[0]], list(self.absent), self.anyway)
        times = float(strangeness(pipeline, picture[None].copy(), seed=self.seed)[0])
        far = (
            f"the model denoises {self.picture.name} with {times:.1f} times the error of pictures that it draws itself"
        )
        if times > FAR and not self.anyway:
            raise ValueError(
                f"{far}: it is far from what it knows (up to {FAR:g} is usual); --anyway edits it all the same"
            )
        given = None if self.attributes is None else attribute_row(self.attributes, names)[None].repeat(self.count, 0)
        many, options = picture[None].repeat(self.count, 0), ("seed", "steps", "guidance")
        told: dict[str, Any] = {"attributes": given, **{name: getattr(self, name) for name in options}}
        results = []
        with progress_bar("editing", len(kinds) * self.count * self.steps, show=True) as show:
            for row, kind in enumerate(kinds):
                told["on_step"] = partial(lambda before, done: show(before + done), row * self.count * self.steps)
                results.append(edit_images(pipeline, many, self.present, self.absent, components=kind, **told))
        present, absent = list(dict.fromkeys([*self.present, *kinds[0]])), list(self.absent)
        about = self._changes(results[0], names, [*present, *absent], bool(kinds[0]))
        request = label(present, absent)
        redrawn = reconstruct(pipeline, results[0], seed=self.seed)[0]
        about.append(f"{far[0].upper()}{far[1:]}: {'far' if times > FAR else 'not far'} from what it knows")
        how = f"{counted(self.steps, 'step')}, {guided(self.guidance)}, seed {self.seed}."
        caption = ". ".join([*about, how]).replace("_", " ")
        origin = {"request": request, "edit of": self.picture.name, **{name: getattr(self, name) for name in options}}
        sheet = edit_sheet(picture, redrawn, results, kinds, title=request, caption=caption)
        save_atomic(sheet, self.output, metadata=origin)
        print("\n".join(about))
        if self.folder is not None:
            edits = np.concatenate([result.images for result in results])
            rows = np.concatenate([result.attributes_after for result in results])
            write_folder(self.folder, edits, rows, names, origin)
            print(f"single pictures and metadata.csv: {self.folder}")
        print(f"{len(kinds) * self.count} x {request}: {self.output} ({time.perf_counter() - started:.1f} s)")

    def _changes(self, result: EditResult, names: tuple[str, ...], named: list[str], anew: bool) -> list[str]:
        """What the picture has, and what changed that was not named. Raises ValueError where nothing changes."""
        from gaussmix.diffusion.conditions import attribute_row

        found, wanted = result.attributes_before[0], result.attributes_after[0]
        has = ", ".join(name for name, on in zip(names, found, strict=True) if on) or "none of the model's attributes"
        if (found == wanted).all() and not anew:
            raise ValueError(
                f"nothing to change: {self.picture.name} has {has}; if that is wrong, say what it has with --attributes"
            )
        also = ((found != wanted) & (attribute_row(named, names) == 0)).nonzero()[0]
        about = [f"{self.picture.name} has: {has}"]
        if len(also):
            changes = ", ".join(f"{names[k]} {'on' if wanted[k] else 'off'}" for k in also)
            about.append(f"Also changed, as the training data demand: {changes}")
        return about


@dataclass(frozen=True)
class ListAttributes:
    """List the attributes that a model knows and how common they are in its data."""

    model: Positional[Path | None] = None
    """A model folder or a training run's folder; the built-in faces if not given."""
    json: bool = False
    """Print JSON."""

    def __call__(self) -> None:
        from gaussmix.diffusion.conditions import unpack_rows
        from gaussmix.diffusion.saved import count_numbers, read_index

        found = find_model(self.model)
        with reading(found, "holds no model that can be read"):
            about = read_index(found)
            names, packed = about["attribute_names"], about.get("attribute_rows")
            if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
                raise ValueError("its attribute_names are no list of names")
            shares = unpack_rows(packed, len(names)).mean(0).tolist() if packed else [None] * len(names)
        if self.json:
            print(json.dumps(dict(zip(names, shares, strict=True)), indent=2))
            return
        width = max(map(len, names))
        for name, share in zip(names, shares, strict=True):
            print(f"{name:<{width}}  {float('nan') if share is None else share:6.1%} of the data")
        network = next(name for name in ("unet", "transformer") if about.get(name, [None, None]) != [None, None])
        print(f"\n{network} of {counted(count_numbers(found, network), 'number')}")


@dataclass(frozen=True)
class TrainFaces:
    """Train an attribute-conditioned diffusion model."""

    preset: Preset = "transformer"
    """Chooses the defaults of all other flags."""
    config: tyro.conf.OmitArgPrefixes[DiffusionConfig] = PRESETS["transformer"]

    def __call__(self) -> None:
        started = time.perf_counter()
        from gaussmix.data.load import load_dataset
        from gaussmix.diffusion.train import train

        options = {name: getattr(self.config, name) for name in ("size", "count", "seed", "skip_bad")}
        result = run_training(partial(train, started=started), self.config, load_dataset(self.config.data, **options))
        if result.model is not None:
            print(f"{counted(result.step, 'step')}; model: {result.model}, picture: {result.samples}")


@dataclass(frozen=True)
class EvaluateFaces(TorchCommand):
    """Measure how well the pictures show what was asked for, and how much they resemble real ones.

    An independent classifier, trained once on the real images and kept in the cache, looks at generated pictures and
    at held-out real ones.
    """

    model: Positional[Path | None] = None
    """A model folder or a training run's folder; the built-in faces if not given."""
    data: str | None = None
    """'avatars' or a folder; what the model was trained on if not given."""
    pictures: Path | None = None
    """A folder of pictures of any origin, measured in a model's place: how much they resemble those of --data."""
    count: int = 512
    """Pictures to generate, with the attributes of held-out images."""
    steps: int | None = None
    """Denoising steps: 10 for dpm++, 20 for ddim, all T for renoise and ddpm if not given."""
    scheduler: Scheduler = "dpm++"
    """The sampler."""
    guidance: float = 2.0
    """Guidance scale."""
    features: Path | None = None
    """TorchScript file of an InceptionV3: quality in its features (FID), not in the classifier's. TorchScript is a
    program, and it is run: use a file that you trust."""
    json: bool = False
    """Print JSON."""
    skip_bad: bool = False
    """Leave out missing and damaged images of --data, as is done for data that the model was so trained on."""

    def __call__(self) -> None:
        if self.pictures is not None:
            self._of_pictures(self.pictures)
            return
        check_finite(guidance=self.guidance)
        pipeline, steps = load_model(self, self.model, self.scheduler, self.steps)
        trained = pipeline.training
        source = self.data or trained.get("data")
        if source is None:
            raise ValueError("the model does not say what it was trained on; name the data with --data")

        from rich.console import Console

        from gaussmix.data.load import load_dataset
        from gaussmix.diffusion.evaluate import evaluate_pipeline
        from gaussmix.metrics import InceptionFeatures

        extractor = None if self.features is None else InceptionFeatures(self.features, pipeline.network.device)
        known = trained if self.data in (None, trained.get("data")) else {}
        size = pipeline.network.config["sample_size"]
        which = {"size": size, "count": known.get("count"), "seed": known.get("seed", 0)}
        dataset = load_dataset(source, skip_bad=self.skip_bad or bool(known.get("skip_bad")), **which)
        how = {"count": self.count, "seed": self.seed, "guidance_scale": self.guidance, "num_inference_steps": steps}
        report = evaluate_pipeline(pipeline, dataset, extractor=extractor, **how)
        if self.json:
            print(report.to_json())
            return
        console = Console()
        console.print(report.table())
        console.print(f"No quality: {report.without_quality}." if report.quality is None else report.quality.table())

    def _of_pictures(self, folder: Path) -> None:
        if self.model is not None:
            raise ValueError(f"{self.model} and --pictures {folder}: give one of them")
        self.set_threads()
        from rich.console import Console

        from gaussmix.data.load import load_dataset
        from gaussmix.data.readers.image_folder import read_pictures
        from gaussmix.diffusion.evaluate import evaluate_pictures
        from gaussmix.metrics import InceptionFeatures

        extractor = None if self.features is None else InceptionFeatures(self.features)
        dataset = load_dataset(self.data or "avatars", skip_bad=self.skip_bad)
        images = read_pictures(folder, dataset.images.shape[1], self.count)
        report = evaluate_pictures(images, dataset, seed=self.seed, extractor=extractor)
        if self.json:
            print(json.dumps(report.to_dict(), indent=2))
        else:
            Console().print(report.table())


def check_request(
    pipeline: AttributeDiffusionPipeline, present: list[str], absent: list[str], anyway: bool
) -> str | None:
    """What in a request excludes each other in the training data, in words; ValueError for it unless ``anyway``."""
    from gaussmix.diffusion.conditions import exclusion

    said = exclusion(pipeline.known_rows(), pipeline.attribute_names, present, absent)
    if said is not None and not anyway:
        raise ValueError(f"{said}: pictures would mix them; --anyway draws them all the same")
    return said


def load_model(
    command: TorchCommand, model: Path | None, scheduler: Scheduler = "dpm++", steps: int | None = None
) -> tuple[AttributeDiffusionPipeline, int]:
    """The model that was asked for, or the one in the package, with this scheduler, and how many steps it takes."""
    command.set_threads()
    import torch
    from diffusers.utils import logging as diffusers_logging

    from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
    from gaussmix.diffusion.sampling import default_steps
    from gaussmix.diffusion.schedulers import switch_scheduler

    diffusers_logging.disable_progress_bar()
    pipeline = AttributeDiffusionPipeline.load(model)
    pipeline.scheduler = switch_scheduler(pipeline.scheduler, scheduler)
    if torch.cuda.is_available():
        pipeline.to("cuda")
    total = int(pipeline.scheduler.config["num_train_timesteps"])
    return pipeline, default_steps(scheduler, total) if steps is None else steps
