"""``gaussmix style fit | transfer`` with a thin random network."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

from gaussmix import cli
from gaussmix.cli.style import read_regions, read_shares
from gaussmix.style.images import resize
from gaussmix.style.transfer import StyleTransfer
from gaussmix.style.vgg import VGG19Features


@pytest.fixture(autouse=True)
def thin_network(monkeypatch):
    monkeypatch.setattr(VGG19Features, "load", lambda *_, **__: VGG19Features.random(width=2))


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """content.png, starry.png and auvers.png in the working folder."""
    monkeypatch.chdir(tmp_path)
    for k, name in enumerate(("content", "starry", "auvers")):
        rng = np.random.default_rng(k)
        Image.fromarray(resize(rng.integers(0, 256, (9 + k, 12, 3), dtype=np.uint8), 48, 64)).save(f"{name}.png")
    return tmp_path


SMALL: str = "--size 64 --steps 2 --count 2"


def test_variants_a_sheet_and_the_blend_that_is_said(pictures, capsys):
    assert cli.main(f"style transfer content.png --style starry.png:3 --style auvers.png:1 {SMALL}".split()) == 0
    printed = capsys.readouterr()
    assert "the shares of --style sum to 4, not 1; taken as starry.png:0.75, auvers.png:0.25" in printed.err
    assert "2 x content in 75% starry, 25% auvers: out/sheet.png" in printed.out
    assert sorted(path.name for path in (pictures / "out").iterdir()) == [
        "00.png",
        "01.png",
        "preview.png",
        "sheet.png",
    ]
    assert "a preview of 64 px: out/preview.png" in printed.out
    assert "2 variants of 64 px, 2 steps: about " in printed.out
    first, second = (np.asarray(Image.open(f"out/{k:02}.png")) for k in range(2))
    assert first.shape == (48, 64, 3)
    assert (first != second).any()


def test_a_saved_style_serves_and_a_film_is_made(pictures, capsys):
    assert cli.main([*"style fit starry.png --output starry.safetensors --size 64 --crops 6".split()]) == 0
    assert "6 crops of 1 picture: starry.safetensors" in capsys.readouterr().out
    flags = "--animate flow.gif --frames 3 --frame-steps 1 --save-every 1"
    assert (
        cli.main(f"style transfer content.png --style starry.safetensors --style auvers.png {SMALL} {flags}".split())
        == 0
    )
    assert "2 x content in 50% starry, 50% auvers" in capsys.readouterr().out
    with Image.open("out/flow.gif") as film:
        assert film.size == (64, 48)
    assert not (pictures / "flow.gif").exists()


def test_a_seed_gives_the_same_variants(pictures):
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        cli.main(f"style transfer content.png --style starry.png {SMALL} --seed {seed} --output {folder}".split())
    a, b, c = (np.asarray(Image.open(f"{folder}/01.png")) for folder in "abc")
    assert (a == b).all()
    assert (a != c).any()


def test_ctrl_c_leaves_what_there_is(pictures, capsys, monkeypatch):
    run = StyleTransfer.run

    def stop_after_a_step(self, *args, on_step, **kwargs):
        def stop(step):
            on_step(step)
            if self.steps == 30:  # not in the preview
                raise KeyboardInterrupt

        return run(self, *args, on_step=stop, **kwargs)

    monkeypatch.setattr(StyleTransfer, "run", stop_after_a_step)
    assert cli.main("style transfer content.png --style starry.png --size 64 --steps 30 --count 2".split()) == 130
    assert "stopped early" in capsys.readouterr().err
    assert (pictures / "out" / "01.png").exists()


def test_a_full_disk_is_one_line(pictures, capsys, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "out/00.png")

    monkeypatch.setattr(Image.Image, "save", full)
    assert cli.main(f"style transfer content.png --style starry.png {SMALL}".split()) == 1
    assert "gaussmix: No space left on device: out/00.png" in capsys.readouterr().err
    assert not list((pictures / "out").iterdir())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("", "no style: name one with --style"),
        ("--style starry.png --count 0", "--count is 0"),
        ("--style starry.png --animate flow.avi", "cannot save the film"),
        ("--style starry.png --size 16", "size is 16"),
        ("--style starry.png:-1", "share -1; it must be finite and not negative"),
    ],
)
def test_wrong_use_is_one_line(pictures, capsys, flags, message):
    assert cli.main(f"style transfer content.png {flags}".split()) == 2
    assert message in capsys.readouterr().err


def test_fit_refuses(pictures, capsys):
    assert cli.main("style fit starry.png --output starry.npz".split()) == 2
    assert "cannot write the style as 'starry.npz': use .safetensors" in capsys.readouterr().err
    assert cli.main(["style", "fit"]) == 2
    assert "no picture to learn from" in capsys.readouterr().err


def test_shares():
    assert read_shares(("a.jpg",)) == {"a.jpg": 1}
    assert read_shares(("a.jpg", "b.jpg")) == {"a.jpg": 0.5, "b.jpg": 0.5}
    assert read_shares(("a.jpg:.75", "b:c.jpg:0.25")) == {"a.jpg": 0.75, "b:c.jpg": 0.25}
    assert read_shares(("C:/a.jpg",)) == {"C:/a.jpg": 1}
    assert read_shares(("a.safetensors", "b.jpg:.25")) == {"a.safetensors": 0.75, "b.jpg": 0.25}
    assert read_shares(("a", "b:.5", "c")) == {"a": 0.25, "b": 0.5, "c": 0.25}
    with pytest.warns(UserWarning, match=r"sum to 0\.5, not 1; taken as a:0\.4, b:0\.6"):
        assert read_shares(("x/a:.2", "b:.3")) == pytest.approx({"x/a": 0.4, "b": 0.6})
    for styles, message in (
        (("a", "a:1"), "names a twice"),
        (("a:1", "b"), "sum to 1, and b has none; give it one"),
        (("a:0", "b:0"), "all shares of --style are 0"),
        (("a:nan",), "share nan; it must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            read_shares(styles)


# -- regions, colours, transparency ------------------------------------------------------------------------------------


def blobs(name: str, seed: int, *, grey: bool = False) -> None:
    pixels = resize(np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8), 48, 64)
    Image.fromarray(pixels).convert("L" if grey else "RGB").save(name)


def mask(name: str, columns: slice) -> None:
    pixels = np.zeros((48, 64), np.uint8)
    pixels[:, columns] = 255
    Image.fromarray(pixels).save(name)


def drawn(flags: str, number: int = 0) -> np.ndarray:
    assert cli.main(f"style transfer content.png {flags} --size 64 --steps 10 --count 2".split()) == 0
    return np.asarray(Image.open(f"out/{number:02}.png"))


def test_where_the_mask_is_black_the_content_stays(pictures):
    mask("left.png", slice(0, 32))
    image, content = drawn("--style starry.png --mask left.png"), np.asarray(Image.open("content.png"))
    assert (image[:, 32:] == content[:, 32:]).all()
    assert (image[:, :32] != content[:, :32]).mean() > 0.5


def test_a_style_with_a_mask_is_for_its_region(pictures, capsys):
    mask("left.png", slice(0, 32))
    both = drawn("--style starry.png@left.png --style auvers.png")
    other = drawn("--style auvers.png@left.png --style starry.png")
    assert (both != other).mean() > 0.5
    for file, message in (("none.png", "none.png"), ("black.png", "mask 0 is black everywhere")):
        mask("black.png", slice(0, 0))
        assert cli.main(f"style transfer content.png --style starry.png@{file} --style auvers.png".split()) != 0, (
            message
        )


def test_regions_are_read():
    assert read_regions(("a.jpg:.2", "b.jpg", "c.jpg@sky.png", "d.jpg:.75@sky.png", "e@x.png")) == {
        None: {"a.jpg": 0.2, "b.jpg": 0.8},
        "sky.png": pytest.approx({"c.jpg": 0.25, "d.jpg": 0.75}),
        "x.png": {"e": 1.0},
    }


def test_an_at_in_a_name_is_part_of_it(pictures):
    blobs("me@home.png", 5)
    assert read_regions(("me@home.png", "me@home.png:.5")[:1]) == {None: {"me@home.png": 1.0}}
    assert read_regions(("me@home.png:1",)) == {None: {"me@home.png": 1.0}}


def test_transparency_stays_and_takes_no_part(pictures):
    content = Image.open("content.png").convert("RGBA")
    alpha = np.zeros((48, 64), np.uint8)
    alpha[10:40, 10:50] = 255
    content.putalpha(Image.fromarray(alpha))
    content.save("content.png")
    image = drawn("--style starry.png")
    assert image.shape == (48, 64, 4)
    assert (image[..., 3] == alpha).all()


def test_grey_on_grey_stays_grey(pictures):
    for name, seed in (("content", 0), ("starry", 1)):
        blobs(f"{name}.png", seed, grey=True)
    for flags in ("", "--start noise", "--colors histogram", "--colors content"):
        image = drawn(f"--style starry.png {flags}")
        assert (image == image[..., :1]).all(), flags
    assert cli.main("style fit starry.png --size 64 --crops 4 --output s.safetensors".split()) == 0
    image = drawn("--style s.safetensors")
    assert (image == image[..., :1]).all()
    colored = drawn("--style auvers.png")
    assert (colored != colored[..., :1]).any()  # it can fail


def test_colours_of_the_content(pictures, capsys):
    chroma = {}
    for colors in ("style", "content", "luminance", "histogram"):
        image = Image.fromarray(drawn(f"--style starry.png --colors {colors}"))
        chroma[colors] = np.asarray(image.convert("YCbCr"), float)[..., 1:]
    own = np.asarray(Image.open("content.png").convert("YCbCr"), float)[..., 1:]
    off = {colors: np.abs(found - own).mean() for colors, found in chroma.items()}
    assert max(off["content"], off["luminance"]) < 5 < off["style"]  # at the ends of the range colour is cut off
    assert cli.main("style fit starry.png --size 64 --crops 4 --output s.safetensors".split()) == 0
    for colors, message in (
        ("luminance", "s was learnt with colours; .* `style fit --grey`"),
        ("histogram", "name its"),
    ):
        assert cli.main(f"style transfer content.png --style s.safetensors --colors {colors}".split()) == 2
        assert re.search(message, capsys.readouterr().err)
    assert cli.main("style fit starry.png --grey --size 64 --crops 4 --output s.safetensors".split()) == 0
    drawn("--style s.safetensors --colors luminance")


def test_pictures_carry_request_and_seed(pictures):
    drawn("--style starry.png --seed 3")
    with Image.open("out/01.png") as image:
        text = image.text  # pyright: ignore[reportAttributeAccessIssue]
    assert text["seed"] == "3"
    assert text["picture"] == "1"
    assert text["request"].startswith("content.png in starry.png; size 64, steps 10, optimizer lbfgs")


def test_too_few_steps_from_noise_are_said(pictures, capsys):
    assert cli.main("style transfer content.png --style starry.png --start noise --size 64 --steps 1".split()) == 0
    assert "of the pixels are still noise: more --steps" in capsys.readouterr().out
    assert cli.main("style transfer content.png --style starry.png --size 64 --steps 1 --count 1".split()) == 0
    assert "1 variant of 64 px, 1 step:" in capsys.readouterr().out
