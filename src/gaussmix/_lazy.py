"""Faces of packages: public names that load what they need when they are first used.

A package's ``__init__`` says where its public names are defined, and gets its three special names from `face`:

    __getattr__, __dir__, __all__ = face(__name__, {"density.estimator": ["GMMExpansion"]}, extra="diffusion")
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def face(
    package: str, names: Mapping[str, Sequence[str]], *, extra: str | Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package.

    ``names`` says what each module, relative to the package, defines; one that maps to itself (``{"nn": ["nn"]}``) is
    public as a module. Where a library is missing, ``gaussmix[extra]`` has it; a mapping has ``extra`` by public name.
    """
    home = {name: module for module, defined in names.items() for name in defined}

    def load(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            module = importlib.import_module(f"{package}.{home[name]}")
        except ModuleNotFoundError as error:
            needed = extra.get(name) if isinstance(extra, Mapping) else extra
            if needed is None or (error.name or "").partition(".")[0] == "gaussmix":
                raise
            raise ImportError(
                f"{package}.{name} needs {error.name}, which is not installed: pip install 'gaussmix[{needed}]'"
            ) from error
        value = module if home[name] == name else getattr(module, name)
        setattr(sys.modules[package], name, value)  # the next access does not come here
        return value

    return load, lambda: sorted(home), sorted(home)
