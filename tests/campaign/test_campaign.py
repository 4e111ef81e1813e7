"""A slice of the campaign over damaged files; every reader is in it; files that once did harm are read as they should.

The long one is `make campaign MINUTES=30`.
"""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest
from campaign import page, readers
from campaign.mutations import damaged
from campaign.readers import EXEMPT, READERS, SaidError, command, openers
from campaign.tries import BAD, GOOD, Tries

CASES = Path(__file__).parent / "cases"
TRIES = 6  # of each reader, here; fewer of a dear one


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_damaged_files_end_in_a_sentence(
    reader: readers.Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAUSSMIX_CACHE", str(tmp_path / "cache"))  # each try has its own
    tries = Tries(reader, tmp_path / "tries")
    whole = tries.check()
    assert whole.kind == "right", whole.said
    for n in range(max(1, TRIES // reader.cost)):
        outcome = tries.run(*tries.damage(n))
        assert outcome.kind in GOOD, f"try {n} of {reader.name}: {outcome.kind}\n{outcome.said}"


def test_the_campaign_can_fail(tmp_path: Path) -> None:
    """Errors that do not name the file, and those that are none of ours, are found."""

    def reader(error: Exception) -> readers.Reader:
        def read(folder: Path) -> None:
            if (folder / "a.bin").read_bytes() != b"whole":
                raise error

        return readers.Reader("bad", ("a.bin",), lambda folder: (folder / "a.bin").write_bytes(b"whole"), read, ())

    for number, (error, kind) in enumerate(
        [
            (ValueError("it is damaged"), "unnamed"),
            (KeyError("a.bin"), "fault"),
            (ValueError("a.bin is damaged"), "sentence"),
            (OSError(2, "gone", "x/a.bin"), "sentence"),
        ]
    ):
        tries = Tries(reader(error), tmp_path / str(number))
        assert tries.check().kind == "right"
        assert tries.run("a.bin", b"half").kind == kind


def test_every_place_that_opens_a_file_is_registered() -> None:
    """A new one gets a reader in `campaign.readers`, or an entry in `EXEMPT` that says why it needs none."""
    covered = {place for reader in READERS for place in reader.covers}
    found = set(openers())
    assert found - covered - EXEMPT.keys() == set(), "register these in tests/campaign/readers.py"
    assert (covered | EXEMPT.keys()) - found == set(), "these open no file any more"
    assert covered & EXEMPT.keys() == set()
    assert len({reader.name for reader in READERS}) == len(READERS)


def test_the_page_shows_the_table_of_tries() -> None:
    """`python -m campaign.page`, in tests/, writes it; each bad column's sum stands in the last row."""
    table = json.loads(page.TABLE.read_text())
    assert page.written("tries") == page.tries_table(table)
    assert sum(row[kind] for row in table["readers"].values() for kind in BAD) == 0
    assert all(row["tries"] == sum(row[kind] for kind in (*GOOD, *BAD)) for row in table["readers"].values())
    assert {reader.name for reader in READERS} == table["readers"].keys(), "have the campaign try the new reader"


def test_the_same_try_does_the_same_damage(tmp_path: Path) -> None:
    import random

    data = readers.TABLE.encode()
    again = [damaged(data, random.Random(f"x {n}"), [data]) for n in range(50)]
    assert again == [damaged(data, random.Random(f"x {n}"), [data]) for n in range(50)]
    assert len(set(again)) > 40


# --- files that did harm once: shared ones, and the small ones of a kind


def said_of(*words: object) -> str:
    with pytest.raises(SaidError) as caught:
        command(*words)
    return str(caught.value)


COLUMNS = sorted(path for path in CASES.iterdir() if path.name.split("-")[0] in ("npy", "text", "parquet"))
READ = {"npy-accepted-380e64b1-a.npy", "npy-wide-290-decades.npy", "npy-wide-atoms.npy"}  # honest numbers, however odd
SEVERAL = {"text-traceback-cc6b2ae9-a.csv.gz", "text-traceback-cc6b2ae9-a.txt.gz"}  # columns: damaged further on


@pytest.mark.parametrize("path", COLUMNS, ids=lambda path: path.name)
def test_columns_that_did_harm(path: Path, tmp_path: Path) -> None:
    words = ("density", "fit", path, "-o", tmp_path / "m.safetensors")
    if path.name in READ:
        command(*words)
        return
    assert path.name in said_of(*words)
    assert not list(tmp_path.iterdir())
    if path.name in SEVERAL:
        assert path.name in said_of(*words, "--column", "0")


def test_what_the_threads_of_polars_print_is_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    """They panic beside the error; what others print there while a whole file is read is shown."""
    import polars as pl

    from gaussmix.density.table_file import PolarsFile, _panics_unsaid

    with pytest.raises(ValueError, match=r"panic-a\.parquet, column a, after row 0: parquet: "):
        list(PolarsFile(CASES / "panic-a.parquet", "parquet").batches([0], 50))
    assert capfd.readouterr().err == ""
    with _panics_unsaid():
        os.write(2, b"said\n")
    assert capfd.readouterr().err == "said\n"
    with pytest.raises(pl.exceptions.ComputeError, match="deep"), _panics_unsaid():
        raise pl.exceptions.PanicException("deep")


@pytest.mark.parametrize("path", sorted(CASES.glob("model-*")), ids=lambda path: path.name)
@pytest.mark.parametrize("name", ["info", "sample"])
def test_models_that_did_harm(path: Path, name: str) -> None:
    assert path.name in said_of("density", name, path)


@pytest.mark.parametrize("path", sorted(CASES.glob("vgg-*")), ids=lambda path: path.name)
def test_weights_that_did_harm(path: Path, tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)).save(tmp_path / "p.png")
    said = said_of("style", "fit", tmp_path / "p.png", "--weights", path, "-o", tmp_path / "s.safetensors")
    assert path.name in said


@pytest.mark.parametrize("path", sorted(CASES.glob("cifar-*")), ids=lambda path: path.name)
def test_pickles_that_did_harm(path: Path) -> None:
    from gaussmix.data.base import DataError
    from gaussmix.data.readers.cifar10 import read_pickle

    with pytest.raises(DataError, match=path.name):
        read_pickle(path)


def test_a_pickle_does_not_nest_without_end(tmp_path: Path) -> None:
    """Python hashes a tuple of tuples of tuples in C, as deep as it goes."""
    from gaussmix.data.base import DataError
    from gaussmix.data.readers.cifar10 import read_pickle

    (tmp_path / "deep").write_bytes(b"\x80\x02})" + b"\x85" * 300_000 + b"K\x01s.")
    with pytest.raises(DataError, match=r"deep is damaged \(more than 1000 tuples"):
        read_pickle(tmp_path / "deep")


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ((6, 4, 4), "holds more than 96 bytes, its head says 6 x 4 x 4"),
        ((60_000, 28, 28), "holds 4194304 bytes, its head says 60000 x 28 x 28"),
        ((2**20, 2**10, 2**10), "is too large"),
    ],
)
def test_an_idx_head_bounds_what_is_unpacked(head: tuple[int, ...], message: str, tmp_path: Path) -> None:
    from gaussmix.data.base import DataError
    from gaussmix.data.readers.idx import read_idx

    start = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in head)
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(start + bytes(1 << 22)))
    with pytest.raises(DataError, match=f"bomb.gz {message}"):
        read_idx(tmp_path / "bomb.gz", 3)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl"])
@pytest.mark.parametrize("before", [b"", b'{"x": 1}\n' * 40_000])
def test_a_line_of_text_has_a_limit(name: str, before: bytes, tmp_path: Path) -> None:
    data = before + b"1" * (5 << 20)
    (tmp_path / name).write_bytes(gzip.compress(data, 1) if name.endswith("gz") else data)
    assert name in said_of("density", "fit", tmp_path / name, "-o", tmp_path / "m.safetensors", "--column", "0")


@pytest.mark.parametrize("scale", [1e155, 1e250])
def test_large_honest_numbers_are_learnt_said_and_compared(scale: float, tmp_path: Path) -> None:
    for name, seed in (("a.npy", 0), ("b.npy", 1)):
        np.save(tmp_path / name, scale * np.random.default_rng(seed).normal(size=400))
    command("density", "fit", tmp_path / "a.npy", "-o", tmp_path / "a.safetensors", "--json")
    command("density", "info", tmp_path / "a.safetensors")
    command("density", "compare", tmp_path / "a.safetensors", tmp_path / "b.npy", "-o", tmp_path / "c.png")
    command("density", "plot", tmp_path / "a.safetensors", "-o", tmp_path / "d.png")
