"""How much do generated pictures resemble real ones? Every number beside the same of real pictures against real ones.

Pictures become rows of features, and all that this package says about features is said at once. The reference is what
a perfect generator would get. Pictures drawn on request need care: drawn for the attributes of the very pictures that
they are held against, they come nearer to them than other real pictures do, and a Frechet distance looks better than
real against real. So they are drawn for the attributes of some real pictures, the control, and both, drawn and control,
are held against other real pictures. Without a control the reference is one random half of the real pictures against
the other half.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gaussmix._progress import progress_bar
from gaussmix.metrics.detail import measure_detail
from gaussmix.metrics.distances import frechet_distance, kernel_distance
from gaussmix.metrics.manifolds import manifold_scores, nearest_pictures, pairwise_diversity

if TYPE_CHECKING:
    from rich.table import Table

CLOSE = 0.05  # pictures nearer to a training one than all but this share of the real held-out ones are close
_BATCH = 256


class FeatureExtractor(Protocol):
    """Turns pictures ``(N, S, S, 3)`` uint8 into rows of features ``(N, D)``."""

    @property
    def name(self) -> str: ...

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class QualityScores:
    """What is measured of one set of pictures.

    Parameters
    ----------
    frechet_distance : float
        Squared 2-Wasserstein distance of normal laws; FID with Inception features.
    kernel_distance, kernel_distance_error : float
        KID and its standard error.
    precision, defect_rate, recall, density, coverage : float
        Of k-nearest-neighbour manifolds; the defect rate is 1 - precision.
    diversity : float
        Mean distance of two pictures, in features.
    nearest_training : float
        Median over pictures of the distance to the nearest training picture, root mean square over pixels in levels of
        255; NaN without training pictures.
    close_to_training : float
        Share of pictures nearer to a training picture than all but 5 % of the real ones; NaN likewise.
    detail, spectrum, seams : float
        Of the pixels themselves: see `gaussmix.metrics.detail`.
    """

    frechet_distance: float
    kernel_distance: float
    kernel_distance_error: float
    precision: float
    defect_rate: float
    recall: float
    density: float
    coverage: float
    diversity: float
    nearest_training: float = math.nan
    close_to_training: float = math.nan
    detail: float = math.nan
    spectrum: float = math.nan
    seams: float = math.nan


_ROWS = {  # field -> heading, number format, what a good generator has
    "frechet_distance": ("Frechet distance", ".3f", "low"),
    "kernel_distance": ("kernel distance (KID)", ".3g", "about 0"),
    "precision": ("precision", ".3f", "high"),
    "defect_rate": ("defect rate, 1 - precision", ".3f", "low"),
    "recall": ("recall", ".3f", "high"),
    "density": ("density", ".3f", "about 1"),
    "coverage": ("coverage", ".3f", "high"),
    "diversity": ("diversity", ".3f", "as real"),
    "nearest_training": ("nearest training picture", ".2f", "as real"),
    "close_to_training": ("close to a training picture", ".3f", "as real"),
    "detail": ("detail: ghosts, blur, grain", ".3f", "about 0"),
    "spectrum": ("spectrum, dB", ".2f", "about 0"),
    "seams": ("seams between patches", ".2f", "about 1"),
}


@dataclass(frozen=True)
class QualityReport:
    """Scores of generated pictures, and of real pictures against real ones as their reference.

    Parameters
    ----------
    generated : QualityScores
        Of the generated pictures against the real ones.
    reference : QualityScores
        Of the control against the real ones; without a control of one random half of the real ones against the other,
        with diversity and nearness to training pictures of all.
    extractor : str
        What made the features.
    n_features : int
        Their number, of each picture.
    n_generated, n_real, n_control, n_training : int
        Numbers of pictures, 0 where none were given.
    k : int
        Neighbours of the manifolds.
    seed : int
        Of the halves.
    """

    generated: QualityScores
    reference: QualityScores
    extractor: str
    n_features: int
    n_generated: int
    n_real: int
    n_control: int
    n_training: int
    k: int
    seed: int

    @property
    def notes(self) -> list[str]:
        """How far the numbers can be trusted, in sentences."""
        half = self.n_real // 2
        if self.n_control:
            notes = [
                f"{self.n_generated} generated and {self.n_control} real pictures, each set against {self.n_real} "
                "other real ones."
            ]
        else:
            notes = [
                f"{self.n_generated} generated against {self.n_real} real pictures, and one half of these against the "
                "other: the smaller the samples, the larger a Frechet distance."
            ]
        notes.append(f"Features: {self.n_features} of the {self.extractor}; {self.k} neighbours.")
        if self.n_control and self.n_control != self.n_generated:
            notes.append(
                "Frechet distances are biased upward, the more the smaller a set: those of sets of unlike size "
                "compare only roughly."
            )
        few = min(self.n_generated, self.n_real, self.n_control or half)
        if few <= self.n_features:
            notes.append(
                f"{few} pictures are few for {self.n_features} features: much of the Frechet distances is the bias of "
                "small samples."
            )
        if self.n_training:
            notes.append(
                f"Nearest of {self.n_training} training pictures in levels of 255; close: nearer than all but "
                f"{CLOSE:.0%} of real held-out pictures."
            )
        return notes

    def table(self) -> Table:
        """Return a table to print with rich, one row for each number."""
        from rich.table import Table

        table = Table(title="Quality of the pictures", caption=" ".join(self.notes), caption_justify="left")
        for heading in ("", "generated", "real against real", "good is"):
            table.add_column(heading, justify="left" if heading in ("", "good is") else "right")
        for field, (heading, form, good) in _ROWS.items():
            cells = [f"{getattr(scores, field):{form}}" for scores in (self.generated, self.reference)]
            if field == "kernel_distance":
                errors = (self.generated.kernel_distance_error, self.reference.kernel_distance_error)
                cells = [f"{cell} ± {error:{form}}" for cell, error in zip(cells, errors, strict=True)]
            if not math.isnan(getattr(self.generated, field)):
                table.add_row(heading, *cells, good, style="bold" if field == "frechet_distance" else None)
        return table

    def to_dict(self) -> dict[str, Any]:
        """Return everything, ready for JSON; NaN becomes None."""

        def plain(scores: QualityScores) -> dict[str, float | None]:
            return {name: None if math.isnan(value) else value for name, value in asdict(scores).items()}

        about = {name: value for name, value in vars(self).items() if name not in ("generated", "reference")}
        return {"generated": plain(self.generated), "real_against_real": plain(self.reference), **about}


def too_few(n_generated: int, n_real: int, n_control: int | None = None, k: int = 5) -> str | None:
    """Why so many pictures are not enough for `measure_quality`, or None; ``n_control`` is None without a control."""
    least = max(k + 1, 4)
    kinds = [("generated", n_generated, least), ("real", n_real, 2 * least if n_control is None else least)]
    for name, count, needed in kinds if n_control is None else [*kinds, ("control", n_control, least)]:
        if count < needed:
            return f"there are {count} {name} pictures, and quality with k = {k} neighbours needs at least {needed}"
    return None


def measure_quality(
    generated: NDArray[np.uint8],
    real: NDArray[np.uint8],
    extractor: FeatureExtractor,
    *,
    control: NDArray[np.uint8] | None = None,
    training: NDArray[np.uint8] | None = None,
    k: int = 5,
    seed: int = 0,
    progress: bool = False,
) -> QualityReport:
    """Compare generated pictures with real ones, beside real ones against real ones.

    Raises ValueError if there are fewer than k + 1 (at least 4) pictures of a kind, or of each half.

    Parameters
    ----------
    generated : ndarray of uint8
        Pictures ``(M, S, S, 3)``.
    real : ndarray of uint8
        Pictures ``(N, S, S, 3)`` that the generator was not trained on.
    extractor : FeatureExtractor
        An `AttributeClassifier`, `InceptionFeatures`, or anything with ``name`` and ``features``.
    control : ndarray of uint8, optional
        Other such pictures, those whose attributes the generated ones were drawn for: what a perfect generator would
        have drawn.
    training : ndarray of uint8, optional
        Pictures that it was trained on, to look for copies.
    k : int, default 5
        Neighbours that make the manifolds' balls.
    seed : int, default 0
        Of the random halves of ``real``, which stand in for a control where there is none.
    progress : bool, default False
        Draw a progress bar while features are computed.
    """
    problem = too_few(len(generated), len(real), None if control is None else len(control), k)
    if problem is not None:
        raise ValueError(f"{problem}; give more or a smaller k")
    sets = [generated, real] if control is None else [generated, real, control]
    made, true, *rest = _features(extractor, sets, progress)
    if control is None:
        one, other = np.array_split(np.random.default_rng(seed).permutation(len(true)), 2)
        reference = _scores(true[one], true[other], k, diversity=pairwise_diversity(true))
        detail = measure_detail(real[other], real[one])
    else:
        reference = _scores(true, rest[0], k, diversity=pairwise_diversity(rest[0]))
        detail = measure_detail(control, real)
    reference = replace(reference, **detail._asdict())
    scores = _scores(true, made, k, diversity=pairwise_diversity(made))
    scores = replace(scores, **measure_detail(generated, real)._asdict())
    if training is not None:
        near = [nearest_pictures(images, training) for images in (generated, real if control is None else control)]
        limit = np.quantile(near[1], CLOSE)
        scores, reference = (
            replace(found, nearest_training=float(np.median(d)), close_to_training=float((d < limit).mean()))
            for found, d in zip((scores, reference), near, strict=True)
        )
    counts = (0 if images is None else len(images) for images in (generated, real, control, training))
    return QualityReport(scores, reference, extractor.name, true.shape[1], *counts, k=k, seed=seed)


def _features(extractor: FeatureExtractor, sets: list[NDArray[np.uint8]], progress: bool) -> list[NDArray[np.float32]]:
    """The features of each set, under one progress bar."""
    found, done = [], 0
    with progress_bar("features", sum(map(len, sets)), progress) as show:
        for images in sets:
            rows = []
            for start in range(0, len(images), _BATCH):
                rows.append(extractor.features(images[start : start + _BATCH]))
                done += len(rows[-1])
                show(done)
            found.append(np.concatenate(rows))
    return found


def _scores(real: NDArray[np.float32], generated: NDArray[np.float32], k: int, *, diversity: float) -> QualityScores:
    kid, manifold = kernel_distance(generated, real), manifold_scores(real, generated, k=k)
    return QualityScores(
        frechet_distance=frechet_distance(generated, real),
        kernel_distance=kid.value,
        kernel_distance_error=kid.standard_error,
        **manifold._asdict(),
        defect_rate=manifold.defect_rate,
        diversity=diversity,
    )
