"""Matched latents: give every training image the Z that describes how its attributes look.

With Z paired to images at random (the paper's reading), the network learns to ignore it: Z decides less than one per
cent of the picture. Here ``Z_k`` of an image encodes what is left to say about attribute ``k`` once the attributes
themselves have spoken:

1. Two descriptors of each picture, colour and edges (`gaussmix.latents._modes`). Residual ``R = Y - [1 A] B`` by least
   squares. ``B_k`` shows where attribute k acts; its norm over the colour channels, scaled to a maximum of one, is the
   attribute's map ``w_k``.
2. Attributes are taken in descending order of excess variance: ``sum w_k^2 var(R | A_k=1) / sum w_k^2 var(R | A_k=0)``.
3. On the images that have attribute k, and in each descriptor: ``R w_k``, freed from what the other attributes still
   explain *among these images*; its first principal components, made equally wide whatever the other attributes; C
   clusters (`gaussmix.latents._modes`). The descriptor whose clusters are clearer has the attribute's modes, their
   shares are ``pi_k``: kinds of hats differ in shape and come in all colours, open mouths differ in colour.
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

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.extmath import randomized_svd

from gaussmix.latents._modes import Modes, descriptors_of, find_modes, side_of
from gaussmix.latents.attributes import AttributeLatents
from gaussmix.latents.encoder import LatentEncoder, RankTables, Standardiser, TokenEncoder, design_of, features_of

N_MODE_SCORES = 4  # principal components in which an attribute's modes are looked for
N_DETAILS = 6  # principal components of the colours within the modes, at most
MIN_IMAGES = 30  # an attribute with fewer images keeps random latents
_LEAK = 0.05  # share of another attribute's variance that Z may tell before it is ranked apart
_FIT_IMAGES = 8192  # axes and modes are found on at most this many images, all are then projected
_MAP_EDGE = 0.05  # weight in an attribute's map below which a pixel is not looked at
_KNOTS = 33  # of the tables of ranks
_NO_SPREAD = 1e-12  # variance below which scores are all the same
_PRIOR_ROWS = 10  # ridge, in images, of what earlier attributes' features still explain
_BATCH = 1024


@dataclass(frozen=True)
class MatchedLatents:
    """Latents for a training set.

    Parameters
    ----------
    table : ndarray of float32
        Z of each image, ``(M, T, N)``, ungated.
    latents : AttributeLatents
        The distribution to sample from, with the shares that were found.
    clusters : ndarray of int8
        The component of each attribute in each image, ``(M, K)``; -1 where absent.
    maps : ndarray of float32
        Where each attribute acts, ``(K, H, W)``, with maximum 1, at the images' size or 32 pixels.
    encoder : LatentEncoder
        What made the table, for other pictures.
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

    About 3 ms of CPU time an image at 32 px and 16 attributes; memory is two float32 copies of the images at 32 px.
    Raises ValueError for shapes that do not fit, and for what is not uint8 or not 0 and 1.

    Parameters
    ----------
    images : ndarray of uint8
        Pictures ``(M, H, H, 3)``.
    attributes : ndarray of uint8
        Of shape ``(M, K)``, 0 or 1.
    latents : AttributeLatents
        The distribution to fit into; its shares are replaced by those found.
    seed : int, default 0
        Of the noise in the numbers that stay free, k-means and the principal axes.
    on_progress : callable, optional
        Called with the number of attributes done.
    """
    if len(images) != len(attributes) or len(images) == 0:
        raise ValueError(f"{len(images)} images and {len(attributes)} attribute rows; both must be the same, above 0")
    if attributes.shape[1] != latents.n_attributes:
        raise ValueError(f"attributes have {attributes.shape[1]} columns; the latents expect {latents.n_attributes}")
    matcher = _LatentMatcher(images, np.asarray(attributes), latents, seed)
    for done, k in enumerate(matcher.order()):
        matcher.match_attribute(k)
        if on_progress is not None:
            on_progress(done + 1)
    if latents.base_token:
        matcher.match_base()
    found = replace(latents, shares=tuple(tuple(row / row.sum()) for row in matcher.shares))
    encoder = LatentEncoder(found, matcher.side, matcher.tokens)
    table, components = encoder.read(images, attributes, seed)
    maps = matcher.maps.reshape(-1, matcher.side, matcher.side)
    return MatchedLatents(table, found, components, maps, encoder)


class _LatentMatcher:
    """The descriptors' residual and what was found so far: ``maps`` ``(K, side * side)``, ``shares`` ``(T, C)``."""

    def __init__(self, images: NDArray[np.uint8], attributes: NDArray, latents: AttributeLatents, seed: int):
        self.attributes, self.latents = attributes, latents
        self.rng = np.random.default_rng(seed)
        self.n_details = min(N_DETAILS, latents.latent_dim)
        self.design = design_of(attributes)
        self.residual = np.concatenate([descriptors_of(images[i : i + _BATCH]) for i in range(0, len(images), _BATCH)])
        self.effect = np.linalg.lstsq(self.design, self.residual, rcond=None)[0]
        self.residual -= self.design @ self.effect
        self.side = side_of(images)
        self.n_colour = 3 * self.side**2
        norms = np.sqrt((self.effect[1:, : self.n_colour].reshape(len(self.effect) - 1, -1, 3) ** 2).sum(2))
        self.maps = (norms / np.maximum(norms.max(1, keepdims=True), _NO_SPREAD)).astype(np.float32)
        half = self.side // 2
        halved = self.maps.reshape(-1, self.side, self.side)[:, : 2 * half, : 2 * half]
        halved = halved.reshape(-1, half, 2, half, 2).mean((2, 4)).reshape(len(halved), -1)
        self.weights = np.concatenate([np.repeat(self.maps, 3, 1), np.repeat(halved, 3, 1)], 1)
        self.shares = np.full((latents.n_tokens, latents.n_components), 1 / latents.n_components)
        n_features = self.n_details + latents.n_components
        self.carried = np.zeros((latents.n_attributes, n_features, self.residual.shape[1]), np.float32)
        self.features: dict[int, NDArray[np.float32]] = {}
        self.tokens: dict[int, TokenEncoder] = {}

    def order(self) -> list[int]:
        """Attributes in descending order of how much more the picture varies, in their map, where they are on."""
        excess = np.zeros(len(self.maps))
        colours = self.residual[:, : self.n_colour]
        for k, weight in enumerate(self.weights[:, : self.n_colour]):
            has = self.attributes[:, k] == 1
            if 1 < has.sum() < len(has) - 1:
                on, off = colours[has].var(0), colours[~has].var(0)
                excess[k] = (on * weight**2).sum() / max((off * weight**2).sum(), _NO_SPREAD)
        return [int(k) for k in np.argsort(-excess, kind="stable")]

    def match_attribute(self, k: int) -> None:
        """Find the modes and details of attribute ``k`` and take them out of the residual; nothing if it is rare."""
        members = np.flatnonzero(self.attributes[:, k])
        own, n_modes = self.attributes[members], self.latents.n_components
        if len(members) < max(MIN_IMAGES, 2 * n_modes):
            return
        residual, design = self.residual[members], self.design[members]
        colours = np.arange(self.n_colour)
        edges = np.arange(self.n_colour, residual.shape[1])
        found = [self._modes_in(residual, design, k, columns) for columns in (colours, edges)]
        mode_axes, explained, mode_spread, modes, mode, _ = max(found, key=lambda each: each[-1])
        one_hot = np.eye(n_modes, dtype=np.float32)[mode]
        axes = self._axes(residual, np.column_stack([design, one_hot]), k, colours, self.n_details)
        raw = residual @ axes
        if raw[:, 0] @ (mode - mode.mean()) < 0:  # z_1 ascends within a mode as it does from mode to mode
            axes[:, 0], raw[:, 0] = -axes[:, 0], -raw[:, 0]
        raw, more = _residuals(raw, design)
        raw, carried = self._unshared(raw, axes, members)
        by_mode = np.stack([raw[mode == c].mean(0) if (mode == c).any() else 0 * raw[0] for c in range(n_modes)])
        raw -= by_mode[mode]
        spread = _standardiser(raw, design)
        details = spread(raw, design)
        self.shares[k] = np.bincount(mode, minlength=n_modes) / len(mode)
        features = features_of(details, mode, n_modes)
        axes, explained = np.column_stack([mode_axes, axes]), np.column_stack([explained, more])
        self.tokens[k] = TokenEncoder(
            axes=axes,
            design=(self.effect @ axes + explained).astype(np.float32),
            carried=np.concatenate([self.carried @ mode_axes, carried], 2),
            by_mode=by_mode,
            spread=Standardiser(
                np.column_stack([mode_spread.logs, spread.logs]),
                np.column_stack([mode_spread.centre, spread.centre]),
                np.concatenate([mode_spread.scale, spread.scale]),
            ),
            ranks=_rank_tables(mode, details, own, _strata(features, own), self.shares[k]),
            modes=modes,
        )
        self.features[k] = np.zeros((len(self.residual), features.shape[1]), np.float32)
        self.features[k][members] = features
        self.carried[k] = np.linalg.lstsq(features, residual, rcond=None)[0]
        self.residual[members] -= features @ self.carried[k]

    def match_base(self) -> None:
        """What nobody explained, for the base token."""
        n_axes = min(self.latents.latent_dim, len(self.residual), self.n_colour)
        centre = self.residual.mean(0)
        axes = np.zeros((self.residual.shape[1], n_axes), np.float32)
        some = (self.residual - centre)[self._some(len(self.residual)), : self.n_colour]
        axes[: self.n_colour] = _principal_axes(some, n_axes, self.rng).astype(np.float16)
        scores = (self.residual - centre) @ axes
        design = self.effect @ axes
        design[0] += centre @ axes
        flat = np.zeros((self.design.shape[1], n_axes), np.float32)
        self.tokens[self.latents.n_attributes] = TokenEncoder(
            axes=axes,
            design=design.astype(np.float32),
            carried=self.carried @ axes,
            by_mode=np.zeros((1, n_axes), np.float32),
            spread=Standardiser(flat, flat, np.ones(n_axes, np.float32)),
            ranks=_rank_tables(np.zeros(len(scores), np.intp), scores, self.attributes, [], np.ones(1)),
            modes=None,
        )

    def _unshared(self, raw: NDArray, axes: NDArray, members: NDArray) -> tuple[NDArray, NDArray]:
        """Raw scores ``(M, S)`` without what earlier attributes' features explain of them, and all ``X_jk`` (K, F, S).

        Taking earlier attributes out of the pictures leaves little of what they share with this one, but not nothing:
        they did it for their own images as a whole. Made as wide as anywhere, the rest would follow their Z.
        """
        carried = self.carried @ axes
        joint = {j: features[members] for j, features in self.features.items()}  # A_j f_j, each (M, F)
        joint = {j: known for j, known in joint.items() if known.any(1).sum() >= MIN_IMAGES}
        if joint:
            known = np.concatenate(list(joint.values()), 1)
            scale = np.maximum(known.std(0), np.sqrt(_NO_SPREAD))
            unit = known / scale
            gram = unit.T @ unit + _PRIOR_ROWS * np.eye(unit.shape[1])
            effect = (np.linalg.solve(gram, unit.T @ raw) / scale[:, None]).astype(np.float32)
            raw = raw - known @ effect
            for j, part in zip(joint, np.split(effect, len(joint)), strict=True):
                carried[j] += part
        return raw, carried

    def _modes_in(
        self, residual: NDArray, design: NDArray, k: int, columns: NDArray
    ) -> tuple[NDArray, NDArray, Standardiser, Modes, NDArray[np.intp], float]:
        """Modes of attribute ``k`` in one descriptor: axes, D_k, what standardises, modes, labels, clearness."""
        axes = self._axes(residual, design, k, columns, N_MODE_SCORES)
        raw, explained = _residuals(residual @ axes, design)
        spread = _standardiser(raw, design)
        scores = spread(raw, design)
        modes, clear = find_modes(scores[self._some(len(raw))], self.latents.n_components, self.rng)
        return axes, explained, spread, modes, modes.labels(scores), clear

    def _some(self, count: int) -> slice | NDArray[np.intp]:
        """Rows to find axes and modes on: all, or `_FIT_IMAGES` of them."""
        return slice(None) if count <= _FIT_IMAGES else self.rng.choice(count, _FIT_IMAGES, replace=False)

    def _axes(self, residual: NDArray, known: NDArray, k: int, columns: NDArray, count: int) -> NDArray[np.float32]:
        """Principal axes ``(Q, count)``, times the map of ``k``, of what ``known`` leaves of some columns."""
        weight = self.weights[k, columns]
        seen = columns[weight > _MAP_EDGE] if (weight > _MAP_EDGE).any() else columns
        weight = self.weights[k, seen]
        rows = self._some(len(residual))
        part, _ = _residuals(residual[rows][:, seen] * weight, known[rows])
        found = _principal_axes(part, min(count, *part.shape), self.rng)
        axes = np.zeros((residual.shape[1], count), np.float32)
        axes[seen, : found.shape[1]] = (found * weight[:, None]).astype(np.float16)  # as they are stored
        return axes


