"""`gaussmix density`: from a file to a model, a picture, numbers and facts; and one clear line for what is wrong."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy import stats

from gaussmix import GMMExpansion, cli
from gaussmix.distances import compare


@pytest.fixture(scope="module")
def prices() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.round(rng.lognormal(3.0, 0.6, 20_000), 2)


@pytest.fixture
def model(prices: np.ndarray, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    GMMExpansion("fast").fit(prices).save(path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet", ".npy"])
def test_fit_reads_the_files_people_have(prices: np.ndarray, tmp_path: Path, capsys, suffix: str) -> None:
    file, out = tmp_path / f"sales{suffix}", tmp_path / "model.safetensors"
    table = pd.DataFrame({"day": np.arange(len(prices)) % 7, "price": prices})
    table.loc[5, "price"] = np.nan
    if suffix == ".parquet":
        table.to_parquet(file)
    elif suffix == ".npy":
        np.save(file, table["price"].to_numpy())
    else:
        table.to_csv(file, index=False)
    column = [] if suffix == ".npy" else ["--column", "price"]
    assert cli.main(["density", "fit", str(file), *column, "-o", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "19 999 numbers" in printed
    assert "1 missing" in printed
    fitted = GMMExpansion.load(out).distribution_
    assert float(fitted.ppf(0.5)) == pytest.approx(np.median(prices), rel=0.02)


def test_fit_passes_its_flags_on(prices: np.ndarray, tmp_path: Path, capsys) -> None:
    np.save(tmp_path / "x.npy", prices)
    flags = "--rule kernel --components 64 --bandwidth cv --range 0 200 --bounds 0 inf --threads 2"
    status = cli.main(["density", "fit", f"{tmp_path}/x.npy", "-o", f"{tmp_path}/m.safetensors", *flags.split()])
    assert status == 0
    loaded = GMMExpansion.load(tmp_path / "m.safetensors")
    assert loaded.get_params() == GMMExpansion(
        "kernel", n_components=64, bandwidth="cv", range=(0.0, 200.0), bounds=(0.0, np.inf),
        nan_policy="omit", n_jobs=2,
    ).get_params()  # fmt: skip
    assert loaded.bases_[0] is not None
    assert loaded.bases_[0].n_components == 64
    assert loaded.distribution_.bounds == (0, np.inf)


def test_plot_sample_and_info(model: Path, prices: np.ndarray, tmp_path: Path, capsys) -> None:
    assert cli.main(["density", "plot", str(model), "-o", f"{tmp_path}/p.png", "--title", "Prices"]) == 0
    with Image.open(tmp_path / "p.png") as picture:
        assert min(picture.size) > 400
    for suffix in (".npy", ".csv", ".parquet"):
        out = tmp_path / "new folder" / f"numbers{suffix}"
        assert cli.main(["density", "sample", str(model), "--count", "3000", "--seed", "1", "-o", str(out)]) == 0
    arrays = [
        np.load(tmp_path / "new folder" / "numbers.npy"),
        pd.read_csv(tmp_path / "new folder" / "numbers.csv").iloc[:, 0].to_numpy(),
        pq.read_table(tmp_path / "new folder" / "numbers.parquet").column(0).to_numpy(),
    ]
    for numbers in arrays:
        np.testing.assert_array_equal(numbers, arrays[0])
    assert np.median(arrays[0]) == pytest.approx(np.median(prices), rel=0.05)
    capsys.readouterr()
    assert cli.main(["density", "sample", str(model), "--count", "3", "--seed", "1"]) == 0
    printed = [float(line) for line in capsys.readouterr().out.split()]
    np.testing.assert_array_equal(printed, GMMExpansion.load(model).distribution_.rvs(3, random_state=1))
    assert cli.main(["density", "info", str(model)]) == 0
    assert "quantiles: 1% " in capsys.readouterr().out
    assert cli.main(["density", "info", str(model), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["n"] == len(prices)
    assert facts["quantiles"]["0.5"] == pytest.approx(np.median(prices), rel=0.02)


def test_fit_reads_several_files_and_the_standard_input(
    prices: np.ndarray, tmp_path: Path, capsys, monkeypatch
) -> None:
    for i, part in enumerate(np.array_split(prices, 3)):
        pd.DataFrame({"price": part, "n": i}).to_csv(tmp_path / f"part{i}.csv", index=False)
    files = sorted(map(str, tmp_path.glob("part*")))
    flags = ["--column", "price", "--json", "-o", f"{tmp_path}/m.safetensors"]
    whole = pd.concat(map(pd.read_csv, files)).to_csv(index=False)
    found = []
    for sources in (files, [f"{tmp_path}/part*.csv"], [str(tmp_path)], ["-"]):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(whole.encode())))
        assert cli.main(["density", "fit", *sources, *flags]) == 0
        found.append(json.loads(capsys.readouterr().out))
    for facts in found:
        assert facts["n"] == len(prices)
        assert facts["model"] == f"{tmp_path}/m.safetensors"
        assert facts["quantiles"]["0.5"] == pytest.approx(np.median(prices), rel=0.02)


def test_fit_says_how_it_read_what_is_not_plain(tmp_path: Path, capsys) -> None:
    rows = [f"{i % 50},{i % 100:02};-999" if i % 10 else "-;-999" for i in range(5000)]
    (tmp_path / "x.csv").write_text("price;none\n" + "\n".join(rows))
    out = ["-o", f"{tmp_path}/m.safetensors"]
    assert cli.main(["density", "fit", f"{tmp_path}/x.csv", "--column", "price", "--missing", "-,-999", *out]) == 0
    printed = capsys.readouterr().out
    assert "4 500 numbers from 1.01 to 49.99" in printed
    assert "500 missing" in printed
    assert "\nread 1,01 as 1.01\n" in printed
    assert cli.main(["density", "fit", f"{tmp_path}/x.csv", "--column", "none", "--missing=-999", *out]) == 2
    assert "x.csv, none holds missing values alone" in capsys.readouterr().err


DAY = np.datetime64("2024-01-01") + np.random.default_rng(1).integers(0, 366, 4000)


@pytest.fixture
def dates(tmp_path: Path) -> Path:
    pd.DataFrame({"day": DAY, "x": np.random.default_rng(0).normal(1e9, 1, 4000)}).to_parquet(
        tmp_path / "dates.parquet"
    )
    return tmp_path / "dates.parquet"


def test_models_of_dates_speak_in_dates(dates: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main("density fit dates.parquet --column day --range 2023-12-01 2025-02-01".split()) == 0
    printed = capsys.readouterr().out
    assert "4 000 dates from 2024-01-01 to 2024-12-31" in printed
    assert "1e+" not in printed
    assert cli.main("density info model.safetensors --json".split()) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["minimum"], facts["maximum"]) == ("2024-01-01", "2024-12-31")
    assert abs(
        np.datetime64(facts["quantiles"]["0.5"]) - np.median(DAY.astype("M8[s]").astype(int)).astype("M8[s]")
    ) < np.timedelta64(4, "D")
    assert cli.main("density quantiles model.safetensors 0.1 0.5".split()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["0.1", "0.5"]
    assert all(line.split()[1].startswith("2024-") for line in lines)
    assert cli.main("density cdf model.safetensors 2023-01-01 2024-07-01 --json".split()) == 0
    shares = json.loads(capsys.readouterr().out)
    assert shares["2023-01-01"] < 1e-3
    assert shares["2024-07-01"] == pytest.approx((np.datetime64("2024-07-01") >= DAY).mean(), abs=0.01)
    assert cli.main("density sample model.safetensors --count 3".split()) == 0
    assert all(line.startswith(("2023-1", "2024-", "2025-0")) for line in capsys.readouterr().out.splitlines())
    assert cli.main("density plot model.safetensors".split()) == 0
    assert cli.main("density cdf model.safetensors 3".split()) == 2
    assert "'3' is not a date such as 2024-03-01" in capsys.readouterr().err
    assert cli.main("density compare model.safetensors dates.parquet --column x".split()) == 2
    assert "compare like with like" in capsys.readouterr().err


def test_quantiles_and_shares(model: Path, prices: np.ndarray, capsys) -> None:
    law = GMMExpansion.load(model).distribution_
    assert cli.main(["density", "quantiles", str(model), "--json", "0.05", "0.5"]) == 0
    assert json.loads(capsys.readouterr().out) == {"0.05": law.ppf(0.05), "0.5": law.ppf(0.5)}
    assert cli.main(["density", "cdf", str(model), "20", "-1"]) == 0
    shares = [float(line.split()[1]) for line in capsys.readouterr().out.splitlines()]
    np.testing.assert_allclose(shares, law.cdf([20.0, -1.0]), atol=1e-6)


def test_digits_follow_the_spread(dates: Path, tmp_path: Path, capsys) -> None:
    assert cli.main(["density", "fit", str(dates), "--column", "x", "-o", f"{tmp_path}/x.safetensors"]) == 0
    printed = capsys.readouterr().out
    assert "e+09" not in printed
    quantiles = [float(word) for word in printed.partition("quantiles: ")[2].split("\n")[0].split()[1::2]]
    law = GMMExpansion.load(tmp_path / "x.safetensors").distribution_
    np.testing.assert_allclose(quantiles, law.ppf([0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]), rtol=0, atol=0.006)


@pytest.fixture
def files(tmp_path: Path, prices: np.ndarray) -> Path:
    table = pd.DataFrame({"price": prices[:50], "weight": prices[:50], "shop": ["a"] * 50})
    table.to_csv(tmp_path / "two.csv", index=False)
    table.to_parquet(tmp_path / "two.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "two.parquet").read_bytes()[:300])
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "header.csv").write_text("price\n")
    (tmp_path / "missing.csv").write_text("price\nNA\nNA\n")
    (tmp_path / "x.docx").write_text("price")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("fit two.csv --column prize", "price"),
        ("fit two.csv", "say which one: price, weight, shop"),
        ("fit two.parquet --column shop", "shop"),
        ("fit two.csv --column shop", "shop"),
        ("fit two.parquet --column 7", "7"),
        ("fit cut.parquet --column price", "cut.parquet"),
        ("fit empty.csv", "empty.csv"),
        ("fit header.csv --column price", "header.csv"),
        ("fit absent.csv --column price", "absent.csv"),
        ("fit x.docx", ".docx"),
        ("fit two.csv --column price --bandwidth wide", "Error parsing --bandwidth"),
        ("fit two.csv --column price --bandwidth 0", "--bandwidth is 0; it must be positive and finite, or cv"),
        ("fit two.csv --column price --components 0", "--components is 0; it must be at least 1"),
        ("fit missing.csv", "no number has been counted yet"),
        ("fit two.csv --column price -o model.pt", "cannot write the model as 'model.pt': use .safetensors"),
        ("fit two.csv --column price --range 3 1", "the low end must come first"),
        ("fit two.csv --column price --bounds 0 1", "lie outside bounds"),
        ("fit two.csv --column price --range low 1", "--range: 'low' is not a number"),
        ("fit two.csv header.csv --column weight", "header.csv has no column 'weight'"),
        ("fit nothing*.csv", "no file matches nothing*.csv"),
        ("quantiles absent.safetensors 1.5", "1.5 is no share"),
        ("plot two.csv", "not a whole safetensors file"),
        ("info absent.safetensors", "absent.safetensors"),
        ("sample absent.safetensors --count 0", "--count is 0"),
        ("sample absent.safetensors --seed -1", "--seed is -1"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(files: Path, monkeypatch, capsys, arguments: str, message: str) -> None:
    monkeypatch.chdir(files)
    before = sorted(files.iterdir())
    assert cli.main(["density", *arguments.split()]) in (1, 2)
    error = capsys.readouterr().err
    assert error.startswith("gaussmix")
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert sorted(files.iterdir()) == before


@pytest.fixture
def table(prices: np.ndarray, tmp_path: Path) -> Path:
    path = tmp_path / "sales.csv"
    pd.DataFrame({"price": prices, "cost": np.round(prices * 0.5 + 2.0, 2)}).to_csv(path, index=False)
    return path


def test_compare_two_columns_of_a_file(table: Path, prices: np.ndarray, tmp_path: Path, capsys) -> None:
    out = tmp_path / "new folder" / "c.png"
    assert cli.main(["density", "compare", str(table), "--columns", "price", "cost", "-o", str(out)]) == 0
    printed = capsys.readouterr().out
    assert f"A: sales.csv, price, 20 000 numbers, mean {prices.mean():.0f}." in printed
    assert f"picture: {out}" in printed
    assert "B: sales.csv, cost" in printed
    for name in ("W1", "W2", "means", "total variation", "Jensen-Shannon", "A from B", "B from A", "MMD", "binned L1"):
        assert name in printed
    with Image.open(out) as picture:
        assert min(picture.size) > 400


def test_compare_numbers_are_those_of_the_library(
    model: Path, table: Path, prices: np.ndarray, tmp_path, capsys
) -> None:
    flags = ["--json", "-o", f"{tmp_path}/c.svg", "--column", "cost", "--log"]
    assert cli.main(["density", "compare", str(model), str(table), *flags]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["a"]["name"] == "model"
    assert facts["a"]["n"] == len(prices)
    assert facts["picture"] == f"{tmp_path}/c.svg"
    assert facts["b"]["mean"] == pytest.approx(0.5 * prices.mean() + 2, rel=1e-3)
    learnt = GMMExpansion().fit(np.round(prices * 0.5 + 2.0, 2)).distribution_
    expected = compare(GMMExpansion.load(model), learnt)
    assert facts["wasserstein_1"] == pytest.approx(expected.wasserstein_1, rel=1e-9)
    assert facts["wasserstein_1"] == pytest.approx(stats.wasserstein_distance(prices, prices * 0.5 + 2), rel=0.01)
    assert set(expected.to_dict()) < set(facts)
    assert (tmp_path / "c.svg").read_text().startswith("<?xml")


def test_compare_a_model_with_itself_is_zero(model: Path, tmp_path: Path, capsys) -> None:
    assert cli.main(["density", "compare", str(model), str(model), "--json", "-o", f"{tmp_path}/c.png"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert {facts[name] for name in facts if name not in ("a", "b", "mmd_sigma", "picture")} == {0.0}


def test_compare_fails_above_a_limit(model: Path, table: Path, tmp_path: Path, capsys) -> None:
    """Status 3 at once above the distance, with all that is printed otherwise; 0 at it; KL may be infinite."""
    words = ["density", "compare", str(model), str(table), "--column", "cost", "--json", "-o", f"{tmp_path}/c.png"]
    assert cli.main(words) == 0
    printed = capsys.readouterr().out
    w1, w2, kl = (json.loads(printed)[name] for name in ("wasserstein_1", "wasserstein_2", "kl_a_b"))
    at = f"wasserstein-1={w1!r}, wasserstein_2={w2!r}"
    assert cli.main([*words, "--fail-above", at]) == 0
    assert capsys.readouterr() == (printed, "")
    below = f"wasserstein_1={w1 * (1 - 1e-9)!r},wasserstein_2={w2!r},kl_a_b=0"
    assert cli.main([*words, "--fail-above", below]) == 3
    shown = capsys.readouterr()
    assert shown.out == printed
    said = f"gaussmix: wasserstein_1 is {w1:.6g}, above {w1 * (1 - 1e-9):g}; kl_a_b is {float(kl):.6g}, above 0"
    assert shown.err == f"{said} (--fail-above)\n"


def test_compare_says_where_kl_is_infinite(tmp_path: Path, capsys) -> None:
    for name, law in (("wide", (0.0, 2.0)), ("narrow", (0.0, 1.0))):
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(0).uniform(*law, 20_000))
        flags = ["--bounds", *map(str, law), "-o", f"{tmp_path}/{name}.safetensors"]
        assert cli.main(["density", "fit", f"{tmp_path}/{name}.npy", *flags, "--rule", "histogram"]) == 0
    capsys.readouterr()
    models = [f"{tmp_path}/wide.safetensors", f"{tmp_path}/narrow.safetensors"]
    assert cli.main(["density", "compare", *models, "-o", f"{tmp_path}/c.png"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    (line,) = [line for line in shown.out.splitlines() if " inf " in line]
    assert line.startswith("KL divergence A from B")
    assert "A has mass where B has none" in line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{table}"], "give a second model or file, or --columns"),
        (["{table}", "{table}"], "price, cost"),
        (["{table}", "--columns", "price", "profit"], "profit"),
        (["{table}", "{table}", "--columns", "price", "cost", "--column", "cost"], "not both flags"),
        (["{table}", "{table}", "--column", "cost", "-o", "c.bmp"], "cannot write the picture"),
        (["{table}", "missing.safetensors", "--column", "cost"], "missing.safetensors"),
        (["a", "b", "--fail-above", "w=1"], "no distance 'w'; there are wasserstein_1, wasserstein_2, mean_difference"),
        (["a", "b", "--fail-above", "mmd_sigma=1"], "no distance 'mmd_sigma'"),
        (["a", "b", "--fail-above", "mmd2=nan"], "'mmd2=nan' is no limit; write NAME=MOST"),
        (["a", "b", "--fail-above", "mmd2=-1"], "'mmd2=-1' is no limit"),
        (["a", "b", "--fail-above", "0.1"], "'0.1' is no limit"),
        (["m.safetensors", "--columns", "price", "cost"], "m.safetensors is a model, which has no columns"),
        (["{table}", "m.safetensors", "--columns", "price", "cost"], "m.safetensors is a model, which has no columns"),
        (["m.safetensors", "o.safetensors", "--column", "x"], "m.safetensors is a model, which has no columns"),
    ],
)
def test_compare_says_what_is_wrong(table: Path, tmp_path: Path, capsys, monkeypatch, words, message) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["density", "compare", *(word.format(table=table) for word in words)]) != 0
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_compare_counts_what_is_missing(tmp_path: Path, capsys) -> None:
    x = np.random.default_rng(0).normal(size=2000)
    np.save(tmp_path / "a.npy", x)
    np.save(tmp_path / "b.npy", np.append(x, [np.nan, np.nan]))
    files = [f"{tmp_path}/a.npy", f"{tmp_path}/b.npy"]
    assert cli.main(["density", "compare", *files, "-o", f"{tmp_path}/c.png"]) == 0
    printed = capsys.readouterr().out
    assert "A: a.npy, 2 000 numbers, mean" in printed
    assert "B: b.npy, 2 000 numbers, 2 missing, mean" in printed


@pytest.mark.parametrize("discrete", ["auto", "no", "yes"])
def test_integers_come_back_as_integers(tmp_path: Path, capsys, discrete: str) -> None:
    np.save(tmp_path / "n.npy", np.random.default_rng(0).poisson(8, 2000))
    path = tmp_path / "n.safetensors"
    cli.main(["density", "fit", str(tmp_path / "n.npy"), "--output", str(path), "--discrete", discrete])
    assert ("probabilities of" in capsys.readouterr().out) == (discrete != "no")
    cli.main(["density", "sample", str(path), "--count", "50", "--output", str(tmp_path / "draws.npy")])
    assert np.load(tmp_path / "draws.npy").dtype.kind == ("f" if discrete == "no" else "i")
    cli.main(["density", "plot", str(path), "--output", str(tmp_path / "n.png")])
    cli.main(["density", "info", str(path), "--json"])
    capsys.readouterr()
    cli.main(["density", "compare", str(path), str(tmp_path / "n.npy"), "--output", str(tmp_path / "c.png"), "--json"])
    assert json.loads(capsys.readouterr().out)["total_variation"] < 0.05


def test_text_is_discrete_if_asked(tmp_path: Path, capsys) -> None:
    (tmp_path / "ages.csv").write_text("age\n" + "\n".join(map(str, np.random.default_rng(0).poisson(40, 900))) + "\n")
    cli.main(
        ["density", "fit", str(tmp_path / "ages.csv"), "--output", str(tmp_path / "a.safetensors"), "--discrete", "yes"]
    )
    assert "probabilities of" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".npy", ".csv", ".parquet"])
def test_samples_are_the_same_in_pieces(suffix, tmp_path, monkeypatch, capsys):
    """Of any number memory stays flat: they are drawn and written in pieces, the first of which are those of fewer."""
    from gaussmix.cli import density
    from gaussmix.density.files import open_column

    monkeypatch.setattr(density, "_AT_ONCE", 64)
    GMMExpansion().fit(np.random.default_rng(0).normal(size=500)).save(tmp_path / "m.safetensors")
    for count in (64, 200):
        path = tmp_path / f"{count}{suffix}"
        assert (
            cli.main(["density", "sample", str(tmp_path / "m.safetensors"), "--count", str(count), "-o", str(path)])
            == 0
        )
    with open_column(tmp_path / f"64{suffix}") as few, open_column(tmp_path / f"200{suffix}") as many:
        first, drawn = (np.concatenate(list(source)) for source in (few, many))
    assert len(drawn) == len(np.unique(drawn)) == 200
    np.testing.assert_array_equal(drawn[:64], first)
    capsys.readouterr()
    assert cli.main(["density", "sample", str(tmp_path / "m.safetensors"), "--count", "200"]) == 0
    np.testing.assert_array_equal(np.array(capsys.readouterr().out.split(), float), drawn)
