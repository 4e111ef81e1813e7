"""``gaussmix faces``, from flags to files and exit status, and the script that edits."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import NAMES, squares_dataset, tiny_config, tiny_unet

from gaussmix import cli
from gaussmix.data.load import load_dataset
from gaussmix.diffusion.conditions import pack_rows
from gaussmix.diffusion.config import PRESETS
from gaussmix.diffusion.encoder import train_encoder
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.schedulers import make_betas, make_scheduler
from gaussmix.latents.attributes import AttributeLatents
from gaussmix.latents.matching import match_latents


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from gaussmix.diffusion.train import train

    out = tmp_path_factory.mktemp("run")
    train(tiny_config(out, steps=2), squares_dataset(), progress=False)
    return out


@pytest.fixture
def folder(tmp_path):
    """An image folder with 40 pictures and a metadata.csv."""
    dataset = squares_dataset()
    out = tmp_path / "pictures"
    out.mkdir()
    lines = ["file_name," + ",".join(dataset.attribute_names)]
    for i, (image, row) in enumerate(zip(dataset.images, dataset.attributes, strict=True)):
        Image.fromarray(image).save(out / f"{i}.png")
        lines.append(f"{i}.png," + ",".join(map(str, row)))
    (out / "metadata.csv").write_text("\n".join(lines))
    return out


def run(words: list[str]) -> int:
    return cli.main(["faces", *words])


def size(path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_sample_writes_a_picture_single_files_and_metadata(model, tmp_path, capsys):
    out, folder = tmp_path / "faces.png", tmp_path / "single"
    status = run(
        f"sample {model} --with Bald,sunglasses --without long_hair --count 3 --steps 4 "
        f"--output {out} --folder {folder}".split()
    )
    assert status == 0
    assert "3 x Bald and Sunglasses, not Long Hair" in capsys.readouterr().out.replace(
        "sunglasses", "Sunglasses"
    ).replace("long hair", "Long Hair")
    assert size(out)[0] > 200
    assert sorted(p.name for p in folder.iterdir()) == ["00000.png", "00001.png", "00002.png", "metadata.csv"]
    again = load_dataset(folder, size=8, progress=False)
    assert again.attribute_names == ("Bald", "Long_Hair", "Sunglasses")
    assert again.attributes.tolist() == [[1, 0, 1]] * 3
    assert np.array_equal(again.images[0], np.asarray(Image.open(folder / "00000.png")))
    with Image.open(folder / "00001.png") as single, Image.open(out) as sheet:
        assert sheet.info["request"] == single.info["request"] == "Bald and sunglasses, not long hair"
        assert sheet.info["seed"] == single.info["seed"] == "0"
        assert (single.info["picture"], single.info["attributes"]) == ("1", "Bald, Sunglasses")


def test_fewer_pictures_are_the_first_of_more(model, tmp_path):
    for n in (2, 5):
        flags = f"--count {n} --steps 3 --seed 4 --folder {tmp_path / str(n)} --output {tmp_path}/x.png"
        run([*f"sample {model}".split(), *flags.split()])
    for i in range(2):
        few, many = (np.asarray(Image.open(tmp_path / n / f"{i:05d}.png")).astype(int) for n in ("2", "5"))
        assert np.abs(few - many).max() <= 1


@pytest.mark.parametrize("flag", ["--fix-latent", "--fix-noise", "--trajectory"])
@pytest.mark.parametrize("scheduler", ["renoise", "ddim"])
def test_ways_of_drawing(model, tmp_path, flag, scheduler):
    out = tmp_path / "x.png"
    assert run(f"sample {model} --count 2 --steps 5 --scheduler {scheduler} --output {out} {flag}".split()) == 0
    assert out.exists()


def test_fixing_latent_and_noise_together_repeats_the_picture(model, tmp_path):
    flags = f"--count 3 --steps 4 --fix-latent --fix-noise --folder {tmp_path}/f --output {tmp_path}/x.png"
    run([*f"sample {model}".split(), *flags.split()])
    pictures = [np.asarray(Image.open(tmp_path / "f" / f"{i:05d}.png")).astype(int) for i in range(3)]
    assert max(np.abs(pictures[0] - p).max() for p in pictures[1:]) <= 1


def test_attributes_lists_names_and_shares(model, capsys):
    assert run(["attributes", str(model)]) == 0
    *lines, empty, network = capsys.readouterr().out.splitlines()
    numbers = sum(each.numel() for each in AttributeDiffusionPipeline.load(model).network.parameters())
    assert (empty, network) == ("", f"unet of {numbers:,} numbers")
    assert [line.split()[0] for line in lines] == ["Bald", "Long_Hair", "Sunglasses"]
    assert all("% of the data" in line for line in lines)
    assert run(["attributes", str(model), "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == ["Bald", "Long_Hair", "Sunglasses"]


def test_train_on_a_folder_then_resume(folder, tmp_path, capsys):
    flags = (
        f"train --preset unet --data {folder} --size 8 --channels 8 16 --batch-size 4 --output {tmp_path}/run "
        "--checkpoint-every 2 --mixed-precision no --reader-steps 5"
    )
    assert run([*flags.split(), "--steps", "3"]) == 0
    assert (tmp_path / "run" / "samples.png").exists()
    assert "3 steps; model:" in capsys.readouterr().out
    assert run([*flags.split(), "--steps", "3"]) == 2
    assert "--resume" in capsys.readouterr().err
    assert run([*flags.split(), "--steps", "4", "--resume"]) == 0
    saved = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (saved["steps"], saved["minutes"], saved["channels"]) == (4, None, [8, 16])


def test_naming_one_limit_lifts_the_other(monkeypatch, folder, tmp_path):
    seen = []
    monkeypatch.setattr(
        "gaussmix.diffusion.train.train", lambda config, _data, **_: seen.append(config) or exit_quietly()
    )

    def exit_quietly():
        raise ValueError("seen")

    base = ["train", "--data", str(folder), "--size", "8", "--output", str(tmp_path)]
    for extra in ([], ["--steps", "7"], ["--minutes", "2"], ["--steps", "7", "--minutes", "2"]):
        assert run([*base, *extra]) == 2
    usual = PRESETS["transformer"]
    assert (seen[0].steps, seen[0].minutes) == (usual.steps, usual.minutes)
    assert (seen[1].steps, seen[1].minutes) == (7, None)
    assert seen[2].minutes == 2
    assert seen[2].steps > 10**6
    assert (seen[3].steps, seen[3].minutes) == (7, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("sample --with Sunglases", "unknown attribute 'Sunglases'; did you mean Sunglasses? Known: Bald, Long_Hair"),
        ("sample --with Bald --without bald", "Bald is asked for and ruled out at once"),
        ("sample --count 0", "--count is 0; it must be at least 1"),
        ("sample --seed -1", "--seed is -1; it must be at least 0"),
        ("sample --steps 21 --folder single", "choose 1 to 20"),
        ("sample --steps 21", "choose 1 to 20"),
        ("sample --scheduler ddim --steps 7", "cannot take 7 even steps of T=20: try"),
        ("sample --output faces.qqq", ".qqq"),
    ],
)
def test_user_errors_are_one_clear_line(model, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert run([*arguments.split(), str(model)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.strip().splitlines()[-1].startswith("gaussmix")
    assert not list(tmp_path.iterdir())  # nothing was written


def test_a_missing_model_or_data_folder_is_named(tmp_path, capsys):
    assert run(["sample", str(tmp_path / "absent")]) == 2
    assert "no model in" in capsys.readouterr().err
    assert run(["train", "--data", str(tmp_path / "absent"), "--output", str(tmp_path / "run")]) == 2
    assert "absent" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_nan_stops_with_status_1(folder, tmp_path, capsys):
    status = run(
        f"train --preset unet --data {folder} --size 8 --channels 8 16 --batch-size 4 --output {tmp_path}/run "
        "--steps 40 --learning-rate 1e30 --mixed-precision no --log-every 1".split()
    )
    assert status == 1
    assert "at step" in capsys.readouterr().err
    assert not (tmp_path / "run" / "model").exists()


def test_skip_bad_counts_damaged_images(folder, tmp_path, capsys, monkeypatch):
    (folder / "3.png").write_bytes(b"damaged")
    small = "--size 8 --width 16 --depth 1 --batch-size 4 --steps 1 --reader-steps 0"
    flags = f"train --data {folder} {small} --output {tmp_path}/run"
    assert run(flags.split()) == 2
    error = capsys.readouterr().err
    assert "3.png" in error
    assert "--skip-bad" in error
    assert run([*flags.split(), "--skip-bad"]) == 0
    assert "3.png" in capsys.readouterr().err
    seen = []

    def look(_pipeline, dataset, **_how):
        seen.append(len(dataset))
        raise ValueError("looked")

    monkeypatch.setattr("gaussmix.diffusion.evaluate.evaluate_pipeline", look)
    assert run(["evaluate", f"{tmp_path}/run"]) == 2  # the model remembers
    assert "looked" in capsys.readouterr().err
    assert len(seen) == 1


# -- edit and components -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reader(tmp_path_factory) -> Path:
    """An untrained network of 8 x 8 pixels with an encoder."""
    squares = squares_dataset()
    rows = squares.indices("train")
    matched = match_latents(squares.images[rows], squares.attributes[rows], AttributeLatents(3, base_token=True))
    unet = tiny_unet()
    unet.unet.conv_out.weight.data *= 20
    pipeline = AttributeDiffusionPipeline(
        unet,
        make_scheduler("dpm++", make_betas("constant", 20, beta=0.3), "v_prediction"),
        attribute_names=NAMES,
        attribute_rows=pack_rows(squares.attributes),
        encoder=train_encoder(squares, matched.encoder, matched.maps, steps=40),
    )
    folder = tmp_path_factory.mktemp("model")
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture
def picture(tmp_path) -> Path:
    """Bald and with sunglasses, larger than the model's pictures, wider than high and partly transparent."""
    squares = squares_dataset()
    i = np.flatnonzero((squares.attributes == [1, 0, 1]).all(1))[0]
    pixels = np.full((32, 40, 4), 255, np.uint8)
    pixels[:, 4:36, :3] = squares.images[i].repeat(4, 0).repeat(4, 1)
    pixels[:, :4, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "face.png")
    return tmp_path / "face.png"


