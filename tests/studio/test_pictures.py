"""The tabs of pictures: what their jobs draw, the pad's geometry, drawings, and the pages with NiceGUI's user."""

from __future__ import annotations

import asyncio
import base64
import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("nicegui", reason="the studio is an extra: pip install 'gaussmix[studio]'")

from nicegui import ui
from nicegui.elements.upload_files import SmallFileUpload
from nicegui.testing.user import User
from nicegui.testing.user_interaction import UserInteraction
from PIL import Image
from studio import models
from studio.visits import opened, visit

from gaussmix.data.load import load_dataset
from gaussmix.diffusion.config import BUILT_IN_MODEL
from gaussmix.studio import digits, drawing, pictures, style
from gaussmix.studio.drawing import Face, ModelCard, Wish
from gaussmix.studio.session import Settings, Studio

WISH = Wish(("Smiling",), count=5, steps=3, seed=4)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds models of faces and digits, and weights."""
    root = tmp_path_factory.mktemp("models")
    models.faces(root / "faces")
    models.digits(root / "digits")
    models.weights(root / "vgg.safetensors")
    return root


@pytest.fixture
def studio(tmp_path: Path, folder: Path) -> Iterator[Studio]:
    yield from opened(tmp_path, Settings(model=folder / "faces"))


def silent(*about: Any) -> None:
    """No progress."""


def png(image: np.ndarray) -> bytes:
    written = io.BytesIO()
    Image.fromarray(image).save(written, "PNG")
    return written.getvalue()


def press(user: User, words: str) -> None:
    """Press the button with these words, or this name."""
    found = {each for each in user.find(ui.button).elements if words in (each.text, each.props.get("aria-label"))}
    assert len(found) == 1, (words, len(found))
    with user:
        UserInteraction(user, found, None).click()


async def until(user: User, true: Callable[[], Any]) -> None:
    """Wait for something that takes a job."""
    for _ in range(400):
        if true():
            return
        await user.should_see(ui.tabs)  # gives the page's tasks their turn
        await asyncio.sleep(0.05)
    raise AssertionError("waited too long")


def shown(user: User, name: str) -> list[str]:
    """The sources of the pictures of a gallery."""
    buttons = [b for b in user.find(ui.button).elements if str(b.props.get("aria-label")).startswith(f"{name} ")]
    return [next(iter(b.default_slot.children)).props.get("src", "") for b in buttons]


# -- faces: jobs


def test_what_a_model_says_of_itself(folder: Path) -> None:
    card = ModelCard.read(folder / "faces")
    assert card.names == models.NAMES
    np.testing.assert_array_equal(card.rows, models.ROWS)
    assert [round(sum(shares), 6) for shares in card.kinds] == [1, 1, 1]
    assert card.kinds_of("Smiling") == [0, 1, 2]
    assert ModelCard.read(folder / "digits").folder == ModelCard.read(None).folder == BUILT_IN_MODEL
    with pytest.raises(ValueError, match="no model in"):
        ModelCard.read(folder)


def test_what_is_drawn_is_what_the_command_draws(studio: Studio, folder: Path) -> None:
    from gaussmix.diffusion import sampling

    told: list[tuple[int, np.ndarray]] = []
    title, faces = drawing.draw(
        studio, folder / "faces", WISH, progress=lambda share, note, value=None: value and told.append(value)
    )
    assert title == "Smiling"
    assert all(face.attributes[2] for face in faces)
    pipeline = drawing._load(studio, folder / "faces")
    attributes = pipeline.choose_attributes(["Smiling"], count=5, seed=4)
    images, path = sampling.draw(pipeline, attributes, seed=4, steps=3, trajectory=True)
    np.testing.assert_array_equal(images, [face.image for face in faces])
    assert path is not None
    assert [first for first, _ in told] == [0, 0, 0]
    np.testing.assert_array_equal(path, [estimates for _, estimates in told])


@pytest.mark.parametrize("kept", ["latent", "noise"])
def test_variations_begin_with_the_face_itself(studio: Studio, folder: Path, kept: str) -> None:
    _, faces = drawing.draw(studio, folder / "faces", WISH, progress=silent)
    found = drawing.vary(studio, folder / "faces", faces[3], kept, progress=silent)
    assert np.abs(found[0].image.astype(int) - faces[3].image).max() <= 1  # batches of other sizes round otherwise
    assert all((face.attributes == faces[3].attributes).all() for face in found)
    assert len({face.image.tobytes() for face in found}) == len(found) > 1


def test_one_of_each_kind_differs_by_the_kind_alone(studio: Studio, folder: Path) -> None:
    found = drawing.draw_each_kind(studio, folder / "faces", "Smiling", [0, 1, 2], progress=silent)
    again = drawing.draw_each_kind(studio, folder / "faces", "Smiling", [2, 0, 1], progress=silent)
    assert len({image.tobytes() for image in found}) == 3
    np.testing.assert_array_equal([found[2], found[0], found[1]], again)


def test_a_change_brings_what_the_data_demand(studio: Studio, folder: Path) -> None:
    bald = Face(np.full((8, 8, 3), 90, np.uint8), np.array([1, 0, 0], np.uint8))
    faces, said = drawing.change(studio, folder / "faces", bald, "Long_Hair", True, 0, progress=silent)
    assert said == "Also changed, as the training pictures demand: <b>Bald</b> off"
    assert {tuple(face.attributes) for face in faces} == {(0, 1, 0)}
    _, said = drawing.change(studio, folder / "faces", bald, "Smiling", True, 0, progress=silent)
    assert said == ""


def test_a_strange_picture_is_said_to_be(studio: Studio, folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    image = np.random.default_rng(0).integers(0, 256, (12, 8, 3), dtype=np.uint8)
    (tmp_path / "x.png").write_bytes(png(image))
    for times, strange in ((1.2, False), (7.5, True)):
        monkeypatch.setattr("gaussmix.diffusion.edit.strangeness", lambda *_, times=times: np.array([times]))
        face, said = drawing.look_at(studio, folder / "faces", tmp_path / "x.png", progress=silent)
        assert f"{times} times" in said
        assert ("strange to the model" in said) is strange
        assert face.image.shape == (8, 8, 3)


def test_a_download_is_a_data_set(tmp_path: Path) -> None:
    faces = [Face(np.full((8, 8, 3), 40 * i, np.uint8), models.ROWS[i]) for i in range(4)]
    written = pictures.zip_of([face.image for face in faces], {"metadata.csv": drawing.metadata(models.NAMES, faces)})
    with zipfile.ZipFile(io.BytesIO(written)) as archive:
        archive.extractall(tmp_path / "faces")
    dataset = load_dataset(str(tmp_path / "faces"), size=8)
    assert dataset.attribute_names == models.NAMES
    np.testing.assert_array_equal(dataset.attributes, models.ROWS[:4])
    np.testing.assert_array_equal(np.asarray(dataset.images), [face.image for face in faces])


# -- the pad, and drawings


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_the_shares_put_the_point_where_it_is(count: int) -> None:
    places = digits.corners(count)
    weights = np.random.default_rng(0).dirichlet(np.ones(count), 50)
    for point in weights @ places:
        shares = digits.shares_at(point, count)
        assert shares.sum() == pytest.approx(1)
        assert (shares >= 0).all()
        np.testing.assert_allclose(shares @ places, point, atol=1e-6)
    for k, corner in enumerate(places):
        assert digits.shares_at(corner, count)[k] > 0.999
        assert digits.shares_at(3 * corner, count)[k] > 0.999 or count > 2


def test_outside_of_the_pad_lies_the_nearest_edge() -> None:
    places = digits.corners(4)
    beyond = 0.8 * (places[0] + places[1])  # in the middle of an edge, and outwards
    np.testing.assert_allclose(digits.shares_at(beyond, 4), [0.5, 0.5, 0, 0], atol=1e-3)
    assert digits.shares_at([0, 0], 1).tolist() == [1.0]


def canvas(ink: np.ndarray) -> str:
    """What the page's canvas sends of ink ``(H, W)``."""
    rgba = np.zeros((*ink.shape, 4), np.uint8)
    rgba[..., 3] = ink
    return "data:image/png;base64," + base64.b64encode(png(rgba)).decode()


