"""The folder of a saved pipeline: what its files may say, and its parts, made of known classes alone.

    model_index.json                    classes of the parts, attributes, latents, the training's record
    unet/ or transformer/, encoder/     config.json and safetensors
    scheduler/scheduler_config.json     settings of one of `SCHEDULERS`

`gaussmix.training.saved` says why this is not diffusers' ``from_pretrained``. Loads no torch before a part is made.
"""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

from gaussmix._files import read_json
from gaussmix._guard import reading
from gaussmix.training import saved
from gaussmix.training.saved import Kind, list_of, number, one_of, optional, record, text, whole, yes_or_no

SCHEDULERS = ("DDIMScheduler", "DDPMScheduler", "DPMSolverMultistepScheduler", "RenoiseScheduler")
_OURS = "gaussmix.diffusion"
_MOST_LEVELS = 100_000  # T
_PARTS = {
    "unet": [[f"{_OURS}.unet", "AttributeUNet"], [None, None]],
    "transformer": [[f"{_OURS}.transformer", "AttributeTransformer"], [None, None]],
    "encoder": [[f"{_OURS}.encoder", "AttributeEncoder"], [None, None]],
    "scheduler": [[f"{_OURS}.schedulers" if name == "RenoiseScheduler" else "diffusers", name] for name in SCHEDULERS],
}
_LATENTS: dict[str, Kind] = {
    "n_attributes": whole(),
    "latent_dim": whole(),
    "n_components": whole(),
    "separation": number(0, 1e6),
    "base_token": yes_or_no,
}
_INDEX: dict[str, Kind] = {
    "attribute_names": list_of(text, least=1),
    "latent_distribution": record(
        {**_LATENTS, "shares": optional(list_of(list_of(number(0, 1))))}, needed=["n_attributes"]
    ),
    "attribute_rows": list_of(text),
    "training": saved.TRAINING,
}
_CONDITION = record(
    {
        **_LATENTS,
        "conditioning": one_of("gated", "cross_attention", "concat", "multi_hot"),
        "injection": one_of("all", "mid_up", "up"),
        "token_dim": whole(),
    },
    needed=["n_attributes"],
)
_UNET: dict[str, Kind] = {
    "condition": _CONDITION,
    "sample_size": whole(most=1 << 14),
    "in_channels": whole(),
    "block_out_channels": list_of(whole(), least=1, most=12),
    "layers_per_block": whole(most=64),
    "attention_head_dim": whole(),
    "norm_num_groups": whole(),
    "scale_shift": yes_or_no,
    "classifier": yes_or_no,
    "classifier_pass": one_of("same", "unconditioned"),
    "linear_mean": yes_or_no,
    "timesteps": whole(most=_MOST_LEVELS),
}
_TRANSFORMER: dict[str, Kind] = {
    "condition": _CONDITION,
    "sample_size": whole(most=1 << 14),
    "in_channels": whole(),
    **dict.fromkeys(("grid", "numbers", "width", "heads"), whole()),
    "overlap": whole(0),
    "depth": whole(most=256),
    **dict.fromkeys(("power", "mlp_ratio"), number(1e-3, 1e3)),
    "linear_mean": yes_or_no,
    "timesteps": whole(most=_MOST_LEVELS),
    "classifier": yes_or_no,
    "classifier_pass": one_of("same", "unconditioned"),
}
_ENCODER: dict[str, Kind] = {
    "attribute_names": list_of(text, least=1),
    "image_size": whole(most=1 << 14),
    "map_size": whole(most=1 << 14),
    "latent_tensors": list_of(
        saved.pair(
            lambda name: text(name) and name.isidentifier(),
            one_of("float16", "float32", "float64", "int8", "uint8", "int16", "int32", "int64", "bool"),
            list_of(whole(0, 1 << 40), most=8),
        )
    ),
}


def count_numbers(folder: Path, part: str) -> int:
    """Return how many numbers the weights of a part are: its parameters, and what was found in closed form.

    Raises ValueError, naming the file, for one that is damaged.
    """
    from safetensors import safe_open

    path = folder / part / saved.WEIGHTS
    with reading(path), safe_open(path, "numpy") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118


