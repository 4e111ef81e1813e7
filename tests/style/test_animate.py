"""Films in files."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from gaussmix.style.images import check_film, save_film


def frames(n: int = 4, height: int = 20, width: int = 31) -> list[np.ndarray]:
    """Of one colour each."""
    return [np.full((height, width, 3), (60 * k, 20, 200 - 40 * k), np.uint8) for k in range(n)]


def test_a_gif_has_all_frames_and_repeats(tmp_path):
    save_film(iter(frames()), tmp_path / "folder" / "flow.gif", rate=10)
    with Image.open(tmp_path / "folder" / "flow.gif") as film:
        assert film.n_frames == 4  # pyright: ignore[reportAttributeAccessIssue]
        assert film.info["loop"] == 0
        assert film.info["duration"] == 100
        for k, frame in enumerate(frames()):
            film.seek(k)
            assert np.abs(np.asarray(film.convert("RGB")).astype(int) - frame).max() <= 2


def test_an_mp4_has_all_frames(tmp_path):
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    save_film(frames(6), tmp_path / "flow.mp4", rate=12)
    about, *shown = list(ffmpeg.read_frames(str(tmp_path / "flow.mp4")))
    assert about["size"] == (30, 20)
    assert len(shown) == 6
    assert np.abs(np.frombuffer(shown[2], np.uint8).reshape(20, 30, 3)[5, 5].astype(int) - frames()[2][0, 0]).max() < 20


def test_wrong_films_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"cannot save the film 'flow\.avi': use \.gif or \.mp4"):
        check_film(tmp_path / "flow.avi")
    with pytest.raises(ValueError, match="at least one frame"):
        save_film([], tmp_path / "flow.gif", rate=10)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ImportError, match=r"an \.mp4 needs imageio-ffmpeg.*name a \.gif"):
        check_film(tmp_path / "flow.mp4")


def test_a_full_disk_leaves_no_half_film(tmp_path, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    save_film(frames(), tmp_path / "flow.gif", rate=10)
    before = (tmp_path / "flow.gif").read_bytes()
    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="No space left"):
        save_film(frames(2), tmp_path / "flow.gif", rate=10)
    assert [path.name for path in tmp_path.iterdir()] == ["flow.gif"]
    assert (tmp_path / "flow.gif").read_bytes() == before
