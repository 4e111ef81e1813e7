"""Pictures of densities and of calibration: of distributions, seaborn's `kdeplot`, a display as scikit-learn's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gaussmix._lazy import face

if TYPE_CHECKING:
    from gaussmix.plots.calibration import draw_fan as draw_fan
    from gaussmix.plots.calibration import draw_pit_histogram as draw_pit_histogram
    from gaussmix.plots.calibration import draw_reliability as draw_reliability
    from gaussmix.plots.columns import plot_columns as plot_columns
    from gaussmix.plots.densities import draw_density as draw_density
    from gaussmix.plots.densities import histogram_bars as histogram_bars
    from gaussmix.plots.densities import label_axis as label_axis
    from gaussmix.plots.densities import plot_comparison as plot_comparison
    from gaussmix.plots.densities import plot_density as plot_density
    from gaussmix.plots.densities import save_figure as save_figure
    from gaussmix.plots.display import DensityDisplay as DensityDisplay
    from gaussmix.plots.kde import kdeplot as kdeplot
    from gaussmix.plots.look import ATOM as ATOM
    from gaussmix.plots.look import BARS as BARS
    from gaussmix.plots.look import INK as INK
    from gaussmix.plots.look import LINE as LINE
    from gaussmix.plots.look import PAIR as PAIR

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "calibration": ["draw_fan", "draw_pit_histogram", "draw_reliability"],
        "columns": ["plot_columns"],
        "densities": [
            "draw_density",
            "histogram_bars",
            "label_axis",
            "plot_comparison",
            "plot_density",
            "save_figure",
        ],
        "display": ["DensityDisplay"],
        "kde": ["kdeplot"],
        "look": ["ATOM", "BARS", "INK", "LINE", "PAIR"],
    },
)
