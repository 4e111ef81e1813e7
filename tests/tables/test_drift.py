"""`compare_tables`, its page and its command: what moved is said, chance raises no alarm, and names are escaped."""

from __future__ import annotations

import csv
import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.stats import ks_2samp

from gaussmix import cli
from gaussmix.tables import TableDensity, compare_tables

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def passengers() -> pd.DataFrame:
    """The 1309 passengers of the Titanic, 14 columns, as scikit-learn ships them for its own tests."""
    folder = Path(sklearn.__file__).parent / "datasets" / "tests" / "data" / "openml" / "id_40945"
    with gzip.open(folder / "data-v1-dl-16826755.arff.gz", "rt") as file:
        lines = file.read().splitlines()
    names = [line.split("'")[1] for line in lines if line.startswith("@attribute")]
    rows = list(csv.reader(lines[lines.index("@data") + 1 :]))
    table = pd.DataFrame(rows, columns=names).replace("?", None)
    for name in ("pclass", "age", "sibsp", "parch", "fare", "body"):
        table[name] = pd.to_numeric(table[name])
    assert table.shape == (1309, 14)
    return table


def make_table(n: int, seed: int, move: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "price": rng.gamma(2, 10 * (1 + move), n),
            "visits": rng.poisson(3, n),
            "age": np.where(rng.random(n) < 0.1 + move / 2, np.nan, rng.integers(18, 90, n)),
            "country": rng.choice(["FR", "DE", "US", "IT"], n, p=[0.4, 0.3, 0.2, 0.1]),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 100, n) + int(100 * move), "D"),
            "ok": rng.random(n) < 0.3,
        }
    )


def alarms(table: pd.DataFrame, share: float, tries: int, by: str | None = None) -> int:
    """In how many random splits anything is said to have moved."""
    rng, count = np.random.default_rng(8), 0
    for _ in range(tries):
        order = rng.permutation(len(table))
        m = int(share * len(table))
        found = compare_tables(table.iloc[order[:m]], table.iloc[order[m:]], by=by)
        count += any(column.moved for column in found.columns) or bool(found.groups)
    return count


def test_random_halves_of_a_real_table_raise_no_alarm(passengers: pd.DataFrame) -> None:
    assert alarms(passengers, 0.5, 100) <= 5


def test_nor_do_groups_and_unlike_parts(passengers: pd.DataFrame) -> None:
    assert alarms(passengers, 0.15, 20, by="pclass") <= 1


def test_that_test_can_fail(passengers: pd.DataFrame) -> None:
    """The halves by class are not random: dearer tickets, older people, other cabins."""
    found = compare_tables(passengers[passengers.pclass == 1], passengers[passengers.pclass == 3])
    moved = {column.name for column in found.columns if column.moved}
    assert {"pclass", "fare", "age", "cabin", "survived", "sex", "embarked"} <= moved
    assert "name" not in moved  # nearly all differ in any two halves
    fares = next(column for column in found.columns if column.name == "fare")
    assert {0.25, 0.5, 0.75, 0.95} <= {move.at for move in fares.quantiles if move.beyond and move.new < move.old}


def test_what_moved_comes_first_and_says_how_far() -> None:
    found = compare_tables(make_table(4000, 0), make_table(5000, 1, 0.3))
    columns = {column.name: column for column in found.columns}
    assert [column.name for column in found.columns[:3]] == ["day", "price", "age"]
    assert not any(column.moved for column in found.columns[3:])
    assert found.summary == "3 of 6 columns moved beyond chance"
    assert columns["day"].wasserstein_1 == pytest.approx(30, abs=2)  # days
    assert columns["day"].quantity.unit == "D"
    assert columns["price"].wasserstein_1 == pytest.approx(6, abs=0.7)
    assert columns["price"].share_of_spread == pytest.approx(columns["price"].wasserstein_1 / columns["price"].spread)
    assert columns["age"].beyond == ("missing",)
    assert columns["age"].missing == pytest.approx((0.1, 0.25), abs=0.03)
    said = str(found)
    assert "4 000 rows" in said
    assert re.search(r"day: the \d+ % quantile moved most, 2024-\d\d-\d\d -> 2024-\d\d-\d\d \(\+\d+ days\)", said)


