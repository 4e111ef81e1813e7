"""metrics.jsonl survives a kill and a resume."""

from __future__ import annotations

import json

import pytest

from gaussmix._progress import TrainingBar
from gaussmix.training.watch import MetricsLog


def steps(folder) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_resuming_forgets_what_came_after_the_checkpoint(tmp_path):
    log = MetricsLog(tmp_path)
    for step in (10, 20, 30):
        log.write(step, loss=1.0)
    log.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "lo')  # a kill in the middle of a line
    log = MetricsLog(tmp_path, first_step=20)
    log.write(30, loss=2.0)
    log.close()
    assert steps(tmp_path) == [10, 20, 30]
    assert json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])["loss"] == 2.0


def test_a_resume_that_is_cut_off_loses_nothing(tmp_path, monkeypatch):
    log = MetricsLog(tmp_path)
    log.write(10, loss=1.0)
    log.close()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("os.replace", killed)
        with pytest.raises(KeyboardInterrupt):
            MetricsLog(tmp_path, first_step=10)
    assert steps(tmp_path) == [10]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_new_run_starts_an_empty_log(tmp_path):
    MetricsLog(tmp_path).close()
    log = MetricsLog(tmp_path)
    log.write(1, loss=0.5)
    log.close()
    assert steps(tmp_path) == [1]


def test_without_a_terminal_progress_is_printed_as_lines(capsys):
    with TrainingBar(0.0) as bar:
        bar.update(0.25, 250, 0.125, 40.0)
        bar.update(0.26, 260, 0.125, 40.0)  # too soon for another line
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "25%" in lines[0]
    assert "step 250" in lines[0]
    assert "40 images/s" in lines[0]
