"""The command line, from flags to files and exit status."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from tiny import squares_dataset, tiny_config

from gaussmix import cli
from gaussmix.diffusion.config import PRESETS


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


def size(path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_sample_writes_a_picture_single_files_and_metadata(model, tmp_path, capsys):
    out, folder = tmp_path / "faces.png", tmp_path / "single"
    status = cli.main(
        f"sample --model {model} --with Bald,sunglasses --without long_hair --count 3 --steps 4 "
        f"--out {out} --folder {folder}".split()
    )
    assert status == 0
    assert "3 x Bald and Sunglasses, not Long Hair" in capsys.readouterr().out.replace(
        "sunglasses", "Sunglasses"
    ).replace("long hair", "Long Hair")
    assert size(out)[0] > 200
    assert sorted(p.name for p in folder.iterdir()) == ["00000.png", "00001.png", "00002.png", "metadata.csv"]
    from gaussmix.data.load import load_dataset

    again = load_dataset(folder, size=8, progress=False)
    assert again.attribute_names == ("Bald", "Long_Hair", "Sunglasses")
    assert again.attributes.tolist() == [[1, 0, 1]] * 3
    assert np.array_equal(again.images[0], np.asarray(Image.open(folder / "00000.png")))


def test_fewer_pictures_are_the_first_of_more(model, tmp_path):
    for n in (2, 5):
        flags = f"--count {n} --steps 3 --seed 4 --folder {tmp_path / str(n)} --out {tmp_path}/x.png"
        cli.main([*f"sample --model {model}".split(), *flags.split()])
    for i in range(2):
        few, many = (np.asarray(Image.open(tmp_path / n / f"{i:05d}.png")).astype(int) for n in ("2", "5"))
        assert np.abs(few - many).max() <= 1


@pytest.mark.parametrize("flag", ["--fix-latent", "--fix-noise", "--trajectory"])
@pytest.mark.parametrize("scheduler", ["renoise", "ddim"])
def test_ways_of_drawing(model, tmp_path, flag, scheduler):
    out = tmp_path / "x.png"
    assert (
        cli.main(f"sample --model {model} --count 2 --steps 5 --scheduler {scheduler} --out {out} {flag}".split()) == 0
    )
    assert out.exists()


def test_fixing_latent_and_noise_together_repeats_the_picture(model, tmp_path):
    flags = f"--count 3 --steps 4 --fix-latent --fix-noise --folder {tmp_path}/f --out {tmp_path}/x.png"
    cli.main([*f"sample --model {model}".split(), *flags.split()])
    pictures = [np.asarray(Image.open(tmp_path / "f" / f"{i:05d}.png")).astype(int) for i in range(3)]
    assert max(np.abs(pictures[0] - p).max() for p in pictures[1:]) <= 1


def test_attributes_lists_names_and_shares(model, capsys):
    assert cli.main(["attributes", "--model", str(model)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["Bald", "Long_Hair", "Sunglasses"]
    assert all("% of the data" in line for line in lines)


def test_train_on_a_folder_then_resume(folder, tmp_path, capsys):
    flags = (
        f"train --data {folder} --size 8 --channels 8 16 --batch-size 4 --timesteps 100 --output {tmp_path}/run "
        "--checkpoint-every 2 --mixed-precision no --reader-steps 5"
    )
    assert cli.main([*flags.split(), "--steps", "3"]) == 0
    assert (tmp_path / "run" / "samples.png").exists()
    assert "3 steps; model:" in capsys.readouterr().out
    assert cli.main([*flags.split(), "--steps", "3"]) == 2
    assert "--resume" in capsys.readouterr().err
    assert cli.main([*flags.split(), "--steps", "4", "--resume"]) == 0
    saved = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (saved["steps"], saved["minutes"], saved["channels"]) == (4, None, [8, 16])


def test_naming_one_limit_lifts_the_other(monkeypatch, folder, tmp_path):
    seen = []
    monkeypatch.setattr("gaussmix.diffusion.train.train", lambda config, _data: seen.append(config) or exit_quietly())

    def exit_quietly():
        raise ValueError("seen")

    base = ["train", "--data", str(folder), "--size", "8", "--output", str(tmp_path)]
    for extra in ([], ["--steps", "7"], ["--minutes", "2"], ["--steps", "7", "--minutes", "2"]):
        assert cli.main([*base, *extra]) == 2
    demo = PRESETS["demo"]
    assert (seen[0].steps, seen[0].minutes) == (demo.steps, demo.minutes)
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
        ("sample --out faces.qqq", ".qqq"),
    ],
)
def test_user_errors_are_one_clear_line(model, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert cli.main([*arguments.split(), "--model", str(model)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.strip().splitlines()[-1].startswith("gaussmix: ")
    assert not list(tmp_path.iterdir())  # nothing was written


def test_a_missing_model_or_data_folder_is_named(tmp_path, capsys):
    assert cli.main(["sample", "--model", str(tmp_path / "absent")]) == 2
    assert "no model in" in capsys.readouterr().err
    assert cli.main(["train", "--data", str(tmp_path / "absent"), "--output", str(tmp_path / "run")]) == 2
    assert "absent" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_nan_stops_with_status_1(folder, tmp_path, capsys):
    status = cli.main(
        f"train --data {folder} --size 8 --channels 8 16 --batch-size 4 --output {tmp_path}/run --steps 40 "
        "--learning-rate 1e30 --mixed-precision no --log-every 1".split()
    )
    assert status == 1
    assert "at step" in capsys.readouterr().err
    assert not (tmp_path / "run" / "model").exists()


def test_skip_bad_counts_damaged_images(folder, tmp_path, capsys):
    (folder / "3.png").write_bytes(b"damaged")
    flags = (
        f"train --data {folder} --size 8 --channels 8 16 --batch-size 4 --steps 1 --reader-steps 0 -o {tmp_path}/run"
    )
    assert cli.main(flags.split()) == 2
    error = capsys.readouterr().err
    assert "3.png" in error
    assert "--skip-bad" in error
    assert cli.main([*flags.split(), "--skip-bad"]) == 0
    assert "3.png" in capsys.readouterr().err


def test_unknown_commands_and_help():
    for arguments, status, text in (
        (["smaple"], 2, "did you mean sample?"),
        ([], 2, "usage: gaussmix COMMAND"),
        (["--help"], 0, "train"),
        (["--version"], 0, "gaussmix 0."),
        (["train", "--preset", "demo", "--help"], 0, "--condition-dropout"),
        (["sample", "--help"], 0, "--without"),
        (["train", "--preset", "nothing"], 2, "celeba64"),
        (["sample", "--steps", "many"], 2, "--steps"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "gaussmix", *arguments], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == status, done
        assert text in done.stdout + done.stderr


def test_help_does_not_load_torch():
    code = "import sys; from gaussmix import cli; cli.main(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0
