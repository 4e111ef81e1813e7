"""`gaussmix conditional`: tables to a model, predictions, scores and pictures; one line for what is wrong."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gaussmix import ConditionalGMMExpansion, cli

N = 260


def table() -> pd.DataFrame:
    """Numbers, categories, booleans and dates, some missing; the price of some rows too."""
    rng = np.random.default_rng(0)
    day = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 365, N), "D")
    frame = pd.DataFrame(
        {
            "id": np.arange(N),
            "area": rng.gamma(4, 20, N).round(1),
            "city": rng.choice(["Rome", "Oslo", "Bonn"], N),
            "new": rng.random(N) < 0.3,
            "day": day,
        }
    )
    frame["price"] = (frame.area * (2 + 2 * (frame.city == "Rome")) * np.exp(rng.normal(0, 0.1, N))).round(2)
    frame.loc[::50, "area"] = np.nan
    frame.loc[::70, "city"] = None
    frame.loc[3:9, "price"] = np.nan
    return frame


def write(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True, date_format="iso")
    else:
        (frame.to_parquet if path.suffix == ".parquet" else frame.to_feather)(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table in four formats, and the model learnt from one."""
    where = tmp_path_factory.mktemp("prices")
    for suffix in (".csv", ".parquet", ".feather", ".jsonl"):
        write(table(), where / f"t{suffix}")
    words = ["conditional", "fit", f"{where}/t.parquet", "--target", "price", "--ignore", "id", "--rule", "fast"]
    assert cli.main([*words, "-o", f"{where}/m.gmx"]) == 0
    return where


def said(capsys: pytest.CaptureFixture[str], status: int, *words: object) -> str:
    """What a command prints, or says where it fails."""
    capsys.readouterr()
    assert cli.main(["conditional", *map(str, words)]) == status
    printed = capsys.readouterr()
    return printed.err if status else printed.out


def test_fit_learns_what_the_estimator_does(folder: Path, tmp_path: Path, capsys) -> None:
    words = ["--target", "price", "--ignore", "id", "--rule", "fast", "-o", tmp_path / "m.gmx"]
    printed = said(capsys, 0, "fit", folder / "t.csv", *words)
    assert "price given 2 of numbers, 1 of categories, 1 of dates: 253 rows" in printed
    assert "\n7 rows without price left out\n" in printed
    known = table().dropna(subset="price")
    model = ConditionalGMMExpansion("fast", random_state=0).fit(known[["area", "city", "new", "day"]], known["price"])
    assert f"mean log-density {model.report_.log_likelihood:.4g}" in printed
    for path in (tmp_path / "m.gmx", folder / "m.gmx"):
        loaded = ConditionalGMMExpansion.load(path)
        features = known[loaded.feature_names_in_]
        np.testing.assert_allclose(loaded.predict(features), model.predict(features))


def test_fit_reads_several_files_and_the_standard_input(folder: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    whole = table().to_csv(index=False)
    first, rest = whole.splitlines(keepends=True)[0], whole.splitlines(keepends=True)[1:]
    for i in range(2):
        (tmp_path / f"part{i}.csv").write_text(first + "".join(rest[i * 130 : (i + 1) * 130]))
    found = []
    words = ["--target", "price", "--ignore", "0", "--rule", "fast", "--json", "-o", tmp_path / "m.gmx"]
    for sources in ([tmp_path / "part0.csv", tmp_path / "part1.csv"], ["-"]):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(whole.encode())))
        found.append(json.loads(said(capsys, 0, "fit", *sources, *words)))
    assert found[0] == found[1]
    assert found[0]["columns"] == ["area", "city", "new", "day"]
    assert (found[0]["n"], found[0]["n_without_target"], found[0]["target"]) == (253, 7, "price")


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".feather", ".jsonl"])
def test_predict_writes_what_the_model_says(folder: Path, tmp_path: Path, capsys, suffix: str) -> None:
    model = ConditionalGMMExpansion.load(folder / "m.gmx")
    law = model.predict_distribution(table()[model.feature_names_in_])
    words = ["--quantiles", 0.1, 0.9, "--interval", 0.8, "--sample", 2, "--seed", 3]
    for out in ("p.csv", "new/p.parquet"):
        printed = said(capsys, 0, "predict", folder / "m.gmx", folder / f"t{suffix}", *words, "-o", tmp_path / out)
        assert printed == f"{N} rows: {tmp_path / out}\n"
        found = (pd.read_csv if out == "p.csv" else pd.read_parquet)(tmp_path / out)
        assert list(found) == ["mean", "q0.1", "q0.9", "low", "high", "sample1", "sample2"]
        np.testing.assert_allclose(found["mean"], law.mean())
        np.testing.assert_allclose(found[["q0.1", "q0.9"]], law.ppf([0.1, 0.9]))
        np.testing.assert_allclose(found[["low", "high"]], law.interval(0.8))
        np.testing.assert_allclose(found[["sample1", "sample2"]], law.rvs(2, random_state=3))


