"""D Figure 1 "Real vs. Fake": held-out faces beside drawn ones, and whether one can tell them apart.

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
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gaussmix.diffusion.conditions import find_attributes
from gaussmix.metrics.classifier import balanced_accuracy
from gaussmix.metrics.distances import frechet_distance, kernel_distance
from gaussmix.metrics.manifolds import manifold_scores, nearest_pictures, pairwise_diversity
from gaussmix.metrics.quality import CLOSE
from reproduction.diffusion import model
from reproduction.page import Measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER = {"claim": "no generated images that are clearly unrecognizable, and face features are well assembled"}
FOLDS, SPLITS = 5, 5
CELLS = 8
"""A side of the grid on which fine detail is averaged."""
_ROWS, _COLUMNS = 4, 6
_NEAREST = 10


@dataclass(frozen=True)
class Config(model.PageConfig):
    """Settings of Figure 1."""

    pictures: int = 1200
    """Faces drawn for the attributes of as many held-out ones, or of half of these if there are fewer."""

    @property
    def n_steps(self) -> int:
        """Faces to draw, at most."""
        return self.pictures + _ROWS * _COLUMNS

    def quick(self) -> Config:
        return replace(self, pictures=20, **model.QUICK)


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


def fine_detail(images: model.Pictures) -> NDArray[np.float64]:
    """Return the absolute Laplacian of the grey pictures, averaged over squares: ``(N, CELLS^2)``, without a rim."""
    grey = images.astype(np.float64).mean(-1)
    inner = 4 * grey[:, 1:-1, 1:-1] - grey[:, :-2, 1:-1] - grey[:, 2:, 1:-1] - grey[:, 1:-1, :-2] - grey[:, 1:-1, 2:]
    cells = min(CELLS, inner.shape[1])
    side = inner.shape[1] // cells
    kept = np.abs(inner)[:, : cells * side, : cells * side]
    return kept.reshape(len(images), cells, side, cells, side).mean((2, 4)).reshape(len(images), -1)


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Return the numbers of drawn and of real faces, and faces to show."""
    subject = model.load_subject(config)
    sampler = model.FaceSampler(config, on_step)
    held = np.random.default_rng(config.seed).permutation(subject.held_out)
    asked, others = np.array_split(held[: 2 * config.pictures], 2)
    truth = subject.attributes[asked]
    drawn, real = sampler.draw(subject.pipeline, truth), subject.images[asked]
    training = subject.images[subject.training]
    distances = [nearest_pictures(faces, training) for faces in (drawn, real)]
    limit = float(np.quantile(distances[1], CLOSE))
    ours = {
        kind: _numbers(subject, faces, truth, subject.images[others], config.seed) | {"near": _nearness(near, limit)}
        for kind, faces, near in zip(("drawn", "real"), (drawn, real), distances, strict=True)
    }
    closest = drawn[np.argsort(distances[0])[:_NEAREST]]
    originals = np.stack([_nearest(face, training) for face in closest])

    wanted = subject.wanted("1")
    shown = subject.nearest_to(wanted, _ROWS * _COLUMNS, config.seed)
    rows = subject.attributes[shown].copy()
    rows[:, find_attributes(wanted, subject.names)] = 1
    accuracy = balanced_accuracy(subject.predict(drawn), truth)
    worst = int(np.argmin(np.where(np.isnan(accuracy), np.inf, accuracy)))
    return Measured(
        {
            **ours,
            "accuracy": dict(zip(subject.names, accuracy, strict=True)),
            "worst": {"attribute": model.words([subject.names[worst]]), "accuracy": accuracy[worst]},
            "faces": len(drawn),
            "other_faces": len(others),
            "features": subject.judge.features(real[:1]).shape[1],
            "attributes": list(wanted),
            "asked": model.words(wanted),
            "shown": len(shown),
            "shown_with_all": min(len(shown), len(subject.with_attributes(wanted))),
            "model": subject.facts,
        },
        PAPER,
        {
            "asked": model.words(wanted),
            "real": subject.images[shown],
            "drawn": sampler.draw(subject.pipeline, rows),
            "nearest": np.stack([closest, originals]),
        },
    )


def _numbers(
    subject: model.JudgedModel, faces: model.Pictures, truth: NDArray[np.uint8], others: model.Pictures, seed: int
) -> dict[str, Any]:
    """Of ``faces`` with attributes ``truth`` (M, K), against held-out faces ``others``."""
    features, theirs = subject.judge.features(faces), subject.judge.features(others)
    return {
        "accuracy": float(np.nanmean(balanced_accuracy(subject.predict(faces), truth))),
        "frechet": frechet_distance(features, theirs),
        "kernel": kernel_distance(features, theirs)._asdict(),
        "manifold": manifold_scores(theirs, features)._asdict(),
        "diversity": pairwise_diversity(features),
        "told": {
            "features of the judge": tell_apart(theirs, features, seed)._asdict(),
            "fine detail": tell_apart(fine_detail(others), fine_detail(faces), seed)._asdict(),
        },
    }


def _nearness(near: NDArray[np.float64], limit: float) -> dict[str, float]:
    """Of distances to the nearest training picture, in levels of 255: those below ``limit`` are close."""
    return {"median": float(np.median(near)), "least": float(near.min()), "close": float((near < limit).mean())}


def _nearest(face: model.Pictures, training: model.Pictures) -> model.Pictures:
    """The training picture with the least squared difference of pixels."""
    gaps = [
        np.square(part.astype(np.int32) - face).sum((1, 2, 3))
        for part in np.array_split(training, len(training) // 1000 + 1)
    ]
    return training[int(np.concatenate(gaps).argmin())]


def draw(measured: Measured) -> dict[str, Figure]:
    """Return real faces beside drawn ones, and the drawn faces that are nearest to a training picture."""
    seen = measured.seen
    grid = (_ROWS, _COLUMNS, *seen["real"].shape[1:])
    real = model.FaceBlock("real, held out", seen["real"].reshape(grid))
    drawn = model.FaceBlock("drawn", seen["drawn"].reshape(grid))
    pairs = model.FaceBlock("", seen["nearest"], ["drawn", "nearest in training"])
    return {
        "": model.draw_faces(seen["asked"], real, drawn),
        "-nearest": model.draw_faces("Nearest training pictures", pairs),
    }
