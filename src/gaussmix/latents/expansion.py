"""ExpansionSampler: a joint density of latent vectors, made of one-dimensional expansions (E Sec. 3.2.1).

    p(z | y) = sum_k w_k prod_r g_kr(a_kr . (z - m_k))

with ``g_kr`` a `gaussmix.GMMExpansion` each. Three couplings of the dimensions:

- "independent", the paper's: one part, the axes ``a_r`` are the coordinates. What the coordinates know of each other is
  lost: of MNIST's latents drawn so, a classifier recognises .62 instead of .98;
- "pca": one part, the axes are the principal ones of the class: uncorrelated, not independent;
- "cluster-pca": k-means within the class, principal axes within each cluster. What is left to know of each other within
  a cluster is little.

`gaussmix.latents._parts` has the terms, and what becomes of small clusters and of directions without variance.
"""

from __future__ import annotations

import json
import os
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.cluster import KMeans
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from gaussmix._files import read_tensors, write_tensors
from gaussmix.density.estimator import GMMExpansion
from gaussmix.density.fit import Rule
from gaussmix.latents._base import ClassSampler, checked_rows, of_class
from gaussmix.latents._parts import (
    Part,
    independent_part,
    log_density,
    pack_parts,
    parts_of_clusters,
    unpack_parts,
)

Coupling = Literal["independent", "pca", "cluster-pca"]

COUPLINGS: tuple[Coupling, ...] = ("independent", "pca", "cluster-pca")
CLUSTERS_TRIED = (1, 2, 5, 10, 20, 40)
"""Numbers of clusters that ``n_clusters="auto"`` chooses from."""
_HELD_OUT = 0.25
_KIND = "expansion_sampler"


