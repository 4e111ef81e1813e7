"""Pictures as few numbers: a PCA of the patches of a picture, in closed form, exact up to what it leaves out.

A picture ``x`` ``(3, S, S)`` in [-1, 1] is cut into ``G x G`` patches. Patch p has its own mean ``m_p``, its own first
principal axes ``V_p`` (3 (S/G)^2, n) and the variances ``v_p`` (n,) along them:

    z_p = s_p V_p^T (x_p - m_p),        s_p = v_p^((power - 1) / 2),        x_p ~ m_p + V_p (z_p / s_p)

so that the numbers have the variances ``v_p^power``: below 1, small axes weigh more than they do in the picture.

Before it is cut, a picture may pass a lapped transform (Malvar 1990; as pre- and post-filter, Tran, Liang and Tu 2003):
an orthogonal matrix ``L`` (S, S) on its columns and rows, which mixes the ``overlap`` pixels on both sides of each
border. What a patch draws then fades out into its neighbours, and what the axes leave out leaves no seams. With the
symmetric and the antisymmetric part of the pixels l and r on either side of a border, counted away from it,

    l' = ((l + r) + W (l - r)) / 2,     r' = ((l + r) - W (l - r)) / 2,     W = J C2^T C4 J

where C2 and C4 are orthonormal cosine transforms of types II and IV, and J reverses. ``L`` costs nothing: decoding
multiplies by its transpose.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import dct
from torch import Tensor, nn

_LEAST = 1e-6  # variance of a number, as a share of the largest of a picture, below which it is noise of rounding


def to_pixels(images: NDArray[np.uint8] | Tensor) -> Tensor:
    """``(B, S, S, 3)`` uint8 as ``(B, 3, S, S)`` float32 in [-1, 1]."""
    return torch.as_tensor(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def lapped_matrix(size: int, patch: int, overlap: int) -> NDArray[np.float64]:
    """The orthogonal matrix ``(size, size)`` that mixes ``overlap`` pixels on both sides of each border of patches.

    Raises ValueError for an overlap of more than half a patch.
    """
    if not 0 <= 2 * overlap <= patch:
        raise ValueError(f"overlap is {overlap}; it must be from 0 to {patch // 2}, half a patch")
    matrix = np.eye(size)
    if not overlap:
        return matrix
    two, four = (np.asarray(dct(np.eye(overlap), type=kind, norm="ortho", axis=0)) for kind in (2, 4))
    rotation = (two.T @ four)[::-1, ::-1]
    same, other = (np.eye(overlap) + rotation) / 2, (np.eye(overlap) - rotation) / 2
    for border in range(patch, size, patch):
        left, right = border - 1 - np.arange(overlap), border + np.arange(overlap)
        before = matrix[left], matrix[right]
        matrix[left] = same @ before[0] + other @ before[1]
        matrix[right] = other @ before[0] + same @ before[1]
    return matrix


class PatchCodec(nn.Module):
    """What makes numbers of pictures and pictures of numbers; its tables are buffers, found by `fit`.

    Parameters
    ----------
    size, channels : int
        S, height and width of the pictures in pixels, and their channels.
    grid : int
        G, patches a side; it divides S.
    numbers : int
        n, numbers a patch; at most as many as a patch has values.
    overlap : int
        Pixels of a patch, from 0 to half of it, that its neighbours reach into.
    power : float
        Of the numbers' variances.

    Raises
    ------
    ValueError
        For sizes that do not go together.
    """

    mean: Tensor  # (G^2, q), q = channels (S/G)^2
    axes: Tensor  # (G^2, q, n)
    scale: Tensor  # (G^2, n)
    lapped: Tensor  # (S, S)

    def __init__(self, size: int, grid: int, numbers: int, *, overlap: int = 0, power: float = 0.5, channels: int = 3):
        super().__init__()
        if size % grid:
            raise ValueError(f"{grid} patches do not divide {size} pixels")
        self.size, self.grid, self.numbers, self.channels, self.power = size, grid, numbers, channels, power
        self.patch = size // grid
        values = channels * self.patch**2
        if numbers > values:
            raise ValueError(f"{numbers} numbers for a patch of {self.patch} x {self.patch} pixels, {values} values")
        self.register_buffer("mean", torch.zeros(grid**2, values))
        self.register_buffer("axes", torch.zeros(grid**2, values, numbers))
        self.register_buffer("scale", torch.ones(grid**2, numbers))
        matrix = lapped_matrix(size, self.patch, overlap)
        self.register_buffer("lapped", torch.tensor(matrix, dtype=torch.float32))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the numbers of a picture, ``(n, G, G)``."""
        return self.numbers, self.grid, self.grid

    @torch.no_grad()
    def fit(self, images: NDArray[np.uint8]) -> None:
        """Find means and axes of the patches of pictures ``(N, S, S, 3)``."""
        patches = self._cut(to_pixels(np.ascontiguousarray(images)))
        self.mean.copy_(patches.mean(0))
        found = torch.zeros(self.grid**2, self.numbers, dtype=torch.float64)
        for p in range(self.grid**2):
            rest = (patches[:, p] - self.mean[p]).double()
            variances, axes = torch.linalg.eigh(rest.T @ rest / len(rest))
            axes = axes.flip(1)[:, : self.numbers]
            # eigenvectors come with any sign; the larger end up, so that machines agree
            self.axes[p] = axes * torch.sign(axes.gather(0, axes.abs().argmax(0, keepdim=True)))
            found[p] = variances.flip(0)[: self.numbers]
        found = found.clamp(min=_LEAST * max(float(found.max()), 1e-12))
        self.scale.copy_(found ** ((self.power - 1) / 2))

    def encode(self, pixels: Tensor) -> Tensor:
        """Return the numbers ``(B, n, G, G)`` of pictures ``(B, C, S, S)`` in [-1, 1]."""
        return self.encode_patches(self._cut(pixels))

    def encode_patches(self, patches: Tensor) -> Tensor:
        """Return the numbers ``(B, n, G, G)`` of patches ``(B, G^2, q)``."""
        numbers = torch.einsum("bpq,pqn->bpn", patches - self.mean, self.axes) * self.scale
        return numbers.transpose(1, 2).unflatten(2, (self.grid, self.grid))

    def decode(self, numbers: Tensor) -> Tensor:
        """Return pictures ``(B, C, S, S)`` of numbers ``(B, n, G, G)``, not clipped."""
        by_patch = numbers.flatten(2).transpose(1, 2) / self.scale
        patches = torch.einsum("bpn,pqn->bpq", by_patch, self.axes) + self.mean
        grid, patch = self.grid, self.patch
        pixels = patches.reshape(-1, grid, grid, self.channels, patch, patch).permute(0, 3, 1, 4, 2, 5)
        return self.lapped.T @ pixels.reshape(-1, self.channels, self.size, self.size) @ self.lapped

    def weights(self, pixels: Tensor) -> Tensor:
        """Return the mean weight ``(n, G, G)`` of what each number draws, for weights ``(1, 1, S, S)`` of pixels."""
        nothing, drawn = self.decode(torch.zeros(1, *self.shape)), []
        for p in range(self.grid**2):
            numbers = torch.zeros(self.numbers, self.numbers, self.grid**2)
            numbers[:, :, p] = torch.eye(self.numbers)
            energy = (self.decode(numbers.unflatten(2, (self.grid, self.grid))) - nothing) ** 2
            drawn.append((energy * pixels).sum((1, 2, 3)) / energy.sum((1, 2, 3)))
        return torch.stack(drawn, 1).unflatten(1, (self.grid, self.grid))

    def _cut(self, pixels: Tensor) -> Tensor:
        """Patches ``(B, G^2, q)`` of pictures ``(B, C, S, S)``."""
        pixels = self.lapped @ pixels @ self.lapped.T
        grid, patch = self.grid, self.patch
        cut = pixels.reshape(-1, self.channels, grid, patch, grid, patch).permute(0, 2, 4, 1, 3, 5)
        return cut.reshape(len(pixels), grid**2, -1)
