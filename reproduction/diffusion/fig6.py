"""D Figure 6: the estimate x0* at each step of Eq. 10; and how good pictures are by sampler and number of steps.

    x0* = (x_t - sqrt(1 - ab_t) eps) / sqrt(ab_t)

The figure shows x0* along 100 steps; the text says that those of steps 80 to 100 are of similar quality. Both are
shown for the models of the study whose Z describe their pictures; the same models are then sampled with Eq. 10, DDPM,
DDIM and DPM-Solver++ in fewer steps. All answer the same requests with the same Z and the same starting noise, picture
by picture, and are compared model by model.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast

import numpy as np

from gaussmix._typing import FloatArray
from gaussmix.diffusion.sampling import draw_batches
from gaussmix.diffusion.schedulers import SchedulerName, switch_scheduler
from gaussmix.metrics.classifier import balanced_accuracy
from gaussmix.metrics.distances import frechet_distance
from reproduction.diffusion.faces import FaceBlock, draw_faces
from reproduction.diffusion.study import Faces, Images, Run, StudyConfig, progress, quality, real_quality, study_of
from reproduction.page import Measured
from reproduction.statistics import Row, Table, below, compare, summaries

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER = {"claim": "x0* from steps 80-100 reach similar generation quality", "steps": 100}
SIMILAR = 0.05
"""Share of the last Frechet distance by which another may differ and be called similar; D does not say."""
SHOWN = (1, 11, 21, 31, 41, 50, 60, 70, 80, 90, 100)
"""Steps of the paper's 100, counted from 1, whose x0* is shown and measured."""
FACES = 6
LOOKS = {
    "renoise": ("Eq. 10", "#c2402a"),
    "ddpm": ("DDPM", "#d9822b"),
    "ddim": ("DDIM", "#4b9b5f"),
    "dpm++": ("DPM-Solver++", "#1f5fa8"),
}
SAMPLERS = ("renoise 100", "dpm++ 10", "dpm++ 5", "dpm++ 20", "renoise 10", "ddim 20", "ddpm 100")
"""Name and number of steps. The first is the paper's: it is shown step by step, and the others are held to it."""
GUIDED = "dpm++ 10, guidance 2"
_GREY = "#555555"
_TICKS = [digit * 10**power for power in range(5) for digit in (1, 2, 5)]


class Config(StudyConfig):
    """Settings of Figure 6."""

    arms = ("matched",)

    def quick(self) -> Self:
        """Seconds instead of hours; all samplers take a twentieth of their steps."""
        return replace(super().quick(), sampling_steps=1)


class Drawn(NamedTuple):
    """Pictures ``(N, H, W, 3)``, x0* ``(S, N, H, W, 3)`` of the steps `SHOWN`, and CPU seconds an image in the fastest
    batch, as the others had to wait for something else."""

    images: Images
    estimates: Images
    seconds: float


def sample(run: Run, sampler: str, count: int | None = None) -> Drawn:
    """Draw ``count`` of the asked-for faces, or all, with one of `SAMPLERS`, or `GUIDED`; x0* only with the first."""
    (name, steps), guidance = sampler.partition(",")[0].split(), 2.0 if sampler == GUIDED else 1.0
    config, pipeline = run.study.config, run.pipeline
    share = min(1.0, config.sampling_steps / 10)  # below 1 in a quick run
    before, pipeline.scheduler = pipeline.scheduler, switch_scheduler(pipeline.scheduler, cast(SchedulerName, name))
    along, taken = sampler == SAMPLERS[0], max(1, round(int(steps) * share))
    images, estimates, times = [], [], [time.process_time()]
    positions = [max(1, round(step * share)) - 1 for step in SHOWN]
    for batch in draw_batches(
        pipeline, run.asked[:count], seed=config.seed, steps=taken, guidance=guidance, trajectory=along
    ):
        times.append(time.process_time())
        images.append(batch.images)
        if batch.trajectory is not None:
            estimates.append(batch.trajectory[positions])
    pipeline.scheduler = before
    seconds = np.diff(times) / [len(each) for each in images]
    path = np.concatenate(estimates, 1) if along else np.empty((0, *images[0].shape), np.uint8)
    return Drawn(np.concatenate(images), path, float(seconds.min()))


def estimate_quality(faces: Faces, images: Images) -> Row:
    """Of x0* ``(M, H, W, 3)``: the measures that are cheap."""
    accuracy = balanced_accuracy(faces.judge.predict(images), faces.attributes)
    return {
        "FD": frechet_distance(faces.features, faces.judge.features(images)),
        "accuracy": float(np.nanmean(accuracy)),
    }


def samplers(run: Run) -> dict[str, dict[str, Row]]:
    """Of a run: quality and time by sampler, and quality of x0* by step; each sampler is kept by itself."""
    parts = {name: run.kept(f"sampler {name}", partial(_one_sampler, sampler=name)) for name in (*SAMPLERS, GUIDED)}
    return {"samplers": {name: part["quality"] for name, part in parts.items()}, "steps": parts[SAMPLERS[0]]["steps"]}


