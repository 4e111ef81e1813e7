"""D Figure 5: one Z, many noises. How much of a picture do the attributes, Z and the noise decide?

D shows faces of one Z in "very subtle detail variations", "akin to Gaussian distribution with a mean and small
variance". `reproduction.diffusion.fig5` splits the variance of the pixels: here for the model, whose Z describes
its images, and for small models that are trained with Z paired to images in three ways.

Which part of the variance of a picture the attributes, Z and the noise decide.

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
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from reproduction.diffusion import conditions as condition_study
from reproduction.diffusion.conditions import StudyConfig, avatar_faces, run_variant, trained_variant
from reproduction.diffusion.fig7 import variants
from reproduction.diffusion.model import (
    QUICK,
    Artist,
    Faces,
    PageConfig,
    Pictures,
    draw_faces,
    how_drawn,
    load_subject,
    words,
)
from reproduction.page import Cell, Picture, Result, Table
from reproduction.runs import runs_under
from reproduction.statistics import Interval, difference, interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
        return float(np.sqrt(max(0.0, self.noise + self.both)))


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
    R = len(pictures)
    without = [variance_parts(np.delete(pictures, a, axis=0)).share for a in range(R)]
    return float(np.sqrt((R - 1) / R * np.square(np.subtract(without, np.mean(without))).sum()))


def _squares(deviations: NDArray) -> float:
    """Sum of squares, mean over pixels."""
    return np.square(deviations).sum() / deviations.shape[-1]


PAIRINGS = {
    "features": "fixed: drawn once for each image (D)",
    "fresh": "fresh: drawn at each step",
    "matched": "matched: describes the image (ours)",
}
"""The runs of Figure 7 that differ in how Z is paired to images, and their names here."""

SUBTLE = 0.1
"""Share of the variance of all faces below which we call a variation very subtle."""
LONG = ("features", "matched")
"""The pairings that are also trained for longer, with one seed."""
_LATENTS, _NOISES = 4, 4  # of a cell of the design
_SHOWN_LATENTS, _SHOWN_NOISES, _SHOWN_OF_RUNS = 5, 7, 3
_STRETCH = 3  # of the standard deviation, to be seen
_LONG_VALUES = ("accuracy", "FD", "recall", "held-out loss")
_ERRORS = 2.0  # standard errors that a difference must have


@dataclass(frozen=True)
class Config(PageConfig, StudyConfig):
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
        return replace(self, attribute_rows=3, run_rows=2, long_steps=6, **{**condition_study.QUICK, **QUICK})


Shares = dict[str, list[float]]


class Long(NamedTuple):
    """Of a longer run: Z's share, its standard error, and how good its pictures are."""

    share: float
    error: float
    values: dict[str, float]


