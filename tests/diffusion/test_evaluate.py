from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from metrics.coloured_squares import NAMES, SIZE, coloured_squares, draw_squares
from rich.console import Console

from gaussmix import cli
from gaussmix.data.base import AttributeDataset
from gaussmix.diffusion import evaluate as module
from gaussmix.diffusion.evaluate import EvaluationReport, evaluate_pictures, evaluate_pipeline
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.metrics import DefectScores, load_or_train_classifier


class SquarePainter:
    """Takes the place of a trained pipeline: draws exactly what is asked for, but for the attributes it ignores."""

    def __init__(self, names: tuple[str, ...] = NAMES, ignores: tuple[str, ...] = (), guesses: bool = False):
        self.attribute_names, self.ignores, self.guesses = names, ignores, guesses
        self.network = SimpleNamespace(
            config={"sample_size": SIZE}, state_shape=(3, SIZE, SIZE), device=torch.device("cpu"), dtype=torch.float32
        )
        self.asked: list[np.ndarray] = []

    def set_progress_bar_config(self, **_: object) -> None: ...

    def draw_attribute_latents(self, count: int, generator: torch.Generator, _components: None) -> torch.Tensor:
        return torch.randn(count, 1, 1, generator=generator)

    def __call__(self, attributes: np.ndarray, attribute_latents: torch.Tensor, *, latents: torch.Tensor, **_: Any):
        self.asked.append(np.array(attributes))
        drawn = np.zeros((len(attributes), len(NAMES)), np.uint8)
        for k, name in enumerate(self.attribute_names):
            guess = latents[:, 0, 0, k].numpy() > 0
            drawn[:, NAMES.index(name)] = guess if self.guesses or name in self.ignores else attributes[:, k]
        background = torch.sigmoid(latents[:, 0, 1, 1] + attribute_latents[:, 0, 0]).numpy()
        return SimpleNamespace(images=draw_squares(drawn, background))


@pytest.fixture(scope="module")
def dataset() -> AttributeDataset:
    return coloured_squares()