def test_predict_prints_and_widens(folder: Path, capsys) -> None:
    words = ["predict", folder / "m.gmx", folder / "t.csv", "--interval", 0.9]
    plain, wide = (pd.read_csv(io.StringIO(said(capsys, 0, *words, *more))) for more in ([], ["--conformal"]))
    assert len(plain) == N
    model = ConditionalGMMExpansion.load(folder / "m.gmx")
    expected = model.predict_interval(table()[model.feature_names_in_], 0.9, conformal=True)
    np.testing.assert_allclose(wide[["low", "high"]], expected)
    np.testing.assert_allclose(plain["q0.05"], plain["low"])


def test_bounds_are_kept(folder: Path, tmp_path: Path, capsys) -> None:
    words = ["fit", folder / "t.csv", "--target", "price", "--rule", "fast", "-o", tmp_path / "m.gmx"]
    said(capsys, 0, *words, "--bounds", 0, "inf")
    model = ConditionalGMMExpansion.load(tmp_path / "m.gmx")
    assert model.bounds == (0, np.inf)
    assert model.predict_distribution(table()[model.feature_names_in_]).cdf(0.0).max() == 0
    assert "beyond bounds=(0, 10)" in said(capsys, 2, *words, "--bounds", 0, 10)


def test_a_lattice_is_written_in_whole_numbers(tmp_path: Path, capsys) -> None:
    rng = np.random.default_rng(0)
    x = rng.random(200)
    pd.DataFrame({"x": x, "n": rng.poisson(1 + 5 * x)}).to_csv(tmp_path / "t.csv", index=False)
    said(capsys, 0, "fit", tmp_path / "t.csv", "--target", "n", "--rule", "fast", "-o", tmp_path / "m.gmx")
    found = pd.read_csv(io.StringIO(said(capsys, 0, "predict", tmp_path / "m.gmx", tmp_path / "t.csv", "--sample", 1)))
    assert {str(found[name].dtype) for name in ("q0.05", "q0.5", "q0.95", "sample1")} == {"int64"}
    assert found["sample1"].to_numpy().min() >= 0
    for file in ([], [tmp_path / "t.csv", "--target", "n"]):
        said(capsys, 0, "plot", tmp_path / "m.gmx", *file, "-o", tmp_path / "p.png")
        with Image.open(tmp_path / "p.png") as picture:
            assert picture.size[0] > (1500 if file else 1000)  # with a fan, and without


