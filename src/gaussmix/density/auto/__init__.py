"""The automatic rules, "auto" and "fast": densities from counts alone, without a number to choose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gaussmix._lazy import face

if TYPE_CHECKING:
    from gaussmix.density.auto.rule import AutomaticFit as AutomaticFit
    from gaussmix.density.auto.rule import fit_automatic as fit_automatic
    from gaussmix.density.auto.rule import fit_fast as fit_fast

__getattr__, __dir__, __all__ = face(__name__, {"rule": ["AutomaticFit", "fit_automatic", "fit_fast"]})