def test_a_drawing_lies_where_images_do() -> None:
    ink = np.zeros((192, 192), np.uint8)
    ink[20:60, 100:110] = 255  # small, in a corner
    typical = np.zeros((3, 28, 28, 1), np.uint8)
    typical[:, 4:24, 6:22] = 200
    rows, columns = np.nonzero(pictures.ink_of(canvas(ink), 28, typical)[..., 0])
    assert (rows.min(), rows.max()) == (4, 23)
    assert columns.max() - columns.min() + 1 == 5
    assert abs((columns.max() + columns.min()) / 2 - 13.5) <= 0.5


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (canvas(np.zeros((9, 9), np.uint8)), "nothing is drawn"),
        ("data:image/png;base64,AAAA", "cannot be read"),
        ("data:text/html;base64,AAAA", "no drawing of this page"),
        ("data:image/png;base64," + "A" * 300_000, "no drawing of this page"),
    ],
)
def test_other_drawings_are_refused(sent: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        pictures.ink_of(sent, 8, np.full((1, 8, 8, 1), 9, np.uint8))


# -- styles


@pytest.fixture
def art(tmp_path: Path) -> list[Path]:
    """A photo and two paintings: blots, and stripes of other colours."""
    rng = np.random.default_rng(0)
    stripes = np.zeros((48, 64, 3), np.uint8)
    stripes[::4, :, 0], stripes[1::4, :, 2] = 220, 160
    found = []
    for name, image in (
        ("photo", rng.integers(0, 256, (40, 56, 3), dtype=np.uint8)),
        ("blots", np.kron(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))),
        ("stripes", stripes + rng.integers(0, 20, stripes.shape, dtype=np.uint8)),
    ):
        found.append(tmp_path / f"{name}.png")
        found[-1].write_bytes(png(image))
    return found


