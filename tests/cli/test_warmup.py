"""gaussmix warmup: that nothing is left to compile, and what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from gaussmix import _compiled, cli

USE = """
import sys

import numpy as np

from gaussmix import cli, distances, ConditionalGMMExpansion, GaussianBasis, GaussianMixture1D, GMMExpansion


def loaded():
    modules = [vars(module) for name, module in sys.modules.items() if name.startswith("gaussmix.")]
    loops = [(name, getattr(value, "_dispatcher", value)) for module in modules for name, value in module.items()]
    return {(name, str(types)) for name, loop in loops for types in getattr(loop, "signatures", ())}


assert cli.main(["warmup"]) == 0
before = loaded()
rng = np.random.default_rng(1)
for x in (rng.gamma(2.0, size=30_000), rng.standard_t(2, size=30_000).astype("f4"), rng.integers(0, 90, 30_000)):
    law = GMMExpansion().fit(x).distribution_
    for n in (1, 50, 50_000):
        q = law.cdf(np.linspace(0.1, 3.0, n))
        law.pdf(law.ppf(q)), law.rvs(n), law.logpdf(0.5), law.sf(1), law.isf(0.1), law.interval(0.5), law.entropy()
    other = GMMExpansion("fast").fit(np.column_stack([x, x]), sample_weight=rng.random(30_000)).distributions_[1]
    distances.compare(law, other), distances.compare(x, x[:2000])
    distances.wasserstein_distance(x, law, 2), distances.wasserstein_distance(x, x[:9], b_weights=np.arange(9))
a, b = rng.dirichlet(np.ones(60), (2, 500))
distances.wasserstein_distance(a, b, basis=GaussianBasis.spanning(0, 1, 60))
distances.total_variation_distance(a, b, basis=GaussianBasis.spanning(0, 1, 60))
x = rng.random((200, 3))
for rule, y in (("fast", x[:, 0] + rng.random(200)), ("auto", rng.poisson(1 + 3 * x[:, 0]))):
    rows = ConditionalGMMExpansion(rule, random_state=0).fit(x, y).predict_distribution(x[::2])
    rows.ppf([0.2, 0.8]), rows.interval(0.5), rows.cdf(y[::2]), rows.crps(y[::2]), rows.rvs(), rows[3].ppf(0.5)
assert before
print(sorted(loaded() - before))
"""


def test_after_it_nothing_is_left_to_compile(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", USE], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_it_says_what_it_did(monkeypatch, capsys) -> None:
    from gaussmix.cli import warmup

    monkeypatch.setattr(warmup, "_measure_distances", lambda laws: None)
    monkeypatch.setattr(warmup, "_predict", lambda: None)
    monkeypatch.setattr(warmup, "_learn_and_evaluate", lambda: _compiled.compiled.extend(["a", "b"]))
    assert cli.main(["warmup"]) == 0
    assert capsys.readouterr().out.startswith("2 functions compiled in 0.")
    monkeypatch.setattr(warmup, "_learn_and_evaluate", list)
    assert cli.main(["warmup"]) == 0
    assert capsys.readouterr().out == "all functions are compiled already\n"
    del _compiled.compiled[-2:]
