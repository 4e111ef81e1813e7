"""A stranger's model folder: nothing that it names is run, and what is wrong with it is one line."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from gaussmix.autoencoder.model import ClassConditionalAutoencoder
from gaussmix.cli import main
from gaussmix.diffusion.config import BUILT_IN_MODEL
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline

LOWEST = "GAUSSMIX_LOWEST_DIFFUSERS"
"""Names a folder with the lowest diffusers that pyproject.toml allows and what it needs of other versions than ours:
`.ci/lowest` makes one and runs the test."""


def change(path: Path, **entries: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


EVIL = [
    {"_class_name": ["evil", "Evil"]},
    {"scheduler": ["evil", "Evil"]},
    {"transformer": ["evil", "Evil"]},
    {"unet": ["evil", "Evil"]},
    {"encoder": ["evil", "Evil"]},
    {"scheduler": ["antigravity", "Evil"]},
    {"extra": ["evil", "Evil"]},
    {
        "transformer": ["gaussmix.diffusion.transformer", "AttributeTransformer"]
    },  # and a file of that name in the folder of the part
]


def evil_folder(folder: Path, entries: dict[str, Any], marker: Path) -> Path:
    """The model in the package with ``entries``, and everywhere modules that leave a marker."""
    shutil.copytree(BUILT_IN_MODEL, folder)
    code = f"import pathlib\npathlib.Path({str(marker)!r}).write_text('ran')\nclass Evil: ...\n"
    for place in (folder, folder / "transformer", folder / "scheduler", folder / "encoder"):
        for name in ("evil", "pipeline", "gaussmix.diffusion.transformer", "antigravity"):
            (place / f"{name}.py").write_text(code)
    change(folder / "model_index.json", **entries)
    change(folder / "transformer" / "config.json", auto_map={"AutoModel": "evil.Evil"})
    return folder


@pytest.mark.parametrize("entries", EVIL, ids=str)
def test_no_code_from_a_folder(tmp_path: Path, entries: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    marker = tmp_path / "marker"
    folder = evil_folder(tmp_path / "model", entries, marker)
    harmless = entries == EVIL[-1]
    for words in (["attributes", str(folder)], ["sample", str(folder), "--count", "1", "-o", str(tmp_path / "a.png")]):
        status, said = main(["faces", *words]), capsys.readouterr().err
        assert status == (0 if harmless and words[0] == "attributes" else 2)
        assert len(said.splitlines()) <= 1
        assert status == 0 or str(folder) in said
    with pytest.raises(ValueError, match="cannot be loaded"):
        AttributeDiffusionPipeline.from_pretrained(folder)
    init = ["faces", "train", "--init", str(folder), "--count", "20", "--steps", "1", "-o", str(tmp_path / "run")]
    assert main(init) == 2
    assert not marker.exists()
    assert "antigravity" not in sys.modules


@pytest.mark.skipif(LOWEST not in os.environ, reason=f"{LOWEST} does not name a folder with diffusers")
def test_no_code_from_a_folder_with_the_lowest_diffusers_allowed(tmp_path: Path) -> None:
    """There the other tests of this file pass too."""
    path = os.pathsep.join([os.environ[LOWEST], *filter(None, sys.path)])
    environment = {**{name: value for name, value in os.environ.items() if name != LOWEST}, "PYTHONPATH": path}
    said = {"check": False, "capture_output": True, "text": True, "env": environment}
    where = subprocess.run([sys.executable, "-c", "import diffusers; print(diffusers.__file__)"], **said)
    assert Path(where.stdout).is_relative_to(os.environ[LOWEST]), where.stderr
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__], **said)
    assert done.returncode == 0, done.stdout


def test_the_marker_test_can_fail(tmp_path: Path) -> None:
    """The module in such a folder does leave the marker when it is run."""
    folder = evil_folder(tmp_path / "model", {}, tmp_path / "marker")
    spec = importlib.util.spec_from_file_location("evil", folder / "evil.py")
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert (tmp_path / "marker").exists()


def test_loading_gives_what_was_saved(tmp_path: Path, pipeline: AttributeDiffusionPipeline) -> None:
    pipeline.save_pretrained(tmp_path)
    state = torch.random.get_rng_state()
    again = AttributeDiffusionPipeline.load(tmp_path)
    assert torch.equal(torch.random.get_rng_state(), state)
    wanted, found = pipeline.network.state_dict(), again.network.state_dict()
    assert wanted.keys() == found.keys()
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)
    wanted, found = (dict(each.scheduler.config) for each in (pipeline, again))
    assert {name: found.get(name) for name in wanted if name[0] != "_"} == found
    assert again.attribute_names == pipeline.attribute_names
    assert again.latent_distribution == pipeline.latent_distribution
    assert not again.network.training


def set_index(**entries: Any) -> Callable[[Path], None]:
    return lambda folder: change(folder / "model_index.json", **entries)


def set_unet(**entries: Any) -> Callable[[Path], None]:
    return lambda folder: change(folder / "unet" / "config.json", **entries)


def set_scheduler(**entries: Any) -> Callable[[Path], None]:
    return lambda folder: change(folder / "scheduler" / "scheduler_config.json", **entries)


def write(name: str, text: str) -> Callable[[Path], None]:
    def writing(folder: Path) -> None:
        (folder / name).write_text(text)

    return writing


def spoil_weights(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights["null_token"] = weights["null_token"] * float("nan")
    save_file(weights, path)


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "infinity": (write("scheduler/scheduler_config.json", "Infinity"), r"scheduler_config\.json holds no JSON object"),
    "cut": (write("model_index.json", '{"_class_name": '), r"model_index\.json is no whole JSON file"),
    "deep": (write("unet/config.json", "[" * 100_000), r"unet.config\.json is no whole JSON file"),
    "weights": (write("unet/diffusion_pytorch_model.safetensors", "x" * 99), r"does not hold the weights"),
    "nan": (spoil_weights, r"null_token holds numbers that are not finite"),
    "levels": (
        set_scheduler(num_train_timesteps=100_000),
        r"scheduler_config\.json has 20 trained_betas for",
    ),
    "level kind": (set_scheduler(num_train_timesteps=1e9), r"num_train_timesteps cannot be 1000000000\.0"),
    "beta": (set_scheduler(trained_betas=[float("nan")] * 20), r"trained_betas cannot be"),
    "algorithm": (set_scheduler(algorithm_type="evil"), r"describes no scheduler"),
    "another": (set_scheduler(_class_name="Evil"), r"is not of a DPMSolverMultistepScheduler"),
    "layers": (set_unet(layers_per_block=10**9), r"layers_per_block cannot be 1000000000"),
    "width": (set_unet(block_out_channels=[8, 65536]), r"does not hold the weights"),
    "kind": (set_unet(scale_shift="yes"), r"scale_shift cannot be 'yes'"),
    "unknown": (set_unet(quantization_config={}), r"a setting 'quantization_config' that this gaussmix does not know"),
    "names": (set_index(attribute_names=["a", 1, "c"]), r"attribute_names cannot be"),
    "few names": (set_index(attribute_names=["a"]), r"1 attribute names for a network with 3"),
    "rows": (set_index(attribute_rows=["zz"]), r"a row of attribute_rows is 'zz'"),
    "latents": (set_index(latent_distribution={"n_attributes": 4}), r"other latents than those of the network"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_model_is_one_line(tmp_path: Path, pipeline: AttributeDiffusionPipeline, name: str) -> None:
    damage, says = DAMAGE[name]
    pipeline.save_pretrained(tmp_path)
    damage(tmp_path)
    with pytest.raises(ValueError, match=says) as caught:
        AttributeDiffusionPipeline.load(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_an_autoencoder_is_read_with_the_same_care(tmp_path: Path) -> None:
    model = ClassConditionalAutoencoder(["a", "b"], latent_dim=4, channels=[4, 8], hidden=16)
    model.save_pretrained(tmp_path)
    again = ClassConditionalAutoencoder.load(tmp_path)
    assert all(map(torch.equal, model.state_dict().values(), again.state_dict().values()))
    for entries, says in [
        ({"auto_map": {"AutoModel": "evil.Evil"}}, "a setting 'auto_map' that this gaussmix does not know"),
        ({"_class_name": ["evil", "Evil"]}, "is not of a ClassConditionalAutoencoder"),
        ({"latent_dim": 5}, "does not hold the weights of this network"),
        ({"channels": [4] * 99}, "channels cannot be"),
        ({"training": {"data": ["x"]}}, "training cannot be"),
    ]:
        kept = (tmp_path / "config.json").read_text()
        change(tmp_path / "config.json", **entries)
        with pytest.raises(ValueError, match=says):
            ClassConditionalAutoencoder.load(tmp_path)
        (tmp_path / "config.json").write_text(kept)
