"""Whether drawn faces can be told from real ones: the test of D Figure 1's page.

    accuracy = share of faces that a logistic regression on features, fitted on other faces, calls real or drawn rightly

It is 1/2 where the two laws agree in what the features show: a two-sample test (Lopez-Paz and Oquab 2017). It is the
mean over J = r k folds, k of them in each of r splits. Folds share most of the faces that they are fitted on, so s^2/J,
with s^2 the variance over folds, is too small for the variance of the mean. With the factor of Nadeau and Bengio (2003)

    error^2 = (1/J + n_test/n_train) s^2,        n_test/n_train = 1/(k - 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from reproduction.diffusion.model import Pictures

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