def _one_sampler(run: Run, sampler: str) -> dict[str, Any]:
    """Quality, time, and where there are x0* their quality."""
    faces = run.study.faces
    drawn = sample(run, sampler)
    found: dict[str, Any] = {"quality": {**quality(faces, drawn.images), "seconds": drawn.seconds}}
    if len(drawn.estimates):
        found["steps"] = {str(n): estimate_quality(faces, x) for n, x in zip(SHOWN, drawn.estimates, strict=True)}
    return found


MEASURES = {"samplers": (Config.arms, samplers)}


def turned(found: Mapping[int, Mapping[str, Any]], part: str) -> Table:
    """By sampler or step, by seed, of what `samplers` gave by seed."""
    names = (*SAMPLERS, GUIDED) if part == "samplers" else tuple(map(str, SHOWN))
    return {name: {seed: each[part][name] for seed, each in found.items()} for name in names}


def claims(found: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """D's: x0* of step 80 is as good as the last. Ours: few steps of another sampler are as good as 100 of Eq. 10."""
    steps, by_sampler = turned(found, "steps"), turned(found, "samplers")
    last = np.array([row["FD"] for row in steps["100"].values()])
    apart = {name: np.abs(np.array([row["FD"] for row in rows.values()]) / last - 1) for name, rows in steps.items()}
    similar = {name: below(values, SIMILAR) for name, values in apart.items() if name != "100"}
    beyond = {
        name: {key: compare(by_sampler, name, SAMPLERS[0], key, sign) for key, sign in (("FD", -1), ("accuracy", 1))}
        for name in by_sampler
        if name != SAMPLERS[0]
    }
    return {"similar": similar, "beyond paper": beyond}


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Draw with every sampler, and score the pictures, those along the way, and real faces."""
    with study_of(config) as study:
        found = study.table("samplers", samplers, config.arms, progress(config, on_step))["matched"]
        run = study.first("matched", "fixed")
        estimates = sample(run, SAMPLERS[0], FACES).estimates
        real = study.real("quality", real_quality)
    ours = {
        "samplers": summaries(turned(found, "samplers"), [*real, "seconds"]),
        "steps": summaries(turned(found, "steps"), ["FD", "accuracy"]),
        "claims": claims(found),
        "real": real,
        "similar": SIMILAR,
        "seeds": len(found),
        "shown": run.arm,
    }
    return Measured(ours, PAPER, {"estimates": estimates})


def draw(measured: Measured) -> dict[str, Figure]:
    """Return x0* along the way, and the Frechet distance by steps and time."""
    faces = FaceBlock("", measured.seen["estimates"].swapaxes(0, 1), columns=[f"step {step}" for step in SHOWN])
    return {"": draw_faces("x0* along the steps of Eq. 10", faces), "-quality": _draw_quality(measured.ours)}


def _draw_quality(ours: Mapping[str, Any]) -> Figure:
    """The Frechet distance by steps, by CPU time, and of x0* by step of Eq. 10."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.8), layout="constrained")
    by_steps, by_time, on_the_way = figure.subplots(1, 3)
    ms = {name: 1000 * (ours["samplers"][name]["seconds"]["mean"] or 0.001) for name in SAMPLERS}
    steps = {name: int(name.split()[1]) for name in SAMPLERS}
    for look, (label, color) in LOOKS.items():
        mine = sorted((name for name in SAMPLERS if name.startswith(look)), key=steps.__getitem__)
        distances, halves = _means(ours["samplers"], mine)
        style = {"color": color, "label": label, "marker": "o", "markersize": 4, "linewidth": 1.2, "capsize": 2}
        by_steps.errorbar([steps[name] for name in mine], distances, halves, **style)
        by_time.errorbar([ms[name] for name in mine], distances, halves, **style)
    middle, half = _means(ours["steps"], list(ours["steps"]))
    on_the_way.errorbar(list(SHOWN), middle, half, color=LOOKS["renoise"][1], marker="o", markersize=3, capsize=2)
    on_the_way.set_yscale("log")
    for axes, title, label in (
        (by_steps, "by number of steps", "steps"),
        (by_time, "by time", "CPU milliseconds an image"),
        (on_the_way, "x0* along Eq. 10", "step"),
    ):
        axes.axhline(ours["real"]["FD"], color=_GREY, linestyle=":", linewidth=1)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel(label)
        axes.spines[["top", "right"]].set_visible(False)
    by_steps.set_xscale("log")
    by_time.set_xscale("log")
    spans = (list(steps.values()), list(ms.values()), [ours["real"]["FD"], *middle])
    for axis, values in zip((by_steps.xaxis, by_time.xaxis, on_the_way.yaxis), spans, strict=True):
        ticks = [tick for tick in _TICKS if np.nanmin(values) <= tick <= np.nanmax(values)]
        axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.set_ticks([], minor=True)
    by_steps.set_ylabel("Frechet distance")
    by_steps.legend(frameon=False, fontsize=8)
    return figure


def _means(rows: Mapping[str, Any], names: Sequence[str]) -> FloatArray:
    """Means and half intervals of the Frechet distance ``(2, M)``; NaN where there is no run, 0 without an interval."""
    found = np.array([[rows[name]["FD"]["mean"], rows[name]["FD"]["half"]] for name in names], float).T
    return np.stack([found[0], np.nan_to_num(found[1])])
