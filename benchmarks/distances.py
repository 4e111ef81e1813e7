"""What distances and NGMG cost beside the tools that people use for the same, and whether they meet their targets.

Both sides of a line run in turns in one process, on one thread, in CPU time; figures are medians over rounds. Ratios
hold on a busy machine where milliseconds do not. Where a peer would take minutes it runs on fewer pairs or points and
its time is scaled, as the line says. For weights on a basis SciPy and POT take the components as point masses, which is
an upper bound of the distance between the mixtures; ours is the distance itself, with a bound of its error. A compiled
loop over the pairs proves a zero of the difference for every sign change of the weights', 0.2 us each. The difference
of rough weights changes its sign where the mixtures' does not: these pairs are left to NumPy, at 30 us and more.

    python benchmarks/distances.py --out results/distances.json --docs docs    # 1 minute
    python benchmarks/distances.py --quick                                     # seconds: figures mean little
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import ot
import timing
from scipy.stats import wasserstein_distance as scipy_wasserstein
from threadpoolctl import threadpool_limits
from timing import Line, Scale, arguments, cpu_medians, measured, versions_of, write_report

from gaussmix._typing import FloatArray
from gaussmix.density.basis import GaussianBasis
from gaussmix.density.estimator import GMMExpansion
from gaussmix.distances import (
    gaussian_mmd2,
    jensen_shannon_divergence,
    kl_divergence,
    total_variation_distance,
    wasserstein_distance,
)
from gaussmix.ngmg import negative_gaussian_mixture_gradient

PACKAGES = ("gaussmix", "numpy", "scipy", "numba", "POT")
SMALL = 200
"""Components of the bases."""


def smooth_weights(n_rows: int, seed: int) -> FloatArray:
    """Weights (n_rows, SMALL) of three wide Gaussians each."""
    rng = np.random.default_rng(seed)
    total = np.zeros((n_rows, SMALL))
    for _ in range(3):
        mean, std = rng.uniform(40, 160, (n_rows, 1)), rng.uniform(8, 30, (n_rows, 1))
        total += rng.random((n_rows, 1)) / std * np.exp(-0.5 * ((np.arange(SMALL) - mean) / std) ** 2)
    return total / total.sum(1, keepdims=True)


def fitted_weights(n_rows: int, seed: int) -> FloatArray:
    """Weights (n_rows, SMALL) of the one-iteration rule, each on 1000 points of a law of three wide Gaussians."""
    rng = np.random.default_rng(seed)
    points = rng.multinomial(1000, smooth_weights(n_rows, seed)).astype(float)
    kernel = np.exp(-0.5 * (np.arange(-16, 17) / 2) ** 2)
    total = np.array([np.convolve(row, kernel, "same") for row in points])
    return total / total.sum(1, keepdims=True)


def rough_weights(n_rows: int, seed: int) -> FloatArray:
    return np.random.default_rng(seed).dirichlet(np.ones(SMALL), n_rows)


def pairs(scale: Scale) -> Iterator[Line]:
    """Many pairs on one basis of 200 components two spacings wide."""
    n_pairs, basis = scale.of(10_000), GaussianBasis(0.0, 1.0, SMALL)
    few = min(100, n_pairs)
    kinds: dict[str, Callable[[int, int], FloatArray]] = {
        "smooth": smooth_weights,
        "fitted to 1000 points": fitted_weights,
        "rough, Dirichlet(1)": rough_weights,
    }
    for kind, draw in kinds.items():
        a, b = draw(n_pairs, 1), draw(n_pairs, 2)
        seconds = cpu_medians(
            {
                "reading": lambda a=a, b=b: (a.sum(), b.sum()),
                "w1": lambda a=a, b=b: wasserstein_distance(a, b, basis=basis),
                "tv": lambda a=a, b=b: total_variation_distance(a, b, basis=basis),
                "atoms": lambda a=a, b=b: np.abs(np.cumsum(a - b, axis=1)).sum(axis=1),
                "SciPy": lambda a=a, b=b: [
                    scipy_wasserstein(basis.centers, basis.centers, a[i], b[i]) for i in range(few)
                ],
                "POT": lambda a=a, b=b: [
                    ot.emd2_1d(basis.centers, basis.centers, a[i], b[i], metric="minkowski", p=1) for i in range(few)
                ],
            },
            scale.rounds,
        )
        values, errors = wasserstein_distance(a, b, basis=basis, return_error=True)
        section, note, times = f"{n_pairs} pairs of weights, {kind}", f"{few} pairs, scaled", n_pairs / few
        ours = seconds["w1"]
        yield Line(section, "W1, time", 1e3 * ours, "ms")
        yield Line(section, "W1, in the time of a.sum(), b.sum()", ours / seconds["reading"])
        aimed, faster = 40 if kind == "smooth" else None, times * seconds["SciPy"] / ours
        yield Line(section, "W1, faster than a loop over SciPy", faster, "x", aimed, True, note)
        yield Line(section, "W1, faster than a loop over POT", times * seconds["POT"] / ours, note=note)
        yield Line(section, "W1, faster than NumPy's sum over point masses", seconds["atoms"] / ours)
        yield Line(section, "W1, largest bound of its error, of the value", float((errors / values).max()), "", 1e-10)
        yield Line(section, "total variation, in the time of a.sum(), b.sum()", seconds["tv"] / seconds["reading"])


def samples(scale: Scale) -> Iterator[Line]:
    """W1 of two large samples. SciPy's own rounding shows where an outlier carries the distance."""
    n, rng = scale.of(1_000_000), np.random.default_rng(0)
    normal = rng.normal(size=n)
    cases = {
        "N(0, 1) and N(0.1, 1.1^2)": (normal, rng.normal(0.1, 1.1, n)),
        "N(0, 1) twice": (normal, rng.normal(size=n)),
        "Cauchy twice": (rng.standard_cauchy(n), rng.standard_cauchy(n)),
        "an outlier at 1e9": (np.append(normal[1:], 1e9), rng.normal(size=n)),
        "Poisson(5) twice": (rng.poisson(5, n).astype(float), rng.poisson(5, n).astype(float)),
        "1e-9 apart": (normal, normal + 1e-9 * rng.normal(size=n)),
    }
    for law, (x, y) in cases.items():
        seconds = cpu_medians(
            {
                "ours": lambda x=x, y=y: wasserstein_distance(x, y),
                "sorting": lambda x=x, y=y: (np.sort(x), np.sort(y)),
                "SciPy": lambda x=x, y=y: scipy_wasserstein(x, y),
                "POT": lambda x=x, y=y: ot.wasserstein_1d(x, y, p=1),
            },
            min(scale.rounds, 3),
        )
        ours, reference = wasserstein_distance(x, y), scipy_wasserstein(x, y)
        section = f"W1 of {n:.0e} and {n:.0e} numbers, {law}"
        aimed = 12 if law.startswith("N(0, 1)") else None
        yield Line(section, "time", 1e3 * seconds["ours"], "ms")
        yield Line(section, "faster than SciPy", seconds["SciPy"] / seconds["ours"], "x", aimed, True)
        yield Line(section, "faster than POT's wasserstein_1d", seconds["POT"] / seconds["ours"])
        yield Line(section, "faster than sorting both", seconds["sorting"] / seconds["ours"])
        yield Line(section, "relative difference from SciPy", float(abs(ours - reference) / reference), "", 1e-4)