def run(config: Config, on_step: Callable[[int], None]) -> Result:
    """Figure 5."""
    subject = load_subject(config)
    artist = Artist(config, on_step)
    rows = np.random.default_rng(config.seed).permutation(subject.attributes[subject.held_out])
    pictures = crossed(artist, subject.pipeline, rows[: config.attribute_rows])
    parts, error = variance_parts(pictures), share_error(pictures)
    real = float(subject.images[subject.held_out].var(0, dtype=np.float64).mean())

    wanted = subject.wanted("1")
    one = subject.pipeline.choose_attributes(wanted, count=1, seed=config.seed)
    shown = crossed(artist, subject.pipeline, one, _SHOWN_LATENTS, _SHOWN_NOISES)[0]
    shares, examples = _pairings(config, artist)
    long = _long(config, artist)
    return Result(
        title="D Figure 5: one Z, many noises",
        about="What is left to the noise once the attributes and Z are given, as shares of the variance of the pixels.",
        ours={
            "parts": asdict(parts),
            "share": parts.share,
            "share_error": error,
            "deviation": parts.deviation,
            "real_variance": real,
            "pairings": shares,
            "longer": {name: one._asdict() for name, one in long.items()},
        },
        paper={"claim": "very subtle detail variations, akin to Gaussian distribution with a mean and small variance"},
        tables=(_parts_table(parts, real), _pairing_table(shares), _long_table(long, config)),
        readings=(
            how_drawn(subject, config),
            f"Shares: {config.attribute_rows} held-out rows of attributes, for each {_LATENTS} new Z crossed with "
            f"{_NOISES} new noises; random effects, estimated without bias for every pixel and colour, summed, then "
            "divided. The standard error of Z's share is a jackknife over the rows.",
            f"Pairings: the small models of diffusion-fig7 ({config.training_steps} steps of {config.batch_size}, "
            f"{config.repetitions} seeds), {config.run_rows} rows each; the model above is another network, trained "
            "for longer. Intervals: Student's t over the seeds.",
            f"Longer: the same small network, {config.long_steps} steps of {config.batch_size}, one seed, the same "
            f"images, noise and order of batches; {config.attribute_rows} rows, standard errors over them.",
            "D does not say what it means by subtle; here less than "
            f"{SUBTLE:.0%} of the variance of all faces. That the variation is Gaussian is not tested.",
        ),
        findings=(*findings(parts, error, shares), _long_sentence(long, config)),
        pictures=(
            Picture(
                "",
                f"Faces of one row of attributes ({words(wanted)}, and what came with them). A row of the picture has "
                "one Z, a column one noise. At the right: mean and standard deviation of the row, the latter "
                f"{_STRETCH} times enlarged.",
                lambda: _draw(shown),
            ),
            Picture(
                "-pairings",
                "As above, small models of one seed: a row has one Z, a column one noise. Where Z says nothing of the "
                "picture, all rows are alike.",
                lambda: draw_faces(
                    "One Z a row, one noise a column, by how Z was paired to images in training",
                    *(Faces(PAIRINGS[name].split(":")[0], each) for name, each in examples.items()),
                ),
            ),
        ),
    )


def crossed(
    artist: Artist,
    pipeline: AttributeDiffusionPipeline,
    attributes: NDArray[np.uint8],
    n_latents: int = _LATENTS,
    n_noises: int = _NOISES,
) -> Pictures:
    """Pictures ``(R, n_latents, n_noises, H, W, 3)``: attributes ``(R, K)`` with Z and noises of their own."""
    cells = [(a, i, j) for a in range(len(attributes)) for i in range(n_latents) for j in range(n_noises)]
    pictures = artist.draw(
        pipeline,
        attributes[[a for a, _, _ in cells]],
        latents=[a * n_latents + i for a, i, _ in cells],
        noises=[a * n_noises + j for a, _, j in cells],
    )
    return pictures.reshape(len(attributes), n_latents, n_noises, *pictures.shape[1:])


def _pairings(config: Config, artist: Artist) -> tuple[Shares, dict[str, Pictures]]:
    """Z's share by pairing and seed, and pictures ``(M, N, H, W, 3)`` of the first seed."""
    faces = avatar_faces(config)
    told = variants(faces, config.seed)
    shares: Shares = {name: [] for name in PAIRINGS}
    examples: dict[str, Pictures] = {}
    with runs_under(config.runs) as folder:
        for seed in config.seeds:
            for name in PAIRINGS:
                pipeline = trained_variant(told[name], faces, config, seed, folder)[0]
                pictures = crossed(artist, pipeline, faces.attributes[: config.run_rows])
                shares[name].append(variance_parts(pictures).share)
                examples.setdefault(name, pictures[0, :, :_SHOWN_OF_RUNS])
    return shares, examples


def _long(config: Config, artist: Artist) -> dict[str, Long]:
    """Z's share in networks that differ in the pairing alone, trained for long enough to use Z."""
    faces = avatar_faces(config)
    told = variants(faces, config.seed)
    longer = replace(config, training_steps=config.long_steps)
    found: dict[str, Long] = {}
    with runs_under(config.runs) as folder:
        for name in LONG:
            values = run_variant(told[name], faces, longer, config.seed, folder).values
            pipeline = trained_variant(told[name], faces, longer, config.seed, folder)[0]
            pictures = crossed(artist, pipeline, faces.attributes[: config.attribute_rows])
            found[name] = Long(variance_parts(pictures).share, share_error(pictures), values)
    return found


