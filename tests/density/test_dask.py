"""Dask collections count as their numbers in memory do, bit for bit, on a cluster of processes too."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import dask
import dask.array
import dask.dataframe
import numpy as np
import pandas as pd
import pytest

from gaussmix import GMMExpansion
from gaussmix.density.axis import Axis
from gaussmix.density.columns import count_dask, first_rows, is_dask, spread_rows
from gaussmix.density.counts import BinnedCounts, add_columns

AXIS = Axis(-3.0, 0.01, 600)
RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(5000, 3))
TABLE[::50, 1] = np.nan
TABLE[:, 2] = np.arange(5000)
FRAME: Any = pd.DataFrame(TABLE, columns=["a", "b", "row"])


def empty(width: int = 1, **settings: Any) -> list[BinnedCounts]:
    return [BinnedCounts(AXIS, atoms=[0.0], **settings) for _ in range(width)]


def in_memory(x: Any, **settings: Any) -> list[BinnedCounts]:
    """Counts of one pass."""
    x = np.asarray(x)
    counts = empty(1 if x.ndim == 1 else x.shape[1], **settings)
    add_columns(counts, x.reshape(len(x), -1))
    return counts


def dask_array(x: Any, chunks: Any) -> Any:
    return dask.array.from_array(x, chunks)


def dask_frame(npartitions: int) -> Any:
    return dask.dataframe.from_pandas(FRAME, npartitions=npartitions)


@pytest.fixture(autouse=True)
def one_process() -> Iterator[None]:
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.mark.parametrize("chunks", [(701, 3), (5000, 1), (701, 2), (13, 3)])
def test_arrays(chunks: tuple[int, int]) -> None:
    assert count_dask(dask_array(TABLE, chunks), empty(3)) == in_memory(TABLE)
    column = dask_array(TABLE[:, 1], chunks[0])
    assert count_dask(column, empty()) == in_memory(TABLE[:, 1])
    unknown = column[column > 0]
    assert count_dask(unknown, empty()) == in_memory(TABLE[TABLE[:, 1] > 0, 1])


@pytest.mark.parametrize("npartitions", [1, 3, 20])
def test_data_frames(npartitions: int) -> None:
    frame = dask_frame(npartitions)
    assert count_dask(frame, empty(3)) == in_memory(TABLE)
    assert count_dask(frame["b"], empty()) == in_memory(TABLE[:, 1])
    assert count_dask(frame[["a"]], empty()) == in_memory(TABLE[:, 0])


def test_growing_axes_and_counts_from_before() -> None:
    column = dask_array(100 * TABLE[:, 0], 300)
    before = in_memory(TABLE[:10, 2], grow=True, max_bins=1000)
    kept = [each.copy() for each in before]
    found = count_dask(column, before)
    assert before == kept
    assert found == in_memory(np.append(TABLE[:10, 2], 100 * TABLE[:, 0]), grow=True, max_bins=1000)


def test_errors_of_the_numbers_come_through() -> None:
    text = dask.dataframe.from_pandas(pd.DataFrame({"word": ["a", "b"]}), npartitions=2)
    with pytest.raises(TypeError, match="column 'word' holds"):
        count_dask(text, empty())
    with pytest.raises(ValueError, match=r"for 2 counts it must be \(N, 2\)"):
        count_dask(dask.array.zeros((5, 3)), empty(2))


def test_first_rows_compute_no_more_than_they_need() -> None:
    computed = []

    def note(part: Any) -> Any:
        if len(part):
            computed.append(len(part))
        return part

    array = dask_array(TABLE, (1000, 3))
    np.testing.assert_array_equal(first_rows(array.map_blocks(note, meta=TABLE[:0]), 10), TABLE[:10])
    assert computed == [1000]
    np.testing.assert_array_equal(first_rows(array[array[:, 0] > 0], 4), TABLE[TABLE[:, 0] > 0][:4])
    frame = dask_frame(5)
    pd.testing.assert_frame_equal(first_rows(frame, 10), FRAME[:10])
    late = frame[frame["row"] >= 2500]
    pd.testing.assert_frame_equal(first_rows(late, 10), FRAME[2500:2510])
    assert len(first_rows(frame[frame["row"] < 0], 10)) == 0


def test_what_is_a_dask_collection() -> None:
    frame = dask_frame(2)
    assert all(map(is_dask, [frame, frame["a"], dask.array.zeros(3)]))
    assert not any(map(is_dask, [FRAME, TABLE, [1.0], None]))


def test_dask_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    array = dask.array.zeros(3)
    monkeypatch.setitem(sys.modules, "dask", None)
    with pytest.raises(ImportError, match=r"pip install 'gaussmix\[dask\]'"):
        count_dask(array, empty())


def test_a_cluster_of_two_processes() -> None:
    from dask.distributed import Client, LocalCluster

    options: dict[str, Any] = {"dashboard_address": None, "host": "127.0.0.1", "silence_logs": 50}
    with (
        dask.config.set(scheduler="dask.distributed"),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, **options) as cluster,
        Client(cluster) as client,
    ):
        found: Any = client.run(os.getpid)
        processes = set(found.values())
        assert len(processes | {os.getpid()}) == 3
        assert count_dask(dask_array(TABLE, (500, 3)), empty(3)) == in_memory(TABLE)
        assert count_dask(dask_frame(7)["b"], empty()) == in_memory(TABLE[:, 1])
        who = dask_array(TABLE[:, 0], 100).map_blocks(lambda block: np.full(len(block), float(os.getpid())))
        (counts,) = count_dask(who, empty())
        assert {counts.minimum, counts.maximum} <= processes  # the partitions never came here


@pytest.mark.parametrize("kind", ["array", "frame"])
def test_partitions_that_begin_with_point_masses_are_learnt_as_in_memory(kind: str) -> None:
    rng = np.random.default_rng(0)
    waits = np.sort(np.where(rng.random(8000) < 0.4, 0.0, rng.gamma(2, 1e-4, 8000)))
    if kind == "array":
        collection: Any = dask.array.from_array(waits).rechunk(1000)
    else:
        collection = dask.dataframe.from_pandas(pd.DataFrame({"wait": waits}), npartitions=8)
    learnt, known = GMMExpansion().fit(collection).distribution_, GMMExpansion().fit(waits).distribution_
    q = np.quantile(waits, [0.2, 0.45, 0.6, 0.9, 0.99])
    np.testing.assert_allclose(learnt.cdf(q), known.cdf(q), atol=5e-3)
    assert learnt.mean() == pytest.approx(waits.mean(), rel=0.01)
    rows = spread_rows(collection, n=100)
    assert 90 <= len(rows) <= 130
    assert float(np.max(np.asarray(rows))) > np.quantile(waits, 0.95)
