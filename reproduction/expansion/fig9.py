"""E Figure 9: new images of each class, from distributions of latents that are learnt in different ways.

E shows its own images beside those of EM and of the sliced Wasserstein distance (Kolouri et al. 2018), marks those
that it finds hard to recognise, and says that its eights are clearer, its nines less like fours and its sevens more
varied. Here an independent judge counts, and the paper's way of sampling, each latent number by itself, is one row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gaussmix.autoencoder.evaluate import (
    FORMATS,
    REAL,
    RECONSTRUCTION,
    ImageScores,
    LatentSampler,
    evaluate_samplers,
    samplers,
)
from gaussmix.autoencoder.sheets import as_rgb
from gaussmix.latents.expansion import ExpansionSampler
from gaussmix.metrics import pairwise_diversity
from gaussmix.metrics.label_classifier import LabelClassifier
from reproduction.diffusion.model import Faces, draw_faces
from reproduction.expansion import latents as latent_study
from reproduction.expansion.latents import OnStep, StudyConfig, Subject, data_words, subjects
from reproduction.page import Cell, Picture, Result, Table
from reproduction.runs import counted, runs_under
from reproduction.statistics import difference, interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES = {
    REAL: "real test images",
    RECONSTRUCTION: "reconstructions of test images",
    "independent": "each number by itself (E)",
    "algorithm2": "the same with Algorithm 2 as printed",
    "pca": "principal axes",
    "cluster-pca": "k-means, principal axes (ours)",
    "cluster-pca-equal": "the same, as few parts as rivals",
    "gaussian": "one Gaussian",
    "em": "EM, full covariance",
    "sliced-wasserstein": "sliced Wasserstein",
}
OURS, EQUAL, EM = "cluster-pca", "cluster-pca-equal", "em"
CLAIMS = {"eights": "eights recognised", "nines": "nines taken for fours", "sevens": "diversity of sevens"}
_SHOWN, _SHOWN_DIGITS = 8, (7, 8, 9)


@dataclass(frozen=True)
class Config(StudyConfig):
    """Settings of Figure 9."""

    n_clusters: int = 20
    """Parts of a class, ours."""
    n_components: int = 10
    """Gaussians of a class, the rivals'; ours are measured with as many parts too."""
    more_dims: tuple[int, ...] = (64, 128)
    """Further numbers of latents, one autoencoder each, of the first data set."""

    @property
    def n_steps(self) -> int:
        """Autoencoders."""
        return latent_study.counted_runs(self) + len(self.more_dims)

    def quick(self) -> Config:
        return replace(self, more_dims=(24,), n_clusters=3, n_components=2, **latent_study.QUICK)


Rows = dict[str, list[ImageScores]]
Claims = dict[str, list[dict[str, float]]]


def run(config: Config, on_step: OnStep) -> Result:
    """Figure 9."""
    one_more = counted(on_step)
    scores: dict[str, Rows] = {}
    claims: Claims = {}
    shown: dict[str, dict[str, NDArray[np.uint8]]] = {}
    wide: dict[int, dict[str, ImageScores]] = {}
    with runs_under(config.runs) as folder:
        for subject in subjects(config):
            first = not scores
            scores[subject.name], shown[subject.name] = _compare(subject, config, folder, claims, one_more)
            if first:
                wide = {d: _wide(subject, config, folder, d, one_more) for d in config.more_dims}
    return Result(
        title="E Figure 9: new images from distributions of latents",
        about="Autoencoders, and images decoded from latents that are drawn, class by class, from distributions learnt "
        "in different ways, judged by a classifier that never saw a decoded image.",
        ours={
            "scores": {
                name: {row: [vars(one) for one in each] for row, each in rows.items()} for name, rows in scores.items()
            },
            "claims": claims,
            "dims": {str(d): {row: vars(one) for row, one in rows.items()} for d, rows in wide.items()},
        },
        paper={"claim": "8 more clear than SW-GMM and EM-GMM, 9 less confused with 4, more variety at 7"},
        tables=(*(_table(name, rows) for name, rows in scores.items()), *_claim_table(claims), *_wide_table(wide)),
        readings=_readings(config),
        findings=tuple(
            [text for name, rows in scores.items() for text in _findings(name, rows)]
            + _claim_findings(claims)
            + _wide_findings(wide)
        ),
        pictures=tuple(
            Picture(
                "" if not i else f"-{name.lower()}",
                f"{name}, the first seed: {_SHOWN} images of three classes by each way, the first that were drawn.",
                lambda images=images: _draw(images),
            )
            for i, (name, images) in enumerate(shown.items())
        ),
    )


