"""How much do generated pictures resemble real ones? Every number beside the same of real pictures against real ones.

Pictures become rows of features, and all that this package says about features is said at once. The reference is what
a perfect generator would get. Pictures drawn on request need care: drawn for the attributes of the very pictures that
they are held against, they come nearer to them than other real pictures do, and a Frechet distance looks better than
real against real. So they are drawn for the attributes of some real pictures, the control, and both, drawn and control,
are held against other real pictures. Without a control the reference is one random half of the real pictures against
the other half.

Few pictures say little, and then less is said. On manifolds of fewer than `LEAST` real pictures nearly everything lies,
so precision and its like are withheld. Other numbers have an interval: 1.96 standard errors, of shares from their
binomial law (with two more of each kind: Agresti and Coull), of KID its own, of others from ten tenths of the pictures
that are left out in turn (a jackknife of groups: (g - 1) / g times the sum of squares). What counts as a defect is for
`gaussmix.metrics.defects` to say.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from gaussmix._progress import progress_bar
from gaussmix.metrics.detail import measure_detail
from gaussmix.metrics.distances import frechet_distance, kernel_distance
from gaussmix.metrics.manifolds import manifold_scores, nearest_pictures, pairwise_diversity

if TYPE_CHECKING:
    from rich.table import Table

    from gaussmix.metrics.defects import DefectScores

LEAST = 200
"""Real pictures below which manifolds and defects are not spoken of."""
_TENTHS, _MOST_FEATURES = 10, 256  # of more features a Frechet distance takes too long to be computed eleven times
_SHARES = ("precision", "defect_rate", "recall", "coverage", "close_to_training")
CLOSE = 0.05  # pictures nearer to a training one than all but this share of the real held-out ones are close
_BATCH = 256
_Z = 1.96


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
    precision : float
        Of k-nearest-neighbour manifolds; NaN below 200 real pictures.
    defect_rate : float
        Share of pictures that `measure_defects` takes for spoilt ones; NaN where it did not look, or below 200 real
        pictures, or where it missed a control.
    recall, density, coverage : float
        As precision.
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
    "defect_rate": ("defects", ".3f", "as real"),
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
    generated_errors, reference_errors : dict of str to float
        Standard errors of the scores that have one.
    withheld : tuple of str
        What is not told, and why, in sentences.
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
    generated_errors: dict[str, float] = field(default_factory=dict)
    reference_errors: dict[str, float] = field(default_factory=dict)
    withheld: tuple[str, ...] = ()

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
        notes.append("±: intervals of 95 %.")
        return [*notes, *self.withheld]

    def table(self) -> Table:
        """Return a table to print with rich, one row for each number."""
        from rich.table import Table

        table = Table(title="Quality of the pictures", caption=" ".join(self.notes), caption_justify="left")
        for heading in ("", "generated", "real against real", "good is"):
            table.add_column(heading, justify="left" if heading in ("", "good is") else "right")
        for name, (heading, form, good) in _ROWS.items():
            cells = [
                f"{getattr(scores, name):{form}}" + (f" ± {_Z * errors[name]:{form}}" if name in errors else "")
                for scores, errors in (
                    (self.generated, self.generated_errors),
                    (self.reference, self.reference_errors),
                )
            ]
            if not math.isnan(getattr(self.generated, name)):
                table.add_row(heading, *cells, good, style="bold" if name == "frechet_distance" else None)
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
    defects: DefectScores | None = None,
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
    defects : DefectScores, optional
        From `gaussmix.metrics.measure_defects` of the same pictures; without it nothing is said of defects.
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
        ours, theirs = _Set(true[one], real[one]), _Set(true[other], real[other])
        spread, others = true, real
    else:
        ours, theirs = _Set(true, real), _Set(rest[0], control)
        spread, others = rest[0], control
    near = None
    if training is not None:
        near = [nearest_pictures(images, training) for images in (generated, others)]
    withheld, shown = _withheld(len(real), defects)
    found = []
    for held, against, diversity, place in (
        (_Set(made, generated), _Set(true, real), made, 0),
        (theirs, ours, spread, 1),
    ):
        scores = _scores(against, held, k, diversity=pairwise_diversity(diversity))
        if shown is not None:
            scores = replace(scores, defect_rate=(shown.generated, shown.real)[place])
        if near is not None:
            d, limit = near[place], np.quantile(near[1], CLOSE)
            close = float((d < limit).mean())
            scores = replace(scores, nearest_training=float(np.median(d)), close_to_training=close)
        if len(real) < LEAST:
            scores = replace(scores, **dict.fromkeys(("precision", "recall", "density", "coverage"), math.nan))
        found.append((scores, _errors(scores, against, held, None if near is None else near[place])))
    counts = (0 if images is None else len(images) for images in (generated, real, control, training))
    (scores, errors), (reference, reference_errors) = found
    about = extractor.name, true.shape[1], *counts
    intervals = {"generated_errors": errors, "reference_errors": reference_errors}
    return QualityReport(scores, reference, *about, k=k, seed=seed, **intervals, withheld=withheld)


class _Set(NamedTuple):
    """Features ``(N, D)`` and the pictures ``(N, S, S, 3)`` that they are of."""

    features: NDArray[np.float32]
    images: NDArray[np.uint8]

    def without(self, tenth: int) -> _Set:
        kept = np.arange(len(self.images)) % _TENTHS != tenth
        return _Set(self.features[kept], self.images[kept])


def _withheld(n_real: int, defects: DefectScores | None) -> tuple[tuple[str, ...], DefectScores | None]:
    """What is not told, and what is told of defects."""
    if n_real < LEAST:
        return (
            f"Precision, recall, density, coverage and defects are withheld: they need {LEAST} real pictures to be "
            f"held against, and there are {n_real}.",
        ), None
    if defects is None:
        return (), None
    if defects.missed is not None:
        return (f"Defects are withheld: {defects.missed}.",), None
    return (), defects


def _errors(scores: QualityScores, real: _Set, made: _Set, near: NDArray | None) -> dict[str, float]:
    """Standard errors of scores of pictures ``made`` held against ``real``, which are ``near`` to training pictures."""
    errors = {"kernel_distance": scores.kernel_distance_error}
    for name in _SHARES:
        share, count = getattr(scores, name), len(real.images if name in ("recall", "coverage") else made.images)
        if not math.isnan(share):
            middle = (share * count + 2) / (count + 4)
            errors[name] = math.sqrt(middle * (1 - middle) / (count + 4))
    least = min(len(real.images), len(made.images))
    if least < 2 * _TENTHS:
        return errors
    left = []
    for tenth in range(_TENTHS):
        a, b = real.without(tenth), made.without(tenth)
        each = {"diversity": pairwise_diversity(b.features), **measure_detail(b.images, a.images)._asdict()}
        if a.features.shape[1] <= _MOST_FEATURES:
            each["frechet_distance"] = frechet_distance(b.features, a.features)
        if near is not None:
            each["nearest_training"] = float(np.median(near[np.arange(len(near)) % _TENTHS != tenth]))
        left.append(each)
    for name in left[0]:
        values = np.array([each[name] for each in left])
        if np.isfinite(values).all():
            errors[name] = float(np.sqrt((_TENTHS - 1) * values.var()))
    return errors


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


def _scores(real: _Set, generated: _Set, k: int, *, diversity: float) -> QualityScores:
    kid = kernel_distance(generated.features, real.features)
    return QualityScores(
        frechet_distance=frechet_distance(generated.features, real.features),
        kernel_distance=kid.value,
        kernel_distance_error=kid.standard_error,
        **manifold_scores(real.features, generated.features, k=k)._asdict(),
        defect_rate=math.nan,
        diversity=diversity,
        **measure_detail(generated.images, real.images)._asdict(),
    )
