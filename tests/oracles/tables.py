"""A table with every kind of column, and what it means that two tables have one model."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gaussmix import TableDensity


def make_table(n: int, seed: int = 0) -> pd.DataFrame:
    """Every kind of column, with missing values in most."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "normal": rng.normal(size=n),
            "heavy": rng.standard_t(2, n) * 1e3,
            "price": np.round(rng.lognormal(3, 1, n), 2),
            "mass": np.where(rng.random(n) < 0.3, 0.0, rng.gamma(2.0, 50, n)),
            "count": rng.poisson(4, n),
            "id": rng.integers(0, 10**9, n),
            "day": pd.Timestamp("2023-01-01") + pd.to_timedelta(rng.integers(0, 730, n), "D"),
            "time": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 10**7, n), "s"),
            "took": pd.to_timedelta(rng.gamma(2, 60, n).round(), "s"),
            "flag": rng.random(n) < 0.4,
            "country": rng.choice(["FR", "DE", "IT", "Österreich"], n),
            "maybe": rng.integers(0, 50, n).astype(float),
        }
    )
    for name in ("normal", "price", "day", "country", "maybe"):
        table.loc[rng.random(n) < 0.1, name] = None
    return table


def assert_same(a: TableDensity, b: TableDensity) -> None:
    """The same columns, counts and densities, to the last bit; and the same groups."""
    assert a.n_rows_ == b.n_rows_
    assert {*a.columns_} == {*b.columns_}
    pairs = [(a.columns_[name], b.columns_[name]) for name in a.columns_]
    if a.by is not None:
        assert a.group_sizes() == b.group_sizes()
        key = next(iter(a.groups_))
        pairs += [(a.groups_[key][name], b.groups_[key][name]) for name in a.groups_[key]]
    for mine, theirs in pairs:
        assert (mine.name, mine.kind, mine.quantity) == (theirs.name, theirs.kind, theirs.quantity)
        assert (mine.n_rows, mine.missing) == (theirs.n_rows, theirs.missing)
        assert mine.frequencies == theirs.frequencies
        assert mine.counts == theirs.counts, mine.name
        assert mine.density == theirs.density
