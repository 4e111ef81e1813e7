"""``gaussmix edit``, ``--component`` of ``gaussmix sample``, and the scripts that edit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import NAMES, squares_dataset, tiny_unet

from gaussmix import cli
from gaussmix.cli import faces
from gaussmix.cli.components import read_components
from gaussmix.cli.editing import edit
from gaussmix.data.load import load_dataset
from gaussmix.diffusion.conditions import pack_rows
from gaussmix.diffusion.encoder import train_encoder
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.schedulers import make_betas, make_scheduler
from gaussmix.latents.attributes import AttributeLatents
from gaussmix.latents.matching import match_latents


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
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


def test_edit_says_what_it_read_and_draws_a_sheet(model, picture, tmp_path, capsys):
    out = tmp_path / "out.png"
    status = edit(f"{picture} --with long_hair --without Bald --model {model} --count 2 --steps 2 --out {out}".split())
    assert status == 0
    printed = capsys.readouterr().out
    assert "face.png has: Bald, Sunglasses\n" in printed
    assert f"2 x long hair, not Bald: {out}" in printed
    with Image.open(out) as sheet:
        assert sheet.width >= 4 * 96


def test_edit_writes_single_pictures_that_keep_what_was_not_asked_for(model, picture, tmp_path):
    folder = tmp_path / "single"
    flags = f"--without Sunglasses --model {model} --steps 2 --out {tmp_path}/x.png --folder {folder}"
    edit([str(picture), *flags.split()])
    written = load_dataset(folder, size=8, progress=False)
    assert written.attributes.tolist() == [[1, 0, 0]] * 4
    assert not np.array_equal(written.images[0], written.images[1])


def test_fewer_edits_are_the_first_of_more(model, picture, tmp_path):
    for n in (1, 3):
        where = f"--out {tmp_path}/x.png --folder {tmp_path / str(n)}"
        flags = f"--with Long_Hair --model {model} --steps 2 --count {n} {where}"
        edit([str(picture), *flags.split()])
    few, many = (np.asarray(Image.open(tmp_path / n / "00000.png")).astype(int) for n in "13")
    assert np.abs(few - many).max() <= 1


def test_what_the_picture_has_can_be_said(model, picture, tmp_path, capsys):
    flags = f"--with Bald --attributes Long_Hair --model {model} --steps 1 --out {tmp_path}/x.png"
    assert edit([str(picture), *flags.split()]) == 0
    assert "face.png has: Long_Hair\n" in capsys.readouterr().out


def test_a_row_for_each_component(model, picture, tmp_path, capsys):
    flags = f"--component Sunglasses=all --model {model} --count 8 --steps 1 --out {tmp_path}/x.png"
    assert edit([str(picture), *flags.split()]) == 0
    assert "24 x Sunglasses" in capsys.readouterr().out
    with Image.open(tmp_path / "x.png") as sheet:
        assert sheet.height > 6 * 96  # six edits a row, the other two in a second one


def test_what_the_data_never_show_is_said_once(model, picture, tmp_path, capsys):
    pipe = AttributeDiffusionPipeline.load(model)
    pipe.register_to_config(attribute_rows=pack_rows(np.repeat([[1, 0, 0], [0, 1, 0], [0, 1, 1]], 30, axis=0)))
    pipe.save_pretrained(tmp_path / "model")
    where = f"--model {tmp_path}/model --out {tmp_path}/x.png"
    flags = f"--component Sunglasses=all --with Bald --attributes Long_Hair --count 1 --steps 1 {where}"
    assert cli.main(["edit", str(picture), *flags.split()]) == 0
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
        ("--with Bald --out x.xyz", "unknown picture format"),
        ("--with Bald --steps 99", "steps is 99; the model knows 20 levels"),
    ],
)
def test_wrong_edits_are_refused(model, picture, tmp_path, flags, message):
    out = "" if "--out" in flags else f"--out {tmp_path}/x.png"
    with pytest.raises(ValueError, match=message):
        edit(f"{picture} {flags} {out} --model {model}".split())
    assert not (tmp_path / "x.png").exists()


def test_what_is_no_picture_is_named(model, tmp_path):
    (tmp_path / "note.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"note\.png is not an image \(JPEG, PNG"):
        edit(f"{tmp_path}/note.png --with Bald --model {model}".split())
    with pytest.raises(OSError, match=r"No such file.*nothing\.png"):
        edit(f"{tmp_path}/nothing.png --with Bald --model {model}".split())


# -- components --------------------------------------------------------------------------------------------------------


def test_components_are_read(pipeline_of):
    assert read_components("", pipeline_of) == [{}]
    assert read_components(" bald=2, long hair = 0", pipeline_of) == [{"Bald": 2, "Long_Hair": 0}]
    assert read_components("Bald=all,Sunglasses=1", pipeline_of) == [{"Sunglasses": 1, "Bald": c} for c in range(3)]


@pytest.fixture(scope="module")
def pipeline_of(model) -> AttributeDiffusionPipeline:
    return AttributeDiffusionPipeline.load(model)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Bald", "--component has 'Bald'; write an attribute and a number, such as"),
        ("Bold=1", "did you mean Bald"),
        ("Bald=3", "--component Bald is '3'; choose 0, 1, 2 or all"),
        ("Bald=-1", "choose 0, 1, 2"),
        ("Bald=1.0", "choose 0, 1, 2"),
        ("Bald=1,bald=2", "--component names Bald twice"),
        ("Bald=all,Sunglasses=all", "all of Bald and of Sunglasses; choose one"),
    ],
)
def test_wrong_components_are_refused(pipeline_of, text, message):
    with pytest.raises(ValueError, match=message):
        read_components(text, pipeline_of)


def test_kinds_that_never_occur_are_left_out(model):
    pipe = AttributeDiffusionPipeline.load(model)
    latents = {
        **pipe.config["latent_distribution"],
        "shares": [[0.5, 0, 0.5], [0.25, 0.25, 0.5], [1, 0, 0], [0.5, 0.5, 0]],
    }
    pipe.register_to_config(latent_distribution=latents)
    assert read_components("Bald=all", pipe) == [{"Bald": 0}, {"Bald": 2}]
    with pytest.raises(ValueError, match="Bald is '1'; choose 0, 2 or all"):
        read_components("Bald=1", pipe)


def test_a_long_row_of_components_is_cut_on_the_sheet_alone(model, tmp_path, monkeypatch):
    monkeypatch.setattr(faces, "_MOST_ON_A_SHEET", 6)
    flags = f"--component Bald=all --model {model} --count 5 --steps 1 --out {tmp_path}/x.png --folder {tmp_path}/f"
    assert faces.sample([*flags.split(), "--trajectory"]) == 0
    assert len(load_dataset(tmp_path / "f", size=8, progress=False)) == 15
    with Image.open(tmp_path / "x.png") as sheet:
        assert 6 * 96 < sheet.height < 8 * 96


def test_sample_asks_for_the_attribute_of_a_component(model, tmp_path, capsys):
    folder = tmp_path / "single"
    flags = f"--component Sunglasses=2 --model {model} --count 3 --steps 2 --out {tmp_path}/x.png --folder {folder}"
    assert faces.sample(flags.split()) == 0
    assert "3 x Sunglasses" in capsys.readouterr().out
    assert load_dataset(folder, size=8, progress=False).attributes[:, 2].all()


def test_sample_draws_a_row_for_each_component_from_one_noise(model, tmp_path):
    folder = tmp_path / "single"
    flags = f"--component Bald=all --model {model} --count 2 --steps 2 --out {tmp_path}/x.png --folder {folder}"
    assert faces.sample(flags.split()) == 0
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


def test_the_example_draws_a_column_for_each_change(model, pictures, tmp_path):
    from examples.edit_faces import main

    out = main(
        out=str(tmp_path / "x.png"),
        changes=("+Bald", "-Sunglasses"),
        model=str(model),
        data=str(pictures),
        data_count=None,
        count=2,
        steps=1,
    )
    with Image.open(out) as sheet:
        assert 4 * 96 < sheet.width < 5 * 96
