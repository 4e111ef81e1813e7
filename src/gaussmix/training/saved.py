"""Saved models, read without running anything that they name.

A model's folder may be a stranger's. Its settings are taken by known names and of known kinds only, its weights from
safetensors files alone, and the classes are those that the caller gives: nothing is imported, unpickled or downloaded
because a file says so. (diffusers' own ``from_pretrained`` looks up classes by name, and up to version 0.37 ran a
module that lay in the folder.)

A network is built without memory first; what its file holds is compared with that before anything is allocated. Loads
torch when a network is read.

A file may hold a table in bytes, ``name`` int8 and ``name.int8_scale`` float16, which stand for their product: a
quarter of the size, at a rounding of 1/254 of the largest number of a row or column (`save_compact`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gaussmix._files import read_json

if TYPE_CHECKING:
    import torch

    NetworkT = TypeVar("NetworkT", bound=torch.nn.Module)

Kind = Callable[[Any], bool]
"""Whether a setting's value, as JSON gave it, is one that it can have."""
Kinds = Mapping[str, Kind]

WEIGHTS = "diffusion_pytorch_model.safetensors"
_SCALE, _TABLE = ".int8_scale", 1024  # the ending of a table's scales, and how many numbers make one
_LARGEST = 1 << 16  # of a size or a count in settings
_WRITTEN_BY = ("_diffusers_version", "_name_or_path")  # notes of diffusers


def whole(least: int = 1, most: int = _LARGEST) -> Kind:
    """Return the kind of whole numbers in a range."""
    return lambda value: type(value) is int and least <= value <= most


def number(least: float = -math.inf, most: float = math.inf) -> Kind:
    """Return the kind of numbers in a range, NaN in none."""
    return lambda value: type(value) in (int, float) and least <= value <= most


def yes_or_no(value: Any) -> bool:
    """Whether it is true or false."""
    return isinstance(value, bool)


def text(value: Any) -> bool:
    """Whether it is a text of no more than a few lines."""
    return isinstance(value, str) and len(value) < 1000


def one_of(*choices: Any) -> Kind:
    """Return the kind of these values."""
    return lambda value: any(type(value) is type(each) and value == each for each in choices)


def list_of(kind: Kind, least: int = 0, most: int = _LARGEST) -> Kind:
    """Return the kind of lists of so many values of one kind."""
    return lambda value: isinstance(value, list) and least <= len(value) <= most and all(map(kind, value))


def pair(*kinds: Kind) -> Kind:
    """Return the kind of lists with one value of each kind."""
    return lambda value: (
        isinstance(value, list)
        and len(value) == len(kinds)
        and all(kind(each) for kind, each in zip(kinds, value, strict=True))
    )


def record(kinds: Kinds, needed: Collection[str] = (), *, open_ended: bool = False) -> Kind:
    """Return the kind of objects with these entries; an ``open_ended`` one may have more."""
    return lambda value: (
        isinstance(value, dict)
        and all(name in value for name in needed)
        and all(kinds[name](each) if name in kinds else open_ended for name, each in value.items())
    )


def optional(kind: Kind) -> Kind:
    """Return the kind of null and of another."""
    return lambda value: value is None or kind(value)


TRAINING = record(
    {"data": text, "dataset_key": text, "seed": whole(0, 1 << 62), "count": optional(whole(1, 1 << 40))},
    open_ended=True,
)
"""What a model says of its training: what other code goes by is checked, the rest is for the record."""


def read_settings(path: Path, class_name: str, kinds: Kinds, needed: Collection[str] = ()) -> dict[str, Any]:
    """Return the settings in a JSON file of diffusers' that belong to a class.

    Raises ValueError, naming the file, for unknown names, values of another kind and another class.
    """
    found = read_json(path)
    if found.pop("_class_name", None) != class_name:
        raise ValueError(f"{path} is not of a {class_name}; the model may be another program's")
    settings = {name: value for name, value in found.items() if not (name in _WRITTEN_BY and text(value))}
    for name, value in settings.items():
        if name not in kinds:
            raise ValueError(f"{path} has a setting {name!r:.60} that this gaussmix does not know")
        if not kinds[name](value):
            raise ValueError(f"{path}: {name} cannot be {value!r:.60}")
    for name in needed:
        if name not in settings:
            raise ValueError(f"{path} lacks {name}")
    return settings


