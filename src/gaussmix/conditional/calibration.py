"""Are the distributions right? Probability integral transforms, coverage, and intervals with a guarantee.

If y_i comes from F_i, then F_i(y_i) is uniform (Dawid 1984): central intervals of every level cover their share, and a
histogram of F_i(y_i) is flat. `conformal_level` widens a central interval until the data's own, unseen, were covered:
with V_i = |2 F_i(y_i) - 1|, the k-th smallest of n, k = ceil((n + 1) level), is the level to ask for (Chernozhukov et
al. 2021). For a model that saw neither those
rows nor the new one it would cover at least ``level``. Here scores are out of fold and new rows hear the committee of
all folds, in the manner of cross-conformal prediction (Vovk et al. 2018): about ``level`` in practice, no promise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gaussmix._typing import FloatArray
from gaussmix.density._mixture.picture import text_html

LEVELS = (0.5, 0.8, 0.9, 0.95)
_KINDS = {"str": (str,), "int": (int,), "float": (float, int), "bool": (bool,)}


@dataclass(frozen=True)
class ConditionalReport:
    """What a fit found, all of it on rows out of fold; ``str()`` is a few sentences, `to_dict()` is for JSON.

    Parameters
    ----------
    rule : str
        As the estimator's.
    n, n_features : int
        Rows, and columns after categories became numbers.
    shares : dict
        Weights of the parts, sum 1; all 0 where y has point masses only.
    log_likelihood : float
        Mean log-density, or log-probability, in nats a row.
    crps, crps_marginal : float
        Mean CRPS of the distributions, and of one distribution for all rows, in units of y.
    rmse : float
        Of the expectations, in units of y.
    coverage : dict
        Of central intervals, by level.
    pit_ks, pit_chance : float
        Kolmogorov-Smirnov distance of the transforms from uniform, and what chance exceeds in 5 % of samples.
    shrink : float
        Error of the whole committee as a share of that out of fold.
    gap : float
        What the stacking could still gain, at most, in nats a row.
    step : float
        Of the lattice on which y was rounded, 0 for none.
    discrete : bool
        Whether the distributions are on it.
    """

    rule: str
    n: int
    n_features: int
    shares: dict[str, float]
    log_likelihood: float
    crps: float
    crps_marginal: float
    rmse: float
    coverage: dict[float, float]
    pit_ks: float
    pit_chance: float
    shrink: float
    gap: float
    step: float  # of the lattice on which y was rounded, 0 for none
    discrete: bool

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "coverage": {str(level): share for level, share in self.coverage.items()}}

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> ConditionalReport:
        """What `to_dict` gave. Raises ValueError for anything else."""
        coverage = {float(level): float(share) for level, share in facts["coverage"].items()}
        shares = {str(name): float(share) for name, share in facts["shares"].items()}
        for each in fields(cls):
            kind = _KINDS.get(str(each.type))
            if kind is not None and type(facts[each.name]) not in kind:
                raise ValueError(f"its report has {facts[each.name]!r:.40} as {each.name}")
        if not coverage.keys() >= set(LEVELS):
            raise ValueError("its report has no coverage")
        return cls(**{**facts, "coverage": coverage, "shares": shares})

    _repr_html_ = text_html

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {share:.2f}" for name, share in self.shares.items() if share >= 0.005)
        made = f"Parts: {parts}" if parts else "y has point masses only"
        what = "log-probability" if self.discrete or not parts else "log-density"
        return (
            f"{self.n} rows, {self.n_features} features, rule {self.rule!r}. Out of fold: mean {what} "
            f"{self.log_likelihood:.4g} nats, CRPS {self.crps:.4g} ({self.crps_marginal:.4g} without features), RMSE "
            f"{self.rmse:.4g}; 90 % intervals cover {100 * self.coverage[0.9]:.1f} %. PIT differs from uniform by "
            f"{self.pit_ks:.3f} (chance alone {self.pit_chance:.3f}). {made}."
        )


def coverage(pit: FloatArray, levels: tuple[float, ...] = LEVELS) -> dict[float, float]:
    """The share of transforms (N,) inside each level's central interval."""
    return {level: float(np.mean(np.abs(2 * pit - 1) <= level)) for level in levels}


