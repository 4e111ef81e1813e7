"""D Figure 5: one Z, many noises. How much of a picture do the attributes, Z and the noise decide?

D shows faces of one Z in "very subtle detail variations", "akin to Gaussian distribution with a mean and small
variance". Here the variance of the pixels is split, for models that are trained with Z paired to images in three ways,
and drawn from one Gaussian or several.

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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reproduction.diffusion.faces import FaceBlock, Pictures, draw_faces, draw_numbered
from reproduction.diffusion.study import Run, StudyConfig, progress, study_of
from reproduction.page import Measured
from reproduction.statistics import Row, Table, below, compare, summaries

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER = {"claim": "very subtle detail variations, akin to Gaussian distribution with a mean and small variance"}
SUBTLE = 0.1
"""Share of the variance of all pictures that noise may decide and be called subtle; D does not say."""
_LATENTS, _NOISES = 4, 4  # of a cell of the design
_SHOWN_LATENTS, _SHOWN_NOISES, _SHOWN_OF_OTHERS = 5, 7, 3
_STRETCH = 3  # of the standard deviation, to be seen
_TITLES = {"fixed": "fixed", "fresh": "fresh", "matched": "matched"}


class Config(StudyConfig):
    """Settings of Figure 5."""

    arms = ("fixed", "matched", "fresh", "fixed_1", "matched_1", "matched_6")


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


def _squares(deviations: NDArray) -> float:
    """Sum of squares, mean over pixels."""
    return np.square(deviations).sum() / deviations.shape[-1]


def _root(variance: float) -> float:
    return float(np.sqrt(max(0.0, variance)))


def variance(run: Run) -> Row:
    """Of a run: the parts, what Z and noise decide, and standard deviations in levels of 255."""
    parts = variance_parts(crossed(run, run.study.faces.attributes[: run.study.config.rows]))
    names = "attributes", "latents", "noise", "both"
    return {
        **{name: getattr(parts, name) / parts.total for name in names},
        "share": parts.share,
        "left to noise": (parts.noise + parts.both) / parts.total,
        "deviation": parts.deviation,
        "all": _root(parts.total),
    }


def crossed(run: Run, attributes: NDArray[np.uint8], n_latents: int = _LATENTS, n_noises: int = _NOISES) -> Pictures:
    """Pictures ``(R, n_latents, n_noises, H, W, 3)``: attributes ``(R, K)`` with Z and noises of their own."""
    cells = [(a, i, j) for a in range(len(attributes)) for i in range(n_latents) for j in range(n_noises)]
    pictures = draw_numbered(
        run,
        attributes[[a for a, _, _ in cells]],
        latents=[a * n_latents + i for a, i, _ in cells],
        noises=[a * n_noises + j for a, _, j in cells],
    )
    return pictures.reshape(len(attributes), n_latents, n_noises, *pictures.shape[1:])


MEASURES = {"variance": (Config.arms, variance)}


def claims(table: Table) -> dict[str, Any]:
    """D's: what varies for one Z is subtle, by arm. Ours: Z that describe their pictures decide more."""
    arms = "fixed", "matched"
    subtle = {arm: below([row["left to noise"] for row in table[arm].values()], SUBTLE) for arm in arms}
    return {
        "subtle": subtle,
        "matched decides more": compare(table, "matched", "fixed", "share", 1),
        "fixed as fresh": compare(table, "fixed", "fresh", "share", 1),
        "mixture decides more": {
            "fixed": compare(table, "fixed", "fixed_1", "share", 1),
            "matched": compare(table, "matched", "matched_1", "share", 1),
        },
    }


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Split the variance of the models' pictures, and draw some to show."""
    with study_of(config) as study:
        table = study.table("variance", variance, config.arms, progress(config, on_step))
        one = study.faces.attributes[:1]
        run = study.first("matched", "fixed")
        shown = crossed(run, one, _SHOWN_LATENTS, _SHOWN_NOISES)[0]
        examples = {
            arm: crossed(other, one, n_noises=_SHOWN_OF_OTHERS)[0]
            for arm, seed, other in study.runs(list(_TITLES))
            if seed == config.seed
        }
        real = _root(float(study.faces.asked.var(0, dtype=np.float64).mean()))
    ours = {"runs": summaries(table), "claims": claims(table), "real": real, "subtle": SUBTLE, "shown": run.arm}
    return Measured(ours, PAPER, {"model": shown, "pairings": examples})


def draw(measured: Measured) -> dict[str, Figure]:
    """Return faces of one Z a row and one noise a column: matched, with mean and spread, and of all pairings."""
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
            "One Z a row, one noise a column",
            *(FaceBlock(_TITLES[name], each) for name, each in measured.seen["pairings"].items()),
        ),
    }