def _compare(
    subject: Subject, config: Config, folder: Path, claims: Claims, one_more: Callable[[], None]
) -> tuple[Rows, dict[str, NDArray[np.uint8]]]:
    """ImageScores by row and seed, and pictures ``(3, _SHOWN, S, S, 3)`` by row of the first seed."""
    rows: Rows = {}
    shown: dict[str, NDArray[np.uint8]] = {}
    classes = min(len(subject.dataset.class_names), 10)
    wanted = [k for k in _SHOWN_DIGITS if k < classes]
    labels = subject.reference.labels
    for seed in config.seeds:
        trained = subject.run(seed, folder)

        def look(name: str, images: NDArray[np.uint8], seed: int = seed) -> None:
            if seed == config.seed and name != RECONSTRUCTION:
                picked = [images[labels == k][np.arange(_SHOWN) % np.sum(labels == k)] for k in wanted]
                shown[name] = np.stack([as_rgb(each) for each in picked])
            if subject.dataset.class_names[7:10] == ("7", "8", "9"):
                claims.setdefault(name, []).append(_claims(subject, images))

        compared = _samplers(config, seed)
        report = evaluate_samplers(trained.model, trained.latents, subject.reference, compared, seed=seed, on_row=look)
        for name, each in report.rows.items():
            rows.setdefault(name, []).append(each)
        one_more()
    return rows, shown


def _samplers(config: Config, seed: int) -> dict[str, LatentSampler]:
    found: dict[str, LatentSampler] = {}
    for name, each in samplers(config.n_clusters, config.n_components, seed).items():
        found[name] = each
        if name == OURS:
            found[EQUAL] = ExpansionSampler(n_clusters=config.n_components, random_state=seed)
    return found


def _claims(subject: Subject, images: NDArray[np.uint8]) -> dict[str, float]:
    """What E says of eights, nines and sevens, as numbers."""
    labels, judge = subject.reference.labels, subject.judge
    found = judge.predict(images)
    sevens = [judge.features(each[labels == 7]) for each in (images, subject.reference.images)]
    return {
        "eights": float((found[labels == 8] == 8).mean()),
        "nines": float((found[labels == 9] == 4).mean()),
        "sevens": pairwise_diversity(sevens[0]) / pairwise_diversity(sevens[1]),
    }


def _wide(
    subject: Subject, config: Config, folder: Path, latent_dim: int, one_more: Callable[[], None]
) -> dict[str, ImageScores]:
    """Ours and EM with another number of latents."""
    trained = subject.run(config.seed, folder, latent_dim=latent_dim)
    compared = {name: each for name, each in _samplers(config, config.seed).items() if name in (OURS, EM)}
    report = evaluate_samplers(trained.model, trained.latents, subject.reference, compared, seed=config.seed)
    one_more()
    return report.rows


def _table(name: str, rows: Rows) -> Table:
    cells: list[tuple[Cell, ...]] = [(NAMES[row], *_numbers(each)) for row, each in rows.items()]
    seeds = len(next(iter(rows.values())))
    title = f"{name}: mean ± 95 % interval over {seeds} seeds"
    return Table(title, ("latents drawn from", *(heading for heading, _, _ in FORMATS.values())), tuple(cells))


def _numbers(each: list[ImageScores]) -> list[Cell]:
    """A cell for each score."""
    cells: list[Cell] = []
    for field, (_, _, form) in FORMATS.items():
        values = [getattr(one, field) for one in each]
        if values[0] is None:
            cells.append(None)
            continue
        cells.append(interval(values).text(form))
    return cells


def _claim_table(claims: Claims) -> tuple[Table, ...]:
    if not claims:
        return ()
    rows = tuple(
        (NAMES[name], *(str(interval([one[key] for one in each])) for key in CLAIMS)) for name, each in claims.items()
    )
    return (Table("What E says of its digits: mean ± 95 % interval", ("latents drawn from", *CLAIMS.values()), rows),)


def _wide_table(wide: dict[int, dict[str, ImageScores]]) -> tuple[Table, ...]:
    rows = tuple(
        (f"{d}", NAMES[name], *_numbers([scores]))
        for d, each in wide.items()
        for name, scores in each.items()
        if name != REAL
    )
    columns = ("d", "latents drawn from", *(heading for heading, _, _ in FORMATS.values()))
    return (Table("More latents, one seed", columns, rows),) if rows else ()


