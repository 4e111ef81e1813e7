"""What the first call costs in a new installation, and the next one: nobody sees it in medians.

Each task runs in a process of its own, imports included, first with an empty cache of compiled loops, then again with
what that left. Figures are CPU seconds of the process and the number of functions that it compiled. Beside them stand
SciPy (`gaussian_kde`, `wasserstein_distance`) and KDEpy (`FFTKDE`, improved Sheather-Jones) with the same task, as far
as they have it; theirs is a density on a grid or through all points, ours a mixture with quantiles and samples.

    python benchmarks/first_use.py --out results/first-use.json --docs docs    # 2 minutes
    python benchmarks/first_use.py --quick                                     # a hundredth of the numbers
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import timing
from timing import Line, Scale, arguments, measured, versions_of, write_report

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("gaussmix", "numpy", "scipy", "numba", "scikit-learn", *(["KDEpy"] if find_spec("KDEpy") else []))
MILLION = 1_000_000

SCIPY = """
import numpy as np
from scipy.stats import gaussian_kde, wasserstein_distance
"""
KDEPY = """
import numpy as np
from KDEpy import FFTKDE
"""
DRAW = "x = np.random.default_rng(0).lognormal(3.0, 0.6, {n}); y = x[:{n} // 10] * 1.1\n"
LOAD = "x, y = np.load('x.npy'), np.load('y.npy')\n"
SCIPY_DENSITY = """
density = gaussian_kde(x)
density([10, 20, 40]), density.integrate_box_1d(-np.inf, 25.0), density.resample(5, seed=1)
"""
KDEPY_DENSITY = "np.interp([10, 20, 40], *FFTKDE(bw='ISJ').fit(x).evaluate(2**14))\n"
SCIPY_DISTANCE = "wasserstein_distance(x, y)\n"


@dataclass(frozen=True)
class Task:
    """Words for Python, the most CPU seconds that are aimed at, and what peers do instead.

    ``after``: the task whose cache it finds; an empty one if not given.
    """

    words: tuple[str, ...]
    cold: float | None
    warm: float
    after: str | None = None
    scipy: str | None = None
    kdepy: str | None = None


def command(words: str) -> tuple[str, ...]:
    return ("-m", "gaussmix", *words.split())


def readme_lines() -> str:
    """README's Python of densities and distances."""
    page = (ROOT / "README.md").read_text().partition("\n## A whole table")[0]
    return "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))


def tasks(n: int) -> dict[str, Task]:
    lines = readme_lines()
    assert "1_000_000" in lines
    draw = DRAW.format(n=n)
    return {
        "README's densities and distances": Task(
            ("-c", lines.replace("1_000_000", str(n)).replace("100_000", str(n // 10))), 10, 3,
            scipy=SCIPY + draw + SCIPY_DENSITY + SCIPY_DISTANCE, kdepy=KDEPY + draw + KDEPY_DENSITY,
        ),
        "density fit": Task(
            command("density fit x.npy -o m.safetensors"), 6, 2,
            scipy=SCIPY + LOAD + SCIPY_DENSITY, kdepy=KDEPY + LOAD + KDEPY_DENSITY,
        ),
        "density compare, after a fit": Task(
            command("density compare x.npy y.npy"), 6, 2.8, after="density fit", scipy=SCIPY + LOAD + SCIPY_DISTANCE
        ),
        "density info": Task(command("density info m.safetensors"), None, 0.8),
        "density sample": Task(
            command("density sample m.safetensors --count 1000"), None, 1.5,
            scipy=SCIPY + LOAD + "gaussian_kde(x).resample(1000)",
        ),
        "faces attributes": Task(command("faces attributes"), None, 0.8),
        "faces sample --count 4": Task(command("faces sample --count 4"), None, 6),
    }  # fmt: skip


def cpu_seconds(words: tuple[str, ...], folder: Path, cache: Path) -> float:
    """Of one process that runs Python in `folder` with these words."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *words], cwd=folder, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compiled(cache: Path) -> int:
    """How many functions a cache holds, one for each signature."""
    return sum(1 for _ in cache.rglob("*.nbc"))


def first_use(scale: Scale) -> Iterator[Line]:
    n = scale.of(MILLION)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        x = np.random.default_rng(0).lognormal(3.0, 0.6, n)
        np.save(folder / "x.npy", x)
        np.save(folder / "y.npy", x[: n // 10] * 1.1)
        for name, task in tasks(n).items():
            cache = folder / (task.after or name)
            before = compiled(cache)
            cold = cpu_seconds(task.words, folder, cache)
            yield Line(name, "in a new installation", cold, "CPU s", task.cold)
            yield Line(name, "functions compiled", compiled(cache) - before, "")
            warm = min(cpu_seconds(task.words, folder, cache) for _ in range(scale.rounds))
            yield Line(name, "again", warm, "CPU s", task.warm)
            for peer, code in (("SciPy", task.scipy), ("KDEpy", task.kdepy)):
                if code is not None and peer in ("SciPy", PACKAGES[-1]):
                    yield Line(name, peer, cpu_seconds(("-c", code), folder, cache), "CPU s")
    if "KDEpy" not in PACKAGES:
        print("KDEpy is not installed: left out")


SECTIONS = (first_use,)


def main(
    out: Path = Path("results/first-use.json"),
    docs: Path | None = None,
    rounds: int = 2,
    sections: tuple[str, ...] = tuple(section.__name__ for section in SECTIONS),
    quick: bool = False,
) -> list[Line]:
    """Measures, prints the page, writes the JSON and, with `docs`, the page."""
    lines = measured(SECTIONS, sections, Scale(1, 100) if quick else Scale(rounds))
    versions = versions_of(PACKAGES)
    write_report(out, lines, versions, quick)
    text = timing.page("First use", (__doc__ or "").split("\n\n")[1], "first_use.py", lines, versions)
    print("\n" + text)
    if docs is not None:
        (docs / "benchmarks-first-use.md").write_text(text)
    return lines


if __name__ == "__main__":
    main(**arguments(__doc__ or "", "first-use", SECTIONS, 2))
