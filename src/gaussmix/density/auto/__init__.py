"""The automatic rules, "auto" and "fast": densities from counts alone, without a number to choose."""

from gaussmix.density.auto.rule import AutomaticFit, fit_automatic, fit_fast

__all__ = ["AutomaticFit", "fit_automatic", "fit_fast"]
