"""D Figure 1 "Real vs. Fake": unseen faces beside drawn ones, and whether one can tell them apart.

D shows 64 faces and has no number; here are the accuracy of the attributes, the distances and manifold scores of
`gaussmix.metrics`, the distance to the nearest training picture, each beside the same of real faces, and the

    accuracy = share of faces that a logistic regression on features, fitted on other faces, calls real or drawn rightly

It is 1/2 where the two laws agree in what the features show: a two-sample test (Lopez-Paz and Oquab 2017). It is the
mean over J = r k folds, k of them in each of r splits. Folds share most of the faces that they are fitted on, so s^2/J,
with s^2 the variance over folds, is too small for the variance of the mean. With the factor of Nadeau and Bengio (2003)

    error^2 = (1/J + n_test/n_train) s^2,        n_test/n_train = 1/(k - 1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gaussmix.diffusion.conditions import find_attributes
from gaussmix.diffusion.sampling import draw as draw_pictures
from gaussmix.metrics.classifier import balanced_accuracy
from gaussmix.metrics.manifolds import nearest_pictures, pairwise_diversity
from gaussmix.metrics.quality import CLOSE
from reproduction.diffusion.faces import OUR_LISTS, FaceBlock, Pictures, draw_faces, draw_numbered, nearest_to, words
from reproduction.diffusion.study import Run, Study, StudyConfig, judged, progress, real_quality, study_of
from reproduction.page import Measured
from reproduction.statistics import Row, summaries

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER = {"claim": "no generated images that are clearly unrecognizable, and face features are well assembled"}
FOLDS, SPLITS = 5, 5
GUIDANCE = 2.0
CELLS = 8
"""A side of the grid on which fine detail is averaged."""
_ROWS, _COLUMNS = 4, 6
_NEAREST = 10


class Config(StudyConfig):
    """Settings of Figure 1."""

    arms = ("matched", "fixed")


class Separability(NamedTuple):
    """How often a fresh face is called real or drawn rightly, and the standard error of that share."""

    accuracy: float
    error: float


def tell_apart(real: NDArray, other: NDArray, seed: int) -> Separability:
    """Return how well a logistic regression tells features ``real`` (N, D) from ``other`` (M, D), cross-validated."""
    rows = np.concatenate([real, other])
    label = np.arange(len(rows)) < len(real)
    folds = RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=SPLITS, random_state=seed)
    rule = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    right = cross_val_score(rule, rows, label, cv=folds)
    shared = 1 / len(right) + 1 / (FOLDS - 1)
    return Separability(float(right.mean()), float(np.sqrt(shared * right.var(ddof=1))))


def fine_detail(images: Pictures) -> NDArray[np.float64]:
    """Return the absolute Laplacian of the grey pictures, averaged over squares: ``(N, CELLS^2)``, without a rim."""
    grey = images.astype(np.float64).mean(-1)
    inner = 4 * grey[:, 1:-1, 1:-1] - grey[:, :-2, 1:-1] - grey[:, 2:, 1:-1] - grey[:, 1:-1, :-2] - grey[:, 1:-1, 2:]
    cells = min(CELLS, inner.shape[1])
    side = inner.shape[1] // cells
    kept = np.abs(inner)[:, : cells * side, : cells * side]
    return kept.reshape(len(images), cells, side, cells, side).mean((2, 4)).reshape(len(images), -1)


def beside_real(study: Study, pictures: Pictures) -> Row:
    """Of pictures of the asked-for faces: how well they are told from reference faces, how near they are to training
    ones, in levels of 255, and how varied."""
    faces, seed = study.faces, study.config.seed
    features = faces.judge.features(pictures)
    seen = tell_apart(faces.features, features, seed)
    fine = tell_apart(fine_detail(faces.reference), fine_detail(pictures), seed)
    training = np.asarray(faces.dataset.images[faces.dataset.indices("train")])
    near, real = (nearest_pictures(each, training) for each in (pictures, faces.asked))
    return {
        "told by features": seen.accuracy,
        "told by features, error": seen.error,
        "told by detail": fine.accuracy,
        "told by detail, error": fine.error,
        "nearest": float(np.median(near)),
        "least": float(near.min()),
        "close": float((near < np.quantile(real, CLOSE)).mean()),
        "diversity": pairwise_diversity(features),
    }


def beside(run: Run) -> Row:
    """`beside_real` of a run's pictures."""
    return beside_real(run.study, run.pictures)


def guided(run: Run) -> Row:
    """Of a run: the accuracy of the first quarter of the asked-for faces with guidance, `GUIDANCE`."""
    faces, config = run.study.faces, run.study.config
    asked = run.asked[: max(1, len(run.asked) // 4)]
    images = draw_pictures(run.pipeline, asked, seed=config.seed, steps=config.sampling_steps, guidance=GUIDANCE)[0]
    accuracy = balanced_accuracy(faces.judge.predict(images), faces.attributes[: len(asked)])
    return {"guided accuracy": float(np.nanmean(accuracy)), "guided worst": float(np.nanmin(accuracy))}


MEASURES = {"judged": (Config.arms, judged), "beside": (Config.arms, beside), "guided": (Config.arms, guided)}
"""By name: the arms that a page measures so, and how."""


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Return the numbers of drawn and of real faces, and faces to show."""
    with study_of(config) as study:
        values = study.table("judged", judged, config.arms, progress(config, on_step))
        more = [study.table(name, how, config.arms) for name, how in (("beside", beside), ("guided", guided))]
        real = study.real("quality", real_quality) | study.real("beside", lambda s: beside_real(s, s.faces.asked))
        faces, wanted, run = study.faces, OUR_LISTS["1"], study.first("matched", "fixed")
        chosen = nearest_to(faces, wanted, _ROWS * _COLUMNS)
        rows = faces.attributes[chosen].copy()
        rows[:, find_attributes(wanted, faces.names)] = 1
        training = np.asarray(faces.dataset.images[faces.dataset.indices("train")])
        drawn = run.shown
        closest = drawn[np.argsort(nearest_pictures(drawn, training))[:_NEAREST]]
        seen = {
            "real": faces.asked[chosen],
            "drawn": draw_numbered(run, rows),
            "nearest": np.stack([closest, np.stack([_nearest(face, training) for face in closest])]),
        }
    runs = summaries(values)
    for arm, each in [pair for part in more for pair in summaries(part).items()]:
        runs[arm] |= each
    return Measured(
        {
            "runs": runs,
            "real": real,
            "asked": words(wanted),
            "features": faces.features.shape[1],
            "guidance": GUIDANCE,
            "shown": run.arm,
        },
        PAPER,
        seen,
    )


def _nearest(face: Pictures, training: Pictures) -> Pictures:
    """The training picture with the least squared difference of pixels."""
    return training[int(np.square(training.astype(np.int32) - face).sum((1, 2, 3)).argmin())]


def draw(measured: Measured) -> dict[str, Figure]:
    """Return real faces beside drawn ones, and drawn faces above the nearest training pictures."""
    seen = measured.seen
    grid = (_ROWS, _COLUMNS, *seen["real"].shape[1:])
    real = FaceBlock("real, unseen", seen["real"].reshape(grid))
    drawn = FaceBlock("drawn", seen["drawn"].reshape(grid))
    pairs = FaceBlock("", seen["nearest"], ["drawn", "nearest in training"])
    return {
        "": draw_faces(measured.ours["asked"], real, drawn),
        "-nearest": draw_faces("Nearest training pictures", pairs),
    }
