"""The gallery: every script draws what its docstring promises, on less data."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

ROOT = Path(__file__).resolve().parents[1]
SMALL: dict[str, dict[str, Any]] = {
    "calibration": {"N": 250},
    "conditional": {"N": 250, "RULE": "fast"},
    "dates": {"N": 1500},
    "distances": {"N_SHIFTS": 7},
    "drift": {"N": 1500},
    "edges_and_atoms": {"N": 1500},
    "faces": {"COUNT": 2, "STEPS": 2},
    "kdeplot": {"N": 800},
    "modes": {"N": 800},
    "moving": {"N_COMPONENTS": 60, "N_STEPS": 200},
    "outlier": {"N": 1000},
    "regression": {"N": 400, "N_STEPS": 80},
    "rules": {"N": 800, "N_COMPONENTS": 40, "N_BANDWIDTHS": 3},
    "shapes": {"N": 600},
    "sklearn_mixture": {"N": 300, "N_SAMPLED": 500},
    "streaming": {"CHUNK": 400, "N_CHUNKS": 5},
    "synthetic_rows": {"N": 500},
    "table": {"N": 1500},
    "tails": {"N": 3000},
    "weights": {"POPULATION": 100_000, "N_ASKED": 1000},
}
NO_LEGEND = {"dates", "faces", "sklearn_mixture", "synthetic_rows"}
IN_GUIDES = {path.stem for path in (ROOT / "docs" / "gallery").glob("*.png")}


def run_smaller(source: str, smaller: dict[str, Any]) -> dict[str, Any]:
    """Run a script with other values of some of its constants; its names afterwards."""
    tree = ast.parse(source)
    left = dict(smaller)
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(target, ast.Name) and target.id in left:
            node.value = ast.copy_location(ast.Constant(left.pop(target.id)), node)
    assert not left, f"no such constants: {left}"
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(ast.fix_missing_locations(tree), "example", "exec"), names)
    return names


@cache
def figure(name: str) -> Any:
    """What the script draws, of its small version."""
    matplotlib.use("agg")
    with matplotlib.rc_context():
        names = run_smaller((ROOT / "examples" / f"plot_{name}.py").read_text(), SMALL[name])
    plt.close("all")
    return names["figure"]


def drawn(name: str) -> list[Axes]:
    return figure(name).axes


def line(axes: Axes, label: str) -> tuple[np.ndarray, np.ndarray]:
    """x and y of the one line whose label starts so."""
    (found,) = [each for each in axes.lines if str(each.get_label()).startswith(label)]
    x, y = found.get_data()
    return np.asarray(x), np.asarray(y)


def legend(axes: Axes) -> list[str]:
    found = axes.get_legend()
    assert found is not None
    return [text.get_text() for text in found.get_texts()]


def test_every_script_is_tested_and_those_of_the_guides_have_their_picture() -> None:
    names = {path.stem.removeprefix("plot_") for path in (ROOT / "examples").glob("plot_*.py")}
    assert names == set(SMALL)
    assert len(names) >= 20
    guide = "".join((ROOT / "docs" / name).read_text() for name in ("density.md", "distances.md", "conditional.md"))
    assert set(re.findall(r"examples/plot_(\w+)\.py\)", guide)) == IN_GUIDES <= names
    for name in IN_GUIDES:
        assert (ROOT / "docs" / "gallery" / f"{name}.png").stat().st_size < 120_000
        assert f"(gallery/{name}.png)" in guide


def test_a_constant_that_is_not_there_is_noticed() -> None:
    with pytest.raises(AssertionError, match="no such constants"):
        run_smaller("N = 3", {"M": 1})
    assert run_smaller("N: int = 3\nx = N", {"N": 1})["x"] == 1


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_script_has_a_heading_and_a_style(path: Path) -> None:
    """As the site's gallery wants it; what is not of faces has the one style."""
    source = path.read_text()
    title, rule = (ast.get_docstring(ast.parse(source)) or "").splitlines()[:2]
    assert rule == "=" * len(title)
    assert len(title) < 60
    assert ('plt.style.use("gaussmix.plots.light")' in source) != ("faces" in path.stem)


@pytest.mark.parametrize("name", SMALL)
def test_panels_have_titles_or_labels_and_legends(name: str, tmp_path: Path) -> None:
    figure(name).savefig(tmp_path / "picture.png", dpi=40)
    panels = drawn(name)
    for axes in panels:
        assert axes.get_title("left") or axes.get_title() or axes.get_xlabel() or axes.get_ylabel() or name == "faces"
    assert name in NO_LEGEND or any(axes.get_legend() is not None for axes in panels)


