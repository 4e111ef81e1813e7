"""Features of VGG19 (Simonyan and Zisserman 2015), in which a style is a set of Gram matrices.

    x (B, 3, H, W)      in [0, 1]; standardised, then 5 blocks of (3 x 3 convolution, ReLU) x 2, 2, 4, 4, 4, each pooled
    F^l (B, C, h, w)    output of layer l; relu3_1 is the first ReLU of the third block, h = H // 4
    G^l_ij = 1/(h w) sum_k F^l_ik F^l_jk    (E Eq. 11 divided by h w, so that pictures of any size compare)

Average pooling and edges that repeat the border pixel, instead of the maximum and zeros that the network was trained
with, give smoother pictures without a frame. (Gatys et al. 2016 pool by averages, too.)
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from torch import Tensor, nn

from gaussmix._guard import reading
from gaussmix.data.base import DataError

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CONTENT_LAYERS = ("relu4_2",)
HUB_REPOSITORY, HUB_FILE = "timm/vgg19.tv_in1k", "model.safetensors"  # torchvision's weights, under the same keys
HUB_REVISION = "128d4708565b3a414bcbb9bbad440b2fe37b9f18"
HUB_SHA256 = "11aea017b543ff59233749d8f1cf544cda749378f5790d2fedab841fb86b7669"
VARIABLE = "GAUSSMIX_VGG19"
LOGGER = logging.getLogger("gaussmix")

_BLOCKS = ((2, 1), (2, 2), (4, 4), (4, 8), (4, 8))  # convolutions, and their channels in units of the width
WIDTH, _FIRST = 64, "features.0.weight"
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet: what the network was trained on
_HOW = (
    f"give the file, or name it in ${VARIABLE}: torchvision's vgg19-dcbb9e9d.pth, or a .safetensors with the same keys;"
    f" with a network it comes from the Hugging Face hub ({HUB_REPOSITORY}, pip install huggingface_hub)"
)


def gram_matrix(features: Tensor) -> Tensor:
    """Return ``(B, C, C)``, symmetric, for ``(B, C, h, w)``: E Eq. 11. Differs from the paper: divided by ``h w``."""
    rows = features.flatten(2)
    return rows @ rows.mT / rows.shape[2]


def layer_stride(layer: str) -> int:
    """Return how many pixels a place of a layer stands for, along each side: 4 for relu3_1."""
    return 2 ** (int(layer[4]) - 1)


class VGG19Features(nn.Module):
    """The first layers of VGG19, up to the deepest that is asked for; the weights are fixed.

    Parameters
    ----------
    weights : mapping of str to Tensor
        Under torchvision's keys, ``features.0.weight`` and so on, of any precision; computed with in float32. Others,
        such as the classifier's, are ignored. The first layer's channels are 64 in VGG19.
    layers : iterable of str
        Which outputs, ``relu1_1`` to ``relu5_4``.
    pooling : {"average", "max"}
        Of 2 x 2 pixels; "max" as the network was trained.

    Attributes
    ----------
    channels : dict
        C of each layer.
    stride, reach : int
        Pixels that a place of the deepest layer stands for along each side, and how many it sees beyond on each side.

    Raises
    ------
    ValueError
        For unknown layers or pooling, and for keys that are missing or of another shape.
    """

    channels: dict[str, int]
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        layers: Iterable[str] = (*STYLE_LAYERS, *CONTENT_LAYERS),
        pooling: Literal["average", "max"] = "average",
    ):
        super().__init__()
        self.layers = tuple(layers)
        plan = _layer_plan(self.layers)
        if pooling not in ("average", "max"):
            raise ValueError(f"pooling is {pooling!r}; choose average or max")
        channels, modules = 3, []
        first = weights.get(_FIRST)
        width = first.shape[0] if first is not None and first.ndim == 4 and len(first) else WIDTH
        self.channels, self._taken = {}, {}  # _taken: position of a ReLU -> its name
        for name in plan:
            if name.startswith("conv"):
                out = width * _BLOCKS[int(name[4]) - 1][1]
                with torch.device("meta"):  # the values come from ``weights``
                    modules.append(nn.Conv2d(channels, out, 3, padding=1, padding_mode="replicate"))
                channels = out
            elif name.startswith("relu"):
                self._taken[len(modules)] = name
                self.channels[name] = channels
                modules.append(nn.ReLU(inplace=True))
            else:
                modules.append(nn.AvgPool2d(2) if pooling == "average" else nn.MaxPool2d(2))
        self.features = nn.Sequential(*modules)
        self.stride = 2 ** plan.count("pool")
        self.reach = sum(layer_stride(name) for name in plan if name.startswith("conv"))
        self._take(weights)
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.eval()

    @classmethod
    def load(cls, path: str | os.PathLike[str] | None = None, **options: Any) -> VGG19Features:
        """Load trained weights.

        Parameters
        ----------
        path : str or path-like, optional
            A ``.safetensors`` file or one that torch wrote (``.pth``, read with ``weights_only``), in half precision or
            single; else the file that $GAUSSMIX_VGG19 names, else the Hugging Face hub's.
        **options
            ``layers`` and ``pooling``.

        Raises
        ------
        DataError
            For no file, and for a file that is damaged or holds another network.
        """
        found = find_weights(path)
        weights = _read(found)
        try:
            return cls(weights, **options)
        except _WeightsError as error:
            raise DataError(f"{found} holds no VGG19: {error}; {_HOW}") from None

    @classmethod
    def random(cls, seed: int = 0, *, width: int = WIDTH, **options: Any) -> VGG19Features:
        """Make random weights (He et al. 2015), for tests: the network sees textures, but no objects.

        Parameters
        ----------
        seed : int
            Of the weights.
        width : int
            Channels of the first block.
        **options
            ``layers`` and ``pooling``.
        """
        generator = torch.Generator().manual_seed(seed)
        weights, channels = {}, 3
        for index, name in enumerate(_layer_plan(("relu5_4",))):
            if name.startswith("conv"):
                shape = (width * _BLOCKS[int(name[4]) - 1][1], channels, 3, 3)
                scale = (2 / (9 * channels)) ** 0.5
                weights[f"features.{index}.weight"] = torch.randn(shape, generator=generator) * scale
                weights[f"features.{index}.bias"] = torch.zeros(shape[0])
                channels = shape[0]
        return cls(weights, **options)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return ``{layer: (B, C, h, w)}`` for images ``(B, 3, H, W)`` in [0, 1], with gradients to the images.

        Raises ValueError for another shape, and for pictures too small to reach the deepest layer.
        """
        if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[2:]) < self.stride:
            least = f"H and W at least {self.stride}"
            raise ValueError(f"images are {tuple(images.shape)}; give (B, 3, H, W), {least} for {self.layers}")
        x, found = (images - self.mean) / self.std, {}
        for index, module in enumerate(self.features):
            x = module(x)
            name = self._taken.get(index)
            if name in self.layers:
                found[name] = x
        return {name: found[name] for name in self.layers}

    def _take(self, weights: Mapping[str, Tensor]) -> None:
        wanted = self.state_dict()
        missing = [key for key in wanted if key not in weights]
        if missing:
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            raise _WeightsError(f"it lacks {', '.join(missing[:3])}{more}")
        for key, value in wanted.items():
            if weights[key].shape != value.shape:
                raise _WeightsError(f"{key} is {tuple(weights[key].shape)}, not {tuple(value.shape)}")
            if weights[key].layout != torch.strided or not weights[key].dtype.is_floating_point:
                raise _WeightsError(f"{key} holds {weights[key].dtype}, {weights[key].layout}, no plain numbers")
        taken = {key: weights[key].float() for key in wanted}
        for key, value in taken.items():
            if not value.isfinite().all():
                raise _WeightsError(f"{key} holds numbers that are not finite")
        self.load_state_dict(taken, assign=True)


