"""``gaussmix style fit | transfer`` with a thin random network."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from gaussmix import cli
from gaussmix.cli.style import read_shares
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
    assert sorted(path.name for path in (pictures / "out").iterdir()) == ["00.png", "01.png", "sheet.png"]
    first, second = (np.asarray(Image.open(f"out/{k:02}.png")) for k in range(2))
    assert first.shape == (48, 64, 3)
    assert (first != second).any()


def test_a_saved_style_serves_and_a_film_is_made(pictures, capsys):
    assert cli.main([*"style fit starry.png --output starry.safetensors --size 64 --crops 6".split()]) == 0
    assert "6 crops of 1 pictures: starry.safetensors" in capsys.readouterr().out
    flags = "--animate film/flow.gif --frames 3 --frame-steps 1 --save-every 1"
    assert (
        cli.main(f"style transfer content.png --style starry.safetensors --style auvers.png {SMALL} {flags}".split())
        == 0
    )
    assert "2 x content in 50% starry, 50% auvers" in capsys.readouterr().out
    with Image.open("film/flow.gif") as film:
        assert film.size == (64, 48)


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
            raise KeyboardInterrupt

        return run(self, *args, on_step=stop, **kwargs)

    monkeypatch.setattr(StyleTransfer, "run", stop_after_a_step)
    assert cli.main(f"style transfer content.png --style starry.png {SMALL}".split()) == 130
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
    with pytest.warns(UserWarning, match=r"sum to 0\.5, not 1; taken as a:0\.4, b:0\.6"):
        assert read_shares(("x/a:.2", "b:.3")) == pytest.approx({"x/a": 0.4, "b": 0.6})
    for styles, message in (
        (("a", "a:1"), "names a twice"),
        (("a:1", "b"), "gives no share to b"),
        (("a:0", "b:0"), "all shares of --style are 0"),
        (("a:nan",), "share nan; it must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            read_shares(styles)
