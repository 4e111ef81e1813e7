"""E Figure 10: random mixing of classes. Latents are merged from draws of two classes; what comes out?

E shows four examples, says that the images keep traits of the classes that went in, and that 0 and 4 gave an image
that resembles a 9. Here many mixes of each pair are decoded, and the judge says what it sees in them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaussmix.autoencoder.evaluate import SURE
from gaussmix.autoencoder.generate import MixMode
from gaussmix.autoencoder.sheets import as_rgb
from gaussmix.metrics import manifold_scores
from reproduction.diffusion.model import Faces, draw_faces
from reproduction.expansion import latents as latent_study
from reproduction.expansion.latents import OnStep, Run, StudyConfig, Subject, data_words, subjects
from reproduction.page import Cell, Picture, Result, Table
from reproduction.runs import counted, runs_under
from reproduction.statistics import Interval, interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODES: dict[MixMode, str] = {"dims": "each number from one of the two (E)", "lerp": "between the two draws"}
PAPER_PAIRS = ((0, 4), (0, 3))
"""The pairs of classes that E names; its picture has two more."""
OTHER_PAIRS = ((1, 7), (3, 8))
_SHOWN = 8
_FOR_PRECISION = 100  # mixes of each pair


@dataclass(frozen=True)
class Config(StudyConfig):
    """Settings of Figure 10."""

    mixes: int = 500
    """Images of each pair of classes; all pairs are mixed."""

    @property
    def n_steps(self) -> int:
        """Autoencoders."""
        return latent_study.counted_runs(self)

    def quick(self) -> Config:
        return replace(self, mixes=20, **latent_study.QUICK)


class Seen(NamedTuple):
    """What the judge says of the mixes of a pair: shares, and how often it sees each class, ``(K,)``."""

    either: float
    other: float
    unsure: float
    classes: tuple[float, ...]


@dataclass
class Mixes:
    """What was seen of one way of mixing, by pair and seed, and the precision of all pairs together, by seed."""

    pairs: dict[tuple[int, int], list[Seen]] = field(default_factory=dict)
    precision: list[float] = field(default_factory=list)

    def over_pairs(self, name: str) -> Interval:
        """The mean over all pairs, by seed."""
        return interval(np.mean([[getattr(one, name) for one in each] for each in self.pairs.values()], axis=0))


Modes = dict[MixMode, Mixes]


def run(config: Config, on_step: OnStep) -> Result:
    """Figure 10."""
    one_more = counted(on_step)
    found: dict[str, Modes] = {}
    names: dict[str, tuple[str, ...]] = {}
    shown: dict[str, dict[MixMode, NDArray[np.uint8]]] = {}
    with runs_under(config.runs) as folder:
        for subject in subjects(config):
            found[subject.name] = {mode: Mixes() for mode in MODES}
            names[subject.name] = subject.dataset.class_names
            for seed in config.seeds:
                trained = subject.run(seed, folder)
                for mode in MODES:
                    images = _mix_all(subject, trained, mode, seed, config, found[subject.name][mode])
                    if seed == config.seed:
                        shown.setdefault(subject.name, {})[mode] = images
                one_more()
    return Result(
        title="E Figure 10: random mixing of classes",
        about="Images decoded from latents that are merged from draws of two classes, and what an independent judge "
        "sees in them.",
        ours={name: {mode: _numbers(mixes) for mode, mixes in modes.items()} for name, modes in found.items()},
        paper={"claim": "generated images continue to retain input category attributes; 0 and 4 resembled 9"},
        tables=tuple(
            table
            for name, modes in found.items()
            for table in (_summary(name, modes), _pairs_table(name, modes, names[name]))
        ),
        readings=(
            f"{data_words(config)} {config.repetitions} seeds; autoencoders as on the page of Figure 8, the latents of "
            "a class from the default coupling (k-means, principal axes).",
            f'{config.mixes} mixes of each pair of classes, half and half. "{MODES["dims"]}": E\'s "randomly merged" '
            f'samples. "{MODES["lerp"]}": see `gaussmix autoencoder mix --mode lerp`.',
            f"The judge: unsure where its highest probability is below {SURE}. Precision: share of mixes on the "
            f"manifold of real test images, {_FOR_PRECISION} of each pair.",
            "E gives no count of what its mixes look like. Intervals: Student's t over the seeds.",
        ),
        findings=tuple(text for name, modes in found.items() for text in _findings(name, modes, names[name])),
        pictures=tuple(
            Picture(
                "" if not i else f"-{name.lower()}",
                f"{name}, the first seed: the first {_SHOWN} mixes, half and half, of four pairs. E "
                "names those of the classes 0 and 3, and 0 and 4.",
                lambda images=images, own=names[name]: _draw(images, own),
            )
            for i, (name, images) in enumerate(shown.items())
        ),
    )


def _mix_all(
    subject: Subject, trained: Run, mode: MixMode, seed: int, config: Config, mixes: Mixes
) -> NDArray[np.uint8]:
    """Judge the mixes of every pair; returns pictures ``(4, _SHOWN, S, S, 3)`` of those that are shown."""
    classes = subject.dataset.class_names
    kept, features = [], []
    for a, b in combinations(range(len(classes)), 2):
        images = trained.generator.mix([classes[a], classes[b]], mode=mode, n_samples=config.mixes, random_state=seed)
        mixes.pairs.setdefault((a, b), []).append(_see(subject, images, a, b))
        features.append(subject.judge.features(images[:_FOR_PRECISION]))
        if (a, b) in PAPER_PAIRS + OTHER_PAIRS:
            kept.append(as_rgb(images[:_SHOWN]))
    mixes.precision.append(manifold_scores(subject.reference.real, np.concatenate(features)).precision)
    return np.stack(kept)


def _see(subject: Subject, images: NDArray[np.uint8], a: int, b: int) -> Seen:
    probabilities = subject.judge.probabilities(images)
    found = probabilities.argmax(1)
    either = float(np.isin(found, (a, b)).mean())
    shares = np.bincount(found, minlength=probabilities.shape[1]) / len(found)
    return Seen(either, 1 - either, float((probabilities.max(1) < SURE).mean()), tuple(shares.tolist()))


def _numbers(mixes: Mixes) -> dict[str, Any]:
    """Means over the pairs by seed, and of each pair how often each class is seen, the mean over the seeds."""
    by_seed = {
        name: np.mean([[getattr(one, name) for one in each] for each in mixes.pairs.values()], axis=0).tolist()
        for name in ("either", "unsure")
    }
    pairs = {
        f"{a}+{b}": np.mean([one.classes for one in each], axis=0).round(4).tolist()
        for (a, b), each in mixes.pairs.items()
    }
    return {**by_seed, "precision": mixes.precision, "pairs": pairs}


def _summary(name: str, modes: Modes) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            MODES[mode],
            *(str(mixes.over_pairs(each)) for each in ("either", "other", "unsure")),
            str(interval(mixes.precision)),
        )
        for mode, mixes in modes.items()
    ]
    columns = ("mixed", "seen as one of the two", "seen as a third class", "unsure", "precision")
    n = len(next(iter(modes.values())).pairs)
    return Table(f"{name}, all {n} pairs: mean ± 95 % interval", columns, tuple(rows))


def _pairs_table(name: str, modes: Modes, classes: tuple[str, ...]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for pair in PAPER_PAIRS + OTHER_PAIRS:
        for mode, mixes in modes.items():
            shares = np.mean([one.classes for one in mixes.pairs[pair]], axis=0)
            top = Counter(dict(zip(classes, shares.tolist(), strict=True))).most_common(4)
            listed = ", ".join(f"{label} {share:.0%}" for label, share in top)
            unsure = interval([one.unsure for one in mixes.pairs[pair]])
            rows.append((" + ".join(classes[k] for k in pair), MODES[mode], listed, str(unsure)))
    return Table(f"{name}: what the judge sees", ("classes", "mixed", "seen as", "unsure"), tuple(rows))


def _findings(name: str, modes: Modes, classes: tuple[str, ...]) -> list[str]:
    either = {mode: mixes.over_pairs("either") for mode, mixes in modes.items()}
    precise = {mode: interval(mixes.precision) for mode, mixes in modes.items()}
    found = [
        f"{name}: of E's mixes the judge takes {either['dims']} for one of the two classes, of mixes between two draws "
        f"{either['lerp']} (by chance {2 / len(classes):.2f}); on the manifold of real images lie "
        f"{precise['dims']} and {precise['lerp']}."
    ]
    if classes[9] == "9":
        nines = interval([one.classes[9] for one in modes["dims"].pairs[0, 4]])
        found.append(f"{name}: of E's mixes of 0 and 4 the judge takes {nines} for a 9.")
    return found


def _draw(images: dict[MixMode, NDArray[np.uint8]], classes: tuple[str, ...]) -> Figure:
    labels = [" + ".join(classes[k] for k in pair) for pair in sorted(PAPER_PAIRS + OTHER_PAIRS)]
    blocks = [Faces(MODES[mode], each, labels if not i else ()) for i, (mode, each) in enumerate(images.items())]
    return draw_faces("Mixes of two classes", *blocks)
