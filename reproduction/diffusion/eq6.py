"""D Eq. 5 and Eq. 6, said to be the Wasserstein distance, beside the Wasserstein distance (D sections 2.4 and 4.2).

    W1    = int |sum_i delta_i F_i(x)| dx                   D Eq. 4, delta = pi1 - pi2
    Eq. 6 = |sum_i delta_i A_i|,  A_i = int_M F_i dx        the bars moved out of the integral

Over the whole line Eq. 6 is the difference of the means. NGMG and its norm: `gaussmix.ngmg`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from gaussmix._typing import FloatArray
from gaussmix.density.basis import GaussianBasis
from gaussmix.distances.wasserstein import mean_difference_bound, wasserstein_distance
from gaussmix.ngmg import negative_gaussian_mixture_gradient
from reproduction.diffusion.pairs import RANGE, draw_weights, normal_weights
from reproduction.page import Measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

M = (-200.0, 200.0)  # the paper's bounded support, and the cells of the basis of the chosen pairs
SHIFTS = (0.1, 1.0, 10.0, 30.0, 100.0, 200.0)
SIZES = (20, 100, 500)
PAPER = {"claim": "W1 -> 0 if and only if ||NGMG|| -> 0; NGMG is sensitive where TV, KL and JS are not"}
Distances = dict[str, FloatArray]
EQUAL = 0.01  # relative difference up to which Eq. 6 counts as W1
Law = tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]  # masses, means, standard deviations
NORMALS: dict[str, tuple[Law, Law]] = {
    "N(-10, 10) and N(10, 10)": (((1,), (-10,), (10,)), ((1,), (10,), (10,))),
    "N(0, 10) and N(0, 30)": (((1,), (0,), (10,)), ((1,), (0,), (30,))),
    "N(0, 10) and N(20, 30)": (((1,), (0,), (10,)), ((1,), (20,), (30,))),
    "N(0, 10) or N(0, 30), evenly, and N(0, 22.4)": (((0.5, 0.5), (0, 0), (10, 30)), ((1,), (0,), (500**0.5,))),
    "N(-40, 10) or N(40, 10), evenly, and N(0, 10)": (((0.5, 0.5), (-40, 40), (10, 10)), ((1,), (0,), (10,))),
}


@dataclass(frozen=True)
class Config:
    """Settings of Eq. 6."""

    seed: int = 0
    n_components: int = 400
    """On M, so that r = 1."""
    sigma: float = 2.0
    """In spacings."""
    pairs: int = 500
    """Random pairs of smooth laws, and as many of rough weights."""

    @property
    def n_steps(self) -> int:
        return 4

    def quick(self) -> Config:
        return replace(self, pairs=10)


def compare(a: FloatArray, b: FloatArray, basis: GaussianBasis, support: tuple[float, float] = M) -> Distances:
    """Return all distances ``(B,)`` of rows of weights ``(B, n)``.

    "error" is the certified bound of the error of "w1"; "atoms", r sum |cumsum delta|, is W1 of the weights on the
    centres, which is not below it; "tv" is that of the weights; "ngmg" is r times the sum of |NGMG|, without a unit.
    """
    r = basis.spacing
    w1, error = wasserstein_distance(a, b, basis=basis, return_error=True)
    found = {
        "w1": w1,
        "error": error,
        "atoms": r * np.abs(np.cumsum(a - b, axis=1)).sum(1),
        "eq6": mean_difference_bound(a, b, basis=basis, support=support),
        "mean_difference": mean_difference_bound(a, b, basis=basis),
        "tv": np.abs(a - b).sum(1) / 2,
        "ngmg": r * np.abs(negative_gaussian_mixture_gradient(a, b, basis)).sum(1),
    }
    return {name: np.asarray(values) for name, values in found.items()}


def chosen_pairs(basis: GaussianBasis) -> tuple[list[str], FloatArray, FloatArray]:
    """Return pairs ``(B, n)`` that tell Eq. 6 from W1, and their names."""
    sigma = basis.bandwidth * basis.spacing
    rows = []
    for pair in NORMALS.values():
        rows.append([normal_weights(basis, m, mu, np.sqrt(np.square(s) - sigma**2)) for m, mu, s in pair])
    middle = np.eye(basis.n_components)[basis.n_components // 2 - 1 : basis.n_components // 2 + 2]
    rows.append([(middle[0] + middle[2]) / 2, middle[1]])
    a, b = np.swapaxes(rows, 0, 1)
    return [*NORMALS, "weights (1/2, 0, 1/2) and (0, 1, 0), neighbours"], a, b


def compare_moved(shifts: Sequence[float] | FloatArray, basis: GaussianBasis) -> Distances:
    """Compare N(-s/2, 10) with N(s/2, 10) for each shift s."""
    width = np.sqrt(10**2 - (basis.bandwidth * basis.spacing) ** 2)
    left, right = (np.array([normal_weights(basis, [1], [side * s / 2], [width]) for s in shifts]) for side in (-1, 1))
    return compare(left, right, basis)


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Return the distances of chosen pairs, of laws moved apart, of interleaved weights and of random pairs."""
    basis = GaussianBasis.spanning(*M, config.n_components, config.sigma)
    names, a, b = chosen_pairs(basis)
    chosen = compare(a, b, basis)
    on_step(1)
    shifted = compare_moved(SHIFTS, basis)
    on_step(2)
    combs = [_interleaved(n, config.sigma) for n in SIZES]
    on_step(3)
    random = _random_pairs(config)
    on_step(4)
    ours = {
        "pairs": {
            name: {key: chosen[key][k] for key in ("w1", "atoms", "eq6", "mean_difference")}
            for k, name in enumerate(names)
        },
        "shifts": {
            f"{s:g}": {key: shifted[key][k] for key in ("w1", "eq6", "tv", "ngmg")} for k, s in enumerate(SHIFTS)
        },
        "interleaved": {
            str(n): {key: comb[key][0] for key in ("w1", "eq6", "atoms", "tv", "ngmg")}
            for n, comb in zip(SIZES, combs, strict=True)
        },
        "random": {kind: _ratios(each["eq6"] / each["w1"]) for kind, each in random.items()},
        "largest_w1_error": max(each["error"].max() for each in (chosen, shifted, *combs, *random.values())),
        "equal": EQUAL,
    }
    shifts = np.linspace(0, SHIFTS[-1], 101)
    return Measured(ours, PAPER, {"random": random, "shifts": shifts, "moved": compare_moved(shifts, basis)})


