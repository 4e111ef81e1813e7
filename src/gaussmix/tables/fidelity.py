"""How real synthetic rows are, and whether they are somebody's: each figure beside that of a second real sample.

Marginals: W1 as a share of the spread E|X - X'| of the real column; total variation of categories. Pairs: Spearman's
correlation of numbers; of numbers with categories the correlation ratio eta of ranks; of categories Cramer's V, both
without their bias (Kelley 1935; Bergsma 2013). Whether a value is missing is a column of its own. An error is the
absolute difference to what the real rows have. A second real sample of the same size has errors too, by chance: rows
cannot be expected to be nearer.

Privacy: the share of rows that equal a real row in every column; and the distance of a row to the closest real one, the
mean over columns of the difference of ranks, or 0 and 1 of categories. Rows that lie nearer to the rows that
a model has learnt from than to others, which it has not seen, in much more than half of the cases give them away.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from gaussmix._typing import FloatArray
from gaussmix.tables.copula import rank_correlations, ranks_of
from gaussmix.tables.reading import batches_of
from gaussmix.tables.rows import RowSample

_CLOSEST_OF, _CLOSEST_TO = 1000, 10_000  # rows whose distance to the closest of so many is measured


@dataclass(frozen=True)
class Fidelity:
    """What `measure_fidelity` finds; of each pair of figures the first is of synthetic rows, the second of real ones.

    Parameters
    ----------
    marginals : dict of str to (float, float)
        Errors of columns: W1 as a share of the spread, total variation of categories.
    missing : dict of str to (float, float)
        Errors of the shares that are missing.
    pairs : dict of (str, str) to (float, float)
        Errors of the associations of two columns.
    copies : (float, float)
        Share of the rows that equal a real row in all columns.
    closest : (float, float)
        Median distance to the closest real row.
    nearer : float
        Share of synthetic rows that are nearer to a real row than to any of the second sample; 0.5 of rows that know
        neither.
    n_rows : int
        Rows of each that were compared.
    """

    marginals: dict[str, tuple[float, float]]
    missing: dict[str, tuple[float, float]]
    pairs: dict[tuple[str, str], tuple[float, float]]
    copies: tuple[float, float]
    closest: tuple[float, float]
    nearer: float
    n_rows: int

    @property
    def marginal(self) -> tuple[float, float]:
        """Mean error of the columns."""
        return _mean(self.marginals)

    @property
    def pair(self) -> tuple[float, float]:
        """Mean error of the pairs."""
        return _mean(self.pairs)

    def to_dict(self) -> dict[str, Any]:
        """Return it with JSON's types: a pair is ``"one | other"``."""
        found = asdict(self) | {"pairs": {" | ".join(pair): errors for pair, errors in self.pairs.items()}}
        return {"marginal": self.marginal, "pair": self.pair} | found

    def __str__(self) -> str:
        lines = [f"{'':34}{'synthetic':>12}{'second real':>14}   ({self.n_rows} rows each)"]
        rows = [
            ("columns, mean error", self.marginal),
            ("pairs, mean error", self.pair),
            ("copies of real rows", self.copies),
            ("distance to the closest real row", self.closest),
        ]
        lines += [f"{said:34}{found[0]:12.4f}{found[1]:14.4f}" for said, found in rows]
        lines.append(f"nearer to a real row than to a row of the second sample: {self.nearer:.1%} (50% by chance)")
        worst = sorted(self.marginals.items(), key=lambda item: -item[1][0])[:3]
        lines += [f"  {name:32}{found[0]:12.4f}{found[1]:14.4f}" for name, found in worst]
        apart = sorted(self.pairs.items(), key=lambda item: -item[1][0])[:3]
        lines += [f"  {' - '.join(pair):32}{found[0]:12.4f}{found[1]:14.4f}" for pair, found in apart]
        return "\n".join(lines)