def ngmg(scale: Scale) -> Iterator[Line]:
    """The negative Gaussian mixture gradient, validation of the weights included."""
    sizes = [scale.of(n) for n in (1_000_000, 10_000_000, 100_000_000)]
    sizes = [n // 1000 for n in sizes]
    rng, cases = np.random.default_rng(0), {}
    for n in sizes:
        a, b, basis = rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(n)), GaussianBasis(0.0, 1.0, n)
        cases[str(n)] = lambda a=a, b=b, basis=basis: negative_gaussian_mixture_gradient(a, b, basis, sigma=20.0)
    seconds = cpu_medians(cases, scale.rounds)
    section = "NGMG, sigma of 20 spacings"
    for n in sizes:
        yield Line(section, f"n = {n}, time", 1e3 * seconds[str(n)], "ms")
    last = sizes[-1]
    for first in sizes[:-1]:
        growth = seconds[str(last)] / seconds[str(first)] * (first * np.log(first)) / (last * np.log(last))
        yield Line(section, f"growth from n = {first} to {last}, over that of n log n", float(growth), "", 1.5)


def mixtures(scale: Scale) -> Iterator[Line]:
    """Two mixtures of their own components each, fitted to samples."""
    n, rng = scale.of(100_000), np.random.default_rng(0)
    x, y = rng.normal(0, 1, n), np.where(rng.random(n) < 0.5, rng.normal(-1, 0.6, n), rng.normal(1.2, 0.7, n))
    for rule in ("kernel", "auto"):
        a, b = (GMMExpansion(rule).fit(values).distribution_ for values in (x, y))
        seconds = cpu_medians(
            {
                "W1": lambda a=a, b=b: wasserstein_distance(a, b),
                "W2": lambda a=a, b=b: wasserstein_distance(a, b, p=2),
                "total variation": lambda a=a, b=b: total_variation_distance(a, b),
                "KL": lambda a=a, b=b: kl_divergence(a, b),
                "Jensen-Shannon": lambda a=a, b=b: jensen_shannon_divergence(a, b),
                f"W1 between a mixture and {n:.0e} numbers": lambda a=a: wasserstein_distance(a, y),
            },
            scale.rounds,
        )
        section = f"two mixtures of {a.weights.size} and {b.weights.size} components, rule='{rule}'"
        for what, used in seconds.items():
            yield Line(section, what, 1e3 * used, "ms")


