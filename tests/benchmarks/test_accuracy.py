"""benchmarks/accuracy*.py: its targets, scores, peers, files and tables."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
NAMES = ("accuracy", "accuracy_targets", "accuracy_peers", "accuracy_report")


@pytest.fixture(scope="module")
def modules() -> Iterator[Any]:
    """The benchmark's modules by short names: main, targets, peers, report. They import each other as scripts do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        loaded = [importlib.import_module(name) for name in NAMES]
        yield SimpleNamespace(**dict(zip(("main", "targets", "peers", "report"), loaded, strict=True)))


def normal_pdf(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)


# --- targets


def test_every_target_agrees_with_itself(modules: Any) -> None:
    """ppf inverts cdf, pdf is cdf's derivative, and samples follow cdf (unless they are spoilt on purpose)."""
    q = (np.arange(2000) + 0.5) / 2000
    for name in modules.targets.TARGETS:
        target = modules.targets.target_of(name, 7)
        assert sum(target.weights) == pytest.approx(1), name
        x = target.ppf(q)
        assert np.all(np.diff(x) > 0), name
        np.testing.assert_allclose(target.cdf(x), q, atol=1e-11, err_msg=name)
        # Simpson's rule between quantiles, but for the intervals with a gap or a jump of a mixture
        middle = target.pdf((x[1:] + x[:-1]) / 2)
        mass = np.diff(x) * (target.pdf(x[:-1]) + 4 * middle + target.pdf(x[1:])) / 6
        assert np.sort(np.abs(mass - 1 / 2000))[:-6].sum() < 1e-4, name
        if not (target.rounding or target.written or target.outlier or target.zeros):
            drawn = np.sort(modules.targets.draw(name, 20_000, 7))
            distance = np.abs(target.cdf(drawn) - (np.arange(20_000) + 0.5) / 20_000).max()
            assert distance < 2.2 / math.sqrt(20_000), name


def test_spoilt_samples(modules: Any) -> None:
    draw = modules.targets.draw
    clean, spoilt = draw("no outlier", 500, 3), draw("outlier", 500, 3)
    np.testing.assert_array_equal(clean[:-1], spoilt[:-1])
    assert spoilt[-1] == 1e6
    assert np.mean(draw("30 % zeros", 20_000, 3) == 0) == pytest.approx(0.3, abs=0.02)
    for name in modules.targets.ROUNDED:  # off by no more than half of what they are rounded to
        assert len(np.unique(draw(name, 5000, 3))) < 3000, name
    endings = np.unique(np.round(draw("price endings", 5000, 3) % 1, 2))
    assert set(endings) <= {0.0, 0.49, 0.95, 0.99, 1.0}
    prices = draw("rounded prices", 500, 3)
    np.testing.assert_allclose(prices * 20, np.round(prices * 20), atol=1e-9)


def test_seeds_draw_what_they_should_afresh(modules: Any) -> None:
    question, draw = modules.targets.question, modules.targets.draw
    assert question("gmix8", 1) is not question("gmix8", 2)
    assert question("claw", 1) is question("claw", 2)
    np.testing.assert_array_equal(draw("claw", 50, 1), draw("claw", 50, 1))
    assert not np.array_equal(draw("claw", 50, 1), draw("claw", 50, 2))


# --- scores


def test_score_of_a_shifted_normal(modules: Any) -> None:
    asked, shift = modules.targets.question("normal", 0), 0.3
    l1, kl, zeros, spurious, missed = modules.main.score(asked, modules.main.Fit(lambda x: normal_pdf(x - shift)))
    assert l1 == pytest.approx(2 * (2 * ndtr(shift / 2) - 1), rel=1e-4)
    assert kl == pytest.approx(shift**2 / 2, rel=1e-3)
    assert (zeros, spurious, missed) == (0, 0, 0)
    assert modules.main.score(asked, modules.main.Fit(asked.target.pdf)) == (0, 0, 0, 0, 0)


def test_score_counts_points_without_density(modules: Any) -> None:
    """Half of U(0, 1) is covered, twice as densely."""
    half = modules.main.Fit(lambda x: 2.0 * (x <= 0.5))
    l1, kl, zeros, spurious, missed = modules.main.score(modules.targets.question("uniform", 0), half)
    assert l1 == pytest.approx(1)
    assert kl == pytest.approx((modules.main.WORST_KL - math.log(2)) / 2)
    assert zeros == modules.targets.N_POINTS // 2
    assert (spurious, missed) == (0, 0)


