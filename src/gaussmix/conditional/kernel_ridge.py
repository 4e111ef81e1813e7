"""Kernel ridge regression on landmarks, with its errors out of fold in closed form.

With landmarks Z, the Matern-3/2 kernel k(x, z) = (1 + sqrt(3) r) exp(-sqrt(3) r), r = |W (x - z)| / l, and
K_ZZ = C C^T,

    P = K_XZ C^-T = Q diag(e^1/2) V^T,    f = P (P^T P + lambda)^-1 P^T y,    loo_i = y_i - (y_i - f_i) / (1 - h_ii),

h_ii the diagonal of the smoother (Nystrom; Williams and Seeger 2001). Length scale l, the power with which features are
weighed by their importance (the diagonal of W) and lambda are those with the least leave-one-out error. Without the
rows S of a fold f_S = P_S (P^T P - P_S^T P_S + lambda)^-1 (P^T y - P_S^T y_S).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, eigh, solve, solve_triangular

from gaussmix._files import TensorRecord
from gaussmix._typing import FloatArray, IntArray
from gaussmix.conditional.folds import Fold

LANDMARKS, SCOUTS = 2_000, 700  # of the model, and while length and power are looked for
MOST_ROWS = 20_000  # that are learnt from; the others are predicted as new ones are
_RIDGES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0)
_POWERS, _LENGTHS = (0.0, 0.5), (1.0, 3.0)
_REACH = 5.0  # standard deviations: features are clipped there, and missing ones are their mean
_LEAST_LEFT = 1e-9  # of 1 - h; a larger one would hide the errors of fits that hit every row
_CHUNK, _NEAR = 4096, 256  # rows at a time: while learning, and of a table that stays in the cache


@dataclass(frozen=True, eq=False)
class KernelRidge(TensorRecord):
    """A fitted one; ``landmarks`` (m, D) in standard units times W / l, coefficients (m,)."""

    center: FloatArray
    factor: FloatArray  # (D,): W / (l standard deviation)
    reach: FloatArray  # (D,): where features are clipped, times factor
    landmarks: FloatArray
    coefficients: FloatArray
    offset: float

    def predict(self, X: FloatArray) -> FloatArray:
        """Expectation of y (N,) at X (N, D)."""
        out = np.empty(len(X))
        for start in range(0, len(X), _NEAR):
            rows = slice(start, start + _NEAR)
            out[rows] = _kernel(self._units(X[rows]), self.landmarks) @ self.coefficients + self.offset
        return out

    def _units(self, X: FloatArray) -> FloatArray:
        return np.nan_to_num(np.clip((X - self.center) * self.factor, -self.reach, self.reach))

    def to_tensors(self) -> dict[str, NDArray[Any]]:
        """The arrays by name."""
        names = ("center", "factor", "reach", "landmarks", "coefficients")
        return {"offset": np.array([self.offset]), **{name: getattr(self, name) for name in names}}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """What `to_tensors` gave."""
        arrays = {name: np.asarray(value, np.float64) for name, value in tensors.items()}
        offset = float(arrays.pop("offset")[0])
        m, d = arrays["landmarks"].shape
        if arrays["coefficients"].shape != (m,) or any(arrays[name].shape != (d,) for name in ("center", "factor")):
            raise ValueError("landmarks do not fit their coefficients")
        if not all(np.isfinite(each).all() for each in arrays.values()):
            raise ValueError("a kernel's arrays are not finite")
        return cls(**arrays, offset=offset)


def _kernel(A: FloatArray, B: FloatArray) -> FloatArray:
    """Matern-3/2 of rows (n, D) and (m, D), the length scale 1."""
    r = A @ (-6 * B.T)  # of three times the squared distance, in place: the tables are large
    r += 3 * (A**2).sum(1)[:, None]
    r += 3 * (B**2).sum(1)
    np.sqrt(np.maximum(r, 0.0, out=r), out=r)
    decay = np.exp(-r)
    r += 1
    r *= decay
    return r


def fit_kernel_ridge(
    X: FloatArray,
    y: FloatArray,
    weight: FloatArray,
    importance: FloatArray,
    folds: Sequence[Fold],
    rng: np.random.Generator,
) -> tuple[KernelRidge, FloatArray, FloatArray]:
    """A kernel ridge regression of y (N,) on X (N, D), and its predictions (N,) without the row and without its fold.

    Rows weigh ``weight`` (N,), features ``importance`` (D,) to a power that is chosen. Of more than `MOST_ROWS` rows as
    many are learnt from; predictions of the others are plain.
    """
    n, d = X.shape
    rows = rng.permutation(n)[:MOST_ROWS]
    center = np.nan_to_num(np.nanmean(X, 0)) if n else np.zeros(d)
    spread = np.nanstd(X, 0)
    spread = np.where(spread > 0, spread, 1.0)
    offset = float(np.average(y, weights=weight))
    importance = importance / max(importance.mean(), np.finfo(float).tiny)
    known, target, root = X[rows], y[rows] - offset, np.sqrt(weight[rows] / weight[rows].mean())
    best: tuple[float, KernelRidge, FloatArray, tuple[FloatArray, FloatArray]] | None = None
    tried: dict[tuple[float, float], float] = {}

    def attempt(power: float, length: float, most: int) -> None:
        nonlocal best
        m = min(most, len(rows))
        scale = importance**power / (length * math.sqrt(d))
        model = KernelRidge(center, scale / spread, _REACH * scale, np.empty((0, d)), np.empty(0), offset)
        Z = model._units(known)
        B = Z[:m]
        C = cholesky(_kernel(B, B) + 1e-6 * np.eye(m), lower=True)
        P = np.empty((len(Z), m))
        for start in range(0, len(Z), _CHUNK):
            some = slice(start, start + _CHUNK)
            P[some] = solve_triangular(C, _kernel(Z[some], B).T, lower=True).T * root[some, None]
        values, V = eigh(P.T @ P)
        P = P @ V
        seen = P.T @ (target * root)
        g = 1 / (np.maximum(values, 0)[:, None] + np.array(_RIDGES))
        fitted = P @ (g * seen[:, None])
        left = np.maximum(1 - (P * P) @ g, _LEAST_LEFT)
        errors = (target[:, None] - fitted / root[:, None]) / left
        means = np.average(errors**2, axis=0, weights=root**2)
        r = int(np.argmin(means))
        tried[power, length] = float(means[r])
        if best is None or means[r] < best[0]:
            solved = solve_triangular(C, V @ (g[:, r] * seen), lower=True, trans=1)
            found = KernelRidge(center, model.factor, model.reach, B, solved, offset)
            best = float(means[r]), found, target - errors[:, r], (P, values + _RIDGES[r])

    for power, length in itertools.product(_POWERS, _LENGTHS):
        attempt(power, length, SCOUTS)
    power, length = min(tried, key=lambda key: tried[key])
    attempt(power, length * (3.0 if length == max(_LENGTHS) else 0.4), SCOUTS)
    if len(rows) > SCOUTS:
        attempt(*min(tried, key=lambda key: tried[key]), LANDMARKS)
    assert best is not None
    _, model, left_out, (P, spectrum) = best
    others = np.ones(n, bool)
    others[rows] = False
    plain = model.predict(X[others])
    fold_of = np.empty(n, np.int64)
    for k, fold in enumerate(folds):
        fold_of[fold.test] = k
    without_fold = _without_folds(P, spectrum, target * root, fold_of[rows]) / root
    out = []
    for found in (left_out, without_fold):
        predictions = np.empty(n)
        predictions[rows], predictions[others] = found + offset, plain
        out.append(predictions)
    return model, out[0], out[1]


def _without_folds(P: FloatArray, spectrum: FloatArray, target: FloatArray, fold_of: IntArray) -> FloatArray:
    """Predictions (n,) by all rows but those of the fold; P (n, m) has P^T P + lambda = diag(``spectrum``)."""
    out, seen = np.empty(len(P)), P.T @ target
    for k in np.unique(fold_of):
        test = fold_of == k
        own = P[test]
        system = -(own.T @ own)
        system[np.diag_indices_from(system)] += np.maximum(spectrum, _RIDGES[0])
        out[test] = own @ solve(system, seen - own.T @ target[test], assume_a="pos")
    return out
