"""What every training run does, whatever it trains: settings, loop, checkpoints, log, schedule.

`RunConfig` says what a run may be told and `Trainer` runs it; the two applications that train a model of their own
derive both from these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gaussmix._lazy import face

if TYPE_CHECKING:
    from gaussmix.training.loop import Trainer as Trainer
    from gaussmix.training.loop import TrainingError as TrainingError
    from gaussmix.training.run import RunConfig as RunConfig

__getattr__, __dir__, __all__ = face(
    __name__, {"loop": ["Trainer", "TrainingError"], "run": ["RunConfig"]}, extra="diffusion"
)
