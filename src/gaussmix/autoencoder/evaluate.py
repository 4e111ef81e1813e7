"""How good are images that are decoded from drawn latents? Every number beside real images and reconstructions.

An independent judge, a classifier that never sees a decoded image in training, gives probabilities and features. Of the
test images one half is the reference; the other, the control, gives the labels that images are drawn for, and is what a
perfect generator would have drawn. So every row of the table stands for equally many images of the same labels:

    accuracy    share of images whose label the judge finds
    unsure      share in which its highest probability is below .9
    frechet     Frechet distance to the reference in the judge's features
    precision   share of images on the manifold of the reference, recall the reverse; `gaussmix.metrics.manifold_scores`
    diversity   mean distance of two images of a class, as a multiple of the control's; mean over the classes
    nearest     median distance to the nearest training image as a multiple of the control's: far below 1, copies
    close       share nearer to a training image than all but 5 % of the control

A distribution of latents whose samples collapse to the middle of each class is accurate and precise: look at recall and
diversity too.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from gaussmix._typing import FloatArray, IntArray
from gaussmix.autoencoder.model import ClassConditionalAutoencoder, training_rows
from gaussmix.autoencoder.train import mean_image
from gaussmix.data.base import SPLITS, LabelledImages
from gaussmix.latents.baselines import EMSampler, SlicedWassersteinSampler
from gaussmix.latents.expansion import ExpansionSampler
from gaussmix.metrics import frechet_distance, manifold_scores, nearest_distances, pairwise_diversity
from gaussmix.metrics.quality import CLOSE, LEAST, FeatureExtractor

if TYPE_CHECKING:
    from rich.table import Table

SURE = 0.9
"""The judge is unsure of an image in which its highest probability is below this."""
LatentSampler = ExpansionSampler | EMSampler | SlicedWassersteinSampler
REAL, RECONSTRUCTION = "real images", "reconstructions"
_NEIGHBOURS = 5
_OF_MANIFOLDS = ("precision", "recall")
_LEAST = 4  # test images of a class
_FEW = 10  # images a feature, below which the table warns of the bias of a Frechet distance


class Judge(FeatureExtractor, Protocol):
    """A classifier of images ``(N, S, S, C)`` uint8: probabilities ``(N, K)`` and features ``(N, F)``."""

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]: ...


def samplers(
    n_clusters: int | Literal["auto"] = "auto", n_components: int = 10, seed: int = 0
) -> dict[str, LatentSampler]:
    """What is compared: the paper's reading, Algorithm 2 as printed, ours in ``n_clusters``, rivals' mixtures."""
    return {
        "independent": ExpansionSampler("independent"),
        "algorithm2": ExpansionSampler("independent", rule="algorithm2"),
        "pca": ExpansionSampler("pca"),
        "cluster-pca": ExpansionSampler("cluster-pca", n_clusters=n_clusters, random_state=seed),
        "gaussian": EMSampler(1, random_state=seed),
        "em": EMSampler(n_components, random_state=seed),
        "sliced-wasserstein": SlicedWassersteinSampler(n_components, random_state=seed),
    }


@dataclass(frozen=True)
class ImageScores:
    """One row of the table; see the module. ``fit_seconds``: CPU time, None where nothing was fitted."""

    accuracy: float
    unsure: float
    frechet: float
    precision: float
    recall: float
    diversity: float
    nearest: float
    close: float
    fit_seconds: float | None = None


_COLUMNS = {  # field -> heading, number format
    "accuracy": ("class", ".3f"),
    "unsure": ("unsure", ".3f"),
    "frechet": ("FD", ".2f"),
    "precision": ("prec.", ".3f"),
    "recall": ("recall", ".3f"),
    "diversity": ("div.", ".2f"),
    "nearest": ("near", ".2f"),
    "close": ("close", ".3f"),
    "fit_seconds": ("fit s", ".2f"),
}


def check_test_images(dataset: LabelledImages) -> None:
    """Raises ValueError for a class with fewer than 4 test images: halves could not be measured."""
    counts = np.bincount(dataset.labels[dataset.indices("test")], minlength=len(dataset.class_names))
    if counts.min() < _LEAST:
        k = int(counts.argmin())
        raise ValueError(
            f"class {dataset.class_names[k]!r} has {counts[k]} test images: too few to measure; give more test images, "
            f"at least {_LEAST} of each class"
        )


def held_out_error(model: ClassConditionalAutoencoder, dataset: LabelledImages) -> float | None:
    """How far test images come back from what they were, beside the mean of the training images in their place.

    Parameters
    ----------
    model : ClassConditionalAutoencoder
        Trained on the training split.
    dataset : LabelledImages
        Its data.

    Returns
    -------
    float or None
        Squared error of their reconstructions as a multiple of that of the mean image: 0 is perfect, 1 tells nothing.
        None without test images, or where the mean image is right.
    """
    test = np.asarray(dataset.images[dataset.split == SPLITS.index("test")])
    mean, _ = mean_image(training_rows(dataset)[0])
    guessed = np.square(test / 255.0 - mean).mean() if len(test) else 0.0
    if guessed == 0:
        return None
    return float(np.square((model.decode(model.encode(test)) - test.astype(float)) / 255).mean() / guessed)


class Reference:
    """Test images in two halves, the training images, and a judge; scores sets of images against them.

    Each half, drawn with ``seed``, has ``count`` images, half of the test images if not given. Raises ValueError if one
    has fewer than 2 images of a class.
    """

    def __init__(self, dataset: LabelledImages, judge: Judge, *, count: int | None = None, seed: int = 0):
        rows = np.random.default_rng(seed).permutation(dataset.indices("test"))
        half = len(rows) // 2 if count is None else min(count, len(rows) // 2)
        real, control = rows[:half], rows[half : 2 * half]
        self.judge = judge
        self.n_classes = len(dataset.class_names)
        self.images, self.labels = np.asarray(dataset.images[control]), dataset.labels[control]
        fewest = np.bincount(self.labels, minlength=self.n_classes).min()
        if fewest < 2 or half <= _NEIGHBOURS:
            raise ValueError(
                f"{half} test images in each half, of a class only {fewest}: too few to measure; give more test images"
            )
        self.real = judge.features(np.asarray(dataset.images[real]))
        self.training = judge.features(training_rows(dataset)[0])
        control_features = judge.features(self.images)
        near = nearest_distances(control_features, self.training)
        self.near, self.limit = float(np.median(near)), float(np.quantile(near, CLOSE))
        self.spread = self._spread(control_features)

    def __len__(self) -> int:
        return len(self.labels)

    def score(self, images: NDArray[np.uint8], fit_seconds: float | None = None) -> ImageScores:
        """Of images ``(len(self), S, S, C)`` drawn for ``self.labels``."""
        probabilities, features = self.judge.probabilities(images), self.judge.features(images)
        near = nearest_distances(features, self.training)
        manifold = manifold_scores(self.real, features, k=_NEIGHBOURS)
        return ImageScores(
            accuracy=float((probabilities.argmax(1) == self.labels).mean()),
            unsure=float((probabilities.max(1) < SURE).mean()),
            frechet=frechet_distance(features, self.real),
            precision=manifold.precision,
            recall=manifold.recall,
            diversity=float(np.mean(self._spread(features) / self.spread)),
            nearest=float(np.median(near)) / self.near,
            close=float((near < self.limit).mean()),
            fit_seconds=fit_seconds,
        )

    def _spread(self, features: NDArray[np.float32]) -> FloatArray:
        """Mean distance of two images of each class, ``(K,)``."""
        return np.array([pairwise_diversity(features[self.labels == k]) for k in range(self.n_classes)])


@dataclass(frozen=True)
class Evaluation:
    """Scores by name, the bounds `REAL` and `RECONSTRUCTION` first."""

    rows: dict[str, ImageScores]
    judge: str
    judge_accuracy: float
    n_images: int
    n_features: int

    def table(self) -> Table:
        """A table to print with rich."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        caption = (
            f"{self.n_images} images a row against as many test images, in the features of the {self.judge}. Class: "
            f"share whose class it finds. Unsure: its highest probability below {SURE}. FD: Frechet distance. Div., "
            "near: diversity within classes and distance to the nearest training image as multiples of real ones. "
            f"Close: nearer to one than all but {CLOSE:.0%} of real test images. Fit: CPU time."
        )
        if self.withheld:
            caption += f" {self.withheld}"
        if self.n_images < _FEW * self.n_features:
            few = f"{self.n_images} images are few for {self.n_features} features"
            caption += f" {few}: FD is mostly bias: compare it with that of the real images."
        table = Table(title="Images from drawn latents", caption=caption, box=SIMPLE_HEAD, padding=0, pad_edge=False)
        table.caption_justify = "left"
        table.add_column("", no_wrap=True)
        for heading, _ in _COLUMNS.values():
            table.add_column(heading, justify="right", no_wrap=True)
        for name, scores in self.rows.items():
            cells = ((field, getattr(scores, field), form) for field, (_, form) in _COLUMNS.items())
            texts = ("" if value is None else self._cell(field, value, form) for field, value, form in cells)
            table.add_row(name, *texts)
        return table

    def _cell(self, field: str, value: float, form: str) -> str:
        """The share of each row's pictures that counts has the half width of its interval beside it."""
        if self.withheld and field in _OF_MANIFOLDS:
            return "-"
        if field != "accuracy":
            return f"{value:{form}}"
        middle = (value * self.n_images + 2) / (self.n_images + 4)
        return f"{value:{form}}±{1.96 * math.sqrt(middle * (1 - middle) / (self.n_images + 4)):{form}}"

    @property
    def withheld(self) -> str:
        """Why precision and recall are not told, or nothing."""
        if self.n_images >= LEAST:
            return ""
        return f"Precision and recall are withheld: they need {LEAST} test images, and there are {self.n_images}."

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON; None for what is withheld."""
        told = asdict(self)
        if self.withheld:
            told["withheld"] = self.withheld
            for row in told["rows"].values():
                row |= dict.fromkeys(_OF_MANIFOLDS)
        return told


def evaluate_samplers(
    model: ClassConditionalAutoencoder,
    latents: tuple[NDArray[np.float32], IntArray],
    reference: Reference,
    compared: Mapping[str, LatentSampler],
    *,
    seed: int = 0,
    on_row: Callable[[str, NDArray[np.uint8]], object] = lambda name, images: None,
) -> Evaluation:
    """Fit each of ``compared`` to ``latents``, z ``(N, d)`` and y ``(N,)``, and score what ``model`` decodes from it.

    ``on_row`` is called with the name and the images of each row when it is done.
    """
    rows: dict[str, ImageScores] = {}

    def add(name: str, images: NDArray[np.uint8], seconds: float | None = None) -> None:
        rows[name] = reference.score(images, seconds)
        on_row(name, images)

    add(REAL, reference.images)
    add(RECONSTRUCTION, model.decode(model.encode(reference.images)))
    for name, sampler in compared.items():
        before = time.process_time()
        with warnings.catch_warnings():  # of the printed Algorithm 2, for each of hundreds of fits
            warnings.filterwarnings("ignore", message="algorithm2 as printed", category=UserWarning)
            sampler.fit(*latents)
        seconds = time.process_time() - before
        z = sampler.sample(len(reference), class_label=reference.labels, random_state=seed)
        add(name, model.decode(z), seconds)
    return Evaluation(rows, reference.judge.name, rows[REAL].accuracy, len(reference), reference.real.shape[1])
