"""Pictures from chosen attributes, each attribute a Gaussian mixture: train, draw, edit, evaluate (D Sec. 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gaussmix._lazy import face

if TYPE_CHECKING:
    from gaussmix.diffusion.config import PRESETS as PRESETS
    from gaussmix.diffusion.config import DiffusionConfig as DiffusionConfig
    from gaussmix.diffusion.edit import edit_images as edit_images
    from gaussmix.diffusion.edit import reconstruct as reconstruct
    from gaussmix.diffusion.evaluate import evaluate_pipeline as evaluate_pipeline
    from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline as AttributeDiffusionPipeline
    from gaussmix.diffusion.sampling import draw as draw
    from gaussmix.diffusion.sampling import draw_batches as draw_batches
    from gaussmix.diffusion.schedulers import RenoiseScheduler as RenoiseScheduler
    from gaussmix.diffusion.schedulers import make_betas as make_betas
    from gaussmix.diffusion.schedulers import make_scheduler as make_scheduler
    from gaussmix.diffusion.schedulers import switch_scheduler as switch_scheduler
    from gaussmix.diffusion.train import DiffusionTrainer as DiffusionTrainer
    from gaussmix.diffusion.transformer import AttributeTransformer as AttributeTransformer
    from gaussmix.diffusion.unet import AttributeUNet as AttributeUNet
    from gaussmix.diffusion.unet import ConditionConfig as ConditionConfig

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "config": ["PRESETS", "DiffusionConfig"],
        "edit": ["edit_images", "reconstruct"],
        "evaluate": ["evaluate_pipeline"],
        "pipeline": ["AttributeDiffusionPipeline"],
        "sampling": ["draw", "draw_batches"],
        "schedulers": ["RenoiseScheduler", "make_betas", "make_scheduler", "switch_scheduler"],
        "train": ["DiffusionTrainer"],
        "transformer": ["AttributeTransformer"],
        "unet": ["AttributeUNet", "ConditionConfig"],
    },
    extra="diffusion",
)
