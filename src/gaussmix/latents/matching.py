"""Matched latents: give every training image the Z that describes how its attributes look.

With Z paired to images at random (the paper's reading), the network learns to ignore it: Z decides less than one per
cent of the picture. Here ``Z_k`` of an image encodes what is left to say about attribute ``k`` once the attributes
themselves have spoken:

1. Two views of each picture, colour and shape (`gaussmix.latents._modes`). Residual ``R = Y - [1 A] B`` by least
   squares. ``B_k`` shows where attribute k acts; its norm over the colour channels, scaled to a maximum of one, is the
   attribute's map ``w_k``.
2. Attributes are taken in descending order of excess variance: ``sum w_k^2 var(R | A_k=1) / sum w_k^2 var(R | A_k=0)``.
3. On the images that have attribute k, and in each view: ``R w_k``, freed from what the other attributes still explain
   *among these images*; its first principal components, made equally wide whatever the other attributes; C clusters
   (`gaussmix.latents._modes`). The view whose clusters are clearer has the attribute's modes, their shares are ``pi_k``:
   kinds of hats differ in shape and come in all colours, open mouths differ in colour.
4. Details are the principal components of the colours within the modes. ``z_1`` puts the images, sorted by mode and by
   the first detail within it, onto the mixture with weights ``pi_k``; ``z_2, z_3, ...`` are the mixture's quantiles of
   the ranks, within a component, of the further details; the rest of Z is noise.
   Where this would tell of another attribute, images with and without it are ranked apart.
5. ``R`` is deflated by details and modes before the next attribute has its turn.
6. The base token holds the principal components of what nobody explained, as quantiles of ranks.

So each number is marginally distributed as Eq. 9 says (with weights ``pi_k``) and says nothing of the other attributes:
Z drawn independently does not contradict A. Without the care in steps 3 and 4 it does. On the avatars, ``Z`` of
Mouth_Open then tells Smiling (R^2 = .41); the network believes Z, and a request for a smile is lost.

What was found is kept as a `LatentEncoder`, which reads Z off new pictures in the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gaussmix.latents._matcher import Fit
from gaussmix.latents.attributes import AttributeLatents
from gaussmix.latents.encoder import LatentEncoder


@dataclass(frozen=True)
class MatchedLatents:
    """Latents for a training set.

    ``table``: ``(M, T, N)`` float32, ungated, one row an image. ``latents``: the distribution to sample from, with the
    shares that were found. ``clusters``: ``(M, K)`` int8, the component of each attribute in each image, -1 where
    absent. ``maps``: ``(K, H, W)`` float32, where each attribute acts, with maximum 1, at the images' size or 32
    pixels. ``encoder``: what made the table, for other pictures.
    """

    table: NDArray[np.float32]
    latents: AttributeLatents
    clusters: NDArray[np.int8]
    maps: NDArray[np.float32]
    encoder: LatentEncoder


def match_latents(
    images: NDArray[np.uint8],
    attributes: NDArray[np.uint8],
    latents: AttributeLatents,
    *,
    seed: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> MatchedLatents:
    """Find Z for every image.

    Args:
        images: ``(M, H, W, 3)`` uint8.
        attributes: ``(M, K)`` of 0/1.
        latents: the distribution to fit into; ``shares`` are replaced by those found.
        seed: for the noise in the numbers that stay free, k-means and the principal axes.
        on_progress: called with the number of attributes done.

    About 3 ms of CPU time an image at 32 px and 16 attributes; memory is two float32 copies of the images at 32 px.
    Raises ValueError for shapes that do not fit, and for what is not uint8 or not 0 and 1.
    """
    if len(images) != len(attributes) or len(images) == 0:
        raise ValueError(f"{len(images)} images and {len(attributes)} attribute rows; both must be the same, above 0")
    if attributes.shape[1] != latents.n_attributes:
        raise ValueError(f"attributes have {attributes.shape[1]} columns; the latents expect {latents.n_attributes}")
    fit = Fit(images, np.asarray(attributes), latents, seed)
    for done, k in enumerate(fit.turns()):
        fit.read_attribute(k)
        if on_progress is not None:
            on_progress(done + 1)
    if latents.base_token:
        fit.read_base()
    found = replace(latents, shares=tuple(tuple(row / row.sum()) for row in fit.shares))
    encoder = LatentEncoder(found, fit.side, fit.readers)
    encoded = encoder.read(images, attributes, seed)
    maps = fit.maps.reshape(-1, fit.side, fit.side)
    return MatchedLatents(encoded.table, found, encoded.components, maps, encoder)
