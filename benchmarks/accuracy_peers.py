"""The peers of the accuracy benchmark: ways people estimate a one-dimensional density with no tuning.

    isj        KDEpy's FFTKDE, Gaussian kernel, bandwidth by improved Sheather-Jones, on 2^14 grid points
    silverman  the same with KDEpy's Silverman rule (its spread is the lesser of std and IQR / 1.349)
    histogram  numpy.histogram(bins="fd"), the Freedman-Diaconis width
    gmm        scikit-learn's GaussianMixture with 1 to 12 components, the number chosen by BIC
    gmm_binned the same algorithm on about 3 600 weighted cells, for samples on which `gmm` takes minutes
    scipy      the estimate of SciPy's gaussian_kde: Scott's rule of the standard deviation, by FFTKDE
    adaptive   Abramson's: bandwidths as 1 / sqrt(density) after a pilot by Silverman's rule, on at most 2 000 cells
    pspline    a penalised spline for the log-density: Poisson regression of a histogram of 200 bins by pyGAM, 40 cubic
               splines, the penalty chosen by its own criterion (UBRE) among 11. Needs `pip install --no-deps pygam`

Each `fit_*` takes a sample `(n,)` and returns a density function. One that cannot answer raises ValueError.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, cast

import numpy as np
from KDEpy import FFTKDE
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture

Density = Callable[[NDArray[np.float64]], NDArray[np.float64]]

BINNED = "gmm_binned"  # stands in for "gmm" on seeds where that was not run
GRID = 2**14
MAX_BINS = 20_000_000
MAX_COMPONENTS = 12
CELLS, SINGLES = 3000, 300
PILOT, ADAPTIVE_CELLS = 2**12, 2000
SPLINE_BINS, SPLINES = 200, 40
REG_COVAR, TOL, MAX_ITER = 1e-6, 1e-3, 100  # scikit-learn's defaults


def _fit_fftkde(x: NDArray[np.float64], bandwidth: Any) -> Density:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        grid, density = FFTKDE(kernel="gaussian", bw=bandwidth).fit(x).evaluate(GRID)
    density = np.maximum(density, 0)  # the Fourier transform leaves values just below 0
    density /= np.trapezoid(density, grid)
    return lambda points: np.interp(points, grid, density, left=0, right=0)


def fit_isj(x: NDArray[np.float64]) -> Density:
    return _fit_fftkde(x, "ISJ")


def fit_silverman(x: NDArray[np.float64]) -> Density:
    return _fit_fftkde(x, "silverman")


def fit_scipy(x: NDArray[np.float64]) -> Density:
    return _fit_fftkde(x, float(np.std(x, ddof=1)) * len(x) ** -0.2)


def fit_adaptive(x: NDArray[np.float64]) -> Density:
    pilot = FFTKDE(kernel="gaussian", bw=cast(Any, "silverman")).fit(x)
    parts = np.array_split(np.sort(x), min(len(x), ADAPTIVE_CELLS))
    centers, share = np.array([part.mean() for part in parts]), np.array([len(part) for part in parts]) / len(x)
    height = np.maximum(fit_silverman(x)(centers), 1e-300)
    bandwidth = float(pilot.bw) * np.sqrt(np.exp(share @ np.log(height)) / height)  # pyright: ignore[reportArgumentType]
    low, high = centers[0] - 4 * bandwidth[0], centers[-1] + 4 * bandwidth[-1]
    places = np.interp(np.linspace(0, 1, PILOT // 2), np.linspace(0, 1, len(centers)), centers)
    grid = np.unique(np.r_[np.linspace(low, high, PILOT // 2), places])
    z = (grid[:, None] - centers) / bandwidth
    density = np.exp(-0.5 * z * z) @ (share / bandwidth) / np.sqrt(2 * np.pi)
    return lambda points: np.interp(points, grid, density, left=0, right=0)


def fit_pspline(x: NDArray[np.float64]) -> Density:
    """Raises ValueError where no penalty leads to a fit that converges."""
    from pygam import PoissonGAM, s  # pyright: ignore[reportMissingImports]

    counts, edges = np.histogram(x, bins=SPLINE_BINS)
    centers, width = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    grid = np.linspace(edges[0], edges[-1], GRID)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            found = PoissonGAM(s(0, n_splines=SPLINES)).gridsearch(
                centers[:, None], counts, lam=np.logspace(-3, 3, 11), progress=False
            )
            inside = found.predict_mu(grid[:, None]) / (len(x) * width)
    except Exception as error:  # of many kinds, from inside
        raise ValueError("the penalised spline did not converge") from error
    total = np.trapezoid(inside, grid)  # 1 but for what the spline does between the bins' middles
    if not 0 < total < np.inf:
        raise ValueError("the penalised spline did not converge")
    inside = inside / total
    return lambda points: np.interp(points, grid, inside, left=0, right=0)


def fit_histogram(x: NDArray[np.float64]) -> Density:
    """Raises ValueError where the rule asks for more than `MAX_BINS` bins (gigabytes, on heavy tails)."""
    width = 2 * np.subtract(*np.percentile(x, [75, 25])) * len(x) ** (-1 / 3)
    if width > 0 and np.ptp(x) / width > MAX_BINS:
        raise ValueError(f"the Freedman-Diaconis rule asks for {np.ptp(x) / width:.3g} bins, more than {MAX_BINS}")
    heights, edges = np.histogram(x, bins="fd", density=True)
    padded = np.r_[0.0, heights, 0.0]
    return lambda points: padded[np.searchsorted(edges, points, side="right")]


def _normal_mixture(*parameters: NDArray[np.float64]) -> Density:
    """From weights, means and variances."""

    def density(points: NDArray[np.float64]) -> NDArray[np.float64]:
        total = np.zeros_like(points)
        for w, m, v in zip(*parameters, strict=True):
            total += w / np.sqrt(2 * np.pi * v) * np.exp(-0.5 * (points - m) ** 2 / v)
        return total

    return density


def fit_gmm(x: NDArray[np.float64]) -> Density:
    column = x[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no convergence within 100 iterations, fewer distinct values than clusters
        fits = [GaussianMixture(k, random_state=0).fit(column) for k in range(1, MAX_COMPONENTS + 1)]
    best = min(fits, key=lambda fit: fit.bic(column))
    return _normal_mixture(*(np.array(p).ravel() for p in (best.weights_, best.means_, best.covariances_)))


@dataclass(frozen=True)
class _Cells:
    """Data as weighted points with a spread: shares of the sample, means and variances, each `(m,)`."""

    share: NDArray[np.float64]
    means: NDArray[np.float64]
    variances: NDArray[np.float64]

    def squares(self, m: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean squared distance of each cell's points to each mean `m`: `(m, k)`."""
        return (self.means[:, None] - m) ** 2 + self.variances[:, None]

    def maximise(self, responsibility: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """M step: weights, means, variances."""
        w = self.share @ responsibility + 10 * np.finfo(float).eps
        m = (self.share * self.means) @ responsibility / w
        v = (self.share[:, None] * responsibility * self.squares(m)).sum(0) / w + REG_COVAR
        return w / w.sum(), m, v

    def expect(
        self, w: NDArray[np.float64], m: NDArray[np.float64], v: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64]]:
        """E step: mean log-likelihood and responsibilities."""
        log_joint = np.log(w) - 0.5 * np.log(2 * np.pi * v) - 0.5 * self.squares(m) / v
        top = log_joint.max(1, keepdims=True)
        responsibility = np.exp(log_joint - top)
        total = responsibility.sum(1, keepdims=True)
        return float(self.share @ (top + np.log(total)).ravel()), responsibility / total