def read_index(folder: Path) -> dict[str, Any]:
    """Return what ``model_index.json`` in a folder says.

    Raises ValueError, naming the file, for anything but the known parts and settings.
    """
    path = folder / "model_index.json"
    index = read_json(path)
    if index.pop("_class_name", None) not in (
        "AttributeDiffusionPipeline",
        [f"{_OURS}.pipeline", "AttributeDiffusionPipeline"],
    ):
        raise ValueError(f"{path} is not of an AttributeDiffusionPipeline; the model may be another program's")
    for part, known in _PARTS.items():
        named = index.get(part, [None, None])
        if named not in known:
            raise ValueError(
                f"{path} names {named!r:.80} for its {part}; gaussmix loads {known[0][1]} and the like only"
            )
    for name, kind in _INDEX.items():
        if name in index and not kind(index[name]):
            raise ValueError(f"{path}: {name} cannot be {index[name]!r:.60}")
    for name in index.keys() - _PARTS.keys() - _INDEX.keys():
        if not (name.startswith("_") and text(index[name])):
            raise ValueError(f"{path} has an entry {name!r:.60} that this gaussmix does not know")
    if "attribute_names" not in index:
        raise ValueError(f"{path} lacks attribute_names")
    digits = 2 * -(-len(index["attribute_names"]) // 8)
    for row in index.get("attribute_rows", ()):
        if len(row) != digits or not all(letter in "0123456789abcdef" for letter in row):
            raise ValueError(
                f"{path}: a row of attribute_rows is {row!r:.60}; it must have {digits} hexadecimal digits"
            )
    return index


def load_parts(folder: Path) -> dict[str, Any]:
    """Return the arguments of `AttributeDiffusionPipeline` that a folder holds. Raises ValueError, naming the file."""
    from gaussmix.diffusion.encoder import AttributeEncoder
    from gaussmix.diffusion.transformer import AttributeTransformer
    from gaussmix.diffusion.unet import AttributeUNet

    index = read_index(folder)
    parts: dict[str, Any] = {name: index[name] for name in _INDEX if name in index}
    for name, make, kinds in (("unet", AttributeUNet, _UNET), ("transformer", AttributeTransformer, _TRANSFORMER)):
        there = index.get(name, [None, None]) != [None, None]
        parts[name] = saved.load_network(make, folder / name, kinds, ["condition"]) if there else None
        if there and parts[name].known is not None:
            try:
                parts[name].known.check()
            except ValueError as error:
                raise ValueError(f"{folder / name / saved.WEIGHTS} is damaged: {error}") from error
    parts["scheduler"] = _load_scheduler(folder / "scheduler" / "scheduler_config.json", index["scheduler"][1])
    if index.get("encoder", [None, None]) != [None, None]:
        parts["encoder"] = saved.load_network(AttributeEncoder, folder / "encoder", _ENCODER, _ENCODER)
    return parts


def _load_scheduler(path: Path, name: str) -> Any:
    import diffusers

    from gaussmix.diffusion.schedulers import RenoiseScheduler

    make = RenoiseScheduler if name == "RenoiseScheduler" else getattr(diffusers, name)
    known = {each.name: _like(each.default) for each in inspect.signature(make.__init__).parameters.values()}
    del known["self"]
    known["num_train_timesteps"] = whole(most=_MOST_LEVELS)
    known["trained_betas"] = optional(list_of(number(1e-12, 1 - 1e-12), least=1, most=_MOST_LEVELS))
    known["prediction_type"] = one_of("epsilon", "v_prediction")
    settings = saved.read_settings(path, name, known, ["num_train_timesteps", "prediction_type"])
    betas, total = settings.get("trained_betas"), settings["num_train_timesteps"]
    if betas is not None and len(betas) != total:
        raise ValueError(f"{path} has {len(betas)} trained_betas for num_train_timesteps {total}; give one for each")
    try:
        return make(**settings)
    except Exception as error:  # settings that do not go together, names that diffusers does not know
        raise ValueError(f"{path} describes no scheduler: {' '.join(str(error).split())[:200]}") from error


def _like(default: Any) -> Kind:
    """The kind of a scheduler's setting, by its default."""
    if isinstance(default, bool):
        return yes_or_no
    if isinstance(default, int):
        return lambda value: type(value) is int and abs(value) <= _MOST_LEVELS
    if isinstance(default, float):
        return lambda value: value == default or number(-1e6, 1e6)(value) or (default == -math.inf == value)
    return optional(lambda value: text(value) or number(-1e6, 1e6)(value))
