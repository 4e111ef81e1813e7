"""Committees of small networks: a regression, and weights of a fixed basis, y ~ GMM(f(x)) as E section 1 has it.

    h_1 = silu(z W_1 + b_1),    h_2 = silu(h_1 W_2 + b_2),    f = h_2 W_3 + b_3,    silu(a) = a / (1 + exp(-a)),

z the features in standard units. The regression's f is a number and minimises sum_i w_i (f_i - y_i)^2 / 2; the weights
are pi = softmax(log p + f), p the prior, and minimise -sum_i w_i log sum_k pi_ik N_k(v_i). With the responsibilities
r_ik = pi_ik N_k(v_i) / p_i the gradients in f are f - y and pi - r; the rest is the chain rule, in NumPy, which here is
as fast as torch. Steps are AdamW's (Loshchilov and Hutter 2019), their size rises and falls as a cosine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor

from gaussmix._typing import FloatArray, IntArray
from gaussmix.conditional.bases import TINY, likelihoods
from gaussmix.conditional.folds import Fold, run_each

# Chosen by errors on a random 15 % of training rows of splits 3 and 4 of kin8nm, power, protein, concrete, energy,
# boston, yacht and wine, of which at most 8 000 rows were used.
_WIDTH = 96
_RATE, _DECAY = 5e-3, 0.03  # AdamW's; a softmax over many Gaussians learns noise sooner and decays by more
_WEIGHTS_DECAY = 0.3  # as the stretching, chosen on draws of an inverse problem and of skewed and multimodal y
_WARM_UP = 0.05  # of all steps
_FIRST, _SECOND, _SMALL = 0.9, 0.99, 1e-8  # Adam's moments, and what stands beside the root of the second
_LAST_GAIN = 0.1  # of the last layer's first weights
_BATCH, _MOST_BATCH = 32, 256  # rows in a step: a hundredth of all between these
_EPOCHS, _LEAST_STEPS, _MOST_STEPS = 60, 3000, 6000
_STEPS_OF_ROW = 16  # more there are not where rows are few
_LOOKS, _PATIENCE = 30, 10  # how often unseen rows are looked at, and how often for nothing
_REACH = 5.0  # standard units beyond which features are bent towards
_LEAST_IMPORTANCE = 1e-3  # of the mean one
_TREES, _TREE_ROWS, _LEAF = 40, 5_000, 5  # of the forest that says what matters
_ROWS = 1 << 13
_WIDEST = 1 << 20  # layer of a file

Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Networks:
    """Members of one shape: standard units of the features (D,), which of them tell that they are missing; parameters.

    ``parameters`` (M, P) hold a member's matrices and offsets in a row; ``widths`` are those of all layers.
    """

    center: FloatArray
    spread: FloatArray
    missing: IntArray
    widths: IntArray
    parameters: Float32

    @classmethod
    def untrained(cls, X: FloatArray, importance: FloatArray, n_out: int) -> Self:
        """Without members yet, for features as those of X (N, D), which are stretched by their importance (D,)."""
        known = np.isfinite(X)
        times = np.maximum(known.sum(0), 1)
        center = np.where(known, X, 0.0).sum(0) / times
        spread = np.sqrt((np.where(known, X - center, 0.0) ** 2).sum(0) / times)
        spread = np.where(spread > 0, spread, 1.0) / np.maximum(importance, _LEAST_IMPORTANCE)
        missing = np.flatnonzero(~known.all(0))
        widths = np.array([X.shape[1] + len(missing), _WIDTH, _WIDTH, n_out])
        return cls(center, spread, missing, widths, np.empty((0, _size(widths)), np.float32))

    def units(self, X: FloatArray) -> Float32:
        """What the first layer sees: standard units, bent below `_REACH`; 0, and a column that says so, if missing."""
        z = (X - self.center) / self.spread
        z = z / np.hypot(1.0, z / _REACH)
        return np.hstack([np.nan_to_num(z), np.isnan(X[:, self.missing])]).astype(np.float32)

    def outputs(self, X: FloatArray) -> Iterator[tuple[slice, Float32]]:
        """f (some rows, K) of each member and some rows at a time."""
        for start in range(0, len(X), _ROWS):
            some = slice(start, start + _ROWS)
            z = self.units(X[some])
            for member in self.parameters:
                yield some, _forward(z, _layers(member, self.widths))

    def predict(self, X: FloatArray) -> FloatArray:
        """The mean (N,) of regressions at X (N, D)."""
        out = np.zeros(len(X))
        for some, f in self.outputs(X):
            out[some] += f[:, 0]
        return out / len(self.parameters)

    def to_tensors(self) -> dict[str, NDArray[Any]]:
        """The arrays by name."""
        return dict(vars(self))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]], n_features: int, n_out: int) -> Self:
        """What `to_tensors` gave. Raises ValueError for arrays that do not fit each other, or are not finite."""
        found = cls(**{name: np.asarray(tensors[name]) for name in cls.__dataclass_fields__})
        missing, widths = found.missing, found.widths.tolist()
        if found.center.shape != (n_features,) or found.spread.shape != (n_features,):
            raise ValueError(f"a network's features are {found.center.shape[0]} and not {n_features}")
        if missing.ndim != 1 or not set(missing.tolist()) <= set(range(n_features)):
            raise ValueError("a network misses features that there are not")
        if len(widths) != 4 or widths[::3] != [n_features + len(missing), n_out] or not 0 < min(widths) <= _WIDEST:
            raise ValueError(f"a network's layers have widths {widths}")
        if found.parameters.shape[1:] != (_size(found.widths),) or not len(found.parameters):
            raise ValueError("a network's parameters do not fit its layers")
        if not all(np.isfinite(each).all() for each in (found.parameters, found.center, found.spread)):
            raise ValueError("a network's arrays are not finite")
        if not found.spread.min() > 0:
            raise ValueError("some of a network's units are not positive")
        return found


@dataclass(frozen=True, eq=False)
class NetworkWeights:
    """A basis, log-priors of its K Gaussians, and the networks of their logits."""

    means: FloatArray
    stds: FloatArray
    log_prior: FloatArray
    networks: Networks

    def weights(self, X: FloatArray) -> Float32:
        """Rows (N, K) for X (N, D), the mean of the members'."""
        out = np.zeros((len(X), len(self.log_prior)), np.float32)
        for some, f in self.networks.outputs(X):
            out[some] += _softmax(f + self.log_prior.astype(np.float32))
        return out / np.float32(len(self.networks.parameters))

    def member(self, k: int) -> NetworkWeights:
        """The k-th alone."""
        return replace(self, networks=replace(self.networks, parameters=self.networks.parameters[k : k + 1]))

    def to_tensors(self) -> dict[str, NDArray[Any]]:
        """The arrays by name."""
        own = {name: getattr(self, name) for name in ("means", "stds", "log_prior")}
        return own | {f"networks.{name}": value for name, value in self.networks.to_tensors().items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]], n_features: int) -> Self:
        """What `to_tensors` gave. Raises ValueError for arrays that do not fit each other, or are not finite."""
        means, stds, log_prior = (np.asarray(tensors[name], np.float64) for name in ("means", "stds", "log_prior"))
        if not (means.ndim == 1 and means.shape == stds.shape == log_prior.shape and len(means)):
            raise ValueError("a network's basis does not fit its weights")
        if not (np.isfinite(means + stds + log_prior).all() and stds.min() > 0):
            raise ValueError("a network's basis is not finite, or not positive where it must be")
        inner = {name.removeprefix("networks."): v for name, v in tensors.items() if name.startswith("networks.")}
        return cls(means, stds, log_prior, Networks.from_tensors(inner, n_features, len(means)))


