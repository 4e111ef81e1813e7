"""Losses for A binary attributes that know a kernel over the attributes (D section 4.3.2), and ones that work.

    p = sigmoid(z),   y in [0, 1],   K (A, A) a kernel,   by default K_jk = phi(j - k; 0, sigma)
    BCE = -sum_j y_j log p_j + (1 - y_j) log(1 - p_j)     `torch.nn.BCEWithLogitsLoss`               D Eq. 17
    H = -sum_j NGMG(L)_j log p_j                          `NGMGEntropyLoss`                          D Eq. 18

z: logits (..., A) of a picture; y: targets (..., A); phi: a normal density of standard deviation sigma over the index
j = 0..A-1 of the attributes. That index is the order of a list: a kernel over it calls attributes alike that stand
side by side by accident. One that means something, such as the correlation matrix of the attributes, can be given.

Everything is said for one picture and then added up: "sum", or divided by the number of pictures: "mean", or left as
it is: "none", shape (...). (PyTorch's own "mean" of a binary cross-entropy divides by the attributes as well: beside
ours it is A times smaller, and so is its gradient.)
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Reduction = Literal["mean", "sum", "none"]
Orientation = Literal["target_minus_prediction", "prediction_minus_target"]
Sign = Literal["eq13", "eq14"]


class _KernelLoss(nn.Module):
    """What the losses share: the kernel (A, A) as a buffer, the checks, the reduction."""

    kernel: Tensor
    must_be_definite: ClassVar[bool] = True

    def __init__(self, kernel: int | Tensor, *, sigma: float | None = None, reduction: Reduction = "mean"):
        super().__init__()
        _check_choice("reduction", reduction, Reduction)
        self.reduction = reduction
        matrix = index_kernel(kernel, sigma) if isinstance(kernel, int) else _given(kernel, sigma)
        values = torch.linalg.eigvalsh(matrix.double())
        low, high = float(values[0]), float(values[-1])
        if self.must_be_definite and low <= len(matrix) * torch.finfo(matrix.dtype).eps * high:
            raise ValueError(
                f"kernel has eigenvalues from {low:.3g} to {high:.3g} and is not positive definite to rounding; use a "
                "smaller sigma, or add a multiple of the identity"
            )
        self.register_buffer("kernel", matrix)

    def extra_repr(self) -> str:
        return f"attributes={len(self.kernel)}, reduction={self.reduction!r}"

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        logits, targets : Tensor (..., A)
            Of one shape, targets in [0, 1]; ValueError for others.
        """
        n = len(self.kernel)
        if logits.shape != targets.shape or logits.ndim == 0 or logits.shape[-1] != n:
            raise ValueError(
                f"logits have shape {tuple(logits.shape)} and targets {tuple(targets.shape)}; both must be (..., {n})"
            )
        if targets.numel() and not bool(((targets >= 0) & (targets <= 1)).all()):
            raise ValueError(
                f"targets reach from {float(targets.min()):.6g} to {float(targets.max()):.6g}; they must lie in [0, 1]"
            )
        losses = self._of_pictures(logits, targets.to(logits.dtype), self.kernel.to(logits.dtype))
        return losses if self.reduction == "none" else losses.sum() if self.reduction == "sum" else losses.mean()

    def _of_pictures(self, logits: Tensor, y: Tensor, kernel: Tensor) -> Tensor:
        """(...) before the reduction, everything in one dtype."""
        raise NotImplementedError


class NGMGEntropyLoss(_KernelLoss):
    """The "negative Gaussian mixture gradient entropy" of D Eq. 18: faithful, and not a loss to train with.

        H = -sum_j NGMG(L)_j log p_j,   NGMG(L) = K L (Eq. 13) or -K L (Eq. 14),   L = min(0, first - second)

    Differs from the paper: its claim to beat the binary cross-entropy (D Fig. 12) does not hold at matched tuning; see
    docs/reproduction/diffusion-fig12.md. Use `torch.nn.BCEWithLogitsLoss`.

    Parameters
    ----------
    kernel : int or Tensor (A, A)
        The number A of attributes, for phi(j - k; 0, sigma), or K.
    sigma : float, optional
        In attributes; 1 if not given.
    orientation, sign : str
        L of Eq. 18 is L(p_i, p_theta), and the text says neither which of the two is the target nor which sign NGMG has
        ("eq13" and "eq14" differ). "target_minus_prediction": L = y - p, in the order of Eq. 18 if p_i is the target;
        "prediction_minus_target": L = p - y, as in Eq. 11 with the prediction as the start.
    detach : bool
        Whether NGMG is a constant factor, "a function [that] provides a gradient", or differentiated too.
    diagonal : bool
        If False (As the paper, Eq. 14), the diagonal of K, also of a given one, is set to 0, so that an attribute's own
        error does not reach it.
    two_sided : bool
        If False (As the paper, Eq. 11), only what is negative of L counts.
    reduction : "mean", "sum" or "none"
        "mean" as the paper: 1/N over pictures, the dot product over attributes.

    Notes
    -----
    No one-sided reading has p = E[y | x] as a fixed point; docs/equations.md says where each leads. Two-sided, detached
    and with the diagonal, ("eq13", "target_minus_prediction") and ("eq14", "prediction_minus_target") learn: they have
    the gradient K (p - f) (1 - p), f the frequencies of the targets (see `KernelGradientLoss`).
    """

    must_be_definite = False

    def __init__(
        self,
        kernel: int | Tensor,
        *,
        sigma: float | None = None,
        orientation: Orientation = "target_minus_prediction",
        sign: Sign = "eq13",
        detach: bool = True,
        diagonal: bool = False,
        two_sided: bool = False,
        reduction: Reduction = "mean",
    ):
        super().__init__(kernel, sigma=sigma, reduction=reduction)
        _check_choice("orientation", orientation, Orientation)
        _check_choice("sign", sign, Sign)
        self.orientation, self.sign = orientation, sign
        self.detach, self.diagonal, self.two_sided = detach, diagonal, two_sided
        if not diagonal:
            self.kernel.fill_diagonal_(0)

    def _of_pictures(self, logits: Tensor, y: Tensor, kernel: Tensor) -> Tensor:
        difference = y - logits.sigmoid()
        if self.orientation == "prediction_minus_target":
            difference = -difference
        if not self.two_sided:
            difference = difference.clamp(max=0)
        gradient = difference @ kernel
        if self.sign == "eq14":
            gradient = -gradient
        if self.detach:
            gradient = gradient.detach()
        return -(gradient * F.logsigmoid(logits)).sum(-1)


