"""D Figure 5: one Z, many noises. How much of a picture do the attributes, Z and the noise decide?

D shows faces of one Z in "very subtle detail variations", "akin to Gaussian distribution with a mean and small
variance". Here the variance of the pixels is split, for the model, whose Z describes its images, and for small models
that are trained with Z paired to images in three ways.

Pictures ``x_aij``: attributes ``a = 1 ... R``, and for each of them M latents ``i``, new ones for every a, crossed with
N noises ``j``, new ones as well. For every pixel and colour

    x_aij = mean + A_a + Z_ai + E_aj + B_aij,

four independent random effects: of the attributes, of Z, of the noise, and of both together (what a noise does depends
on Z). With mean squares of the crossed design within each a,

    MS_B = sum (x_aij - x_ai. - x_a.j + x_a..)^2 / R (M-1)(N-1)      E MS_B = B
    MS_Z = N sum (x_ai. - x_a..)^2 / R (M-1)                         E MS_Z = B + N Z
    MS_E = M sum (x_a.j - x_a..)^2 / R (N-1)                         E MS_E = B + M E
    S_A  = sum (x_a.. - x_...)^2 / (R-1)                             E S_A  = A + Z/M + E/N + B/MN

where A, Z, E, B now stand for the effects' variances: solved for them, each estimate is unbiased. They are summed over
pixels and colours before shares are taken. The share of Z in pictures of given attributes is Z / (Z + E + B).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from reproduction.diffusion import conditions
from reproduction.diffusion.conditions import SmallModelConfig, SmallModelStudy, Variant, avatar_faces
from reproduction.diffusion.fig7 import variants
from reproduction.diffusion.model import QUICK, FaceBlock, FaceSampler, PageConfig, Pictures, draw_faces, load_subject
from reproduction.page import Measured
from reproduction.runs import runs_under
from reproduction.statistics import difference, interval, jackknife

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAIRINGS = ("features", "fresh", "matched")
"""The runs of Figure 7 that differ in how Z is paired to images: drawn once for each image (D), drawn at each step,
describing the image (ours)."""
LONG = ("features", "matched")
"""The pairings that are also trained for longer, with one seed."""
PAPER = {"claim": "very subtle detail variations, akin to Gaussian distribution with a mean and small variance"}
_LATENTS, _NOISES = 4, 4  # of a cell of the design
_SHOWN_LATENTS, _SHOWN_NOISES, _SHOWN_OF_RUNS = 5, 7, 3
_STRETCH = 3  # of the standard deviation, to be seen
_TITLES = {"features": "fixed", "fresh": "fresh", "matched": "matched"}


@dataclass(frozen=True)
class VarianceParts:
    """Variances, mean over pixels and colours, in squared levels of 255. Estimates: small ones may be negative."""

    attributes: float
    latents: float
    noise: float
    both: float
    """Of Z and noise together."""

    @property
    def share(self) -> float:
        """What Z decides of a picture whose attributes are given."""
        return self.latents / (self.latents + self.noise + self.both)

    @property
    def total(self) -> float:
        return self.attributes + self.latents + self.noise + self.both

    @property
    def deviation(self) -> float:
        """Standard deviation of a pixel over noises, attributes and Z being given, in levels."""
        return _root(self.noise + self.both)


def variance_parts(pictures: NDArray) -> VarianceParts:
    """Estimate the parts from pictures ``(R, M, N, ...)``, R, M and N at least 2.

    Raises ValueError for fewer.
    """
    if pictures.ndim < 3 or min(pictures.shape[:3]) < 2:
        raise ValueError(f"pictures are {pictures.shape}; give (attributes, latents, noises, ...), at least 2 of each")
    R, M, N = pictures.shape[:3]
    x = pictures.reshape(R, M, N, -1).astype(np.float64)
    rows, columns, cells = x.mean(2, keepdims=True), x.mean(1, keepdims=True), x.mean((1, 2), keepdims=True)
    both = _squares(x - rows - columns + cells) / (R * (M - 1) * (N - 1))
    latents = (N * _squares(rows - cells) / (R * (M - 1)) - both) / N
    noise = (M * _squares(columns - cells) / (R * (N - 1)) - both) / M
    between = _squares(cells - cells.mean(0)) / (R - 1)
    attributes = between - latents / M - noise / N - both / (M * N)
    return VarianceParts(*(float(part) for part in (attributes, latents, noise, both)))


def share_error(pictures: NDArray) -> float:
    """Standard error of `VarianceParts.share`: jackknife over the attributes, R at least 3."""
    return jackknife(lambda kept: variance_parts(pictures[kept]).share, len(pictures), groups=len(pictures))


def _squares(deviations: NDArray) -> float:
    """Sum of squares, mean over pixels."""
    return np.square(deviations).sum() / deviations.shape[-1]


def _root(variance: float) -> float:
    return float(np.sqrt(max(0.0, variance)))


@dataclass(frozen=True)
class Config(PageConfig, SmallModelConfig):
    """Settings of Figure 5; those of the small models are Figure 7's, so that none is trained twice."""

    attribute_rows: int = 32
    """Held-out rows of attributes, each with its own Z and noises."""
    run_rows: int = 12
    """The same for each small model."""
    long_steps: int = 7000
    """Training steps of the longer runs."""

    @property
    def n_steps(self) -> int:
        """Faces to draw."""
        each = _LATENTS * _NOISES
        runs = len(PAIRINGS) * self.repetitions * self.run_rows * each
        return self.attribute_rows * (1 + len(LONG)) * each + _SHOWN_LATENTS * _SHOWN_NOISES + runs

    def quick(self) -> Config:
        return replace(self, attribute_rows=3, run_rows=2, long_steps=6, **{**conditions.QUICK, **QUICK})


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Split the variance of the model's pictures, and find Z's share in those of small models."""
    subject = load_subject(config)
    sampler = FaceSampler(config, on_step)
    rows = np.random.default_rng(config.seed).permutation(subject.attributes[subject.held_out])
    pictures = crossed(sampler, subject.pipeline, rows[: config.attribute_rows])
    parts = variance_parts(pictures)
    real = float(subject.images[subject.held_out].var(0, dtype=np.float64).mean())

    one = subject.pipeline.choose_attributes(subject.wanted("1"), count=1, seed=config.seed)
    shown = crossed(sampler, subject.pipeline, one, _SHOWN_LATENTS, _SHOWN_NOISES)[0]
    faces = avatar_faces(config)
    told = variants(faces, config.seed)
    with runs_under(config.runs) as folder:
        shares, examples = _pairings(told, SmallModelStudy(config, faces, folder), sampler, config.run_rows)
        long_config = replace(config, training_steps=config.long_steps)
        longer = _longer(told, SmallModelStudy(long_config, faces, folder), sampler, config.attribute_rows)
    ours = {
        "model": subject.facts,
        "parts": asdict(parts),
        "share_error": share_error(pictures),
        "real_variance": real,
        **derived(parts, real, shares),
        "pairings": shares,
        "longer": longer,
    }
    return Measured(ours, PAPER, {"model": shown, "pairings": examples})


def derived(parts: VarianceParts, real: float, shares: dict[str, list[float]]) -> dict[str, Any]:
    """What the page quotes beside the estimates: shares of the whole variance, deviations in levels, intervals."""
    variances = asdict(parts)
    return {
        "share": parts.share,
        "deviation": parts.deviation,
        "share_of_total": {name: value / parts.total for name, value in variances.items()},
        "left_to_noise": (parts.noise + parts.both) / parts.total,
        "deviations": {name: _root(value) for name, value in {**variances, "all": parts.total, "real": real}.items()},
        "pairing_means": {name: interval(each)._asdict() for name, each in shares.items()},
        "matched_minus": {
            name: difference(shares["matched"], shares[name])._asdict() for name in shares if name != "matched"
        },
    }


def crossed(
    sampler: FaceSampler,
    pipeline: AttributeDiffusionPipeline,
    attributes: NDArray[np.uint8],
    n_latents: int = _LATENTS,
    n_noises: int = _NOISES,
) -> Pictures:
    """Pictures ``(R, n_latents, n_noises, H, W, 3)``: attributes ``(R, K)`` with Z and noises of their own."""
    cells = [(a, i, j) for a in range(len(attributes)) for i in range(n_latents) for j in range(n_noises)]
    pictures = sampler.draw(
        pipeline,
        attributes[[a for a, _, _ in cells]],
        latents=[a * n_latents + i for a, i, _ in cells],
        noises=[a * n_noises + j for a, _, j in cells],
    )
    return pictures.reshape(len(attributes), n_latents, n_noises, *pictures.shape[1:])


def _pairings(
    told: dict[str, Variant], study: SmallModelStudy, sampler: FaceSampler, rows: int
) -> tuple[dict[str, list[float]], dict[str, Pictures]]:
    """Z's share by pairing and seed, and pictures ``(M, N, H, W, 3)`` of the first seed."""
    shares: dict[str, list[float]] = {name: [] for name in PAIRINGS}
    examples: dict[str, Pictures] = {}
    for seed in study.config.seeds:
        for name in PAIRINGS:
            pictures = crossed(sampler, study.train(told[name], seed)[0], study.faces.attributes[:rows])
            shares[name].append(variance_parts(pictures).share)
            examples.setdefault(name, pictures[0, :, :_SHOWN_OF_RUNS])
    return shares, examples


