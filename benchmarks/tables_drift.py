"""Drift of two files of 20 columns against Evidently's `DataDriftPreset`, CPU seconds of whole processes on one thread.

Each side reads both Parquet files, compares every column and writes a page of HTML, in a process of its own, imports
included. Evidently has an environment of its own, with a pandas that its version knows.

    python -m venv peers && peers/bin/pip install evidently pyarrow "pandas<3"
    EVIDENTLY=peers/bin/python python benchmarks/tables_drift.py
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import timing
from timing import Line, Scale, arguments, measured, versions_of, write_report

MILLION, EVIDENTLY = 1_000_000, os.path.abspath(os.environ["EVIDENTLY"]) if "EVIDENTLY" in os.environ else ""
OURS = """
from gaussmix.tables import compare_tables
from pathlib import Path
found = compare_tables("old.parquet", "new.parquet")
"""
PAGE = "Path('drift.html').write_text(found.to_html())\n"
GROUPS = OURS.replace(")\n", ', by="c0")\n')
THEIRS = """
import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset
old, new = pd.read_parquet("old.parquet"), pd.read_parquet("new.parquet")
found = Report([DataDriftPreset()]).run(new, old)
"""
THEIR_PAGE = "found.save_html('theirs.html')\n"


def write_table(path: Path, n: int, seed: int, shift: float) -> None:
    """20 columns of n rows: numbers of several shapes, counts, dates, categories; a tenth of some is missing."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(seed)
    table: dict[str, pa.Array] = {}
    for j in range(6):
        table[f"n{j}"] = pa.array(rng.normal(j + shift * (j == 0), 1 + j, n))
    for j in range(4):
        table[f"l{j}"] = pa.array(rng.lognormal(3, 0.4 + 0.2 * j, n), mask=rng.random(n) < 0.1 * (j % 2))
    table["zeros"] = pa.array(np.where(rng.random(n) < 0.4, 0.0, rng.exponential(10, n)))
    table["cents"] = pa.array(np.round(rng.gamma(2, 20, n), 2))
    table["age"] = pa.array(rng.binomial(90, 0.45, n))
    table["visits"] = pa.array(rng.poisson(4 + shift, n))
    table["day"] = pa.array(np.datetime64("2024-01-01") + rng.integers(0, 365, n).astype("m8[D]"))
    table["ok"] = pa.array(rng.random(n) < 0.3)
    for j, levels in enumerate((5, 20, 200)):
        shares = np.arange(1, levels + 1) / (levels * (levels + 1) / 2)
        table[f"c{j}"] = pa.array(np.array([f"level {k}" for k in range(levels)])[rng.choice(levels, n, p=shares)])
    table["rating"] = pa.array(rng.integers(1, 6, n))
    pq.write_table(pa.table(table), path)


def cpu_of(words: str, folder: Path, python: str = sys.executable) -> tuple[float, float]:
    """CPU seconds and peak MiB of a fresh process that runs the words."""
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    own = {} if python == sys.executable else {"PYTHONPATH": ""}
    run = [python, "-W", "ignore", "-c", words + said]
    done = subprocess.run(run, cwd=folder, env=os.environ | threads | own, check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, int(done.stdout.split()[-1]) / 1024


def drift(scale: Scale) -> Iterator[Line]:
    """Ours with and without a page and by group, then theirs."""
    n = scale.of(MILLION)
    section = f"drift of two files of 20 columns x {n:.0e} rows"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_table(folder / "old.parquet", n, 0, 0.0)
        write_table(folder / "new.parquet", n, 1, 0.1)
        cpu_of(OURS + PAGE, folder)  # fills the cache of compiled loops
        ours = [cpu_of(OURS, folder) for _ in range(scale.rounds)]
        with_page = float(np.median([cpu_of(OURS + PAGE, folder)[0] for _ in range(scale.rounds)]))
        by_group = cpu_of(GROUPS, folder)[0]
        seconds = float(np.median([each[0] for each in ours]))
        yield Line(section, "compare_tables", seconds, "s")
        yield Line(section, "with the page", with_page, "s")
        yield Line(section, "by a column of 5 groups", by_group, "s")
        yield Line(section, "memory", max(each[1] for each in ours), "MiB")
        if EVIDENTLY:
            theirs, memory = cpu_of(THEIRS, folder, EVIDENTLY)
            their_page = cpu_of(THEIRS + THEIR_PAGE, folder, EVIDENTLY)[0]
            yield Line(section, "Evidently's DataDriftPreset", theirs, "s")
            yield Line(section, "its memory", memory, "MiB")
            yield Line(section, "faster than Evidently", theirs / seconds, "x", 20, at_least=True)
            yield Line(section, "the same, both with their page", their_page / with_page, "x", 20, at_least=True)


def main() -> None:
    given = arguments(__doc__ or "", "tables-drift", (drift,), 3)
    scale = Scale(1, 100) if given["quick"] else Scale(given["rounds"])
    lines = measured((drift,), given["sections"], scale)
    versions = versions_of(("gaussmix", "numpy", "pyarrow"))
    if EVIDENTLY:
        said = "from importlib.metadata import version; print(version('evidently'))"
        versions["evidently"] = subprocess.run([EVIDENTLY, "-c", said], capture_output=True, text=True).stdout.strip()
    write_report(given["out"], lines, versions, given["quick"])
    if given["docs"]:
        text = (__doc__ or "").partition("\n\n")[2].partition("\n\n    pip")[0]
        page = timing.page("Tables: drift", text, "tables_drift.py", lines, versions)
        (given["docs"] / "benchmarks-tables-drift.md").write_text(page)


if __name__ == "__main__":
    main()
