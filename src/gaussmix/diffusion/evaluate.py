"""Does the model draw what it was asked for, and do its pictures resemble real ones? An independent judge looks.

*Accuracy.* Pictures are drawn for the attributes of held-out images. `balanced_accuracy` compares what the classifier
finds in them with what was asked for, beside the same figure on the real held-out images: the judge's own errors.

*Changes.* For attribute k and a held-out row, two pictures share noise and Z; one is asked for with the attribute and
one without. The change shows if the classifier finds k in the first and not in the second. Flipping k alone may
contradict itself (bald with long hair, or a head of hair of no colour), so the other side of a pair is the nearest row
of the data in Hamming distance in which k is flipped: k alone wherever that occurs in the data. How many other
attributes had to change along is reported. All attributes share the rows, the noise and Z.

*Quality.* The pictures drawn for accuracy and the held-out images whose attributes they were drawn for, the control,
are both held against other real images, those of the valid split: `gaussmix.metrics.quality` says why. Where there are
hardly any, one half of the test split is control and the other half is what pictures are held against. From 200 of
these up a second network, which knows spoilt pictures from real ones, counts defects: `gaussmix.metrics.defects`.

*Intervals.* A balanced accuracy is the mean of two shares, of n and m pictures: its standard error is half the root of
the sum of p (1 - p) / n of both, each share with two more pictures of each kind (Agresti and Coull 1998).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from gaussmix._guard import counted
from gaussmix._progress import progress_bar
from gaussmix.data.base import SPLITS, AttributeDataset
from gaussmix.diffusion.sampling import draw
from gaussmix.metrics.classifier import balanced_accuracy, load_or_train_classifier
from gaussmix.metrics.defects import load_or_train_defects, measure_defects
from gaussmix.metrics.quality import LEAST, FeatureExtractor, QualityReport, measure_quality, too_few

if TYPE_CHECKING:
    from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline


@dataclass(frozen=True, eq=False)
class EvaluationReport:
    """What `evaluate_pipeline` measured; arrays have an entry for each of the K attributes, NaN if nothing can be said.

    ``real`` and ``generated`` are balanced accuracies of the classifier, on the real test split, and on pictures
    against the attributes asked for: 1/2 if they are ignored. Of the pairs, ``changes`` is the share in which the
    attribute is found where it was asked for and only there, ``pixel_change`` the mean absolute difference of the two
    pictures in 8-bit levels, ``companions`` the mean number of other attributes that differ. ``count`` pictures are
    behind ``generated``, ``change_count`` pairs behind ``changes`` of each attribute. ``quality`` is how much the
    pictures resemble real ones, or None for the reason ``without_quality``. ``errors`` are the standard errors ``(K,)``
    of real, generated and changes.
    """

    attribute_names: tuple[str, ...]
    real: NDArray
    generated: NDArray
    changes: NDArray
    pixel_change: NDArray
    companions: NDArray
    data: str
    count: int
    change_count: int
    seed: int
    guidance_scale: float
    num_inference_steps: int
    quality: QualityReport | None = None
    without_quality: str = ""
    errors: dict[str, NDArray] = field(default_factory=dict)

    @property
    def means(self) -> dict[str, float]:
        """Mean of every column over the attributes for which it is defined."""
        return {name: _mean(getattr(self, name)) for name in _COLUMNS}

    @property
    def worst(self) -> str | None:
        """The attribute of lowest balanced accuracy on generated pictures."""
        return None if np.isnan(self.generated).all() else self.attribute_names[np.nanargmin(self.generated)]

    def table(self) -> Table:
        """A table to print with rich, one row for each attribute and their mean."""
        table = Table(
            title=f"Balanced accuracy of a classifier that never saw the model ({self.data})",
            caption=(
                f"Accuracy on {self.count} pictures drawn for held-out attributes; changes over {self.change_count} "
                "pairs with and without the attribute, same noise and Z. Pixels in levels of 255; also changed: "
                f"other attributes that differ within a pair. Seed {self.seed}, guidance {self.guidance_scale:g}, "
                f"{counted(self.num_inference_steps, 'step')}. ±: intervals of 95 %."
            ),
            caption_justify="left",
        )
        table.add_column("attribute")
        for heading, _ in _COLUMNS.values():
            table.add_column(heading, justify="right")
        for k, name in enumerate(self.attribute_names):
            cells = [
                _cell(getattr(self, column)[k], form, self.errors[column][k] if column in self.errors else None)
                for column, (_, form) in _COLUMNS.items()
            ]
            table.add_row(name, *cells, style="yellow" if name == self.worst else None)
        table.add_section()
        table.add_row("mean", *(_cell(self.means[name], form) for name, (_, form) in _COLUMNS.items()), style="bold")
        return table

    def to_json(self) -> str:
        """Everything as JSON; NaN becomes null."""

        def plain(value: float) -> float | None:
            return None if np.isnan(value) else float(value)

        rows = [
            {
                "attribute": name,
                **{column: plain(getattr(self, column)[k]) for column in _COLUMNS},
                **{f"{column}_error": plain(errors[k]) for column, errors in self.errors.items()},
            }
            for k, name in enumerate(self.attribute_names)
        ]
        settings = ("data", "count", "change_count", "seed", "guidance_scale", "num_inference_steps", "worst")
        report = {
            **{name: getattr(self, name) for name in settings},
            "mean": {name: plain(value) for name, value in self.means.items()},
            "attributes": rows,
            "quality": None if self.quality is None else self.quality.to_dict(),
        }
        return json.dumps(report, indent=2)


_Z = 1.96
Request = tuple[NDArray, int]  # rows of attributes, and a seed

_TRAINING = 20_000
"""Of the training pictures at most so many, chosen at random, are searched for copies: more do not fit in memory."""
_COLUMNS = {  # field of the report -> heading, number format
    "real": ("real", ".3f"),
    "generated": ("generated", ".3f"),
    "changes": ("changes", ".2f"),
    "pixel_change": ("pixel change", ".1f"),
    "companions": ("also changed", ".1f"),
}


def _mean(values: NDArray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _cell(value: float, form: str, error: float | None = None) -> str:
    if np.isnan(value):
        return "-"
    return format(value, form) + ("" if error is None or np.isnan(error) else f" ± {_Z * error:{form}}")


def _share_error(share: NDArray, count: NDArray | int) -> NDArray:
    middle = (share * count + 2) / (np.asarray(count) + 4)
    return np.sqrt(middle * (1 - middle) / (np.asarray(count) + 4))


def _accuracy_error(predicted: NDArray, truth: NDArray) -> NDArray:
    """Standard errors ``(K,)`` of balanced accuracies of ``(N, K)``; NaN where there is none."""
    predicted, truth = np.asarray(predicted, bool), np.asarray(truth, bool)
    found = []
    for has in (True, False):
        count = (truth == has).sum(0)
        share = ((predicted == has) & (truth == has)).sum(0) / np.maximum(count, 1)
        found.append(np.where(count > 0, _share_error(share, count), np.nan))
    return np.hypot(*found) / 2


def evaluate_pipeline(
    pipeline: AttributeDiffusionPipeline,
    dataset: AttributeDataset,
    *,
    count: int = 512,
    change_count: int = 32,
    seed: int = 0,
    guidance_scale: float = 2.0,
    num_inference_steps: int = 10,
    extractor: FeatureExtractor | None = None,
    cache: Path | None = None,
    progress: bool = True,
) -> EvaluationReport:
    """Measure how well a model follows its attributes, on the attributes of the test split of a data set.

    Rows of attributes are taken in random order, and again from the start if ``count`` asks for more than the split
    has. The classifier is trained on first use. One seed, one result.

    Parameters
    ----------
    pipeline, dataset : AttributeDiffusionPipeline, AttributeDataset
        The model, and real images with its attributes, and perhaps others.
    count, change_count : int
        Pictures for the accuracy, and pairs for the changes of each attribute.
    seed, guidance_scale, num_inference_steps : int, float, int
        How they are drawn.
    extractor : FeatureExtractor, optional
        Quality is measured in its features; by default the classifier's.
    cache, progress : path, bool
        Folder of the classifier, by default `gaussmix.data.cache_dir`; whether to show bars.

    Raises
    ------
    ValueError
        If the data set lacks attributes of the model, or its images have another size than the model's pictures, if
        its train or test split is empty, and for a count below 1.
    """
    for name, value in (("count", count), ("change_count", change_count)):
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
    columns = _find_columns(pipeline, dataset)
    test = dataset.indices("test")
    held_out = dataset.attributes[test][:, columns]
    rng = np.random.default_rng(seed)
    chosen = np.resize(rng.permutation(len(held_out)), count)
    wanted = held_out[chosen]
    base = held_out[np.resize(rng.permutation(len(held_out)), change_count)]
    partners = _nearest_flips(base, np.unique(dataset.attributes[:, columns], axis=0), rng)

    classifier, real = load_or_train_classifier(dataset, cache=cache, progress=progress)
    # Pictures of a pair share their noise and Z.
    requests = [(wanted, seed), (base, seed + 1), *((other, seed + 1) for other in partners if other is not None)]
    drawn, own, *others = _draw_all(pipeline, requests, progress, steps=num_inference_steps, guidance=guidance_scale)
    found, own_found = (classifier.predict(pictures)[:, columns] for pictures in (drawn, own))
    changes, pixel_change, companions = np.full((3, len(columns)), np.nan)
    for k, other in enumerate(partners):
        if other is not None:
            pictures = others.pop(0)
            shows = classifier.predict(pictures)[:, columns[k]]
            changes[k] = ((own_found[:, k] == base[:, k]) & (shows == other[:, k])).mean()
            pixel_change[k] = np.abs(pictures.astype(np.float64) - own).mean()
            companions[k] = (other != base).sum(1).mean() - 1
    measured = (real[columns], balanced_accuracy(found, wanted), changes, pixel_change, companions)
    settings = (dataset.name, count, change_count, seed, guidance_scale, num_inference_steps)
    quality = _quality(drawn, test[chosen], dataset, extractor or classifier, seed, cache, progress)
    errors = {
        "real": _accuracy_error(classifier.predict(dataset.images[test])[:, columns], held_out),
        "generated": _accuracy_error(found, wanted),
        "changes": np.where(np.isnan(changes), np.nan, _share_error(changes, change_count)),
    }
    return EvaluationReport(pipeline.attribute_names, *measured, *settings, *quality, errors=errors)


def evaluate_pictures(
    images: NDArray[np.uint8],
    dataset: AttributeDataset,
    *,
    seed: int = 0,
    extractor: FeatureExtractor | None = None,
    cache: Path | None = None,
    progress: bool = True,
) -> QualityReport:
    """Measure how much pictures of any origin resemble the real ones of a data set.

    As the quality of `evaluate_pipeline`, with test pictures at random as the control, as many as there are pictures;
    pictures beyond the number of test pictures are left out. The networks that look are trained on first use.

    Parameters
    ----------
    images : ndarray
        ``(M, S, S, 3)`` uint8, of the size of the data set's.
    dataset : AttributeDataset
        Real pictures.
    seed : int
        Of the control, and of which real pictures are held against.
    extractor : FeatureExtractor, optional
        What makes the features; by default the classifier of the data set's attributes.
    cache, progress : path, bool
        As in `evaluate_pipeline`.

    Returns
    -------
    QualityReport
        Of the pictures, beside real ones.

    Raises
    ------
    ValueError
        For too few pictures of a kind, and for pictures of another shape than the data set's.
    """
    if images.shape[1:] != dataset.images.shape[1:] or images.dtype != np.uint8:
        wanted = f"uint8 pictures (count, {', '.join(map(str, dataset.images.shape[1:]))})"
        raise ValueError(f"pictures are {images.dtype} of shape {images.shape}; give {wanted}, as the data set has")
    rows = np.random.default_rng(seed).permutation(dataset.indices("test"))[: len(images)]
    if extractor is None:
        extractor, _ = load_or_train_classifier(dataset, cache=cache, progress=progress)
    quality, problem = _quality(images[: len(rows)], rows, dataset, extractor, seed, cache, progress)
    if quality is None:
        raise ValueError(problem)
    return quality


def _draw_all(
    pipeline: AttributeDiffusionPipeline, requests: list[Request], progress: bool, *, steps: int, guidance: float
) -> list[NDArray]:
    """Pictures of each of several requests."""
    images, done = [], 0
    with progress_bar("drawing", steps * sum(len(rows) for rows, _ in requests), progress) as show:
        for rows, seed in requests:
            told = partial(lambda before, more: show(before + more), done)
            images.append(draw(pipeline, rows, seed=seed, steps=steps, guidance=guidance, on_step=told)[0])
            done += steps * len(rows)
    return images


def _quality(
    drawn: NDArray,
    rows: NDArray,
    dataset: AttributeDataset,
    extractor: FeatureExtractor,
    seed: int,
    cache: Path | None,
    progress: bool,
) -> tuple[QualityReport | None, str]:
    """The quality of pictures ``drawn`` for the attributes of ``rows`` of the data set, or why there is none."""
    rng = np.random.default_rng(seed)
    rows, once = np.unique(rows, return_index=True)  # as many pictures as real ones: distances are biased by the number
    drawn, control = drawn[once], rows
    real = rng.permutation(np.flatnonzero(dataset.split == SPLITS.index("valid")))
    if 2 * len(real) < len(control):  # hardly any: halves of the test split
        real, control = np.array_split(rng.permutation(dataset.indices("test")), 2)
        drawn = drawn[np.isin(rows, control)]
    real = real[: len(drawn)]  # more would cost time and tell little
    problem = too_few(len(drawn), len(real), len(control))
    if problem is not None:
        return None, problem
    chosen = np.sort(rng.permutation(dataset.indices("train"))[:_TRAINING])
    real, control, training = (dataset.images[part] for part in (real, control, chosen))
    defects = None
    if len(real) >= LEAST:
        judge = load_or_train_defects(dataset, cache=cache, progress=progress)
        defects = measure_defects(judge, drawn, np.asarray(control), seed=seed)
    options = {"defects": defects, "seed": seed, "progress": progress}
    return measure_quality(drawn, real, extractor, control=control, training=training, **options), ""


def _find_columns(pipeline: AttributeDiffusionPipeline, dataset: AttributeDataset) -> list[int]:
    """Where the model's attributes are in the data set. Raises ValueError where the two do not go together."""
    missing = [name for name in pipeline.attribute_names if name not in dataset.attribute_names]
    if missing:
        raise ValueError(
            f"{dataset.name} lacks attributes of the model: {', '.join(missing)}; it has "
            f"{', '.join(dataset.attribute_names)}. Evaluate on the data the model was trained on"
        )
    size, loaded = pipeline.network.config["sample_size"], dataset.images.shape[1]
    if loaded != size:
        found = f"the model draws {size} x {size} pixels and {dataset.name} was loaded at {loaded}"
        raise ValueError(f"{found}; load it with size={size}")
    return [dataset.attribute_names.index(name) for name in pipeline.attribute_names]


def _nearest_flips(base: NDArray, rows: NDArray, rng: np.random.Generator) -> list[NDArray | None]:
    """For every attribute, the row nearest to each row of ``base`` that differs in it, ``(M, K)``; ties at random.

    ``base`` is ``(M, K)`` and ``rows`` ``(R, K)``, both 0 and 1. None for an attribute that all rows have, or none.
    """
    left, right = base.astype(np.float32), rows.astype(np.float32)
    distance = left @ (1 - right).T + (1 - left) @ right.T  # (M, R)
    distance += rng.uniform(0, 0.5, distance.shape)
    flips: list[NDArray | None] = []
    for k in range(base.shape[1]):
        flipped = base[:, k, None] != rows[:, k]
        usable = flipped.any(1).all()
        flips.append(rows[np.where(flipped, distance, np.inf).argmin(1)] if usable else None)
    return flips