class ExpansionSampler(ClassSampler):
    """A density of latent vectors, of each class if there are any, to draw from and to score with.

    Parameters
    ----------
    coupling : "independent" (the paper's), "pca" or "cluster-pca"; see the module.
    n_clusters : of each class, for "cluster-pca"; "auto" takes the number from `CLUSTERS_TRIED` with the highest median
        log-density of held-out rows (a quarter; the median, as a single far row must not decide).
    rule, n_components, bandwidth : of the expansions, as in `gaussmix.GMMExpansion`.
    random_state : of k-means and of the rows held out.

    Attributes
    ----------
    classes_ : sorted labels, or ``[None]`` for rows without.
    shares_ : ``(len(classes_),)`` shares of the rows.
    parts_ : by class, a tuple of `Part`.
    n_clusters_ : clusters a class; 1 unless "cluster-pca".
    n_features_in_ : D.

    Examples
    --------
    >>> import numpy as np
    >>> from gaussmix.latents.expansion import ExpansionSampler
    >>> rng = np.random.default_rng(0)
    >>> z = rng.standard_normal((2000, 2)) @ [[1.0, 0.9], [0.0, 0.4]]
    >>> sampler = ExpansionSampler("pca").fit(z)
    >>> round(float(np.corrcoef(sampler.sample(5000, random_state=0).T)[0, 1]), 1)
    0.9
    """

    coupling: Coupling
    n_clusters: int | Literal["auto"]
    rule: Rule
    n_clusters_: int

    def __init__(
        self,
        coupling: Coupling = "cluster-pca",
        *,
        n_clusters: int | Literal["auto"] = 20,
        rule: Rule = "histogram",
        n_components: int = 100,
        bandwidth: float = 2.0,
        random_state: Any = None,
    ):
        self.coupling = coupling
        self.n_clusters = n_clusters
        self.rule = rule
        self.n_components = n_components
        self.bandwidth = bandwidth
        self.random_state = random_state

    def fit(self, z: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Learn from rows ``(N, D)`` and labels ``(N,)``, if there are any.

        Raises ValueError for what is not finite, shapes that do not fit, a class with one row, and more clusters than
        a class has rows.
        """
        self._check_settings()
        rows, labels = checked_rows(z, y)
        if hasattr(self, "_counters"):
            del self._counters
        by_class = self._rows_by_class(rows, labels)
        self.n_clusters_ = self._choose_clusters(by_class)
        for label, own in zip(self.classes_, by_class, strict=True):
            if len(own) < self.n_clusters_:
                raise ValueError(
                    f"{of_class(label)}{len(own)} rows for {self.n_clusters_} "
                    "clusters; ask for fewer, or n_clusters='auto'"
                )
        self.parts_ = [self._fit_class(own, self.n_clusters_) for own in by_class]
        return self

    def partial_fit(self, z: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Count one more chunk; only for coupling "independent", whose counts add up. New classes may come later.

        The first chunk of a class fixes the grids, wider than `fit` lays them, as in `GMMExpansion.partial_fit`: the
        density is near that of `fit` on all rows, not equal to it.

        Raises ValueError for the other couplings: their axes depend on all rows at once.
        """
        if self.coupling != "independent":
            raise ValueError(f"coupling {self.coupling!r} needs all rows at once: use fit, or coupling='independent'")
        self._check_settings()
        rows, labels = checked_rows(z, y)
        if not hasattr(self, "_counters"):
            if hasattr(self, "parts_"):
                raise ValueError("this sampler was fitted or loaded whole; begin a new one with partial_fit")
            self._counters: dict[Any, tuple[GMMExpansion, int]] = {}
            self.n_features_in_, self.n_clusters_ = rows.shape[1], 1
        elif rows.shape[1] != self.n_features_in_:
            raise ValueError(f"rows have {rows.shape[1]} numbers; the earlier chunks had {self.n_features_in_}")
        elif (labels is None) != (None in self._counters):
            raise ValueError("some chunks have labels and some have none; give them all, or none")
        for label in [None] if labels is None else np.unique(labels).tolist():
            own = rows if labels is None else rows[labels == label]
            counter, before = self._counters.get(label, (self._expansion(), 0))
            self._counters[label] = counter.partial_fit(own), before + len(own)
        self.classes_ = np.array([None]) if labels is None else np.array(sorted(self._counters))
        counted = [self._counters[label] for label in self.classes_.tolist()]
        sizes = np.array([size for _, size in counted], float)
        self.shares_ = sizes / sizes.sum()
        self.parts_ = [(independent_part(counter.distributions_),) for counter, _ in counted]
        return self

    def sample(
        self, n: int = 1, *, class_label: Any = None, truncation: float | None = None, random_state: Any = None
    ) -> NDArray[np.float64]:
        """Draw ``(n, D)`` rows.

        ``class_label``: one label, or ``(n,)`` of them; None draws classes with their shares. ``truncation`` in (0, 1]
        keeps the central share of each expansion: less variety, fewer outliers; None, or 1, keeps all.
        Raises ValueError for an unknown label and a truncation outside (0, 1].
        """
        if truncation is not None and not 0 < truncation <= 1:
            raise ValueError(f"truncation is {truncation}; choose above 0, up to 1, or None")
        return self._drawn(
            n, class_label, random_state, lambda parts, count, rng: self._draw(parts, count, rng, truncation)
        )

    # -- on disk

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file, whole or not at all; labels must be numbers or strings."""
        check_is_fitted(self, "parts_")
        tensors = {
            "shares": self.shares_,
            "n_parts": np.array([len(own) for own in self.parts_]),
            **pack_parts([part for own in self.parts_ for part in own]),
        }
        labels = [None] if self.classes_[0] is None else self.classes_.tolist()
        about = {"classes": json.dumps(labels), "settings": json.dumps({**self.get_params(), "random_state": None})}
        write_tensors(path, tensors, _KIND, {**about, "n_clusters": str(self.n_clusters_)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ExpansionSampler:
        """Read what `save` wrote; `partial_fit` begins anew. Raises ValueError for another or a damaged file."""
        tensors, about = read_tensors(path, _KIND)
        try:
            sampler = cls(**json.loads(about["settings"]))
            sampler.classes_ = np.array(json.loads(about["classes"]))
            sampler.n_clusters_ = int(about["n_clusters"])
            sampler.shares_ = tensors["shares"]
            parts, last = unpack_parts(tensors), np.cumsum(tensors["n_parts"])
            sampler.parts_ = [tuple(parts[i - n : i]) for n, i in zip(tensors["n_parts"], last, strict=True)]
            sampler.n_features_in_ = tensors["part_means"].shape[1]
            sampler._check_loaded(len(parts))
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} holds no usable sampler: {error} is missing or unknown") from error
        except (ValueError, IndexError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
        return sampler

    def _check_loaded(self, n_parts: int) -> None:
        """Raises ValueError for arrays that do not fit together or are not finite."""
        sizes = [len(own) for own in self.parts_]
        if not len(self.classes_) == len(self.shares_) == len(sizes) or min(sizes) < 1 or sum(sizes) != n_parts:
            raise ValueError(f"{len(self.classes_)} classes, {len(self.shares_)} shares and {n_parts} parts do not fit")
        for part in (part for own in self.parts_ for part in own):
            fits = part.axes.shape == (self.n_features_in_, len(part.marginals)) and part.mean.ndim == 1
            if not fits or not (np.isfinite(part.mean).all() and np.isfinite(part.axes).all() and part.weight > 0):
                raise ValueError(f"a part has axes {part.axes.shape}, or numbers that are not finite")
        if not (np.isfinite(self.shares_).all() and self.shares_.min() > 0):
            raise ValueError("shares of the classes are not positive")

    # -- the work

    def _draw(
        self, part: tuple[Part, ...], count: int, rng: np.random.RandomState, truncation: float | None = None
    ) -> NDArray[np.float64]:
        drawn = np.empty((count, self.n_features_in_))
        terms = rng.choice(len(part), count, p=[term.weight for term in part])
        for k in np.unique(terms):
            places = np.flatnonzero(terms == k)
            drawn[places] = part[k].draw(len(places), truncation, rng)
        return drawn

    def _log_density(self, part: tuple[Part, ...], rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return log_density(part, rows)

    def _check_settings(self) -> None:
        if self.coupling not in COUPLINGS:
            raise ValueError(f"coupling is {self.coupling!r}; choose from {', '.join(COUPLINGS)}")
        if self.n_clusters != "auto" and self.n_clusters < 1:
            raise ValueError(f"n_clusters is {self.n_clusters}; give at least 1, or 'auto'")

    def _choose_clusters(self, by_class: list[NDArray[np.float64]]) -> int:
        if self.coupling != "cluster-pca":
            return 1
        if self.n_clusters != "auto":
            return self.n_clusters
        rng = check_random_state(self.random_state)
        split = [np.split(rng.permutation(own), [-max(1, round(_HELD_OUT * len(own)))]) for own in by_class]
        most = min(len(known) for known, _ in split)

        def held_out(n_clusters: int) -> float:
            logs = [log_density(self._fit_class(known, n_clusters), held) for known, held in split]
            return float(np.median(np.concatenate(logs)))

        return max((n for n in CLUSTERS_TRIED if n <= most), key=held_out)

    def _fit_class(self, rows: NDArray[np.float64], n_clusters: int) -> tuple[Part, ...]:
        if self.coupling == "independent":
            return (independent_part(self._expansion().fit(rows).distributions_),)
        cluster: Any = np.zeros(len(rows), np.intp)
        if n_clusters > 1:
            seed = check_random_state(self.random_state).randint(2**31 - 1)
            cluster = KMeans(n_clusters, n_init=1, random_state=seed).fit_predict(rows)  # pyright: ignore[reportArgumentType]
        return tuple(parts_of_clusters(rows, cluster, self._expansion()))

    def _expansion(self) -> GMMExpansion:
        return GMMExpansion(self.rule, n_components=self.n_components, bandwidth=self.bandwidth, bounds=None)