def test_shapes_states_the_area_between_estimate_and_truth() -> None:
    for axes in drawn("shapes"):
        x, truth = line(axes, "truth")
        for label in ("gaussian_kde", "GMMExpansion"):
            (text,) = [each for each in legend(axes) if each.startswith(label)]
            area = np.trapezoid(np.abs(line(axes, label)[1] - truth), x)
            assert float(text.split()[-1]) == pytest.approx(area, abs=6e-4)


def test_outlier_breaks_the_others_and_not_the_default() -> None:
    middle, tail = drawn("outlier")
    x, ours = line(middle, "GMMExpansion")
    normal = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    assert np.trapezoid(np.abs(ours - normal), x) < 0.12
    for label in ("gaussian_kde", "the papers' grid"):
        assert line(middle, label)[1].max() < 0.01
    assert line(tail, "GMMExpansion")[1].min() > -100
    assert line(tail, "gaussian_kde")[1].min() < -1e6


def test_streams_and_machines_agree_with_one_pass() -> None:
    stream, machines = drawn("streaming")
    assert machines.get_title("left").endswith("differ from one pass by 0")
    labels = [text for text in legend(stream) if text.startswith("after")]
    assert labels == ["after 400 numbers", "after 2000 numbers"]
    x, merged = line(machines, "merged")
    assert np.trapezoid(merged, x) == pytest.approx(1, abs=0.01)


def test_edges_leak_only_in_the_kernel_estimate() -> None:
    waits, rain, rounded, shares = drawn("edges_and_atoms")
    x, ours = line(waits, "GMMExpansion")
    _, kernel = line(waits, "gaussian_kde")
    below = x < -0.2
    assert ours[below].max() < 1e-3 < 0.02 < kernel[below].max()
    assert any(text.startswith("density") for text in legend(rain))
    (stem,) = [float(text.get_text().rstrip("%")) for text in shares.texts]
    assert stem == pytest.approx(100 / 3, abs=5)
    x, ours = line(rounded, "GMMExpansion")
    _, kernel = line(rounded, "gaussian_kde")
    peaks = [int(np.sum(np.diff(np.sign(np.diff(y))) < 0)) for y in (ours, kernel)]
    assert peaks[0] <= 3 < 10 < peaks[1]


def test_rules_name_error_and_bandwidth() -> None:
    *panels, last = drawn("rules")
    assert [axes.get_title("left") for axes in panels] == [
        f'"{rule}"' for rule in ("histogram", "algorithm1", "algorithm2", "kernel", "ml")
    ]
    assert legend(last) == ["histogram", "algorithm1", "algorithm2", "kernel", "ml"]
    errors = {axes.get_title("left"): [float(text.split()[-1]) for text in legend(axes)] for axes in panels}
    assert errors['"ml"'][1] < errors['"ml"'][0]  # chosen bandwidth against t = 1
    assert errors['"algorithm2"'][1] > 2 * errors['"histogram"'][1]


def test_sklearn_mixture_reads_its_own_quantiles() -> None:
    left, right = drawn("sklearn_mixture")
    x, cdf = line(right, "cdf")
    quantiles = [text.get_text() for text in right.texts]
    for text, share in zip(quantiles, (0.05, 0.5, 0.95), strict=True):
        assert np.interp(float(text.split()[-1]), x, cdf) == pytest.approx(share, abs=0.005)
    x, pdf = line(left, "pdf")
    components = sum(np.asarray(each.get_ydata()) for each in left.lines if each.get_linestyle() == ":")
    assert np.allclose(pdf, components)


def test_weights_make_the_survey_look_like_the_population() -> None:
    ages, survey = drawn("weights")
    assert ages.get_title("left") == "100 lines of a table, 0.1 million people"
    x, density = line(ages, "smooth density")
    assert np.all(density[(x > 5) & (x < 80)] < 0.03)  # a comb would reach above: the ages are a lattice
    x, truth = line(survey, "the population")
    plain, weighted = (np.trapezoid(np.abs(line(survey, label)[1] - truth), x) for label in ("without", "weighted"))
    assert weighted < 0.5 * plain