@pytest.fixture(scope="module")
def cache(dataset: AttributeDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judge")
    load_or_train_classifier(dataset, steps=30, cache=folder, progress=False)
    return folder


@pytest.fixture(autouse=True)
def quick_judge(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(dataset: AttributeDataset, *, cache: Path | None, progress: bool):
        return load_or_train_classifier(dataset, steps=30, cache=cache, progress=progress)

    monkeypatch.setattr(module, "load_or_train_classifier", load)


def run(painter: SquarePainter | AttributeDiffusionPipeline, dataset: AttributeDataset, cache: Path, **settings: Any):
    settings = {"count": 100, "change_count": 16, "progress": False, **settings}
    return evaluate_pipeline(cast(AttributeDiffusionPipeline, painter), dataset, cache=cache, **settings)


def test_a_perfect_model(dataset: AttributeDataset, cache: Path):
    painter = SquarePainter()
    report = run(painter, dataset, cache)
    assert report.real[:3].tolist() == [1, 1, 1]
    assert report.generated[:3].tolist() == [1, 1, 1]
    assert report.changes[:3].tolist() == [1, 1, 1]
    assert report.companions[:3].tolist() == [0, 0, 0]
    for column in (report.real, report.generated, report.changes, report.pixel_change, report.companions):
        assert np.isnan(column[3])  # nothing is striped, so nothing can be said
    dot = 9 / SIZE**2 * (255 - 90)  # 3 x 3 of 16 x 16 pixels turn from the background of 60 ... 120 to white
    assert report.pixel_change[2] == pytest.approx(dot, rel=0.2)
    assert sum(map(len, painter.asked)) == 100 + 16 * (1 + 3)
    assert report.means["changes"] == 1


def test_an_ignored_attribute_changes_nothing(dataset: AttributeDataset, cache: Path):
    report = run(SquarePainter(ignores=("Left",)), dataset, cache)
    assert report.generated[[0, 2]].tolist() == [1, 1]
    assert 0.3 < report.generated[1] < 0.7
    assert report.changes[:3].tolist() == [1, 0, 1]
    assert report.pixel_change[1] == 0  # the pictures of a pair share noise and Z
    assert report.worst == "Left"


def test_a_model_that_guesses(dataset: AttributeDataset, cache: Path):
    report = run(SquarePainter(guesses=True), dataset, cache, count=400)
    assert (np.abs(report.generated[:3] - 0.5) < 0.12).all(), report.generated
    assert not report.changes[:3].any()


def test_requests_are_held_out_rows(dataset: AttributeDataset, cache: Path):
    painter = SquarePainter()
    run(painter, dataset, cache, count=90, change_count=5)
    asked = np.concatenate(painter.asked)[:90]
    test = dataset.attributes[dataset.indices("test")]  # 40 rows: all twice, ten a third time
    kinds, times = np.unique(test, axis=0, return_counts=True)
    for kind, n in zip(kinds, times, strict=True):
        assert 2 * n <= (asked == kind).all(1).sum() <= 3 * n


def test_one_seed_gives_one_report(dataset: AttributeDataset, cache: Path):
    first, same, other = (
        run(SquarePainter(ignores=("Red",)), dataset, cache, seed=seed).to_json() for seed in (3, 3, 4)
    )
    assert first == same
    assert first != other


def test_attributes_are_matched_by_name(dataset: AttributeDataset, cache: Path):
    report = run(SquarePainter(names=("Dot", "Red"), ignores=("Red",)), dataset, cache)
    assert report.attribute_names == ("Dot", "Red")
    assert report.real.tolist() == [1, 1]
    assert report.changes.tolist() == [1, 0]


def test_report_as_table_and_json(dataset: AttributeDataset, cache: Path):
    report = run(SquarePainter(ignores=("Left",)), dataset, cache, seed=2)
    written = io.StringIO()
    Console(file=written, width=100).print(report.table())
    lines = written.getvalue().splitlines()
    for name, generated, changes in [("Red", "1.000", "1.00"), ("Left", f"{report.generated[1]:.3f}", "0.00")]:
        (line,) = (line for line in lines if f" {name} " in line)
        cells = [cell.strip() for cell in line.split("│")[2:5]]
        assert [cell.split(" ± ")[0] for cell in cells] == ["1.000", generated, changes]
        assert all(0 < float(cell.split(" ± ")[1]) < 0.3 for cell in cells)
    (striped,) = (line for line in lines if "Striped" in line)
    assert [cell.strip() for cell in striped.split("│")[2:7]] == ["-"] * 5
    (mean,) = (line for line in lines if " mean " in line)
    assert f"{report.generated[:3].mean():.3f}" in mean
    plain = json.loads(report.to_json())
    assert plain["mean"]["generated"] == pytest.approx(report.generated[:3].mean())
    assert plain["attributes"][1]["changes"] == 0
    assert plain["attributes"][3] == {
        "attribute": "Striped", **dict.fromkeys(plain["mean"]), **dict.fromkeys(f"{n}_error" for n in report.errors)
    }  # fmt: skip
    assert plain["worst"] == "Left"
    assert report.quality is not None
    assert plain["quality"]["generated"]["precision"] is None
    assert "there are 40" in plain["quality"]["withheld"][0]
    assert plain["quality"]["generated"]["diversity"] == report.quality.generated.diversity
    assert (plain["data"], plain["count"], plain["seed"]) == ("squares", 100, 2)


def test_a_report_about_nothing():
    nothing = np.full(1, np.nan)
    report = EvaluationReport(("A",), nothing, nothing, nothing, nothing, nothing, "x", 1, 1, 0, 2.0, 20)
    assert report.worst is None
    assert json.loads(report.to_json())["mean"]["real"] is None
    assert report.table().row_count == 2


def test_what_does_not_fit_is_named(dataset: AttributeDataset, cache: Path):
    with pytest.raises(ValueError, match=r"squares lacks attributes of the model: Hat, Bald; it has Red, Left"):
        run(SquarePainter(names=("Hat", "Red", "Bald")), dataset, cache)
    large = SquarePainter()
    large.network.config["sample_size"] = 32
    with pytest.raises(ValueError, match=r"draws 32 x 32 pixels and squares was loaded at 16; .*size=32"):
        run(large, dataset, cache)
    for name in ("count", "change_count"):
        with pytest.raises(ValueError, match=f"^{name} is 0"):
            run(SquarePainter(), dataset, cache, **{name: 0})


def test_progress_goes_to_standard_error(dataset: AttributeDataset, cache: Path, capsys: pytest.CaptureFixture[str]):
    run(SquarePainter(), dataset, cache, count=10, change_count=2)
    assert not any(capsys.readouterr())
    run(SquarePainter(), dataset, cache, count=10, change_count=2, progress=True)
    out, err = capsys.readouterr()
    assert not out
    assert "drawing" in err


def test_the_real_pipeline(pipeline: AttributeDiffusionPipeline, squares: AttributeDataset, cache: Path):
    report = run(pipeline, squares, cache, count=6, change_count=3, num_inference_steps=2)
    again = run(pipeline, squares, cache, count=6, change_count=3, num_inference_steps=2)
    assert report.to_json() == again.to_json()
    assert report.attribute_names == squares.attribute_names
    assert ((report.changes >= 0) & (report.changes <= 1)).all()
    assert (report.pixel_change > 0).all()


def test_nearest_flips_agree_with_a_search():
    rng = np.random.default_rng(0)
    rows = np.unique(rng.integers(0, 2, (12, 5)), axis=0).astype(np.uint8)
    base = rows[rng.integers(0, len(rows), 20)]
    for k, flips in enumerate(module._nearest_flips(base, rows, rng)):
        assert flips is not None
        for own, other in zip(base, flips, strict=True):
            candidates = [row for row in rows.tolist() if row[k] != own[k]]
            assert other.tolist() in candidates
            assert (other != own).sum() == min((np.array(row) != own).sum() for row in candidates)


def test_exclusive_attributes_give_way():
    colours = np.eye(3, dtype=np.uint8)  # exactly one of three
    flips = module._nearest_flips(np.repeat(colours[:1], 60, 0), colours, np.random.default_rng(0))
    assert flips[0] is not None
    assert {tuple(row) for row in flips[0].tolist()} == {(0, 1, 0), (0, 0, 1)}  # both, as chance has it
    assert flips[1] is not None
    assert (flips[1] == colours[1]).all()
    always = np.ones((4, 1), np.uint8)
    assert module._nearest_flips(always, always, np.random.default_rng(0)) == [None]


class Brightness:
    """Two features: how red and how bright a picture is."""

    name = "brightness"

    def __init__(self):
        self.seen: list[np.ndarray] = []

    def features(self, images: np.ndarray) -> np.ndarray:
        self.seen.append(images)
        return np.stack([images[..., 0].mean((1, 2)), images.mean((1, 2, 3))], axis=1, dtype=np.float32) / 255


def test_quality_of_a_perfect_model_is_that_of_real_pictures(dataset: AttributeDataset, cache: Path):
    quality = run(SquarePainter(), dataset, cache).quality
    assert quality is not None
    assert (quality.extractor, quality.n_features) == ("attribute classifier", 64)
    counts = (quality.n_generated, quality.n_real, quality.n_control, quality.n_training)
    assert counts == (40, 40, 40, 320)  # each row once, though asked for two or three times
    assert np.isnan(quality.generated.precision)  # of 40 pictures
    assert quality.generated.diversity == pytest.approx(quality.reference.diversity, rel=0.1)
    wrong = run(SquarePainter(guesses=True), dataset, cache).quality
    assert wrong is not None
    assert wrong.generated.frechet_distance > 3 * quality.generated.frechet_distance


def test_pictures_of_any_origin(dataset: AttributeDataset, cache: Path):
    """Real ones, which no part of the data set holds, are as real ones; grey ones are not."""
    rng = np.random.default_rng(9)
    real = draw_squares((rng.random((40, 4)) < (0.5, 0.4, 0.125, 0)).astype(np.uint8), rng.random(40))
    found = [
        evaluate_pictures(images, dataset, cache=cache, progress=False) for images in (real, np.full_like(real, 90))
    ]
    assert found[0].generated.frechet_distance < 3 * found[0].reference.frechet_distance
    assert found[1].generated.frechet_distance > 10 * found[1].reference.frechet_distance
    assert (found[0].n_generated, found[0].n_control, found[0].n_real) == (40, 40, 40)
    with pytest.raises(ValueError, match=r"pictures are uint8 of shape \(40, 8, 8, 3\); give uint8"):
        evaluate_pictures(real[:, :8, :8], dataset, cache=cache, progress=False)
    with pytest.raises(ValueError, match="there are 3 generated pictures"):
        evaluate_pictures(real[:3], dataset, cache=cache, progress=False)


def test_a_folder_of_pictures_in_a_model_s_place(
    dataset: AttributeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("gaussmix.data.load.load_dataset", lambda *_, **__: dataset)
    assert cli.main(["faces", "evaluate", "--pictures", str(tmp_path), "--data", "avatars", "--count", "5"]) == 2
    assert "holds no pictures" in capsys.readouterr().err
    assert cli.main(["faces", "evaluate", "runs/a", "--pictures", str(tmp_path)]) == 2
    assert "give one of them" in capsys.readouterr().err


def test_accuracy_errors_are_those_of_shares():
    """Three of four found and one of two rejected: the roots of p (1 - p) / n with two more of each kind."""
    truth = np.array([[1], [1], [1], [1], [0], [0]])
    found = np.array([[1], [1], [1], [0], [1], [0]])
    error = module._accuracy_error(found, truth)
    p, q = 5 / 8, 3 / 6
    assert error == pytest.approx(np.sqrt(p * (1 - p) / 8 + q * (1 - q) / 6) / 2)
    assert np.isnan(module._accuracy_error(found, np.ones((6, 1)))).all()


def test_defects_are_counted_from_200_pictures_up(cache: Path, monkeypatch: pytest.MonkeyPatch):
    many, asked = coloured_squares(2200), []
    caught = DefectScores(0.5, 0.1, {"blurred": 1.0})
    monkeypatch.setattr(module, "load_or_train_defects", lambda dataset, **_: asked.append(dataset) or "judge")
    monkeypatch.setattr(module, "measure_defects", lambda judge, drawn, real, seed: caught)
    quality = run(SquarePainter(), many, cache, count=220).quality
    assert quality is not None
    assert (quality.generated.defect_rate, quality.reference.defect_rate) == (0.5, 0.1)
    assert not quality.withheld
    assert asked == [many]


def test_pictures_are_held_against_others_than_those_they_were_drawn_for(dataset: AttributeDataset, cache: Path):
    extractor = Brightness()
    run(SquarePainter(), dataset, cache, extractor=extractor)
    drawn, real, control = extractor.seen
    assert len(drawn) == 40
    assert {image.tobytes() for image in real} == {image.tobytes() for image in dataset.images[8::10]}
    assert {image.tobytes() for image in control} == {image.tobytes() for image in dataset.images[9::10]}


def test_no_more_real_pictures_than_drawn_ones(dataset: AttributeDataset, cache: Path):
    extractor = Brightness()
    run(SquarePainter(), dataset, cache, extractor=extractor, count=15)
    assert [len(images) for images in extractor.seen] == [15, 15, 15]


def test_without_a_valid_split_the_test_split_is_halved(dataset: AttributeDataset, cache: Path):
    extractor, painter = Brightness(), SquarePainter()
    no_valid = dataclasses.replace(dataset, split=np.where(dataset.split == 1, 0, dataset.split))
    report = run(painter, no_valid, cache, extractor=extractor, count=80)
    drawn, real, control = extractor.seen
    assert [len(drawn), len(real), len(control)] == [20, 20, 20]  # every row was asked for twice and counts once
    both = [image.tobytes() for image in np.concatenate([real, control])]
    assert sorted(both) == sorted(image.tobytes() for image in dataset.images[9::10])
    assert report.quality is not None
    asked = np.concatenate(painter.asked)[:80]
    reds = dataset.attributes[9::10, 0].sum()
    assert asked[:, 0].sum() == 2 * reds  # accuracy is still that of all


def test_too_few_for_quality(dataset: AttributeDataset, cache: Path):
    report = run(SquarePainter(), dataset, cache, count=3)
    assert report.quality is None
    assert "there are 3 generated pictures" in report.without_quality
    assert json.loads(report.to_json())["quality"] is None


class MeanColour(torch.nn.Module):
    """A stand-in for InceptionV3."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean([2, 3])


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_the_command(
    dataset: AttributeDataset, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    network = tmp_path / "network.pt"
    torch.jit.script(MeanColour()).save(str(network))
    painter = cast(Any, SquarePainter())
    painter.training = {"data": "squares"}
    painter.scheduler = SimpleNamespace(config={"num_train_timesteps": 20})
    monkeypatch.setattr("gaussmix.cli.faces.load_model", lambda *_: (painter, 10))
    monkeypatch.setattr("gaussmix.data.load.load_dataset", lambda *_, **__: dataset)
    evaluate = ["faces", "evaluate", "--count"]
    assert cli.main([*evaluate, "60", "--features", str(network)]) == 0
    printed = capsys.readouterr().out
    assert "Balanced accuracy" in printed
    assert "3 of the InceptionV3" in printed
    assert cli.main([*evaluate, "60", "--features", str(network), "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert written["mean"]["generated"] == 1
    assert written["quality"]["extractor"] == "InceptionV3"
    assert written["quality"]["real_against_real"]["diversity"] > 0
    assert cli.main([*evaluate, "2"]) == 0
    assert "No quality: there are 2 generated pictures" in " ".join(capsys.readouterr().out.split())
    assert cli.main(["faces", "evaluate", "--features", str(tmp_path / "none.pt")]) != 0
    assert "there is no file" in capsys.readouterr().err
