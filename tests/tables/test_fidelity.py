"""`measure_fidelity`: its measures against others' and literal ones, and what it says of rows of which we know."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false
# (whatever pandas gives back is a union of all its types)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats

from gaussmix.tables import fidelity as fidelity_module
from gaussmix.tables import measure_fidelity
from gaussmix.tables.fidelity import Column, associations


def make_table(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    table = pd.DataFrame({"x": np.exp(x), "y": x + rng.normal(size=n), "n": rng.poisson(np.exp(0.3 * x + 1))})
    table["word"] = np.array(["a", "b", "c"])[np.digitize(x + rng.normal(size=n), [-0.5, 1.0])]
    table["other"] = np.where(rng.random(n) < np.where(table["word"] == "a", 0.8, 0.2), "u", "v")
    table.loc[rng.random(n) < 0.1, "y"] = np.nan
    return table


def test_rows_of_the_same_law_are_as_near_as_real_ones() -> None:
    real, drawn, second = (make_table(4_000, seed) for seed in (1, 2, 3))
    found = measure_fidelity(real, drawn, second)
    assert found.n_rows == 4_000
    assert found.marginal[0] == pytest.approx(found.marginal[1], rel=0.5)
    assert found.pair[0] == pytest.approx(found.pair[1], rel=0.5)
    assert found.nearer == pytest.approx(0.5, abs=0.06)
    assert found.copies == (0.0, 0.0)
    assert found.closest[0] == pytest.approx(found.closest[1], rel=0.1)


def test_what_is_wrong_is_found() -> None:
    """Shuffled columns lose their associations alone; copies are copies; shifted columns are named."""
    real, second = make_table(3_000, 1), make_table(3_000, 3)
    rng = np.random.default_rng(0)
    shuffled = pd.DataFrame({name: rng.permutation(real[name]) for name in real})
    found = measure_fidelity(real, shuffled, second)
    assert found.marginal[0] < 1e-12
    assert found.pair[0] > 5 * found.pair[1]
    assert found.pairs["x", "y"][0] == pytest.approx(
        abs(stats.spearmanr(real["x"], real["y"], nan_policy="omit")[0]), abs=0.05
    )
    copied = measure_fidelity(real, real.sample(frac=1, random_state=0), second)
    assert copied.copies == (1.0, 0.0)
    assert copied.closest[0] == 0
    assert copied.nearer > 0.99
    assert max(*copied.marginal[:1], *copied.pair[:1]) < 1e-12
    moved = measure_fidelity(real, real.assign(x=real["x"] + 1), second)
    spread = np.abs(np.subtract.outer(real["x"].to_numpy(), real["x"].to_numpy())).mean()
    assert moved.marginals["x"][0] == pytest.approx(1 / spread, rel=1e-6)
    assert moved.marginals["y"][0] == 0
    gone = measure_fidelity(real, real.assign(y=np.where(real["x"] > 1, np.nan, real["y"])), second)
    assert gone.missing["y"][0] == pytest.approx(((real["x"] > 1) & real["y"].notna()).mean())
    assert gone.pairs["x", "y is missing"][0] > 0.3


def test_measures_against_others() -> None:
    table = make_table(400, 5)
    words = {name: sorted({*table[name]}) for name in ("word", "other")}
    columns = {
        name: Column(np.array([words[name].index(w) for w in table[name]], float), words[name])
        if name in words
        else Column(table[name].to_numpy(float), None)
        for name in table
    }
    found = associations(columns)
    assert found["x", "n"] == pytest.approx(stats.spearmanr(table["x"], table["n"])[0], abs=1e-9)
    ranks = stats.rankdata(table["x"])
    groups = [ranks[table["word"] == w] for w in words["word"]]
    h = stats.kruskal(*[table["x"][table["word"] == w] for w in words["word"]])[0]
    assert found["x", "word"] ** 2 == pytest.approx((h - len(groups) + 1) / (400 - len(groups)), abs=1e-9)  # epsilon^2
    counts = pd.crosstab(table["word"], table["other"]).to_numpy()
    expected = np.outer(counts.sum(1), counts.sum(0)) / 400
    phi2 = max(0.0, float(((counts - expected) ** 2 / expected).sum()) / 400 - 2 * 1 / 399)
    assert found["word", "other"] == pytest.approx(np.sqrt(phi2 / (2 - 1 / 399 - 1)), abs=1e-9)
    one, two = np.random.default_rng(0).normal(size=(2, 300))
    apart = fidelity_module._distance(Column(one, None), Column(two, None))
    spread = np.abs(np.subtract.outer(one, one)).mean()
    assert apart == pytest.approx(stats.wasserstein_distance(one, two) / spread, rel=1e-9)


def test_sources_and_sentences(tmp_path: Path) -> None:
    real, drawn, second = (make_table(300, seed) for seed in (1, 2, 3))
    drawn.to_csv(tmp_path / "a.csv", index=False)
    frames = measure_fidelity(real, drawn, second)
    mixed = measure_fidelity(
        pl.from_pandas(real, nan_to_null=True), str(tmp_path / "a.csv"), second[second.columns[::-1]]
    )
    assert mixed.pair == pytest.approx(frames.pair, abs=1e-12)
    assert "50% by chance" in str(frames)
    assert frames.to_dict()["pairs"]["x | y"] == frames.pairs["x", "y"]
    with pytest.raises(ValueError, match="columns of synthetic differ"):
        measure_fidelity(real, drawn.drop(columns="n"), second)
    with pytest.raises(ValueError, match="'n' holds text in some"):
        measure_fidelity(real, drawn.assign(n="many"), second)
    with pytest.raises(ValueError, match="no rows"):
        measure_fidelity(real, drawn[:0], second)


def test_large_tables_are_compared_by_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies are counted among rows that both samples would hold."""
    from gaussmix.tables import rows

    real, second = make_table(5_000, 1), make_table(5_000, 3)
    half = pd.concat([real[:2_500], make_table(2_500, 2)])
    monkeypatch.setattr(rows, "MOST_ROWS", 1_000)
    found = measure_fidelity(real, half, second)
    assert found.n_rows < 1_200
    assert found.copies[0] == pytest.approx(0.5, abs=0.06)
    assert found.copies[1] == 0