def test_columns_that_come_and_go_and_change_their_kind() -> None:
    old, new = make_table(500, 0), make_table(500, 1)
    new = new.drop(columns="visits").assign(extra=1, price=new.price.map("{:.2f} EUR".format), age=np.nan)
    columns = {column.name: column for column in compare_tables(old, new).columns}
    assert {name: column.status for name, column in columns.items() if column.status != "compared"} == {
        "visits": "vanished",
        "extra": "appeared",
        "price": "changed kind",
    }
    assert columns["price"].kinds == ("number", "category")
    assert columns["age"].kinds == ("integer", "empty")
    assert columns["age"].beyond == ("missing",)
    assert all(columns[name].moved for name in ("visits", "extra", "price"))
    assert columns["visits"]._above(10) == ["vanished"]
    assert not columns["visits"].measures


def test_integers_that_become_numbers_are_compared() -> None:
    rng = np.random.default_rng(0)
    found = compare_tables({"x": rng.integers(0, 50, 2000)}, {"x": rng.integers(0, 50, 2000) + 0.5}).columns[0]
    assert found.status == "compared"
    assert found.kinds == ("integer", "number")
    assert found.moved  # though by half a step
    assert "integer -> number" in str(compare_tables({"x": [1, 2, 3]}, {"x": [1.5, 2.5, 3.5], "y": [1, 2, 3]}))


def test_constants() -> None:
    found = compare_tables({"a": np.zeros(50), "b": np.ones(50)}, {"a": np.zeros(60), "b": np.full(60, 2.0)})
    b, a = found.columns
    assert (a.wasserstein_1, a.share_of_spread, a.total_variation, a.moved) == (0, 0, 0, False)
    assert (b.wasserstein_1, b.share_of_spread, b.total_variation) == (1, np.inf, 1)
    assert b._above(1e9) == ["share_of_spread"]
    json.dumps(found.to_dict(), allow_nan=False)
    assert "∞" in found.to_html()


def test_groups_have_floors_of_their_own_size() -> None:
    old, new = make_table(6000, 0), make_table(6000, 1)
    new.loc[new.country == "IT", "price"] *= 1.6
    new.loc[new.index[:7], "country"] = "ES"
    found = compare_tables(old, new, by="country")
    assert found.n_groups == 4
    assert [group.key for group in found.groups] == [("IT",)]
    assert [column.name for column in found.groups[0].moved] == ["price"]
    assert found.new_groups == ((("ES",), 7.0),)
    whole = next(column for column in found.columns if column.name == "price")
    assert found.groups[0].moved[0].wasserstein_1_floor > 2 * whole.wasserstein_1_floor  # a tenth of the rows
    assert found.groups[0].n_rows[0] == (old.country == "IT").sum()
    assert any("price where country=IT" in each for each in found.above(0.2))
    assert "country=IT" in str(found)
    two = compare_tables(old, new, by=["country", "ok"])
    assert ("IT", "false") in [group.key for group in two.groups]


def test_models_files_and_data_frames_are_one(tmp_path: Path) -> None:
    old, new = make_table(800, 0), make_table(900, 1, 0.3)
    old.to_parquet(tmp_path / "old.parquet")
    new.to_csv(tmp_path / "new.csv", index=False)
    TableDensity(by="country").fit(old).save(tmp_path / "old.gmx")
    frames = compare_tables(old, new, by="country").to_dict()
    assert compare_tables(tmp_path / "old.parquet", tmp_path / "new.csv", by=["country"]).to_dict() == frames
    assert compare_tables(tmp_path / "old.gmx", TableDensity(by="country").fit(new), by="country").to_dict() == frames
    assert "groups" not in compare_tables(tmp_path / "old.gmx", new).to_dict()


def test_options_of_what_is_learnt() -> None:
    old, new = make_table(800, 0), make_table(900, 1)
    found = compare_tables(old, new, ignore=["day", "price"], categories=["visits"])
    assert {column.name for column in found.columns} == {"visits", "age", "country", "ok"}
    assert next(column for column in found.columns if column.name == "visits").kinds == ("category", "category")
    model = TableDensity(categories=["visits"]).fit(old)
    again = compare_tables(model, new, ignore=["day", "price"])
    assert again.to_dict() == found.to_dict()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 0}, "alpha is 0; it must be between 0 and 1"),
        ({"by": "ok"}, "a model was learnt by country, not by ok: fit it again"),
        ({"ignore": ["price", "visits", "age", "country", "day", "ok"]}, "no column in common"),
    ],
)
def test_errors(options: dict, message: str) -> None:
    table = make_table(50, 0)
    with pytest.raises(ValueError, match=message):
        compare_tables(TableDensity(by="country").fit(table), table, **options)


