"""The automatic rules, "auto" and "fast": densities from counts alone, without a number to choose."""

from gaussmix._lazy import face

__getattr__, __dir__, __all__ = face(__name__, {"rule": ["AutomaticFit", "fit_automatic", "fit_fast"]})
