"""D Figure 6: the estimate x0* at each step of Eq. 10; and how good pictures are by sampler and number of steps.

    x0* = (x_t - sqrt(1 - ab_t) eps) / sqrt(ab_t)

The figure shows x0* along 100 steps; the text says that those of steps 80 to 100 are of similar quality. Both are shown
for a model of this package, then the same model is sampled with Eq. 10, DDPM, DDIM and DPM-Solver++ in fewer steps.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.sampling import default_steps
from gaussmix.metrics.classifier import STEPS
from gaussmix.papers.result import Picture, Result, Table
from gaussmix.papers.sampling_pictures import draw_path, draw_quality
from gaussmix.papers.sampling_study import Excess, Faces, Run, Scores, Study, Z, draw_run, measure, read_faces
from reproduction.runs import runs_under

FACES = 6


@dataclass(frozen=True)
class Config:
    """Settings of Figure 6."""

    seed: int = 0
    model: str = "$GAUSSMIX_MODEL"
    """A model's or a training run's folder; the model in the package where the variable is not set."""
    data: str = "$GAUSSMIX_CELEBA"
    """Folder of the model's faces; where the variable is not set, the one that the model was trained on."""
    pictures: int = 400
    """Of each sampler and number of steps."""
    reference: int = 4000
    """Unseen faces that they are compared with."""
    samplers: tuple[str, ...] = (
        *("renoise 100", "renoise 20", "ddpm 100", "ddpm 20", "ddim 20", "ddim 10"),
        *("dpm++ 20", "dpm++ 10", "dpm++ 8", "dpm++ 5"),
    )
    """Name and number of steps. The first is the paper's: it is shown step by step, and the others are held to it."""
    guidance: float = 1.0
    """1: none, as the paper."""
    guidances: tuple[float, ...] = (1.5, 2.0)
    """Guidance scales tried with the default sampler."""
    resamplings: int = 200
    faces: int = 0
    """Avatars that the judge learns from; 0: as many as the model did."""
    judge_steps: int = STEPS
    runs: str = "runs/reproduce"
    """Folder of the pictures: what is in it is not drawn again. Empty: nothing is kept."""

    @property
    def folder(self) -> Path | None:
        """The model's folder, if one is given."""
        path = os.path.expandvars(self.model)
        return Path(path).expanduser() if path and "$" not in path else None

    def plan(self, timesteps: int) -> list[Run]:
        """All that is drawn, the paper's first."""
        named = [name.split() for name in self.samplers]
        plain: list[Any] = [(name, int(steps), self.guidance) for name, steps in named]
        default = default_steps("dpm++", timesteps)
        wanted = [*plain, *(("dpm++", default, scale) for scale in (self.guidance, *self.guidances))]
        return [Run(*one) for one in dict.fromkeys(wanted)]

    @property
    def n_steps(self) -> int:
        return 1 + len(self.plan(100))

    def quick(self) -> Config:
        samplers = ("renoise 4", "ddpm 4", "ddim 4", "dpm++ 4", "dpm++ 2")
        small = replace(self, pictures=8, reference=40, samplers=samplers, guidances=(2.0,), resamplings=5)
        return replace(small, model="", data="", faces=60, judge_steps=3, runs="")


