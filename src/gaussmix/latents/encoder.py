"""LatentEncoder: read Z off a picture, the same way for the pictures it was fitted to and for new ones.

With ``y`` the descriptors of a picture (`gaussmix.latents._modes`) and ``d = [1, A]``, attribute ``k`` has the scores

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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gaussmix._typing import FloatArray, IntArray
from gaussmix.latents._modes import Modes, descriptors_of, side_of
from gaussmix.latents.attributes import AttributeLatents

_BATCH = 1024


class LatentEncoder:
    """Z of pictures; `gaussmix.latents.matching.match_latents` makes one.

    ``latents``: the distribution, with its shares. ``side``: height and width of the colour descriptor in pixels.
    ``tokens``: those that are matched, in the order of their turns; the others get noise.
    """

    def __init__(self, latents: AttributeLatents, side: int, tokens: Mapping[int, TokenEncoder]):
        self.latents, self.side, self.tokens = latents, side, dict(tokens)

    def encode(self, images: NDArray[np.uint8], attributes: NDArray, seed: int = 0) -> NDArray[np.float32]:
        """Return ungated Z ``(M, T, N)`` float32 of pictures ``(M, H, H, 3)`` uint8 with attributes ``(M, K)`` of 0/1.

        ``seed`` is for the numbers that no picture decides: those of absent and of unmatched attributes, and those
        after the details. Raises ValueError for shapes that do not fit, and for what is not uint8 or not 0 and 1.
        """
        return self.read(images, attributes, seed)[0]

    def to_tensors(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays, under names without dots; under 1 MB for 16 attributes at 32 px."""
        latents = self.latents
        tensors: dict[str, NDArray[Any]] = {
            "order": np.array(list(self.tokens), np.int32),
            "sizes": np.array([self.side, latents.n_attributes, latents.latent_dim, latents.n_components], np.int32),
            "separation": np.array([latents.separation]),
            "shares": np.stack([latents.weights(token) for token in range(latents.n_tokens)]),
        }
        for token, encoder in self.tokens.items():
            tensors |= {f"token{token}_{name}": array for name, array in encoder.to_tensors().items()}
        return tensors

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> LatentEncoder:
        """Return the encoder of `to_tensors`, up to rounding of the rank tables; ValueError if an array is missing."""
        try:
            side, n_attributes, latent_dim, n_components = (int(size) for size in tensors["sizes"])
            shares, separation = np.asarray(tensors["shares"], float), float(tensors["separation"][0])
            tokens = {}
            for token in tensors["order"]:
                start = f"token{token}_"
                own = {name.removeprefix(start): a for name, a in tensors.items() if name.startswith(start)}
                tokens[int(token)] = TokenEncoder.from_tensors(own)
        except KeyError as error:
            raise ValueError(f"not the tensors of a latent encoder: {error} is missing; write them anew") from error
        base_token, rows = len(shares) > n_attributes, tuple(tuple(row / row.sum()) for row in shares)
        latents = AttributeLatents(n_attributes, latent_dim, n_components, separation, base_token, rows)
        return cls(latents, side, tokens)

    def read(
        self, images: NDArray[np.uint8], attributes: NDArray, seed: int = 0
    ) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
        """As `encode`, with the component ``(M, K)`` of each attribute, -1 where it is absent or not matched."""
        latents, attributes = self.latents, np.asarray(attributes)
        expected = (len(images), latents.n_attributes)
        if attributes.shape != expected:
            raise ValueError(f"attributes have shape {attributes.shape}; expected {expected} for these images")
        if len(images) and side_of(images) != self.side:
            raise ValueError(f"images have shape {images.shape}; expected squares that shrink to {self.side} px")
        table = latents.draw(len(images), torch.Generator().manual_seed(seed)).numpy()
        components = np.full(attributes.shape, -1, np.int8)
        for start in range(0, len(images), _BATCH):
            rows = slice(start, start + _BATCH)
            self._read_batch(descriptors_of(images[rows]), attributes[rows], table[rows], components[rows])
        return table, components

    def _read_batch(self, described: NDArray, attributes: NDArray, table: NDArray, components: NDArray) -> None:
        """Fill in ``table`` ``(B, T, N)`` and ``components`` ``(B, K)`` from descriptors ``(B, Q)``."""
        design = design_of(attributes)
        features: dict[int, NDArray] = {}
        for token, encoder in self.tokens.items():
            has = np.arange(len(described)) if encoder.modes is None else np.flatnonzero(attributes[:, token])
            raw = described[has] @ encoder.axes - design[has] @ encoder.design
            for earlier, known in features.items():
                raw -= known[has] @ encoder.carried[earlier]
            mode, details = encoder.mode_and_details(raw, design[has])
            component, z = encoder.numbers(mode, details, attributes[has], self.latents, token)
            table[has, token, : z.shape[1]] = z
            if encoder.modes is not None:
                components[has, token] = component
                own = features_of(details, mode, self.latents.n_components)
                features[token] = np.zeros((len(described), own.shape[1]), np.float32)
                features[token][has] = own


