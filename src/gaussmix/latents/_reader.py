"""Reading one token's numbers off the scores of a picture: modes, spread, ranks. `gaussmix.latents.encoder` says how.

Everything is arrays, so that a reader can be stored: `TokenReader.to_tensors` and back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaussmix.latents._modes import Modes
from gaussmix.latents.attributes import AttributeLatents


@dataclass(frozen=True)
class Spread:
    """Makes scores centred and equally wide whatever the attributes: each field ``(1 + K, S)``, ``scale`` ``(S,)``."""

    logs: NDArray[np.float32]
    centre: NDArray[np.float32]
    scale: NDArray[np.float32]

    def even(self, scores: NDArray[np.floating], design: NDArray[np.float32]) -> NDArray[np.floating]:
        wide = np.exp(-0.5 * (design @ self.logs), dtype=np.float32)
        return (scores * wide - design @ self.centre) * self.scale


@dataclass(frozen=True)
class Ranks:
    """Tables from scores to ranks, for each stratum g and mode c.

    ``attributes``: the attributes that make the strata. ``codes`` ``(G,)``: which of them are on in each stratum, as a
    binary number. ``shares`` ``(G, C)``: of the modes. ``knots`` ``(G, C, D, n)``: scores at even ranks, ``edge``
    ``(G, C)``: the least rank.
    """

    attributes: NDArray[np.int64]
    codes: NDArray[np.int64]
    shares: NDArray[np.float32]
    knots: NDArray[np.float32]
    edge: NDArray[np.float32]

    def strata(self, attributes: NDArray) -> NDArray[np.intp]:
        """The stratum of each row ``(M, K)``; a combination that was never seen counts as the first."""
        code = np.zeros(len(attributes), np.int64)
        for k in self.attributes:
            code = 2 * code + attributes[:, k]
        return np.argmax(code[:, None] == self.codes, 1)

    def rank(self, stratum: NDArray, mode: NDArray, scores: NDArray, number: int) -> NDArray[np.float64]:
        """F of one number's scores ``(M,)`` within their stratum and mode, in (0, 1)."""
        result = np.empty(len(scores))
        for g, c in np.ndindex(self.shares.shape):
            inside = (stratum == g) & (mode == c)
            knots, edge = self.knots[g, c, number], self.edge[g, c]
            ranks = np.interp(scores[inside], knots, np.linspace(0, 1, len(knots)))
            result[inside] = np.clip(ranks, edge, 1 - edge)
        return result

    def position(self, stratum: NDArray, mode: NDArray, scores: NDArray) -> NDArray[np.float64]:
        """Where rows lie, in (0, 1), when a stratum is sorted by mode and by the first score within it."""
        before = np.cumsum(self.shares, 1) - self.shares
        return before[stratum, mode] + self.shares[stratum, mode] * self.rank(stratum, mode, scores, 0)


@dataclass(frozen=True)
class TokenReader:
    """How one token's numbers are read off a picture; for S scores, the first ``S - D`` of the mode, D of details.

    ``axes`` ``(Q, S)``: V_k, the map multiplied in. ``design`` ``(1 + K, S)``: D_k. ``carried`` ``(K, F, S)``: X_jk.
    ``by_mode`` ``(C, D)``: each mode's means of the details. ``modes`` is None for the base token: details only.
    """

    axes: NDArray[np.float32]
    design: NDArray[np.float32]
    carried: NDArray[np.float32]
    by_mode: NDArray[np.float32]
    spread: Spread
    ranks: Ranks
    modes: Modes | None

    @property
    def n_details(self) -> int:
        return self.by_mode.shape[1]

    def read(self, raw: NDArray[np.floating], design: NDArray[np.float32]) -> tuple[NDArray, NDArray]:
        """Modes ``(M,)`` and scores of the details ``(M, D)`` from raw scores ``(M, S)``."""
        split = raw.shape[1] - self.n_details
        if self.modes is None:
            mode = np.zeros(len(raw), np.intp)
        else:
            mode = self.modes.labels(self._part(slice(None, split)).even(raw[:, :split], design))
        details = raw[:, split:] - self.by_mode[mode]
        return mode, self._part(slice(split, None)).even(details, design)

    def _part(self, columns: slice) -> Spread:
        spread = self.spread
        return Spread(spread.logs[:, columns], spread.centre[:, columns], spread.scale[columns])

    def numbers(
        self, mode: NDArray, details: NDArray, attributes: NDArray, latents: AttributeLatents, weights: NDArray
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Components ``(M,)`` and ``z_1 ... z_D`` ``(M, D)``; ``weights`` of the components of ``z_1``."""
        stratum, component = self.ranks.strata(attributes), mode
        z = np.empty(details.shape)
        if self.modes is not None:
            position = self.ranks.position(stratum, mode, details[:, 0])
            component = component_at(position, weights)
            z[:, 0] = latents.quantile(position, weights)
        first = 0 if self.modes is None else 1
        ranks = [self.ranks.rank(stratum, component, details[:, n], n) for n in range(first, details.shape[1])]
        if ranks:
            z[:, first:] = latents.quantile(np.stack(ranks, 1))
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
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> TokenReader:
        """The inverse of `to_tensors`."""
        axes = np.zeros((int(tensors["length"][0]), tensors["axes"].shape[1]), np.float32)
        axes[tensors["rows"]] = tensors["axes"]

        def part(kind: Any, name: str) -> Any:
            return kind(**{f.name: tensors[f"{name}_{f.name}"] for f in fields(kind)})

        return cls(
            axes=axes,
            **{name: np.asarray(tensors[name], np.float32) for name in ("design", "carried", "by_mode")},
            spread=part(Spread, "spread"),
            ranks=part(Ranks, "ranks"),
            modes=part(Modes, "modes") if "modes_means" in tensors else None,
        )


def component_at(position: NDArray, weights: NDArray) -> NDArray[np.intp]:
    """The component in whose band a position in (0, 1) lies."""
    return np.minimum(np.searchsorted(np.cumsum(weights), position), len(weights) - 1)