class KernelGradientLoss(_KernelLoss):
    """The cross-entropy with the gradient K (p - y) on the logits: the idea of D section 4, made to work.

    Both signs of L and the diagonal are kept. The value is the binary cross-entropy, summed over attributes; only its
    gradient is replaced. For K = 1 it is the cross-entropy. Otherwise K (p - y) is the gradient of nothing: its
    Jacobian K diag(p (1 - p)) is not symmetric.

    The only fixed point is p = E[y | x]: E[K (p - y) | x] = K (p - E[y | x]), and K has no null space. Logits that are
    free move along dz/dt = -K (p - E y), and the expected cross-entropy then falls: its derivative is
    -(p - E y)^T K (p - E y) < 0. So its value is the one to look at. In a network, whose logits are not free,
    p = E[y | x] stays a fixed point, but nothing guarantees that the cross-entropy falls on the way.

    Parameters
    ----------
    kernel : int or Tensor (A, A)
        The number A of attributes, for phi(j - k; 0, sigma), or a symmetric positive definite K. ValueError for one
        that is not, to rounding.
    sigma : float, optional
        In attributes; 1 if not given.
    reduction : "mean", "sum" or "none"
        Over pictures.
    """

    def _of_pictures(self, logits: Tensor, y: Tensor, kernel: Tensor) -> Tensor:
        return _WithKernelGradient.apply(logits, y, kernel)  # pyright: ignore[reportReturnType]


class KernelBrierLoss(_KernelLoss):
    """Half the squared error with a kernel between attributes: (p - y)^T K (p - y) / 2 of each picture.

    With the kernel over the index this is half the squared maximum mean discrepancy between sum_j p_j delta_j and
    sum_j y_j delta_j, two measures on 0..A-1. Proper: given x, its expectation is (p - m)^T K (p - m) / 2
    + trace(K Cov(y)) / 2 with m = E[y | x], and K is positive definite, so p = m is the only minimiser. K = 1: half the
    squared error (Brier's score).

    Parameters
    ----------
    kernel, sigma, reduction : int or Tensor (A, A), float and str
        As in `KernelGradientLoss`.
    """

    def _of_pictures(self, logits: Tensor, y: Tensor, kernel: Tensor) -> Tensor:
        error = logits.sigmoid() - y
        return 0.5 * ((error @ kernel) * error).sum(-1)


class _WithKernelGradient(torch.autograd.Function):
    """The cross-entropy (...) of logits (..., A), with the gradient K (p - y)."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, kernel: Tensor) -> Tensor:
        ctx.save_for_backward(logits, targets, kernel)
        return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(-1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        logits, targets, kernel = ctx.saved_tensors
        return grads[0][..., None] * ((logits.sigmoid() - targets) @ kernel), None, None


def index_kernel(n: int, sigma: float | None = None) -> Tensor:
    """(n, n) phi(j - k; 0, sigma) in PyTorch's default dtype; sigma in attributes, 1 if not given."""
    if n < 1:
        raise ValueError(f"the number of attributes is {n}; it must be at least 1")
    width = 1.0 if sigma is None else sigma
    if not (isinstance(width, Real) and math.isfinite(width) and width > 0):
        error = ValueError if isinstance(width, Real) else TypeError
        raise error(f"sigma is {sigma!r}; give a positive standard deviation, in attributes")
    index = torch.arange(n, dtype=torch.float64)
    kernel = (-0.5 * ((index[:, None] - index) / width) ** 2).exp() / (width * math.sqrt(2 * math.pi))
    return kernel.to(torch.get_default_dtype())


def _given(kernel: Tensor, sigma: float | None) -> Tensor:
    if sigma is not None:
        raise TypeError(f"sigma is {sigma}, but the kernel is given; give the number of attributes, or no sigma")
    if not isinstance(kernel, Tensor) or not kernel.is_floating_point():
        raise TypeError(f"kernel is {kernel!r}; give the number of attributes or a tensor (A, A) of float numbers")
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or not len(kernel):
        raise ValueError(f"kernel has shape {tuple(kernel.shape)}; it must be (A, A)")
    if not kernel.isfinite().all():
        raise ValueError("kernel contains NaN or infinity; give finite numbers")
    if not torch.allclose(kernel, kernel.T):
        off = float((kernel - kernel.T).abs().max())
        raise ValueError(f"kernel differs from its transpose by up to {off:.6g}; it must be symmetric")
    return kernel.detach().clone()


def _check_choice(name: str, value: str, choices: Any) -> None:
    if value not in get_args(choices):
        raise ValueError(f"{name} is {value!r}; choose one of {', '.join(map(repr, get_args(choices)))}")
