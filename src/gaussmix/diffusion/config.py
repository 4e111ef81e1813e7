"""Settings of a training run of the diffusion model, named sets of them, and where models lie. Loads no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from gaussmix.training.run import RunConfig, flag

_PATCH = 8  # pixels
_LEAST_POWER, _MOST_POWER = 0.1, 2.0
BUILT_IN_MODEL = Path(__file__).parents[1] / "models" / "avatars32"
"""The folder of the avatars model that comes with the package."""


def find_model(folder: str | Path | None = None) -> Path:
    """The folder itself, ``model`` in a training run's folder, or by default the model in the package.

    Raises ValueError where there is none.
    """
    folder = BUILT_IN_MODEL if folder is None else Path(folder)
    for candidate in (
        folder,
        folder / "model",
        folder / ".replaced-model",
    ):  # the last: what a kill left without a name
        if (candidate / "model_index.json").is_file():
            return candidate
    raise ValueError(f"no model in {folder}: expected a folder with model_index.json, or a run with model/")


@dataclass(frozen=True)
class DiffusionConfig(RunConfig):
    """Settings of one training run of the diffusion model; every field is a flag of the command line.

    Raises
    ------
    ValueError
        For a value out of range, and for settings that exclude each other.
    """

    may_change: ClassVar[frozenset[str]] = RunConfig.may_change | {"guidance", "reader_steps"}

    data: str = "avatars"
    """'avatars', or a folder: CelebA's official layout, or images with a metadata.csv."""
    mixed_precision: Literal["no", "bf16"] = "bf16"

    init: str = ""
    """Start from the weights of this model (its folder, or 'built-in') and not from random ones."""
    size: int = 32
    """Height and width of the images in pixels."""
    count: int | None = None
    """Use this many images: avatars are drawn (4000 if not given), a folder is cut."""

    conditioning: Literal["gated", "cross_attention", "concat", "multi_hot"] = "gated"
    """How the tokens enter the network; 'concat' is the paper's, 'multi_hot' knows no Z."""
    injection: Literal["all", "mid_up", "up"] = "all"
    """Which blocks see the condition; with 'up' the bottleneck knows the image and not the request."""
    pairing: Literal["matched", "fixed", "fresh"] = "matched"
    """Z that describes each image, a random one for ever ('fixed', the paper's), or a new one at each step."""
    latent_dim: int = 8
    """Numbers per attribute (N)."""
    n_components: int = 3
    """Gaussians in the latents' mixture."""
    separation: float = 3.0
    """Distance of their means in standard deviations."""

    network: Literal["unet", "transformer"] = "unet"
    """A U-Net on pixels, or a transformer on few numbers a patch, for pictures that are aligned as faces are."""
    channels: tuple[int, ...] = (32, 64, 64)
    """Channels of each level of the U-Net."""
    layers_per_block: int = 1
    """Residual blocks a level of the U-Net."""
    scale_shift: bool = True
    """The time embedding scales and shifts the U-Net's feature maps (otherwise it is added)."""
    grid: int | None = None
    """Patches a side of a picture, each a token of the transformer; one for each 8 pixels if not given."""
    numbers: int = 32
    """Numbers a token: principal components of its patch, at most all."""
    overlap: int = 0
    """Pixels by which patches reach into each other, at most half of one."""
    power: float = 0.5
    """Of the numbers' variances: below 1, small components weigh more than in the picture."""
    linear_mean: bool | None = None
    """Start from the linear mean of what is noised given A and Z; a transformer does if not given, a U-Net not."""
    width: int = 192
    """Channels of the transformer."""
    depth: int = 4
    """Its blocks."""
    heads: int = 4
    """Heads of its attention."""

    timesteps: int = 100
    """T, noise levels."""
    beta_schedule: Literal["constant", "linear", "cosine"] = "constant"
    """'constant' is the paper's for CelebA, 'linear' its for CIFAR-10, 'cosine' has even angles arccos sqrt(ab)."""
    beta: float | None = None
    """The constant beta; 0.07 at T = 100 if not given."""
    beta_start: float = 1e-4
    """The first beta of a linear schedule; DDPM's, made for T = 1000."""
    beta_end: float = 0.02
    """The last beta of a linear schedule."""
    objective: Literal["v_prediction", "epsilon"] = "v_prediction"
    """What the network predicts; 'epsilon' is the paper's."""
    timestep_sampling: Literal["angle", "uniform"] = "angle"
    """How t is drawn: evenly along arccos sqrt(alpha_bar), or uniformly (the paper's)."""

    detail_weight: float = 0.0
    """Extra weight in the loss of pixels where attributes act, small attributes most; needs matched latents."""
    redraw_details: float = 0.0
    """Probability with which the details in a matched Z_k (all numbers but z_1) are drawn anew at each step: so the
    network learns to go by the component of z_1 where details that were drawn independently speak against it."""

    classifier_weight: float = 0.0
    """Weight of the bottleneck classifier's loss (D Fig. 8); 0 leaves the classifier out."""
    classifier_loss: Literal["bce", "ngmg"] = "bce"
    """Binary cross-entropy, or the paper's NGMG entropy (D Eq. 18)."""
    classifier_pass: Literal["same", "unconditioned"] = "same"
    """What the classifier looks at: the bottleneck of the pass that denoises (with --injection all it can read the
    condition back, the paper's), or of a second one without the condition."""

    reader_steps: int = 400
    """Steps of the classifier that reads attributes off pictures to edit them, after the training; 0 saves the model
    without an encoder. Needs matched latents."""

    accumulate: int = 1
    """Batches whose gradients are added up before a step."""
    weight_decay: float = 1e-4
    """Of AdamW."""
    beta2: float = 0.999
    """Of AdamW: how long it remembers squared gradients."""
    ema_decay: float = 0.995
    """Of the averaged weights that sampling uses (with a warm-up)."""
    condition_dropout: float = 0.12
    """Share of images that see no condition, for guidance."""
    guidance: float = 2.0
    """Guidance scale of the pictures on the way and at the end."""

    def __post_init__(self):
        super().__post_init__()
        self._check("at least 1", "size", "count", "accumulate", "timesteps", "latent_dim", "n_components")
        self._check("at least 1", "layers_per_block", "grid", "numbers", "width", "depth", "heads")
        self._check(
            "0 or more", "overlap", "reader_steps", "classifier_weight", "detail_weight", "weight_decay", "separation"
        )
        self._check("0 or more, below 1", "condition_dropout")
        self._check("from 0 to 1", "redraw_details")
        self._check("above 0, below 1", "ema_decay", "beta", "beta_start", "beta_end", "beta2")
        self._check("finite", "guidance")
        if self.network == "transformer":
            self._check_transformer()
        elif self.linear_mean and (self.classifier_weight or self.objective != "v_prediction"):
            raise ValueError("--linear-mean needs --objective v_prediction, and no classifier")
        if not self.channels or min(self.channels) < 1:
            raise ValueError(f"--channels is {self.channels}; give at least one level, each of at least 1 channel")
        of_matched = [name for name in ("detail_weight", "redraw_details") if getattr(self, name) > 0]
        if of_matched and self.pairing != "matched":
            given = " and ".join(f"{flag(name)} is {getattr(self, name)}" for name in of_matched)
            raise ValueError(f"{given}; it must be 0 unless --pairing is matched")
        if self.reader_steps and self.pairing == "matched" and self.size < 8:  # said before the training, not after
            raise ValueError(f"--size is {self.size}; reading needs at least 8 pixels, or --reader-steps 0")
        if not self.classifier_weight and (self.classifier_loss, self.classifier_pass) != ("bce", "same"):
            raise ValueError("--classifier-loss and --classifier-pass need a --classifier-weight above 0, such as 0.1")

    def _check_transformer(self) -> None:
        """Raises ValueError for settings that it does not know, and sizes that do not go together."""
        known = {"objective": ("v_prediction",), "conditioning": ("gated", "multi_hot"), "injection": ("all",)}
        for name, choices in known.items():
            if getattr(self, name) not in choices:
                given = f"{flag(name)} is {getattr(self, name)}"
                raise ValueError(f"{given}; with --network transformer it is {' or '.join(map(str, choices))}")
        if self.grid is not None and self.size % self.grid:
            raise ValueError(f"--grid is {self.grid}; it must divide --size, which is {self.size}")
        if self.width % self.heads:
            raise ValueError(f"--heads is {self.heads}; it must divide --width, which is {self.width}")
        if not _LEAST_POWER <= self.power <= _MOST_POWER:
            raise ValueError(f"--power is {self.power}; it must be from {_LEAST_POWER} to {_MOST_POWER}")

    @property
    def tokens(self) -> dict[str, int]:
        """What a transformer's codec cuts: ``grid``, ``numbers`` and ``overlap``, as large as the patches allow.

        If no grid is given, patches are as near to 8 pixels as the size allows.
        """
        divisors = [grid for grid in range(1, self.size + 1) if self.size % grid == 0]
        grid = self.grid or min(divisors, key=lambda grid: abs(math.log(self.size / grid / _PATCH)))
        patch = self.size // grid
        return {"grid": grid, "numbers": min(self.numbers, 3 * patch**2), "overlap": min(self.overlap, patch // 2)}


# What D says, or what its time did by default, of both of its models: one U-Net conditioned through the concatenated Z
# (Eq. 9), epsilon, uniform t, Z paired at random, 400 000 steps of 16 pictures. For one GPU; a folder of pictures is
# named with --data. D says nothing of the learning rate, its warm-up, the average of the weights and the guidance.
_PAPER = DiffusionConfig(
    conditioning="concat", pairing="fixed", batch_size=16, layers_per_block=2, scale_shift=False, objective="epsilon",
    timestep_sampling="uniform", learning_rate=2e-4, warmup_steps=1000, ema_decay=0.9999, threads=0, steps=400_000,
    checkpoint_every=5000, sample_every=5000,
)  # fmt: skip

# A transformer on numbers, for pictures that are aligned: a picture is few tokens, so batches are larger.
_NUMBERS = DiffusionConfig(
    network="transformer", beta_schedule="cosine", overlap=4, width=128, detail_weight=4.0, redraw_details=0.3,
    batch_size=32, learning_rate=3e-3, beta2=0.99, weight_decay=0.01, mixed_precision="no",
)  # fmt: skip

PRESETS: dict[str, DiffusionConfig] = {
    # Some two minutes and a half of one CPU.
    "transformer": replace(_NUMBERS, output=Path("runs/transformer"), steps=2800, sample_every=560),
    # On pixels, also for pictures that are not aligned; five minutes, stops by time on a slow machine.
    "unet": DiffusionConfig(output=Path("runs/unet"), detail_weight=4.0, steps=3000, minutes=5.5),
    # The model in the package: an hour and a half of one CPU.
    "avatars": replace(
        _NUMBERS, output=Path("runs/avatars"), count=12_000, width=184, numbers=48, learning_rate=2e-3,
        ema_decay=0.9995, steps=60_000, checkpoint_every=1500, sample_every=10_000, reader_steps=1000,
    ),
    # D Fig. 7, left: 64 px, T = 100, constant beta, 60 M parameters. For a GPU.
    "celeba64": replace(_PAPER, data="celeba", output=Path("runs/celeba64"), size=64, channels=(128, 288, 480)),
    # D Fig. 7, right: 32 px, T = 1000, linear beta, 71 M parameters; D's has 70. For a GPU.
    "cifar10": replace(
        _PAPER, data="cifar10", output=Path("runs/cifar10"), channels=(160, 320, 512), timesteps=1000,
        beta_schedule="linear",
    ),
    # The same data for an hour of one CPU, 3.5 M and 2.9 M parameters. Nothing of the paper but the data: our recipe.
    "celeba64-small": DiffusionConfig(
        data="celeba", output=Path("runs/celeba64-small"), size=64, channels=(16, 48, 96, 128), detail_weight=2.0,
        learning_rate=1e-3, ema_decay=0.998, steps=9000,
    ),
    "cifar10-small": DiffusionConfig(
        data="cifar10", output=Path("runs/cifar10-small"), channels=(32, 64, 128), batch_size=16, ema_decay=0.999,
        steps=9000,
    ),
}  # fmt: skip