def _principal_axes(rows: NDArray[np.float32], n_axes: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """First right singular vectors ``(P, n_axes)`` of centred rows ``(M, P)``, signs fixed."""
    axes = randomized_svd(rows, n_axes, random_state=int(rng.integers(2**31)))[2]
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])
    return (axes * signs[:, None]).T.astype(np.float32)


def _residuals(values: NDArray[np.floating], known: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """``(M, S)`` values without what ``known`` ``(M, F)`` explains linearly, and the coefficients ``(F, S)``."""
    effect = np.linalg.lstsq(known, values, rcond=None)[0].astype(np.float32)
    return values - known @ effect, effect


def _standardiser(scores: NDArray[np.float32], design: NDArray[np.float32]) -> Standardiser:
    """What centres scores ``(M, S)`` and makes them as wide whatever the design ``(M, 1 + K)``; overall width stays."""
    logs = np.log(scores.astype(np.float64) ** 2 + 1e-6 * np.maximum(scores.var(0), _NO_SPREAD))
    coefficients = np.linalg.lstsq(design, logs, rcond=None)[0]
    coefficients[0] -= (design @ coefficients).mean(0)
    even = scores * np.exp(-0.5 * (design @ coefficients))
    rest, centre = _residuals(even.astype(np.float32), design)
    scale = scores.std(0) / np.maximum(rest.std(0), _NO_SPREAD)
    return Standardiser(coefficients.astype(np.float32), centre, scale.astype(np.float32))


def _rank_tables(
    mode: NDArray, details: NDArray, attributes: NDArray, chosen: Sequence[int], weights: NDArray
) -> RankTables:
    """Of images with their modes and details, in the strata of the ``chosen`` attributes."""
    code = RankTables.code(attributes, chosen)
    codes, sizes = np.unique(code, return_counts=True)
    codes = codes[np.argsort(-sizes, kind="stable")]  # the commonest first
    stratum = np.argmax(code[:, None] == codes, 1)
    counts = np.array([np.bincount(mode[stratum == g], minlength=len(weights)) for g in range(len(codes))])
    ranks = RankTables(
        attributes=np.array(chosen, np.int64),
        codes=codes,
        shares=(counts / counts.sum(1, keepdims=True)).astype(np.float32),
        knots=np.zeros((*counts.shape, details.shape[1], _KNOTS), np.float32),
        edge=(0.5 / np.maximum(counts, 1)).astype(np.float32),
    )
    _fill(ranks.knots, stratum, mode, details, slice(0, 1))
    component = np.searchsorted(np.cumsum(weights)[:-1], ranks.position(stratum, mode, details[:, 0]))
    _fill(ranks.knots, stratum, component, details, slice(1, None))
    return ranks


def _fill(knots: NDArray, stratum: NDArray, group: NDArray, scores: NDArray, numbers: slice) -> None:
    """Scores at even ranks within stratum and group; where there is none, those of the group, or of all."""
    for g, c in np.ndindex(knots.shape[:2]):
        for rows in ((stratum == g) & (group == c), group == c, np.ones(len(group), bool)):
            if rows.any():
                knots[g, c, numbers] = np.quantile(scores[rows, numbers], np.linspace(0, 1, knots.shape[3]), axis=0).T
                break


def _strata(known: NDArray, attributes: NDArray) -> list[int]:
    """The attributes whose strata the latents of one attribute are ranked in.

    ``known`` ``(M, F)`` is what the latents would tell; the (at most two) attributes of ``(M, K)`` that it tells best
    make the strata, so that afterwards it tells nothing of them.
    """
    centred = known - known.mean(0)
    varying = [j for j in range(attributes.shape[1]) if 0 < attributes[:, j].sum() < len(attributes)]
    explained = {}
    for j in varying:
        target = attributes[:, j] - attributes[:, j].mean()
        rest = target - centred @ np.linalg.lstsq(centred, target, rcond=None)[0]
        explained[j] = 1 - rest.var() / target.var()
    chosen: list[int] = []
    group = np.zeros(len(known), np.intp)
    for j in sorted(varying, key=lambda j: -explained[j])[:2]:
        finer = 2 * group + attributes[:, j]
        sizes = np.bincount(finer)
        if explained[j] >= _LEAK and sizes[sizes > 0].min() >= MIN_IMAGES:
            group = finer
            chosen.append(j)
    return chosen