def measure_fidelity(real: Any, synthetic: Any, second_real: Any, *, random_state: int | None = 0) -> Fidelity:
    """Compare synthetic rows with the real ones that they imitate, beside a second sample of real rows.

    Parameters
    ----------
    real : table
        The rows that were learnt: whatever `TableDensity` takes.
    synthetic : table
        Rows of the same columns.
    second_real : table
        Real rows that were not learnt. Errors are those of as many rows of both as the smaller one has.
    random_state : int, optional
        Chooses the rows where not all are compared: 65 536 different ones of a table, by what they hold; 1000 whose
        distance to the closest of 10 000 is taken.

    Returns
    -------
    Fidelity
        Errors of columns and pairs, copies and distances; ``print`` shows them.

    Raises
    ------
    ValueError
        Columns differ, or a table has no rows.
    """
    found = [_read(table) for table in (real, synthetic, second_real)]
    for name, (kinds, _) in zip(("synthetic", "second_real"), found[1:], strict=True):
        if {*kinds} != {*found[0][0]}:
            odd = sorted({*kinds} ^ {*found[0][0]})
            raise ValueError(f"the columns of {name} differ from those of real: {', '.join(odd[:5])}")
    names = sorted(found[0][0])
    tables: list[dict[str, Column]] = [{} for _ in found]
    for j, name in enumerate(names):
        text = {kinds[name] for kinds, _ in found} - {None}
        if len(text) > 1:
            raise ValueError(f"column {name!r} holds text in some of the tables, and numbers in others")
        levels = {word: k for k, word in enumerate(sorted({w for _, sample in found for w in sample.levels[j]}))}
        for table, (_, sample) in zip(tables, found, strict=True):
            values = np.repeat(sample.rows[:, j], sample.weights.astype(np.int64))
            if True in text:
                places = np.array([levels[word] for word in sample.levels[j]] + [np.nan])
                values = places[np.where(np.isnan(values), len(places) - 1, values).astype(np.int64)]
            table[name] = Column(values, list(levels) if True in text else None)
    return _compare(tables, [sample for _, sample in found], np.random.default_rng(random_state))


def _read(table: Any) -> tuple[dict[str, bool | None], RowSample]:
    """Whether columns hold text, None where all is missing; and rows, their columns in alphabetical order."""
    kinds: dict[str, bool | None] = {}
    sample = RowSample(0)
    for batch in batches_of(table):
        names = sorted(batch)
        if not kinds:
            kinds, sample = dict.fromkeys(names), RowSample(len(names))
        if names != list(kinds):
            raise ValueError(f"columns differ from those of earlier rows: {', '.join(sorted({*names} ^ {*kinds}))}")
        sample.add_cells([batch[name] for name in names])
        for name in names:
            cells = batch[name]
            if cells.names or (cells.numbers is not None and np.isfinite(cells.numbers).any()):
                kinds[name] = cells.numbers is None
    if not len(sample.keys):
        raise ValueError("a table has no rows: there is nothing to compare")
    return kinds, sample


class Column(NamedTuple):
    """Numbers (N,), NaN where missing: those of a column, or of its categories, ``names``."""

    values: FloatArray
    names: list[str] | None


Columns = Mapping[str, Column]


def _compare(tables: list[dict[str, Column]], samples: list[RowSample], rng: np.random.Generator) -> Fidelity:
    real, others = tables[0], _of_one_size(rng, *tables[1:])
    truth, first, second = (associations(table) for table in (real, *others))
    margins = {name: [_distance(real[name], table[name]) for table in others] for name in real}
    absent = [
        {name: float(np.isnan(column.values).mean()) for name, column in table.items()} for table in (real, *others)
    ]
    closest, nearer = _distances(real, others[0], others[1], rng)
    return Fidelity(
        {name: (found[0], found[1]) for name, found in margins.items() if not math.isnan(found[0] + found[1])},
        {name: (abs(absent[1][name] - share), abs(absent[2][name] - share)) for name, share in absent[0].items()},
        {pair: (abs(first.get(pair, 0.0) - r), abs(second.get(pair, 0.0) - r)) for pair, r in truth.items()},
        (_copies(samples[0], samples[1]), _copies(samples[0], samples[2])),
        closest,
        nearer,
        len(next(iter(others[0].values())).values),
    )