def test_edit_says_what_it_read_and_draws_a_sheet(reader, picture, tmp_path, capsys):
    out = tmp_path / "out.png"
    status = run(f"edit {picture} {reader} --with long_hair --without Bald --count 2 --steps 2 --output {out}".split())
    assert status == 0
    printed = capsys.readouterr().out
    assert "face.png has: Bald, Sunglasses\n" in printed
    assert f"2 x long hair, not Bald: {out}" in printed
    with Image.open(out) as sheet:
        assert sheet.width >= 4 * 192


def test_edit_writes_single_pictures_that_keep_what_was_not_asked_for(reader, picture, tmp_path):
    folder = tmp_path / "single"
    flags = f"--without Sunglasses {reader} --steps 2 --output {tmp_path}/x.png --folder {folder}"
    run(["edit", str(picture), *flags.split()])
    written = load_dataset(folder, size=8, progress=False)
    assert written.attributes.tolist() == [[1, 0, 0]] * 4
    assert not np.array_equal(written.images[0], written.images[1])


def test_fewer_edits_are_the_first_of_more(reader, picture, tmp_path):
    for n in (1, 3):
        where = f"--output {tmp_path}/x.png --folder {tmp_path / str(n)}"
        flags = f"--with Long_Hair {reader} --steps 2 --count {n} {where}"
        run(["edit", str(picture), *flags.split()])
    few, many = (np.asarray(Image.open(tmp_path / n / "00000.png")).astype(int) for n in "13")
    assert np.abs(few - many).max() <= 1


