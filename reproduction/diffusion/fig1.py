"""D Figure 1 "Real vs. Fake": held-out faces beside drawn ones, and whether one can tell them apart.

D shows 64 faces and has no number; here are the accuracy of the attributes, the distances and manifold scores of
`gaussmix.metrics`, how often a classifier tells real from drawn (`reproduction.diffusion.fig1`), and the distance to
the nearest training picture, each beside the same of real faces.

Whether drawn faces can be told from real ones: the test of D Figure 1's page.

    accuracy = share of faces that a logistic regression on features, fitted on other faces, calls real or drawn rightly

It is 1/2 where the two laws agree in what the features show: a two-sample test (Lopez-Paz and Oquab 2017). It is the
mean over J = r k folds, k of them in each of r splits. Folds share most of the faces that they are fitted on, so s^2/J,
with s^2 the variance over folds, is too small for the variance of the mean. With the factor of Nadeau and Bengio (2003)

    error^2 = (1/J + n_test/n_train) s^2,        n_test/n_train = 1/(k - 1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gaussmix.diffusion.conditions import find_attributes
from gaussmix.metrics.classifier import balanced_accuracy
from gaussmix.metrics.distances import KernelDistance, frechet_distance, kernel_distance
from gaussmix.metrics.manifolds import ManifoldScores, manifold_scores, nearest_pictures, pairwise_diversity
from gaussmix.metrics.quality import CLOSE
from reproduction.diffusion.model import (
    QUICK,
    Artist,
    Faces,
    PageConfig,
    Pictures,
    Subject,
    draw_faces,
    how_drawn,
    load_subject,
    words,
)
from reproduction.page import Cell, Picture, Result, Table

FOLDS, SPLITS = 5, 5
CELLS = 8
"""A side of the grid on which fine detail is averaged."""


class Told(NamedTuple):
    """How often a fresh face is called real or drawn rightly, and the standard error of that share."""

    accuracy: float
    error: float

    @property
    def apart(self) -> bool:
        """Whether this is more than chance, by two standard errors."""
        return self.accuracy > 0.5 + 2 * self.error


def tell_apart(real: NDArray, other: NDArray, seed: int) -> Told:
    """Cross-validated accuracy of a logistic regression that tells features ``real`` (N, D) from ``other`` (M, D)."""
    rows = np.concatenate([real, other])
    label = np.arange(len(rows)) < len(real)
    folds = RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=SPLITS, random_state=seed)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    right = cross_val_score(model, rows, label, cv=folds)
    shared = 1 / len(right) + 1 / (FOLDS - 1)
    return Told(float(right.mean()), float(np.sqrt(shared * right.var(ddof=1))))


def fine_detail(images: Pictures) -> NDArray[np.float64]:
    """Absolute Laplacian of the grey pictures, averaged over squares: ``(N, CELLS^2)``; a rim is left out."""
    grey = images.astype(np.float64).mean(-1)
    inner = 4 * grey[:, 1:-1, 1:-1] - grey[:, :-2, 1:-1] - grey[:, 2:, 1:-1] - grey[:, 1:-1, :-2] - grey[:, 1:-1, 2:]
    cells = min(CELLS, inner.shape[1])
    side = inner.shape[1] // cells
    kept = np.abs(inner)[:, : cells * side, : cells * side]
    return kept.reshape(len(images), cells, side, cells, side).mean((2, 4)).reshape(len(images), -1)


def told_sentence(ours: Mapping[str, Told], theirs: Mapping[str, Told]) -> str:
    """By kinds of features: of drawn against real faces, and of real against real ones by the same rule."""

    def named(one: Told) -> str:
        return f"{one.accuracy:.3f} ± {one.error:.3f}"

    parts = [
        f"{kind} {'tells' if one.apart else 'is not shown to tell'} drawn faces from real ones: {named(one)} are named "
        f"rightly; of real against real {named(theirs[kind])}, {_control(theirs[kind])}"
        for kind, one in ours.items()
    ]
    return f"A logistic regression on {'. One on '.join(parts)}. Chance is .5, full separation 1."


def _control(one: Told) -> str:
    return "told apart too, which can only be chance" if one.apart else "not told apart"


_ROWS, _COLUMNS = 4, 6
_NEAREST = 10


@dataclass(frozen=True)
class Config(PageConfig):
    """Settings of Figure 1."""

    pictures: int = 1200
    """Faces drawn for the attributes of as many held-out ones, or of half of these if there are fewer."""

    @property
    def n_steps(self) -> int:
        """Faces to draw, at most."""
        return self.pictures + _ROWS * _COLUMNS

    def quick(self) -> Config:
        return replace(self, pictures=20, **QUICK)


class Nearness(NamedTuple):
    """Of faces to their nearest training picture, in levels of 255: the median, the least, the share of close ones."""

    median: float
    least: float
    close: float


class Numbers(NamedTuple):
    """What is said of the drawn faces, or of the real ones for whose attributes they were drawn."""

    accuracy: float
    """Mean balanced accuracy of the judge."""
    frechet: float
    kernel: KernelDistance
    manifold: ManifoldScores
    diversity: float
    told: dict[str, Told]
    """By kinds of features; these and all above are against other held-out faces."""
    near: Nearness


def run(config: Config, on_step: Callable[[int], None]) -> Result:
    """Figure 1."""
    subject = load_subject(config)
    artist = Artist(config, on_step)
    held = np.random.default_rng(config.seed).permutation(subject.held_out)
    asked, others = np.array_split(held[: 2 * config.pictures], 2)
    truth = subject.attributes[asked]
    drawn, real = artist.draw(subject.pipeline, truth), subject.images[asked]
    training = subject.images[subject.training]
    distances = [nearest_pictures(faces, training) for faces in (drawn, real)]
    limit = float(np.quantile(distances[1], CLOSE))
    ours, theirs = (
        measure(subject, faces, truth, subject.images[others], near, limit, config.seed)
        for faces, near in zip((drawn, real), distances, strict=True)
    )
    by_attribute = balanced_accuracy(subject.predict(drawn), truth)
    closest = drawn[np.argsort(distances[0])[:_NEAREST]]
    originals = np.stack([_nearest(face, training) for face in closest])

    wanted = subject.wanted("1")
    shown = subject.nearest_to(wanted, _ROWS * _COLUMNS, config.seed)
    rows = subject.attributes[shown].copy()
    rows[:, find_attributes(wanted, subject.names)] = 1
    fakes = artist.draw(subject.pipeline, rows)
    have = min(len(shown), len(subject.with_attributes(wanted)))
    return Result(
        title="D Figure 1: real faces beside drawn ones",
        about=f"Faces of {{{words(wanted)}}}, real and drawn; and over all held-out attributes, whether the two can be "
        "told apart.",
        ours={
            "drawn": _plain(ours),
            "real": _plain(theirs),
            "accuracy": dict(zip(subject.names, _finite(by_attribute), strict=True)),
            "faces": len(drawn),
            "attributes": list(wanted),
        },
        paper={"claim": "no generated images that are clearly unrecognizable, and face features are well assembled"},
        tables=(_alike_table(ours, theirs), _told_table(ours, theirs), _near_table(ours, theirs)),
        readings=(
            how_drawn(subject, config),
            f"D's list ends in dots; asked for here: {words(wanted)}. {have} of the {len(shown)} real faces shown have "
            "all of these, the others lack the fewest. A drawn face is asked for all attributes of the real face at "
            "its place, with a random Z and random noise: it need not resemble that face.",
            f"The numbers: {len(drawn)} faces, each drawn for all attributes of a held-out face (valid and test "
            f"splits), against {len(others)} other held-out faces. The column of real faces has those whose attributes "
            "were asked for in place of the drawn ones: what a perfect model would get. Features: the "
            f"{subject.judge.features(real[:1]).shape[1]} of the judge, a classifier of attributes; k = 5 neighbours.",
            f"Told apart by logistic regression, the mean over {SPLITS} splits into {FOLDS} folds, on the judge's "
            "features (what makes attributes), and on fine detail: the absolute Laplacian of the grey picture, "
            f"averaged over {CELLS} x {CELLS} squares. Standard error: over folds, corrected for the faces that they "
            "share (Nadeau and Bengio 2003). Told apart: more than two of these above .5, drawn and real faces alike.",
        ),
        findings=findings(ours, theirs, len(drawn), _worst(subject.names, by_attribute)),
        pictures=(
            Picture(
                "",
                "Left: held-out faces, none of which the model has seen. Right: drawn for the attributes of the face "
                "at the same place on the left, not copies of it.",
                lambda: draw_faces(
                    words(wanted), Faces("real, held out", _grid(subject.images[shown])), Faces("drawn", _grid(fakes))
                ),
            ),
            Picture(
                "-nearest",
                f"The {len(closest)} drawn faces that lie nearest to a training picture, of {len(drawn)}, above that "
                "picture.",
                lambda: draw_faces(
                    "Nearest training pictures",
                    Faces("", np.stack([closest, originals]), ["drawn", "nearest in training"]),
                ),
            ),
        ),
    )


def measure(
    subject: Subject,
    faces: Pictures,
    truth: NDArray[np.uint8],
    others: Pictures,
    near: NDArray[np.float64],
    limit: float,
    seed: int,
) -> Numbers:
    """All numbers of ``faces`` with attributes ``truth`` (M, K) against held-out faces ``others``.

    ``near``: their distances to the nearest training picture (M,); below ``limit`` they are close.
    """
    features, theirs = subject.judge.features(faces), subject.judge.features(others)
    return Numbers(
        accuracy=float(np.nanmean(balanced_accuracy(subject.predict(faces), truth))),
        frechet=frechet_distance(features, theirs),
        kernel=kernel_distance(features, theirs),
        manifold=manifold_scores(theirs, features),
        diversity=pairwise_diversity(features),
        told={
            "features of the judge": tell_apart(theirs, features, seed),
            "fine detail": tell_apart(fine_detail(others), fine_detail(faces), seed),
        },
        near=Nearness(float(np.median(near)), float(near.min()), float((near < limit).mean())),
    )


def _nearest(face: Pictures, training: Pictures) -> Pictures:
    """The training picture with the least squared difference of pixels."""
    gaps = [
        np.square(part.astype(np.int32) - face).sum((1, 2, 3))
        for part in np.array_split(training, len(training) // 1000 + 1)
    ]
    return training[int(np.concatenate(gaps).argmin())]


def findings(ours: Numbers, theirs: Numbers, count: int, worst: tuple[str, float]) -> tuple[str, ...]:
    """What the numbers of ``count`` drawn and as many real faces say, in sentences; ``worst``: attribute, accuracy."""
    chance = 2 * np.sqrt(2 * CLOSE * (1 - CLOSE) / count)
    copied = ours.near.close > theirs.near.close + chance
    agree = abs(ours.kernel.value) <= 2 * ours.kernel.standard_error
    made, true = ours.manifold, theirs.manifold
    return (
        f"The judge finds the attributes asked for with a balanced accuracy of {ours.accuracy:.3f} in drawn faces and "
        f"{theirs.accuracy:.3f} in real ones; worst in drawn ones: {words(worst[:1])}, {worst[1]:.3f}.",
        f"Frechet distance to held-out faces {ours.frechet:.3g}, of real faces {theirs.frechet:.3g}; kernel distance "
        f"{ours.kernel.value:.3g} ± {ours.kernel.standard_error:.2g}, {'not shown to be' if agree else 'clearly'} "
        f"different from 0. {made.precision:.1%} of the drawn faces lie among held-out ones (of real faces "
        f"{true.precision:.1%}), and {made.recall:.1%} of the held-out ones among drawn ones ({true.recall:.1%}).",
        told_sentence(ours.told, theirs.told),
        f"{'Some training pictures are repeated' if copied else 'No sign of copies'}: {ours.near.close:.1%} of the "
        f"drawn faces are nearer to a training picture than all but {CLOSE:.0%} of the held-out faces; their median "
        f"distance is {ours.near.median:.3g} levels, that of held-out faces {theirs.near.median:.3g}.",
    )


def _worst(names: tuple[str, ...], accuracy: NDArray[np.float64]) -> tuple[str, float]:
    """The attribute found least reliably; the first if none can be judged."""
    k = int(np.argmin(np.where(np.isnan(accuracy), np.inf, accuracy)))
    return names[k], float(accuracy[k])


def _alike_table(ours: Numbers, theirs: Numbers) -> Table:
    def pair(name: str, of: Callable[[Numbers], float], good: str) -> tuple[Cell, ...]:
        return name, of(ours), of(theirs), good

    rows = (
        pair("balanced accuracy of attributes", lambda one: one.accuracy, "high"),
        pair("Frechet distance", lambda one: one.frechet, "low"),
        pair("kernel distance (KID)", lambda one: one.kernel.value, "about 0"),
        pair("its standard error", lambda one: one.kernel.standard_error, ""),
        pair("precision", lambda one: one.manifold.precision, "high"),
        pair("recall", lambda one: one.manifold.recall, "high"),
        pair("density", lambda one: one.manifold.density, "about 1"),
        pair("coverage", lambda one: one.manifold.coverage, "high"),
        pair("diversity", lambda one: one.diversity, "as real"),
    )
    return Table("Against held-out faces", ("", "drawn", "real", "good is"), rows)


def _told_table(ours: Numbers, theirs: Numbers) -> Table:
    rows: list[tuple[Cell, ...]] = [(kind, *one, *theirs.told[kind]) for kind, one in ours.told.items()]
    columns = ("logistic regression on", "drawn", "standard error", "real", "standard error")
    return Table("Told from held-out faces: share of right answers, .5 is chance", columns, tuple(rows))


def _near_table(ours: Numbers, theirs: Numbers) -> Table:
    columns = ("faces", "median", "least", f"share nearer than all but {CLOSE:.0%} of the real ones")
    rows: tuple[tuple[Cell, ...], ...] = (("drawn", *ours.near), ("real, held out", *theirs.near))
    return Table("Distance to the nearest training picture, levels of 255 per pixel", columns, rows)


def _plain(numbers: Numbers) -> dict[str, Any]:
    """Ready for JSON."""
    told = {kind: one._asdict() for kind, one in numbers.told.items()}
    parts = {name: getattr(numbers, name)._asdict() for name in ("kernel", "manifold", "near")}
    return {**numbers._asdict(), **parts, "told": told}


def _finite(values: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _grid(pictures: Pictures) -> Pictures:
    """The shown faces in their rows."""
    rows = len(pictures) // _COLUMNS
    return pictures[: rows * _COLUMNS].reshape(rows, _COLUMNS, *pictures.shape[1:])