def _of_one_size(rng: np.random.Generator, *tables: Columns) -> list[dict[str, Column]]:
    """As many rows of each, any of them."""
    sizes = [len(next(iter(table.values())).values) for table in tables]
    out = []
    for table, size in zip(tables, sizes, strict=True):
        rows = rng.permutation(size)[: min(sizes)]
        out.append({name: Column(column.values[rows], column.names) for name, column in table.items()})
    return out


def _mean(errors: Mapping[Any, tuple[float, float]]) -> tuple[float, float]:
    return tuple(np.mean(list(errors.values()), axis=0).tolist()) if errors else (0.0, 0.0)


# -- marginals


def _distance(real: Column, other: Column) -> float:
    x, y = (column.values[~np.isnan(column.values)] for column in (real, other))
    if len(x) == 0 or len(y) == 0:
        return math.nan
    if real.names is not None:
        shares = [np.bincount(v.astype(np.int64), minlength=len(real.names)) / len(v) for v in (x, y)]
        return float(np.abs(shares[0] - shares[1]).sum() / 2)
    x, y = np.sort(x), np.sort(y)
    both = np.sort(np.concatenate([x, y]))
    below = [np.searchsorted(v, both[:-1], side="right") / len(v) for v in (x, y)]
    spread = 2 * float((2 * np.arange(1, len(x) + 1) - len(x) - 1) @ x) / len(x) ** 2
    found = float(np.abs(below[0] - below[1]) @ np.diff(both))
    return found / spread if spread > 0 else float(found > 0)


# -- pairs


def associations(columns: Columns) -> dict[tuple[str, str], float]:
    """The association of each pair of columns; those without spread have 0, `` is missing`` follows a name."""
    numbers = {name: column.values for name, column in columns.items() if column.names is None}
    for name, column in columns.items():
        if 0 < np.isnan(column.values).mean() < 1:
            numbers[f"{name} is missing"] = np.isnan(column.values).astype(np.float64)
    categories = {name: column for name, column in columns.items() if column.names is not None}
    out: dict[tuple[str, str], float] = {}
    n = len(next(iter(columns.values())).values)
    ranks = {name: ranks_of(values, np.ones(n)) for name, values in numbers.items()}
    if ranks:
        r, _ = rank_correlations(list(ranks.values()), np.ones(n))
        names = list(ranks)
        out = {(names[i], names[j]): float(r[i, j]) for i in range(len(names)) for j in range(i + 1, len(names))}
        out = {pair: r for pair, r in out.items() if f"{pair[0]} is missing" != pair[1]}
    for k, (name, column) in enumerate(categories.items()):
        out |= {
            (other, name): _correlation_ratio(found.scores, column)
            for other, found in ranks.items()
            if other != f"{name} is missing"
        }
        out |= {(name, other): _cramers_v(column, categories[other]) for other in list(categories)[k + 1 :]}
    return out


def _correlation_ratio(scores: FloatArray, column: Column) -> float:
    """Eta of scores (N,) between categories, without its bias."""
    both = ~np.isnan(scores) & ~np.isnan(column.values)
    x, place = scores[both], column.values[both].astype(np.int64)
    total = float(np.sum((x - x.mean()) ** 2)) if len(x) else 0.0
    if total <= 1e-12:
        return 0.0
    sizes = np.bincount(place)
    means = np.bincount(place, x) / np.maximum(sizes, 1)
    within, n_levels = float(np.sum((x - means[place]) ** 2)), int((sizes > 0).sum())
    if n_levels >= len(x):
        return 0.0
    return math.sqrt(max(0.0, 1 - within / total * (len(x) - 1) / (len(x) - n_levels)))