def _interleaved(n: int, t: float) -> Distances:
    """Equal weights on the even centres against equal weights on the odd ones, n of them on (0, 100)."""
    even = (np.arange(n) % 2 == 0).astype(float)
    basis = GaussianBasis.spanning(*RANGE, n, t)
    return compare(even[None] / even.sum(), (1 - even)[None] / (1 - even).sum(), basis, _around(basis))


def _random_pairs(config: Config) -> dict[str, Distances]:
    rng = np.random.default_rng(config.seed)
    basis = GaussianBasis.spanning(*RANGE, 200, config.sigma)
    smooth = np.array([[draw_weights(basis, rng) for _ in range(2)] for _ in range(config.pairs)])
    rough = rng.dirichlet(np.full(basis.n_components, 0.3), (config.pairs, 2))
    return {
        kind: compare(pairs[:, 0], pairs[:, 1], basis, _around(basis))
        for kind, pairs in (("smooth", smooth), ("rough", rough))
    }


def _around(basis: GaussianBasis) -> tuple[float, float]:
    reach = 10 * basis.bandwidth * basis.spacing
    return float(basis.centers[0] - reach), float(basis.centers[-1] + reach)


def _ratios(values: FloatArray) -> dict[str, float]:
    """Of Eq. 6 / W1."""
    return {
        "median_ratio": float(np.median(values)),
        "least_ratio": float(values.min()),
        "share_equal": float((values >= 1 - EQUAL).mean()),
        "share_below_half": float((values < 0.5).mean()),
        "largest_ratio_to_w1": float(values.max()),
    }


def draw(measured: Measured) -> dict[str, Figure]:
    """Return Eq. 6 against W1 for the random pairs, and all distances of a law that is moved away."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    random: dict[str, Distances] = measured.seen["random"]
    for (kind, found), color in zip(random.items(), ("#1f5fa8", "#d8902a"), strict=True):
        left.plot(found["w1"], found["eq6"], ".", color=color, markersize=4, label=f"{kind} pairs")
    most = max(found["w1"].max() for found in random.values())
    left.plot([0, most], [0, most], color="#333333", linewidth=0.8, label="equal")
    left.set(xlabel="W1", ylabel="Eq. 6, difference of the means")
    left.set_title("random pairs", fontsize=10)
    styles = (
        ("w1", "W1", "#1f5fa8", "-"),
        ("eq6", "Eq. 6", "#d8902a", "--"),
        ("tv", "TV of the weights", "#999999", "-"),
        ("ngmg", "||NGMG||", "#c2402a", "--"),
    )
    for name, label, color, style in styles:
        values = measured.seen["moved"][name]
        right.plot(measured.seen["shifts"], values / values[-1], style, color=color, label=label, linewidth=1.8)
    right.set(xlabel="shift; standard deviation 10", ylabel="share of the value at 200")
    right.set_title("a law that is moved away", fontsize=10)
    for axes in (left, right):
        axes.legend(frameon=False, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    return {"": figure}
