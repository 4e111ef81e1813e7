"""GramExpansion: the distribution of a style's Gram matrices, to draw targets from (E Sec. 3.2.2).

    G^l = F^l F^l^T / (h w)            of random crops of the style's pictures, l = relu1_1, relu2_1, ..., relu5_1
    G ~ p_s                            the distribution of style s, learnt from its crops, see ``coupling``
    sum_s w_s G_s,  G_s ~ p_s          a blend of styles with weights w, moved to where its shares are w

Couplings of the entries of G (`gaussmix.style.grams`): "entry", the paper's, draws each entry by itself, which
loses what they know of each other: most of the variation of such a draw is none that a picture can have. "crop" takes
one crop's matrix plus noise. "pca", the default, draws scores on the principal axes of the crops, so that entries vary
together as they do from crop to crop. What is drawn is then repaired: symmetric, no negative eigenvalues, the same
trace (`gaussmix.style.grams.repair`).

A draw spreads towards other styles, and a repair pulls towards the middle. So draws are moved, along the differences
of the styles' means alone, to the shares that were asked for, and repaired again, in turns; for mixing "data" never.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gaussmix._files import Tensors, read_tensors, write_tensors
from gaussmix._guard import reading
from gaussmix.density.estimator import GMMExpansion
from gaussmix.density.report import Rule, basis_options
from gaussmix.latents._parts import mixtures_from_tensors, mixtures_to_tensors
from gaussmix.style.blending import BlendPlane, HeldBlend
from gaussmix.style.grams import (
    GramLayout,
    LearntStyle,
    Picks,
    PrincipalScores,
    Rows,
    Styles,
    crop_grams,
    repair,
)
from gaussmix.style.images import is_grey
from gaussmix.style.vgg import VGG19Features

Seed = int | np.random.Generator | None
Coupling = Literal["entry", "crop", "pca"]
Mixing = Literal["grams", "data"]

COUPLINGS: tuple[Coupling, ...] = ("entry", "crop", "pca")
_PICK_RULES = {"entry": ("histogram", "algorithm2"), "crop": ("histogram",)}
_KIND = "gram_expansion"
_ROUNDING = 1e-6  # how far from 1 a sum of weights may be before that is said
_TURNS = 5  # of moving a draw to its shares and repairing it: what is left is below .01


class GramExpansion:
    """The Gram matrices of one or more styles as distributions.

    Parameters
    ----------
    coupling : {"pca", "crop", "entry"}
        How the entries of a matrix hang together; "entry" is the paper's. See the module.
    rule : str, optional
        How the one-dimensional expansions get their weights. For "pca" any rule of `gaussmix.GMMExpansion`, by default
        "fast", the kernel estimate with the bandwidth of Sheather and Jones; for "entry" "histogram" (default), the
        reading of Algorithm 2 that reproduces E's tables, or "algorithm2" as printed, negative weights set to zero; for
        "crop" "histogram".
    n_components, bandwidth : int, float
        The basis of each expansion, n and t = sigma / r; "auto" and "fast" have none.
    mixing : {"grams", "data"}
        What a blend mixes: a convex combination of one draw of each style, moved to the shares asked for; or, for
        "entry", as the paper: the crops of all styles are one data set, a style's share of it its weight.

    Raises
    ------
    ValueError
        For unknown choices and combinations.
    """

    layout: GramLayout
    """Layers and their channels."""

    def __init__(
        self,
        coupling: Coupling = "pca",
        *,
        rule: Rule | None = None,
        n_components: int = 100,
        bandwidth: float = 2.0,
        mixing: Mixing = "grams",
    ):
        if coupling not in COUPLINGS:
            raise ValueError(f"coupling is {coupling!r}; choose from {', '.join(COUPLINGS)}")
        allowed = _PICK_RULES.get(coupling)
        if allowed and rule is not None and rule not in allowed:
            raise ValueError(f"rule is {rule!r}; coupling {coupling!r} takes {' or '.join(allowed)}")
        if mixing not in ("grams", "data") or (mixing == "data" and coupling != "entry"):
            raise ValueError(f"mixing is {mixing!r}; choose grams, or, for coupling 'entry', data")
        if n_components < 1 or not 0 < bandwidth < float("inf"):
            raise ValueError(f"n_components is {n_components} and bandwidth {bandwidth}; both must be positive")
        self.coupling: Coupling = coupling
        self.rule: Rule = rule or ("fast" if coupling == "pca" else "histogram")
        self.n_components, self.bandwidth = n_components, bandwidth
        self.mixing: Mixing = mixing
        self._styles: dict[str, LearntStyle] = {}

    @property
    def styles(self) -> tuple[str, ...]:
        """Names of the styles."""
        return tuple(self._styles)

    @property
    def grey(self) -> bool:
        """Whether all that was learnt from was grey."""
        return all(style.grey for style in self._styles.values())

    def fit(
        self,
        pictures: Styles,
        features: VGG19Features,
        *,
        crops: int = 50,
        crop_size: int | None = None,
        random_state: Seed = None,
    ) -> Self:
        """Learn from random crops of pictures.

        Strokes come out as large, in pixels, as they are in the pictures: resize these first.

        Parameters
        ----------
        pictures : ndarray, sequence of ndarray, or mapping of str to either
            ``(H, W, 3)`` uint8, several of them of one style, or by the name of their style; without a name a style is
            called "style".
        features : VGG19Features
            The network, with all style layers.
        crops : int
            Of each style, dealt out to its pictures in turn.
        crop_size : int, optional
            Pixels of a crop's side; by default half the shorter side of the smallest picture, at most 160.
        random_state : int or numpy.random.Generator, optional
            Of where the crops lie.

        Raises
        ------
        ValueError
            For no style, fewer than 2 crops, a crop larger than a picture or too small for the network, a picture of
            another type or of one colour.
        """
        by_name = pictures if isinstance(pictures, Mapping) else {"style": pictures}
        rng = np.random.default_rng(random_state)
        grams, grey = {}, {}
        for style, own in by_name.items():
            several = [own] if isinstance(own, np.ndarray) else list(own)
            grams[style] = crop_grams(several, features, crops=crops, crop_size=crop_size, rng=rng, name=style)
            grey[style] = all(is_grey(picture) for picture in several)
        self.fit_grams(grams)
        self._styles = {name: replace(style, grey=grey[name]) for name, style in self._styles.items()}
        return self

    def fit_grams(self, grams: Mapping[str, Mapping[str, Tensor | NDArray[np.floating]]]) -> Self:
        """Learn from Gram matrices of n crops of each style: ``{style: {layer: (n, C, C)}}``.

        Raises ValueError for no style, fewer than 2 crops, shapes that do not fit, matrices that are not finite or not
        symmetric, and crops that are all alike.
        """
        if not grams:
            raise ValueError("there is no style; give {style: {layer: (n, C, C)}}")
        learnt, layout = {}, None
        for style, own in grams.items():
            arrays = {layer: np.asarray(gram) for layer, gram in own.items()}
            found = GramLayout.of(arrays, style)
            layout = layout or found
            if found.channels != layout.channels:
                raise ValueError(f"{style} has layers {found.channels}; the styles before have {layout.channels}")
            learnt[style] = self._learn(style, layout.rows(arrays), layout)
        assert layout is not None
        self.layout, self._styles = layout, learnt
        return self

    @classmethod
    def join(cls, expansions: Sequence[GramExpansion]) -> GramExpansion:
        """The styles of several expansions in one, to blend them.

        Raises ValueError for none, other settings or layers, and a name that occurs twice.
        """
        if not expansions:
            raise ValueError("there is no style to join; give at least one expansion")
        first = expansions[0]
        joined = cls(**first._settings())
        joined.layout = first.layout
        for expansion in expansions:
            own, usual = ({**each._settings(), **each.layout.channels} for each in (expansion, first))
            if own != usual:
                names, others = ", ".join(expansion.styles), ", ".join(first.styles)
                raise ValueError(f"{names} was learnt with {own}, {others} with {usual}; learn one of them anew")
            twice = [style for style in expansion.styles if style in joined.styles]
            if twice:
                raise ValueError(f"two styles are called {twice[0]!r}; give them different names")
            joined._styles |= expansion._styles
        return joined

    def sample(
        self, n_samples: int = 1, blend: Mapping[str, float] | None = None, random_state: Seed = None
    ) -> list[dict[str, Tensor]]:
        """Draw sets of Gram matrices ``{layer: (C, C)}`` float32, repaired.

        Parameters
        ----------
        n_samples : int
            How many.
        blend : mapping of str to float, optional
            Weights of the styles; divided by their sum, with a warning if that is not 1. All alike if not given.
        random_state : int or numpy.random.Generator, optional
            Draw i of a style is the same whatever the number and the blend are (but for mixing "data").

        Raises
        ------
        ValueError
            For unknown styles, weights that are negative or all 0, and before anything is learnt.
        """
        return self._placed(self.sample_rows(n_samples, shares := self._shares(blend), random_state), shares)

    def sample_rows(
        self, n_samples: int = 1, blend: Mapping[str, float] | None = None, random_state: Seed = None
    ) -> Rows:
        """Draw what `sample` draws before it is moved and repaired, ``(n_samples, E)`` in the order of ``layout``.

        Parameters
        ----------
        n_samples, blend, random_state : int, mapping, int or numpy.random.Generator
            As for `sample`.
        """
        shares = self._shares(blend)
        generators = np.random.default_rng(random_state).spawn(_checked_count(n_samples))
        if self.mixing == "data":
            pooled = self._picks(shares)
            return np.stack([pooled.draw(rng) for rng in generators])
        drawn = np.zeros((n_samples, self.layout.size), np.float32)
        by_style = zip(*(rng.spawn(len(self.styles)) for rng in generators), strict=True)
        for style, own in zip(self.styles, by_style, strict=True):
            if style in shares:
                source = self._styles[style].scores or self._picks({style: 1.0})
                for row, rng in zip(drawn, own, strict=True):
                    row += np.float32(shares[style]) * source.draw(rng)
        return drawn

    def walk(
        self, n_samples: int, blend: Mapping[str, float] | None = None, random_state: Seed = None
    ) -> list[dict[str, Tensor]]:
        """Return targets on a smooth closed walk through the distribution, each distributed as a draw.

        Only for coupling "pca": scores move on a circle between two draws. The others know no way from one crop to the
        next, and raise ValueError, as do wrong blends.

        Parameters
        ----------
        n_samples, blend, random_state : int, mapping, int or numpy.random.Generator
            As for `sample`.
        """
        if self.coupling != "pca":
            raise ValueError(f"coupling {self.coupling!r} has no walk, its draws jump from crop to crop; use 'pca'")
        shares = self._shares(blend)
        rows = np.zeros((_checked_count(n_samples), self.layout.size), np.float32)
        generators = np.random.default_rng(random_state).spawn(len(self.styles))
        for style, rng in zip(self.styles, generators, strict=True):
            if style in shares:
                source = cast(PrincipalScores, self._styles[style].scores)
                rows += np.float32(shares[style]) * source.walk(n_samples, rng)
        return self._placed(rows, shares)

    def targets(self, rows: Rows, blend: Mapping[str, float] | None = None) -> list[dict[str, Tensor]]:
        """Return rows as repaired matrices ``{layer: (C, C)}``.

        A trace is at least the least of a crop's, blended: a draw far out has little energy, but never none.

        Parameters
        ----------
        rows : ndarray of float32
            ``(n, E)`` in the order of ``layout``.
        blend : mapping of str to float, optional
            With which they were drawn.
        """
        least = sum(share * self._styles[style].least_traces for style, share in self._shares(blend).items())
        floors = dict(zip(self.layout.channels, np.asarray(least).tolist(), strict=True))
        return [
            {layer: torch.from_numpy(repair(gram, floors[layer])) for layer, gram in self.layout.grams(row).items()}
            for row in rows
        ]

    @property
    def plane(self) -> BlendPlane:
        """Where matrices lie between the styles: their shares, in the order of ``styles``."""
        return BlendPlane(np.stack([style.mean for style in self._styles.values()]), self.layout)

    def held(self, blend: Mapping[str, float] | None = None) -> HeldBlend | None:
        """Return a blend, as for `sample`, for `StyleTransfer.run` to keep pictures at; None for a single style."""
        shares = self._shares(blend)
        asked = np.array([shares.get(style, 0.0) for style in self.styles])
        return HeldBlend(self.plane, asked) if len(asked) > 1 else None

    def _placed(self, rows: Rows, shares: Mapping[str, float]) -> list[dict[str, Tensor]]:
        """Targets from rows ``(n, E)``, with these shares of all styles."""
        if self.mixing == "data" or len(self.styles) < 2:
            return self.targets(rows, shares)
        held = self.held(shares)
        assert held is not None
        targets = []
        for _ in range(_TURNS):
            targets = self.targets(np.stack([held.plane.place(row, held.asked) for row in rows]), shares)
            drawn = {layer: np.stack([target[layer].numpy() for target in targets]) for layer in self.layout.channels}
            rows = self.layout.rows(drawn)
        return targets

    def _shares(self, blend: Mapping[str, float] | None = None) -> dict[str, float]:
        """Weights of the styles that a blend names, of sum 1; without a blend all alike. Raises what `sample` does."""
        if not self._styles:
            raise ValueError("no style is learnt yet; call fit first")
        if blend is None:
            blend = dict.fromkeys(self.styles, 1 / len(self.styles))
        unknown = [style for style in blend if style not in self._styles]
        if unknown or not blend:
            raise ValueError(f"blend names {unknown or 'no style'}; choose from {', '.join(self.styles)}")
        wrong = {style: weight for style, weight in blend.items() if not 0 <= weight < float("inf")}
        total = float(sum(blend.values()))
        if wrong or total == 0:
            raise ValueError(f"blend weights are {wrong or dict(blend)}; give finite ones >= 0, at least one above 0")
        if abs(total - 1) > _ROUNDING:
            warnings.warn(f"blend weights add up to {total:g}; they were divided by it", UserWarning, stacklevel=3)
        return {style: weight / total for style, weight in blend.items() if weight > 0}

    def _picks(self, shares: dict[str, float]) -> Picks:
        """The crops of styles as one data set, of which each style has its share."""
        rows = [cast(Rows, self._styles[style].rows) for style in shares]
        of_each = [np.full(len(own), share / len(own)) for own, share in zip(rows, shares.values(), strict=True)]
        pooled = rows[0] if len(rows) == 1 else np.concatenate(rows)
        how: dict[str, Any] = {"together": self.coupling == "crop", "rule": self.rule}
        return Picks(pooled, np.concatenate(of_each), **how, n_components=self.n_components, bandwidth=self.bandwidth)

    def _learn(self, style: str, rows: Rows, layout: GramLayout) -> LearntStyle:
        if not np.ptp(rows, 0).any():
            raise ValueError(f"all {len(rows)} crops of {style} have the same Gram matrices; give pictures that vary")
        least = np.array([float(trace.min()) for trace in layout.traces(rows).values()])
        if self.coupling != "pca":
            return LearntStyle(rows, None, least)
        expansion = GMMExpansion(self.rule, bounds=None, **basis_options(self.rule, self.n_components, self.bandwidth))
        return LearntStyle(None, PrincipalScores.fit(rows, layout.scale(rows.mean(0)), expansion), least)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file, whole or not at all: 60 MB a style of 50 crops. Raises OSError."""
        if not self._styles:
            raise ValueError("no style is learnt yet; call fit first")
        tensors: Tensors = {}
        for number, style in enumerate(self._styles.values()):
            found: Tensors = {"least_traces": style.least_traces}
            if style.rows is not None:
                found["rows"] = style.rows
            if style.scores is not None:
                found |= {"mean": style.scores.mean, "axes": style.scores.axes}
                found |= mixtures_to_tensors(style.scores.marginals)
            tensors |= {f"{number}.{name}": value for name, value in found.items()}
        grey = [name for name, style in self._styles.items() if style.grey]
        about = {"settings": self._settings(), "styles": self.styles, "channels": self.layout.channels, "grey": grey}
        write_tensors(path, tensors, _KIND, {key: json.dumps(value) for key, value in about.items()})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> GramExpansion:
        """Read what `save` wrote. Raises ValueError for another or a damaged file, FileNotFoundError for none."""
        with reading(path, "holds no usable style"):
            tensors, about = read_tensors(path, _KIND)
            expansion = cls(**json.loads(about["settings"]))
            expansion.layout = GramLayout.of_channels(json.loads(about["channels"]))
            grey = json.loads(about.get("grey", "[]"))  # older files know nothing of it
            for number, style in enumerate(json.loads(about["styles"])):
                prefix = f"{number}."
                own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
                pca = expansion.coupling == "pca"
                scores = PrincipalScores(own["mean"], own["axes"], mixtures_from_tensors(own)) if pca else None
                found = LearntStyle(None if pca else own["rows"], scores, own["least_traces"], style in grey)
                found.check(expansion.layout)
                expansion._styles[str(style)] = found
            if not expansion._styles:
                raise ValueError("no style")
        return expansion

    def _settings(self) -> dict[str, Any]:
        names = ("coupling", "rule", "n_components", "bandwidth", "mixing")
        return {name: getattr(self, name) for name in names}


def _checked_count(n_samples: int) -> int:
    if n_samples < 1:
        raise ValueError(f"n_samples is {n_samples}; it must be at least 1")
    return n_samples
