"""The gallery: every script draws what its docstring promises, on less data."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SMALL: dict[str, dict[str, Any]] = {
    "shapes": {"n": 600},
    "outlier": {"n": 1000},
    "streaming": {"chunk": 400, "n_chunks": 5},
    "edges_and_atoms": {"n": 1500},
    "rules": {"n": 800, "n_components": 40, "n_bandwidths": 3},
    "sklearn_mixture": {"n": 300, "n_sampled": 500},
    "weights": {"population": 100_000, "n_asked": 1000},
    "distances": {"n_shifts": 7},
    "moving": {"n_components": 60, "n_steps": 200},
    "regression": {"n": 400, "n_steps": 80},
    "conditional": {"n": 250, "rule": "fast"},
}
ONE_LEGEND = {"distances", "moving", "regression"}  # for all panels, in one of them


def example(name: str) -> Any:
    return importlib.import_module(f"examples.plot_{name}")


def drawn(name: str) -> list[Axes]:
    """The axes that a script draws, of its small version."""
    return example(name).draw(**SMALL[name]).axes


def line(axes: Axes, label: str) -> tuple[np.ndarray, np.ndarray]:
    """x and y of the one line whose label starts so."""
    (found,) = [each for each in axes.lines if str(each.get_label()).startswith(label)]
    x, y = found.get_data()
    return np.asarray(x), np.asarray(y)


def legend(axes: Axes) -> list[str]:
    found = axes.get_legend()
    assert found is not None
    return [text.get_text() for text in found.get_texts()]


def test_every_script_is_tested_and_has_its_picture_in_a_guide() -> None:
    names = {path.stem.removeprefix("plot_") for path in (ROOT / "examples").glob("plot_*.py")}
    assert names == set(SMALL)
    guide = "".join((ROOT / "docs" / name).read_text() for name in ("density.md", "distances.md", "conditional.md"))
    for name in names:
        picture = ROOT / "docs" / "gallery" / f"{name}.png"
        assert picture.stat().st_size < 120_000
        assert f"(gallery/{name}.png)" in guide
        assert f"(../examples/plot_{name}.py)" in guide


@pytest.mark.parametrize("name", SMALL)
def test_script_writes_a_titled_picture(name: str, tmp_path: Path) -> None:
    out = tmp_path / "new" / "picture.png"
    assert example(name).main(out=out, **SMALL[name]) == out
    assert Image.open(out).size > (800, 300)
    assert set(SMALL[name]) <= set(inspect.signature(example(name).main).parameters)


@pytest.mark.parametrize("name", SMALL)
def test_panels_have_titles_or_labels_and_legends(name: str) -> None:
    panels = drawn(name)
    for axes in panels:
        if axes.get_ylabel() == "share of a point mass":  # the second axis of a panel
            continue
        assert axes.get_title() or axes.get_xlabel()
        assert axes.get_legend() is not None or name in ONE_LEGEND or name == "sklearn_mixture"
    if name in ONE_LEGEND:
        assert any(axes.get_legend() is not None for axes in panels)


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
    assert machines.get_title().endswith("differ from one pass by 0")
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
    assert [axes.get_title() for axes in panels] == [
        f'"{rule}"' for rule in ("histogram", "algorithm1", "algorithm2", "kernel", "ml")
    ]
    assert legend(last) == ["histogram", "algorithm1", "algorithm2", "kernel", "ml"]
    errors = {axes.get_title(): [float(text.split()[-1]) for text in legend(axes)] for axes in panels}
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
    assert ages.get_title() == "100 lines of a table, 0.1 million people"
    x, density = line(ages, "smooth density")
    assert np.all(density[(x > 5) & (x < 80)] < 0.03)  # a comb would reach above: the ages are a lattice
    x, truth = line(survey, "the population")
    plain, weighted = (np.trapezoid(np.abs(line(survey, label)[1] - truth), x) for label in ("without", "weighted"))
    assert weighted < 0.5 * plain


def test_flags_come_from_the_signature() -> None:
    done = subprocess.run(
        [sys.executable, "examples/plot_outlier.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert {"--out", "--n", "--far", "--seed"} <= set(done.stdout.replace(",", " ").split())
    assert "One point at a million" in done.stdout


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
        *([float(word) for word in re.findall(r"-?\d+\.\d+", axes.get_title())] for axes in (gaussian, moved)),
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
    assert float(re.findall(r"[\d.]+(?=%)", band.get_title())[0]) > 85
    for label in ("learnt", "truth"):
        x, density = line(cut, label)
        assert np.trapezoid(density, x) == pytest.approx(1, abs=0.03)
    _, truth = line(cut, "truth")
    assert np.sum((truth[1:-1] > truth[:-2]) & (truth[1:-1] >= truth[2:])) == 2
    x, learnt = line(cut, "learnt")
    between, moon = learnt[(x > 0) & (x < 0.4)], learnt[x > 0.6]
    assert between.mean() < 0.25 * moon.max()
