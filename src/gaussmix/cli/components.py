"""``--component Eyeglasses=2,Wearing_Hat=all``: which modes of attributes to draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline


def read_components(text: str, pipeline: AttributeDiffusionPipeline) -> list[dict[str, int]]:
    """What to draw, ``{attribute: component}``; one entry for each component of the attribute that is ``all``, if any.

    Components that the training data never show are left out of ``all``. Raises ValueError for what is not
    ``NAME=NUMBER``, unknown attributes (naming the nearest), components that do not exist or never occur, and for more
    than one ``all``.
    """
    from gaussmix.diffusion.conditions import find_attributes

    latents = pipeline.latent_distribution
    fixed: dict[str, int] = {}
    every: dict[str, list[int]] = {}
    for part in (part.strip() for part in text.split(",")):
        if not part:
            continue
        given, equals, value = (word.strip() for word in part.partition("="))
        if not equals:
            raise ValueError(f"--component has {part!r}; write an attribute and a number, such as Eyeglasses=1")
        token = find_attributes([given], pipeline.attribute_names)[0]
        name = pipeline.attribute_names[token]
        occur = [c for c, share in enumerate(latents.weights(token)) if share > 0]
        if name in fixed or name in every:
            raise ValueError(f"--component names {name} twice; choose one component")
        if value == "all":
            every[name] = occur
        elif value.isdecimal() and int(value) in occur:
            fixed[name] = int(value)
        else:
            raise ValueError(f"--component {name} is {value!r}; choose {', '.join(map(str, occur))} or all")
    if len(every) > 1:
        raise ValueError(f"--component asks for all of {' and of '.join(every)}; choose one of them")
    return [{**fixed, name: c} for name, occur in every.items() for c in occur] or [fixed]


def describe(components: dict[str, int]) -> str:
    """For labels: "Eyeglasses = 2"."""
    return ", ".join(f"{name.replace('_', ' ')} = {component}" for name, component in components.items())
