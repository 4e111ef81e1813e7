"""All of D's claims about its diffusion model, on models trained to the end: what holds, what fails, what is open.

Trains the arms of `reproduction.diffusion.study` seed by seed and measures each for all the pages that want it, so that
these can be written at any moment from the seeds that are there. Stopped, it goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from reproduction.diffusion import appendix, components, fig1, fig4, fig5, fig6, fig7, fig9
from reproduction.diffusion.study import ARMS, StudyConfig, judged, progress, real_quality, study_of
from reproduction.page import Measured
from reproduction.statistics import summaries

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGES = (fig7, fig5, fig9, fig4, fig1, appendix, components, fig6)
_COLORS = {"real": "#555555", "run": "#1f5fa8"}


class Config(StudyConfig):
    """Settings of the studies."""

    arms = tuple(ARMS)


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Train and measure what is missing, and gather the claims of all pages."""
    wanted: dict[str, list[tuple[str, Callable[..., Any]]]] = {arm: [] for arm in config.arms}
    for page in PAGES:
        for name, (arms, how) in page.MEASURES.items():
            for arm in arms:
                if (name, how) not in wanted[arm]:
                    wanted[arm].append((name, how))
    one_more = progress(config, on_step)
    with study_of(config) as study:
        for arm, _, run in study.runs(config.arms):
            for name, how in wanted[arm]:
                run.kept(name, how)
            one_more()
        table = study.table("judged", judged, config.arms)
        training = study.table("training", fig9.training, fig9.Config.arms)
        steady = {
            arm: {seed: {**table[arm][seed], **row} for seed, row in rows.items()} for arm, rows in training.items()
        }
        sampled = study.table("samplers", fig6.samplers, fig6.Config.arms)["matched"]
        ours = {
            "runs": summaries(table),
            "real": study.real("quality", real_quality),
            "claims": {
                "fig7": fig7.claims(table),
                "components": components.claims(table),
                "fig5": fig5.claims(study.table("variance", fig5.variance, fig5.Config.arms)),
                "fig9": fig9.claims(steady, study.table("leak", fig9.leak, fig9.WITH)),
                "fig6": fig6.claims(sampled),
            },
        }
    return Measured(ours, {}, {})


def draw(measured: Measured) -> dict[str, Figure]:
    """Return the accuracy and the Frechet distance of every arm, a point a seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    runs = measured.ours["runs"]
    for axes, name in zip(figure.subplots(1, 2, sharey=True), ("accuracy", "FD"), strict=True):
        for i, each in enumerate(runs.values()):
            axes.plot(each[name]["runs"], [-i] * each["seeds"], "o", color=_COLORS["run"], markersize=4, alpha=0.7)
        axes.axvline(measured.ours["real"][name], color=_COLORS["real"], linestyle=":", linewidth=1)
        axes.set_yticks([-i for i in range(len(runs))], list(runs), fontsize=8)
        axes.set_title("balanced accuracy" if name == "accuracy" else "Frechet distance", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    return {"": figure}
