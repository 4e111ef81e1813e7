"""D Figures 7 and 9: what networks are told, runs that are trained once, intervals, measures, numbers for the pages."""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from scipy import stats
from tiny import NAMES, squares_dataset, tiny_config

from gaussmix.data.base import AttributeDataset
from gaussmix.diffusion.batches import TrainingBatches
from gaussmix.diffusion.config import DiffusionConfig
from gaussmix.diffusion.schedulers import angle_weights, make_betas
from gaussmix.diffusion.train import DiffusionTrainer
from gaussmix.metrics.classifier import AttributeClassifier
from reproduction import runs as training_runs
from reproduction.diffusion import conditions, fig7, fig9
from reproduction.diffusion.conditions import (
    OVERLAP,
    EvaluationFaces,
    MeasuredRun,
    SmallModelConfig,
    SmallModelStudy,
    Variant,
    categories,
    clusters,
    entropy,
    features,
    held_out_loss,
    nothing,
)
from reproduction.page import write_pictures
from reproduction.runs import Curve, drawn, run_folder, trained
from reproduction.statistics import Interval, difference, interval, jackknife

# -- what a network is told --------------------------------------------------------------------------------------------


def faces_like_rows(seed: int, count: int = 300) -> tuple[np.ndarray, tuple[str, ...]]:
    """Hair of one colour or none, a hat over it, and attributes that are independent."""
    rng = np.random.default_rng(seed)
    hair = rng.choice(5, count, p=[0.3, 0.3, 0.2, 0.1, 0.1])
    rows = np.zeros((count, 8), np.uint8)
    rows[np.arange(count), hair] = hair < 4
    rows[:, 4] = (hair == 4) & (rng.random(count) < 0.7)
    rows[:, 5:] = rng.random((count, 3)) < (0.5, 0.2, 0.8)
    rows = rows[:, [4, 0, 1, 2, 3, 5, 6, 7]]
    return rows, ("hat", "black", "brown", "blond", "grey", "smile", "beard", "young")


def best_exclusive_set(rows: np.ndarray) -> tuple[int, ...]:
    """Of all sets of columns, none of two met in more than `OVERLAP`, the one of most information; by trying all."""
    best, most = (), -1.0
    for size in range(1, rows.shape[1] + 1):
        for columns in itertools.combinations(range(rows.shape[1]), size):
            if any((rows[:, i] & rows[:, j]).mean() >= OVERLAP for i, j in itertools.combinations(columns, 2)):
                continue
            labels = [next((k for k in columns if row[k]), -1) for row in rows]
            information = stats.entropy(np.unique(labels, return_counts=True)[1], base=2)
            if information > most + 1e-9:
                best, most = columns, information
    return best


@pytest.mark.parametrize("seed", range(3))
def test_categories_are_the_most_informative_exclusive_set(seed: int) -> None:
    rows, names = faces_like_rows(seed)
    best = best_exclusive_set(rows)
    told = categories(rows, names)
    assert told.names == (*(names[k] for k in best), "none")
    given = told.apply(rows)
    assert (given.sum(1) == 1).all()
    np.testing.assert_array_equal(given[:, :-1], rows[:, list(best)])  # these rows never have two


def test_a_row_with_two_categories_belongs_to_the_first() -> None:
    rows, names = faces_like_rows(0)
    told = categories(rows, names)
    both = np.zeros((1, 8), np.uint8)
    both[0, [1, 3]] = 1
    assert told.names[int(told.apply(both).argmax())] == "black"


def test_without_pictures_that_have_none_there_is_no_such_class() -> None:
    rows = np.eye(3, dtype=np.uint8)[np.arange(300) % 3]
    assert categories(rows, ("a", "b", "c")).names == ("a", "b", "c")


