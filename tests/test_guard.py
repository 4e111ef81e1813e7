"""The guard around readers: what passes, and what becomes a sentence that names the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from gaussmix._guard import DamagedFileError, cause_of, reading, shown
from gaussmix.data.base import DataError


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (KeyError("x"), "a.npy is damaged (KeyError: 'x')"),
        (OverflowError("too\nlarge"), "a.npy is damaged (OverflowError: too large)"),
        (ValueError("odd shape"), "a.npy is damaged (odd shape)"),
        (RecursionError(), "a.npy is damaged (RecursionError)"),
        (OSError("not a gzipped file"), "a.npy is damaged (not a gzipped file)"),
        (ValueError("\x1b[2J" + "y" * 1000), f"a.npy is damaged (\\x1b[2J{'y' * 153}...)"),
    ],
)
def test_any_error_becomes_a_sentence(error: Exception, sentence: str) -> None:
    with pytest.raises(DamagedFileError) as caught, reading(Path("a.npy")):
        raise error
    assert str(caught.value) == sentence
    assert caught.value.__cause__ is error


def test_what_names_the_file_passes() -> None:
    for error in (
        ValueError("a.npy is empty"),
        FileNotFoundError(2, "No such file", "a.npy"),
        ImportError("install pyarrow"),
        KeyboardInterrupt(),
    ):
        with pytest.raises(type(error)) as caught, reading("a.npy"):
            raise error
        assert caught.value is error


def test_memory_and_the_kind_of_error() -> None:
    with pytest.raises(MemoryError, match=r"a\.npy asks for more memory than there is"), reading("a.npy"):
        raise MemoryError("3 TiB")
    guard = reading("a.npy", "is cut off", "; get it again", kind=DataError)
    with pytest.raises(DataError, match=r"a\.npy is cut off \(TypeError: x\); get it again"), guard:
        raise TypeError("x")


def test_texts_of_files_are_one_short_line() -> None:
    assert shown("a\n\tb") == "a b"
    assert shown("é\x00") == "é\\x00"
    assert len(shown("x" * 10_000)) < 200
    assert cause_of(KeyError()) == "KeyError"