def ks_uniform(pit: FloatArray) -> float:
    """The largest difference between the transforms' distribution function and the uniform one."""
    ranks, n = np.sort(pit), len(pit)
    return float(max((np.arange(1, n + 1) / n - ranks).max(), (ranks - np.arange(n) / n).max()))


def conformal_level(pit: FloatArray, level: float) -> float:
    """Return the level of central intervals that has covered ``level`` of unseen rows.

    1, the whole line, where there are too few rows to say.

    Parameters
    ----------
    pit : ndarray of shape (N,)
        Transforms of the rows.
    level : float
        The share that shall be covered, in (0, 1).
    """
    n = len(pit)
    k = math.ceil((n + 1) * level)
    return 1.0 if k > n else float(np.sort(np.abs(2 * pit - 1))[k - 1])


def crps_samples(y: FloatArray) -> float:
    """The mean CRPS of one distribution for all rows: that of the data (N,) itself, each row left out."""
    n = len(y)
    ranked = np.sort(y)
    apart = 2 * float((2 * np.arange(1, n + 1) - n - 1) @ ranked) / (n * max(n - 1, 1))
    return apart / 2


def transforms(source: Any) -> FloatArray:
    """Probability integral transforms (N,) of a fitted model's rows out of fold, of (distribution, y), or as given.

    Raises TypeError for anything else, ValueError for numbers outside [0, 1].
    """
    if hasattr(source, "pit_"):
        return source.pit_
    if isinstance(source, tuple) and len(source) == 2 and hasattr(source[0], "pit"):
        return source[0].pit(source[1])
    if not isinstance(source, np.ndarray) or source.ndim != 1:
        raise TypeError(
            f"source is {type(source).__name__}; give a fitted model, a pair (distribution, y), or transforms (N,)"
        )
    if not (len(source) and source.min() >= 0 and source.max() <= 1):
        raise ValueError("transforms must be numbers in [0, 1], at least one")
    return source


def reliability(source: Any, levels: ArrayLike | None = None) -> tuple[FloatArray, FloatArray]:
    """Return levels (L,) and the share of observations (L,) inside their central intervals: equal if all is right.

    Parameters
    ----------
    source : ConditionalGMMExpansion, or pair of a ConditionalMixture and y of shape (N,), or ndarray of shape (N,)
        A fitted model stands for its rows out of fold; a pair for new rows and what was observed; an array for
        transforms.
    levels : array-like of shape (L,), optional
        In [0, 1]; 0, .01, ..., 1 if not given.
    """
    asked = np.linspace(0, 1, 101) if levels is None else np.atleast_1d(np.asarray(levels, np.float64))
    away = np.sort(np.abs(2 * transforms(source) - 1))
    return asked, np.searchsorted(away, asked, side="right") / len(away)


def pit_histogram(source: Any, bins: int = 20) -> tuple[FloatArray, FloatArray]:
    """Return heights (B,), 1 where all is right, and edges (B + 1,) of a histogram of the transforms.

    Parameters
    ----------
    source : ConditionalGMMExpansion, or pair of a ConditionalMixture and y of shape (N,), or ndarray of shape (N,)
        As for `reliability`.
    bins : int
        How many bars B, of one width.
    """
    if bins < 1:
        raise ValueError(f"bins is {bins}; it must be at least 1")
    return np.histogram(transforms(source), bins, range=(0.0, 1.0), density=True)


def calibration_plot(source: Any, ax: Any = None) -> Any:
    """Draw `reliability`, and beside it `pit_histogram`, with what chance leaves of each.

    Parameters
    ----------
    source : ConditionalGMMExpansion, or pair of a ConditionalMixture and y of shape (N,), or ndarray of shape (N,)
        As for `reliability`.
    ax : Axes or pair of Axes, optional
        Where to draw: one for the reliability alone. A new figure if not given.

    Returns
    -------
    Axes or ndarray of Axes
        Those drawn on.
    """
    from gaussmix.plots.calibration import draw_pit_histogram, draw_reliability

    pit = transforms(source)
    if ax is None:
        from matplotlib import pyplot

        _, ax = pyplot.subplots(1, 2, figsize=(9, 4), layout="constrained")
    first, *rest = np.atleast_1d(np.asarray(ax, object)).ravel().tolist()
    draw_reliability(first, *reliability(pit), len(pit))
    if rest:
        draw_pit_histogram(rest[0], *pit_histogram(pit, 20 if len(pit) >= 400 else 10), len(pit))
    return ax