def findings(parts: VarianceParts, error: float, shares: Shares) -> tuple[str, ...]:
    """What the numbers say, in sentences."""
    left = parts.noise + parts.both
    subtle = left < SUBTLE * parts.total
    return (
        f"Z decides {parts.share:.2f} ± {error:.2f} (standard error) of the variance of a picture whose attributes are "
        f"given. Of the variance of all pictures the attributes decide {parts.attributes / parts.total:.0%}, Z "
        f"{parts.latents / parts.total:.0%}, the noise by itself {parts.noise / parts.total:.0%}, Z and noise together "
        f"{parts.both / parts.total:.0%}.",
        f"The variation that is left once attributes and Z are given is {'' if subtle else 'not '}very subtle, as D "
        f"{'says' if subtle else 'has it'}: a pixel's standard deviation over noises is {parts.deviation:.0f} levels "
        f"of 255, {left / parts.total:.0%} of the variance of all pictures.",
        _pairing_sentence(shares),
    )


def _pairing_sentence(shares: Shares) -> str:
    found = {name: interval(values) for name, values in shares.items()}
    gains = {name: difference(shares["matched"], shares[name]) for name in ("features", "fresh")}
    listed = "; ".join(f"{label.split(':')[0]} {found[name]}" for name, label in PAIRINGS.items())
    if all(np.isnan(gap.half) for gap in gains.values()):
        verdict = "One seed allows no conclusion"
    elif all(gap.sign > 0 for gap in gains.values()):
        verdict = "Z speaks where it describes its image"
    else:
        verdict = "That matched Z decide more than random ones is not shown"
    return f"{verdict}. Share of Z in small models, given the attributes: {listed}.{_paper_like(found['features'])}"


def _paper_like(fixed: Interval) -> str:
    if fixed.mean < 0.05:
        return " With D's pairing the network learns to ignore Z: what a sheet of faces of one Z shows is the noise."
    return " With D's pairing, too, Z decides something."


def _long_sentence(long: dict[str, Long], config: Config) -> str:
    fixed, matched = long["features"], long["matched"]
    apart = matched.share - fixed.share > _ERRORS * float(np.hypot(matched.error, fixed.error))
    verdict = "Z speaks where it describes its image" if apart else "the pairings are not told apart"
    return (
        f"Trained equally for {config.long_steps} steps, {verdict}: it decides {matched.share:.2f} ± "
        f"{matched.error:.2f} matched, {fixed.share:.3f} ± {fixed.error:.3f} with D's pairing (standard errors)."
    )


def _long_table(long: dict[str, Long], config: Config) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (PAIRINGS[name], f"{one.share:.3f} ± {one.error:.2g}", *(one.values[key] for key in _LONG_VALUES))
        for name, one in long.items()
    ]
    title = f"After {config.long_steps} steps of the same network, one seed: share of Z given the attributes, quality"
    return Table(title, ("Z", "share ± standard error", *_LONG_VALUES), tuple(rows))


def _parts_table(parts: VarianceParts, real: float) -> Table:
    named = {
        "attributes": parts.attributes,
        "Z": parts.latents,
        "noise": parts.noise,
        "Z and noise together": parts.both,
        "all pictures": parts.total,
    }
    rows: list[tuple[Cell, ...]] = [
        (name, value / parts.total, float(np.sqrt(max(0.0, value)))) for name, value in named.items()
    ]
    rows.append(("real held-out faces", None, float(np.sqrt(real))))
    return Table("Variance of a pixel by what decides it", ("", "share", "standard deviation, levels"), tuple(rows))


def _pairing_table(shares: Shares) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (PAIRINGS[name], str(interval(values)), ", ".join(f"{value:.3f}" for value in values))
        for name, values in shares.items()
    ]
    return Table("Share of Z given the attributes, small models", ("Z", "mean ± 95 % interval", "by seed"), tuple(rows))


def _draw(shown: Pictures) -> Figure:
    """A grid of faces, and mean and spread of each row."""
    values = shown.astype(np.float64)
    spread = np.clip(_STRETCH * values.std(1, ddof=1), 0, 255)
    beside = np.stack([values.mean(1), spread], axis=1).round().astype(np.uint8)
    return draw_faces(
        "One Z a row, one noise a column",
        Faces("", shown, [f"Z {i + 1}" for i in range(len(shown))]),
        Faces("", beside, columns=("mean", "spread")),
    )