def _longer(
    told: dict[str, Variant], study: SmallModelStudy, sampler: FaceSampler, rows: int
) -> dict[str, dict[str, Any]]:
    """Z's share in networks that differ in the pairing alone, trained for long enough to use Z, and their quality."""
    found, seed = {}, study.config.seed
    for name in LONG:
        values = study.measure(told[name], seed).values
        pictures = crossed(sampler, study.train(told[name], seed)[0], study.faces.attributes[:rows])
        found[name] = {"share": variance_parts(pictures).share, "error": share_error(pictures), "values": values}
    return found


def draw(measured: Measured) -> dict[str, Figure]:
    """Return faces of one Z a row and one noise a column: of the model, with mean and spread, and of small models."""
    shown = measured.seen["model"]
    values = shown.astype(np.float64)
    spread = np.clip(_STRETCH * values.std(1, ddof=1), 0, 255)
    beside = np.stack([values.mean(1), spread], axis=1).round().astype(np.uint8)
    return {
        "": draw_faces(
            "One Z a row, one noise a column",
            FaceBlock("", shown, [f"Z {i + 1}" for i in range(len(shown))]),
            FaceBlock("", beside, columns=("mean", "spread")),
        ),
        "-pairings": draw_faces(
            "One Z a row, one noise a column, by how Z was paired to images in training",
            *(FaceBlock(_TITLES[name], each) for name, each in measured.seen["pairings"].items()),
        ),
    }
