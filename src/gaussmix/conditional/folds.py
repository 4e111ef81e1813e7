"""Which rows a model did not see: folds, and models that are fitted once a fold.

Committees are what they are made for: for a row that nobody saw all members speak, for a row of the data only those
that did not learn from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from joblib import Parallel, delayed
from threadpoolctl import ThreadpoolController, threadpool_limits

from gaussmix._typing import FloatArray, IntArray

FEW_ROWS, MANY_ROWS = 20_000, 200_000  # up to which there are five folds, three; two beyond
Result = TypeVar("Result")


@dataclass(frozen=True)
class Fold:
    """Numbers of the rows that are learnt from, and of the others."""

    train: IntArray
    test: IntArray


def make_folds(n: int, rng: np.random.Generator) -> list[Fold]:
    """Five folds of n rows in random order, fewer of many rows."""
    k = min(n, 5 if n <= FEW_ROWS else 3 if n <= MANY_ROWS else 2)
    parts = np.array_split(rng.permutation(n), k)
    return [Fold(np.sort(np.concatenate(parts[:i] + parts[i + 1 :])), np.sort(parts[i])) for i in range(k)]


def some_weights(weight: FloatArray, rows: IntArray) -> FloatArray | None:
    """The weights of some rows, None where all of them are equal: scikit-learn is faster without."""
    return None if bool(np.all(weight == weight[0])) else weight[rows]


def run_each(work: Sequence[Callable[[], Result]], n_jobs: int | None) -> list[Result]:
    """Results of all, each on one thread; ``n_jobs`` at a time."""

    if n_jobs in (None, 1):
        with threadpool_limits(1):
            return [task() for task in work]
    libraries = ThreadpoolController()  # to look for them takes as long as to fit a small tree

    def alone(task: Callable[[], Result]) -> Result:
        with libraries.limit(limits=1):
            return task()

    done: Any = Parallel(n_jobs=n_jobs, prefer="threads")(delayed(alone)(task) for task in work)
    return list(done)


def staged_out_of_fold(models: Sequence[Any], X: FloatArray, folds: Sequence[Fold], every: int) -> FloatArray:
    """What fitted boostings (one a fold) say of the rows (N, D) that they did not see, after every so many rounds."""
    rounds = models[0].n_iter_ // every
    out = np.empty((rounds, len(X)))
    for model, fold in zip(models, folds, strict=True):
        for r, values in enumerate(model.staged_predict(X[fold.test])):
            if (r + 1) % every == 0:
                out[(r + 1) // every - 1, fold.test] = values
    return out
