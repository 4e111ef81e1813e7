"""What the density engine costs beside the tools that people use for the same, and whether it meets its targets.

Both sides of a line run in turns in one process, on one thread, in CPU time; figures are medians over rounds. Ratios
hold on a busy machine where milliseconds do not. Where a peer would take minutes it runs on fewer points and its time
is scaled, as the line says.

    python benchmarks/density.py --out results/density.json --docs docs     # 5 minutes, 2 GB of memory, 1 GB of disk
    python benchmarks/density.py --quick                                    # seconds, small sizes: figures mean little
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import boost_histogram
import numpy as np
import timing
import torch
from accuracy_targets import TARGETS, draw
from fast_histogram import histogram1d
from KDEpy import FFTKDE
from numpy.typing import NDArray
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits
from timing import Line, Scale, arguments, cpu_medians, cpu_once, measured, versions_of, write_report

from gaussmix.density._mixture import exact as sums
from gaussmix.density.axis import Axis
from gaussmix.density.basis import GaussianBasis
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.estimator import GMMExpansion
from gaussmix.density.files import BATCH_ROWS
from gaussmix.density.fit import fit_counts
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.density.rules import kernel_weights, ml_weights

PACKAGES = (
    "gaussmix",
    "numpy",
    "scipy",
    "numba",
    "scikit-learn",
    "torch",
    "KDEpy",
    "fast-histogram",
    "boost-histogram",
)


def bimodal(n: int) -> NDArray[np.float64]:
    """n numbers of a smooth law with two modes, in random order."""
    rng = np.random.default_rng(0)
    return np.where(rng.random(n) < 0.6, rng.normal(-1.5, 1.0, n), rng.normal(2.0, 0.5, n))


def counting(scale: Scale) -> Iterator[Line]:
    """16 bins a component of 200, over a range that holds all numbers; ours also finds NaN, outsiders and extremes."""
    x, n_bins = bimodal(scale.of(10_000_000)), 3200
    axis = Axis(-8, 16 / n_bins, n_bins)
    seconds = cpu_medians(
        {
            "x.min()": x.min,
            "ours": lambda: BinnedCounts(axis).add(x),
            "np.histogram": lambda: np.histogram(x, n_bins, (-8, 8)),
            "fast_histogram": lambda: histogram1d(x, n_bins, (-8, 8)),
            "boost_histogram": lambda: boost_histogram.Histogram(
                boost_histogram.axis.Regular(n_bins, -8, 8), storage=boost_histogram.storage.Int64()
            ).fill(x),
        },
        scale.rounds,
    )
    ours = seconds["ours"]
    section = f"counting {x.size:.0e} numbers in a known range"
    yield Line(section, "time, in passes of x.min()", ours / seconds["x.min()"], target=2.5)
    yield Line(section, "faster than np.histogram", seconds["np.histogram"] / ours, target=8, at_least=True)
    yield Line(section, "faster than fast_histogram", seconds["fast_histogram"] / ours, target=1.5, at_least=True)
    yield Line(section, "faster than boost_histogram", seconds["boost_histogram"] / ours)


def one_iteration(x: NDArray[np.float64], basis: GaussianBasis) -> NDArray[np.float64]:
    """The rule of one iteration as the paper states it: every point with every component."""
    total = np.zeros(basis.n_components)
    for start in range(0, x.size, 1000):
        z = (x[start : start + 1000, None] - basis.centers) / basis.stds
        total += np.exp(-0.5 * z**2).sum(axis=0)
    return total / total.sum()


def kernel_fit(scale: Scale) -> Iterator[Line]:
    """All of `fit`: looking for the range, counting, weights, the mixture. The literal rule runs once on all points."""
    x, silverman = bimodal(scale.of(1_000_000)), cast(Any, "silverman")
    for n, speedup in ((200, 1500), (1000, 5000)):
        model = GMMExpansion("kernel", n_components=n)
        basis = model.fit(x).bases_[0]
        assert basis is not None
        exact, literal = cpu_once(lambda basis=basis: one_iteration(x, basis))
        h, grid = np.sqrt(2) * float(basis.stds[0]), np.linspace(x.min() - 1, x.max() + 1, 1024)
        seconds = cpu_medians(
            {
                "fit": lambda model=model: model.fit(x),
                "counts and weights": lambda basis=basis: kernel_weights(BinnedCounts(basis.axis()).add(x), basis),
                "same bandwidth": lambda h=h, grid=grid: FFTKDE(bw=h).fit(x).evaluate(grid),
                "Silverman's rule": lambda grid=grid, rule=silverman: FFTKDE(bw=rule).fit(x).evaluate(grid),
            },
            scale.rounds,
        )
        fit, bare = seconds["fit"], seconds["counts and weights"]
        section = f"fit, rule='kernel', n = {n}, {x.size:.0e} points"
        yield Line(section, "time", 1e3 * fit, "ms")
        yield Line(section, "faster than the sum over points and components", literal / fit, "x", speedup, True)
        yield Line(section, "the same, counts and weights only, range known", literal / bare)
        yield Line(
            section, "L1 distance of its weights from theirs", float(abs(model.weights_ - exact).sum()), "", 1e-4
        )
        what = "faster than KDEpy's FFTKDE, 1024 points"
        yield Line(section, what, seconds["same bandwidth"] / fit, "x", 10, True, "same bandwidth")
        yield Line(section, what, seconds["Silverman's rule"] / fit, note="Silverman's rule")


def ml_fit(scale: Scale) -> Iterator[Line]:
    """Weights of maximum likelihood from counts."""
    x = bimodal(scale.of(1_000_000))
    basis = GaussianBasis.spanning(float(x.min()), float(x.max()) + 1e-9, 200, 1.0)
    counts = BinnedCounts(basis.axis()).add(x)
    gap = ml_weights(counts, basis).gap
    seconds = cpu_medians({"ml": lambda: ml_weights(counts, basis)}, scale.rounds)
    section = "maximum likelihood, n = 200, t = 1, from counts"
    yield Line(section, "time", 1e3 * seconds["ml"], "ms", 10)
    yield Line(section, "certified gap, nats a point", gap, "", 1e-8)


def torch_log_prob(mixture: GaussianMixture1D) -> torch.distributions.MixtureSameFamily:
    return torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.tensor(mixture.weights)),
        torch.distributions.Normal(torch.tensor(mixture.means), torch.tensor(mixture.stds)),
    )


def sklearn_mixture(mixture: GaussianMixture1D) -> GaussianMixture:
    peer = GaussianMixture(mixture.weights.size, covariance_type="spherical")
    peer.weights_, peer.means_ = np.array(mixture.weights), mixture.means[:, None].copy()
    peer.covariances_, peer.precisions_cholesky_ = mixture.stds**2, 1 / mixture.stds
    return peer


def log_densities(scale: Scale) -> Iterator[Line]:
    """Of a fitted mixture without atoms and guard, so that peers do the same work, at its own points."""
    x = bimodal(scale.of(1_000_000))
    few = x[: scale.of(10_000)]
    warm: dict[int, float] = {}
    for n in (200, 1000):
        basis = GaussianBasis.spanning(float(x.min()), float(x.max()) + 1e-9, n)
        weights = GMMExpansion("kernel", n_components=n).fit(x).weights_
        plain = GaussianMixture1D(weights[:n] / weights[:n].sum(), basis.centers, basis.stds)
        at_torch, at_sklearn = torch_log_prob(plain), sklearn_mixture(plain)
        points, rows = torch.tensor(few), few[:, None]
        with torch.no_grad():
            seconds = cpu_medians(
                {
                    "ours": lambda plain=plain: plain.logpdf(x),
                    "first": lambda plain=plain: GaussianMixture1D(plain.weights, plain.means, plain.stds).logpdf(x),
                    "torch": lambda peer=at_torch, points=points: peer.log_prob(points),
                    "scikit-learn": lambda peer=at_sklearn, rows=rows: peer.score_samples(rows),
                },
                scale.rounds,
            )
        warm[n] = seconds["ours"]
        times = x.size / few.size
        error = np.max(abs(plain.logpdf(x)[: few.size] - sums.log_densities(few, plain._pieces)))
        section, note = f"logpdf of {x.size:.0e} points, n = {n}", f"{few.size:.0e} points, scaled"
        yield Line(section, "time", 1e3 * seconds["ours"], "ms", 15)
        yield Line(section, "time of the first call, which makes the table", 1e3 * seconds["first"], "ms")
        yield Line(section, "largest error beside the direct sum", float(error), "", 1e-10)
        for peer in ("torch", "scikit-learn"):
            name = {"torch": "torch's MixtureSameFamily", "scikit-learn": "scikit-learn's score_samples"}[peer]
            yield Line(section, f"faster than {name}", seconds[peer] * times / seconds["ours"], "x", 100, True, note)
    yield Line(section, "dearer than n = 200", warm[1000] / warm[200], target=1.2)


def draws(scale: Scale) -> Iterator[Line]:
    """Independent numbers in random order."""
    n = scale.of(2_000_000)
    rng = np.random.default_rng(0)
    mixture = GMMExpansion("kernel").fit(bimodal(scale.of(1_000_000))).distribution_
    peer, few = torch_log_prob(mixture), scale.of(20_000)
    seconds = cpu_medians(
        {
            "rvs": lambda: mixture.rvs(n, rng),
            "normals": lambda: rng.standard_normal(n),
            "torch": lambda: peer.sample((few,)),
        },
        scale.rounds,
    )
    section = f"rvs of {n:.0e}, n = {mixture.weights.size}"
    yield Line(section, "time, in those of rng.standard_normal", seconds["rvs"] / seconds["normals"], target=1.5)
    times = n / few * seconds["torch"] / seconds["rvs"]
    yield Line(section, "faster than torch's MixtureSameFamily", times, note=f"{few:.0e} draws, scaled")


def automatic_fit(scale: Scale) -> Iterator[Line]:
    """From counts to the mixture, on every target of the accuracy benchmark."""
    n = scale.of(1_000_000)
    names = tuple(TARGETS) if scale.divisor == 1 else tuple(TARGETS)[:2]
    for rule in ("auto", "fast"):
        milliseconds = []
        for name in names:
            counts = GMMExpansion(rule).fit(draw(name, n, 0)).counts_[0]
            seconds = cpu_medians({"fit": lambda rule=rule, counts=counts: fit_counts(counts, rule)}, 1)
            milliseconds.append(1e3 * seconds["fit"])
        section = f"fit beyond the counting, rule='{rule}', {n:.0e} points, {len(names)} targets"
        yield Line(section, "mean", float(np.mean(milliseconds)), "ms", 60)
        slowest = int(np.argmax(milliseconds))
        yield Line(section, "slowest", milliseconds[slowest], "ms", note=names[slowest])


STREAM = """
import re, sys, time
from pathlib import Path
import numpy as np
from gaussmix.density.estimator import GMMExpansion
from gaussmix.density.files import open_column