class _WeightsError(ValueError):
    """What is wrong with weights, worded to follow a file's name."""


def _layer_plan(layers: tuple[str, ...]) -> list[str]:
    """The modules up to the deepest of ``layers``: conv1_1, relu1_1, ..., pool."""
    plan = []
    for block, (convolutions, _) in enumerate(_BLOCKS, 1):
        for number in range(1, convolutions + 1):
            plan += [f"conv{block}_{number}", f"relu{block}_{number}"]
        plan.append("pool")
    known = [name for name in plan if name.startswith("relu")]
    unknown = [name for name in layers if name not in known]
    if unknown or not layers:
        raise ValueError(f"layers are {layers}; choose from {', '.join(known)}")
    return plan[: max(plan.index(name) for name in layers) + 1]


def find_weights(path: str | os.PathLike[str] | None = None) -> Path:
    """Return the file with VGG19's weights: that of `VGG19Features.load`.

    What comes from the hub is one revision of one file, and is checked by its SHA-256; the log says when it is
    downloaded.
    """
    chosen = path or os.environ.get(VARIABLE)
    if chosen:
        file = Path(chosen).expanduser()
        if not file.is_file():
            raise DataError(f"there is no file {file} with VGG19's weights; {_HOW}")
        return file
    try:
        from huggingface_hub import hf_hub_download, try_to_load_from_cache
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ModuleNotFoundError:
        raise DataError(f"VGG19's weights are not here; {_HOW}") from None
    if not isinstance(try_to_load_from_cache(HUB_REPOSITORY, HUB_FILE, revision=HUB_REVISION), str):
        LOGGER.info("VGG19's weights (575 MB) are downloaded once from the Hugging Face hub, %s", HUB_REPOSITORY)
    try:
        found = Path(hf_hub_download(HUB_REPOSITORY, HUB_FILE, revision=HUB_REVISION))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError):
        raise DataError(f"VGG19's weights are not here, and the Hugging Face hub does not answer; {_HOW}") from None
    with found.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != HUB_SHA256:
            raise DataError(f"{found} is not the file that was asked for: delete it to download it again, or {_HOW}")
    return found


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file; of a ``.safetensors`` only the convolutions."""
    with reading(path, "cannot be read as weights", f"; {_HOW}", kind=DataError):
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {key: file.get_tensor(key) for key in file.keys() if key.startswith("features.")}  # noqa: SIM118
        loaded = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(loaded, Mapping):
            raise DataError(f"{path} holds a {type(loaded).__name__}, not tensors by name; {_HOW}")
        return {str(key): value for key, value in loaded.items() if isinstance(value, Tensor)}
