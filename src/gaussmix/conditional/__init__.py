"""The distribution of y given x: y ~ GMM(f(x)), as a scikit-learn estimator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gaussmix._lazy import face

if TYPE_CHECKING:
    from gaussmix.conditional.calibration import ConditionalReport as ConditionalReport
    from gaussmix.conditional.calibration import calibration_plot as calibration_plot
    from gaussmix.conditional.calibration import conformal_level as conformal_level
    from gaussmix.conditional.calibration import pit_histogram as pit_histogram
    from gaussmix.conditional.calibration import reliability as reliability
    from gaussmix.conditional.distribution import ConditionalMixture as ConditionalMixture
    from gaussmix.conditional.estimator import ConditionalGMMExpansion as ConditionalGMMExpansion
    from gaussmix.conditional.forest import CountForest as CountForest

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "calibration": [
            "ConditionalReport",
            "calibration_plot",
            "conformal_level",
            "pit_histogram",
            "reliability",
        ],
        "distribution": ["ConditionalMixture"],
        "estimator": ["ConditionalGMMExpansion"],
        "forest": ["CountForest"],
    },
)
