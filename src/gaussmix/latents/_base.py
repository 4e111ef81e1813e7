"""What distributions of latent vectors have in common: a part for each class, the classes' shares, and the checks.

p(z | y) of class y,  p(z) = sum_y share_y p(z | y)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from gaussmix._typing import FloatArray


class ClassSampler(BaseEstimator, ABC):
    """Rows to draw and to score by class: a subclass fits ``parts_``, each with ``draw(count, rng)`` and ``logpdf``."""

    parts_: list[Any]
    classes_: NDArray[Any]
    shares_: FloatArray
    n_features_in_: int

    @abstractmethod
    def _check_settings(self) -> int:
        """Raises ValueError for a wrong setting; returns how many rows a class needs."""

    @abstractmethod
    def _fit_classes(self, by_class: list[FloatArray]) -> list[Any]:
        """``parts_`` from the rows ``(N, D)`` of each class."""

    def fit(self, z: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Learn from rows ``(N, D)`` and their labels ``(N,)``, if there are any.

        Raises ValueError for a wrong setting, for what is not finite, shapes that do not fit and a class with too few
        rows.
        """
        least = self._check_settings()
        rows, labels = checked_rows(z, y)
        self.n_features_in_ = rows.shape[1]
        if labels is None:
            self.classes_, self.shares_, by_class = np.array([None]), np.ones(1), [rows]
        else:
            self.classes_, sizes = np.unique(labels, return_counts=True)
            self.shares_ = sizes / sizes.sum()
            by_class = [rows[labels == label] for label in self.classes_]
        for label, own in zip(self.classes_, by_class, strict=True):
            if len(own) < least:
                count = f"{len(own)} row{'s' * (len(own) != 1)}"
                raise ValueError(f"{of_class(label)}{count}; give at least {least}, or leave the class out")
        self.parts_ = self._fit_classes(by_class)
        return self

    def sample(self, n_samples: int = 1, *, class_label: Any = None, random_state: Any = None) -> FloatArray:
        """Draw rows ``(n_samples, D)``.

        ``class_label``: one label, or ``(n_samples,)`` of them; classes are drawn with their shares if not given.
        Raises ValueError for an unknown label.
        """
        return self._drawn(n_samples, class_label, random_state)

    def score_samples(self, z: ArrayLike, y: ArrayLike | None = None) -> FloatArray:
        """Return log-densities ``(M,)`` of rows ``(M, D)``, given labels ``(M,)`` or of the mixture of the classes."""
        rows, labels = self._checked_as_fitted(z, y)
        if labels is None:
            return np.asarray(logsumexp(self.class_log_densities(rows) + np.log(self.shares_), axis=1))
        log, positions = np.empty(len(rows)), self._positions(labels)
        for c in np.unique(positions):
            log[positions == c] = self.parts_[c].logpdf(rows[positions == c])
        return log

    def class_log_densities(self, z: ArrayLike) -> FloatArray:
        """Return ``log p(z | class)`` of rows ``(M, D)``: an array ``(M, len(classes_))``."""
        rows, _ = self._checked_as_fitted(z, None)
        return np.stack([part.logpdf(rows) for part in self.parts_], 1)

    def _drawn(self, n_samples: int, class_label: Any, random_state: Any, *options: Any) -> FloatArray:
        """``(n_samples, D)``: classes as asked for, then ``draw(count, rng, *options)`` of each part."""
        check_is_fitted(self, "parts_")
        if n_samples < 0:
            raise ValueError(f"n_samples is {n_samples}; it must not be negative")
        rng = check_random_state(random_state)
        if class_label is None:
            chosen = rng.choice(len(self.classes_), n_samples, p=self.shares_)
        else:
            chosen = self._positions(np.broadcast_to(np.asarray(class_label), (n_samples,)))
        drawn = np.empty((n_samples, self.n_features_in_))
        for c in np.unique(chosen):
            mine = np.flatnonzero(chosen == c)
            drawn[mine] = self.parts_[c].draw(len(mine), rng, *options)
        return drawn

    def _checked_as_fitted(self, z: ArrayLike, y: ArrayLike | None) -> tuple[FloatArray, NDArray[Any] | None]:
        check_is_fitted(self, "parts_")
        rows, labels = checked_rows(z, y)
        if rows.shape[1] != self.n_features_in_:
            raise ValueError(f"rows have {rows.shape[1]} numbers; the sampler knows {self.n_features_in_}")
        return rows, labels

    def _positions(self, labels: NDArray[Any]) -> NDArray[np.intp]:
        if self.classes_[0] is None:
            raise ValueError("the sampler was fitted without labels; leave the label out")
        unknown = np.setdiff1d(labels, self.classes_)
        if len(unknown):
            known = ", ".join(map(str, self.classes_.tolist()))
            raise ValueError(f"no class {unknown[0]!s}; the sampler knows {known}")
        return np.searchsorted(self.classes_, labels)


def checked_rows(z: ArrayLike, y: ArrayLike | None) -> tuple[FloatArray, NDArray[Any] | None]:
    """Rows ``(N, D)`` and labels ``(N,)``, if there are any. Raises ValueError for other shapes, NaN and infinity."""
    rows = np.asarray(z, float)
    if rows.ndim != 2 or not rows.size:
        raise ValueError(f"rows have shape {rows.shape}; expected (count, dimensions), neither 0")
    if not np.isfinite(rows).all():
        bad = np.flatnonzero(~np.isfinite(rows).all(1))
        raise ValueError(f"{len(bad)} of {len(rows)} rows are not finite, the first is row {bad[0]}; leave them out")
    if y is None:
        return rows, None
    labels = np.asarray(y)
    if labels.shape != (len(rows),):
        raise ValueError(f"labels have shape {labels.shape}; expected ({len(rows)},), one a row")
    return rows, labels


def of_class(label: Any) -> str:
    """How a message about a class begins."""
    return "" if label is None else f"class {label} has "
