"""benchmarks/conditional*.py: its truths, laws, measures, file and tables."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def modules() -> Iterator[Any]:
    """Its modules by short names: main, peers, targets, report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        names = ("conditional", "conditional_peers", "conditional_targets", "conditional_report")
        main, *rest = (importlib.import_module(name) for name in names)
        yield SimpleNamespace(main=main, peers=rest[0], targets=rest[1], report=rest[2])


def test_a_quick_run_makes_rows_that_a_second_one_finds(modules: Any, tmp_path: Path) -> None:
    files = {"file": tmp_path / "rows.csv", "out": tmp_path / "conditional.json", "docs": tmp_path}
    rows = modules.main.main(methods=["fast", "ensemble"], rows=80, quick=True, **files)
    assert [row.key[:3] for row in rows] == [(s, 0, m) for s in ("modes", "zeros") for m in ("fast", "ensemble")]
    assert all(0 < row.crps < 3 and 0.3 < row.coverage90 <= 1 and math.isfinite(row.nll_cell) for row in rows)
    assert all(0 < row.l1 < 2 for row in rows[:2])
    text = (tmp_path / "conditional-benchmark.md").read_text()
    assert "| number of modes |" in text
    again = modules.main.main(methods=["fast", "ensemble"], rows=80, quick=True, **files)
    assert [row.cpu_fit for row in again] == pytest.approx([row.cpu_fit for row in rows], rel=1e-5)
    files["file"].unlink()  # then the JSON stands for it
    assert len(modules.main.main(only_report=True, **files)) == 4