def mmd(scale: Scale) -> Iterator[Line]:
    """Squared MMD with a Gaussian kernel; the literal one looks at all pairs of points."""
    n, rng = scale.of(100_000), np.random.default_rng(0)
    x, y = rng.normal(size=n), rng.normal(0.1, 1.1, n)
    few = min(2000, n)

    def literal() -> float:
        def mean(u: FloatArray, v: FloatArray) -> float:
            return float(np.exp(-0.5 * ((u[:, None] - v) / 0.5) ** 2).mean())

        return mean(x[:few], x[:few]) - 2 * mean(x[:few], y[:few]) + mean(y[:few], y[:few])

    seconds = cpu_medians({"ours": lambda: gaussian_mmd2(x, y, 0.5), "literal": literal}, scale.rounds)
    section = f"MMD^2 of {n:.0e} and {n:.0e} numbers"
    yield Line(section, "time", 1e3 * seconds["ours"], "ms")
    faster = (n / few) ** 2 * seconds["literal"] / seconds["ours"]
    yield Line(section, "faster than all pairs of points", faster, note=f"{few} numbers, scaled")
    exact = literal()
    error = float(abs(gaussian_mmd2(x[:few], y[:few], 0.5) - exact) / exact)
    yield Line(section, f"relative difference from it, {few} numbers", error, "", 1e-9)


SECTIONS = (pairs, samples, ngmg, mixtures, mmd)


def page(lines: list[Line], versions: dict[str, str]) -> str:
    """docs/benchmarks-distances.md."""
    return timing.page("Distances: speed", (__doc__ or "").split("\n\n")[1], "distances.py", lines, versions)


def main(
    out: Path = Path("results/distances.json"),
    docs: Path | None = None,
    rounds: int = 9,
    sections: tuple[str, ...] = tuple(section.__name__ for section in SECTIONS),
    quick: bool = False,
) -> list[Line]:
    """Measures, prints the page, writes the JSON and, with `docs`, the page."""
    scale = Scale(1, 100) if quick else Scale(rounds)
    with threadpool_limits(1):
        lines = measured(SECTIONS, sections, scale)
    versions = versions_of(PACKAGES)
    write_report(out, lines, versions, quick)
    text = page(lines, versions)
    print("\n" + text)
    if docs is not None:
        (docs / "benchmarks-distances.md").write_text(text)
    return lines


if __name__ == "__main__":
    main(**arguments(__doc__ or "", "distances", SECTIONS, 9))
