"""What a training run of the autoencoder can be told, and named sets of answers. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from gaussmix.training.run import check_whole_numbers, json_fields


@dataclass(frozen=True)
class AutoencoderConfig:
    """One training run. Every field can be a flag of the command line."""

    data: str = "digits"
    """'digits', scikit-learn's, or a folder with labelled images."""
    skip_bad: bool = False
    """Leave out missing and damaged images of a folder (with a warning) instead of stopping."""
    out: Annotated[Path, tyro.conf.arg(name="output", aliases=["-o"])] = Path("runs/autoencoder")
    """Folder for checkpoints, logs, pictures and the model."""
    resume: bool = False
    """Continue from the newest checkpoint in --output, or start if there is none."""
    seed: int = 0
    """Of the weights and the batches."""

    latent_dim: int = 16
    """Numbers that describe an image (d)."""
    channels: tuple[int, ...] = (32, 64)
    """Channels of each level; a level halves height and width, which must be multiples of 2 for each level."""
    hidden: int = 128
    """Width of the layer between the feature maps and the latents, or the heads of the discriminator."""

    adversarial_weight: float = 0.002
    """alpha of E Eq. 10; 0 leaves the discriminator's judgement of real and decoded out of the generator's loss."""
    adversarial_sign: Literal["working", "printed"] = "working"
    """'printed' is E Eq. 10 to the letter, with which decoded images learn to be told from real ones."""
    class_weight: float = 0.002
    """Weight of the class that the discriminator sees in a decoded image, in the generator's loss."""

    batch_size: int = 64
    """Images a step and process."""
    learning_rate: float = 4e-3
    """Of Adam for encoder and decoder, after warm-up."""
    discriminator_learning_rate: float = 5e-4
    """Of Adam for the discriminator."""
    warmup_steps: int = 50
    """Steps in which the learning rates rise; then a cosine down to 2 %."""
    max_grad_norm: float = 1.0
    """The gradients, those of the generator and those of the discriminator, are clipped to this norm."""
    mixed_precision: Literal["no", "bf16"] = "no"
    """bf16 autocast, where the processor has instructions for it: pays from a few dozen channels on."""
    threads: int = 1
    """Threads of the CPU; 0 leaves torch's own choice. More than one can be far slower on a busy machine."""

    steps: int = 2000
    """Stop after this many steps ..."""
    minutes: float | None = None
    """... or after this many minutes, whichever comes first; the learning rate is fitted to it."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    keep_checkpoints: int = 2
    """How many to keep."""
    sample_every: int = 0
    """Steps between pictures of reconstructions; 0 draws only the last one."""
    log_every: int = 10
    """Steps between lines in metrics.jsonl."""

    def __post_init__(self):
        at_least_one = "latent_dim hidden batch_size steps checkpoint_every keep_checkpoints log_every".split()
        check_whole_numbers(self, at_least_one, ("warmup_steps", "sample_every", "threads", "seed"))
        if not self.channels or min(self.channels) < 1:
            raise ValueError(f"--channels is {self.channels}; give at least one level, each of at least 1 channel")
        if self.minutes is not None and not self.minutes > 0:
            raise ValueError(f"--minutes is {self.minutes}; it must be above 0")
        for name in ("adversarial_weight", "class_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}; it must be 0 or more")
        for name in ("learning_rate", "discriminator_learning_rate", "max_grad_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}; it must be above 0")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready fields."""
        return json_fields(self)


PRESETS: dict[str, AutoencoderConfig] = {
    # scikit-learn's 1797 digits of 8x8.
    "digits": AutoencoderConfig(out=Path("runs/digits")),
    # MNIST or Fashion-MNIST, 28x28; stops by time on a slow machine.
    "mnist": AutoencoderConfig(
        data="mnist",
        out=Path("runs/mnist"),
        latent_dim=32,
        hidden=256,
        batch_size=128,
        learning_rate=1e-3,  # at 4e-3 a run of 187 steps ended worse than the mean image
        mixed_precision="bf16",
        steps=4000,
        minutes=14.0,
        checkpoint_every=1000,
        log_every=20,
    ),
}