def test_evaluate_scores(folder: Path, capsys) -> None:
    model, known = ConditionalGMMExpansion.load(folder / "m.gmx"), table().dropna(subset="price")
    law, y = model.predict_distribution(known[model.feature_names_in_]), known["price"].to_numpy()
    words = ["evaluate", folder / "m.gmx", folder / "t.csv"]
    assert said(capsys, 0, *words) == said(capsys, 0, *words, "--target", "price")
    facts = json.loads(said(capsys, 0, *words, "--json"))
    assert facts["nll"] == pytest.approx(-model.score(known[model.feature_names_in_], y))
    assert facts["crps"] == pytest.approx(law.crps(y).mean())
    assert facts["rmse"] == pytest.approx(np.sqrt(np.mean((law.mean() - y) ** 2)))
    low, high = law.interval(0.9).T
    assert facts["coverage"]["0.9"] == pytest.approx(np.mean((low <= y) & (y <= high)))
    assert (facts["n"], facts["n_without_target"]) == (253, 7)
    printed = said(capsys, 0, *words, "--max-crps", 1e9)
    assert f"CRPS {facts['crps']:.6g}" in printed
    assert f"90 %: {facts['coverage']['0.9']:.1%}".replace("%", " %").replace("  ", " ") in printed
    assert "t.csv: nll is " in said(capsys, 3, *words, "--max-nll", 0)
    assert ", above --max-crps 0.5" in said(capsys, 3, *words, "--max-crps", 0.5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("fit t.csv", "Missing from gaussmix conditional fit: --target"),
        ("fit t.csv --target city", "t.csv, column city holds text; a target must be numbers"),
        ("fit t.csv --target day", "t.csv, column day holds dates; a target must be numbers"),
        ("fit t.csv --target cost", "t.csv has no column 'cost'; it has id, area, city"),
        ("fit t.csv --target price --ignore nothing", "t.csv has no column 'nothing'"),
        ("fit t.csv --target price --ignore price", "price is the target; it cannot be ignored"),
        ("fit t.csv --target price -o m.txt", "cannot write the model as 'm.txt': use .gmx"),
        ("fit t.csv --target price --discrete yes", "t.csv, price: discrete=True needs numbers y that repeat"),
        ("fit few.csv --target y", "few.csv, y: n_samples=1 with positive weight; at least 2 rows"),
        ("fit none.csv --target y", "none.csv has no row with a target"),
        ("fit lists.parquet --target y", "lists.parquet, column x holds a list a row; leave it out: --ignore x"),
        ("fit infinite.csv --target y", "infinite.csv, y: column x holds infinity"),
        ("predict m.gmx few.csv", "few.csv has no column 'area'; it has x, y"),
        ("predict m.gmx t.csv -o t.xls", "cannot write the table as 't.xls': use .csv, .parquet, or -"),
        ("predict m.gmx t.csv --quantiles 2", "--quantiles has 2, which is no share"),
        ("predict m.gmx t.csv --conformal", "give --interval 0.9"),
        ("predict m.gmx text.csv", "text.csv: area held numbers when the model was fitted, and now categories"),
        ("predict t.csv t.csv", "t.csv is not a whole safetensors file"),
        (
            "evaluate unnamed.gmx t.csv",
            "does not know its target's name; say which column it is: --target COLUMN",
        ),
        ("predict nothing.gmx t.csv", "No such file or directory"),
        ("evaluate m.gmx nothing.csv", "No such file or directory"),
        ("plot m.gmx -o p.bmp", "cannot write the picture as 'p.bmp'"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(folder: Path, capsys, monkeypatch, words: str, message: str) -> None:
    monkeypatch.chdir(folder)
    X = np.arange(6.0)[:, None]
    ConditionalGMMExpansion("fast").fit(X, X[:, 0] ** 2).save("unnamed.gmx")
    Path("few.csv").write_text("x,y\n1,2\n3,\n")
    Path("none.csv").write_text("x,y\n1,\n3,\n")
    Path("infinite.csv").write_text("x,y\n1,1\n3,2\ninf,3\n")
    pd.DataFrame({"x": [[1, 2], [3]], "y": [1, 2]}).to_parquet("lists.parquet")
    table().assign(area="large").to_csv("text.csv", index=False)
    error = said(capsys, 2, *words.split())
    assert message in error
    assert error.count("\n") == 1


def test_a_column_of_missing_values_alone_is_what_it_was(folder: Path, tmp_path: Path, capsys) -> None:
    model = ConditionalGMMExpansion.load(folder / "m.gmx")
    for name in ("city", "area"):
        empty = table().assign(**{name: np.nan})
        found = said(capsys, 0, "predict", folder / "m.gmx", write(empty, tmp_path / "t.csv"))
        known = table().assign(**{name: None if name == "city" else np.nan})
        law = model.predict_distribution(known[model.feature_names_in_])
        np.testing.assert_allclose(pd.read_csv(io.StringIO(found))["mean"], law.mean())


def test_an_interrupted_fit_leaves_no_model(folder: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    def interrupt(*given, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(ConditionalGMMExpansion, "fit", interrupt)
    error = said(capsys, 130, "fit", folder / "t.csv", "--target", "price", "-o", tmp_path / "m.gmx")
    assert error == "gaussmix: interrupted\n"
    assert not list(tmp_path.iterdir())
