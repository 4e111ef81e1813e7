"""D Eq. 15: the Wasserstein distance by way of NGMG and the inverse of its kernel; and what that inverse is like.

    | ||F M^-1 NGMG(L+)||_1 - ||F M^-1 NGMG(L-)||_1 |,   NGMG(L) = -M L,   F = diag(int_M F_i dx)

M, of D Eq. 14, is the Gaussian kernel K between the centres with zeros on its diagonal. M^-1 takes back what NGMG did,
so that Eq. 15 is Eq. 6 (diffusion-eq6), as far as M can be inverted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from gaussmix._typing import FloatArray
from gaussmix.density.basis import GaussianBasis
from gaussmix.distances.means import mean_difference_bound
from gaussmix.distances.toeplitz import kernel_matrix
from gaussmix.distances.wasserstein import wasserstein_distance
from gaussmix.ngmg.inverse import inverted_ngmg_distance
from reproduction.diffusion.pairs import GENERATOR, RANGE, draw_weights
from reproduction.page import Picture, Result, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIGMAS = (0.5, 1.0, 2.0, 3.0, 5.0)  # in spacings
SINGLE = "#d8902a"


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
        return replace(self, sizes=(10, 50), pairs=5)


def single_precision(a: FloatArray, b: FloatArray, basis: GaussianBasis) -> FloatArray:
    """(B,) Eq. 15 from an NGMG that was stored in single precision; its support ends 10 sigma beyond the centres."""
    sigma = basis.bandwidth * basis.spacing
    M = kernel_matrix(basis, sigma, diagonal=False)
    A = basis.centers[-1] + 10 * sigma - basis.centers
    norms = []
    for part in (np.maximum(a - b, 0), np.minimum(a - b, 0)):
        ngmg = (-part @ M).astype(np.float32).astype(np.float64)
        norms.append(np.abs(np.linalg.solve(M, ngmg.T).T * A).sum(1))
    return np.abs(norms[0] - norms[1])


def spectrum(basis: GaussianBasis, *, diagonal: bool) -> tuple[float, int, int]:
    """Condition number, positive and negative eigenvalues of the kernel; within rounding of 0 they are neither."""
    values = np.linalg.eigvalsh(kernel_matrix(basis, basis.bandwidth * basis.spacing, diagonal=diagonal))
    size = np.abs(values)
    certain = basis.n_components * np.finfo(float).eps * size.max()
    return float(size.max() / size.min()), int((values > certain).sum()), int((values < -certain).sum())


def measure(n: int, t: float, config: Config) -> dict[str, float]:
    """One row: the kernel's spectrum and Eq. 15 on random pairs, on n components with sigma = t spacings."""
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


def run(config: Config, on_step: Callable[[int], None]) -> Result:
    """Eq. 15."""
    ours: dict[str, dict[str, float]] = {}
    for n in config.sizes:
        for t in SIGMAS:
            ours[f"n = {n}, sigma = {t:g} r"] = measure(n, t, config)
            on_step(len(ours))
    columns = (
        "basis",
        "condition of M",
        "positive eigenvalues",
        "negative",
        "condition of K",
        "Eq. 15 to Eq. 6, double",
        "single",
        "Eq. 15 / W1",
        "least",
    )
    return Result(
        title="D Eq. 15: a distance through the inverse of NGMG",
        about="Eq. 15 takes NGMG back by the inverse of its kernel M. Beside it Eq. 6, which it is built on, W1, and "
        "the condition of M and of the same kernel with its diagonal, K.",
        ours=ours,
        paper={"claim": "W1 = | ||F M^-1 NGMG(L+)||_1 - ||F M^-1 NGMG(L-)||_1 |  (Eq. 15)"},
        tables=(
            Table(
                f"Medians of {config.pairs} random pairs; errors are relative",
                columns,
                tuple((name, *row.values()) for name, row in ours.items()),
            ),
        ),
        readings=(
            "L+ and L- as in the proof of Eq. 15, NGMG(L) = -M L as in Eq. 14, sigma of M that of the basis. M, the "
            "support of the integrals in F, reaches 10 sigma beyond the centres.",
            "Condition numbers above 1e16 are rounding: they say that there is no inverse in double precision.",
            "Single: NGMG is rounded to single precision, as a network would hold it, before M is inverted.",
            GENERATOR,
        ),
        findings=_findings(config, ours),
        pictures=(
            Picture(
                "",
                "Left: condition number of M by sigma, for each number of components, and that of the kernel with "
                "its diagonal (dashed, n = largest). Right: relative error of Eq. 15 against Eq. 6 by the condition "
                "number of M, NGMG in double and in single precision; dashed: condition number times the unit of "
                "rounding.",
                lambda: _draw(config, ours),
            ),
        ),
    )