def test_what_the_picture_has_can_be_said(reader, picture, tmp_path, capsys):
    flags = f"--with Bald --attributes Long_Hair {reader} --steps 1 --output {tmp_path}/x.png"
    assert run(["edit", str(picture), *flags.split()]) == 0
    assert "face.png has: Long_Hair\n" in capsys.readouterr().out


def test_a_row_for_each_component(reader, picture, tmp_path, capsys):
    flags = f"--component Sunglasses=all {reader} --count 8 --steps 1 --output {tmp_path}/x.png"
    assert run(["edit", str(picture), *flags.split()]) == 0
    assert "24 x Sunglasses" in capsys.readouterr().out
    with Image.open(tmp_path / "x.png") as sheet:
        assert sheet.height > 6 * 192  # six edits a row, the other two in a second one


def test_what_the_data_never_show_is_said_once(reader, picture, tmp_path, capsys):
    pipe = AttributeDiffusionPipeline.load(reader)
    pipe.register_to_config(attribute_rows=pack_rows(np.repeat([[1, 0, 0], [0, 1, 0], [0, 1, 1]], 30, axis=0)))
    pipe.save_pretrained(tmp_path / "model")
    where = f"{tmp_path}/model --output {tmp_path}/x.png"
    flags = f"--component Sunglasses=all --with Bald --attributes Long_Hair --count 1 --steps 1 --anyway {where}"
    assert run(["edit", str(picture), *flags.split()]) == 0
    assert capsys.readouterr().err.count("no training picture has Bald and Sunglasses") == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("", "nothing to change: say what with --with, --without or --component"),
        ("--with Bald --count 0", "--count is 0"),
        ("--with Bald --seed -1", "--seed is -1; it must be at least 0"),
        ("--with Bald", "nothing to change: face.png has Bald, Sunglasses; if that is wrong, say .* with --attributes"),
        ("--with Bold", "unknown attribute 'Bold'; did you mean Bald"),
        ("--with Bald --attributes Bold", "unknown attribute 'Bold'; did you mean Bald"),
        ("--with Bald --output x.xyz", "is no picture format that holds colours"),
        ("--with Bald --steps 99", "steps is 99; the model knows 20 levels"),
    ],
)
def test_wrong_edits_are_refused(reader, picture, tmp_path, capsys, flags, message):
    out = "" if "--output" in flags else f"--output {tmp_path}/x.png"
    assert run(f"edit {picture} {reader} {flags} {out}".split()) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "x.png").exists()


