"""Decoding: every kind of picture to RGB, centre square, asked size."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data.layouts import encode, pixels
from PIL import Image

from gaussmix.data import decode as decode_module
from gaussmix.data.decode import BadImageError, decode
from gaussmix.data.table import ImageTable


def smooth(height: int, width: int) -> np.ndarray:
    """(height, width, 3) uint8 gradients."""
    y, x = np.mgrid[:height, :width]
    return np.stack([255 * y / height, 255 * x / width, 127 + 100 * np.sin(x / 20)], -1).astype(np.uint8)


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_come_back_exactly(format: str) -> None:
    np.testing.assert_array_equal(decode(encode(Image.fromarray(pixels(0)), format), 16), pixels(0))


@pytest.mark.parametrize(("height", "width"), [(16, 25), (25, 16), (16, 16)])
def test_centre_square(height: int, width: int) -> None:
    image = pixels(0, height, width)
    top, left = (height - 16) // 2, (width - 16) // 2
    np.testing.assert_array_equal(decode(encode(Image.fromarray(image)), 16), image[top : top + 16, left : left + 16])


@pytest.mark.parametrize("size", [3, 16, 40])
def test_resizing(size: int) -> None:
    image = Image.fromarray(smooth(20, 20))
    expected = np.asarray(image.resize((size, size), Image.Resampling.LANCZOS))
    np.testing.assert_allclose(decode(encode(image), size).astype(int), expected, atol=1)


def test_large_jpeg_decoded_smaller_looks_the_same() -> None:
    data = encode(Image.fromarray(smooth(600, 800)), "JPEG", quality=95)
    with Image.open(io.BytesIO(data)) as full:
        expected = full.crop((100, 0, 700, 600)).resize((32, 32), Image.Resampling.LANCZOS)
    np.testing.assert_allclose(decode(data, 32).astype(int), np.asarray(expected), atol=4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_the_camera(orientation: int) -> None:
    image = Image.fromarray(pixels(0))
    exif = Image.Exif()
    exif[0x0112] = orientation
    undo = {  # how a viewer turns a picture with this orientation, EXIF 2.3, 4.6.4
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a),
    }
    expected = undo[orientation](pixels(0))
    np.testing.assert_array_equal(decode(encode(image, exif=exif), 16), expected)


def solid(mode: str, color: object) -> Image.Image:
    return Image.new(mode, (16, 16), color)  # pyright: ignore[reportArgumentType]


def palette(transparency: int | None) -> bytes:
    image = solid("P", 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    return encode(image) if transparency is None else encode(image, transparency=transparency)


@pytest.mark.parametrize(
    ("data", "color"),
    [
        pytest.param(encode(solid("L", 77)), (77, 77, 77), id="grey"),
        pytest.param(encode(solid("1", 1)), (255, 255, 255), id="black and white"),
        pytest.param(encode(solid("LA", (0, 102))), (153, 153, 153), id="grey with alpha"),
        pytest.param(encode(solid("RGBA", (255, 0, 0, 0))), (255, 255, 255), id="transparent"),
        pytest.param(encode(solid("RGBA", (255, 0, 0, 102))), (255, 153, 153), id="half transparent"),
        pytest.param(encode(solid("RGBA", (9, 8, 7, 255))), (9, 8, 7), id="opaque alpha"),
        pytest.param(palette(None), (200, 100, 50), id="palette"),
        pytest.param(palette(1), (255, 255, 255), id="transparent palette"),
        pytest.param(palette(0), (200, 100, 50), id="palette with another transparent colour"),
        pytest.param(encode(solid("RGB", (1, 2, 3)), transparency=(1, 2, 3)), (255, 255, 255), id="colour key"),
        pytest.param(encode(solid("I;16", 65535)), (255, 255, 255), id="16 bits, white"),
        pytest.param(encode(solid("I;16", 257 * 100 + 30)), (100, 100, 100), id="16 bits"),
        pytest.param(encode(solid("I", 257 * 100), "TIFF"), (100, 100, 100), id="32 bits within 16"),
        pytest.param(encode(solid("CMYK", (0, 255, 255, 0)), "TIFF"), (255, 0, 0), id="CMYK"),
    ],
)
def test_modes(data: bytes, color: tuple[int, int, int]) -> None:
    image = decode(data, 8)
    assert image.shape == (8, 8, 3)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, np.broadcast_to(color, (8, 8, 3)))


def test_cmyk_jpeg() -> None:
    data = encode(solid("CMYK", (0, 255, 255, 0)), "JPEG", quality=95)
    np.testing.assert_allclose(decode(data, 8), np.broadcast_to([255, 0, 0], (8, 8, 3)), atol=4)


def test_animation_gives_its_first_frame() -> None:
    frames = [solid("RGB", color) for color in ("red", "blue")]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(data, 8)[0, 0].tolist() == [255, 0, 0]


PNG = encode(Image.fromarray(pixels(0)))
JPEG = encode(Image.fromarray(pixels(0)), "JPEG")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "^is empty$"),
        (b"hello", r"^is not an image \(JPEG, PNG"),
        (PNG[: len(PNG) // 2], "^is damaged"),
        (JPEG[: len(JPEG) // 2], "^is damaged"),
        (PNG[:60] + bytes(20) + PNG[80:], "^is damaged"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "^is not an image"),
        (encode(solid("F", 0.5), "TIFF"), "^holds fractions"),
        (encode(solid("I", 1 << 20), "TIFF"), "^holds values beyond 16 bits"),
        (encode(solid("I", -1), "TIFF"), "^holds values beyond 16 bits"),
    ],
)
def test_bad_images(data: bytes, message: str) -> None:
    with pytest.raises(BadImageError, match=message) as caught:
        decode(data, 8)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("limit", [100, 200])  # Pillow raises above twice the limit and warns below
def test_decompression_bombs(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(BadImageError, match=r"^is too large \(.*(256 pixels|16 x 16 pixels; at most 200)"):
        decode(PNG, 8)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "I;16"])
def test_bands_give_the_pixels_of_the_whole(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture of 16 rows in bands of 3 of them."""
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (16, 16, 4), np.uint8), "RGBA")
    if mode == "I;16":
        image = Image.fromarray(rng.integers(0, 65536, (16, 16), np.uint16))
    elif mode[0] == "P":
        image = image.convert("RGB").quantize(16)
    else:
        image = image.convert(mode)
    options: dict[str, Any] = {"transparency": 3} if mode == "P" else {}
    data = encode(image, **options)
    whole = decode(data, 16)
    monkeypatch.setattr(decode_module, "BAND", 50)
    np.testing.assert_array_equal(decode(data, 16), whole)
    assert len(np.unique(whole)) > 8


def test_a_webp_may_have_half_as_many_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(solid("RGB", "red"), "WEBP")
    width, height = Image.open(io.BytesIO(data)).size
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2 * width * height)
    assert decode(data, 8).shape == (8, 8, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2 * width * height - 1)
    with pytest.raises(BadImageError, match=f"too large .*at most {width * height - 1} in all"):
        decode(data, 8)


def test_images_are_read_in_order_and_not_far_ahead() -> None:
    """Memory does not grow with the number of images."""
    n = 3000
    files = [str(i) for i in range(n)]
    codes = np.zeros((n, 1), np.uint8)
    table = ImageTable("", Path("root"), files, [], codes, ("a",), codes[:, 0])
    started: list[str] = []

    def read(path: str) -> tuple[bytes, str]:
        started.append(path)
        return b"", path

    for i, (_, path) in enumerate(decode_module._in_threads(read, table, {5: "missing"})):
        assert path == ("missing" if i == 5 else f"root/{i}")
        assert len(started) <= i + decode_module.AHEAD
    assert len(started) == n - 1
