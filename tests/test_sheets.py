"""Contact sheets: the pictures are where they should be, and no text is cut or overlaps."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from gaussmix._guard import counted
from gaussmix.sheets import contact_sheet, picture_format, save_atomic, save_images

LABELS = ["Black_Hair", "Wearing_Hat, Eyeglasses, Smiling, Mouth_Open, Pale_Skin, Beard", "x" * 60]


def flat(count: int, height: int = 32, width: int = 32) -> np.ndarray:
    """One saturated color a picture, all different: (count, height, width, 3)."""
    colors = np.stack([np.arange(count) * 5 % 256, np.full(count, 250), np.arange(count) * 9 % 256], axis=1)
    return np.broadcast_to(colors.astype(np.uint8)[:, None, None], (count, height, width, 3)).copy()


def boxes(sheet: Image.Image, images: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Where each flat picture lies on the sheet: left, top, right, bottom (exclusive)."""
    pixels, found = np.asarray(sheet), []
    for image in images:
        y, x = np.nonzero((pixels == image[0, 0]).all(axis=-1))
        found.append((int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1))
        assert len(x) == (x.max() - x.min() + 1) * (y.max() - y.min() + 1), "a picture is partly covered"
    return found


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float, float, float]]:
    """The ink box of every line of text drawn: left, top, right, bottom."""
    drawn = []
    plain = ImageDraw.ImageDraw.text

    def record(self: ImageDraw.ImageDraw, xy: Any, text: str, **options: Any) -> None:
        if text:
            drawn.append(self.textbbox(xy, text, font=options["font"], anchor=options["anchor"]))
        plain(self, xy, text, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", record)
    return drawn


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


class TestContactSheet:
    @pytest.mark.parametrize(("count", "columns"), [(12, 4), (10, 4), (1, 1), (2, 5)])
    def test_pictures_lie_on_a_grid_in_reading_order(self, count: int, columns: int):
        images = flat(count)
        found = boxes(contact_sheet(images, columns=columns), images)
        for i, (left, top, right, bottom) in enumerate(found):
            assert (right - left, bottom - top) == (192, 192)
            assert (left, top) == (found[0][0] + i % columns * 204, found[0][1] + i // columns * 204)

    @pytest.mark.parametrize(
        ("size", "scale", "expected"),
        [
            ((28, 28), None, (196, 196)),
            ((16, 16), None, (192, 192)),
            ((400, 200), None, (400, 200)),
            ((8, 12), 2, (16, 24)),
        ],
    )
    def test_scale(self, size: tuple[int, int], scale: int | None, expected: tuple[int, int]):
        images = flat(3, *size)
        for left, top, right, bottom in boxes(contact_sheet(images, columns=2, scale=scale), images):
            assert (bottom - top, right - left) == expected

    def test_pictures_are_unchanged_at_scale_1(self):
        images = np.random.default_rng(0).integers(0, 256, (1, 9, 7, 3), dtype=np.uint8)
        sheet = np.asarray(contact_sheet(images, columns=1, scale=1))
        windows = np.lib.stride_tricks.sliding_window_view(sheet, (9, 7, 3))
        assert (windows == images[0]).all(axis=(-3, -2, -1)).sum() == 1

    @pytest.mark.parametrize("scale", [1, 3])
    @pytest.mark.parametrize("columns", [1, 3, 8])
    def test_no_text_is_cut_or_covered(self, columns: int, scale: int, texts: list[tuple[float, float, float, float]]):
        images = flat(3 * columns)
        sheet = contact_sheet(
            images,
            columns=columns,
            scale=scale,
            title="A title long enough to be wrapped on a narrow sheet, and with_a_very_long_word_" + "y" * 40,
            row_labels=LABELS,
            column_labels=["a", "Sunglasses and Mouth_Open", *(["b"] * 6)][:columns],
            caption="A caption that goes on. " * 12,
        )
        found = boxes(sheet, images)
        assert len(texts) > 12
        for i, text in enumerate(texts):
            assert text[0] >= 0
            assert text[1] >= 0
            assert text[2] <= sheet.width
            assert text[3] <= sheet.height
            assert not any(overlap(text, box) for box in found)
            assert not any(overlap(text, other) for other in texts[:i])

    def test_row_labels_end_beside_their_row(self, texts: list[tuple[float, float, float, float]]):
        images = flat(4)
        found = boxes(contact_sheet(images, columns=2, row_labels=["one", "two words"]), images)
        for text, box in zip(texts, found[::2], strict=True):
            assert box[0] - 32 < text[2] < box[0]
            assert abs((text[1] + text[3]) / 2 - (box[1] + box[3]) / 2) < 16

    def test_a_tall_label_makes_its_row_taller(self):
        images = flat(3, 8, 8)
        found = boxes(contact_sheet(images, columns=1, scale=1, row_labels=["a\nb\nc\nd", "", "e"]), images)
        assert found[1][1] - found[0][1] > 120
        assert found[2][1] - found[1][1] < 60

    def test_accents_are_dropped_rather_than_boxed(self):
        images = flat(1)
        accented = contact_sheet(images, columns=1, title="Ça déjà")
        assert accented == contact_sheet(images, columns=1, title="Ca deja")
        assert accented != contact_sheet(images, columns=1, title="Ca deju")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                {"images": flat(4).astype(np.float32)},
                r"images are \(4, 32, 32, 3\) float32: give \(N, H, W, 3\) uint8",
            ),
            ({"images": flat(4)[0]}, r"images are \(32, 32, 3\) uint8"),
            ({"images": flat(4)[..., :1]}, r"images are \(4, 32, 32, 1\)"),
            ({"images": flat(4)[:0]}, r"images are \(0, 32, 32, 3\)"),
            ({"columns": 0}, "columns=0: give at least 1"),
            ({"scale": 0}, "scale=0"),
            ({"row_labels": ["a"]}, "1 row_labels for 4 images in 2 columns: give 2"),
            ({"column_labels": ["a", "b", "c"]}, "3 column_labels for 4 images in 2 columns: give 2"),
        ],
    )
    def test_errors(self, arguments: dict[str, Any], message: str):
        options = {"images": flat(4), "columns": 2, **arguments}
        with pytest.raises(ValueError, match=message):
            contact_sheet(options.pop("images"), **options)


