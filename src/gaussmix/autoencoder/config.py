"""Settings of a training run of the autoencoder, and named sets of them. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gaussmix.training.run import OutputFolder, RunConfig

_FIRST, _OTHERS, _SMALLEST = 32, 64, 8  # channels of the first level and of others, pixels of the last


@dataclass(frozen=True)
class AutoencoderConfig(RunConfig):
    """Settings of one training run of a `ClassConditionalAutoencoder`; every field is a flag of the command line.

    Raises
    ------
    ValueError
        For a value out of range.
    """

    data: str = "digits"
    """'digits', scikit-learn's, or a folder with labelled images: idx files, a sub-folder for each class, or a
    metadata.csv of attributes."""
    output: OutputFolder = Path("runs/autoencoder")
    batch_size: int = 64
    learning_rate: float = 1e-3
    steps: int = 2000

    size: int | None = None
    """Pixels a side to which pictures of a folder are brought, such as 32, 64 or 128: their centre square, not
    stretched. 32 if not given; digits and idx files keep their own."""
    label_by: str = ""
    """Of a metadata.csv: attributes, separated by commas, whose combinations are the classes; all if not given."""

    latent_dim: int = 16
    """Numbers that describe an image (d)."""
    shift: float = 0.0
    """Share of their size by which training images are moved at random, at most; of few pictures much is learnt so."""
    channels: tuple[int, ...] | None = None
    """Channels of each level; a level halves height and width, which must be multiples of 2 for each level. If not
    given 32 and 64, and 64 more often until 8 pixels or fewer are left."""
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
        self._check("at least 1", "latent_dim", "hidden", "size")
        self._check("0 or more", "adversarial_weight", "class_weight")
        self._check("0 or more, below 1", "shift")
        self._check("above 0", "discriminator_learning_rate")
        if self.channels is not None and (not self.channels or min(self.channels) < 1):
            raise ValueError(f"--channels is {self.channels}; give at least one level, each of at least 1 channel")

    @property
    def loading(self) -> dict[str, Any]:
        """What `gaussmix.data.load_labelled` is told beside the source."""
        labels = tuple(filter(None, map(str.strip, self.label_by.split(","))))
        return {"size": self.size, "label_by": labels, "skip_bad": self.skip_bad}

    def levels(self, size: int) -> list[int]:
        """Return the channels of each level for images of so many pixels a side.

        Parameters
        ----------
        size : int
            Pixels.
        """
        if self.channels is not None:
            return list(self.channels)
        levels = [_FIRST, _OTHERS]
        while size > _SMALLEST * 2 ** len(levels) and size % 2 ** (len(levels) + 1) == 0:
            levels.append(_OTHERS)
        return levels


PRESETS: dict[str, AutoencoderConfig] = {
    # scikit-learn's 1797 digits of 8x8, which take a rate that saturates the sigmoid on larger pictures.
    "digits": AutoencoderConfig(output=Path("runs/digits"), learning_rate=4e-3),
    # A folder of pictures. Of 64 drawings with thin lines, unseen ones came back with .73 of the mean image's error at
    # best without shifts, and with .21 of it so.
    "folder": AutoencoderConfig(data="", output=Path("runs/pictures"), shift=1 / 16),
    # MNIST or Fashion-MNIST, 28x28; stops by time on a slow machine.
    "mnist": AutoencoderConfig(
        data="mnist", output=Path("runs/mnist"), latent_dim=32, hidden=256, batch_size=128,
        mixed_precision="bf16", steps=4000, minutes=14.0, checkpoint_every=1000, log_every=20,
    ),
}  # fmt: skip