@dataclass(frozen=True)
class Standardiser:
    """Makes scores centred and equally wide whatever the attributes.

    ``logs`` and ``centre`` ``(1 + K, S)``: of the variance and the mean, linear in d. ``scale`` ``(S,)``.
    """

    logs: NDArray[np.float32]
    centre: NDArray[np.float32]
    scale: NDArray[np.float32]

    def __call__(self, scores: NDArray[np.floating], design: NDArray[np.float32]) -> NDArray[np.floating]:
        wide = np.exp(-0.5 * (design @ self.logs), dtype=np.float32)
        return (scores * wide - design @ self.centre) * self.scale


@dataclass(frozen=True)
class RankTables:
    """Tables from scores to ranks, for each stratum g and mode c.

    ``attributes``: the attributes that make the strata. ``codes`` ``(G,)``: which of them are on in each stratum, as a
    binary number. ``shares`` ``(G, C)``: of the modes. ``knots`` ``(G, C, D, n)``: scores at even ranks, ``edge``
    ``(G, C)``: the least rank.
    """

    attributes: IntArray
    codes: IntArray
    shares: NDArray[np.float32]
    knots: NDArray[np.float32]
    edge: NDArray[np.float32]

    @staticmethod
    def code(attributes: NDArray, chosen: Sequence[int] | IntArray) -> IntArray:
        """Which of the ``chosen`` attributes each row ``(M, K)`` has, as a binary number ``(M,)``."""
        return attributes[:, chosen] @ 2 ** np.arange(len(chosen))[::-1]

    def strata(self, attributes: NDArray) -> NDArray[np.intp]:
        """The stratum of each row ``(M, K)``; a combination that was never seen counts as the first."""
        return np.argmax(self.code(attributes, self.attributes)[:, None] == self.codes, 1)

    def rank(self, stratum: NDArray, mode: NDArray, scores: NDArray, number: int) -> FloatArray:
        """F of one number's scores ``(M,)`` within their stratum and mode, in (0, 1)."""
        result = np.empty(len(scores))
        for g, c in np.ndindex(self.shares.shape):
            inside = (stratum == g) & (mode == c)
            knots, edge = self.knots[g, c, number], self.edge[g, c]
            ranks = np.interp(scores[inside], knots, np.linspace(0, 1, len(knots)))
            result[inside] = np.clip(ranks, edge, 1 - edge)
        return result

    def position(self, stratum: NDArray, mode: NDArray, scores: NDArray) -> FloatArray:
        """Where rows lie, in (0, 1), when a stratum is sorted by mode and by the first score within it."""
        before = np.cumsum(self.shares, 1) - self.shares
        return before[stratum, mode] + self.shares[stratum, mode] * self.rank(stratum, mode, scores, 0)


