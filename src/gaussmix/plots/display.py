"""A learnt density as a display, with the manners of those of scikit-learn: made from an estimator or from data."""

from __future__ import annotations

from typing import Any, Self

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from gaussmix.density.counts import BinnedCounts
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.density.model import DensityModel
from gaussmix.density.report import Rule
from gaussmix.plots.densities import draw_density


class DensityDisplay:
    """Picture of a learnt density over the histogram of its data, as scikit-learn's displays.

    Parameters
    ----------
    distribution : GaussianMixture1D
        What is drawn.
    counts : BinnedCounts, optional
        Of the data, for the histogram.
    name : str, optional
        Of the variable, below the picture.

    Attributes
    ----------
    ax_ : Axes
        Those drawn on.
    figure_ : Figure
        Theirs.

    Examples
    --------
    >>> import numpy as np
    >>> from gaussmix import GMMExpansion
    >>> from gaussmix.plots import DensityDisplay
    >>> model = GMMExpansion().fit(np.random.default_rng(0).gamma(2.0, size=1000))
    >>> DensityDisplay.from_estimator(model, name="hours").ax_.get_xlabel()
    'hours; ticks mark quantiles'
    """

    ax_: Axes
    figure_: Figure

    def __init__(self, distribution: GaussianMixture1D, *, counts: BinnedCounts | None = None, name: str | None = None):
        self.distribution = distribution
        self.counts = counts
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        column: int | str = 0,
        name: str | None = None,
        histogram: bool = True,
        log: bool = False,
        ax: Axes | None = None,
    ) -> Self:
        """Draw what a fitted estimator has learnt.

        Parameters
        ----------
        estimator : GMMExpansion or Pipeline
            Fitted; of a pipeline the last step, whose numbers are the transformed ones.
        column : int or str
            Which one, by number or name.
        name : str, optional
            Of the variable; the column's name if it has one.
        histogram : bool
            Draw the histogram of the data behind the density.
        log : bool
            Whether the density axis is logarithmic.
        ax : Axes, optional
            Where to draw; a new figure if not given.
        """
        model = estimator[-1] if hasattr(estimator, "steps") else estimator
        if not hasattr(model, "counts_"):
            raise ValueError(f"this {type(model).__name__} has learnt no density; call its fit first")
        names = [str(each) for each in getattr(model, "feature_names_in_", [])]
        if isinstance(column, str):
            if column not in names:
                raise ValueError(f"column is {column!r}; the columns are {names or 'numbered'}")
            column = names.index(column)
        shown = name or (names[column] if names else None)
        counts = model.counts_[column] if histogram else None
        return cls(model.distributions_[column], counts=counts, name=shown).plot(ax, log=log)

    @classmethod
    def from_data(
        cls,
        X: ArrayLike,
        *,
        rule: Rule = "auto",
        bounds: Any = "auto",
        name: str | None = None,
        histogram: bool = True,
        log: bool = False,
        ax: Axes | None = None,
    ) -> Self:
        """Learn the density of numbers and draw it.

        Parameters
        ----------
        X : array-like of shape (N,)
            The numbers; NaN and infinities are left out.
        rule, bounds : optional
            As for `GMMExpansion`.
        name : str, optional
            Of the variable; that of X if it has one.
        histogram : bool
            Draw the histogram of the data behind the density.
        log : bool
            Whether the density axis is logarithmic.
        ax : Axes, optional
            Where to draw; a new figure if not given.
        """
        model = DensityModel(rule, bounds=bounds, nan_policy="omit").fit(X)
        name = name or getattr(X, "name", None)
        return cls.from_estimator(model, name=name, histogram=histogram, log=log, ax=ax)

    def plot(self, ax: Axes | None = None, *, name: str | None = None, log: bool = False) -> Self:
        """Draw, again if it was drawn before.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw; a new figure if not given.
        name : str, optional
            Of the variable.
        log : bool
            Whether the density axis is logarithmic.
        """
        if ax is None:
            _, ax = pyplot.subplots(layout="constrained")
        draw_density(ax, self.distribution, self.counts, log=log)
        if name or self.name:
            ax.set_xlabel(ax.get_xlabel().replace("value", str(name or self.name), 1))
        self.ax_, self.figure_ = ax, ax.figure.get_figure(root=True) or pyplot.gcf()
        return self
