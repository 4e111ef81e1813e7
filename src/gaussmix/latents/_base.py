"""What distributions of latent vectors have in common: a part for each class, the classes' shares, and the checks.

p(z | y) of class y,  p(z) = sum_y share_y p(z | y)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted


class ClassSampler(BaseEstimator, ABC):
    """Rows to draw and to score, by class; a subclass fits ``parts_``, one entry a class, draws from and scores one."""

    parts_: list[Any]
    classes_: NDArray[Any]
    shares_: NDArray[np.float64]
    n_features_in_: int

    @abstractmethod
    def _draw(self, part: Any, count: int, rng: np.random.RandomState) -> NDArray[np.float64]:
        """``(count, D)`` from one of ``parts_``."""

    @abstractmethod
    def _log_density(self, part: Any, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """``(M,)`` of rows ``(M, D)`` under one of ``parts_``."""

    def sample(self, n: int = 1, *, class_label: Any = None, random_state: Any = None) -> NDArray[np.float64]:
        """Draw ``(n, D)`` rows.

        ``class_label``: one label, or ``(n,)`` of them; None draws classes with their shares.
        Raises ValueError for an unknown label.
        """
        return self._drawn(n, class_label, random_state, self._draw)

    def score_samples(self, z: ArrayLike, y: ArrayLike | None = None) -> NDArray[np.float64]:
        """Log-density of rows ``(M, D)``, given labels ``(M,)`` or of the mixture of the classes; ``(M,)``."""
        rows, labels = self._checked_as_fitted(z, y)
        if labels is None:
            return np.asarray(logsumexp(self.class_log_densities(rows) + np.log(self.shares_), axis=1))
        log, positions = np.empty(len(rows)), self._positions(labels)
        for c in np.unique(positions):
            log[positions == c] = self._log_density(self.parts_[c], rows[positions == c])
        return log

    def class_log_densities(self, z: ArrayLike) -> NDArray[np.float64]:
        """``log p(z | class)`` of rows ``(M, D)``, ``(M, len(classes_))``."""
        rows, _ = self._checked_as_fitted(z, None)
        return np.stack([self._log_density(part, rows) for part in self.parts_], 1)

    # -- for subclasses

    def _rows_by_class(
        self, rows: NDArray[np.float64], labels: NDArray[Any] | None, at_least: int = 2
    ) -> list[NDArray[np.float64]]:
        """Sets classes, shares and dimensions. Raises ValueError for a class with fewer rows than ``at_least``."""
        self.n_features_in_ = rows.shape[1]
        if labels is None:
            self.classes_, self.shares_, by_class = np.array([None]), np.ones(1), [rows]
        else:
            self.classes_, sizes = np.unique(labels, return_counts=True)
            self.shares_ = sizes / sizes.sum()
            by_class = [rows[labels == label] for label in self.classes_]
        for label, own in zip(self.classes_, by_class, strict=True):
            if len(own) < at_least:
                raise ValueError(
                    f"{of_class(label)}{len(own)} row{'s' * (len(own) != 1)}; give at least {at_least}, or leave the "
                    "class out"
                )
        return by_class

    def _drawn(
        self,
        n: int,
        class_label: Any,
        random_state: Any,
        draw: Callable[[Any, int, np.random.RandomState], NDArray[np.float64]],
    ) -> NDArray[np.float64]:
        """``(n, D)``: classes as asked for, then ``draw(part, count, rng)`` of each."""
        check_is_fitted(self, "parts_")
        if n < 0:
            raise ValueError(f"n is {n}; it must not be negative")
        rng = check_random_state(random_state)
        if class_label is None:
            chosen = rng.choice(len(self.classes_), n, p=self.shares_)
        else:
            chosen = self._positions(np.broadcast_to(np.asarray(class_label), (n,)))
        drawn = np.empty((n, self.n_features_in_))
        for c in np.unique(chosen):
            mine = np.flatnonzero(chosen == c)
            drawn[mine] = draw(self.parts_[c], len(mine), rng)
        return drawn

    def _checked_as_fitted(self, z: ArrayLike, y: ArrayLike | None) -> tuple[NDArray[np.float64], NDArray[Any] | None]:
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


def checked_rows(z: ArrayLike, y: ArrayLike | None) -> tuple[NDArray[np.float64], NDArray[Any] | None]:
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
