"""Distances of two columns from their counts, and how far chance takes them: against SciPy and drawn splits."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false
# (whatever pandas gives back is a union of all its types)

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq
from scipy.spatial.distance import jensenshannon

from gaussmix.tables import ColumnDensity, TableDensity
from gaussmix.tables.chance import Chance, _at_likelihood_ratio, compare_categories, compare_numbers, shapes_of

Z = 3.0


def column(x: np.ndarray, weights: np.ndarray | None = None) -> ColumnDensity:
    return TableDensity().fit({"x": x}, sample_weight=weights).columns_["x"]


def compared(old: np.ndarray, new: np.ndarray, z: float = Z) -> dict:
    return compare_numbers(column(old), column(new), z)


@pytest.mark.parametrize("n", [200, 50_000])  # kept value by value, and in cells
def test_w1_is_that_of_the_rows(n: int) -> None:
    rng = np.random.default_rng(0)
    old, new = rng.lognormal(0, 1, n), rng.lognormal(0.1, 1.1, 2 * n)
    found = compared(old, new)
    assert found["wasserstein_1"] == pytest.approx(stats.wasserstein_distance(old, new), rel=1e-9 if n < 1000 else 1e-3)
    q25, q75, q05, q95 = np.quantile(old, [0.25, 0.75, 0.05, 0.95])
    assert found["spread"] == pytest.approx(max((q75 - q25) / 1.349, (q95 - q05) / 3.290), rel=0.03)


def test_quantiles_are_those_of_the_rows_and_say_which_moved() -> None:
    rng = np.random.default_rng(1)
    old = rng.normal(0, 1, 4000)
    new = np.where(old > 1, old + 1, old)  # the upper sixth alone
    moves = compared(old, new)["quantiles"]
    for move in moves:
        assert move.old == pytest.approx(np.quantile(old, move.at, method="inverted_cdf"))
        assert move.new == pytest.approx(np.quantile(new, move.at, method="inverted_cdf"))
    assert [move.at for move in moves if move.beyond] == [0.95, 0.99]


def test_total_variation_and_divergence_of_few_values() -> None:
    old, new = np.repeat([1.0, 2, 3], [50, 30, 20]), np.repeat([1.0, 2, 4], [60, 100, 40])
    p, q = np.array([0.5, 0.3, 0.2, 0]), np.array([0.3, 0.5, 0, 0.2])
    found = compared(old, new)
    assert found["total_variation"] == pytest.approx(np.abs(p - q).sum() / 2)
    assert found["jensen_shannon"] == pytest.approx(jensenshannon(p, q) ** 2)
    words = np.array(["a", "b", "c", "d"])
    told = compare_categories(
        column(words[old.astype(int) - 1]), column(words[new.astype(int) - 1]), Chance(100, 200, Z)
    )
    assert told["total_variation"] == pytest.approx(found["total_variation"])
    assert told["jensen_shannon"] == pytest.approx(found["jensen_shannon"])
    assert [move.at for move in told["new_categories"]] == ["d"]
    assert [(move.at, move.old) for move in told["vanished_categories"]] == [("c", pytest.approx(0.2))]


def test_categories_that_were_left_out_are_not_called_new() -> None:
    names = np.array([f"id {k}" for k in range(12_000)])
    old = column(np.r_[names, names[:500]])
    new = column(np.r_[names[::-1], names[:500]])
    assert old.other > 0
    found = compare_categories(old, new, Chance(12_500, 12_500, Z))
    assert found["total_variation"] <= found["total_variation_floor"]
    assert len(found["categories"]) <= 50


def test_weights_that_are_frequencies_are_repeated_rows() -> None:
    rng = np.random.default_rng(2)
    x, y, w = rng.normal(size=500), rng.normal(0.2, 1, 700), rng.integers(0, 4, 500)
    weighed = compare_numbers(column(x, w), column(y), Z)
    repeated = compared(np.repeat(x, w), y)
    for name in ("wasserstein_1", "total_variation", "spread"):
        assert weighed[name] == pytest.approx(repeated[name])


def test_importance_weights_count_by_their_effective_number() -> None:
    rng = np.random.default_rng(3)
    x, w = rng.normal(size=4000), rng.exponential(size=4000)
    found = compare_numbers(column(x, w), column(x), Z)
    plain = compared(x, x)
    assert found["wasserstein_1"] > 0
    # (sum w)^2 / sum w^2 is half the rows, so 1/m + 1/n is 3/2 of what it was
    assert found["wasserstein_1_floor"] == pytest.approx(plain["wasserstein_1_floor"] * np.sqrt(1.5), rel=0.05)


@pytest.mark.parametrize(("m", "n"), [(7, 20), (30, 30), (2, 90)])
def test_expected_deviation_is_that_of_random_splits(m: int, n: int) -> None:
    """Of the share of old rows among the first k of m + n, exactly."""
    total = m + n
    for k in range(total + 1):
        law = stats.hypergeom(total, k, m)
        values = np.arange(max(0, k - n), min(k, m) + 1)
        exact = law.pmf(values) @ np.abs(values / m - (k - values) / n)
        assert Chance(m, n, Z).deviations(np.array([k / total]))[0] == pytest.approx(exact, rel=0.1, abs=1e-12)


def test_the_tail_is_the_equation_s() -> None:
    rng = np.random.default_rng(4)
    a, f, z = rng.exponential(size=50), 0.03, 3.5
    counts = rng.integers(1, 9, 50).astype(float)
    a -= counts @ a / counts.sum()
    a /= np.sqrt(f * (1 - f) * (counts @ a**2))

    def k(s: float) -> float:
        return float(counts @ np.log1p(f * np.expm1(s * a)))

    def slope(s: float) -> float:
        return float(counts @ (a * f * np.exp(s * a) / (1 + f * np.expm1(s * a))))

    at = brentq(lambda s: s * slope(s) - k(s) - z * z / 2, 1e-3, 50)
    assert _at_likelihood_ratio(a, counts, f, z) == pytest.approx(slope(at), rel=1e-3)
    many = np.full(1000, 100.0)
    symmetric = rng.normal(size=1000)
    symmetric -= symmetric.mean()
    symmetric /= np.sqrt(0.25 * (many @ symmetric**2))
    assert _at_likelihood_ratio(symmetric, many, 0.5, z) == pytest.approx(z, rel=1e-3)  # a normal law's


def random_splits(x: np.ndarray, m: int, tries: int, rng: np.random.Generator) -> np.ndarray:
    """W1 between the m rows that chance picks of x and the rest, (tries,)."""
    x = np.sort(x)
    n, gaps, found = len(x) - m, np.diff(x), np.empty(tries)
    for k in range(tries):
        old = np.zeros(len(x), bool)
        old[rng.permutation(len(x))[:m]] = True
        found[k] = np.abs(np.cumsum(old)[:-1] / m - np.cumsum(~old)[:-1] / n) @ gaps
    return found


SHAPES = {
    "normal": lambda rng, n: rng.normal(size=n),
    "skewed": lambda rng, n: rng.lognormal(0, 3, n),
    "no mean": lambda rng, n: rng.pareto(1.0, n),
    "zeros": lambda rng, n: np.where(rng.random(n) < 0.97, 0.0, rng.exponential(size=n)),
    "counts": lambda rng, n: rng.poisson(0.3, n).astype(float),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("m", "n"), [(300, 300), (30, 1500), (1500, 30)])
def test_chance_stays_below_the_floor(shape: str, m: int, n: int) -> None:
    """Also of heavy tails and unlike sizes: at 2.33 normal deviations in 99 of 100 splits at least."""
    rng = np.random.default_rng(5)
    x = SHAPES[shape](rng, m + n)
    chance, values = Chance(m, n, 2.326), np.sort(x)
    floor = chance.wasserstein(values, np.full(m + n, 1 / (m + n)))
    drawn = random_splits(x, m, 1000, rng)
    assert np.mean(drawn > floor) <= 0.02
    if shape == "normal":  # and it is no wall
        assert floor < 1.6 * np.quantile(drawn, 0.99)


def test_the_floor_of_shares_is_no_wall() -> None:
    """Of cells of equal probability, and of a rare one beside all others."""
    rng = np.random.default_rng(6)
    for p in (np.full(20, 0.05), np.array([0.99, 0.01])):
        chance = Chance(2000, 3000, 2.326)
        rows = rng.multivariate_hypergeometric((5000 * p).astype(int), 2000, 2000, method="marginals")
        drawn = np.abs(rows / 2000 - (5000 * p - rows) / 3000).sum(1) / 2
        floor = chance.total_variation(p)
        assert np.mean(drawn > floor) <= 0.01
        assert floor < 1.7 * np.quantile(drawn, 0.99)


def test_pictures_are_cut_alike() -> None:
    rng = np.random.default_rng(7)
    old = column(np.where(rng.random(5000) < 0.4, 0.0, rng.exponential(10, 5000)))
    new = column(np.where(rng.random(5000) < 0.5, 0.0, rng.exponential(10, 5000)))
    shapes = shapes_of(old, new)
    assert shapes.bars.shape == (3, 1)  # the zeros
    assert shapes.bars[:, 0] == pytest.approx([0, 0.4, 0.5], abs=0.03)
    assert shapes.lines.sum(1) + shapes.bars[1:].sum(1) == pytest.approx([1, 1], abs=0.01)
    few = shapes_of(column(rng.integers(0, 5, 500)), column(rng.integers(0, 6, 500)))
    assert few.lines.size == 0
    assert few.bars[0].tolist() == [0, 1, 2, 3, 4, 5]
    counts = shapes_of(column(rng.poisson(90, 20_000)), column(rng.poisson(90, 20_000)))
    width = (counts.high - counts.low) / counts.lines.shape[1]
    assert width == pytest.approx(round(width))  # each part holds as many integers
