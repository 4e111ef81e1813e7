"""LatentEncoder: read Z off a picture, the same way for the pictures it was fitted to and for new ones.

With ``y`` the two views of a picture (`gaussmix.latents._modes`) and ``d = [1, A]``, attribute ``k`` sees the scores

    s_k = y V_k - d D_k - sum_j A_j f_j X_jk,     j: the attributes that had their turn before k

where ``V_k`` are axes inside the attribute's map, ``D_k`` is what the attributes explain and ``X_jk`` what the features
``f_j`` (scores of details, one-hot mode) of the earlier ones do. The first scores decide the mode ``m_k``, the others,
freed from the mode's mean, are the details. Both are made equally wide and centred whatever the other attributes are.
Within the mode, and within the *stratum* (images with and without the at most two attributes that the scores would
tell), a score is turned into its rank ``F(s)`` by a table, and the rank into a number of the mixture:

    z_1 = Q_pi(pi'_0 + ... + pi'_{m-1} + pi'_m F(s_1)),   z_n = Q(F(s_n))

with ``Q_pi`` the quantiles of the mixture with weights ``pi``, ``pi'`` the shares of the modes in the stratum.
The component of an image is the one in whose band ``z_1`` lies (`AttributeLatents.band`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gaussmix.latents._modes import MAX_SIZE, colour_view, shape_view
from gaussmix.latents._reader import TokenReader
from gaussmix.latents.attributes import AttributeLatents

_BATCH = 1024


@dataclass(frozen=True)
class Encoded:
    """``table``: Z ``(M, T, N)`` float32. ``components``: ``(M, K)`` int8, -1 where absent or not matched."""

    table: NDArray[np.float32]
    components: NDArray[np.int8]


class LatentEncoder:
    """Z of pictures; `gaussmix.latents.matching.match_latents` makes one.

    Args:
        latents: the distribution, with its shares.
        side: height and width of the colour view in pixels.
        readers: for the tokens that are matched, in the order of their turns; the others get noise.
    """

    def __init__(self, latents: AttributeLatents, side: int, readers: Mapping[int, TokenReader]):
        self.latents, self.side, self.readers = latents, side, dict(readers)

    def encode(self, images: NDArray[np.uint8], attributes: NDArray, seed: int = 0) -> NDArray[np.float32]:
        """Z ``(M, T, N)`` float32, ungated, of pictures ``(M, H, W, 3)`` uint8 with attributes ``(M, K)`` of 0/1.

        ``seed`` is for the numbers that no picture decides: those of absent and of unmatched attributes, and those
        after the details. Raises ValueError for shapes that do not fit, and for what is not uint8 or not 0 and 1.
        """
        return self.read(images, attributes, seed).table

    def to_tensors(self) -> dict[str, NDArray[Any]]:
        """Everything as arrays, under names without dots, for safetensors; under 1 MB for 16 attributes at 32 px."""
        latents = self.latents
        tensors: dict[str, NDArray[Any]] = {
            "order": np.array(list(self.readers), np.int32),
            "sizes": np.array([self.side, latents.n_attributes, latents.latent_dim, latents.n_components], np.int32),
            "separation": np.array([latents.separation]),
            "shares": np.stack([latents.weights(token) for token in range(latents.n_tokens)]),
        }
        for token, reader in self.readers.items():
            tensors |= {f"token{token}_{name}": array for name, array in reader.to_tensors().items()}
        return tensors

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> LatentEncoder:
        """The inverse of `to_tensors`, up to rounding of the tables of ranks. ValueError if something is missing."""
        try:
            side, n_attributes, latent_dim, n_components = (int(size) for size in tensors["sizes"])
            shares = np.asarray(tensors["shares"], float)
            readers = {}
            for token in tensors["order"]:
                prefix = f"token{token}_"
                own = {
                    name.removeprefix(prefix): np.asarray(a) for name, a in tensors.items() if name.startswith(prefix)
                }
                readers[int(token)] = TokenReader.from_tensors(own)
        except KeyError as error:
            raise ValueError(f"not the tensors of a latent encoder: {error} is missing; write them anew") from error
        latents = AttributeLatents(
            n_attributes,
            latent_dim,
            n_components,
            float(tensors["separation"][0]),
            base_token=len(shares) > n_attributes,
            shares=tuple(tuple(row / row.sum()) for row in shares),
        )
        return cls(latents, side, readers)

    def read(self, images: NDArray[np.uint8], attributes: NDArray, seed: int = 0) -> Encoded:
        """As `encode`, with the component of each attribute."""
        latents, attributes = self.latents, np.asarray(attributes)
        expected = (len(images), latents.n_attributes)
        if attributes.shape != expected:
            raise ValueError(f"attributes have shape {attributes.shape}; expected {expected} for these images")
        if len(images) and side_of(images) != self.side:
            raise ValueError(
                f"images have shape {images.shape}; the encoder knows squares that shrink to {self.side} px"
            )
        table = latents.draw(len(images), torch.Generator().manual_seed(seed)).numpy()
        components = np.full(attributes.shape, -1, np.int8)
        for start in range(0, len(images), _BATCH):
            rows = slice(start, start + _BATCH)
            self._read_batch(views_of(images[rows]), attributes[rows], table[rows], components[rows])
        return Encoded(table, components)

    def _read_batch(self, views: NDArray, attributes: NDArray, table: NDArray, components: NDArray) -> None:
        """Fill in ``table`` ``(B, T, N)`` and ``components`` ``(B, K)``."""
        design = design_of(attributes)
        features: dict[int, NDArray] = {}
        for token, reader in self.readers.items():
            has = np.arange(len(views)) if reader.modes is None else np.flatnonzero(attributes[:, token])
            raw = views[has] @ reader.axes - design[has] @ reader.design
            for earlier, known in features.items():
                raw -= known[has] @ reader.carried[earlier]
            mode, details = reader.read(raw, design[has])
            weights = self.latents.weights(token)
            component, z = reader.numbers(mode, details, attributes[has], self.latents, weights)
            table[has, token, : z.shape[1]] = z
            if reader.modes is not None:
                components[has, token] = component
                features[token] = np.zeros((len(views), z.shape[1] + len(weights)), np.float32)
                features[token][has] = features_of(details, mode, len(weights))


def side_of(images: NDArray[np.uint8]) -> int:
    """Height and width of the colour view of images ``(M, H, H, 3)``. ValueError unless they are such uint8."""
    if images.dtype != np.uint8:
        raise ValueError(f"images hold {images.dtype}; give uint8 from 0 to 255")
    if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
        raise ValueError(f"images have shape {images.shape}; expected squares (count, size, size, 3)")
    return images.shape[1] // -(-images.shape[1] // MAX_SIZE)


def views_of(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Both views of images ``(M, H, H, 3)`` side by side, ``(M, Q)``."""
    colours = colour_view(images)
    return np.concatenate([colours, shape_view(colours, side_of(images))], 1)


def design_of(attributes: NDArray) -> NDArray[np.float32]:
    """``d = [1, A]``, ``(M, 1 + K)``. ValueError unless the attributes are 0 and 1."""
    if not np.isin(attributes, (0, 1)).all():
        raise ValueError("attributes must be 0 or 1")
    return np.column_stack([np.ones(len(attributes)), attributes]).astype(np.float32)


def features_of(details: NDArray, mode: NDArray, n_modes: int) -> NDArray[np.float32]:
    """``f``: details and one-hot mode, ``(M, D + C)``."""
    return np.column_stack([details, np.eye(n_modes)[mode]]).astype(np.float32)