def test_a_rendering_and_its_film(studio: Studio, folder: Path, art: list[Path], tmp_path: Path) -> None:
    told: list[Any] = []
    order = style.Order(art[0], {art[1]: 0.25, art[2]: 0.75}, size=64, count=2, steps=3)
    weights = folder / "vgg.safetensors"
    found = style.render(
        studio, weights, order, progress=lambda share=None, note="", value=None: value and told.append(value)
    )
    assert found.images.shape == (2, 46, 64, 3)
    assert found.seconds > 0
    assert sum(found.realised.values()) == pytest.approx(1)
    assert [first for first, _ in told][:1] == [0]
    film = style.make_film(studio, weights, order, found.images[0], tmp_path / "x.gif", progress=silent)
    with Image.open(io.BytesIO(film)) as frames:
        assert (getattr(frames, "n_frames", 0), frames.size) == (style.FRAMES, (64, 46))


def test_weights_that_are_missing_are_not_fetched(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GAUSSMIX_VGG19", raising=False)
    monkeypatch.setattr(drawing, "_is_cached", lambda *_: False)
    monkeypatch.setattr("gaussmix.style.vgg.find_weights", lambda *_: pytest.fail("asks the network"))
    with pytest.raises(ValueError, match="not on this machine, and this page fetches nothing"):
        drawing.load_network(studio, None, progress=silent)


# -- the pages


def test_faces_on_request(studio: Studio) -> None:
    async def steps(user: User) -> None:
        await user.should_see("As in the data", retries=200)
        await until(user, lambda: len(shown(user, "face")) == 16 and all(shown(user, "face")))
        await user.should_see("16 pictures, guidance 2", retries=200)
        press(user, "<b>Bald</b>: on")  # shown as it is, by escaping it
        await user.should_see("40 of 100 training pictures are like that")
        press(user, "Long Hair: on")
        await user.should_see("Of 100 rows of training pictures none has <b>Bald</b> and Long Hair together")
        await user.should_see("Draw anyway")
        press(user, "Long Hair: off")
        press(user, "Pictures: 4")
        press(user, "Kind of <b>Bald</b>: 2")
        press(user, "Draw")
        await user.should_see("<b>Bald</b>, not Long Hair", retries=200)
        assert len(shown(user, "face")) == 4
        press(user, "face 2")
        await user.should_see("Press an attribute to change it")
        press(user, "Smiling")
        await until(user, lambda: len(shown(user, "result")) == 4)
        press(user, "Same face, other noise")
        await until(user, lambda: len(shown(user, "result")) == 8)
        press(user, "Keep result 3")
        press(user, "Keep face 1")
        assert len(shown(user, "favourite")) == 2
        press(user, "Remove favourite 1")
        assert len(shown(user, "favourite")) == 1
        press(user, "Download them")
        (_, name) = await user.download.next(), "faces.zip"
        assert name

    visit(studio, steps, tab="faces")


def test_digits_between_classes(tmp_path: Path, folder: Path) -> None:
    async def steps(user: User) -> None:
        await until(user, lambda: len(shown(user, "image")) == drawing.COUNT)
        await user.should_see("3: 33%, 5: 33%, 8: 33%")
        first = shown(user, "image")
        press(user, "1")
        await user.should_see("1: 25%, 3: 25%, 5: 25%, 8: 25%")
        await until(user, lambda: shown(user, "image") != first)
        press(user, "2")
        (pad,) = user.find(digits.Pad).elements
        UserInteraction(user, {pad}, None).trigger("keydown", [0, -1])
        await user.should_not_see("1: 20%, 2: 20%")
        press(user, "8")
        press(user, "5")
        press(user, "3")
        await user.should_see("The pad takes 3 to 5 classes")
        press(user, "image 3")
        await user.should_see("Taken for", retries=100)
        await until(user, lambda: len(shown(user, "like it")) == 16)
        UserInteraction(user, {pad}, None)
        (drawn,) = [e for e in user.find(ui.element).elements if e.tag == "canvas"]
        ink = np.zeros((64, 64), np.uint8)
        ink[8:50, 30:36] = 255
        UserInteraction(user, {drawn}, None).trigger("pointerup", canvas(ink))
        await user.should_see("What you drew", retries=100)

    for studio in opened(tmp_path, Settings(model=folder / "digits")):
        visit(studio, steps, tab="digits")


def test_a_blend_of_two_paintings(
    studio: Studio, folder: Path, art: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GAUSSMIX_VGG19", raising=False)
    monkeypatch.setattr(drawing, "_is_cached", lambda *_: False)
    monkeypatch.setattr(style, "SIZES", (64,))
    monkeypatch.setattr(style, "PREVIEW_SIZE", 48)
    monkeypatch.setattr(style, "PREVIEW_STEPS", 2)

    async def drop(user: User, number: int, path: Path) -> None:
        boxes = sorted(user.find(ui.upload).elements, key=lambda box: box.id)
        await boxes[number].handle_uploads([SmallFileUpload(path.name, "image/png", path.read_bytes())])

    async def steps(user: User) -> None:
        await user.should_see("The weights of VGG19 are not on this machine", retries=200)
        await drop(user, 1, art[0])
        await drop(user, 2, art[1])
        await drop(user, 2, art[2])
        await user.should_see("50% of the blend", retries=50)
        await user.should_see("All is there but the network")
        await drop(user, 0, folder / "vgg.safetensors")
        await user.should_see("a guess, until one was measured", retries=200)
        press(user, "Preview")
        await until(user, lambda: len(shown(user, "variant")) == 2)
        await user.should_see("reckoned from the last one", retries=200)
        await user.should_see("in what was drawn")

    visit(studio, steps, tab="style")