def megabytes(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

def model():
    return GMMExpansion() if sys.argv[2] == "auto" else GMMExpansion(sys.argv[2], range=(-8, 8))

few = np.random.default_rng(0).normal(size=1000)
model().partial_fit(few).partial_fit(few).distribution_  # loads numba and what it has compiled
before = megabytes("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
started, fitted = time.process_time(), model()
with open_column(sys.argv[1]) as source:
    for chunk in source:
        fitted.partial_fit(chunk)
fitted.distribution_
print(time.process_time() - started, megabytes("VmHWM") - before, fitted.counts_[0].n)
"""


def stream(scale: Scale) -> Iterator[Line]:
    """partial_fit over the chunks of a .npy file, in a process of its own, which must run on Linux."""
    n, block = scale.of(100_000_000), bimodal(scale.of(10_000_000))
    axis = Axis(-8, 16 / 16384, 16384)
    chunks = [block[start : start + BATCH_ROWS] for start in range(0, block.size, BATCH_ROWS)]

    def in_memory() -> None:
        model = GMMExpansion()
        for chunk in chunks:
            model.partial_fit(chunk)

    seconds = cpu_medians({"count": lambda: BinnedCounts(axis).add(block), "partial_fit": in_memory}, scale.rounds)
    count, partial_fit = (seconds[name] * n / block.size for name in ("count", "partial_fit"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "numbers.npy"
        whole = np.lib.format.open_memmap(path, "w+", np.float64, (n,))
        for start in range(0, n, block.size):
            whole[start : start + block.size] = block[: n - start]
        whole.flush()
        del whole
        for rule in ("kernel", "auto"):
            results = []
            for _ in range(min(scale.rounds, 3)):
                command = [sys.executable, "-c", STREAM, str(path), rule]
                output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                seconds_used, megabytes, counted = (float(value) for value in output.split())
                assert counted == n
                results.append((seconds_used, megabytes))
            used, megabytes = (float(value) for value in np.median(results, axis=0))
            settings = "defaults" if rule == "auto" else f"rule='{rule}', range given"
            section, note = f"{n:.0e} rows of a .npy file, {settings}", f"{block.size:.0e} numbers, scaled"
            yield Line(section, "memory above imports", megabytes, "MB", 60)
            yield Line(
                section, "CPU time, in passes that count in memory, range known", used / count, "x", 4, note=note
            )
    yield Line(section, "CPU time, in those of partial_fit in memory", used / partial_fit, note=note)


SECTIONS = (counting, kernel_fit, ml_fit, log_densities, draws, automatic_fit, stream)


def page(lines: list[Line], versions: dict[str, str]) -> str:
    """docs/benchmarks-density.md."""
    return timing.page("Density: speed", (__doc__ or "").split("\n\n")[1], "density.py", lines, versions)


def main(
    out: Path = Path("results/density.json"),
    docs: Path | None = None,
    rounds: int = 7,
    sections: tuple[str, ...] = tuple(section.__name__ for section in SECTIONS),
    quick: bool = False,
) -> list[Line]:
    """Measures, prints the page, writes the JSON and, with `docs`, the page."""
    scale = Scale(1, 500) if quick else Scale(rounds)
    torch.set_num_threads(1)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="sklearn")  # log of a weight of 0
        lines = measured(SECTIONS, sections, scale)
    versions = versions_of(PACKAGES)
    write_report(out, lines, versions, quick)
    text = page(lines, versions)
    print("\n" + text)
    if docs is not None:
        (docs / "benchmarks-density.md").write_text(text)
    return lines


if __name__ == "__main__":
    main(**arguments(__doc__ or "", "density", SECTIONS, 7))
