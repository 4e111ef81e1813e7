"""What it costs to learn every column of a table, beside DuckDB's `SUMMARIZE` of the same file in the same run.

The table has 20 columns: normal and heavy-tailed numbers, prices to a cent, a point mass at zero, counts, keys, days,
times, a boolean, categories, missing values. Each case runs in a process of its own on one thread, imports and compiled
loops loaded before the clock; they take turns. Figures are medians of CPU seconds, and the most memory of the process.
DuckDB is no dependency: where it is missing, its lines are left out.

    python benchmarks/tables.py --out results/tables.json --docs docs    # some minutes
    python benchmarks/tables.py --quick                                  # a hundredth of the rows
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from timing import Line, Scale, arguments, measured, page, versions_of, write_report

PACKAGES = ("gaussmix", "numpy", "scipy", "numba", "pyarrow", *(["duckdb"] if find_spec("duckdb") else []))
ROWS, GROUPS = 1_000_000, 10_000

RUN = """
import json, resource, time
{setup}
started = time.process_time()
{work}
spent = time.process_time() - started
print(json.dumps([spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""
OURS = """
import numpy as np, gaussmix.density.fit
from gaussmix import TableDensity
small = np.random.default_rng(0).standard_t(2, 3000)
warm = TableDensity(max_cells=512).fit({{"a": small, "b": np.round(small, 1), "c": np.arange(3000)}})
[column.report for column in warm.columns_.values()]
"""
DUCKDB = """
import duckdb
connection = duckdb.connect()
connection.execute('SET threads = 1; SET enable_progress_bar = false')
"""
CASES = {
    "count": (OURS, "TableDensity().fit({path!r})"),
    "fit": (OURS, "table = TableDensity().fit({path!r})\n[column.report for column in table.columns_.values()]"),
    "summarize": (DUCKDB, "connection.execute('SUMMARIZE FROM ' + repr({path!r})).fetchall()"),
    "groups": (OURS, "TableDensity(by='shop', columns=['shop', 'normal0']).fit({path!r})"),
    "all groups": (OURS, "TableDensity(by='shop').fit({path!r})"),
    "group medians": (
        DUCKDB,
        "connection.execute('SELECT shop, approx_quantile(normal0, [.05, .25, .5, .75, .95]) FROM '\n"
        "    + repr({path!r}) + ' GROUP BY shop').fetchall()",
    ),
}


def make_table(path: Path, n: int, groups: int) -> None:
    """Twenty columns of n rows; one of them, ``shop``, has so many values."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {f"normal{j}": rng.normal(10 * j, 1 + j, n) for j in range(4)}
    columns |= {f"price{j}": np.round(rng.lognormal(3, 1, n), 2) for j in range(4)}
    columns |= {f"heavy{j}": rng.standard_t(2, n) for j in range(2)}
    columns["rain"] = np.where(rng.random(n) < 0.3, 0.0, rng.gamma(2.0, 50.0, n))
    columns["count"], columns["age"] = rng.poisson(4, n), rng.integers(18, 90, n)
    columns["key"] = rng.integers(0, 10 * n, n)
    columns["day"] = np.datetime64("2023-01-01") + rng.integers(0, 730, n)
    columns["time"] = np.datetime64("2024-01-01", "us") + rng.integers(0, 366 * 86_400 * 10**6, n)
    columns["flag"] = rng.random(n) < 0.4
    columns["country"] = np.array([f"c{k}" for k in range(30)])[rng.integers(0, 30, n)]
    columns["shop"] = np.array([f"shop{k}" for k in range(groups)])[rng.integers(0, groups, n)]
    gaps = rng.random(n) < 0.1
    table = pa.table({**columns, "gaps": pa.array(rng.normal(size=n), mask=gaps)})
    pq.write_table(table, path)


def run(name: str, path: Path) -> tuple[float, float]:
    """CPU seconds and MiB of a case in a process of its own."""
    setup, work = (part.format(path=str(path)) for part in CASES[name])
    code = RUN.format(setup=setup, work=work)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    spent, memory = json.loads(done.stdout.splitlines()[-1])
    return spent, memory


def columns_and_groups(scale: Scale) -> Iterator[Line]:
    """Of one file, all cases in turn."""
    names = [name for name in CASES if CASES[name][0] != DUCKDB or find_spec("duckdb")]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.parquet"
        make_table(path, scale.of(ROWS), scale.of(GROUPS))
        rounds = [{name: run(name, path) for name in names} for _ in range(scale.rounds)]
        found = {name: [each[name] for each in rounds] for name in names}
    cpu, memory = ({name: float(np.median([one[k] for one in found[name]])) for name in names} for k in (0, 1))
    section = "20 columns of a million rows from Parquet"
    if "summarize" in names:
        yield Line(section, "counted and saved for later, of DuckDB's SUMMARIZE", cpu["count"] / cpu["summarize"])
        yield Line(section, "with all densities and reports, of SUMMARIZE", cpu["fit"] / cpu["summarize"], target=1.5)
        yield Line(section, "SUMMARIZE", cpu["summarize"], "s")
    yield Line(section, "counted", cpu["count"], "s")
    yield Line(section, "with all densities and reports", cpu["fit"], "s")
    yield Line(section, "memory of the process", memory["fit"], "MiB", 400)
    section = "10 000 groups of it"
    yield Line(section, "one column by group", cpu["groups"], "s")
    yield Line(section, "memory of the process", memory["groups"], "MiB")
    yield Line(section, "all 19 columns by group", cpu["all groups"], "s")
    yield Line(section, "memory of the process", memory["all groups"], "MiB")
    if "group medians" in names:
        yield Line(section, "DuckDB's approx_quantile of one column, five quantiles a group", cpu["group medians"], "s")


SECTIONS = (columns_and_groups,)


def main(
    out: Path = Path("results/tables.json"),
    docs: Path | None = None,
    rounds: int = 3,
    sections: tuple[str, ...] = tuple(section.__name__ for section in SECTIONS),
    quick: bool = False,
) -> list[Line]:
    """Measures, prints the page, writes the JSON and, with `docs`, the page."""
    lines = measured(SECTIONS, sections, Scale(1, 100) if quick else Scale(rounds))
    versions = versions_of(PACKAGES)
    write_report(out, lines, versions, quick)
    text = page("Tables", (__doc__ or "").split("\n\n")[1], "tables.py", lines, versions)
    print("\n" + text)
    if docs is not None:
        (docs / "benchmarks-tables.md").write_text(text)
    return lines


if __name__ == "__main__":
    main(**arguments(__doc__ or "", "tables", SECTIONS, 3))
