"""The settings that all runs share: their flags, their checks, their JSON form."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import tyro

from gaussmix.autoencoder.config import AutoencoderConfig
from gaussmix.diffusion.config import DiffusionConfig
from gaussmix.training.run import RunConfig


@pytest.mark.parametrize("config", [DiffusionConfig, AutoencoderConfig])
def test_shared_fields_are_flags_with_the_one_text_that_explains_them(config, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        tyro.cli(config, args=["--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "Steps between checkpoints." in shown
    assert "bf16 autocast, where the processor has instructions for it" in shown  # a default that one of them changes
    assert tyro.cli(config, args=["-o", "runs/x"]).output == tyro.cli(config, args=["--output", "runs/x"]).output


@pytest.mark.parametrize("config", [DiffusionConfig, AutoencoderConfig])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "--batch-size is 0; it must be at least 1"),
        ({"checkpoint_every": 0}, "--checkpoint-every is 0; it must be at least 1"),
        ({"seed": -1}, "--seed is -1; it must be 0 or more"),
        ({"learning_rate": float("nan")}, "--learning-rate is nan; it must be above 0"),
        ({"minutes": 0}, "--minutes is 0; it must be above 0"),
    ],
)
def test_shared_settings_are_checked_once_for_all(config, settings, message):
    with pytest.raises(ValueError, match=message):
        config(**settings)


def test_json_form_has_every_field_and_text_for_paths():
    config = RunConfig(output=Path("a") / "b")
    plain = json.loads(json.dumps(config.to_dict()))
    assert list(plain) == [field.name for field in dataclasses.fields(config)]
    assert plain["output"] == str(Path("a") / "b")


def test_settings_load_no_torch():
    code = "import sys, gaussmix.diffusion.config, gaussmix.autoencoder.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