def _cells(x: NDArray[np.float64]) -> _Cells:
    """Cells of equally many points; the outermost points are cells of their own, as are all where there are few."""
    x, n = np.sort(x), len(x)
    inner = np.linspace(SINGLES, n - SINGLES, CELLS).astype(int)
    starts = np.unique(np.r_[np.arange(SINGLES), inner, np.arange(n - SINGLES, n)])
    counts = np.diff(np.r_[starts, n])
    means = np.add.reduceat(x, starts) / counts
    return _Cells(counts / n, means, np.add.reduceat((x - np.repeat(means, counts)) ** 2, starts) / counts)


def fit_gmm_binned(x: NDArray[np.float64]) -> Density:
    cells = _cells(x)
    fits = []
    for k in range(1, MAX_COMPONENTS + 1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            clusters = KMeans(k, n_init=1, random_state=0)  # pyright: ignore[reportArgumentType]
            labels = clusters.fit_predict(cells.means[:, None], sample_weight=cells.share * len(x))
        parameters = cells.maximise(np.eye(k)[labels])
        before = -np.inf
        for _ in range(MAX_ITER):
            now, responsibility = cells.expect(*parameters)
            parameters = cells.maximise(responsibility)
            if abs(now - before) < TOL:
                break
            before = now
        bic = -2 * len(x) * cells.expect(*parameters)[0] + (3 * k - 1) * np.log(len(x))
        fits.append((bic, parameters))
    return _normal_mixture(*min(fits, key=lambda fit: fit[0])[1])


PEERS: dict[str, Callable[[NDArray[np.float64]], Density]] = {
    "isj": fit_isj,
    "silverman": fit_silverman,
    "histogram": fit_histogram,
    "gmm": fit_gmm,
    BINNED: fit_gmm_binned,
    "scipy": fit_scipy,
    "adaptive": fit_adaptive,
    "pspline": fit_pspline,
}

if find_spec("pygam") is None:
    del PEERS["pspline"]