@dataclass(frozen=True)
class TokenEncoder:
    """How one token's numbers are read off a picture; for S scores, the first ``S - D`` of the mode, D of details.

    ``axes`` ``(Q, S)``: V_k, the map multiplied in. ``design`` ``(1 + K, S)``: D_k. ``carried`` ``(K, F, S)``: X_jk.
    ``by_mode`` ``(C, D)``: each mode's means of the details. ``modes`` is None for the base token: details only.
    """

    axes: NDArray[np.float32]
    design: NDArray[np.float32]
    carried: NDArray[np.float32]
    by_mode: NDArray[np.float32]
    spread: Standardiser
    ranks: RankTables
    modes: Modes | None

    def mode_and_details(
        self, raw: NDArray[np.floating], design: NDArray[np.float32]
    ) -> tuple[NDArray[np.intp], NDArray]:
        """Modes ``(M,)`` and scores of the details ``(M, D)`` from raw scores ``(M, S)``."""
        split = raw.shape[1] - self.by_mode.shape[1]
        mode = np.zeros(len(raw), np.intp)
        if self.modes is not None:
            mode = self.modes.labels(self.spread(raw, design)[:, :split])
        raw = np.column_stack([raw[:, :split], raw[:, split:] - self.by_mode[mode]])
        return mode, self.spread(raw, design)[:, split:]

    def numbers(
        self, mode: NDArray, details: NDArray, attributes: NDArray, latents: AttributeLatents, token: int
    ) -> tuple[NDArray[np.intp], FloatArray]:
        """Components ``(M,)`` and ``z_1 ... z_D`` ``(M, D)``."""
        stratum, component = self.ranks.strata(attributes), mode
        z = np.empty(details.shape)
        if self.modes is not None:
            weights = latents.weights(token)
            position = self.ranks.position(stratum, mode, details[:, 0])
            component = np.searchsorted(np.cumsum(weights)[:-1], position)
            z[:, 0] = latents.quantile(position, weights)
        for n in range(0 if self.modes is None else 1, details.shape[1]):
            z[:, n] = latents.quantile(self.ranks.rank(stratum, component, details[:, n], n))
        return component, z

    def to_tensors(self) -> dict[str, NDArray[Any]]:
        """Arrays for a file. Of the axes only the rows inside the map; they, X and the knots in half precision."""
        rows = np.flatnonzero(self.axes.any(1))
        tensors: dict[str, NDArray[Any]] = {
            "length": np.array([len(self.axes)], np.int32),
            "rows": rows.astype(np.int32),
            "axes": self.axes[rows].astype(np.float16),
            "carried": self.carried.astype(np.float16),
            **{name: getattr(self, name) for name in ("design", "by_mode")},
        }
        for name, part in (("spread", self.spread), ("ranks", self.ranks), ("modes", self.modes)):
            if part is not None:
                tensors |= {f"{name}_{f.name}": getattr(part, f.name) for f in fields(part)}
        tensors["ranks_knots"] = tensors["ranks_knots"].astype(np.float16)
        return tensors

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> TokenEncoder:
        """The inverse of `to_tensors`."""
        axes = np.zeros((int(tensors["length"][0]), tensors["axes"].shape[1]), np.float32)
        axes[tensors["rows"]] = tensors["axes"]

        def part(kind: Any, name: str) -> Any:
            return kind(**{f.name: tensors[f"{name}_{f.name}"] for f in fields(kind)})

        return cls(
            axes=axes,
            **{name: np.asarray(tensors[name], np.float32) for name in ("design", "carried", "by_mode")},
            spread=part(Standardiser, "spread"),
            ranks=part(RankTables, "ranks"),
            modes=part(Modes, "modes") if "modes_means" in tensors else None,
        )


def design_of(attributes: NDArray) -> NDArray[np.float32]:
    """``d = [1, A]``, ``(M, 1 + K)``. ValueError unless the attributes are 0 and 1."""
    if not np.isin(attributes, (0, 1)).all():
        raise ValueError("attributes must be 0 or 1")
    return np.column_stack([np.ones(len(attributes)), attributes]).astype(np.float32)


def features_of(details: NDArray, mode: NDArray, n_modes: int) -> NDArray[np.float32]:
    """``f``: details and one-hot mode, ``(M, D + C)``."""
    return np.column_stack([details, np.eye(n_modes)[mode]]).astype(np.float32)
