"""``gaussmix autoencoder train | sample | mix | evaluate``: images of classes from distributions of latents."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from gaussmix._guard import counted
from gaussmix.autoencoder.config import PRESETS, AutoencoderConfig
from gaussmix.cli._flags import Names, Output, TorchCommand, check_at_least, choose_preset, run_training

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gaussmix.autoencoder.generate import LatentGenerator
    from gaussmix.data.base import LabelledImages

    Preset = str
else:
    Preset = tyro.extras.literal_type_from_choices(PRESETS)

RUN = PRESETS["digits"].output
_STRANGE = 0.01  # share of known images at least as strange, below which a picture's class means little


def commands(words: list[str]) -> dict[str, Any]:
    """Commands by name; ``words`` may choose a preset."""
    return {
        "train": TrainAutoencoder(*choose_preset(PRESETS, "digits", words)),
        "sample": SampleClasses,
        "mix": MixClasses,
        "evaluate": EvaluateSamplers,
    }


@dataclass(frozen=True)
class TrainAutoencoder:
    """Train an autoencoder on labelled images, and fit the distribution of each class."""

    preset: Preset = "digits"
    """Chooses the defaults of all other flags."""
    config: tyro.conf.OmitArgPrefixes[AutoencoderConfig] = PRESETS["digits"]

    def __call__(self) -> None:
        started = time.perf_counter()
        from gaussmix.autoencoder.evaluate import held_out_error
        from gaussmix.autoencoder.model import ClassConditionalAutoencoder
        from gaussmix.autoencoder.train import train
        from gaussmix.data.load import load_labelled

        if not self.config.data:
            raise ValueError("no pictures to learn from; name their folder with --data")
        dataset = load_labelled(self.config.data, **self.config.loading)
        result = run_training(partial(train, started=started), self.config, dataset)
        if result.model is not None:
            folder = self.config.output
            pictures = ", ".join(sorted(path.name for path in folder.glob("*.png")))
            two, run = shlex.quote(",".join(dataset.class_names[:2])), shlex.quote(str(folder))
            print(f"{counted(result.step, 'step')}; model: {result.model}\nin {folder}: {pictures}")
            error = held_out_error(ClassConditionalAutoencoder.load(folder), dataset)
            if error is not None:
                print(f"test pictures come back with {error:.2f} of the mean image's error")
            print(f"next: gaussmix autoencoder sample {run}")
            print(f"      gaussmix autoencoder mix {run} --classes {two}")


@dataclass(frozen=True)
class SampleClasses(TorchCommand):
    """Draw new images of classes, or images like a given one."""

    run: Positional[Path] = RUN
    """The training run's folder."""
    classes: Names = ()
    """Classes, separated by commas, a row each; all if not given."""
    count: int = 10
    """Images of each class, or like the given picture."""
    truncation: float | None = None
    """Above 0, up to 1: the central share of each distribution that is drawn from. Less varied, fewer outliers."""
    like: Path | None = None
    """A picture: draw images around it instead, and say how strange it is. Cropped to a square and resized."""
    strength: float = 0.6
    """With --like: 0 is the picture's reconstruction, 1 any image of the cluster of latents that it falls into."""
    output: Output = Path("images.png")
    """The picture to write."""
    folder: Path | None = None
    """Also write single PNGs into this folder, one sub-folder a class."""

    def __call__(self) -> None:
        if self.like is not None and (self.classes or self.truncation is not None):
            raise ValueError("--like draws from the cluster of the picture: leave out --classes and --truncation")
        if self.truncation is not None and not 0 < self.truncation <= 1:
            raise ValueError(f"--truncation is {self.truncation}; choose above 0, up to 1")
        if not 0 <= self.strength <= 1:
            raise ValueError(f"--strength is {self.strength}; choose from 0 (the picture) to 1 (any of its cluster)")

        import numpy as np

        from gaussmix.autoencoder.generate import LatentGenerator
        from gaussmix.autoencoder.sheets import class_sheet
        from gaussmix.sheets import picture_format, save_atomic, save_images

        picture_format(self.output)  # a wrong suffix is said before the drawing, not after
        self.set_threads()
        generator = LatentGenerator.load(self.run)
        if self.like is not None:
            drawn = self._like(self.like, generator)
            title = f"More like {self.like.name}"
            about = f"First the given picture. Strength {self.strength:g}, seed {self.seed}"
        else:
            rng = np.random.RandomState(self.seed)
            drawn = {
                name: generator.sample(self.count, class_name=name, truncation=self.truncation, random_state=rng)
                for name in self.classes or generator.class_names
            }
            title = "New images of each class"
            about = f"Seed {self.seed}" + ("" if self.truncation is None else f", truncation {self.truncation:g}")
        told = {"seed": self.seed, "made with": about}
        if self.folder is not None:
            for name, images in drawn.items():
                save_images(images, self.folder / name, metadata={"request": name, **told})
            print(f"single images: {self.folder}")
        save_atomic(class_sheet(drawn, title, about), self.output, metadata={"request": ", ".join(drawn), **told})
        print(f"{self.count} x {', '.join(drawn)}: {self.output}")

    def _like(self, path: Path, generator: LatentGenerator) -> dict[str, NDArray[np.uint8]]:
        """The picture followed by images around it, by the name of its class; says what it is taken for."""
        import numpy as np
        from PIL import Image

        from gaussmix.data.decode import read_square

        settings = generator.model.config
        image = read_square(path, settings["image_size"]).copy()  # torch wants to be able to write to it
        if settings["in_channels"] == 1:
            image = np.array(Image.fromarray(image).convert("L"))[..., None]
        images = generator.more_like(image, self.count, strength=self.strength, random_state=self.seed)
        name = generator.class_of(image)
        said = f"{path.name} is taken for a {name}"
        if generator.scale is not None:
            share = float(generator.novelty(image[None]).share[0])
            known = f"{share:.1%} of known images are at least as strange"
            little = f"hardly any known image is as strange ({share:.1%}): that says little"
            said += f"; {little if share < _STRANGE else known}"
        print(said)
        return {name: np.concatenate([image[None], images])}