def run(config: Config, on_step: Callable[[int], None]) -> Result:
    """Figure 6 and the speed of sampling."""
    pipeline = AttributeDiffusionPipeline.load(config.folder)
    faces = read_faces(
        pipeline,
        data=config.data,
        count=config.pictures,
        reference=config.reference,
        known=config.faces or None,
        judge_steps=config.judge_steps,
    )
    on_step(1)
    plan = config.plan(int(pipeline.scheduler.config["num_train_timesteps"]))
    kept = kept_steps(plan[0].steps)
    scores: dict[Run, Scores] = {}
    seconds: dict[Run, float] = {}
    estimates, costs = np.empty(0, np.uint8), []
    with runs_under(config.runs) as folder:
        for i, one in enumerate(plan):
            drawn = draw_run(
                pipeline, one, faces.asked, seed=config.seed, folder=folder / "samples", kept_steps=() if i else kept
            )
            estimates = estimates if i else drawn.estimates
            seconds[one] = drawn.seconds
            costs.append((drawn.cost, drawn.kept))
            scores[one] = measure(faces, drawn.images, faces.asked, config.resamplings)
            on_step(2 + i)
    along = [measure(faces, np.asarray(images), faces.asked, config.resamplings) for images in estimates]
    real = measure(faces, faces.control, faces.asked, config.resamplings)
    study = Study(scores, seconds, kept, along, real)
    shown = sorted(shown_steps(plan[0].steps))
    return Result(
        title="D Figure 6: x0* along the way, and quality by number of steps",
        about=f"Pictures of one model (trained on {faces.source}) by four samplers, against faces that it has not "
        "seen. The judge, a classifier trained on the model's training faces, gives features and accuracy.",
        ours=_numbers(study),
        paper={"claim": "x0* from steps 80-100 reach similar generation quality", "steps": 100},
        tables=(_quality_table(study), _path_table(study)),
        readings=_readings(config, faces, costs),
        findings=_findings(study),
        pictures=(
            Picture(
                "",
                f"As Figure 6: x0* at some of the {plan[0].steps} steps of Eq. 10, a row a face.",
                lambda: draw_path(estimates[[kept.index(step) for step in shown], :FACES], shown),
            ),
            Picture(
                "-quality",
                "Frechet distance to unseen faces (lower is better) by number of steps and by CPU time, and of x0* "
                "along the steps of Eq. 10. Bars and band: 95 %, other pictures. Dotted: the real faces.",
                lambda: draw_quality(study),
            ),
        ),
    )


def kept_steps(steps: int) -> tuple[int, ...]:
    """Steps, counted from 1, whose x0* is measured: ten parts of the way, and more at the end."""
    spread = np.linspace(1, steps, 11).round().astype(int)
    return tuple(sorted({*map(int, spread), *(max(1, round(steps * share)) for share in (0.8, 0.85, 0.9, 0.95))}))


def shown_steps(steps: int) -> set[int]:
    """The ten of them that are drawn."""
    return {int(step) for step in np.linspace(1, steps, 11).round()}


def _numbers(study: Study) -> dict[str, Any]:
    def plain(one: Scores) -> dict[str, float]:
        return {
            "frechet_distance": one.frechet,
            "error": one.error,
            "kernel_distance": one.kernel,
            "kernel_error": one.kernel_error,
            "accuracy": one.accuracy,
            "precision": one.precision,
            "recall": one.recall,
        }

    return {
        "real": plain(study.real),
        "runs": {
            _named(run): {"cpu_seconds_an_image": study.seconds[run], **plain(scores)}
            for run, scores in study.scores.items()
        },
        "estimates_by_step": {str(step): plain(one) for step, one in zip(study.kept, study.along, strict=True)},
    }


def _named(one: Run) -> str:
    return f"{one.scheduler} {one.steps}" + ("" if one.guidance == 1 else f", guidance {one.guidance:g}")


def _quality_table(study: Study) -> Table:
    rows = []
    for run, scores in study.scores.items():
        difference = "" if run is study.paper else str(scores.beyond(study.scores[study.paper]))
        rows.append((_named(run), 1000 * study.seconds[run], *_cells(scores), difference))
    rows.append(("real faces with these attributes", None, *_cells(study.real), ""))
    columns = ("sampler and steps", "CPU ms an image", *_HEADINGS, f"beyond {_named(study.paper)}")
    return Table("Quality by sampler and number of steps", columns, tuple(rows))


_HEADINGS = ("Frechet distance", "kernel distance", "accuracy", "precision", "recall")


def _cells(one: Scores) -> tuple[str, str, float, float, float]:
    frechet = f"{one.frechet:.3f} ± {Z * one.error:.3f}"
    kernel = f"{1000 * one.kernel:.2f} ± {Z * 1000 * one.kernel_error:.2f} e-3"
    return frechet, kernel, one.accuracy, one.precision, one.recall


def _path_table(study: Study) -> Table:
    rows = []
    for step, scores in zip(study.kept, study.along, strict=True):
        rows.append((float(step), *_cells(scores), str(scores.beyond(study.along[-1]))))
    return Table(f"x0* along {_named(study.paper)}", ("step", *_HEADINGS, "beyond the last step"), tuple(rows))


