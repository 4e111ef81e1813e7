"""Settings of a training run of the autoencoder, and named sets of them. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gaussmix.training.run import OutputFolder, RunConfig


@dataclass(frozen=True)
class AutoencoderConfig(RunConfig):
    """Settings of one training run of a `ClassConditionalAutoencoder`; every field is a flag of the command line.

    Raises
    ------
    ValueError
        For a value out of range.
    """

    data: str = "digits"
    """'digits', scikit-learn's, or a folder with labelled images."""
    output: OutputFolder = Path("runs/autoencoder")
    batch_size: int = 64
    learning_rate: float = 4e-3
    steps: int = 2000

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
    discriminator_learning_rate: float = 5e-4
    """Of the discriminator, after warm-up."""

    def __post_init__(self):
        super().__post_init__()
        self._check("at least 1", "latent_dim", "hidden")
        self._check("0 or more", "adversarial_weight", "class_weight")
        self._check("above 0", "discriminator_learning_rate")
        if not self.channels or min(self.channels) < 1:
            raise ValueError(f"--channels is {self.channels}; give at least one level, each of at least 1 channel")


PRESETS: dict[str, AutoencoderConfig] = {
    # scikit-learn's 1797 digits of 8x8.
    "digits": AutoencoderConfig(output=Path("runs/digits")),
    # MNIST or Fashion-MNIST, 28x28; stops by time on a slow machine.
    # At a learning rate of 4e-3 a run of 187 steps ended worse than the mean image.
    "mnist": AutoencoderConfig(
        data="mnist", output=Path("runs/mnist"), latent_dim=32, hidden=256, batch_size=128, learning_rate=1e-3,
        mixed_precision="bf16", steps=4000, minutes=14.0, checkpoint_every=1000, log_every=20,
    ),
}  # fmt: skip