@dataclass(frozen=True)
class MixClasses(TorchCommand):
    """Mix two or more classes (E Fig. 10)."""

    run: Positional[Path] = RUN
    """The training run's folder."""
    classes: Names = ()
    """Two or more classes, separated by commas."""
    proportions: Annotated[Names, tyro.conf.arg(metavar="P,Q,...")] = ()
    """One number a class, scaled to sum 1; equal if not given."""
    mode: Literal["dims", "lerp"] = "dims"
    """'dims' takes each latent number from a draw of one of the classes, at random; 'lerp' is the draws' mean."""
    count: int = 40
    """Images."""
    output: Output = Path("mixes.png")
    """The picture to write."""

    def __call__(self) -> None:
        try:
            proportions = [float(part) for part in self.proportions] or None
        except ValueError:
            given = ",".join(self.proportions)
            raise ValueError(f"--proportions is {given!r}; give numbers separated by commas, such as 0.5,0.5") from None

        from gaussmix.autoencoder.generate import LatentGenerator
        from gaussmix.autoencoder.sheets import mix_sheet
        from gaussmix.sheets import picture_format, save_atomic

        picture_format(self.output)
        self.set_threads()
        generator = LatentGenerator.load(self.run)
        images = generator.mix(
            self.classes, mode=self.mode, proportions=proportions, n_samples=self.count, random_state=self.seed
        )
        shares = "" if proportions is None else f", proportions {' : '.join(f'{p:g}' for p in proportions)}"
        request = " + ".join(self.classes)
        about = f"Mode {self.mode}{shares}, seed {self.seed}"
        sheet = mix_sheet(images, _some_real(generator, self.run, self.classes), request, about)
        save_atomic(sheet, self.output, metadata={"request": request, "seed": self.seed, "made with": about})
        print(f"{self.count} x {request}: {self.output}")


