"""Cartoon faces with known attributes: the data set that needs no download.

Each face is composed by python-avatars from named parts (a hair style, a pair of glasses, a mouth ...), rasterised
by resvg and cropped to the face. An attribute is a statement about the parts, so its truth is known exactly, and
most attributes are met by several parts: there are four pairs of sunglasses and three smiles. Which one was drawn is
kept in ``parts``, so that one can ask whether a model found the sub-types by itself.

Face ``i`` of seed ``s`` depends on ``(s, i)`` alone: a larger data set begins with the smaller one.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from gaussmix._progress import progress_bar
from gaussmix.data.base import AttributeDataset, DataError
from gaussmix.data.cache import Append, Built, digest, fetch

AVATAR_SIZES = (32, 64)
AVATAR_COUNT = 4000
VERSION = 2  # raised whenever a drawing changes, so that old caches are not mistaken for new ones

HAIR_COLORS = {
    "Black_Hair": ("#2C1B18", "#1F1A24"),
    "Brown_Hair": ("#724133", "#5B382B"),
    "Blond_Hair": ("#D6B370", "#E3CC7A"),
    "Red_Hair": ("#C93305", "#B8431F"),
    "Gray_Hair": ("#B9B9C2", "#DCDCE2"),
}
SKIN_COLORS = {"Pale_Skin": ("#FFDBB4", "#F6D0B5"), "Dark_Skin": ("#8D5030", "#614335"), "": ("#D9955F", "#E0A03F")}
BACKGROUNDS = ("#FFFFFF", "#C8DCF0", "#F0E1C8", "#D2EBD2")
TOPS = {
    "Long_Hair": (
        "BIG_HAIR BOB CURVY DREADS LONG_NOT_TOO_LONG MIA_WALLACE STRAIGHT_1 STRAIGHT_STRAND LOOSE_HAIR LONG_HAIR_CURLY"
    ).split(),
    "": "CAESAR CAESAR_SIDE_PART SHORT_CURLY SHORT_FLAT SHORT_ROUND SHORT_WAVED POMPADOUR QUIFF PIXIE".split(),
    "Wearing_Hat": "HAT TURBAN WINTER_HAT_1 WINTER_HAT_2 WINTER_HAT_3 WINTER_HAT_4".split(),
    "Bald": ["NONE"],
}
FACIAL_HAIR = {
    "": ["NONE"],
    "Beard": "BEARD_LIGHT BEARD_MAGESTIC BEARD_MEDIUM WICK_BEARD".split(),
    "Mustache": "MOUSTACHE_FANCY MOUSTACHE_MAGNUM EINSTEIN_MOUSTACHE".split(),
}
ACCESSORIES = {
    "": ["NONE"],
    "Eyeglasses": "PRESCRIPTION_1 PRESCRIPTION_2 ROUND".split(),
    "Sunglasses": "KURT SUNGLASSES WAYFARERS WAYFARERS_2".split(),
}
MOUTHS = {
    ("Smiling", "Mouth_Open"): ["SMILE", "BIG_SMILE"],
    ("Smiling",): ["TWINKLE"],
    ("Mouth_Open",): ["SCREAM_OPEN", "CONCERNED"],
    (): ["SERIOUS", "SAD"],
}
FREE_PARTS = {  # parts that no attribute speaks of
    "eyes": "DEFAULT HAPPY SIDE SQUINT WINK".split(),
    "eyebrows": "DEFAULT DEFAULT_NATURAL RAISED_EXCITED SAD_CONCERNED ANGRY".split(),
    "nose": "DEFAULT SMALL WIDE".split(),
    "clothing": "BLAZER_SHIRT COLLAR_SWEATER HOODIE OVERALL SHIRT_CREW_NECK SHIRT_V_NECK".split(),
    "clothing_color": "BLACK BLUE_01 BLUE_03 GRAY_01 PASTEL_GREEN PASTEL_YELLOW PINK RED WHITE".split(),
    "hat_color": "BLACK BLUE_01 BLUE_03 GRAY_01 PASTEL_GREEN PASTEL_YELLOW PINK RED".split(),
}
ATTRIBUTES: tuple[str, ...] = (
    *HAIR_COLORS, "Long_Hair", "Bald", "Wearing_Hat", "Eyeglasses", "Sunglasses", "Beard", "Mustache",
    "Smiling", "Mouth_Open", "Pale_Skin", "Dark_Skin",
)  # fmt: skip

_WHOLE, _FACE = 'viewBox="0 0 264 280"', 'viewBox="51.5625 18.5625 160.875 160.875"'  # hair and beard just fit
_SUPERSAMPLING = 2  # rendered width in final pixels
_LIGHTNESS_JITTER = 10  # largest common change of red, green and blue
_HUE_JITTER = 4  # largest change of each of them by itself


def _jitter(color: str, rng: np.random.Generator) -> str:
    channels = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])
    channels += rng.integers(-_LIGHTNESS_JITTER, _LIGHTNESS_JITTER + 1)
    channels = np.clip(channels + rng.integers(-_HUE_JITTER, _HUE_JITTER + 1, 3), 0, 255)
    return "#" + "".join(f"{c:02X}" for c in channels)


def _choose_parts(rng: np.random.Generator) -> tuple[dict[str, str], set[str]]:
    """Draw one face: the name or colour of every part, and the attributes that these parts give it."""

    def pick(options):
        return options[int(rng.integers(len(options)))]

    def pick_weighted(table, shares):
        attribute = list(table)[int(rng.choice(len(table), p=shares))]
        return attribute, pick(table[attribute])

    top_attribute, top = pick_weighted(TOPS, (0.36, 0.30, 0.19, 0.15))
    hair_attribute = pick(tuple(HAIR_COLORS))
    facial_attribute, facial_hair = pick_weighted(FACIAL_HAIR, (0.50, 0.27, 0.23))
    accessory_attribute, accessory = pick_weighted(ACCESSORIES, (0.42, 0.31, 0.27))
    mouth_attributes, mouth = pick_weighted(MOUTHS, (0.31, 0.19, 0.24, 0.26))
    skin_attribute, skin = pick_weighted(SKIN_COLORS, (0.42, 0.38, 0.20))
    parts = {
        "top": top,
        "hair_color": pick(HAIR_COLORS[hair_attribute]),
        "facial_hair": facial_hair,
        "accessory": accessory,
        "mouth": mouth,
        "skin_color": skin,
        "background": pick(BACKGROUNDS),
        **{name: pick(options) for name, options in FREE_PARTS.items()},
    }
    has = {top_attribute, facial_attribute, accessory_attribute, skin_attribute, *mouth_attributes} - {""}
    if top_attribute in ("Long_Hair", ""):  # a hat hides the hair, so nothing is said of its colour
        has.add(hair_attribute)
    return parts, has


def _render(parts: dict[str, str], size: int, rng: np.random.Generator) -> np.ndarray:
    """Rasterise one face to ``(size, size, 3)`` uint8."""
    import python_avatars as pa
    import resvg_py
    from PIL import Image

    hair_color = _jitter(parts["hair_color"], rng)
    tops: Any = pa.HatType if parts["top"] in TOPS["Wearing_Hat"] else pa.HairType
    svg = pa.Avatar(
        top=tops[parts["top"]],
        hair_color=hair_color,
        facial_hair_color=hair_color,
        facial_hair=pa.FacialHairType[parts["facial_hair"]],
        accessory=pa.AccessoryType[parts["accessory"]],
        mouth=pa.MouthType[parts["mouth"]],
        skin_color=_jitter(parts["skin_color"], rng),
        eyes=pa.EyeType[parts["eyes"]],
        eyebrows=pa.EyebrowType[parts["eyebrows"]],
        nose=pa.NoseType[parts["nose"]],
        clothing=pa.ClothingType[parts["clothing"]],
        clothing_color=pa.ClothingColor[parts["clothing_color"]],
        hat_color=pa.ClothingColor[parts["hat_color"]],
    ).render()
    head, found, rest = svg.partition(_WHOLE)  # only the face is rasterised: the rest would cost as much again
    assert found, "python-avatars draws on another canvas"
    head = head.replace('width="264px" height="280px"', "")
    width, background = _SUPERSAMPLING * size, _jitter(parts["background"], rng)
    png = resvg_py.svg_to_bytes(
        svg_string=head + _FACE + rest, width=width, height=width, background=background, skip_system_fonts=True
    )
    face = Image.open(io.BytesIO(bytes(png))).convert("RGB")
    return np.asarray(face.resize((size, size), Image.Resampling.LANCZOS))


def draw_avatars(
    count: int, size: int, seed: int, on_progress: Callable[[int], None]
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Images ``(count, size, size, 3)`` uint8, attributes ``(count, 16)`` uint8, and each part's names ``(count,)``."""

    def draw(i: int) -> tuple[dict[str, str], set[str], np.ndarray]:
        rng = np.random.default_rng([seed, i])
        parts, has = _choose_parts(rng)
        return parts, has, _render(parts, size, rng)

    faces = []
    executor = ThreadPoolExecutor()  # resvg works outside the interpreter's lock
    try:
        for face in executor.map(draw, range(count)):
            faces.append(face)
            on_progress(len(faces))
    finally:
        executor.shutdown(cancel_futures=True)
    drawn, attributes, images = zip(*faces, strict=True)
    found = np.array([[name in has for name in ATTRIBUTES] for has in attributes], np.uint8)
    return np.stack(images), found, {name: np.array([parts[name] for parts in drawn]) for name in drawn[0]}


def load_avatars(count: int, size: int, seed: int, root: Path, progress: bool) -> AttributeDataset:
    """The faces from the cache under ``root``, or drawn and put there; of ten in a row one is valid, one test."""
    if size not in AVATAR_SIZES:
        raise DataError(f"avatars cannot be drawn at size {size}; choose {' or '.join(map(str, AVATAR_SIZES))}")

    def build(append: Append) -> Built:
        with progress_bar("Drawing avatars", count, progress) as show:
            images, attributes, parts = draw_avatars(count, size, seed, show)
        append(images)
        position = np.arange(count) % 10
        split = np.select([position == 8, position == 9], [1, 2], 0).astype(np.uint8)
        named = {f"part-{name}": np.asarray(kinds, dtype=np.str_) for name, kinds in parts.items()}
        return {"attributes": attributes, "split": split, **named}, {}

    return fetch(root, digest("avatars", VERSION, count, size, seed), size, build).dataset("avatars", ATTRIBUTES)