def test_what_is_no_picture_is_named(reader, tmp_path, capsys):
    (tmp_path / "note.png").write_text("no picture")
    assert run(f"edit {tmp_path}/note.png {reader} --with Bald".split()) == 2
    assert "note.png is not an image (JPEG, PNG" in capsys.readouterr().err
    assert run(f"edit {tmp_path}/nothing.png {reader} --with Bald".split()) == 2
    assert f"gaussmix: No such file or directory: {tmp_path}/nothing.png" in capsys.readouterr().err


def test_a_long_row_of_components_is_cut_on_the_sheet_alone(reader, tmp_path, monkeypatch):
    monkeypatch.setattr("gaussmix.diffusion.sampling.MOST_ON_A_SHEET", 6)
    flags = f"--component Bald=all {reader} --count 5 --steps 1 --output {tmp_path}/x.png --folder {tmp_path}/f"
    assert run(["sample", *flags.split(), "--trajectory"]) == 0
    assert len(load_dataset(tmp_path / "f", size=8, progress=False)) == 15
    with Image.open(tmp_path / "x.png") as sheet:
        assert 6 * 192 < sheet.height < 8 * 192


def test_sample_asks_for_the_attribute_of_a_component(reader, tmp_path, capsys):
    folder = tmp_path / "single"
    flags = f"--component Sunglasses=2 {reader} --count 3 --steps 2 --output {tmp_path}/x.png --folder {folder}"
    assert run(["sample", *flags.split()]) == 0
    assert "3 x Sunglasses" in capsys.readouterr().out
    assert load_dataset(folder, size=8, progress=False).attributes[:, 2].all()


def test_sample_draws_a_row_for_each_component_from_one_noise(reader, tmp_path):
    folder = tmp_path / "single"
    flags = f"--component Bald=all {reader} --count 2 --steps 2 --output {tmp_path}/x.png --folder {folder}"
    assert run(["sample", *flags.split()]) == 0
    written = load_dataset(folder, size=8, progress=False)
    assert len(written) == 6
    assert np.array_equal(written.attributes[:2], written.attributes[4:])
    images = written.images.astype(int)
    between_rows = np.abs(images[0] - images[2]).mean()
    assert 0 < between_rows < np.abs(images[0] - images[1]).mean() / 4  # other noise differs far more


# -- scripts -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path) -> Path:
    """An image folder of the tiny data set with its splits."""
    squares, folder = squares_dataset(), tmp_path / "data"
    for split, name in enumerate(("train", "valid", "test")):
        (folder / name).mkdir(parents=True)
        lines = ["file_name," + ",".join(squares.attribute_names)]
        for i in np.flatnonzero(squares.split == split):
            Image.fromarray(squares.images[i]).save(folder / name / f"{i}.png")
            lines.append(f"{i}.png," + ",".join(map(str, squares.attributes[i])))
        (folder / name / "metadata.csv").write_text("\n".join(lines))
    return folder


def test_the_example_draws_a_column_for_each_change(reader, pictures, tmp_path):
    from examples.edit_faces import main

    out = main(
        out=str(tmp_path / "x.png"),
        changes=("+Bald", "-Sunglasses"),
        model=str(reader),
        data=str(pictures),
        data_count=None,
        count=2,
        steps=1,
    )
    with Image.open(out) as sheet:
        assert 4 * 192 < sheet.width < 5 * 192


# -- requests that exclude each other, the judge, and pictures from elsewhere ----------------------------------------


