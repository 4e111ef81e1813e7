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
from gaussmix.latents._parts import Term, Terms, parts_from_tensors, parts_of_clusters, parts_to_tensors

Coupling = Literal["independent", "pca", "cluster-pca"]

COUPLINGS: tuple[Coupling, ...] = ("independent", "pca", "cluster-pca")
CLUSTERS_TRIED = (1, 2, 5, 10, 20, 40)  # numbers of clusters that ``n_clusters="auto"`` chooses from
_HELD_OUT = 0.25
_KIND = "expansion_sampler"
_SHARES_OFF = 1e-6  # how far the sum of shares may be from 1


class ExpansionSampler(ClassSampler):
    """A density of latent vectors, of each class if there are any, to draw from and to score with.

    Parameters
    ----------
    coupling : {"independent", "pca", "cluster-pca"}, default "cluster-pca"
        Of the dimensions; "independent" is the paper's. See `gaussmix.latents.expansion`.
    n_clusters : int or "auto", default 20
        Of each class, for "cluster-pca"; "auto" takes the number of 1, 2, 5, 10, 20 and 40 with the highest median
        log-density of held-out rows (a quarter; the median, as a single far row must not decide).
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
        write_tensors(path, tensors, _KIND, {**about, "n_clusters": str(self.n_clusters_)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ExpansionSampler:
        """Read what `save` wrote. Raises ValueError for another or a damaged file."""
        with reading(path, "is damaged"):
            tensors, about = read_tensors(path, _KIND)
            sampler = cls(**json.loads(about["settings"]))
            sampler.classes_ = np.array(json.loads(about["classes"]))
            sampler.n_clusters_ = int(about["n_clusters"])
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
        return 2

    def _fit_classes(self, by_class: list[FloatArray]) -> list[Terms]:
        self.n_clusters_ = self._choose_clusters(by_class)
        for label, own in zip(self.classes_, by_class, strict=True):
            if len(own) < self.n_clusters_:
                counts = f"{len(own)} rows for {self.n_clusters_} clusters"
                raise ValueError(f"{of_class(label)}{counts}; ask for fewer, or n_clusters='auto'")
        return [self._fit_class(own, self.n_clusters_) for own in by_class]

    def _choose_clusters(self, by_class: list[FloatArray]) -> int:
        if self.coupling != "cluster-pca":
            return 1
        if self.n_clusters != "auto":
            return self.n_clusters
        rng = check_random_state(self.random_state)
        split = [np.split(rng.permutation(own), [-max(1, round(_HELD_OUT * len(own)))]) for own in by_class]
        most = min(len(known) for known, _ in split)

        def held_out(n_clusters: int) -> float:
            logs = [self._fit_class(known, n_clusters).logpdf(held) for known, held in split]
            return float(np.median(np.concatenate(logs)))

        return max((n for n in CLUSTERS_TRIED if n <= most), key=held_out)

    def _fit_class(self, rows: FloatArray, n_clusters: int) -> Terms:
        if self.coupling == "independent":
            d = rows.shape[1]
            return Terms([Term(1.0, np.zeros(d), np.eye(d), self._expansion().fit(rows).distributions_)])
        cluster: Any = np.zeros(len(rows), np.intp)
        if n_clusters > 1:
            seed = check_random_state(self.random_state).randint(2**31 - 1)
            cluster = KMeans(n_clusters, n_init=1, random_state=seed).fit_predict(rows)  # pyright: ignore[reportArgumentType]
        return Terms(parts_of_clusters(rows, cluster, self._expansion()))

    def _expansion(self) -> GMMExpansion:
        return GMMExpansion(self.rule, bounds=None, **basis_options(self.rule, self.n_components, self.bandwidth))