def test_clusters_give_each_row_to_the_nearest_centre() -> None:
    rows, _ = faces_like_rows(1)
    told = clusters(rows, 6, seed=0)
    given = told.apply(rows)
    assert given.shape == (300, 6)
    assert (given.sum(1) == 1).all()
    labels = given.argmax(1)
    centres = np.stack([rows[labels == k].mean(0) for k in range(6)])
    new, _ = faces_like_rows(2)
    distances = ((new[:, None] - centres) ** 2).sum(2)
    chosen = distances[np.arange(300), told.apply(new).argmax(1)]
    np.testing.assert_allclose(chosen, distances.min(1), atol=1e-5)  # k-means has come to rest; ties may go either way
    assert len(clusters(rows[:4], 16, seed=0).names) == len(np.unique(rows[:4], axis=0))


def test_nothing_and_features() -> None:
    rows, names = faces_like_rows(0)
    np.testing.assert_array_equal(features(names).apply(rows), rows)
    assert not nothing().apply(rows).any()
    assert entropy(nothing().apply(rows)) == 0
    assert entropy(np.eye(8, dtype=np.uint8)) == 3


def test_what_is_told_decides_the_key_of_the_data() -> None:
    squares = squares_dataset()
    rows = squares.attributes
    told = [features(tuple(NAMES)), nothing(), clusters(rows, 3, seed=0), clusters(rows, 2, seed=0)]
    keys = [each.of(squares).key for each in told]
    assert len({*keys, squares.key}) == 5
    assert keys == [each.of(squares).key for each in told]
    changed = told[1].of(squares)
    assert changed.attribute_names == ("nothing",)
    assert changed.images is squares.images


# -- intervals ---------------------------------------------------------------------------------------------------------


def test_intervals_are_students() -> None:
    rng = np.random.default_rng(0)
    for n in (2, 3, 10):
        a, b = rng.normal(1, 2, n), rng.normal(0, 1, n)
        pairs: list[tuple[Interval, Any]] = [
            (interval(a), stats.ttest_1samp(a, 0)),
            (difference(a, b), stats.ttest_rel(a, b)),
        ]
        for ours, theirs in pairs:
            low, high = theirs.confidence_interval(0.95)
            np.testing.assert_allclose((ours.mean - ours.half, ours.mean + ours.half), (low, high))
            assert (abs(ours.mean) > ours.half) == (theirs.pvalue < 0.05)


def test_one_repetition_has_no_interval() -> None:
    one = interval([3.0])
    assert one.mean == 3
    assert np.isnan(one.half)


def test_jackknife_of_a_mean() -> None:
    """With groups of one it is the textbook's standard error."""
    x = np.random.default_rng(0).standard_normal(17)
    assert jackknife(lambda kept: float(x[kept].mean()), 17) == pytest.approx(x.std(ddof=1) / np.sqrt(17))
    large = np.random.default_rng(1).standard_normal(4000)
    assert jackknife(lambda kept: float(large[kept].mean()), 4000) == pytest.approx(1 / np.sqrt(4000), rel=0.4)
    assert jackknife(lambda kept: float(large[kept].mean()), 4000, groups=4000) == pytest.approx(
        large.std(ddof=1) / np.sqrt(4000)
    )


# -- runs that are trained once ----------------------------------------------------------------------------------------


def test_the_folder_follows_from_what_decides_the_result(tmp_path: Path) -> None:
    squares = squares_dataset()
    plain = DiffusionConfig()
    where = run_folder(plain, squares, tmp_path)
    assert where.parent == tmp_path
    for same in (
        {"output": Path("elsewhere")}, {"resume": True}, {"threads": 4}, {"checkpoint_every": 7},
        {"keep_checkpoints": 1}, {"guidance": 5.0}, {"data": "a folder"}, {"reader_steps": 0},
    ):  # fmt: skip
        assert run_folder(replace(plain, **same), squares, tmp_path) == where
    others: list[dict[str, Any]] = [
        {"seed": 1}, {"steps": 5}, {"pairing": "fixed"}, {"classifier_weight": 0.1}, {"log_every": 1},
    ]  # fmt: skip
    folders = {run_folder(replace(plain, **other), squares, tmp_path) for other in others}
    folders |= {run_folder(plain, replace(squares, key="squares-2"), tmp_path), where}
    assert len(folders) == len(others) + 2


