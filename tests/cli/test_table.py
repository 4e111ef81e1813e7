"""``gaussmix table``: what it prints and writes, and the sentence that ends it."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false
# (whatever pandas gives back is a union of all its types)

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gaussmix import TableDensity
from gaussmix.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sales, and the model of them."""
    folder, rng = tmp_path_factory.mktemp("table"), np.random.default_rng(0)
    n = 3_000
    table = pd.DataFrame(
        {
            "price": np.round(rng.lognormal(3, 1, n), 2),
            "count": rng.poisson(3, n),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 90, n), "D"),
            "country": rng.choice(["FR", "DE", "IT"], n),
            "flag": rng.random(n) < 0.25,
            "w": rng.integers(1, 4, n),
        }
    )
    table.loc[rng.random(n) < 0.1, "price"] = -999
    table.to_csv(folder / "sales.csv", index=False)
    words = ["--by", "country", "--weights", "w", "--missing", "-999", "-o", str(folder / "sales.gmx")]
    assert main(["table", "fit", str(folder / "sales.csv"), *words]) == 0
    return folder


def run(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main(["table", *map(str, words)]) == 0
    return capsys.readouterr().out


def test_fit_learns_what_the_estimator_learns(folder: Path) -> None:
    table = pd.read_csv(folder / "sales.csv", na_values=[-999], parse_dates=["day"])
    model = TableDensity(by="country", weights="w").fit(table)
    loaded = TableDensity.load(folder / "sales.gmx")
    assert list(loaded.columns_) == ["price", "count", "day", "country", "flag"]
    for name, column in loaded.columns_.items():
        assert column.counts == model.columns_[name].counts
        assert (column.missing, column.frequencies) == (model.columns_[name].missing, model.columns_[name].frequencies)
    assert loaded.group_sizes() == model.group_sizes()


def test_info_is_one_screen(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, "info", folder / "sales.gmx").splitlines()
    assert len(lines) <= 15
    assert max(map(len, lines)) <= 120
    said = "\n".join(lines)
    assert lines[0].endswith("5 columns, 3 groups")
    assert "price" in said
    assert "3 values: " in said
    assert "2024-01" in said
    assert "█" in said
    day = next(line for line in lines if line.startswith("day"))
    assert day.split()[1] == "date"


def test_info_of_a_group_and_in_plain_letters(folder: Path) -> None:
    words = [sys.executable, "-m", "gaussmix", "table", "info", str(folder / "sales.gmx"), "--group", "FR"]
    env = {"PYTHONIOENCODING": "ascii", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(words, capture_output=True, text=True, env=env, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert "#" in done.stdout
    assert "sales.gmx, FR" in done.stdout


def test_json_says_everything(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = json.loads(run(capsys, "info", folder / "sales.gmx", "--json"))
    model = TableDensity.load(folder / "sales.gmx")
    assert facts["rows"] == model.n_rows_
    assert {group["key"]: group["rows"] for group in facts["groups"]} == model.group_sizes()
    price, day = facts["columns"]["price"], facts["columns"]["day"]
    assert price["share_missing"] == pytest.approx(0.1, abs=0.02)
    assert price["quantiles"]["0.5"] == pytest.approx(float(model.columns_["price"].quantiles(0.5)))
    assert (day["kind"], day["minimum"], day["unit"]) == ("date", "2024-01-01", "D")
    assert facts["columns"]["country"]["frequencies"].keys() == {"FR", "DE", "IT"}
    quantiles = json.loads(run(capsys, "quantiles", folder / "sales.gmx", "0.5", "--columns", "price", "--json"))
    assert quantiles == {"price": {"0.5": price["quantiles"]["0.5"]}}
    rows = run(capsys, "quantiles", folder / "sales.gmx", "0.1", "0.9").splitlines()
    assert [row.split()[0] for row in rows] == ["column", "price", "count", "day"]


def test_plot(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "plot", folder / "sales.gmx", "-o", folder / "a.png")
    run(capsys, "plot", folder / "sales.gmx", "-o", folder / "b.svg", "--group", "DE", "--columns", "price,flag")
    assert (folder / "a.png").read_bytes()[:4] == b"\x89PNG"
    drawn = (folder / "b.svg").read_text()
    assert drawn.count('id="axes_') == 2


def test_the_first_call_loads_neither_torch_nor_scikit_learn(folder: Path) -> None:
    code = (
        "import sys; from gaussmix.cli import main; "
        f"assert main(['table', 'fit', {str(folder / 'sales.csv')!r}, '-o', {str(folder / 'again.gmx')!r}]) == 0; "
        "print({'torch', 'sklearn', 'pandas', 'matplotlib'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines()[-1] == "set()", done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fit", "nowhere.csv"], "No such file or directory: nowhere.csv"),
        (["fit", "{}/sales.csv", "--by", "town"], "has no column 'town'"),
        (["fit", "{}/sales.csv", "--weights", "country"], "holds weights"),
        (["fit", "{}/sales.csv", "-o", "a.txt"], "cannot write the model as 'a.txt'"),
        (["info", "{}/sales.csv"], "sales.csv is not a whole safetensors file"),
        (["info", "{}/sales.gmx", "--group", "UK"], "there is no group 'UK'"),
        (["quantiles", "{}/sales.gmx", "2"], "2 is no share"),
        (["quantiles", "{}/sales.gmx", "--columns", "flag"], "none has quantiles"),
        (["plot", "{}/sales.gmx", "--columns", "prize"], "has no column 'prize'"),
    ],
)
def test_errors_are_a_sentence(
    words: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GAUSSMIX_DEBUG", raising=False)
    assert main(["table", *(word.format(folder) for word in words)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert said in err


def test_odd_names_and_many_columns_are_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of two lines, with HTML and control characters on one line each; more columns than a picture holds."""
    from gaussmix.plots import plot_columns

    names = ["a\nb", "<b>$x_1$</b>", "\x1b[31mred", "\N{GRINNING FACE}", ""]
    model = TableDensity().fit({name: np.arange(9.0) ** 2 for name in names} | {"word": ["x\ny", "z", "z"] * 3})
    figure = plot_columns(list(model.columns_.values()))
    assert [axes.get_title("left") for axes in figure.axes[:3]] == [r"a\nb", r"<b>\$x_1\$</b>", r"\x1b[31mred"]
    assert figure.axes[5].get_yticklabels()[1].get_text() == r"x\ny"
    model.save(tmp_path / "odd.gmx")
    assert r"\x1b[31mred" in run(capsys, "info", tmp_path / "odd.gmx")
    TableDensity(rule="fast").fit({str(j): [1.0, 2.0] for j in range(401)}).save(tmp_path / "wide.gmx")
    monkeypatch.delenv("GAUSSMIX_DEBUG", raising=False)
    assert main(["table", "plot", str(tmp_path / "wide.gmx"), "-o", str(tmp_path / "wide.png")]) == 2
    assert "401 columns are more than a picture holds, 400: choose some of them" in capsys.readouterr().err


def test_rows_are_drawn_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=4_000)
    table = pd.DataFrame(
        {
            "age": np.round(40 + 10 * x).astype(int),
            "income": np.exp(x + rng.normal(size=4_000)).round(2),
            "country": np.where(x + rng.normal(size=4_000) > 0, "FR", "DE, north"),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.round(20 * x), "D"),
        }
    )
    table.loc[rng.random(4_000) < 0.2, "income"] = np.nan
    table[:2_000].to_csv(tmp_path / "a.csv", index=False)
    table[2_000:].to_csv(tmp_path / "b.csv", index=False)
    model = tmp_path / "a.gmx"
    run(capsys, "fit", tmp_path / "a.csv", "--dependence", "copula", "--rule", "fast", "-o", model)
    for name in ("s.csv", "s.parquet"):
        assert "2,000 rows" in run(capsys, "sample", model, "--count", 2000, "-o", tmp_path / name)
    rows, again = pd.read_csv(tmp_path / "s.csv"), pd.read_parquet(tmp_path / "s.parquet")
    assert list(rows) == list(table)
    assert rows["age"].dtype == again["age"].dtype == np.int64
    assert rows["age"].tolist() == again["age"].tolist()
    assert {*rows["country"]} == {"FR", "DE, north"}
    assert rows["income"].isna().mean() == pytest.approx(0.2, abs=0.04)
    assert rows["age"].corr(rows["income"], "spearman") == pytest.approx(
        table["age"].corr(table["income"], "spearman"), abs=0.06
    )
    found = json.loads(run(capsys, "fidelity", tmp_path / "a.csv", tmp_path / "s.csv", tmp_path / "b.csv", "--json"))
    assert found["pair"][0] < 3 * found["pair"][1]
    assert "nearer to a real row" in run(capsys, "fidelity", *(tmp_path / f"{name}.csv" for name in "asb"))
    printed = run(capsys, "sample", model, "--count", 5, "--where", "age=50..", "--where", "country=DE, north")
    (tmp_path / "some.csv").write_text(printed)
    some = pd.read_csv(tmp_path / "some.csv")
    assert len(some) == 5
    assert some["age"].min() >= 50
    assert {*some["country"]} == {"DE, north"}
    assert (pd.read_csv(tmp_path / "s.csv")["day"] >= "2023").all()
    some = run(capsys, "sample", model, "--count", 3, "--where", "income=", "--where", "day=2024-01-05")
    assert [line.split(",")[1] for line in some.splitlines()[1:]] == [""] * 3
    for words, said in ((["--where", "age"], "COLUMN=VALUE"), (["--where", "age=x"], "'x' is not a number")):
        assert main(["table", "sample", str(model), *words]) != 0
        assert said in capsys.readouterr().err


def test_names_and_values_with_commas_stand_in_quotes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"price, net": rng.gamma(2, 10, 300), "n": rng.integers(0, 9, 300)})
    table["town"], table["zip"] = np.array(["Bonn, DE", "Lille"])[rng.integers(0, 2, 300)], "01099"
    table.to_csv(tmp_path / "t.csv", index=False)
    names, model = '"price, net",n', tmp_path / "t.gmx"
    said = run(capsys, "fit", tmp_path / "t.csv", "-o", model, "--categories", "zip", "--by", "town")
    assert "01099" in said
    assert "4 columns" in said
    shown = run(capsys, "quantiles", model, "0.5", "--columns", names, "--group", "Bonn, DE")
    assert [line.split("  ")[0] for line in shown.splitlines()] == ["column", "price, net", "n"]
    drawn = run(capsys, "sample", model, "--count", 40, "--where", "n=1,4", "--where", 'town="Bonn, DE",Lille')
    (tmp_path / "s.csv").write_text(drawn)
    rows = pd.read_csv(tmp_path / "s.csv", dtype={"zip": str})
    assert {*rows["n"]} == {1, 4}
    assert {*rows["town"]} == {"Bonn, DE", "Lille"}
    assert {*rows["zip"]} == {"01099"}


def test_time_zones_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen = pd.Series(pd.date_range("2024-03-01", periods=200, freq="3h", tz="Europe/Paris").as_unit("us"), name="seen")
    seen.to_frame().to_parquet(tmp_path / "t.parquet")
    run(capsys, "fit", tmp_path / "t.parquet", "-o", tmp_path / "t.gmx")
    for name in ("s.csv", "s.parquet"):
        run(capsys, "sample", tmp_path / "t.gmx", "--count", 200, "-o", tmp_path / name)
        assert "none of 1 column moved" in run(capsys, "compare", tmp_path / "t.gmx", tmp_path / name)
    assert str(pd.read_parquet(tmp_path / "s.parquet")["seen"].dt.tz) == "Europe/Paris"
