"""``gaussmix autoencoder``: from flags to a trained model, pictures and exit status."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gaussmix import cli
from gaussmix.training.loop import TrainingError

TINY = "--channels 4 8 --hidden 16 --latent-dim 4 --batch-size 8 --warmup-steps 5"


def run(words: str) -> int:
    return cli.main(["autoencoder", *words.split()])


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("run")
    assert run(f"train {TINY} --steps 20 --output {out}") == 0
    return out


def test_ctrl_c_then_resume_leaves_a_model_and_pictures_and_says_what_next(tmp_path, capsys, monkeypatch):
    from gaussmix.autoencoder.train import AutoencoderTrainer

    steps = AutoencoderTrainer.steps

    def interrupted(self):
        for result in steps(self):
            yield result
            if self.step == 3:
                os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(AutoencoderTrainer, "steps", interrupted)
    assert run(f"train {TINY} --steps 8 --output {tmp_path}") == 130
    assert "continue with the same command and --resume" in capsys.readouterr().err
    monkeypatch.undo()
    assert run(f"train {TINY} --steps 8 --output {tmp_path} --resume") == 0
    printed = capsys.readouterr().out
    assert f"8 steps; model: {tmp_path}/model" in printed
    assert "map.png, marginals.png, mixes.png, reconstructions.png, samples.png" in printed
    assert f"next: gaussmix autoencoder sample {tmp_path}" in printed
    assert f"gaussmix autoencoder mix {tmp_path} --classes 0,1" in printed


def test_sample_writes_a_sheet_and_single_images(trained, tmp_path, capsys):
    flags = f"--classes 7,8,9 --count 3 --truncation 0.8 --output {tmp_path}/x.png --folder {tmp_path}/single"
    assert run(f"sample {trained} {flags}") == 0
    assert f"3 x 7, 8, 9: {tmp_path}/x.png" in capsys.readouterr().out
    written = sorted(str(path.relative_to(tmp_path / "single")) for path in tmp_path.glob("single/*/*.png"))
    assert written == [f"{k}/{i:05d}.png" for k in "789" for i in range(3)]
    with Image.open(tmp_path / "single" / "7" / "00000.png") as image:
        assert (image.size, image.mode) == ((8, 8), "L")
    first = (tmp_path / "x.png").read_bytes()
    assert run(f"sample {trained} {flags}") == 0
    assert (tmp_path / "x.png").read_bytes() == first


def test_like_a_picture(trained, tmp_path, capsys):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(tmp_path / "n.png")
    assert run(f"sample {trained} --like {tmp_path}/n.png --count 2 --output {tmp_path}/x.png") == 0
    printed = capsys.readouterr().out
    assert "n.png is taken for a " in printed
    assert "% of known images are at least as strange" in printed
    assert (tmp_path / "x.png").is_file()


def test_mix_writes_a_sheet_with_real_images_above(trained, tmp_path, capsys, monkeypatch):
    for mode in ("dims", "lerp"):
        out = tmp_path / f"{mode}.png"
        flags = f"--classes 0,4 --proportions .7,.3 --mode {mode} --count 3 --output {out}"
        assert run(f"mix {trained} {flags}") == 0
        assert f"3 x 0 + 4: {out}" in capsys.readouterr().out
    assert (tmp_path / "dims.png").read_bytes() != (tmp_path / "lerp.png").read_bytes()
    with Image.open(tmp_path / "dims.png") as sheet:
        assert sheet.info["request"] == "0 + 4"
        assert sheet.info["seed"] == "0"
        high = sheet.height
    monkeypatch.setattr("gaussmix.data.load.load_labelled", lambda *_, **__: (_ for _ in ()).throw(OSError("gone")))
    assert run(f"mix {trained} --classes 0,4 --count 3 --output {tmp_path}/alone.png") == 0
    assert "no real images are shown" in capsys.readouterr().err
    with Image.open(tmp_path / "alone.png") as sheet:
        assert sheet.height < high


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("sample {run} --classes 7,x", "no class 'x'; the model knows 0, 1"),
        ("sample {run} --count 0", "--count is 0; it must be at least 1"),
        ("sample {run} --seed -1", "--seed is -1"),
        ("sample {run} --truncation 0", "truncation is 0"),
        ("sample {run} --output x.xyz", "is no picture format that holds colours"),
        ("sample {run} --like README --classes 1", "leave out --classes and --truncation"),
        ("sample {tmp}", "no model in"),
        ("mix {run} --classes 0", "classes are 0; name two or more different ones"),
        ("mix {run} --classes 0,4 --proportions a", "--proportions is 'a'; give numbers separated by commas"),
        ("mix {run} --classes 0,4 --proportions 1", "1 proportions for 2 classes"),
        ("mix {run} --classes 0,4 --proportions=-1,2", "proportions are -1, 2"),
        ("train --data {tmp}/none --output {tmp}/r", "none does not exist"),
        ("train --output {run}", "already holds a run; continue it with --resume or choose another --out"),
        ("train --channels 4 4 4 4 --output {tmp}/r", "images are 8 pixels high and wide, but 4 levels"),
    ],
)
def test_mistakes_are_one_line(trained, tmp_path, capsys, words, message):
    assert run(words.format(run=trained, tmp=tmp_path)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "words", ["train --preset nothing", "train --latent-dim 0", "sample --mode dims", "mix --mode sum"]
)
def test_wrong_flags(words):
    assert run(words) == 2


def test_evaluate_prints_a_row_for_each_way_or_the_numbers(trained, tmp_path, capsys, monkeypatch):
    from gaussmix.metrics import classifier

    full = classifier.load_or_train_label_classifier
    monkeypatch.setattr(
        classifier,
        "load_or_train_label_classifier",
        lambda data: full(data, steps=40, cache=tmp_path, progress=False),
    )
    flags = "--samplers independent,cluster-pca,em --components 2"
    assert run(f"evaluate {trained} {flags}") == 0
    printed = capsys.readouterr()
    for row in ("real images", "reconstructions", "independent", "cluster-pca", "em"):
        assert f"\n {row} " in printed.out or f"\n{row} " in printed.out
    assert "not the data" not in printed.err
    assert run(f"evaluate {trained} {flags} --json") == 0
    report = json.loads(capsys.readouterr().out)
    assert list(report["rows"]) == ["real images", "reconstructions", "independent", "cluster-pca", "em"]
    assert report["n_images"] == 177  # half of the test images
    assert report["rows"]["real images"]["fit_seconds"] is None
    assert report["judge_accuracy"] == report["rows"]["real images"]["accuracy"]


def test_evaluate_says_when_the_data_are_others(trained, tmp_path, capsys, monkeypatch):
    from gaussmix.data import load as labelled

    full = labelled.load_labelled
    monkeypatch.setattr(labelled, "load_labelled", lambda source, **_options: full("digits", count=60))
    assert run(f"evaluate {trained} --samplers em") == 2
    errors = capsys.readouterr().err
    assert "these are not the data that the run was trained on" in errors
    assert "too few to measure; give more test images" in errors


def test_evaluate_names_the_samplers(trained, capsys):
    assert run(f"evaluate {trained} --samplers em,magic") == 2
    assert "--samplers: no 'magic'; choose from independent, algorithm2, pca" in capsys.readouterr().err


def test_a_folder_has_its_own_preset_and_is_evaluated_as_it_was_trained(tmp_path, capsys, monkeypatch):
    """Attributes make classes; size, labels and what was left out travel with the model."""
    monkeypatch.setenv("GAUSSMIX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("gaussmix.metrics.classifier.STEPS", 5)
    folder, rng = tmp_path / "shapes", np.random.default_rng(0)
    folder.mkdir()
    rows = ["file_name,Red,Round"]
    for i in range(160):
        Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(folder / f"{i}.png")
        rows.append(f"{i}.png,{i % 2},{i // 2 % 2}")
    rows.append("gone.png,1,0")
    (folder / "metadata.csv").write_text("\n".join(rows))
    words = f"train --data {folder} --output {tmp_path / 'run'} --size 16 --label-by Round --skip-bad --steps 3"
    assert run(f"{words} --channels 4 8 --hidden 8") == 0
    saved = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (saved["shift"], saved["learning_rate"], saved["size"]) == (1 / 16, 1e-3, 16)
    assert "skipped 1 of 161 images" in capsys.readouterr().err
    assert run(f"evaluate {tmp_path / 'run'} --samplers gaussian --json") == 0
    said = capsys.readouterr()
    assert "skipped 1 of 161 images" in said.err
    assert "they have changed" not in said.err
    assert json.loads(said.out)["rows"]["gaussian"]["accuracy"] <= 1


def test_a_folder_must_be_named(capsys):
    assert run("train --preset folder") == 2
    assert "name their folder with --data" in capsys.readouterr().err


def test_a_run_that_learns_nothing_is_no_fault_of_the_program(tmp_path, capsys, monkeypatch):
    def fails(*_, **__):
        raise TrainingError("nothing is learnt: after 300 steps")

    monkeypatch.setattr("gaussmix.autoencoder.train.train", fails)
    assert run(f"train {TINY} --output {tmp_path}") == 1
    assert capsys.readouterr().err.strip() == "gaussmix: nothing is learnt: after 300 steps"