def _softmax(logits: Float32) -> Float32:
    p = np.exp(logits - logits.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def _size(widths: IntArray) -> int:
    return int(sum((a + 1) * b for a, b in pairwise(widths.tolist())))


def _layers(parameters: Float32, widths: IntArray) -> list[tuple[Float32, Float32]]:
    """Views (a, b) and (b,) of a member's matrices and offsets."""
    out, at = [], 0
    for a, b in pairwise(widths.tolist()):
        out.append((parameters[at : at + a * b].reshape(a, b), parameters[at + a * b : at + a * b + b]))
        at += (a + 1) * b
    return out


def _sigmoid(a: Float32) -> Float32:
    return np.float32(0.5) * np.tanh(np.float32(0.5) * a) + np.float32(0.5)


def _forward(x: Float32, layers: Sequence[tuple[Float32, Float32]]) -> Float32:
    for W, b in layers[:-1]:
        a = x @ W + b
        x = a * _sigmoid(a)
    W, b = layers[-1]
    return x @ W + b


def backpropagate(
    x: Float32,
    layers: Sequence[tuple[Float32, Float32]],
    slope: Callable[[Float32], Float32],
    out: Sequence[tuple[Float32, Float32]],
) -> None:
    """Write the gradient of a loss in all layers to ``out``; ``slope`` is that in f (B, K)."""
    seen, slopes = [x], []
    for W, b in layers[:-1]:
        a = seen[-1] @ W + b
        s = _sigmoid(a)
        seen.append(a * s)
        slopes.append(s * (1 + a - seen[-1]))
    W, b = layers[-1]
    g = slope(seen[-1] @ W + b)
    for layer in reversed(range(len(layers))):
        np.matmul(seen[layer].T, g, out=out[layer][0])
        out[layer][1][:] = g.sum(0)
        if layer:
            g = (g @ layers[layer][0].T) * slopes[layer - 1]


def _first_parameters(widths: IntArray, rng: np.random.Generator) -> Float32:
    parameters = np.zeros(_size(widths), np.float32)
    layers = _layers(parameters, widths)
    for (W, _), gain in zip(layers, (1.0, math.sqrt(2), _LAST_GAIN), strict=True):
        W[:] = rng.normal(size=W.shape) * gain / math.sqrt(len(W))
    layers[0][1][:] = rng.uniform(-1, 1, len(layers[0][1]))
    return parameters


@dataclass
class _Look:
    """A member after some steps, and what was to be known of its unseen rows."""

    parameters: Float32
    unseen: FloatArray


def _train(
    z: Float32,
    widths: IntArray,
    slope: Callable[[Float32, IntArray], Float32],
    judge: Callable[[Float32, IntArray], tuple[FloatArray, float]],
    fold: Fold,
    decay: float,
    rng: np.random.Generator,
) -> list[_Look]:
    """One member, looked at as it learns.

    ``slope`` is the loss's gradient in f (B, K) at rows (B,); ``judge`` says of f at unseen rows what is to be known of
    each, and the loss.
    """
    n = len(fold.train)
    parameters = _first_parameters(widths, rng)
    layers = _layers(parameters, widths)
    gradient = np.zeros_like(parameters)
    out = _layers(gradient, widths)
    mean, square, change = np.zeros_like(parameters), np.zeros_like(parameters), np.empty_like(parameters)
    batch = min(max(_BATCH, n // 100), _MOST_BATCH, n)
    total = min(max(_LEAST_STEPS, _EPOCHS * n // batch), _MOST_STEPS, _STEPS_OF_ROW * n)
    looks: list[_Look] = []
    best, best_at, every, order = math.inf, 0, max(total // _LOOKS, 1), fold.train
    for t in range(1, total + 1):
        at = (t - 1) % (n // batch)
        if at == 0:
            order = rng.permutation(fold.train)
        rows = order[at * batch : (at + 1) * batch]
        backpropagate(z[rows], layers, partial(_mean_slope, slope, rows), out)
        rate = _RATE * min(1.0, t / (_WARM_UP * total)) * 0.5 * (1 + math.cos(math.pi * t / total))
        np.subtract(gradient, mean, out=change)
        change *= np.float32(1 - _FIRST)
        mean += change
        np.square(gradient, out=change)
        change -= square
        change *= np.float32(1 - _SECOND)
        square += change
        np.sqrt(square, out=change)
        change *= np.float32((1 - _SECOND**t) ** -0.5)
        change += np.float32(_SMALL)
        np.divide(mean, change, out=change)
        change *= np.float32(rate / (1 - _FIRST**t))
        parameters *= np.float32(1 - rate * decay)
        parameters -= change
        if t % every == 0:
            said, loss = judge(_forward(z[fold.test], layers), fold.test)
            looks.append(_Look(parameters.copy(), said))
            if loss < best:
                best, best_at = loss, len(looks)
            elif len(looks) - best_at >= _PATIENCE:
                break
    return looks


def _mean_slope(slope: Callable[[Float32, IntArray], Float32], rows: IntArray, f: Float32) -> Float32:
    return slope(f, rows) / np.float32(len(rows))


def _fit_each(
    X: FloatArray,
    networks: Networks,
    decay: float,
    slope: Callable[[Float32, IntArray], Float32],
    judge: Callable[[Float32, IntArray], tuple[FloatArray, float]],
    folds: Sequence[Fold],
    rng: np.random.Generator,
    n_jobs: int | None,
) -> list[list[_Look]]:
    """The looks (equally many) at the member of each fold."""
    z = networks.units(X)
    work = [
        partial(_train, z, networks.widths, slope, judge, fold, decay, np.random.default_rng(rng.integers(1 << 31)))
        for fold in folds
    ]
    members = run_each(work, n_jobs)
    most = max(map(len, members))
    return [looks + looks[-1:] * (most - len(looks)) for looks in members]


def _kept(networks: Networks, members: Sequence[Sequence[_Look]], at: int) -> Networks:
    return replace(networks, parameters=np.stack([looks[at].parameters for looks in members]))


def fit_regressions(
    X: FloatArray,
    y: FloatArray,
    weight: FloatArray,
    repeats: Sequence[Sequence[Fold]],
    rng: np.random.Generator,
    n_jobs: int | None = None,
) -> tuple[Callable[[int], Networks], FloatArray]:
    """A regression of y (N,) on X (N, D) for each fold of each repeat.

    Returns what makes networks as they were after some look, and what they said then of rows that they did not see,
    (repeats, looks, N).
    """
    target, w = y.astype(np.float32)[:, None], (weight / weight.mean()).astype(np.float32)[:, None]

    def judge(f: Float32, rows: IntArray) -> tuple[FloatArray, float]:
        return f[:, 0].astype(np.float64), float(((f - target[rows]) ** 2 * w[rows]).mean())

    folds = [fold for some in repeats for fold in some]
    networks = Networks.untrained(X, np.ones(X.shape[1]), 1)
    members = _fit_each(X, networks, _DECAY, lambda f, rows: (f - target[rows]) * w[rows], judge, folds, rng, n_jobs)
    staged = np.empty((len(repeats), len(members[0]), len(X)))
    for m, (looks, fold) in enumerate(zip(members, folds, strict=True)):
        staged[m // len(repeats[0])][:, fold.test] = [look.unseen for look in looks]
    return partial(_kept, networks, members), staged


def feature_importance(X: FloatArray, targets: FloatArray, weight: FloatArray, rng: np.random.Generator) -> FloatArray:
    """How much features (N, D) tell of targets (N, T), by extremely randomised trees; the mean (D,) is 1."""
    rows = rng.permutation(len(X))[:_TREE_ROWS]
    forest = ExtraTreesRegressor(_TREES, min_samples_leaf=_LEAF, random_state=int(rng.integers(1 << 31)))
    found = forest.fit(X[rows], targets[rows], weight[rows]).feature_importances_
    return found / found.mean() if found.any() else np.ones(X.shape[1])


def fit_network_weights(
    X: FloatArray,
    v: FloatArray,
    half: FloatArray | None,
    weight: FloatArray,
    basis: tuple[FloatArray, FloatArray],
    importance: FloatArray,
    folds: Sequence[Fold],
    rng: np.random.Generator,
    n_jobs: int | None = None,
) -> tuple[NetworkWeights, FloatArray]:
    """Weights of a basis (means and standard deviations, each (K,)); and the likelihood (N,) of v out of fold.

    Features are stretched by their ``importance`` (D,). Members, one a fold, have as many steps as are best for the
    rows that they did not see, taken together.
    """
    means, stds = basis
    prior = np.full(len(means), 1 / len(means))
    N, scale = np.empty((len(v), len(means)), np.float32), np.empty(len(v))
    for start in range(0, len(v), _ROWS):
        some = slice(start, start + _ROWS)
        p = likelihoods(v[some], None if half is None else half[some], means, stds)
        scale[some] = np.maximum(p.max(1), TINY)
        N[some] = p / scale[some, None]
    w = (weight / weight.mean()).astype(np.float32)
    log_prior = np.log(prior).astype(np.float32)

    def judge(f: Float32, rows: IntArray) -> tuple[FloatArray, float]:
        p = np.einsum("nk,nk->n", _softmax(f + log_prior), N[rows]).astype(np.float64)
        return p, -float(np.log(p + TINY) @ w[rows])

    networks = Networks.untrained(X, importance, len(prior))
    slope = partial(_likelihood_slope, N, w, log_prior)
    members = _fit_each(X, networks, _WEIGHTS_DECAY, slope, judge, folds, rng, n_jobs)
    curves = [
        np.log([look.unseen + TINY for look in looks]) @ weight[fold.test]
        for looks, fold in zip(members, folds, strict=True)
    ]
    best = int(np.argmax(np.sum(curves, axis=0)))
    p = np.empty(len(v))
    for looks, fold in zip(members, folds, strict=True):
        p[fold.test] = looks[best].unseen
    return NetworkWeights(means, stds, np.log(prior), _kept(networks, members, best)), p * scale


def _likelihood_slope(N: Float32, w: Float32, log_prior: Float32, f: Float32, rows: IntArray) -> Float32:
    """The gradient (B, K) of -w log sum_k softmax(log prior + f)_k N_k at rows (B,)."""
    pi = _softmax(f + log_prior)
    r = pi * N[rows]
    r /= np.maximum(r.sum(1, keepdims=True), np.float32(1e-30))
    return (pi - r) * w[rows, None]
