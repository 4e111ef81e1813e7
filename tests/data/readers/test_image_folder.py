"""Image folders: tables, splits, and one clear line for everything that is wrong with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data.layouts import pixels, write_image, write_image_folder
from PIL import Image

from gaussmix.data import DataError, load_dataset
from gaussmix.data.readers.image_folder import read_image_folder
from gaussmix.data.table import ImageTable


def read(folder: Path, table: str | bytes, name: str = "metadata.csv") -> ImageTable:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(table.encode() if isinstance(table, str) else table)
    return read_image_folder(folder)


def test_round_trip(tmp_path: Path) -> None:
    files = [f"{split}/{i}.png" for split in ("train", "validation", "test") for i in range(3)]
    folder = write_image_folder(tmp_path / "faces", files)
    write_image(folder / "unnamed.png", 99)  # no row names it: not an error
    with pytest.warns(UserWarning, match=r"1 picture .* left out \(unnamed.png\)"):
        data = load_dataset(folder, size=16, cache=tmp_path / "cache", progress=False)
    assert data.name == "faces"
    assert data.attribute_names == ("odd", "all")
    np.testing.assert_array_equal(data.images, [pixels(i) for i in range(9)])
    np.testing.assert_array_equal(data.attributes, [[i % 2, 1] for i in range(9)])
    np.testing.assert_array_equal(data.split, [0, 0, 0, 1, 1, 1, 2, 2, 2])
    assert data.images.dtype == data.attributes.dtype == data.split.dtype == np.uint8
    assert data.skipped == 0
    assert data.parts is None


def test_jpeg_of_another_size(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text("file_name,a\nwide.jpg,1\n")
    wide = np.zeros((40, 100, 3), np.uint8)
    wide[:, 30:70] = (200, 100, 50)  # the centre square
    Image.fromarray(wide).save(tmp_path / "wide.jpg", quality=95, subsampling=0)
    data = load_dataset(tmp_path, size=16, cache=tmp_path / "cache", progress=False)
    assert data.images.shape == (1, 16, 16, 3)
    np.testing.assert_allclose(data.images[0, :, 2:-2], np.broadcast_to([200, 100, 50], (16, 12, 3)), atol=6)


def test_tables_in_the_folders_of_splits(tmp_path: Path) -> None:
    """The columns may come in another order; the paths are relative to the table."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/metadata.csv").write_text("hat,file_name,smile\n1,c.png,0\n")
    (tmp_path / "Test").mkdir()
    (tmp_path / "Test/metadata.csv").write_text("file_name,smile,hat\nsub/d.png,1,0\n")
    table = read(tmp_path, "file_name,smile,hat\na.png,1,0\nb.png,0,1\n", "train/metadata.csv")
    assert table.files == ["train/a.png", "train/b.png", "dev/c.png", "Test/sub/d.png"]
    assert table.attribute_names == ("smile", "hat")
    np.testing.assert_array_equal(table.attributes, [[1, 0], [0, 1], [0, 1], [1, 0]])
    np.testing.assert_array_equal(table.split, [0, 0, 1, 2])


def test_tables_at_the_root_and_in_a_split(tmp_path: Path) -> None:
    read(tmp_path, "file_name,a\ntrain/x.png,1\n")
    table = read(tmp_path, "file_name,a\ny.png,0\n", "test/metadata.csv")
    assert table.files == ["train/x.png", "test/y.png"]
    assert table.split.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("name", "code"),
    [("train", 0), ("valid", 1), ("validation", 1), ("val", 1), ("dev", 1), ("test", 2), ("Train", 0)],
)
def test_names_of_splits(tmp_path: Path, name: str, code: int) -> None:
    assert read(tmp_path, f"file_name,a\n{name}/x.png,1\n").split.tolist() == [code]


def test_split_by_hash(tmp_path: Path) -> None:
    files = [f"{i}.png" for i in range(2000)]
    table = read(tmp_path, "file_name,a\n" + "".join(f"{file},1\n" for file in files))
    share = np.bincount(table.split, minlength=3) / 2000
    np.testing.assert_allclose(share, [0.8, 0.1, 0.1], atol=0.03)
    fewer = read(tmp_path, "file_name,a\n" + "".join(f"{file},0\n" for file in files[::-3]))
    np.testing.assert_array_equal(fewer.split, table.split[::-3])  # does not depend on the others
    assert "".join(map(str, table.split[:20])) == "20112000100002000002"  # the same for ever


def test_ways_to_write_yes_and_no(tmp_path: Path) -> None:
    table = read(tmp_path, "file_name,a,b,c,d\nx.png,1,1.0,1,true\ny.png,0,0.0,-1, FALSE \nz.png,1,1,-1.0,1\n")
    np.testing.assert_array_equal(table.attributes, [[1, 1, 1, 1], [0, 0, 0, 0], [1, 1, 0, 1]])