def quick_config(**settings: Any) -> DiffusionConfig:
    return tiny_config(Path("unused"), **{"pairing": "fixed", "steps": 12, "log_every": 1, **settings})


def test_an_interrupted_run_goes_on_and_a_finished_one_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    squares, config = squares_dataset(), quick_config()
    whole, curve = trained(config, squares, tmp_path / "whole")
    steps = DiffusionTrainer.steps

    def interrupted(self: DiffusionTrainer) -> Any:
        for result in steps(self):
            yield result
            if self.step == 7:
                os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(DiffusionTrainer, "steps", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trained(config, squares, tmp_path)
    out = run_folder(config, squares, tmp_path)
    assert (out / "checkpoints").is_dir()
    first = json.loads((out / "cost.json").read_text())["cpu_seconds"]

    resumed, again = trained(config, squares, tmp_path)
    for a, b in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(a, b)
    np.testing.assert_array_equal(again.steps, np.arange(1, 13))
    np.testing.assert_array_equal(again.denoising, curve.denoising)
    assert again.cpu_seconds > first > 0
    assert not (out / "checkpoints").exists(), "a finished run keeps what pages need"
    assert not (out / "samples.png").exists()

    monkeypatch.setattr(training_runs, "train", None)  # not called any more
    read, same = trained(config, squares, tmp_path)
    np.testing.assert_array_equal(same.gradient_norm, again.gradient_norm)
    assert torch.equal(next(read.network.parameters()), next(resumed.network.parameters()))

    note = out / "config.json"
    note.write_text(note.read_text().replace('"learning_rate": 0.0015', '"learning_rate": 0.1'))
    with pytest.raises(ValueError, match=r"other settings \(learning_rate was 0\.1 and is 0\.0015\); remove it"):
        trained(config, squares, tmp_path)


def test_pictures_are_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, _ = trained(quick_config(steps=1), squares_dataset(), tmp_path)
    asked = squares_dataset().attributes[:3]
    first = drawn(pipeline, asked, tmp_path, seed=0, steps=2, guidance=1.0)
    monkeypatch.setattr(training_runs, "draw", None)
    np.testing.assert_array_equal(drawn(pipeline, asked, tmp_path, seed=0, steps=2, guidance=1.0), first)
    for other in ({"seed": 1}, {"steps": 3}, {"guidance": 2.0}):
        with pytest.raises(TypeError):
            drawn(pipeline, asked, tmp_path, **{"seed": 0, "steps": 2, "guidance": 1.0, **other})


# -- measures ----------------------------------------------------------------------------------------------------------


class Constant:
    """A network that answers ``sample`` times the noisy picture, and remembers the Z that it was shown."""

    def __init__(self, factor: float):
        self.factor, self.shown = factor, []

    def __call__(self, noisy: torch.Tensor, level: Any, latents: torch.Tensor, attributes: Any) -> SimpleNamespace:
        self.shown.append(latents)
        return SimpleNamespace(sample=self.factor * noisy)


def stub_pipeline(factor: float) -> Any:
    unet = Constant(factor)
    return SimpleNamespace(network=unet, draw_attribute_latents=lambda count, generator: torch.zeros(count, 3, 2))


def test_held_out_loss_of_networks_that_know_nothing() -> None:
    """Pictures of +-1, so of variance 1: v has variance 1 and no correlation with x_t; answer c x_t loses 1 + c^2."""
    images = np.random.default_rng(0).choice([0, 255], (120, 16, 16, 3)).astype(np.uint8)
    conditions = np.zeros((120, 3), np.uint8)
    for factor in (0.0, 0.5):
        loss = held_out_loss(stub_pipeline(factor), DiffusionConfig(), images, conditions, 0)
        np.testing.assert_allclose(loss, 1 + factor**2, rtol=0.02)
    grey = np.full_like(images, 127)
    betas = make_betas("constant", 100)
    weights = angle_weights(betas)
    kept = (np.cumprod(1 - betas) * weights / weights.sum()).sum()  # of black noise v = sqrt(ab) eps is left
    assert held_out_loss(stub_pipeline(0), DiffusionConfig(), grey, conditions, 0) == pytest.approx(kept, rel=0.1)


def test_held_out_loss_shows_the_pictures_own_z() -> None:
    images, conditions = np.zeros((60, 8, 8, 3), np.uint8), np.zeros((60, 3), np.uint8)
    latents = torch.arange(360.0).view(60, 3, 2)
    pipeline = stub_pipeline(0)
    one = held_out_loss(pipeline, DiffusionConfig(), images, conditions, 0, latents)
    assert torch.equal(torch.cat(pipeline.network.shown), latents)
    assert one == held_out_loss(stub_pipeline(0), DiffusionConfig(), images, conditions, 0), "the same levels and noise"
    assert one != held_out_loss(stub_pipeline(0), DiffusionConfig(), images, conditions, 1)


def squares_faces(dataset: AttributeDataset) -> EvaluationFaces:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        judge = AttributeClassifier(tuple(NAMES), 8).eval()
    asked = dataset.images[:6]
    return EvaluationFaces(dataset, asked, dataset.attributes[:6], judge, judge.features(dataset.images))


@pytest.mark.parametrize("pairing", ["fixed", "fresh", "matched"])
def test_matched_z_are_read_off_held_out_faces(pairing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    squares = squares_dataset()
    faces, told = squares_faces(squares), features(tuple(NAMES))
    config = SmallModelConfig(training_steps=2, channels=(8, 8), batch_size=4)
    shown: list[torch.Tensor | None] = []

    def spy(*args: Any) -> float:
        shown.append(args[5])
        return held_out_loss(*args)

    monkeypatch.setattr(conditions, "held_out_loss", spy)
    variant = Variant(told, {"pairing": pairing, "size": 8})
    measured = SmallModelStudy(config, faces, tmp_path).measure(variant, 0, draws=False)
    assert set(measured.values) == {"training loss", "held-out loss"}
    assert measured.values["training loss"] == measured.curve.denoising[-1]
    assert len(measured.pictures) == 0
    if pairing != "matched":
        assert shown == [None]
        return
    data, settings = told.of(squares), config.recipe(0, **variant.changes)
    out = run_folder(settings, data, tmp_path)
    batches = TrainingBatches(data, settings, out / "latents.safetensors", 4)
    assert batches.encoder is not None
    assert shown[0] is not None
    np.testing.assert_array_equal(shown[0], batches.encoder.encode(faces.asked, faces.attributes, config.seed))


def test_running_means() -> None:
    values = np.random.default_rng(0).normal(size=(2, 30))
    for window in (1, 4, 30):
        expected = [np.convolve(row, np.full(window, 1 / window), "valid") for row in values]
        np.testing.assert_allclose(fig9.smoothed(values, window), expected, atol=1e-12)


def made_up_curve(seed: int, count: int) -> Curve:
    """Falls to 0.5, and trembles by 0.02; gradients of norm 2 +- 0.5."""
    rng, steps = np.random.default_rng(seed), np.arange(1, count + 1)
    denoising = 0.5 + 1 / steps + rng.normal(0, 0.02, count)
    norm = 2 + rng.normal(0, 0.5, count)
    return Curve(steps, denoising, norm, 1.0)


def test_measures_of_a_curve_with_known_noise() -> None:
    found = fig9.curve_measures(made_up_curve(0, 4000))
    assert found["step to step"] == pytest.approx(0.02, rel=0.05)
    assert found["first half"] == pytest.approx(0.5 + np.mean(1 / np.arange(1, 2001)), abs=0.002)
    assert found["gradient"] == pytest.approx(2, rel=0.02)
    assert found["gradient spread"] == pytest.approx(0.25, rel=0.05)


# -- numbers for the pages ---------------------------------------------------------------------------------------------

SHAKE = np.array([0.002, -0.001, -0.001])


def values_of(names: Iterable[str]) -> dict[str, dict[str, np.ndarray]]:
    """Two measures of three seeds, a different mean and spread for each name."""
    return {
        name: {"FD": 2.0 + i + (i + 1) * np.roll(SHAKE, i), "held-out loss": 0.2 + i * SHAKE}
        for i, name in enumerate(names)
    }


def test_measures_become_means_with_intervals() -> None:
    nobody = np.zeros((0, 8, 8, 3), np.uint8)
    runs = [MeasuredRun({"FD": value, "recall": 0.5}, made_up_curve(0, 9), nobody) for value in (1.0, 3.0)]
    found = conditions.summaries(conditions.by_measure({"one": runs}))["one"]
    assert found["FD"]["mean"] == 2
    assert found["FD"]["half"] == pytest.approx(stats.t.ppf(0.975, 1))
    assert found["FD"]["runs"].tolist() == [1, 3]
    assert found["recall"]["half"] == 0


def test_differences_are_taken_seed_by_seed() -> None:
    values = values_of(fig9.LABELS)
    found = fig9.derived(values)
    assert set(found["with_minus_without"]) == set(fig9.CONTROLS)
    for form, control in fig9.CONTROLS.items():
        gap = stats.ttest_rel(values[form]["FD"], values[control]["FD"]).confidence_interval(0.95)
        ours = found["with_minus_without"][form]["FD"]
        np.testing.assert_allclose((ours["mean"] - ours["half"], ours["mean"] + ours["half"]), gap)
    assert found["spread_of_held_out_loss"]["up"] == pytest.approx(3 * SHAKE.std(ddof=1))
    one = {name: {key: v[:1] for key, v in each.items()} for name, each in values.items()}
    assert fig9.derived(one)["spread_of_held_out_loss"]["up"] is None


def test_what_was_told_is_counted() -> None:
    squares = squares_dataset()
    told = {"nothing": Variant(nothing()), "features": Variant(features(tuple(NAMES)))}
    found = fig7.derived(told, squares, values_of(told))
    rows = squares.attributes[squares.indices("train")]
    assert found["told"]["nothing"] == {"columns": 1, "distinct": 1, "entropy_bits": 0}
    assert found["told"]["features"]["columns"] == 3
    assert found["told"]["features"]["distinct"] == len(np.unique(rows, axis=0))
    assert set(found["minus_features"]) == {"nothing"}
    assert found["minus_features"]["nothing"]["FD"]["mean"] == pytest.approx(-1)


# -- pictures ----------------------------------------------------------------------------------------------------------


def test_legends_leave_room_for_the_curves() -> None:
    figure = fig9.draw_curves({name: [made_up_curve(seed, 100) for seed in range(2)] for name in fig9.LABELS})
    figure.draw_without_rendering()
    for axes in figure.axes:
        legend = axes.get_legend()
        assert legend is not None
        assert legend.get_window_extent().width < 0.75 * axes.get_window_extent().width


def test_large_pictures_get_a_palette(tmp_path: Path) -> None:
    """Rows of faces fill a repository; lines do not, and stay as they are."""

    def show(pixels: np.ndarray) -> Figure:
        figure = Figure()
        figure.add_subplot().imshow(pixels)
        return figure

    noise = np.random.default_rng(0).random((300, 300, 3))
    paths = write_pictures("name", {"": show(noise), "-flat": show(np.ones((9, 9, 3)))}, tmp_path)
    with Image.open(paths[0]) as large, Image.open(paths[1]) as flat:
        assert large.size == flat.size == (704, 528)
        assert (large.mode, flat.mode) == ("P", "RGBA")