def _readings(config: Config, faces: Faces, costs: list[tuple[float, bool]]) -> tuple[str, ...]:
    earlier = sum(cost for cost, kept in costs if kept)
    return (
        "Steps are counted as the paper draws them, from 1 (noise) to 100 (picture), so step s estimates x0 from "
        "t = 101 - s. Eq. 10 is read with its indices restored: the estimate is noised to t - 1.",
        f"{len(faces.asked)} pictures a row, asked for with the attributes of as many unseen faces; Z and starting "
        f"noise of picture i are the same in every row. {len(faces.reference)} other unseen faces are the real side of "
        "the Frechet and the kernel distance; precision and recall take as many of them as there are pictures, k = 5. "
        "The Frechet distance is biased by the number of pictures: compare with the last row, the very faces whose "
        "attributes were asked for.",
        "± is 1.96 standard deviations over resamplings of the pictures; differences are resampled in pairs. They "
        "leave out what another model, or another judge, would change. Close to the real faces the distance has hardly "
        "a first-order term, and resampling overstates ±, 1.5 to 1.8 times in a simulation: “not told apart” does not "
        "mean equal. For another model set GAUSSMIX_MODEL, and GAUSSMIX_CELEBA for its faces.",
        "CPU time is that of the fastest batch, one thread, and includes the scheduler. Fewer steps than T are spaced "
        f"as `gaussmix sample` does. Drawing everything took {sum(cost for cost, _ in costs):.0f} s; the time below "
        f"leaves out the {earlier:.0f} s of pictures that were kept from before.",
        f"Guidance {config.guidance:g}{' (none), as the paper' if config.guidance == 1 else ''}; a scale other than 1 "
        "evaluates the network twice a step.",
    )


def _findings(study: Study) -> tuple[str, ...]:
    scores, seconds, paper = study.scores, study.seconds, study.paper
    beyond = {run: scores[run].beyond(scores[paper]) for run in study.unguided if run.scheduler == "dpm++"}
    held = "; ".join(
        f"{run.steps} steps {excess} ({100 * excess.value / scores[paper].frechet:+.1f} %, {_WORDS[excess.sign]}) in "
        f"{seconds[run] / seconds[paper]:.2f} of the time"
        for run, excess in beyond.items()
    )
    fastest = min(study.tied, key=lambda run: run.evaluations)
    late = [one for step, one in zip(study.kept, study.along, strict=True) if step >= round(0.8 * paper.steps)]
    widest = max((one.beyond(late[-1]) for one in late), key=lambda excess: abs(excess.value))
    last = list(scores)[-1]
    guided = "; ".join(
        f"{run.guidance:g}: {scores[run].frechet:.3f}, accuracy {scores[run].accuracy:.3f}, precision "
        f"{scores[run].precision:.3f}, recall {scores[run].recall:.3f}"
        for run in scores
        if (run.scheduler, run.steps) == (last.scheduler, last.steps)
    )
    return (
        f"Frechet distance of {_named(paper)}, the paper's: {scores[paper].frechet:.3f} "
        f"(the real faces with the same attributes: {study.real.frechet:.3f}). DPM-Solver++ beyond it: {held}. "
        f"{_at_or_below(beyond)}",
        f"Least: {_named(study.best)}, {scores[study.best].frechet:.3f}; {_tie(study)} The fastest of these: "
        f"{_named(fastest)}, {1000 * seconds[fastest]:.0f} ms of CPU time an image against "
        f"{1000 * seconds[paper]:.0f} of the paper's.",
        f"x0* from step {round(0.8 * paper.steps)} on: the Frechet distance is within {abs(widest.value):.3f} "
        f"(± {widest.half:.3f}) of the last step's, {100 * abs(widest.value) / late[-1].frechet:.1f} % of it. At the "
        f"first step it is {study.along[0].frechet:.1f}.",
        f"Guidance with {last.scheduler} {last.steps}, Frechet distance by scale: {guided}.",
    )


_WORDS = {-1: "lower", 0: "not told apart", 1: "higher"}


def _at_or_below(beyond: Mapping[Run, Excess]) -> str:
    """Are fewer steps of DPM-Solver++ at or below the paper's distance?"""
    signs = {excess.sign for excess in beyond.values()}
    if signs == {-1}:
        return "All are below it."
    if 1 in signs:
        return "Not all are at or below it."
    return "That they are at or below it is not shown; nor that any is above."


def _tie(study: Study) -> str:
    others = [run for run in study.tied if run != study.best]
    if not others:
        return "all others are higher."
    if len(others) == len(study.unguided) - 1:
        return f"a tie: none of the other {len(others)} can be told from it."
    return f"not told from it: {', '.join(map(_named, others))}."