def test_what_is_tolerated(tmp_path: Path) -> None:
    """A byte-order mark, Windows' line ends, blank lines, quotes, blanks in the header, ./ and a constant."""
    table = read(tmp_path, b'\xef\xbb\xbffile_name, a b \r\n"x, y.png",1\r\n\r\n./sub//z.png,1\r\n')
    assert table.files == ["x, y.png", "sub/z.png"]
    assert table.attribute_names == ("a b",)
    assert [row for _, row in table.rows] == [2, 4]
    np.testing.assert_array_equal(table.attributes, [[1], [1]])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", r"row 1: no column 'file_name' \(columns: none\)"),
        ("image,a\nx.png,1\n", r"row 1: no column 'file_name' \(columns: 'image', 'a'\)"),
        ("file_name,file_name,a\nx,y,1\n", "row 1: the column 'file_name' appears twice"),
        ("file_name,a,a\nx,0,1\n", "row 1: the column 'a' appears twice"),
        ("file_name\nx.png\n", "row 1: no attributes"),
        (",file_name,a\n0,x.png,1\n", "row 1: a column has no name; .*pandas"),
        ("file_name,a\n", "metadata.csv has no rows after the header"),
        ("file_name,a\nx.png,1\ny.png\n", "row 3: 1 fields where the header has 2"),
        ("file_name,a\nx.png,1,0\n", "row 2: 3 fields where the header has 2"),
        (
            "file_name,a,text\nx.png,1,hello\n",
            "row 2: column 'text' holds 'hello', not 0/1, -1/1 .*drop the column",
        ),
        ("file_name,a\nx.png,1\n\ny.png,2\n", "row 4: column 'a' holds '2'"),
        ("file_name,a\nx.png,\n", "row 2: column 'a' holds ''"),
        ("file_name,a\nx.png,nan\n", "row 2: column 'a' holds 'nan'"),
        (
            "file_name,b,a\nx.png,0,1\ny.png,0,-1\nz.png,1,0\n",
            "row 4: column 'a' holds 0, but -1 in an earlier row",
        ),
        ("file_name,a\nx.png,0\ny.png,1\nz.png,-1\n", "row 4: column 'a' holds -1, but 0 in an earlier row"),
        (
            "file_name,a\nx.png,1\ny.png,1\n./x.png,0\n",
            "row 4: x.png was named before, in .*metadata.csv, row 2",
        ),
        ("file_name,a\n../x.png,1\n", "row 2: '../x.png' leads out of the folder"),
        ("file_name,a\na/../../x.png,1\n", "row 2: 'a/../../x.png' leads out of the folder"),
        ("file_name,a\n/etc/x.png,1\n", "row 2: '/etc/x.png' leads out of the folder"),
        ("file_name,a\n ,1\n", "row 2: ' ' names no image file"),
        ("file_name,a\n.,1\n", "row 2: '.' names no image file"),
        (
            "file_name,a\ntrain/x.png,1\ny.png,1\n",
            "row 3: y.png lies in no split's folder while other images do",
        ),
        ('file_name,a\nx.png,1\n"y.png,1\n', "near row 3: not valid CSV"),
        ("file_name,a\nx.png,1\n\xe9.png,1\n".encode("latin-1"), "row 3: not UTF-8 text"),
    ],
)
def test_errors_name_the_file_and_the_row(tmp_path: Path, table: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, table)
    text = str(caught.value)
    assert str(tmp_path / "metadata.csv") in text
    assert "\n" not in text


def test_empty_table_of_a_split(tmp_path: Path) -> None:
    read(tmp_path, "file_name,a\nx.png,1\n", "train/metadata.csv")
    with pytest.raises(DataError, match=r"test/metadata.csv has no rows after the header"):
        read(tmp_path, "file_name,a\n", "test/metadata.csv")


def test_tables_must_agree(tmp_path: Path) -> None:
    read(tmp_path, "file_name,a,b\nx.png,1,0\n", "train/metadata.csv")
    message = r"test/metadata.csv, row 1: the attributes differ from those of \S+train/metadata.csv \(b, c\)"
    with pytest.raises(DataError, match=message):
        read(tmp_path, "file_name,a,c\nx.png,1,0\n", "test/metadata.csv")


def test_image_named_by_two_tables(tmp_path: Path) -> None:
    read(tmp_path, "file_name,a\ntrain/x.png,1\n")
    with pytest.raises(DataError, match=r"train/metadata.csv, row 2: train/x.png was named before, in .*csv, row 2"):
        read(tmp_path, "file_name,a\nx.png,1\n", "train/metadata.csv")


def test_unreadable_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "metadata.csv").touch()
    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(DataError, match=r"cannot read \S+metadata.csv: Permission denied"):
        read_image_folder(tmp_path)
