"""``gaussmix edit``: a picture of one's own with attributes changed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from gaussmix.cli._flags import check_at_least, parse_flags
from gaussmix.cli.components import describe, read_components
from gaussmix.cli.faces import load_model, split_names

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from gaussmix.diffusion.edit import EditResult
    from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline

_EDITS_IN_A_ROW = 6


@dataclass(frozen=True)
class EditConfig:
    """Change attributes of a picture and keep the rest of it."""

    picture: tyro.conf.Positional[Path]
    """The picture, in any format that Pillow reads; its centre square is used, at the model's size."""
    present: Annotated[str, tyro.conf.arg(name="with", metavar="A,B,...")] = ""
    """Attributes that the picture shall have, separated by commas."""
    absent: Annotated[str, tyro.conf.arg(name="without", metavar="A,B,...")] = ""
    """Attributes that it shall not have. All others stay, unless the data never show them beside these."""
    component: Annotated[str, tyro.conf.arg(metavar="A=N,...")] = ""
    """Kinds of attributes by number, such as Eyeglasses=1; the picture then gets these attributes too, anew if it has
    them. Wearing_Hat=all draws a row for each kind."""
    attributes: Annotated[str | None, tyro.conf.arg(metavar="A,B,...")] = None
    """What the picture has, all of it, if the model reads it wrongly."""
    model: Path | None = None
    """A model folder or a training run's folder; the built-in faces if not given."""
    count: int = 4
    """Number of edits: what is new in the picture can look in several ways."""
    seed: int = 0
    """The same seed draws the same edits; edit i does not depend on --count."""
    steps: int = 10
    """Levels of noise on the way."""
    guidance: float = 1.0
    """More exaggerates the change."""
    out: Path = Path("edited.png")
    """The picture to write: the original, what the model reads in it, and the edits."""
    folder: Path | None = None
    """Also write the edits as single PNGs and a metadata.csv into this folder."""
    threads: int = 1
    """Threads of the CPU; 0 leaves torch's own choice."""


def edit(args: list[str]) -> int:
    """Change attributes of a picture and keep the rest of it."""
    config: EditConfig = parse_flags(EditConfig, args, "edit")
    check_at_least(1, count=config.count)
    check_at_least(0, seed=config.seed)
    if not (config.present or config.absent or config.component):
        raise ValueError("nothing to change: say what with --with, --without or --component")
    import numpy as np

    from gaussmix.sheets import picture_format, save_atomic

    picture_format(config.out)  # a wrong suffix is said before the drawing, not after
    started = time.perf_counter()
    pipeline = load_model(config.model, "dpm++", config.threads)
    from gaussmix.diffusion.edit import find_encoder, reconstruct
    from gaussmix.diffusion.sampling import write_folder
    from gaussmix.diffusion.sheets import label

    find_encoder(pipeline)  # a model without one is named before the picture is looked at
    picture = read_picture(config.picture, pipeline.unet.config["sample_size"])
    kinds = read_components(config.component, pipeline)
    results = _edits(config, pipeline, picture, kinds)

    names = pipeline.attribute_names
    found, wanted = results[0].attributes_before[0], results[0].attributes_after[0]
    has = ", ".join(name for name, on in zip(names, found, strict=True) if on) or "none of the model's attributes"
    if (found == wanted).all() and not kinds[0]:
        raise ValueError(
            f"nothing to change: {config.picture.name} has {has}; if that is wrong, say what it has with --attributes"
        )
    present, absent = list(dict.fromkeys([*split_names(config.present), *kinds[0]])), split_names(config.absent)
    named = _row([*present, *absent], names)
    also = [f"{names[k]} {'on' if wanted[k] else 'off'}" for k in (found != wanted).nonzero()[0] if not named[k]]
    about = [f"{config.picture.name} has: {has}"]
    if also:
        about.append(f"Also changed, as the training data demand: {', '.join(also)}")
    request = label(present, absent)
    redrawn = reconstruct(pipeline, results[0], seed=config.seed)[0]
    caption = ". ".join([*about, f"{config.steps} steps, guidance {config.guidance:g}, seed {config.seed}."])
    save_atomic(_sheet(picture, redrawn, results, kinds, request, caption.replace("_", " ")), config.out)
    print("\n".join(about))
    if config.folder is not None:
        edits = [edited for result in results for edited in result.images]
        rows = [row for result in results for row in result.attributes_after]
        write_folder(config.folder, np.stack(edits), np.stack(rows), names)
        print(f"single pictures and metadata.csv: {config.folder}")
    print(f"{len(kinds) * config.count} x {request}: {config.out} ({time.perf_counter() - started:.1f} s)")
    return 0


def _edits(
    config: EditConfig,
    pipeline: AttributeDiffusionPipeline,
    picture: NDArray[np.uint8],
    kinds: list[dict[str, int]],
) -> list[EditResult]:
    """For each of the kinds, ``config.count`` edits of the picture."""
    from gaussmix._progress import progress_bar
    from gaussmix.diffusion.edit import edit_images

    count, names = config.count, pipeline.attribute_names
    given = None if config.attributes is None else _row(split_names(config.attributes), names)[None].repeat(count, 0)
    results = []
    with progress_bar("editing", len(kinds) * count * config.steps, show=True) as show:
        for components in kinds:
            before = len(results) * count * config.steps
            edited = edit_images(
                pipeline,
                picture[None].repeat(count, 0),
                split_names(config.present),
                split_names(config.absent),
                attributes=given,
                components=components,
                seed=config.seed,
                steps=config.steps,
                guidance=config.guidance,
                on_step=lambda done, before=before: show(before + done),
            )
            results.append(edited)
    return results


def read_picture(path: Path, size: int) -> NDArray[np.uint8]:
    """``(size, size, 3)``. Raises ValueError for what is no picture, OSError for what cannot be read."""
    from gaussmix.data.decode import BadImageError, decode

    try:
        return decode(path.read_bytes(), size)
    except BadImageError as error:
        raise ValueError(f"{path} {error}") from error


def _row(wanted: list[str], names: tuple[str, ...]) -> NDArray[np.uint8]:
    """``(K,)`` with ones for ``wanted``."""
    import numpy as np

    from gaussmix.diffusion.conditions import find_attributes

    row = np.zeros(len(names), np.uint8)
    row[find_attributes(wanted, names)] = 1
    return row


def _sheet(
    picture: NDArray[np.uint8],
    redrawn: NDArray[np.uint8],
    results: list[EditResult],
    kinds: list[dict[str, int]],
    request: str,
    caption: str,
) -> Image.Image:
    """Rows of the picture, what was read in it, and some of the edits."""
    import numpy as np

    from gaussmix.sheets import contact_sheet

    cells, labels = [], []
    for result, kind in zip(results, kinds, strict=True):
        for start in range(0, len(result.images), _EDITS_IN_A_ROW):
            edits = list(result.images[start : start + _EDITS_IN_A_ROW])
            blank = [np.full_like(picture, 255)] * (min(len(result.images), _EDITS_IN_A_ROW) - len(edits))
            cells += [picture, redrawn, *edits, *blank]
            labels.append(describe(kind) if start == 0 else "")
    columns = len(cells) // len(labels)
    return contact_sheet(
        np.stack(cells),
        columns=columns,
        title=request,
        row_labels=labels if any(labels) else None,
        column_labels=["the picture", "as read", *["edit"] * (columns - 2)],
        caption=f"As read: drawn anew from the attributes and the Z that were read. {caption}",
    )