def _cramers_v(a: Column, b: Column) -> float:
    """Bergsma's V of two columns of categories."""
    both = ~np.isnan(a.values) & ~np.isnan(b.values)
    n = int(both.sum())
    if n < 2:
        return 0.0
    pairs = a.values[both].astype(np.int64) * len(b.names or ()) + b.values[both].astype(np.int64)
    cells, counts = np.unique(pairs, return_counts=True)
    rows, columns = np.divmod(cells, len(b.names or ()))
    of_rows, of_columns = np.bincount(rows, counts), np.bincount(columns, counts)
    phi2 = float(np.sum(counts**2 / (of_rows[rows] * of_columns[columns]))) - 1
    r, c = int((of_rows > 0).sum()), int((of_columns > 0).sum())
    phi2 = max(0.0, phi2 - (r - 1) * (c - 1) / (n - 1))
    smaller = min(r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)) - 1
    return math.sqrt(min(1.0, phi2 / smaller)) if smaller > 1e-9 else 0.0


# -- privacy


def _copies(real: RowSample, other: RowSample) -> float:
    """Share of other rows that equal a real one: of those with hashes in the reach of both samples."""
    ends = [int(sample.keys[-1]) for sample in (real, other) if len(sample.keys) == sample.limit]
    reach = np.uint64(min([*ends, 2**64 - 1]))
    seen = other.keys <= reach
    total = float(other.weights[seen].sum())
    return float(other.weights[seen & np.isin(other.keys, real.keys)].sum()) / total if total else 0.0


def _distances(
    real: Columns, synthetic: Columns, second: Columns, rng: np.random.Generator
) -> tuple[tuple[float, float], float]:
    """Median distances to the closest real row, and how often a synthetic row is nearer to one than to the second."""
    learnt, unseen = _of_one_size(rng, real, second)
    some = [{name: Column(c.values[:_CLOSEST_OF], c.names) for name, c in t.items()} for t in (synthetic, second)]
    reference = [{name: Column(c.values[:_CLOSEST_TO], c.names) for name, c in t.items()} for t in (learnt, unseen)]
    scales = {name: np.sort(c.values[~np.isnan(c.values)]) for name, c in real.items() if c.names is None}
    points = [_places(t, scales) for t in (*some, *reference)]
    to_real, to_second = (_closest(points[0], each) for each in points[2:])
    between = _closest(points[1], points[2])
    nearer = float(np.mean(to_real < to_second) + np.mean(to_real == to_second) / 2)
    return (float(np.median(to_real)), float(np.median(between))), nearer


def _places(columns: Columns, scales: Mapping[str, FloatArray]) -> list[tuple[FloatArray, bool]]:
    """Ranks of numbers among the real ones, and categories; whether they are those. Missing is -1, 1 from the ranks."""
    out = []
    for name, (values, names) in columns.items():
        if names is None:
            scale = scales[name]
            middle = (np.searchsorted(scale, values) + np.searchsorted(scale, values, side="right")) / 2
            values = np.where(np.isnan(values), np.nan, middle / max(len(scale), 1))
        out.append((np.nan_to_num(values, nan=-1.0), names is not None))
    return out


def _closest(points: list[tuple[FloatArray, bool]], others: list[tuple[FloatArray, bool]]) -> FloatArray:
    """(N,) distance of each row to the closest of others."""
    n, out = len(points[0][0]), []
    for start in range(0, n, 100):
        total = np.zeros((len(points[0][0][start : start + 100]), len(others[0][0])))
        for (a, category), (b, _) in zip(points, others, strict=True):
            apart = np.abs(a[start : start + 100, None] - b)
            total += (apart > 0) if category else np.minimum(apart, 1.0)
        out.append(total.min(axis=1))
    return np.concatenate(out) / len(points)
