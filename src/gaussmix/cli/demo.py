"""``gaussmix demo``: each thing that gaussmix does, once, in a few minutes; pictures, and a page that shows them."""

from __future__ import annotations

import dataclasses
import html
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gaussmix.cli._flags import CommandError, Output, TorchCommand, check_at_least, run_training

if TYPE_CHECKING:
    from gaussmix.diffusion.config import DiffusionConfig

_COLUMNS, _PLACE = 2, (900, 840)  # of the common sheet, and pixels of a part on it
_STYLE = """
:root { color-scheme: light dark; font: 17px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
img { max-width: 100%; height: auto; background: #fff; border-radius: 6px; }
pre { background: #8882; padding: .8rem 1rem; border-radius: 6px; overflow-x: auto; }
figure { margin: 1rem 0; } .row { display: flex; gap: 1rem; flex-wrap: wrap; } .row figure { flex: 1 1 20rem; }
"""


class Part(NamedTuple):
    """A part of the demo: its heading and what it tells, the picture it makes, what to type next, and how it is run."""

    title: str
    about: str
    picture: Path
    then: tuple[str, ...]
    run: Callable[[], None]


@dataclass(frozen=True)
class RunDemo(TorchCommand):
    """See what gaussmix does: a density, faces on request, a model trained from nothing, new digits.

    Four minutes of a processor. Each part leaves its picture in the folder, samples.png has them all, and index.html
    shows them and what to type next. Ctrl-C keeps what there is; the same command goes on. What is there is not made
    again: name another folder for other settings.
    """

    output: Output = Path("runs/demo")
    """The folder of everything."""
    steps: int | None = None
    """Training steps of the faces' model; the preset's, if not given. Fewer are quicker and rougher."""
    digit_steps: int = 800
    """Training steps of the digits' model."""

    def __post_init__(self):
        super().__post_init__()
        check_at_least(1, digit_steps=self.digit_steps)

    def __call__(self) -> None:
        self.set_threads()
        self.output.mkdir(parents=True, exist_ok=True)
        parts = self.parts()
        for number, part in enumerate(parts, 1):
            if part.picture.is_file():
                print(f"{number} of {len(parts)}: {part.title}: already there, {part.picture}")
                continue
            print(f"{number} of {len(parts)}: {part.title}", flush=True)
            self._write_page(parts)
            started = time.perf_counter()
            try:
                part.run()
            except CommandError as error:
                if error.status == 130:
                    raise CommandError(
                        f"stopped; {self.output} keeps what there is, and the same command goes on", 130
                    ) from error
                raise
            print(f"  {part.picture} ({time.perf_counter() - started:.0f} s)", flush=True)
        _join([part.picture for part in parts], self.output / "samples.png")
        self._write_page(parts)
        print(f"\nall in one picture  {self.output / 'samples.png'}\nthe page            {self.output / 'index.html'}")

    def parts(self) -> list[Part]:
        """Return the parts in their order."""
        folder = self.output
        faces, digits = (shlex.quote(str(folder / name)) for name in ("faces", "digits"))
        return [
            Part(
                "The density of a column",
                "569 measured tumours (scikit-learn's breast cancer data), the largest area of a nucleus in each. No "
                "bandwidth, no bins and no number of components were chosen.",
                folder / "density.png",
                ("gaussmix density fit sales.parquet --column price -o price.safetensors",
                 "gaussmix density plot price.safetensors -o price.png"),
                self._density,
            ),
            Part(
                "Faces on request",
                "From the model in the package. Each attribute is a mixture of Gaussians of its own: ask for it, and "
                "it comes in every kind that the model has seen.",
                folder / "faces.png",
                ("gaussmix faces sample --with Smiling,Eyeglasses -o smiling.png",
                 "gaussmix faces sample --component Wearing_Hat=all -o hats.png",
                 f"gaussmix faces edit {shlex.quote(str(folder / 'picture.png'))} --with Eyeglasses -o edited.png"),
                self._faces,
            ),
            Part(
                "A model trained from nothing",
                "The same, learnt here from drawn faces. Before its first step it draws from a Gaussian around the "
                "linear mean of what was asked for.",
                folder / "faces" / "samples.png",
                (f"gaussmix faces sample {faces} --with Long_Hair,Red_Hair -o red.png",
                 f"gaussmix faces evaluate {faces}",
                 "gaussmix faces train --data photos/ --output runs/photos"),
                self._train,
            ),
            Part(
                "New digits",
                "An autoencoder of scikit-learn's digits, and for each class the distribution of its latents, from "
                "which these are drawn.",
                folder / "digits" / "samples.png",
                (f"gaussmix autoencoder sample {digits}", f"gaussmix autoencoder mix {digits} --classes 3,8"),
                self._digits,
            ),
        ]  # fmt: skip

    def _density(self) -> None:
        from sklearn.datasets import load_breast_cancer

        from gaussmix.density.model import DensityModel
        from gaussmix.plots import plot_density, save_figure

        data: Any = load_breast_cancer()
        column = data.data[:, list(data.feature_names).index("worst area")]
        model = DensityModel().fit(column)
        law = model.distribution_
        low, middle, high = law.ppf([0.05, 0.5, 0.95])
        title = f"Largest area of a nucleus: {middle:.0f} in the middle, 90 % from {low:.0f} to {high:.0f}"
        save_figure(plot_density(law, model.counts_[0], title=title), self.output / "density.png")

    def _faces(self) -> None:
        from PIL import Image

        from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
        from gaussmix.diffusion.sampling import draw, draw_sheet
        from gaussmix.sheets import save_atomic

        pipeline = AttributeDiffusionPipeline.load()
        one, _ = draw(pipeline, pipeline.choose_attributes(["Smiling"], ["Eyeglasses"], count=1, seed=self.seed))
        save_atomic(Image.fromarray(one[0]), self.output / "picture.png")
        steps = int(pipeline.training.get("steps", 0))
        draw_sheet(pipeline, self.output / "faces.png", guidance=2.0, seed=self.seed, step=steps)

    def _train(self) -> None:
        from gaussmix.data.load import load_dataset
        from gaussmix.diffusion.train import train

        config = self._faces_config()
        dataset = load_dataset(config.data, size=config.size, count=config.count, seed=config.seed)
        run_training(train, config, dataset)

    def _faces_config(self) -> DiffusionConfig:
        from gaussmix.diffusion.config import PRESETS

        usual = PRESETS["transformer"]
        settings = {"output": self.output / "faces", "resume": True, "seed": self.seed, "reader_steps": 0}
        return dataclasses.replace(usual, steps=self.steps or usual.steps, **settings)

    def _digits(self) -> None:
        from gaussmix.autoencoder.config import PRESETS
        from gaussmix.autoencoder.train import train
        from gaussmix.data.load import load_labelled

        settings = {"output": self.output / "digits", "resume": True, "seed": self.seed, "steps": self.digit_steps}
        run_training(train, dataclasses.replace(PRESETS["digits"], **settings), load_labelled("digits"))

    def _write_page(self, parts: list[Part]) -> None:
        """The page of what there is; while something is missing, it looks again by itself."""
        sections = []
        for part in parts:
            figure = "<p>Not there yet.</p>"
            if part.picture.is_file():
                source = html.escape(part.picture.relative_to(self.output).as_posix())
                figure = f'<figure><img src="{source}" alt="{html.escape(part.title)}"></figure>'
            typed = html.escape("\n".join(part.then))
            sections.append(
                f"<section><h2>{html.escape(part.title)}</h2><p>{html.escape(part.about)}</p>{figure}"
                f"{self._on_the_way(part)}<p>Next:</p><pre>{typed}</pre></section>"
            )
        done = all(part.picture.is_file() for part in parts)
        again = "" if done else '<meta http-equiv="refresh" content="10">'
        page = (
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">{again}<title>gaussmix demo</title>'
            f"<style>{_STYLE}</style></head><body><h1>gaussmix</h1><p>Distributions as Gaussian mixtures: learn them, "
            f"compare them, predict them, draw from them.</p>{''.join(sections)}</body></html>\n"
        )
        from gaussmix._files import whole_file

        with whole_file(self.output / "index.html") as aside:
            aside.write_text(page, "utf-8")

    def _on_the_way(self, part: Part) -> str:
        """Pictures of a training run as they come."""
        if part.run != self._train:
            return ""
        config, figures = self._faces_config(), []
        for step in range(0, config.steps + 1, config.sample_every or config.steps):
            source = f"faces/samples/step-{step:08d}.png"
            figures.append(
                f'<figure><img src="{source}" alt="" onerror="this.parentElement.remove()">'
                f"<figcaption>after {step:,} steps</figcaption></figure>"
            )
        shown = "" if part.picture.is_file() else " open"  # pictures that are not there yet take no room
        return f'<details{shown}><summary>On the way</summary><div class="row">{"".join(figures)}</div></details>'


def _join(pictures: list[Path], path: Path) -> None:
    """Pictures two in a row, each as large as its place allows."""
    from PIL import Image, ImageOps

    from gaussmix.sheets import save_atomic

    sheet = Image.new("RGB", (_COLUMNS * _PLACE[0], -(-len(pictures) // _COLUMNS) * _PLACE[1]), "#ffffff")
    for i, each in enumerate(pictures):
        with Image.open(each) as picture:
            fitted = ImageOps.contain(picture.convert("RGB"), _PLACE, Image.Resampling.LANCZOS)
        column, row = i % _COLUMNS, i // _COLUMNS
        left = column * _PLACE[0] + (_PLACE[0] - fitted.width) // 2
        sheet.paste(fitted, (left, row * _PLACE[1] + (_PLACE[1] - fitted.height) // 2))
    save_atomic(sheet, path)
