"""D Eq. 15: the Wasserstein distance by way of NGMG and the inverse of its kernel; and what that inverse is like.

    | ||F M^-1 NGMG(L+)||_1 - ||F M^-1 NGMG(L-)||_1 |,   NGMG(L) = -M L,   F = diag(int_M F_i dx)

M, of D Eq. 14, is the Gaussian kernel K between the centres with zeros on its diagonal. M^-1 takes back what NGMG did,
so that Eq. 15 is Eq. 6 (diffusion-eq6), as far as M can be inverted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import spearmanr

from gaussmix._typing import FloatArray
from gaussmix.density.basis import GaussianBasis
from gaussmix.distances.mmd import kernel_matrix
from gaussmix.distances.wasserstein import mean_difference_bound, wasserstein_distance
from gaussmix.ngmg.gradient import inverted_ngmg_distance
from reproduction.diffusion.pairs import RANGE, draw_weights
from reproduction.page import Measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIGMAS = (0.5, 1.0, 2.0, 3.0, 5.0)  # in spacings
PAPER = {"claim": "W1 = | ||F M^-1 NGMG(L+)||_1 - ||F M^-1 NGMG(L-)||_1 |  (Eq. 15)"}


@dataclass(frozen=True)
class Config:
    """Settings of Eq. 15."""

    seed: int = 0
    sizes: tuple[int, ...] = (10, 20, 50, 100, 200, 500)
    """Numbers of components, on (0, 100)."""
    pairs: int = 50
    """Random pairs for each size and sigma."""

    @property
    def n_steps(self) -> int:
        return len(self.sizes) * len(SIGMAS)

    def quick(self) -> Config:
        return replace(self, pairs=5)


def single_precision(a: FloatArray, b: FloatArray, basis: GaussianBasis) -> FloatArray:
    """Return Eq. 15, ``(B,)``, from an NGMG in single precision; its support ends 10 sigma beyond the centres."""
    sigma = basis.bandwidth * basis.spacing
    M = kernel_matrix(basis, sigma, diagonal=False)
    A = basis.centers[-1] + 10 * sigma - basis.centers
    norms = []
    for part in (np.maximum(a - b, 0), np.minimum(a - b, 0)):
        ngmg = (-part @ M).astype(np.float32).astype(np.float64)
        norms.append(np.abs(np.linalg.solve(M, ngmg.T).T * A).sum(1))
    return np.abs(norms[0] - norms[1])


def spectrum(basis: GaussianBasis, *, diagonal: bool) -> tuple[float, int, int]:
    """Return the kernel's condition number and how many eigenvalues are above and below 0 by more than rounding."""
    values = np.linalg.eigvalsh(kernel_matrix(basis, basis.bandwidth * basis.spacing, diagonal=diagonal))
    size = np.abs(values)
    certain = basis.n_components * np.finfo(float).eps * size.max()
    return float(size.max() / size.min()), int((values > certain).sum()), int((values < -certain).sum())


def measure_basis(n: int, t: float, config: Config) -> dict[str, float]:
    """Return the kernel's spectrum and Eq. 15 on random pairs, for n components with sigma = t spacings."""
    basis = GaussianBasis.spanning(*RANGE, n, t)
    rng = np.random.default_rng([config.seed, n])
    a, b = np.array([[draw_weights(basis, rng) for _ in range(2)] for _ in range(config.pairs)]).swapaxes(0, 1)
    found = inverted_ngmg_distance(a, b, basis)
    eq6 = np.asarray(mean_difference_bound(a, b, basis=basis))
    w1 = np.asarray(wasserstein_distance(a, b, basis=basis))
    _, positive, negative = spectrum(basis, diagonal=False)
    return {
        "condition": found.condition_number,
        "positive": float(positive),
        "negative": float(negative),
        "condition_with_diagonal": spectrum(basis, diagonal=True)[0],
        "error_to_eq6": float(np.median(np.abs(found.distance - eq6) / eq6)),
        "error_single_precision": float(np.median(np.abs(single_precision(a, b, basis) - eq6) / eq6)),
        "median_of_w1": float(np.median(found.distance / w1)),
        "least_of_w1": float((found.distance / w1).min()),
    }


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Return a row of numbers for each basis, and what they come to together."""
    rows: dict[str, dict[str, float]] = {}
    for n in config.sizes:
        for t in SIGMAS:
            rows[f"n = {n}, sigma = {t:g} r"] = measure_basis(n, t, config)
            on_step(len(rows))
    return Measured(rows | {"all": over_all(rows)}, PAPER, {"rows": rows, "sizes": config.sizes})


def over_all(rows: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Return extremes, rank correlations and growth over all bases, the sizes in turn and for each `SIGMAS`."""
    columns = {name: np.array([row[name] for row in rows.values()]) for name in next(iter(rows.values()))}
    condition, single = columns["condition"], columns["error_single_precision"]
    by_size = condition.reshape(-1, len(SIGMAS))
    lost = columns["condition_with_diagonal"] > 1 / np.finfo(float).eps
    negative = columns["negative"] / (columns["positive"] + columns["negative"])
    return {
        "largest_error_to_eq6": columns["error_to_eq6"].max(),
        "largest_error_single_precision": single.max(),
        "least_of_w1": columns["least_of_w1"].min(),
        "share_negative": [negative.min(), negative.max()],
        "condition": [condition.min(), condition.max()],
        "growth_of_condition": by_size[-1] / by_size[0],
        "rank_correlation": spearmanr(condition, columns["error_to_eq6"])[0],
        "rank_correlation_single_precision": spearmanr(condition, single)[0],
        "power_single_precision": np.polyfit(np.log(condition), np.log(single), 1)[0],
        "bases": len(rows),
        "lost_with_diagonal": int(lost.sum()),
    }


def draw(measured: Measured) -> dict[str, Figure]:
    """Return the condition numbers by sigma, and the error of Eq. 15 by condition number."""
    from matplotlib.figure import Figure

    ours, sizes = measured.seen["rows"], measured.seen["sizes"]
    figure = Figure(figsize=(10.5, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    shades = np.linspace(0.35, 1, len(sizes))
    for n, shade in zip(sizes, shades, strict=True):
        rows = [ours[f"n = {n}, sigma = {t:g} r"] for t in SIGMAS]
        left.plot(SIGMAS, [row["condition"] for row in rows], "o-", color=(0.12, 0.37, 0.66, shade), label=f"n = {n}")
    last = [ours[f"n = {sizes[-1]}, sigma = {t:g} r"]["condition_with_diagonal"] for t in SIGMAS]
    left.plot(SIGMAS, last, "s--", color="#c2402a", label="with diagonal")
    left.set(xlabel="sigma in spacings", ylabel="condition number", yscale="log")
    left.set_title("the kernel that Eq. 15 inverts", fontsize=10)
    condition = np.array([row["condition"] for row in ours.values()])
    ends = np.array([condition.min(), condition.max()])
    kinds = (
        ("error_to_eq6", "double", "#1f5fa8", np.finfo(np.float64).eps),
        ("error_single_precision", "single", "#d8902a", np.finfo(np.float32).eps),
    )
    for name, label, color, unit in kinds:
        right.plot(condition, [row[name] for row in ours.values()], "o", color=color, markersize=4, label=label)
        right.plot(ends, ends * unit, "--", color=color, linewidth=0.8)
    right.set(xlabel="condition number of M", ylabel="relative error against Eq. 6, median", xscale="log", yscale="log")
    right.set_title("Eq. 15 by the precision of NGMG", fontsize=10)
    for axes in (left, right):
        axes.legend(frameon=False, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    return {"": figure}