def _findings(config: Config, ours: dict[str, dict[str, float]]) -> tuple[str, ...]:
    columns = {name: np.array([row[name] for row in ours.values()]) for name in next(iter(ours.values()))}
    errors = ("error_to_eq6", "error_single_precision")
    ranks = {name: np.corrcoef(rankdata(columns["condition"]), rankdata(columns[name]))[0, 1] for name in errors}
    power = np.polyfit(np.log(columns["condition"]), np.log(columns["error_single_precision"]), 1)[0]
    by_size = columns["condition"].reshape(len(config.sizes), len(SIGMAS))
    lost = columns["condition_with_diagonal"].reshape(by_size.shape) > 1 / np.finfo(float).eps
    shares = columns["negative"] / (columns["positive"] + columns["negative"])
    return (
        "Eq. 15 can be computed: M has an inverse for every basis here, and Eq. 15 agrees with Eq. 6 to "
        f"{columns['error_to_eq6'].max():.0e}. Hence it is the difference of the means and not W1: between "
        f"{columns['least_of_w1'].min():.2g} and 1 times W1, near 1 for pairs that differ in their means above all.",
        f"M is indefinite: {100 * shares.min():.0f} to {100 * shares.max():.0f} % of its eigenvalues are negative. "
        f"Its condition number lies between {columns['condition'].min():.2g} and {columns['condition'].max():.2g} (at "
        f"{list(ours)[columns['condition'].argmax()]}): it depends on how near to zero an eigenvalue happens to lie. "
        f"From n = {config.sizes[0]} to n = {config.sizes[-1]}, {config.sizes[-1] / config.sizes[0]:g} times as many, "
        f"it grows {', '.join(f'{k:.3g}' for k in by_size[-1] / by_size[0])} times at sigma = "
        f"{', '.join(f'{t:g}' for t in SIGMAS)} r.",
        "Positive and negative eigenvalues are also why steps along NGMG need not come nearer to the target "
        "(diffusion-fig11).",
        "The error against Eq. 6 grows with the condition of M (rank correlation "
        f"{ranks['error_to_eq6']:.2f} in double precision; {ranks['error_single_precision']:.2f} and up to "
        f"{columns['error_single_precision'].max():.0e} from an NGMG in single precision), there about like its "
        f"power {power:.2g}.",
        f"With its diagonal the kernel is positive definite, but on {lost.sum()} of {lost.size} bases its inverse is "
        f"lost to rounding: sigma = {', '.join(f'{t:g}' for t in np.array(SIGMAS)[lost.any(0)])} r, from some n on. "
        "The zero diagonal is what makes Eq. 15 computable there.",
    )


def _draw(config: Config, ours: dict[str, dict[str, float]]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    shades = np.linspace(0.35, 1, len(config.sizes))
    for n, shade in zip(config.sizes, shades, strict=True):
        rows = [ours[f"n = {n}, sigma = {t:g} r"] for t in SIGMAS]
        left.plot(SIGMAS, [row["condition"] for row in rows], "o-", color=(0.12, 0.37, 0.66, shade), label=f"n = {n}")
    last = [ours[f"n = {config.sizes[-1]}, sigma = {t:g} r"]["condition_with_diagonal"] for t in SIGMAS]
    left.plot(SIGMAS, last, "s--", color="#c2402a", label="with diagonal")
    left.set_xlabel("sigma in spacings")
    left.set_ylabel("condition number")
    left.set_title("the kernel that Eq. 15 inverts", fontsize=10)
    condition = np.array([row["condition"] for row in ours.values()])
    ends = np.array([condition.min(), condition.max()])
    kinds = (
        ("error_to_eq6", "double", "#1f5fa8", np.finfo(np.float64).eps),
        ("error_single_precision", "single", SINGLE, np.finfo(np.float32).eps),
    )
    for name, label, color, unit in kinds:
        right.plot(condition, [row[name] for row in ours.values()], "o", color=color, markersize=4, label=label)
        right.plot(ends, ends * unit, "--", color=color, linewidth=0.8)
    right.set_xscale("log")
    right.set_xlabel("condition number of M")
    right.set_ylabel("relative error against Eq. 6, median")
    right.set_title("Eq. 15 by the precision of NGMG", fontsize=10)
    for axes in (left, right):
        axes.set_yscale("log")
        axes.legend(frameon=False, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