def _values(each: list[ImageScores], field: str) -> list[float]:
    return [getattr(one, field) for one in each]


def _findings(name: str, rows: Rows) -> list[str]:
    ours, em, paper = rows[OURS], rows[EM], rows["independent"]
    quicker = interval(
        [b.fit_seconds / a.fit_seconds for a, b in zip(ours, em, strict=True) if a.fit_seconds and b.fit_seconds]
    )
    gap = difference(_values(ours, "frechet"), _values(em, "frechet"))
    verdict = {-1: "nearer to real images than", 0: "not told apart from", 1: "farther from real images than"}[gap.sign]
    lost = difference(_values(ours, "accuracy"), _values(paper, "accuracy")).sign > 0
    why = ": the coordinates of a class depend on each other" if lost else "; that is not told apart"
    return [
        f"{name}: the judge recognises {interval(_values(ours, 'accuracy'))} of the images drawn from parts of each "
        f"class (recall {interval(_values(ours, 'recall'))}), {interval(_values(paper, 'accuracy'))} of those drawn "
        f"number by number as E does (recall {interval(_values(paper, 'recall'))}){why}.",
        f"{name}: against EM, ours are {verdict} EM's images (Frechet distance {gap}), fitted "
        f"{quicker} times as fast in CPU time.",
    ]


def _claim_findings(claims: Claims) -> list[str]:
    """E's sentences, of the paper's sampling and of ours, against both rivals."""
    better = {"eights": 1, "nines": -1, "sevens": 1}
    words = {"eights": "clearer eights", "nines": "nines less like fours", "sevens": "more varied sevens"}
    found = []
    for way in ("independent", OURS) if claims else ():
        verdicts = []
        for key, sign in better.items():
            own = [one[key] for one in claims[way]]
            gaps = [difference(own, [one[key] for one in claims[rival]]).sign for rival in (EM, "sliced-wasserstein")]
            held = all(gap == sign for gap in gaps)
            against = any(gap == -sign for gap in gaps)
            verdicts.append(f"{words[key]}: {'yes' if held else 'no, the reverse' if against else 'not shown'}")
        found.append(
            f'E\'s words of its digits, against EM and sliced Wasserstein, for "{NAMES[way]}": {"; ".join(verdicts)}.'
        )
    return found


def _wide_findings(wide: dict[int, dict[str, ImageScores]]) -> list[str]:
    return [
        f"d = {d}: accuracy {rows[OURS].accuracy:.3f} (EM {rows[EM].accuracy:.3f}), Frechet distance "
        f"{rows[OURS].frechet:.2f} ({rows[EM].frechet:.2f}), recall {rows[OURS].recall:.3f} ({rows[EM].recall:.3f}); "
        f"fitted {(rows[EM].fit_seconds or 0) / (rows[OURS].fit_seconds or 1):.1f} times as fast."
        for d, rows in wide.items()
    ]


def _readings(config: Config) -> tuple[str, ...]:
    count = "as many images as half of the test images" if config.pictures is None else f"{config.pictures} images"
    return (
        f"{data_words(config)} Autoencoders as on the page of Figure 8, {config.repetitions} seeds.",
        f"Every row: {count} with the labels of real test images, against as many others. The judge, a "
        f"{LabelClassifier.name}, learnt from the training images; its features give Frechet distance, precision, "
        "recall and distances. Unsure: its highest probability below .9. Diversity (within classes) and the median "
        "distance to the nearest training image are multiples of those of real test images; close: nearer than 95 % of "
        "these.",
        'E trains its GMM by "suggested techniques" number by number (histogram rule, 100 components; a second row '
        "has Algorithm 2). A draw from such a distribution forgets how the numbers of one image belong together.",
        f"Ours have {config.n_clusters} parts a class, EM and sliced Wasserstein {config.n_components}. EM: "
        "scikit-learn's GaussianMixture, full covariance, defaults. Sliced Wasserstein: our own, after Kolouri et al. "
        "2018, from k-means. Fit: CPU time of one thread, all classes.",
        "Intervals: Student's t over the seeds.",
    )


def _draw(images: dict[str, NDArray[np.uint8]]) -> Figure:
    """A block for each class, a row in it for each way."""
    rows = np.stack(list(images.values()), axis=1)
    names = [NAMES[name] for name in images]
    blocks = [Faces("", block, names if not i else ()) for i, block in enumerate(rows)]
    return draw_faces("New images, by what their latents were drawn from", *blocks)