def test_modes_are_told_apart_by_the_valleys_of_the_truth(modules: Any) -> None:
    asked = modules.targets.question("spikes", 0)
    x, truth = asked.points, asked.density
    compare = modules.main.compare_modes
    assert len(modules.main.find_modes(truth)) == 2
    assert compare(truth, truth) == (0, 0)
    assert compare(truth, np.where(x < 500, truth, 1e-9)) == (0, 1)
    assert compare(truth, truth * (1 + 0.5 * np.sin(3 * x)))[0] >= 2
    assert compare(truth, truth * (1 + 0.005 * np.sin(3 * x))) == (0, 0)


@pytest.mark.parametrize(("mass", "l1"), [(0.3, 0.0), (0.0, 0.6), (0.5, 0.4), (0.1, 0.4)])
def test_score_with_a_point_mass(modules: Any, mass: float, l1: float) -> None:
    asked = modules.targets.question("30 % zeros", 0)
    fit = modules.main.Fit(lambda x: (1 - mass) * asked.target.pdf(x), zero_mass=mass)
    assert modules.main.score(asked, fit)[0] == pytest.approx(l1, abs=1e-12)


# --- peers


@pytest.mark.parametrize("method", ["isj", "silverman", "histogram", "gmm", "scipy", "adaptive", "pspline"])
def test_peers_integrate_to_one_and_are_near(modules: Any, method: str) -> None:
    if method == "pspline":
        pytest.importorskip("pygam")
    x = np.random.default_rng(0).normal(3.0, 2.0, 2000)
    density = modules.peers.PEERS[method](x)
    grid = np.linspace(-20, 26, 200_001)
    assert np.trapezoid(density(grid), grid) == pytest.approx(1, abs=1e-4)
    assert np.trapezoid(np.abs(density(grid) - normal_pdf((grid - 3) / 2) / 2), grid) < 0.15


@pytest.mark.parametrize("name", ["claw", "cauchy"])
def test_binned_mixture_is_the_real_one_where_every_point_is_a_cell(modules: Any, name: str) -> None:
    x = np.sort(modules.targets.draw(name, 1000, 3))  # k-means starts from the points in their order
    at = np.linspace(-3, 3, 50)
    np.testing.assert_allclose(modules.peers.fit_gmm_binned(x)(at), modules.peers.fit_gmm(x)(at), rtol=1e-8)


def test_histogram_gives_up_before_it_takes_the_memory(modules: Any) -> None:
    with pytest.raises(ValueError, match="bins"):
        modules.peers.fit_histogram(np.r_[np.linspace(0, 1, 1000), 1e9])


def test_a_peer_that_gives_up_is_counted(modules: Any) -> None:
    x = np.r_[np.linspace(0, 1, 1000), 1e9]
    row = modules.main.measure("uniform", 1001, 0, "histogram", x)
    assert (row.l1, row.kl, row.zeros, row.spurious, row.missed) == modules.main.FAILED


# --- rows, files, tables


def rows_of(modules: Any, l1: dict[tuple[str, str], float], seeds: tuple[int, ...] = (1, 2)) -> list[Any]:
    return [
        modules.report.Row(target, 500, seed, method, value + 0.01 * seed, value, 0, 1, 2, 0.003, 0.001)
        for (target, method), value in l1.items()
        for seed in seeds
    ]


