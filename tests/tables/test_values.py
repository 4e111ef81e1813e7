"""Counts of values: cells against a literal loop, in any order and in any parts; bins made of them."""

from __future__ import annotations

import struct
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaussmix.tables.column import bin_values
from gaussmix.tables.values import LevelCounts, ValueCounts, keys_of, values_of

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def literal_cells(values: list[float], most: int) -> tuple[int, dict[int, tuple[float, int, int]]]:
    """Level and cells, by number: the kept value, how many points, how many at the kept value. Bit by bit."""

    def key(x: float) -> int:
        bits = struct.unpack("<q", struct.pack("<d", x + 0.0))[0]
        return bits if bits >= 0 else bits ^ 0x7FFF_FFFF_FFFF_FFFF

    def zeros(x: float) -> int:
        bits = struct.unpack("<Q", struct.pack("<d", x + 0.0))[0]
        return 64 if bits == 0 else (bits & -bits).bit_length() - 1

    level = next(level for level in range(65) if len({key(x) >> level for x in values}) <= most)
    found = {}
    for number in {key(x) >> level for x in values}:
        inside = [x + 0.0 for x in values if key(x) >> level == number]
        kept = min(inside, key=lambda x: (-zeros(x), x))
        found[number] = kept, len(inside), inside.count(kept)
    return level, found


def cells_of(counts: ValueCounts) -> tuple[int, dict[int, tuple[float, int, int]]]:
    """The same of counts of one group."""
    counts.settle()
    level = int(counts.levels[0])
    columns = (keys_of(counts.values) >> level, counts.values, counts.sums.number, counts.sums.number_at)
    return level, {k: (v, n, a) for k, v, n, a in zip(*(column.tolist() for column in columns), strict=True)}


@settings(deadline=None)
@given(st.lists(FLOATS | st.integers(-50, 50).map(float), min_size=1, max_size=80), st.integers(1, 20), st.randoms())
def test_cells_are_those_of_a_literal_loop(values: list[float], most: int, rng: object) -> None:
    most = max(most, 2)
    counts = ValueCounts(most)
    counts.add(np.array(values))
    assert cells_of(counts) == literal_cells(values, most)
    parts = [ValueCounts(most), ValueCounts(most)]
    for place, value in enumerate(values):
        parts[place % 2].add(np.array([value]))
    parts[1].merge(parts[0])
    assert cells_of(parts[1]) == cells_of(counts)
    assert parts[1].extremes[:, 0].tolist() == [min(values), max(values)]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), FLOATS), min_size=1, max_size=120))
def test_groups_are_counted_as_if_alone(rows: list[tuple[int, float]]) -> None:
    groups, values = (np.array(column) for column in zip(*rows, strict=True))
    together = ValueCounts(4, 5)
    for part in (slice(None, None, 2), slice(1, None, 2)):
        together.add(values[part].astype(float), groups[part])
    for g in range(5):
        alone = ValueCounts(4)
        alone.add(values[groups == g].astype(float))
        assert cells_of(together.group(g)) == cells_of(alone)


@given(FLOATS)
def test_keys_ascend_with_values(x: float) -> None:
    values = np.array([x + 0.0])
    assert values_of(keys_of(values)).tolist() == values.tolist()
    above = np.nextafter(values, np.inf)
    assert keys_of(above + 0.0)[0] > keys_of(values)[0] or above[0] == 0


def test_few_values_are_kept_exactly_and_many_in_narrow_cells() -> None:
    rng = np.random.default_rng(0)
    x = 1.7e9 + rng.uniform(0, 3e7, 100_000)  # a year of seconds, far from zero
    counts = ValueCounts(4096)
    counts.add(x)
    counts.settle()
    assert 2048 <= len(counts.values) <= 4096
    width = np.diff(
        values_of((keys_of(counts.values[:1]) >> int(counts.levels[0])) + np.arange(2) << int(counts.levels[0]))
    )
    assert width[0] <= 2 * 3e7 / 2048
    few = ValueCounts(4096)
    few.add(np.round(x[:3000]))
    assert int(few.settle().levels[0]) == 0
    assert Counter(np.round(x[:3000]).tolist()) == dict(zip(few.values.tolist(), few.sums.number.tolist(), strict=True))


def test_bins_hold_every_point_and_point_masses_stay_exact() -> None:
    rng = np.random.default_rng(1)
    x = np.where(rng.random(50_000) < 0.2, 100.0, rng.normal(90, 20, 50_000))
    counts = ValueCounts(1024)
    counts.add(x)
    bins = bin_values(counts.group(0))
    assert bins.n == len(x)
    assert (bins.minimum, bins.maximum) == (x.min(), x.max())
    assert dict(zip(bins.atoms.tolist(), bins.atom_counts.tolist(), strict=True)) == {100.0: int((x == 100).sum())}
    below = np.append(0, np.cumsum(bins.counts)) / len(x)
    ecdf = np.searchsorted(np.sort(x), bins.axis.edges) / len(x)
    width = 2.0**-6  # relative, of a cell: 1024 of them hold what lies above 2 to a 64th
    assert np.abs(below - ecdf).max() < 120 * width * 0.02


def test_a_long_tail_costs_little_resolution() -> None:
    rng = np.random.default_rng(2)
    x = rng.lognormal(0, 3, 200_000)
    counts = ValueCounts(4096)
    counts.add(x)
    bins = bin_values(counts.group(0))
    below = (np.append(0, np.cumsum(bins.counts)) + bins.n_under) / len(x)
    ecdf = np.searchsorted(np.sort(x), bins.axis.edges) / len(x)
    assert np.abs(below - ecdf).max() < 2e-3


def test_importance_weights_make_masses() -> None:
    rng = np.random.default_rng(3)
    x, w = rng.normal(size=5_000), rng.random(5_000)
    for most in (1 << 14, 256):  # exact, and in cells
        counts = ValueCounts(most)
        counts.add(x[:2_000], None, w[:2_000])
        counts.add(x[2_000:], None, w[2_000:])
        bins = bin_values(counts.group(0))
        assert bins.n == 5_000
        assert bins.total_mass == pytest.approx(w.sum())
        assert bins.size == pytest.approx(w.sum() ** 2 / np.sum(w**2))
        median = np.interp(0.5, np.cumsum(bins.mass) / bins.total_mass, bins.axis.edges[1:])
        order = np.argsort(x)
        assert median == pytest.approx(x[order][np.searchsorted(np.cumsum(w[order]), w.sum() / 2)], abs=0.02)


def test_rarest_categories_are_left_out() -> None:
    counts = LevelCounts(10)
    names = [f"v{k:03}" for k in range(300)]
    for _ in range(3):
        counts.add(names, np.repeat(np.arange(300), np.arange(1, 301)))
    found, other = counts.group(0)
    assert list(found) == [f"v{k:03}" for k in range(299, 289, -1)]
    assert list(found.values()) == [3.0 * k for k in range(300, 290, -1)]
    assert sum(found.values()) + other == 3 * 300 * 301 / 2