def test_costs_have_a_row_each(modules: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fit, predict, memory = modules.main.cost("fast", 60, predicted=20)
    assert min(fit, predict, memory) > 0
    pool = MagicMock(return_value=(1.5, 2.25, 0.5))
    context = MagicMock(**{"get_context.return_value.Pool.return_value.__enter__.return_value.apply": pool})
    monkeypatch.setattr(modules.main, "multiprocessing", context)
    table = modules.main.costs([("fast", 1_000)]).splitlines()
    assert table[0].count("|") == table[1].count("|") == table[2].count("|")
    assert table[2] == "| `fast` | 1 000 | 1.5 | 2.2 | 0.50 |"


def test_truths_are_what_is_drawn(modules: Any) -> None:
    """P(Y <= y) at what was drawn is uniform, in every half of the features that matter."""
    for name in ("inverse", "gamma", "modes"):
        split = modules.targets.load(name, 0, None)
        rows = slice(0, 1000)
        pit = np.array([split.cdf(x[None], y[None])[0, 0] for x, y in zip(split.X[rows], split.y[rows], strict=True)])
        for half in (split.X[rows, 0] > np.median(split.X[rows, 0]), split.X[rows, 1] > 0):
            for some in (pit[half], pit[~half]):
                gap = abs(np.sort(some) - (np.arange(some.size) + 0.5) / some.size).max()
                assert gap < 1.9 / math.sqrt(some.size), name
    zeros = modules.targets.load("zeros", 0, None)
    left = zeros.X[:, 0] < 0
    for some in (left, ~left):
        share = np.mean(zeros.y[some] == 0)
        assert share == pytest.approx(zeros.zero(zeros.X[some]).mean(), abs=3 * math.sqrt(0.25 / some.sum()))
    assert zeros.y[zeros.y > 0].min() > 2 * modules.main.NEAR_ZERO


def test_crps_in_closed_form_is_its_integral(modules: Any) -> None:
    law = modules.peers.GaussianRows(np.array([[0.3, 0.7]]), np.array([[-1.0, 2.0]]), np.array([[0.5, 1.5]]))

    def cdf(x: float) -> float:
        return float(0.3 * norm.cdf(x, -1, 0.5) + 0.7 * norm.cdf(x, 2, 1.5))

    for y in (-2.0, 0.4, 5.0):
        expected = quad(lambda x: cdf(x) ** 2, -12, y)[0] + quad(lambda x: (1 - cdf(x)) ** 2, y, 16)[0]
        assert law.crps(np.array([y]))[0] == pytest.approx(expected, rel=1e-7)
        assert law.logpdf(np.array([y]))[0] == pytest.approx(
            math.log(0.3 * norm.pdf(y, -1, 0.5) + 0.7 * norm.pdf(y, 2, 1.5))
        )
    low, high = law.interval()[0]
    assert (cdf(low), cdf(high)) == pytest.approx((0.05, 0.95))


def test_thirty_levels_are_enough_for_crps(modules: Any) -> None:
    """Beside the closed form for a Gaussian, where y is as wide as it says, half and twice as wide."""
    levels = modules.peers.LEVELS
    law = modules.peers.QuantileRows(np.tile(norm.ppf(levels), (20_000, 1)))
    exact = modules.peers.GaussianRows(np.ones((20_000, 1)), np.zeros(1), np.ones(1))
    for spread in (0.5, 1.0, 2.0):
        y = spread * norm.ppf((np.arange(20_000) + 0.5) / 20_000)
        assert 1 < law.crps(y).mean() / exact.crps(y).mean() < 1.002
    np.testing.assert_allclose(law.interval()[0], norm.ppf([0.05, 0.95]), rtol=1e-12)


def test_cells(modules: Any) -> None:
    """Their mass over their width, the density where differences of cdfs have no digits left, and a floor below."""
    law = modules.peers.GaussianRows(np.ones((3, 1)), np.zeros(1), np.ones(1))
    y = np.array([0.0, 9.0, 60.0])
    found = modules.main.log_cells(law, y, 1.0)
    expected = [math.log(math.erf(0.5 / math.sqrt(2))), norm.logpdf(9.0), math.log(1e-300)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    split = modules.targets.Split(np.zeros((4, 1)), np.array([0.3, 0.1 + 0.2, 0.5, 0.9]), np.zeros((1, 1)), np.zeros(1))
    assert split.width == pytest.approx(0.2)


def test_distance_to_a_truth(modules: Any) -> None:
    """Two unit Gaussians d apart are 2 (2 Phi(d / 2) - 1) apart; a forest's quantiles of the truth are near it."""
    Split, peers = modules.targets.Split, modules.peers
    X, y = np.zeros((300, 1)), norm.ppf((np.arange(300) + 0.5) / 300)
    split = Split(X, y, X[:2], y[:2], lambda X, edges: np.tile(norm.cdf(edges), (len(X), 1)))
    for shift in (0.0, 1.0):
        law = peers.GaussianRows(np.ones((2, 1)), np.full(1, shift), np.ones(1))
        # the grid ends at +-2.9 * 1.2, beyond which both have mass
        assert modules.main.distance(law, split) == pytest.approx(2 * (2 * norm.cdf(shift / 2) - 1), abs=2e-3)
    law = peers.QuantileRows(np.tile(norm.ppf(peers.LEVELS), (2, 1)))
    assert 0 < modules.main.distance(law, split) < 0.15


def test_a_loss_is_named(modules: Any) -> None:
    Row = modules.report.Row
    rows = [
        Row("yacht", k, method, 277, 1.0, 0.1, crps=value + 0.01 * k, nll_cell=1.0)
        for method, value in (("ours", 0.2), ("catboost", 0.3), ("lightgbm", 0.1))
        for k in range(4)
    ]
    rows += [Row("yacht", 0, "ours", 50, 1.0, 0.1, crps=9.0)]  # of a capped run
    rows[0] = Row("yacht", 0, "ours", 277, 1.0, 0.1, crps=0.21, nll_cell=1.0)
    scored = modules.report.Scored(rows)
    mean, error, n = scored.paired("yacht", "lightgbm", "crps")
    assert (mean, error, n) == pytest.approx((0.1025, 0.0025, 4))
    assert [each[1] for each in modules.report.behind(scored, "crps", ["yacht"])] == ["lightgbm"]
    assert scored.ratio("yacht", "catboost") == pytest.approx(
        math.exp(np.mean(np.log([0.21 / 0.3, 0.21 / 0.31, 0.22 / 0.32, 0.23 / 0.33])))
    )
    text = modules.report.page(rows, {"numpy": "2"})
    assert "on yacht to LightGBM quantiles (0.1025 ± 0.0025 (4))" in text
    assert "9.0" not in text


def test_what_is_not_installed_is_skipped(modules: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def missing(X: Any, y: Any) -> Any:
        raise ModuleNotFoundError("No module named 'nowhere'", name="nowhere")

    monkeypatch.setitem(modules.main.METHODS, "lightgbm", missing)
    assert modules.main.warm_up(["lightgbm", "ensemble"]) == ["ensemble"]
    assert capsys.readouterr().out == "lightgbm is skipped: nowhere is not installed\n"
    with pytest.raises(ValueError, match=r"yacht needs yacht.npz in the folder that --data names; --data is None"):
        modules.targets.load("yacht", 0, None)
