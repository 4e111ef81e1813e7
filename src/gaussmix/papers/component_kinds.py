"""What a component of Z_k says of the kind that is drawn: the numbers of the page on components (D Sec. 3.1).

With C the component of z_1 of an attribute and S the kind of its part (which pair of glasses), over pictures that were
asked for with the attribute,

    NMI = 2 I(C; S) / (H(C) + H(S))                   gaussmix.latents.shares

is 0 if the component says nothing and 1 if the two are the same but for names. Of n pictures, independent ones have
about 1/n more than 0: the mean over shuffled components is the chance level. A mouth has two attributes, Smiling and
Mouth_Open, and Z of one must not tell the other: what a component says is therefore also taken with the other given.

The error is a jackknife over G groups: (G - 1)/G times the sum of squares of the G values with one group left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaussmix.latents.shares import component_information
from gaussmix.papers.result import Cell, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST = 20
"""With fewer pictures nothing is said."""
_GROUPS, _SHUFFLES = 20, 50
_DRAWN, _CEILING, _CHANCE = "#1f5fa8", "#d5dde5", "#c2402a"


class Case(NamedTuple):
    """Pictures with an attribute, perhaps with or without another one, and the part whose kind is asked for."""

    attribute: str
    part: str
    given: tuple[str, bool] | None = None

    @property
    def label(self) -> str:
        words = self.attribute.replace("_", " ")
        if self.given is None:
            return words
        other, has = self.given
        return f"{words}, {'with' if has else 'without'} {other.replace('_', ' ')}"

    def rows(self, attributes: NDArray, names: Sequence[str]) -> NDArray[np.bool_]:
        """Which of the rows ``(M, K)`` are of this case."""
        wanted = attributes[:, names.index(self.attribute)] == 1
        if self.given is not None:
            wanted &= attributes[:, names.index(self.given[0])] == self.given[1]
        return wanted


CLAIMED = (
    Case("Eyeglasses", "accessory"),
    Case("Sunglasses", "accessory"),
    Case("Wearing_Hat", "top"),
    Case("Mouth_Open", "mouth"),
    Case("Mouth_Open", "mouth", ("Smiling", True)),
    Case("Mouth_Open", "mouth", ("Smiling", False)),
)
"""Glasses, hats and mouths."""
CASES = (
    *CLAIMED,
    Case("Smiling", "mouth"),
    Case("Smiling", "mouth", ("Mouth_Open", True)),  # the closed smile is of one kind
    Case("Mustache", "facial_hair"),
    Case("Beard", "facial_hair"),
    Case("Long_Hair", "top"),
)


class Information(NamedTuple):
    """NMI of so many ``pictures``, its standard error, and the mean NMI of shuffled components."""

    value: float
    error: float
    chance: float
    pictures: int


def information(components: NDArray, kinds: NDArray, seed: int) -> Information | None:
    """Of components and kinds ``(M,)``; None for fewer than `LEAST` pictures."""
    if len(kinds) < LEAST:
        return None
    rng = np.random.default_rng(seed)
    return Information(
        component_information(components, kinds),
        jackknife(lambda kept: component_information(components[kept], kinds[kept]), len(kinds)),
        float(np.mean([component_information(rng.permutation(components), kinds) for _ in range(_SHUFFLES)])),
        len(kinds),
    )


def jackknife(statistic: Callable[[NDArray[np.int64]], float], count: int) -> float:
    """Standard error of a number computed from the pictures at the given positions, of ``count`` in random order."""
    positions, groups = np.arange(count), min(_GROUPS, count)
    without = np.array([statistic(positions[positions % groups != g]) for g in range(groups)])
    return float(np.sqrt((groups - 1) / groups * np.square(without - without.mean()).sum()))


class Commonest(NamedTuple):
    """The kind that most pictures of a component have, and the share that has it."""

    kind: str
    share: float

    def __str__(self) -> str:
        return f"{self.kind.replace('_', ' ').lower()} {self.share:.0%}"


def commonest(kinds: NDArray[np.str_]) -> Commonest | None:
    """Of kinds ``(M,)``; None for M = 0."""
    if not len(kinds):
        return None
    names, counts = np.unique(kinds, return_counts=True)
    return Commonest(str(names[counts.argmax()]), float(counts.max() / len(kinds)))


class Pair(NamedTuple):
    """The largest entry of a table of pairs, and whose it is."""

    value: float
    first: str
    second: str


def largest(table: NDArray, names: Sequence[str]) -> Pair | None:
    """Of a square table with NaN where nothing is known; None if nothing is."""
    if np.isnan(table).all():
        return None
    k, j = map(int, np.unravel_index(np.nanargmax(table), table.shape))
    return Pair(float(table[k, j]), names[k], names[j])


class Accuracy(NamedTuple):
    """Balanced accuracy, mean over attributes, of the same requests with Z drawn and with Z read off a real face.

    ``error``: standard error of the difference. ``real``: of the real faces with these attributes.
    """

    drawn: float
    taken: float
    error: float
    real: float


Found = Mapping[Case, Information | None]

ENOUGH = 0.5
"""NMI from which a component is said to select the kind."""


def findings(
    drawn: Found,
    ceiling: Mapping[Case, float],
    told: Pair | None,
    correlated: Pair | None,
    accuracy: Accuracy,
    guidance: float,
) -> tuple[str, ...]:
    """What the numbers say, in sentences."""
    return (
        _selected([(case, drawn[case], ceiling[case]) for case in CLAIMED]),
        _others([(case, drawn[case], ceiling[case]) for case in CASES if case not in CLAIMED]),
        _independence(told, correlated, accuracy, guidance),
    )


Row = tuple[Case, Information | None, float]


def _selected(rows: Sequence[Row]) -> str:
    """By part: a mouth's finer cases, with the other attribute given, are listed but not counted."""
    whole = [row for row in rows if row[0].given is None and row[1] is not None]
    finer = [row for row in rows if row[0].given is not None and row[1] is not None]
    if not whole:
        return "There are too few pictures to say what components select."
    above = [row for row in whole if row[1] and row[1].value >= ENOUGH]
    below = [row for row in whole if row[1] and row[1].value < ENOUGH]
    near = [case for case, found, _ in whole + finer if found and abs(found.value - ENOUGH) < 2 * found.error]
    text = f"The component selects the kind, with an NMI of {ENOUGH:g} or more, for {len(above)} of {len(whole)}"
    text += f": {_listed(above)}." if above else "."
    if below:
        text += f" It does not for {_listed(below)}."
    if finer:
        text += f" More finely: {_listed(finer)}."
    if near:
        text += f" Within two standard errors of {ENOUGH:g}: {'; '.join(case.label for case in near)}."
    return text