def load_network(make: type[NetworkT], folder: Path, kinds: Kinds, needed: Collection[str] = ()) -> NetworkT:
    """Return the network in a folder that diffusers' ``save_pretrained`` wrote, in float32 and evaluation mode.

    Parameters
    ----------
    make : type
        Its class.
    folder : Path
        With ``config.json`` and the weights.
    kinds, needed : mapping, collection of str
        The settings that the class takes, and those that must be there.

    Raises
    ------
    ValueError
        Naming the file, for anything that is not so.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    path = folder / "config.json"
    settings = read_settings(path, make.__name__, kinds, needed)
    try:
        with torch.device("meta"):
            network = make(**settings)
    except Exception as error:  # settings that do not go together
        raise ValueError(f"{path} describes no network: {' '.join(str(error).split())[:200]}") from error
    path, wanted = folder / WEIGHTS, network.state_dict()
    if not path.is_file():
        raise ValueError(f"{path} is missing")
    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            scales = {name + _SCALE for name in wanted if name + _SCALE in names}
            odd = sorted((names - scales) ^ wanted.keys())
            if odd:
                raise ValueError(f"{odd[0]} is {'unknown' if odd[0] in names else 'missing'}")
            for name, like in wanted.items():
                shape = file.get_slice(name).get_shape()
                if shape != list(like.shape):
                    raise ValueError(f"{name} is {shape}, not {list(like.shape)}")
            for name in scales:
                size, of = file.get_slice(name).get_shape(), list(wanted[name.removesuffix(_SCALE)].shape)
                if len(size) != len(of) or any(n not in (1, m) for n, m in zip(size, of, strict=True)):
                    raise ValueError(f"{name} is {size}, for numbers of {of}")
            weights = {name: file.get_tensor(name) for name in wanted}
            for name in scales:
                of = name.removesuffix(_SCALE)
                weights[of] = weights[of].float() * file.get_tensor(name).float()
    except (SafetensorError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} does not hold the weights of this network: {error}") from error
    for name, like in wanted.items():
        if weights[name].is_floating_point() != like.is_floating_point():
            raise ValueError(f"{path} does not hold the weights of this network: {name} is {weights[name].dtype}")
    for name, like in wanted.items():
        if like.is_floating_point() and not bool(weights[name].isfinite().all()):
            raise ValueError(f"{path} is damaged: {name} holds numbers that are not finite")
    network.load_state_dict(weights, assign=True)
    assert not any(each.is_meta for each in network.buffers()), "a buffer that is not saved needs a value"
    return network.float().eval()


def save_compact(network: Any, folder: Path) -> None:
    """Write a network of diffusers' so that `load_network` reads it, tables of numbers in bytes.

    Parameters
    ----------
    network : ModelMixin
        What is written.
    folder : Path
        Where to; it is made.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    network.save_config(folder)
    kept: dict[str, torch.Tensor] = {}
    for name, each in network.state_dict().items():
        if not each.is_floating_point():
            kept[name] = each.contiguous()
        elif each.ndim < 2 or each.numel() < _TABLE:  # not worth their rounding
            kept[name] = each.float().contiguous()
        else:
            kept[name], kept[name + _SCALE] = min(
                (_in_bytes(each.float(), axis) for axis in (0, each.ndim - 1)),
                key=lambda found: float((found[0].float() * found[1].float() - each.float()).square().sum()),
            )
    save_file(kept, folder / WEIGHTS, metadata={"format": "pt"})


def _in_bytes(table: torch.Tensor, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Numbers from -127 to 127 and, for each place along an axis, their scale."""
    import torch

    others = [dim for dim in range(table.ndim) if dim != axis]
    scale = (table.abs().amax(others, keepdim=True) / 127).clamp(min=1e-7).half()
    return (table / scale.float()).round().clamp(-127, 127).to(torch.int8).contiguous(), scale.contiguous()