def test_distances_show_what_each_one_sees() -> None:
    left, right = drawn("distances")
    shifts, moved = line(left, "Wasserstein")
    assert np.allclose(moved, shifts)
    assert np.allclose(line(left, "difference of the means")[1], shifts)
    widths, widened = line(right, "Wasserstein")
    assert np.allclose(widened, (widths - 1) * np.sqrt(2 / np.pi))
    assert np.allclose(line(right, "difference of the means")[1], 0)
    assert np.all(line(left, "total variation")[1] <= 1)
    assert np.allclose(line(left, "KL divergence")[1], shifts**2 / 2)


def test_moving_ends_beside_and_at_the_target() -> None:
    curve, *panels = drawn("moving")
    assert line(curve, "the paper")[1][-1] > 0.1
    assert line(curve, "projected")[1][-1] < 1e-6
    assert len(panels) == 6
    for axes in panels:
        start, weights = axes.lines
        assert np.sum(np.asarray(start.get_ydata())) == pytest.approx(1)
        assert np.sum(np.asarray(weights.get_ydata())) == pytest.approx(1)


def test_regression_splits_where_one_gaussian_is_wide() -> None:
    gaussian, moved, cut = drawn("regression")
    nats, scores = zip(
        *([float(word) for word in re.findall(r"-?\d+\.\d+", axes.get_title("left"))] for axes in (gaussian, moved)),
        strict=True,
    )
    assert nats[1] < nats[0] - 0.2
    assert scores[1] < scores[0]
    for label in ("one Gaussian", "weights on a moved basis", "truth"):
        x, density = line(cut, label)
        assert np.trapezoid(density, x) == pytest.approx(1, abs=0.06)
    _, truth = line(cut, "truth")
    assert np.sum((truth[1:-1] > truth[:-2]) & (truth[1:-1] >= truth[2:])) == 3


def test_conditional_follows_both_moons() -> None:
    fan, band, cut = drawn("conditional")
    assert legend(fan)[:3] == ["densest 50 %", "densest 80 %", "densest 95 %"]
    assert float(re.findall(r"[\d.]+(?=%)", band.get_title("left"))[0]) > 85
    for label in ("learnt", "truth"):
        x, density = line(cut, label)
        assert np.trapezoid(density, x) == pytest.approx(1, abs=0.03)
    _, truth = line(cut, "truth")
    assert np.sum((truth[1:-1] > truth[:-2]) & (truth[1:-1] >= truth[2:])) == 2
    x, learnt = line(cut, "learnt")
    between, moon = learnt[(x > 0) & (x < 0.4)], learnt[x > 0.6]
    assert between.mean() < 0.25 * moon.max()


def test_drift_marks_what_moved_and_nothing_else() -> None:
    _, bars = drawn("drift")
    widths = [patch.get_width() for patch in bars.patches if isinstance(patch, Rectangle)]
    names = [label.get_text() for label in bars.get_yticklabels()]
    moved = {
        name
        for name, (floor, found) in zip(names, zip(widths[::2], widths[1::2], strict=True), strict=True)
        if found > floor
    }
    assert moved == {"price"}


def test_drawn_rows_are_as_dependent_as_real_ones() -> None:
    real, anew, _ = (axes.get_title("left") for axes in drawn("synthetic_rows"))
    found = [float(title.split()[-1]) for title in (real, anew)]
    assert found[0] == pytest.approx(found[1], abs=0.06)
    assert min(found) > 0.7


def test_modes_lie_where_the_line_is_highest() -> None:
    (axes,) = drawn("modes")
    x, density = (
        np.asarray(each, float)
        for each in next(line.get_data() for line in axes.lines if str(line.get_label()).startswith("_"))
    )
    at, heights = line(axes, "modes")
    assert len(at) == 2
    assert max(heights) == pytest.approx(np.max(density), rel=0.01)
    assert np.interp(at, x, density) == pytest.approx(heights, rel=0.02)


def test_mean_excess_of_the_mixture_follows_the_data() -> None:
    _, excess = drawn("tails")
    (_, ours), (_, theirs) = line(excess, "of the mixture"), line(excess, "of the data")
    assert np.median(np.abs(ours / theirs - 1)) < 0.05


def test_intervals_cover_what_they_promise() -> None:
    reliability, _ = drawn("calibration")
    levels, covered = line(reliability, "250 observations")
    assert np.abs(levels - covered).max() < 0.15


def test_glasses_change_the_eyes_and_not_the_corners() -> None:
    names = run_smaller((ROOT / "examples" / "plot_faces.py").read_text(), SMALL["faces"])
    plt.close("all")
    without, present = (np.asarray(each, float) for each in names["pictures"])
    change = np.abs(without - present).mean((0, 3))
    assert change[12:20].mean() > 2 * change[:3].mean()