@dataclass(frozen=True)
class EvaluateSamplers(TorchCommand):
    """Draw images from distributions of latents that are learnt in different ways, and have a classifier judge them.

    The classifier is trained once on the real images, never sees a decoded one, and is kept in the cache.
    """

    run: Positional[Path] = RUN
    """The training run's folder."""
    data: str = ""
    """The data that the run was trained on, if they have moved."""
    samplers: Names = ("independent", "pca", "cluster-pca", "em")
    """What to compare, separated by commas: independent (the paper's), algorithm2 (as printed), pca, cluster-pca (the
    default of gaussmix), gaussian, em, sliced-wasserstein; or all."""
    clusters: int | None = None
    """Parts of a class for cluster-pca; chosen by held-out likelihood if not given."""
    components: int = 10
    """Gaussians of a class for em and sliced-wasserstein."""
    count: int | None = None
    """Images of each kind; half of the test images if not given."""
    json: bool = False
    """Print JSON."""

    def __call__(self) -> None:
        check_at_least(1, clusters=self.clusters, components=self.components)
        self.set_threads()

        from rich.console import Console

        from gaussmix._progress import progress_bar
        from gaussmix.autoencoder.evaluate import Reference, check_test_images, evaluate_samplers, samplers
        from gaussmix.autoencoder.model import ClassConditionalAutoencoder
        from gaussmix.autoencoder.train import load_latents
        from gaussmix.metrics.classifier import load_or_train_label_classifier

        model, latents = ClassConditionalAutoencoder.load(self.run), load_latents(self.run)
        known = samplers(self.clusters or "auto", self.components, self.seed)
        names = list(known) if self.samplers == ("all",) else list(self.samplers)
        for name in names:
            if name not in known:
                raise ValueError(f"--samplers: no {name!r}; choose from {', '.join(known)}, or all")
        dataset, same = _training_data(model.config["training"] or {}, self.data)
        if not same:
            print("gaussmix: these are not the data that the run was trained on, or they have changed", file=sys.stderr)
        check_test_images(dataset)  # before the judge's minute of training
        judge, _ = load_or_train_label_classifier(dataset)
        reference = Reference(dataset, judge, count=self.count, seed=self.seed)
        with progress_bar("judging", 2 + len(names), show=True) as show:
            compared, done = {name: known[name] for name in names}, count(1)
            report = evaluate_samplers(
                model, latents, reference, compared, seed=self.seed, on_row=lambda *_: show(next(done))
            )
        if self.json:
            print(json.dumps(report.to_dict(), indent=2))
        else:
            Console().print(report.table())


def _training_data(training: dict[str, Any], data: str = "") -> tuple[LabelledImages, bool]:
    """What a run was trained on, or other data loaded alike; and whether it is still the same."""
    from gaussmix.data.load import load_labelled

    told = {name: training[name] for name in ("size", "label_by", "skip_bad") if name in training}
    dataset = load_labelled(data or training.get("data", ""), **AutoencoderConfig(**told).loading)
    return dataset, dataset.key == training.get("dataset_key")


def _some_real(generator: LatentGenerator, run: Path, classes: Sequence[str]) -> dict[str, NDArray[np.uint8]]:
    """Ten images of each class of what the run was trained on, by name; none, and a line that says so, if it moved."""
    import numpy as np

    from gaussmix.autoencoder.model import training_rows

    dataset, same = None, False
    with suppress(OSError, ValueError):
        dataset, same = _training_data(generator.model.config["training"] or {})
    if dataset is None or not same:
        print(f"gaussmix: the data of {run} have moved or changed: no real images are shown beside", file=sys.stderr)
        return {}
    images, labels = training_rows(dataset)
    rows = {name: np.flatnonzero(labels == generator.label_of(name)) for name in classes}
    return {name: images[np.resize(found, 10)] for name, found in rows.items()}