def _others(rows: Sequence[Row]) -> str:
    known = [(case, found, most) for case, found, most in rows if found is not None]
    if not known:
        return "There are too few pictures to say so of other attributes."
    silent = [case.label for case, found, _ in known if found.value - found.chance < 2 * found.error]
    text = f"Other attributes: {_listed(known)}."
    return text + (f" Not shown to differ from chance: {'; '.join(silent)}." if silent else "")


def _listed(rows: Sequence[Row]) -> str:
    return "; ".join(
        f"{case.label} {found.value:.2f} ± {found.error:.2f} (in the clusters {most:.2f})"
        for case, found, most in rows
        if found is not None
    )


def _independence(told: Pair | None, correlated: Pair | None, accuracy: Accuracy, guidance: float) -> str:
    gap = accuracy.drawn - accuracy.taken
    if abs(gap) <= 2 * accuracy.error:
        verdict = "Drawing each Z by itself is not shown to cost attributes"
    else:
        verdict = f"Drawing each Z by itself {'gains' if gap > 0 else 'costs'} attributes"
    text = (
        f"{verdict}, with guidance {guidance:g}: balanced accuracy {accuracy.drawn:.3f}, against {accuracy.taken:.3f} "
        f"with all of Z read off one real face (difference {gap:+.3f} ± {accuracy.error:.3f}), "
        f"{accuracy.real:.3f} in the real faces."
    )
    if correlated is not None:
        text += f" Strongest correlation of two Z in the training data: {correlated.value:.2f}, {_of(correlated)}."
    if told is not None:
        text += f" Most that Z of one attribute says of another: R² {told.value:.2f}, {_of(told)}."
    return text


def _of(pair: Pair) -> str:
    return f"{pair.first.replace('_', ' ')} and {pair.second.replace('_', ' ')}"


def information_table(found: Found, ceiling: Mapping[Case, float], sees: Mapping[str, float]) -> Table:
    """All numbers, and the share of kinds that the judge ``sees`` rightly, by label."""
    rows: list[tuple[Cell, ...]] = [
        (case.label, *((None,) * 4 if each is None else each), ceiling[case], sees[case.label])
        for case, each in found.items()
    ]
    columns = ("faces with", "NMI, drawn", "standard error", "chance", "drawn", "NMI, clusters", "judge right")
    return Table("What the component says of the kind", columns, tuple(rows))


def draw_information(found: Found, ceiling: Mapping[Case, float]) -> Figure:
    """Bars of NMI: drawn, in the clusters, by chance."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.6), layout="constrained")
    axes = figure.add_subplot()
    for i, (case, each) in enumerate(found.items()):
        first = i == 0
        axes.barh(-i, ceiling[case], 0.8, color=_CEILING, label="clusters of the training faces" if first else None)
        if each is not None:
            axes.barh(-i, each.value, 0.4, xerr=each.error, color=_DRAWN, ecolor="#333333", capsize=2)
            axes.plot([each.chance] * 2, [-i - 0.4, -i + 0.4], color=_CHANCE, linewidth=1.5)
    axes.barh(0, 0, color=_DRAWN, label="drawn faces")
    axes.plot([], [], color=_CHANCE, label="chance")
    axes.axvline(ENOUGH, color="#555555", linestyle=":", linewidth=1)
    axes.set_yticks([-i for i in range(len(found))], [case.label for case in found])
    axes.set_xlim(0, 1)
    axes.set_xlabel("normalised mutual information of component and kind")
    axes.set_title("What the component of Z says of the kind that is drawn", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure
