"""Discrete columns: the distribution on a lattice, when a column is discrete, and what its probabilities are."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from gaussmix import GaussianMixture1D, GMMExpansion, LatticeMixture1D
from gaussmix.density.model import DensityModel
from gaussmix.density.quantity import ColumnKind, common_step

NORMAL = GaussianMixture1D([1.0], [1.0], [2.0], tail=(1e-4, 1.0, 2.0))
HALVES = LatticeMixture1D(NORMAL, [-0.5, 0.5, 1.0], [0.2, 0.5, 0.3], step=0.5)


def discrete(model: DensityModel) -> LatticeMixture1D:
    assert isinstance(model.distribution_, LatticeMixture1D)
    return model.distribution_


@st.composite
def integer_columns(draw: st.DrawFn) -> NDArray[np.int64]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.sampled_from([1, 5, 30, 400, 3000]))
    make = {
        "poisson": lambda: rng.poisson(rng.uniform(0.1, 60), n),
        "uniform": lambda: rng.integers(-5, 16, n),
        "geometric": lambda: rng.geometric(rng.uniform(0.05, 0.9), n),
        "zeros": lambda: np.where(rng.random(n) < 0.3, 0, rng.poisson(20, n)),
        "few": lambda: rng.choice([0, 1, 1_000_000 if n > 99 else 2], n),
        "heavy": lambda: np.minimum(rng.zipf(1.6, n), 300),
    }
    return make[draw(st.sampled_from(sorted(make)))]() * draw(st.sampled_from([1, 1, -1]))


# -- the distribution


def test_methods_are_those_of_the_probabilities() -> None:
    v, p = HALVES.values, HALVES.probabilities
    assert HALVES.pmf([-0.5, 0.0, 0.5, 0.75, 1.0, 2.0]).tolist() == pytest.approx([0.2, 0, 0.5, 0, 0.3, 0])
    assert HALVES.cdf([-1, -0.5, 0.4, 0.5, 0.9, 1, 9]).tolist() == pytest.approx([0, 0.2, 0.2, 0.7, 0.7, 1, 1])
    assert np.allclose(HALVES.sf([-1, -0.5, 0.6, 1]), [1, 0.8, 0.3, 0], atol=1e-15)
    assert HALVES.ppf([0, 0.1, 0.2, 0.21, 0.71, 1]).tolist() == [-0.5, -0.5, -0.5, 0.5, 1, 1]
    assert HALVES.isf([0, 0.29, 0.31, 0.81, 1]).tolist() == [1, 1, 0.5, -0.5, -0.5]
    assert HALVES.mean() == pytest.approx(v @ p)
    assert HALVES.var() == pytest.approx(p @ (v - v @ p) ** 2)
    assert HALVES.std() == pytest.approx(math.sqrt(HALVES.var()))
    assert HALVES.median() == 0.5
    assert HALVES.entropy() == pytest.approx(stats.entropy(p))
    assert HALVES.support() == (-0.5, 1.0)
    assert [float(end) for end in HALVES.interval(0.5)] == [0.5, 1.0]
    drawn = HALVES.rvs(100_000, random_state=0)
    assert np.isin(drawn, v).all()
    assert np.allclose([np.mean(drawn == value) for value in v], p, atol=0.005)
    for method in (HALVES.pmf, HALVES.logpdf, HALVES.cdf, HALVES.ppf):
        assert math.isnan(float(method(math.nan)))
    assert math.isnan(float(HALVES.ppf(1.5)))


def test_probabilities_of_unseen_values_come_from_the_smooth_density() -> None:
    assert HALVES.logpmf(0.0) == HALVES.logpmf(3.0) == -math.inf
    assert HALVES.logpdf(0.0) == pytest.approx(NORMAL.logpdf(0.0) + math.log(0.5))
    assert math.isfinite(HALVES.logpdf(1e9))
    assert HALVES.logpdf(0.3) == -math.inf
    assert HALVES.logpdf(0.5) == HALVES.logpmf(0.5) == pytest.approx(math.log(0.5))


def test_decimals_are_found_in_spite_of_their_rounding() -> None:
    tenths = LatticeMixture1D(NORMAL, np.arange(10) * 0.1, np.full(10, 0.1), 0.1)
    written = np.array([0.1, 0.2, 0.3, 0.6, 0.7])
    for x in (written, written.astype(np.float32)):
        assert np.allclose(tenths.pmf(x), 0.1)
        assert np.allclose(tenths.cdf(x), [0.2, 0.3, 0.4, 0.7, 0.8])
    counts = LatticeMixture1D(NORMAL, [0, 1], [0.5, 0.5])
    assert counts.cdf(1 - 1e-9) == 0.5
    assert counts.pmf(1 - 1e-9) == 0


@pytest.mark.parametrize(
    ("values", "probabilities", "step", "message"),
    [
        ([0, 1], [1.0], 1.0, "as many of each"),
        ([0, 1], [0.5, 0.4], 1.0, "sum 0.9"),
        ([0, 1], [1.5, -0.5], 1.0, "least -0.5"),
        ([1, 0], [0.5, 0.5], 1.0, "increase"),
        ([0, 1.5], [0.5, 0.5], 1.0, "1.5 is no whole number of steps of 1"),
        ([0, math.inf], [0.5, 0.5], 1.0, "finite"),
    ],
)
def test_what_is_no_distribution_is_refused(values: Any, probabilities: Any, step: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LatticeMixture1D(NORMAL, values, probabilities, step)


def test_files_and_pickles(tmp_path: Path) -> None:
    HALVES.save(tmp_path / "halves.safetensors")
    for again in (LatticeMixture1D.load(tmp_path / "halves.safetensors"), pickle.loads(pickle.dumps(HALVES))):
        assert again == HALVES
        assert again.continuous == NORMAL
    assert HALVES != NORMAL
    assert NORMAL != HALVES


# -- of columns


@settings(deadline=None, max_examples=40)
@given(x=integer_columns(), rule=st.sampled_from(["auto", "fast"]), cuts=st.lists(st.floats(0, 1), max_size=3))
def test_whatever_integers(x: NDArray[np.int64], rule: Any, cuts: list[float]) -> None:
    model = GMMExpansion(rule).fit(x)
    law = discrete(model)
    v, p = law.values, law.probabilities
    assert p.sum() == pytest.approx(1, abs=1e-15)
    assert law.support() == (x.min(), x.max())
    assert np.all(law.ppf(law.cdf(v)) == v)
    assert np.all(law.isf(law.sf(v)) == v)
    assert law.cdf(x.min() - 0.5) == 0
    assert law.sf(x.max()) == 0
    assert np.all(law.pmf(np.unique(x)) > 0)
    drawn = law.rvs(200, random_state=0)
    assert np.all(drawn == np.rint(drawn))
    assert x.min() <= drawn.min() <= drawn.max() <= x.max()
    assert np.isfinite(model.score_samples(np.array([x.min() - 7, x.max() + 9]))).all()
    ks = max(abs(np.mean(x <= value) - law.cdf(value)) for value in np.unique(x))
    assert model.report_.ks == pytest.approx(ks, abs=1e-12)
    assert model.report_.log_likelihood == pytest.approx(law.logpmf(x).mean())
    pieces = [part for part in np.split(x, sorted(int(c * len(x)) for c in cuts)) if len(part)]
    first = GMMExpansion(rule).partial_fit(x)
    merged = first.empty_like()
    for part in pieces:
        merged.merge(first.empty_like().partial_fit(part))
    assert discrete(merged) == discrete(first)


@pytest.mark.parametrize("rule", ["auto", "fast"])
def test_chunks_merged_models_and_files_give_the_whole(tmp_path: Path, rule: Any) -> None:
    x = np.random.default_rng(0).negative_binomial(3, 0.2, 6000)
    whole, stream = GMMExpansion(rule).fit(x), DensityModel(rule)
    for part in np.array_split(x, 7):
        stream.partial_fit(part)
    assert np.allclose(discrete(stream).pmf(np.arange(99)), discrete(whole).pmf(np.arange(99)), atol=1e-12)
    start = stream.empty_like()
    halves = [start.empty_like().partial_fit(part) for part in np.array_split(x, 2)]
    merged = start.empty_like().merge(halves[0]).merge(halves[1])
    assert discrete(merged) == discrete(stream)
    merged.save(tmp_path / "model.safetensors")
    loaded = DensityModel.load(tmp_path / "model.safetensors")
    assert discrete(loaded) == discrete(merged)
    assert loaded.report_ == merged.report_
    more = np.arange(30)
    assert discrete(loaded.partial_fit(more)) == discrete(merged.partial_fit(more))


def test_one_chunk_of_floats_makes_the_column_continuous() -> None:
    x = np.random.default_rng(0).poisson(9, 2000)
    for order in (1, -1):
        model = GMMExpansion()
        for part in (x, x / 1.0)[::order]:
            model.partial_fit(part)
        assert type(model.distribution_) is GaussianMixture1D
    start = GMMExpansion().partial_fit(x)
    assert type(start.merge(start.empty_like().partial_fit(x / 1.0)).distribution_) is GaussianMixture1D


def test_probabilities_are_nearer_than_the_better_of_density_and_counts() -> None:
    k = np.arange(200)
    targets = {
        "poisson": stats.poisson.pmf(k, 30),
        "uniform": np.where(k <= 20, 1 / 21, 0),
        "scores": np.append([0.05, 0.01, 0.015, 0.02, 0.02, 0.08, 0.06, 0.12, 0.2, 0.15, 0.275], np.zeros(189)),
        "zeros": 0.3 * (k == 0) + 0.7 * stats.poisson.pmf(k, 20),
    }
    for name, p in targets.items():
        errors = []
        for seed in range(4):
            x = np.random.default_rng(seed).choice(200, 3000, p=p / p.sum())
            law = discrete(GMMExpansion().fit(x))
            smooth = np.diff(law.continuous.cdf(np.r_[-np.inf, k[:-1] + 0.5, np.inf]))
            shares = np.bincount(x, minlength=200) / len(x)
            errors.append([np.abs(q - p).sum() for q in (law.pmf(k), smooth, shares)])
        ours, of_density, of_counts = np.mean(errors, axis=0)
        assert ours < 1.05 * min(of_density, of_counts), name


def test_geometric_counts_have_nothing_below_zero() -> None:
    x = np.random.default_rng(0).geometric(0.4, 20_000) - 1
    law = discrete(GMMExpansion("fast").fit(x))
    assert law.continuous.cdf(-1e-9) > 0.1
    assert law.cdf(-1e-9) == 0
    assert law.mean() == pytest.approx(x.mean(), rel=0.05)
    cut = np.append(x[x <= 16], 16)
    stream = GMMExpansion()
    for part in np.array_split(cut, 9):
        stream.partial_fit(part)
    assert discrete(stream).mean() == pytest.approx(cut.mean(), rel=0.01)


def test_bounds_hold_the_support() -> None:
    x = np.random.default_rng(0).poisson(10, 500).clip(2, 17)
    assert discrete(GMMExpansion(bounds=(0, 20)).fit(x)).support() == (0, 20)
    hundredths = np.round(np.random.default_rng(0).beta(2, 2, 20_000) * 100).astype(int)
    law = discrete(GMMExpansion(bounds=(0, 100)).fit(hundredths))
    assert law.support() == (0, 100)
    assert law.pmf(0) < law.pmf(1) / 2 + 0.002
    assert discrete(GMMExpansion(bounds=(0, None)).fit(hundredths)).support() == (0, hundredths.max())
    assert discrete(GMMExpansion(bounds=(0, 1e9)).fit(hundredths)).support() == (0, hundredths.max())


def test_columns_of_point_masses_draw_nothing_else() -> None:
    few = np.random.default_rng(0).random(25) < 0.5
    law = discrete(GMMExpansion().fit(few))
    assert law.values.tolist() == [0, 1]
    assert law.pmf(1) == few.mean()
    floats = GMMExpansion().fit(few / 4)
    assert type(floats.distribution_) is GaussianMixture1D
    for d, allowed in ((law, [0, 1]), (floats.distribution_, [0, 0.25])):
        assert np.isin(d.rvs(1_000_000, random_state=0), allowed).all()
    assert np.isfinite(floats.score_samples(np.array([0.1, 0.25, -1e9]))).all()
    assert floats.distribution_.std() == pytest.approx(np.std(few / 4), rel=1e-9)


def test_steps_other_than_one() -> None:
    fives = 5 * np.random.default_rng(0).poisson(12, 2000) + 3
    law = discrete(GMMExpansion().fit(fives))
    assert law.step == 5
    assert np.isin(law.rvs(1000, random_state=0) % 5, 3).all()
    assert discrete(GMMExpansion().fit(np.array([3, 9, 15]))).step == 1  # which may be chance
    assert type(GMMExpansion().fit(np.arange(3000) * 7).distribution_) is GaussianMixture1D  # too many cells


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("step", [1.0, 0.5, 0.1, 0.25, 2.5])
def test_floats_on_a_lattice_if_asked(step: float, dtype: Any) -> None:
    number = np.random.default_rng(0).poisson(30, 3000)
    x = (number * step).round(6).astype(dtype)
    law = discrete(GMMExpansion(discrete=True).fit(x))
    assert law.step == pytest.approx(step, rel=1e-5)
    assert np.allclose(law.pmf(x[:9]), discrete(GMMExpansion().fit(number)).pmf(number[:9]), rtol=0.02)
    stream = DensityModel(discrete=True)
    for part in np.array_split(x, 6):
        stream.partial_fit(part)
    assert np.allclose(discrete(stream).pmf(x[:99]), law.pmf(x[:99]), atol=1e-9)
    assert type(GMMExpansion().fit(x).distribution_) is GaussianMixture1D


def test_floats_off_any_lattice_are_refused_if_discrete_was_asked_for() -> None:
    x = np.random.default_rng(0).normal(size=500)
    with pytest.raises(ValueError, match="column 0 are not whole steps apart"):
        GMMExpansion(discrete=True).fit(x)
    model = GMMExpansion(discrete=True).partial_fit(np.round(x))
    with pytest.raises(ValueError, match="not whole steps apart"):
        model.partial_fit(x)
    assert model.counts_[0].n == 500  # nothing of it was counted
    with pytest.raises(ValueError, match="too many of these"):
        GMMExpansion(discrete=True).fit(np.random.default_rng(0).integers(0, 20_000, 90_000))
    with pytest.raises(ValueError, match="rule is 'kernel'"):
        GMMExpansion("kernel", discrete=True).fit(np.round(x))


@pytest.mark.parametrize("kind", [False, "auto"])
def test_never_and_bases_stay_smooth(kind: Literal["auto"] | bool) -> None:
    x = np.random.default_rng(0).poisson(30, 500)
    assert type(GMMExpansion("auto" if kind is False else "kernel", discrete=kind).fit(x).distribution_) is (
        GaussianMixture1D
    )


def test_weights() -> None:
    x = np.random.default_rng(0).poisson(20, 4000)
    values, repeats = np.unique(x, return_counts=True)
    assert discrete(GMMExpansion().fit(values, sample_weight=repeats)) == discrete(GMMExpansion().fit(x))
    tilted = discrete(GMMExpansion().fit(x, sample_weight=0.5 ** (x / 4)))
    assert tilted.mean() == pytest.approx(20 * 0.5**0.25, rel=0.03)  # of the tilted Poisson distribution


def test_types_of_tables() -> None:
    pd, pl, pa = pytest.importorskip("pandas"), pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    n = np.random.default_rng(0).poisson(20, 300)
    data = {"integer": n, "float": n / 1.0, "boolean": n > 20, "small": n.astype(np.uint8)}
    holes = {"missing": [None, *n[1:].tolist()], "plain": n / 7}
    expected = [True, False, True, True]
    for table in (pd.DataFrame(data), pl.DataFrame(data), pa.table(data)):
        found = [isinstance(law, LatticeMixture1D) for law in GMMExpansion().fit(table).distributions_]
        assert found == expected
    nullable = pd.DataFrame(holes).astype({"missing": "Int64"})
    for table in (nullable, pl.DataFrame(holes), pa.table(holes)):
        model = GMMExpansion(nan_policy="omit").fit(table)
        assert [isinstance(law, LatticeMixture1D) for law in model.distributions_] == [True, False]
        assert model.reports_[0].n_missing == 1
    for column in (nullable["missing"], pl.Series(holes["missing"]), pa.array(holes["missing"]), n.tolist()):
        discrete(GMMExpansion(nan_policy="omit").fit(column))
    discrete(GMMExpansion(nan_policy="omit").fit(np.ma.masked_less(n, 12)))


def test_dask_by_its_types() -> None:
    da, dd, pd = pytest.importorskip("dask.array"), pytest.importorskip("dask.dataframe"), pytest.importorskip("pandas")
    n = np.random.default_rng(0).poisson(20, 3000)
    here = discrete(GMMExpansion().fit(n))
    assert np.allclose(discrete(GMMExpansion().fit(da.from_array(n, chunks=700))).pmf(n), here.pmf(n), atol=1e-12)
    frame = dd.from_pandas(pd.DataFrame({"n": n, "x": n / 1.0}), npartitions=3)
    kinds = [isinstance(law, LatticeMixture1D) for law in GMMExpansion().fit(frame).distributions_]
    assert kinds == [True, False]
    with pytest.raises(ValueError, match="astype"):
        GMMExpansion(discrete=True).fit(frame)


def test_parquet_with_missing_integers(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    from gaussmix.density.files import open_column

    n = np.random.default_rng(0).poisson(20, 3000)
    pq.write_table(pa.table({"n": pa.array(n, mask=n == 3), "x": n / 1.0}), tmp_path / "t.parquet")
    for name, kind in (("n", LatticeMixture1D), ("x", GaussianMixture1D)):
        model = DensityModel(nan_policy="omit")
        with open_column(tmp_path / "t.parquet", name, batch_rows=500) as chunks:
            for chunk in chunks:
                model.partial_fit(chunk)
        assert type(model.distribution_) is kind


# -- lattices of floats


@settings(deadline=None)
@given(
    numbers=st.lists(st.integers(0, 2000), min_size=2, max_size=30, unique=True),
    step=st.sampled_from([1.0, 0.01, 0.1, 0.125, 5.0]),
    origin=st.sampled_from([0.0, 100.0, -3.5]),
    cut=st.integers(0, 30),
)
def test_the_step_is_the_greatest_common_divisor(numbers: list[int], step: float, origin: float, cut: int) -> None:
    x = origin + step * np.array(numbers)
    divisor = math.gcd(*(number - numbers[0] for number in numbers))
    whole = ColumnKind.of(x, False, True)
    joined = ColumnKind.of(x[:cut], False, True).joined(ColumnKind.of(x[cut:], False, True))
    assert whole.step == pytest.approx(divisor * step, rel=1e-6)
    assert joined.step == pytest.approx(divisor * step, rel=1e-6)


def test_no_step() -> None:
    assert math.isnan(common_step(np.random.default_rng(0).random(50), 1.0))
    assert common_step(np.zeros(3), 1.0) == 0
    assert math.isnan(common_step(np.array([math.nan, 1.0]), 1.0))