# -- the page


class Page(HTMLParser):
    """Tags with their attributes, text, and whether all that was opened is closed."""

    VOID = ("meta", "br")

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.text: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def evil_tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    old, new = make_table(600, 0), make_table(600, 1, 0.5)
    for table, share in ((old, 0.2), (new, 0.8)):
        some = np.random.default_rng(2).random(600) < share
        table[EVIL] = np.where(some, '"><img src=x onerror=alert(2)>', "</td>&amp;")
        table["'><b>"] = table.price
    return old, new


def test_the_page_is_whole_and_escapes_all_names() -> None:
    old, new = evil_tables()
    found = compare_tables(old, new, by=EVIL, names=("<b>old</b>", "new</title>"))
    page = Page(found.to_html())
    assert {tag for tag, _ in page.tags} & {"script", "img", "link", "iframe", "b", "object", "base"} == set()
    text = "".join(page.text)
    for name in (EVIL, "'><b>", '"><img src=x onerror=alert(2)>', "</td>&amp;", "<b>old</b>", "new</title>"):
        assert name in text
    assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)


def test_the_page_asks_for_nothing() -> None:
    html = compare_tables(*evil_tables()).to_html()
    page = Page(html)
    for _, attributes in page.tags:
        assert "src" not in attributes
        assert attributes.get("href", "#").startswith("#")
    assert "http://" not in html.replace("http-equiv", "")
    assert "https://" not in html
    assert "url(" not in html
    assert "@import" not in html
    policy = next(each for tag, each in page.tags if each.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'"
    assert "prefers-color-scheme:dark" in html
    assert any(each.get("name") == "viewport" for _, each in page.tags)


def test_what_moved_is_open_and_the_rest_is_folded() -> None:
    html = compare_tables(make_table(4000, 0), make_table(5000, 1, 0.3)).to_html()
    opened, _, folded = html.partition("<details>")
    assert "3 of 6 columns moved beyond chance" in opened.lower()
    for name in ("price", "age", "day"):
        assert f"<h2>{name} " in opened
    for name in ("visits", "ok", "country"):
        assert f"<h2>{name} " not in html
        assert f"<td>{name} " in folded
    assert opened.count("<svg") == 3
    assert "10.2 % → 25" in opened or re.search(r"\d\d\.\d % → \d\d\.\d %", opened)


def test_a_wide_table_makes_a_small_page() -> None:
    rng = np.random.default_rng(0)
    old = {f"x{j}": rng.normal(size=300) for j in range(500)}
    new = {f"x{j}": rng.normal(2.0 * (j < 60), 1, 300) for j in range(500)}
    found = compare_tables(old, new)
    assert found.summary == "60 of 500 columns moved beyond chance"
    html = found.to_html()
    Page(html)
    assert len(html) < 600_000
    assert html.count("<article") == 60
    assert html.partition("more that moved")[0].count("<article") == 40


# -- the command


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    paths = tmp_path / "old.parquet", tmp_path / "new.csv"
    make_table(800, 0).to_parquet(paths[0])
    make_table(900, 1, 0.3).to_csv(paths[1], index=False)
    return str(paths[0]), str(paths[1])


def test_the_command_prints_and_writes_the_page(files: tuple[str, str], tmp_path: Path, capsys) -> None:
    page = tmp_path / "pages" / "drift.html"
    assert cli.main(["table", "compare", *files, "--by", "country", "--html", str(page)]) == 0
    printed = capsys.readouterr().out
    assert "old.parquet (800 rows) -> new.csv (900 rows)" in printed
    assert "groups by country" in printed
    printed.encode("ascii")  # whatever the terminal
    assert "old.parquet" in "".join(Page(page.read_text(encoding="utf-8")).text)


def test_the_command_s_json(files: tuple[str, str], capsys) -> None:
    assert cli.main(["table", "compare", *files, "--json", "--ignore", "day"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["n_rows"] == [800, 900]
    price = facts["columns"][0]
    assert price["name"] == "price"
    assert price["beyond"] == ["share_of_spread", "total_variation", "kolmogorov_smirnov"]
    assert price["share_of_spread"] == pytest.approx(price["wasserstein_1"] / price["spread"])
    assert len(price["quantiles"]) == 7


@pytest.mark.parametrize(
    ("limit", "status", "said"), [("0.1", 3, "price: share_of_spread"), ("0.9", 0, ""), ("0", 3, "age: missing")]
)
def test_fail_above(files: tuple[str, str], capsys, limit: str, status: int, said: str) -> None:
    assert cli.main(["table", "compare", *files, "--ignore", "day", "--fail-above", limit]) == status
    error = capsys.readouterr().err
    assert said in error
    assert "ok" not in error  # which moved less than chance does, though by more than 0


def test_fail_above_looks_at_categories(tmp_path: Path, capsys) -> None:
    for name, share in (("old", 0.3), ("new", 0.6)):
        pd.DataFrame({"word": ["a"] * int(1000 * share) + ["b"] * int(1000 * (1 - share))}).to_csv(
            tmp_path / f"{name}.csv", index=False
        )
    command = ["table", "compare", str(tmp_path / "old.csv"), str(tmp_path / "new.csv"), "--fail-above"]
    assert cli.main([*command, "0.31"]) == 0
    assert cli.main([*command, "0.29"]) == 3
    assert "word: total_variation 0.3" in capsys.readouterr().err


def test_the_command_takes_models(files: tuple[str, str], tmp_path: Path, capsys) -> None:
    model = str(tmp_path / "old.gmx")
    assert cli.main(["table", "fit", files[0], "-o", model, "--categories", "visits"]) == 0
    assert cli.main(["table", "compare", model, files[1]]) == 0
    assert re.search(r"visits +category", capsys.readouterr().out)
    assert cli.main(["table", "compare", model, files[1], "--by", "country"]) != 0
    assert "a model was learnt by no groups, not by country" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--html", "drift.pdf"], "cannot write the page as 'drift.pdf'"),
        (["--fail-above", "-1"], "--fail-above is -1"),
        (["--fail-above", "nan"], "--fail-above is nan"),
        (["--weights", "nothing"], "no column 'nothing'"),
    ],
)
def test_wrong_words(files: tuple[str, str], capsys, words: list[str], said: str) -> None:
    assert cli.main(["table", "compare", *files, *words]) != 0
    assert said in capsys.readouterr().err


def test_a_small_move_of_a_heavy_tailed_column_is_seen() -> None:
    """A twentieth of the logarithm's deviation, at 20 000 rows five standard errors: W1's floor is made by the tail."""
    rng = np.random.default_rng(0)
    old, new = (np.exp(rng.normal(shift, 1.0, 20_000)) for shift in (0.0, 0.05))
    (column,) = compare_tables({"x": old}, {"x": new}).columns
    assert column.kolmogorov_smirnov == pytest.approx(ks_2samp(old, new)[0], abs=1e-3)
    assert column.moved
    assert "kolmogorov_smirnov" in column.beyond
    (still,) = compare_tables({"x": old[:10_000]}, {"x": old[10_000:]}).columns
    assert not still.moved


def test_columns_of_more_categories_than_are_kept() -> None:
    """What certainly moved is seen: disjoint levels, and a frequent one that is new; the same table has not moved."""
    many = np.array([f"k{i}" for i in range(12_000)] * 5)
    others = np.char.replace(many, "k", "j")
    (column,) = compare_tables({"c": many}, {"c": others}).columns
    assert column.moved
    assert 0.6 < column.total_variation <= 1
    with_new = np.concatenate([many, np.full(10_000, "new")])
    (column,) = compare_tables({"c": many}, {"c": with_new}).columns
    assert column.moved
    assert column.total_variation == pytest.approx(1 / 7, abs=0.03)
    assert column.categories[0].at == "new"
    (column,) = compare_tables({"c": many}, {"c": np.random.default_rng(0).permutation(many)}).columns
    assert (column.moved, column.total_variation) == (False, 0)


def test_columns_to_ignore_are_named_rightly() -> None:
    table = {"x": np.arange(9.0), "xy": np.arange(9.0)}
    assert [column.name for column in compare_tables(table, table, ignore="xy").columns] == ["x"]
    with pytest.raises(ValueError, match="no column 'nope' in either table"):
        compare_tables(table, table, ignore=["nope"])
