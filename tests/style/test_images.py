"""Pictures of every kind in, pictures, films and sheets out."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from gaussmix.data.base import DataError
from gaussmix.style.images import (
    check_film,
    fit_size,
    is_grey,
    lightness,
    match_histograms,
    match_lightness,
    read_layers,
    read_picture,
    resize,
    save_film,
    specks,
    to_tensor,
    to_uint8,
    variants_sheet,
    with_colors_of,
)

RED, GREEN = (200, 10, 30), (20, 180, 40)


def two_halves(width: int = 40, height: int = 36) -> Image.Image:
    """Red on the left, green on the right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (width // 2, 0, width, height))
    return image


def assert_halves(pixels: np.ndarray, tolerance: int = 0) -> None:
    assert pixels.dtype == np.uint8
    assert pixels.shape == (36, 40, 3)
    assert np.abs(pixels[10, 5].astype(int) - RED).max() <= tolerance
    assert np.abs(pixels[10, 35].astype(int) - GREEN).max() <= tolerance


@pytest.mark.parametrize("name", ["x.png", "x.bmp", "x.webp", "x.jpg", "x.tif"])
def test_formats(tmp_path, name):
    two_halves().save(tmp_path / name, quality=95)
    assert_halves(read_picture(tmp_path / name), 0 if name in ("x.png", "x.bmp", "x.tif") else 8)


def test_palette_and_cmyk(tmp_path):
    two_halves().quantize(8).save(tmp_path / "palette.png")
    assert_halves(read_picture(tmp_path / "palette.png"), 1)
    two_halves().convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    assert_halves(read_picture(tmp_path / "cmyk.jpg"), 10)


def test_transparency_is_laid_over_white(tmp_path):
    image = two_halves().convert("RGBA")
    image.putalpha(Image.new("L", image.size, 255))
    image.paste((9, 9, 9, 0), (0, 20, 40, 36))
    image.save(tmp_path / "alpha.png")
    pixels = read_picture(tmp_path / "alpha.png")
    assert_halves(pixels)
    assert (pixels[20:] == 255).all()


def test_16_bits_and_grey(tmp_path):
    values = np.full((40, 40), 257 * 77, np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    assert (read_picture(tmp_path / "deep.png") == 77).all()
    Image.new("L", (32, 32), 5).save(tmp_path / "grey.png")
    assert read_picture(tmp_path / "grey.png").tolist() == np.full((32, 32, 3), 5).tolist()


def test_exif_turns_the_picture(tmp_path):
    image = two_halves().transpose(Image.Transpose.ROTATE_90)  # as a camera held upright stores it
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise by 90 degrees
    image.save(tmp_path / "turned.png", exif=exif)
    assert_halves(read_picture(tmp_path / "turned.png"))


def test_what_is_no_picture_is_named_in_one_line(tmp_path):
    (tmp_path / "note.png").write_text("no picture")
    (tmp_path / "empty.png").touch()
    two_halves().save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    Image.new("RGB", (31, 400)).save(tmp_path / "tiny.png")
    for name, message in (
        ("note.png", "is not an image"),
        ("empty.png", "is not an image"),
        ("cut.png", "is damaged"),
        ("tiny.png", "has 31 x 400 pixels; give a picture of at least 32 x 32"),
    ):
        with pytest.raises(DataError, match=f"^[^\n]*{name} {message}[^\n]*$"):
            read_picture(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_picture(tmp_path / "nothing.png")


def test_sizes_and_tensors():
    assert fit_size(600, 752, 512) == (409, 512)
    assert fit_size(40, 20, 80.4) == (80, 40)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    tensor = to_tensor(pixels)
    assert tensor.shape == (2, 3, 5, 7)
    assert float(tensor[1, 2, 3, 4]) == pytest.approx(pixels[1, 3, 4, 2] / 255)
    assert (to_uint8(tensor) == pixels).all()
    assert to_uint8(torch.tensor([-0.1, 1.2, 0.5]).reshape(1, 3, 1, 1)).tolist() == [[[[0, 255, 128]]]]
    assert resize(np.asarray(two_halves()), 9, 10).shape == (9, 10, 3)


def test_colours_of_the_content_with_the_lightness_of_the_picture():
    content = np.full((2, 2, 3), (150, 100, 90), np.uint8)
    picture = np.stack([np.full((2, 3), value, np.uint8) for value in (90, 140)])
    mixed = with_colors_of(content, picture).astype(float)
    lightness, blue, red = (
        mixed @ np.array(w) for w in ((0.299, 0.587, 0.114), (-0.169, -0.331, 0.5), (0.5, -0.419, -0.081))
    )
    assert lightness == pytest.approx(picture[..., 0], abs=1.5)
    wanted = content[0, 0] @ np.array([[-0.169, 0.5], [-0.331, -0.419], [0.5, -0.081]])
    assert blue == pytest.approx(np.full((2, 2), wanted[0]), abs=1.5)
    assert red == pytest.approx(np.full((2, 2), wanted[1]), abs=1.5)


# -- films, sheets


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


def test_a_sheet_of_variants_is_no_larger_than_it_need_be():
    few = variants_sheet(np.stack(frames(2, 400, 600)), title="t", caption="c")
    many = variants_sheet(np.stack(frames(7, 400, 600)), title="t", caption="c")
    assert 2 * 480 < few.width < 3 * 480
    assert 5 * 480 < many.width < 6 * 480
    assert many.height > 2 * 320


def test_a_picture_is_read_at_a_size(tmp_path):
    two_halves(80, 72).save(tmp_path / "x.png")
    assert read_picture(tmp_path / "x.png", 40).shape == (36, 40, 3)


# -- colours -----------------------------------------------------------------------------------------------------------


def colored(seed: int, mean: list[int], height: int = 40) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixed = rng.normal(0, 20, (height, 50, 3)) @ rng.normal(0, 0.7, (3, 3)) + mean
    return mixed.clip(0, 255).astype(np.uint8)


def test_matched_colours_have_the_content_s_distribution():
    style, content = colored(0, [60, 120, 170]), colored(1, [150, 100, 90], 64)
    matched = match_histograms(style, content).reshape(-1, 3).astype(float)
    wanted = content.reshape(-1, 3).astype(float)
    for channel in range(3):
        levels = np.linspace(0.01, 0.99, 50)
        gap = np.quantile(matched[:, channel], levels) - np.quantile(wanted[:, channel], levels)
        assert np.abs(gap).max() <= 2.5
    before = np.cov(style.reshape(-1, 3).T.astype(float))
    assert np.abs(np.cov(matched.T) - np.cov(wanted.T)).max() < 0.2 * np.abs(before - np.cov(wanted.T)).max()


def test_colours_that_match_already_stay():
    content = colored(0, [120, 120, 120])
    assert np.abs(match_histograms(content, content).astype(int) - content).max() <= 1


def test_grey_content_makes_grey_styles():
    grey = np.repeat(colored(0, [120, 120, 120])[..., :1], 3, 2)
    assert is_grey(grey)
    assert not is_grey(colored(1, [90, 90, 90]))
    assert is_grey(match_histograms(colored(1, [90, 60, 90]), grey))
    assert is_grey(match_histograms(grey, np.full((40, 40, 3), 90, np.uint8)))
    matched = match_lightness(colored(1, [90, 60, 90]), colored(2, [150, 160, 120]))
    assert is_grey(matched)
    wanted = lightness(colored(2, [150, 160, 120]))
    assert matched.mean() == pytest.approx(wanted.mean(), abs=1)
    assert matched.std() == pytest.approx(wanted.std(), rel=0.05)


def test_specks_are_what_stands_out():
    smooth = np.full((2, 20, 20, 3), 90, np.uint8)
    smooth[1, 5, 5, 2] = smooth[1, 10, 15, 0] = 160
    smooth[1, :, 10:, 1] = 200  # an edge is none
    assert specks(smooth).tolist() == [0, 2 / 400]
    assert specks(np.random.default_rng(0).integers(0, 256, (1, 40, 40, 3)).astype(np.uint8))[0] > 0.7


# -- transparency ------------------------------------------------------------------------------------------------------


def test_transparency_is_read_beside_the_picture(tmp_path):
    image = two_halves(80, 72).convert("RGBA")
    alpha = np.full((72, 80), 255, np.uint8)
    alpha[:, :10] = 40
    image.putalpha(Image.fromarray(alpha))
    image.save(tmp_path / "x.png")
    pixels, found = read_layers(tmp_path / "x.png")
    assert (pixels == read_picture(tmp_path / "x.png")).all()
    assert found is not None
    assert (found == alpha).all()
    two_halves(80, 72).convert("RGBA").save(tmp_path / "y.png")
    assert read_layers(tmp_path / "y.png")[1] is None  # opaque everywhere