class TestSaveAtomic:
    @pytest.mark.parametrize("name", ["a.png", "b.JPG", "c.webp"])
    def test_writes_the_format_of_the_suffix_and_makes_folders(self, tmp_path: Path, name: str):
        path = tmp_path / "new" / "folder" / name
        save_atomic(contact_sheet(flat(2), columns=2), path)
        with Image.open(path) as image:
            assert image.format == {"a": "PNG", "b": "JPEG", "c": "WEBP"}[name[0]]
            assert image.width == 640
        assert os.listdir(path.parent) == [name]

    def test_a_failed_write_leaves_the_old_picture(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        path = tmp_path / "a.png"
        path.write_bytes(b"old")

        def half(self: Image.Image, target: Path, format: str) -> None:
            Path(target).write_bytes(b"half")
            raise OSError("disk full")

        monkeypatch.setattr(Image.Image, "save", half)
        with pytest.raises(OSError, match="disk full"):
            save_atomic(Image.new("RGB", (2, 2)), path)
        assert path.read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["a.png"]

    def test_replaces_the_old_picture(self, tmp_path: Path):
        path = tmp_path / "a.png"
        for width in (2, 3):
            save_atomic(Image.new("RGB", (width, 2)), str(path))
        with Image.open(path) as image:
            assert image.width == 3

    @pytest.mark.parametrize("name", ["a.xyz", "a", "a.mp4"])
    def test_unknown_suffix(self, tmp_path: Path, name: str):
        with pytest.raises(ValueError, match=f"cannot save '{name}'.* use .png or .jpg"):
            save_atomic(Image.new("RGB", (2, 2)), tmp_path / "folder" / name)
        assert not (tmp_path / "folder").exists()


def test_formats_that_are_taken_hold_colours(tmp_path: Path) -> None:
    """Of all that this Pillow can write; and those that hold none are refused before anything is drawn."""
    image, taken = Image.new("RGB", (300, 200), "red"), []
    for suffix in Image.registered_extensions():
        try:
            picture_format(f"a{suffix}")
        except ValueError:
            continue
        taken.append(suffix)
        save_atomic(image, tmp_path / f"a{suffix}")
        assert (tmp_path / f"a{suffix}").stat().st_size > 0
    assert {".png", ".jpg", ".webp", ".gif", ".tif", ".bmp", ".pdf"} <= set(taken)
    assert not {".xbm", ".palm", ".msp"} & set(taken)


def test_marked_pictures_have_a_red_frame():
    plain = np.asarray(contact_sheet(np.full((5, 8, 8, 3), 200, np.uint8), columns=3).convert("RGB")).astype(int)
    marked = np.asarray(
        contact_sheet(np.full((5, 8, 8, 3), 200, np.uint8), columns=3, marked=[1, 4]).convert("RGB")
    ).astype(int)
    assert plain.shape == marked.shape
    red = (marked[..., 0] > 200) & (marked[..., 1] < 60)
    assert not ((plain[..., 0] > 200) & (plain[..., 1] < 60)).any()
    columns = np.flatnonzero(red.any(0))
    assert columns[-1] - columns[0] < 220  # the second of three columns of 192 pixels, twice below each other
    assert red.any(1).sum() == 2 * (192 + 2 * 6)


@pytest.mark.parametrize(("count", "said"), [(1, "1 step"), (2, "2 steps"), (0, "0 steps"), (2800, "2,800 steps")])
def test_counted(count, said):
    assert counted(count, "step") == said


def test_pictures_carry_their_request(tmp_path: Path):
    save_images(np.zeros((2, 4, 4, 3), np.uint8), tmp_path, first=7, metadata={"request": "Smiling, ärmel", "seed": 3})
    with Image.open(tmp_path / "00008.png") as image:
        assert image.text == {"request": "Smiling, ärmel", "seed": "3", "picture": "8"}  # pyright: ignore
    save_images(np.zeros((1, 4, 4, 1), np.uint8), tmp_path)
    with Image.open(tmp_path / "00000.png") as image:
        assert image.text == {}  # pyright: ignore
    save_atomic(Image.new("RGB", (4, 4)), tmp_path / "a.jpg", metadata={"seed": 1})  # no place for it


@pytest.mark.parametrize("labels", [["decoded", "reconstruction"], ["a Wearing_Hat", "Eyeglasses, no"]])
def test_headers_break_no_word(labels: list[str], monkeypatch: pytest.MonkeyPatch):
    lines: list[str] = []
    plain = ImageDraw.ImageDraw.text
    record = lambda self, xy, text, **options: (lines.append(text), plain(self, xy, text, **options))  # noqa: E731
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", record)
    images = flat(4)
    rows = ["Wearing_Necktie_and_Hat", "b"]
    found = boxes(contact_sheet(images, columns=2, scale=4, column_labels=labels, row_labels=rows), images)
    assert {word for line in lines for word in line.split()} == {
        word for text in labels + rows for word in text.split()
    }
    assert all((right - left, bottom - top) == (128, 128) for left, top, right, bottom in found)
    assert found[1][0] > found[0][2]


def test_one_is_no_plural():
    assert counted(1, "step") == counted(1.0, "step") == "1 step"
    assert counted(12_000, "step") == "12,000 steps"
    assert counted(2.5, "row") == "2.5 rows"
    assert counted(2, "class", "classes") == "2 classes"
