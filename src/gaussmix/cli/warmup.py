"""``gaussmix warmup``: every loop over data compiled ahead, by small calls of all that has one."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gaussmix.density.mixture import GaussianMixture1D

_FEW, _MANY = 5, 20_000  # points that are evaluated one by one, and through a table
_ENOUGH = 70_000  # points that are counted in a smaller table


@dataclass(frozen=True)
class CompileLoops:
    """Compile the loops over data ahead: when an image or an environment is built, or before many processes start.

    What is compiled is kept beside the installed package if that can be written to, and in the user's cache otherwise;
    $NUMBA_CACHE_DIR names another folder.
    """

    def __call__(self) -> None:
        from gaussmix._compiled import compiled

        started = time.perf_counter()
        before = len(compiled)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _measure_distances(_learn_and_evaluate())
            _predict()
        number, seconds = len(compiled) - before, time.perf_counter() - started
        functions = "1 function" if number == 1 else f"{number} functions"
        print(f"{functions} compiled in {seconds:.1f} s" if number else "all functions are compiled already")


def _learn_and_evaluate() -> list[GaussianMixture1D]:
    """Every way to count, every rule, and every method of what comes out."""
    import numpy as np

    from gaussmix.density.model import DensityModel
    from gaussmix.density.report import RULES

    rng = np.random.default_rng(0)
    plain = rng.normal(size=3000)
    far = rng.standard_cauchy(3000)
    with_zeros = np.where(plain < -1, 0.0, plain)
    frequencies: list[Any] = [None, np.ones(3000, int), rng.random(3000)]
    for x, dtype, weights in product((plain, far, with_zeros), (np.float64, np.float32), frequencies):
        column = x.astype(dtype)
        DensityModel("fast").fit(column, sample_weight=weights)
        DensityModel("fast", nan_policy="omit").partial_fit(column[:99]).partial_fit(column, sample_weight=weights)
        DensityModel("kernel", exact=True).fit(column, sample_weight=weights)
    rules: Any = RULES
    models = [DensityModel(rule, bandwidth=6.0).fit(plain) for rule in rules]
    models += [DensityModel("kernel", bandwidth="cv").fit(plain), DensityModel().fit(with_zeros)]
    models += [DensityModel("fast").fit(rng.normal(size=_ENOUGH).astype(dtype)) for dtype in (np.float64, np.float32)]
    models += [DensityModel(bounds=(0, high)).fit(rng.random(3000)) for high in (None, 1.0)]
    laws = [model.distribution_ for model in models]
    for law, n in product(laws, (_FEW, _MANY)):
        points, q = np.linspace(-3, 3, n), np.linspace(0, 1, n)
        for method, values in (("pdf", points), ("logpdf", points), ("cdf", points), ("sf", points), ("ppf", q)):
            getattr(law, method)(values)
        law.rvs(n, random_state=0)
        law.entropy()
    for model in models:
        str(model.report_)
    return laws


def _measure_distances(laws: list[GaussianMixture1D]) -> None:
    """Every distance, of numbers, of mixtures and of rows of weights."""
    import numpy as np

    from gaussmix import distances
    from gaussmix.density.basis import GaussianBasis

    rng = np.random.default_rng(0)
    x, y, weights = rng.normal(size=5000), rng.normal(size=4000), rng.random(5000)
    measures = (distances.wasserstein_distance, distances.total_variation_distance, distances.kl_divergence,
                distances.jensen_shannon_divergence)  # fmt: skip
    for a, b in pairwise(laws):
        distances.compare(a, b)
    for first, own in product((x, x.astype(np.float32)), (None, weights)):
        for b in (y, laws[0]):
            for p in (1, 2, 3):
                distances.wasserstein_distance(first, b, p, a_weights=own)
            distances.gaussian_mmd2(first, b, 1.0, a_weights=own)
    for basis in (GaussianBasis(-3, 0.25, 25), GaussianBasis(-3, 0.25, 25, scale=1.0),
                  GaussianBasis(0.1, 0.25, 25, bounds=(0, None))):  # fmt: skip
        for concentration in (0.1, 5.0):
            a, b = rng.dirichlet(np.full(25, concentration), (2, 20))
            for measure in measures:
                measure(a, b, basis=basis)
            distances.gaussian_mmd2(a, b, 1.0, basis=basis)


def _predict() -> None:
    """Conditional distributions that are densities, on a lattice, and with point masses."""
    import numpy as np

    from gaussmix.conditional.estimator import ConditionalGMMExpansion

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(120, 2)), rng.normal(size=120)
    for target in (y, np.rint(3 * y), np.where(y < -0.5, 0.0, y)):
        law = ConditionalGMMExpansion("fast", random_state=0).fit(X, target).predict_distribution(X)
        _ = law.ppf([0.1, 0.9]), law.ppf(0.5), law.cdf(0.0), law.crps(y), law.pit(y), law.rvs(2, random_state=0)