def test_a_run_is_taken_up_where_it_stopped(modules: Any, tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    todo = (out, ("normal", "uniform"), (500,), 2, ("silverman", "histogram"))
    rows = modules.main.run(*todo)
    assert len({row.key for row in rows}) == len(rows) == 8
    assert modules.report.read(out) == rows
    text = out.read_text()
    out.write_text(text[:-20])  # the last line is cut short
    again = modules.main.run(*todo)
    assert again[:-1] == rows[:-1]
    assert (again[-1].key, again[-1].l1) == (rows[-1].key, rows[-1].l1)
    before = out.read_text()
    modules.main.run(*todo)
    assert out.read_text() == before


def test_ratio_is_to_the_best_peer(modules: Any) -> None:
    l1 = {("normal", "isj"): 0.4, ("normal", "gmm"): 0.2, ("normal", "auto"): 0.1, ("claw", "auto"): 0.3}
    table = modules.report.entries(rows_of(modules, l1))
    assert modules.report.ratio(table, "normal", 500, "auto") == pytest.approx(0.115 / 0.215)
    assert modules.report.ratio(table, "normal", 500, "auto", "kl") == pytest.approx(0.5)
    assert math.isnan(modules.report.ratio(table, "claw", 500, "auto"))
    assert math.isnan(modules.report.ratio(table, "normal", 500, "fast"))


def test_summary(modules: Any) -> None:
    l1 = {("normal", "isj"): 0.2, ("normal", "auto"): 0.1, ("claw", "isj"): 0.1, ("claw", "auto"): 0.4}
    rows = [row for row in rows_of(modules, l1, seeds=(0,)) if row.seed == 0]
    lines = {line["group"]: line for line in modules.report.summary(rows, modules.report.entries(rows))}
    assert set(lines) == {"design", "these three", "all smooth"}
    line = lines["all smooth"]
    assert line["l1"] == line["l1_seven"] == pytest.approx(math.sqrt(0.5 * 4))
    assert (line["within"], line["worst_l1"]) == (0.5, pytest.approx(4))
    assert (line["spurious"], line["missed"]) == (1, 2)
    assert line["cpu_ms_mean"] == pytest.approx(2)


def test_a_better_peer_of_the_seven_counts_apart(modules: Any) -> None:
    l1 = {("normal", "isj"): 0.4, ("normal", "pspline"): 0.2, ("normal", "auto"): 0.1}
    table = modules.report.entries(rows_of(modules, l1))
    assert modules.report.ratio(table, "normal", 500, "auto") == pytest.approx(0.115 / 0.415)
    assert modules.report.ratio(table, "normal", 500, "auto", peers=modules.report.SEVEN) == pytest.approx(
        0.115 / 0.215
    )


def test_binned_stands_in_only_where_the_real_one_is_missing(modules: Any) -> None:
    real = rows_of(modules, {("normal", "gmm"): 0.1}, seeds=(1,))
    binned = rows_of(modules, {("normal", "gmm_binned"): 0.5}, seeds=(1, 2))
    table = modules.report.entries(real + binned)
    assert table["normal", 500, "gmm"].seeds == 2
    assert table["normal", 500, "gmm"].l1 == pytest.approx((0.11 + 0.52) / 2)
    assert modules.report.agreement(real + binned)[500] == pytest.approx((1, *[0.51 / 0.11] * 3))


def test_peers_without_rows_come_from_an_earlier_report(modules: Any, tmp_path: Path) -> None:
    report = modules.report
    first = rows_of(modules, {("normal", "isj"): 0.2, ("normal", "gmm"): 0.3, ("normal", "auto"): 0.1})
    report.write_report(first, tmp_path)
    kept = tmp_path / "results" / "accuracy.json"
    again = rows_of(modules, {("normal", "isj"): 0.25, ("normal", "auto"): 0.05})
    found = report.collect(again, kept)
    assert found.kept == ("gmm",)
    assert found.table["normal", 500, "isj"].l1 == pytest.approx(0.265)
    assert found.table["normal", 500, "gmm"].l1 == pytest.approx(0.315)
    assert found.totals["gmm", 500] == report.totals(first)["gmm", 500]
    report.write_report(again, tmp_path, kept)
    assert "not run again: GMM-BIC" in (tmp_path / "docs" / "accuracy.md").read_text()
    assert report.collect([], kept).table["normal", 500, "gmm"] == found.table["normal", 500, "gmm"]


def test_the_readme_quotes_the_results() -> None:
    root = BENCHMARKS.parent
    found, readme = json.loads((root / "results" / "accuracy.json").read_text()), (root / "README.md").read_text()
    lines = {line["n"]: line for line in found["summary"] if (line["rule"], line["group"]) == ("auto", "all smooth")}
    four = [f"{lines[n]['l1']:.2f}".lstrip("0") for n in (500, 5_000, 1_000_000)]
    seven = [f"{lines[n]['l1_seven']:.2f}".lstrip("0") for n in (500, 5_000, 1_000_000)]
    assert "{} of it at 500 numbers, {} at 5 000, {} at a million".format(*four) in readme
    assert "against the best of seven {}, {}, {};".format(*seven) in readme
    bumps = {method: spurious for method, n, *_, spurious, _ in found["totals"] if n == 5_000}
    quoted = f" {bumps['auto']:.2f} bumps that are not there, KDEpy's ISJ has {bumps['isj']:.0f} "
    assert quoted.replace(" 0.", " .") in readme


def test_quick_run_and_its_page(modules: Any, tmp_path: Path) -> None:
    rows = modules.main.main(out=tmp_path / "accuracy.csv", report=tmp_path, quick=True)
    ours = [row for row in rows if row.method in modules.report.OURS]
    assert len(ours) == 2 * len(modules.main.QUICK_TARGETS)
    assert all(0 < row.l1 < 0.5 and row.zeros == 0 and 0 < row.counting < row.cpu for row in ours)
    page = (tmp_path / "docs" / "accuracy.md").read_text()
    assert all(f"| {name} |" in page for name in modules.main.QUICK_TARGETS)
    assert "nan" not in page
    assert (tmp_path / "docs" / "accuracy.png").read_bytes().startswith(b"\x89PNG")
    kept = json.loads((tmp_path / "results" / "accuracy.json").read_text())
    assert len(kept["entries"]) == (len(modules.peers.PEERS) + 1) * len(modules.main.QUICK_TARGETS)