@pytest.fixture(scope="module")
def divided(tmp_path_factory) -> Path:
    """An untrained network whose training rows never show Bald with Long_Hair."""
    rng = np.random.default_rng(0)
    bald = rng.integers(0, 2, 200)
    rows = np.stack([bald, 1 - bald, rng.integers(0, 2, 200)], 1).astype(np.uint8)
    scheduler = make_scheduler("dpm++", make_betas("constant", 20, beta=0.3), "v_prediction")
    told = {"data": "squares", "seed": 0}
    pipeline = AttributeDiffusionPipeline(tiny_unet(), scheduler, NAMES, attribute_rows=pack_rows(rows), training=told)
    folder = tmp_path_factory.mktemp("divided")
    pipeline.save_pretrained(folder)
    return folder


def captions(monkeypatch) -> list[dict]:
    """What sheets are told."""
    from gaussmix.diffusion import sampling

    seen, full = [], sampling.contact_sheet
    monkeypatch.setattr(sampling, "contact_sheet", lambda images, **told: seen.append(told) or full(images, **told))
    return seen


def test_what_never_occurs_is_said_and_drawn_only_anyway(divided, tmp_path, capsys, monkeypatch):
    words, out = f"sample {divided} --with Bald,Long_Hair --count 2 --steps 2".split(), tmp_path / "never.png"
    assert run([*words, "--output", str(out)]) == 2
    said = capsys.readouterr().err
    assert "of 200 rows of training pictures none has Bald and Long Hair together (Bald " in said
    assert "--anyway" in said
    assert not out.exists()
    seen = captions(monkeypatch)
    assert run([*words, "--anyway", "--output", str(out)]) == 0
    assert "none has Bald and Long Hair together" in seen[0]["caption"]
    assert seen[0]["title"] == "Asked for: Bald and Long Hair"
    assert run(f"sample {divided} --with Bald --count 2 --steps 2 --output {out}".split()) == 0
    assert "none has" not in seen[1]["caption"]


@pytest.mark.parametrize(
    ("scale", "said"),
    [("2", ", guidance 2, "), ("0", "guidance 0: without regard to the request"), ("-1", "guidance -1: away from")],
)
def test_guidance_is_captioned_as_what_it_is(divided, tmp_path, monkeypatch, scale, said):
    seen = captions(monkeypatch)
    words = f"sample {divided} --with Bald --count 1 --steps 1 --output {tmp_path}/g.png --guidance={scale}"
    assert run(words.split()) == 0
    assert said in seen[0]["caption"]
    assert "1 step," in seen[0]["caption"]


def test_the_judge_marks_what_it_denies(divided, tmp_path, capsys, monkeypatch):
    class Judge:
        def predict(self, images):
            return np.arange(len(images))[:, None] >= np.array([2, 99, 99])  # bald from the third on, nothing else

    monkeypatch.setattr("gaussmix.data.load.load_dataset", lambda *_args, **_options: squares_dataset())
    monkeypatch.setattr(
        "gaussmix.metrics.classifier.load_or_train_classifier", lambda _data: (Judge(), np.array([0.9, 0.8, 0.7]))
    )
    seen = captions(monkeypatch)
    words = f"sample {divided} --with Bald --without Long_Hair --count 5 --steps 1 --check --output {tmp_path}/c.png"
    assert run(words.split()) == 0
    assert seen[0]["marked"] == [0, 1]
    said = "of 5 pictures Bald as asked for in 3 (right in 90% of real pictures), Long Hair as asked for in 5"
    assert said in seen[0]["caption"]
    assert said in capsys.readouterr().out


def test_a_picture_from_elsewhere_is_edited_only_anyway(reader, picture, tmp_path, capsys, monkeypatch):
    from gaussmix.diffusion import edit

    out, words = tmp_path / "far.png", f"edit {picture} {reader} --with long_hair --count 1 --steps 1".split()
    monkeypatch.setattr(edit, "strangeness", lambda *_args, **_options: np.array([22.0]))
    assert run([*words, "--output", str(out)]) == 2
    assert "face.png with 22.0 times the error of pictures" in capsys.readouterr().err
    assert not out.exists()
    assert run([*words, "--anyway", "--output", str(out)]) == 0
    assert "far from what it knows" in capsys.readouterr().out
    monkeypatch.setattr(edit, "strangeness", lambda *_args, **_options: np.array([1.5]))
    assert run([*words, "--output", str(out)]) == 0
    assert "not far from what it knows" in capsys.readouterr().out
