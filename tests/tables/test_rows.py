"""Rows of files in memory, whole or a sample; and progress that others hear of while they are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gaussmix._progress import progress_bar, watched
from gaussmix.density.files import open_table
from gaussmix.density.quantity import holds_integers
from gaussmix.tables import read_rows
from gaussmix.tables.rows import collect_rows


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("rows") / "rows.csv"
    found.write_text("n,name\n" + "".join(f"{k},{'' if k == 3 else f'row {k}'}\n" for k in range(5000)))
    return found


def test_all_rows_in_their_order(path: Path) -> None:
    rows = read_rows(path)
    assert list(rows) == ["n", "name"]
    assert np.array_equal(rows["n"], np.arange(5000))
    assert holds_integers(rows["n"])
    assert rows["name"][2:5].tolist() == ["row 2", None, "row 4"]
    with pytest.raises(ValueError, match=r"rows\.csv has no column 'x'"):
        read_rows(path, ["x"])


def test_a_sample_does_not_depend_on_batches(path: Path) -> None:
    sample = read_rows(path, ["name", "n"], most=100, seed=3)
    assert len(np.unique(sample["n"])) == 100
    assert (np.diff(sample["n"]) > 0).all()
    assert [f"row {n:.0f}" for n in sample["n"]] == sample["name"].tolist()
    assert holds_integers(sample["n"])
    with open_table(path, ["name", "n"], batch_rows=130) as source:
        again, total = collect_rows(source, ["n"], 100, 3)
    assert total == 5000
    assert np.array_equal(again["n"], sample["n"])
    assert not np.array_equal(read_rows(path, ["n"], most=100, seed=4)["n"], sample["n"])
    means = [read_rows(path, ["n"], most=200, seed=seed)["n"].mean() for seed in range(20)]
    assert np.mean(means) == pytest.approx(2499.5, abs=4 * 5000 / np.sqrt(12 * 200 * 20))


def test_progress_is_heard_and_can_be_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    heard = []

    def tell(share: float | None, what: str) -> None:
        heard.append((share, what))
        if share == 1:
            raise KeyboardInterrupt

    with watched(tell), progress_bar("reading", 4, show=False) as show:
        for done in range(4):
            show(done, "the end" if done > 2 else "")
        with pytest.raises(KeyboardInterrupt):
            show(4, "the end")
    assert heard == [(0, "reading"), (0.25, "reading"), (0.5, "reading"), (0.75, "the end"), (1, "the end")]
    with progress_bar("reading", None, show=False) as show:
        show(1)
    assert len(heard) == 5
    assert capsys.readouterr().err == ""
