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
from typing import Any, Literal

import numpy as np
from sklearn.cluster import KMeans
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from gaussmix._files import read_tensors, write_tensors
from gaussmix._guard import reading
from gaussmix._typing import FloatArray
from gaussmix.density.estimator import GMMExpansion
from gaussmix.density.report import Rule, basis_options
from gaussmix.latents._base import ClassSampler, of_class
from gaussmix.latents._parts import Clusters, Term, Terms, parts_from_tensors, parts_of_clusters, parts_to_tensors

Coupling = Literal["independent", "pca", "cluster-pca"]

COUPLINGS: tuple[Coupling, ...] = ("independent", "pca", "cluster-pca")
CLUSTERS_TRIED = (1, 2, 5, 10, 20, 40)  # numbers of clusters that ``n_clusters="auto"`` chooses from
SHRINKAGES_TRIED = (0.25, 1.0, 4.0, 16.0)  # likewise, rows a dimension
_FOLDS, _FAR = 4, 0.02  # share of the held-out rows, those of the lowest density, that must not decide
_MANY = 1000  # rows of the smallest class from which one fold is held out, not each in turn
_KIND = "expansion_sampler"
_SHARES_OFF = 1e-6  # how far the sum of shares may be from 1


class ExpansionSampler(ClassSampler):
    """A density of latent vectors, of each class if there are any, to draw from and to score with.

    Parameters
    ----------
    coupling : {"independent", "pca", "cluster-pca"}, default "cluster-pca"
        Of the dimensions; "independent" is the paper's. See `gaussmix.latents.expansion`.
    n_clusters : int or "auto", default "auto"
        Of each class, for "cluster-pca"; "auto" chooses of 1, 2, 5, 10, 20 and 40 by the mean log-density of held-out
        rows (but the lowest 2 %), of Gaussians in place of the expansions. Each quarter is held out in turn, of 1 000
        rows and more in the smallest class one of them. Of all that are within D (D + 3) / 4N of the highest, N the
        rows of the smallest class, it is the most clusters, then the least shrunk.
    shrinkage : float or "auto", default "auto"
        Rows' worth of the covariance within all clusters of a class that is added to that of each cluster, above 0;
        infinite: all are alike. "auto" chooses together with the clusters from 1/4, 1, 4 and 16 rows a dimension.
    rule : str, default "histogram"
        Of the expansions, as in `gaussmix.GMMExpansion`.
    n_components : int, default 100
        Likewise.
    bandwidth : float, default 2.0
        Likewise.
    random_state : int, RandomState or None
        Of k-means and of the rows held out.

    Attributes
    ----------
    classes_ : ndarray
        Sorted labels, or ``[None]`` for rows without.
    shares_ : ndarray of float64
        Shares ``(len(classes_),)`` of the rows.
    parts_ : list
        By class, a tuple of the terms of its density.
    n_clusters_ : int
        Clusters of each class; 1 unless "cluster-pca".
    shrinkage_ : float
        What was chosen; infinite unless "cluster-pca".
    n_features_in_ : int
        D.

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
    shrinkage: float | Literal["auto"]
    rule: Rule
    n_clusters_: int
    shrinkage_: float

    def __init__(
        self,
        coupling: Coupling = "cluster-pca",
        *,
        n_clusters: int | Literal["auto"] = "auto",
        shrinkage: float | Literal["auto"] = "auto",
        rule: Rule = "histogram",
        n_components: int = 100,
        bandwidth: float = 2.0,
        random_state: Any = None,
    ):
        self.coupling = coupling
        self.n_clusters = n_clusters
        self.shrinkage = shrinkage
        self.rule = rule
        self.n_components = n_components
        self.bandwidth = bandwidth
        self.random_state = random_state

    def sample(
        self, n_samples: int = 1, *, class_label: Any = None, truncation: float | None = None, random_state: Any = None
    ) -> FloatArray:
        """Draw rows ``(n_samples, D)``.

        Parameters
        ----------
        n_samples : int, default 1
            How many.
        class_label : label or array_like, optional
            One label, or ``(n_samples,)`` of them; classes are drawn with their shares if not given.
        truncation : float, optional
            In (0, 1]: keep the central share of each expansion: less variety, fewer outliers. All if not given.
        random_state : int, RandomState or None
            As in scikit-learn.
        """
        if truncation is not None and not 0 < truncation <= 1:
            raise ValueError(f"truncation is {truncation}; choose above 0, up to 1, or None")
        return self._drawn(n_samples, class_label, random_state, truncation)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file, whole or not at all; labels must be numbers or strings."""
        check_is_fitted(self, "parts_")
        tensors = {
            "shares": self.shares_,
            "n_parts": np.array([len(own) for own in self.parts_]),
            **parts_to_tensors([part for own in self.parts_ for part in own]),
        }
        labels = [None] if self.classes_[0] is None else self.classes_.tolist()
        about = {"classes": json.dumps(labels), "settings": json.dumps({**self.get_params(), "random_state": None})}
        chosen = {"n_clusters": str(self.n_clusters_), "shrinkage": str(self.shrinkage_)}
        write_tensors(path, tensors, _KIND, about | chosen)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ExpansionSampler:
        """Read what `save` wrote. Raises ValueError for another or a damaged file."""
        with reading(path, "is damaged"):
            tensors, about = read_tensors(path, _KIND)
            sampler = cls(**json.loads(about["settings"]))
            sampler.classes_ = np.array(json.loads(about["classes"]))
            sampler.n_clusters_ = int(about["n_clusters"])
            sampler.shrinkage_ = float(about.get("shrinkage", "inf"))
            sampler.shares_ = tensors["shares"]
            parts, last = parts_from_tensors(tensors), np.cumsum(tensors["n_parts"])
            sampler.parts_ = [Terms(parts[i - n : i]) for n, i in zip(tensors["n_parts"], last, strict=True)]
            sampler.n_features_in_ = tensors["part_means"].shape[1]
            sampler._check_loaded(len(parts))
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
        if self.classes_.ndim != 1 or len(set(self.classes_.tolist())) != len(self.classes_):
            raise ValueError("the classes are no list of different labels")
        if not (self.shares_.ndim == 1 and self.shares_.min() > 0 and abs(self.shares_.sum() - 1) <= _SHARES_OFF):
            raise ValueError("shares of the classes are not positive numbers with sum 1")

    def _check_settings(self) -> int:
        if self.coupling not in COUPLINGS:
            raise ValueError(f"coupling is {self.coupling!r}; choose from {', '.join(COUPLINGS)}")
        if self.n_clusters != "auto" and self.n_clusters < 1:
            raise ValueError(f"n_clusters is {self.n_clusters}; give at least 1, or 'auto'")
        if self.shrinkage != "auto" and not self.shrinkage > 0:
            raise ValueError(f"shrinkage is {self.shrinkage}; give a number above 0, also inf, or 'auto'")
        return 2

    def _fit_classes(self, by_class: list[FloatArray]) -> list[Terms]:
        self.n_clusters_, self.shrinkage_ = self._choose(by_class)
        for label, own in zip(self.classes_, by_class, strict=True):
            if len(own) < self.n_clusters_:
                counts = f"{len(own)} rows for {self.n_clusters_} clusters"
                raise ValueError(f"{of_class(label)}{counts}; ask for fewer, or n_clusters='auto'")
        return [self._fit_class(own) for own in by_class]

    def _choose(self, by_class: list[FloatArray]) -> tuple[int, float]:
        """Number of clusters and shrinkage, by the mean log-density of rows held out.

        It hardly falls where draws are spread beyond the rows, and what is decoded from there is no picture. So of what
        is worse by less than one more mean and covariance cost a held-out row, d (d + 3) / 2 numbers from n rows, the
        most clusters and least shrinkage are taken: little where rows are many.
        """
        if self.coupling != "cluster-pca":
            return 1, np.inf
        d = by_class[0].shape[1]
        shrinkages = [s * d for s in SHRINKAGES_TRIED] if self.shrinkage == "auto" else [self.shrinkage]
        if self.n_clusters == 1 or (self.n_clusters != "auto" and len(shrinkages) == 1):
            return int(self.n_clusters), shrinkages[-1]
        rng, smallest = check_random_state(self.random_state), min(map(len, by_class))
        folds = [np.array_split(rng.permutation(own), min(_FOLDS, len(own))) for own in by_class]
        turns = 1 if smallest >= _MANY else min(map(len, folds))
        most = min(len(own) - len(parts[0]) for own, parts in zip(by_class, folds, strict=True))
        tried = [n for n in CLUSTERS_TRIED if n <= most] if self.n_clusters == "auto" else [min(self.n_clusters, most)]
        held: list[list[FloatArray]] = [[] for _ in tried]
        for turn in range(turns):
            for parts in folds:
                known = np.concatenate(parts[:turn] + parts[turn + 1 :])
                for logs, n_clusters in zip(held, tried, strict=True):
                    clusters = Clusters(known, self._clustered(known, n_clusters))
                    logs.append(np.stack([clusters.logpdf(parts[turn], s) for s in shrinkages]))
        scores = np.sort([np.concatenate(logs, axis=1) for logs in held], axis=2)
        mean = scores[:, :, int(_FAR * scores.shape[2]) :].mean(2)
        near = mean >= mean.max() - d * (d + 3) / (4 * smallest)
        k = int(np.flatnonzero(near.any(1))[-1])
        return tried[k] if self.n_clusters == "auto" else self.n_clusters, shrinkages[int(near[k].argmax())]

    def _fit_class(self, rows: FloatArray) -> Terms:
        if self.coupling == "independent":
            d = rows.shape[1]
            return Terms([Term(1.0, np.zeros(d), np.eye(d), self._expansion().fit(rows).distributions_)])
        cluster = self._clustered(rows, self.n_clusters_)
        return Terms(parts_of_clusters(rows, cluster, self._expansion(), self.shrinkage_))

    def _clustered(self, rows: FloatArray, n_clusters: int) -> Any:
        if n_clusters == 1:
            return np.zeros(len(rows), np.intp)
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        return KMeans(n_clusters, n_init=1, random_state=seed).fit_predict(rows)  # pyright: ignore[reportArgumentType]

    def _expansion(self) -> GMMExpansion:
        return GMMExpansion(self.rule, bounds=None, **basis_options(self.rule, self.n_components, self.bandwidth))
