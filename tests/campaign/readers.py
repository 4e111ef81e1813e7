"""Everything that opens a file which a user gives: how a whole one is made, and how a user has it read.

A `Reader` writes its whole files into a folder and reads them there, through the command that a user would use or the
function behind it. The campaign damages one of the ``files`` and has it read: the reader must give an answer, or one
sentence that names the file. ``covers`` are the places in the package that open it, as `openers` finds them; a place
that opens no user's file stands in `EXEMPT`, with the reason.
"""

from __future__ import annotations

import ast
import contextlib
import gzip
import io
import pickle
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SOURCE = Path(__file__).resolve().parents[2] / "src" / "gaussmix"


class SaidError(ValueError):
    """What a command said on standard error, with its exit status."""


@dataclass(frozen=True)
class Reader:
    """How a kind of file is made and read; ``cost`` is how many times as long as others one read takes."""

    name: str
    files: tuple[str, ...]
    make: Callable[[Path], object]
    read: Callable[[Path], object]
    covers: tuple[str, ...]
    cost: int = 1
    rebuilt: bool = False
    """Whether it is a cache of ours, of which a damaged file must give the right answer and never an error."""
    named: str = ""
    """What an error must name where the user gave a folder: that folder."""


READERS: list[Reader] = []


def register(
    name: str, files: str, covers: str, *, read: Callable[[Path], object], **options: Any
) -> Callable[[Callable[[Path], object]], Callable[[Path], object]]:
    """Register what makes the whole ``files`` (names, with blanks between) in a folder, and what reads them there."""

    def add(make: Callable[[Path], object]) -> Callable[[Path], object]:
        READERS.append(Reader(name, tuple(files.split()), make, read, tuple(covers.split()), **options))
        return make

    return add


def command(*words: object) -> None:
    """Run a command in this process; raises `SaidError` with what it said where it ends with another status than 0."""
    from gaussmix.cli import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        status = main([str(word) for word in words])
    said = err.getvalue()
    if status == 0:
        return
    lines = said.splitlines()
    if status not in (1, 2) or out.getvalue() or not lines or not all(line.startswith("gaussmix") for line in lines):
        raise RuntimeError(f"status {status}, {len(lines)} lines: {said[-2000:]}")
    if "fault of gaussmix" in lines[-1]:
        raise RuntimeError(lines[-1])
    raise SaidError(lines[-1])


# --- columns

_X = np.random.default_rng(0).normal(50, 10, 300).round(2)
TABLE = "a,b,day\n" + "".join(f"{x},{i % 7},2024-01-{1 + i % 28:02}\n" for i, x in enumerate(_X))


def fit_column(name: str, *flags: str) -> Callable[[Path], None]:
    return lambda folder: command("density", "fit", folder / name, "-o", folder / "out.safetensors", *flags)


_TEXT = "gaussmix.density.text:TextInput"


@register(
    "npy",
    "a.npy b.npy",
    "gaussmix.density.table_file:NpyFile",
    cost=3,
    read=lambda f: (_either(f, "a.npy"), _either(f, "b.npy")),
)
def _npy(folder: Path) -> None:
    np.save(folder / "a.npy", _X)
    np.save(folder / "b.npy", np.asfortranarray(np.arange(60, dtype=np.int16).reshape(20, 3)))


def _either(folder: Path, name: str) -> None:
    fit_column(name, *(["--column", "1"] if name == "b.npy" else []))(folder)


@register("csv", "a.csv", _TEXT, cost=3, read=fit_column("a.csv", "--column", "0"))
def _csv(folder: Path) -> None:
    (folder / "a.csv").write_text(TABLE)


@register("csv of dates", "a.csv", _TEXT, read=fit_column("a.csv", "--column", "day"))
def _dates(folder: Path) -> None:
    (folder / "a.csv").write_text(TABLE)


@register("txt", "a.txt", _TEXT, read=fit_column("a.txt"))
def _txt(folder: Path) -> None:
    (folder / "a.txt").write_text("".join(f"{x}\n" for x in _X))


@register("amounts in tsv.gz", "a.tsv.gz", _TEXT, read=fit_column("a.tsv.gz", "--column", "1"))
def _tsv(folder: Path) -> None:
    rows = "".join(f"{i}\t$1,{100 + i}.50\t{i}:30\n" for i in range(200))
    (folder / "a.tsv.gz").write_bytes(gzip.compress(f"n\tprice\tclock\n{rows}".encode(), mtime=0))


@register("csv.gz", "a.csv.gz", _TEXT, read=fit_column("a.csv.gz", "--column", "a"))
def _csv_gz(folder: Path) -> None:
    (folder / "a.csv.gz").write_bytes(gzip.compress(TABLE.encode(), mtime=0))


@register("csv.zst", "a.csv.zst", _TEXT, read=fit_column("a.csv.zst", "--column", "a"))
def _csv_zst(folder: Path) -> None:
    import pyarrow as pa

    with pa.CompressedOutputStream(str(folder / "a.csv.zst"), "zstd") as out:
        out.write(TABLE.encode())


@register("csv without pyarrow", "a.csv", _TEXT, cost=3, read=lambda folder: _plainly(folder))
def _plain_csv(folder: Path) -> None:
    (folder / "a.csv").write_text(TABLE)


def _plainly(folder: Path) -> None:
    import gaussmix.density.text as text

    found = text.find_spec
    text.find_spec = lambda name: None
    try:
        fit_column("a.csv", "--column", "a")(folder)
    finally:
        text.find_spec = found


@register("jsonl", "a.jsonl", _TEXT, read=fit_column("a.jsonl", "--column", "a"))
def _jsonl(folder: Path) -> None:
    (folder / "a.jsonl").write_text("".join(f'{{"a": {x}, "b": "{i}"}}\n' for i, x in enumerate(_X[:120])))


@register(
    "parquet", "a.parquet", "gaussmix.density.table_file:ArrowFile", read=fit_column("a.parquet", "--column", "a")
)
def _parquet(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": _X, "b": np.arange(len(_X))}), folder / "a.parquet", row_group_size=100)


@register(
    "feather", "a.arrow", "gaussmix.density.table_file:ArrowFile", cost=3, read=fit_column("a.arrow", "--column", "a")
)
def _feather(folder: Path) -> None:
    import pyarrow as pa

    table = pa.table({"a": _X, "day": np.arange(len(_X)).astype("M8[D]")})
    with pa.OSFile(str(folder / "a.arrow"), "wb") as out, pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table)


@register(
    "parquet by Polars", "a.parquet", "gaussmix.density.table_file:PolarsFile", read=lambda folder: _by_polars(folder)
)
def _polars(folder: Path) -> None:
    _parquet(folder)


def _by_polars(folder: Path) -> None:
    from gaussmix.density.table_file import PolarsFile

    for _ in PolarsFile(folder / "a.parquet", "parquet").batches([0], 1000):
        pass


@register("csv of a table", "a.csv", _TEXT, cost=2, read=lambda folder: _fit_table(folder))
def _table_csv(folder: Path) -> None:
    rows = "".join(f"{x},{'FR' if i % 3 else ''},{i % 2 == 0},2024-01-{1 + i % 28:02}\n" for i, x in enumerate(_X))
    (folder / "a.csv").write_text(f"x,country,flag,day\n{rows}")


def _fit_table(folder: Path) -> None:
    command("table", "fit", folder / "a.csv", "-o", folder / "out.gmx", "--by", "country", "--rule", "fast")


# --- what is learnt

_TENSORS = "gaussmix._files:read_tensors"
_MODEL = f"{_TENSORS} gaussmix.density.stored:StoredModel"


def _use_model(folder: Path) -> None:
    command("density", "info", folder / "m.safetensors")
    command("density", "info", folder / "m.safetensors", "--json")
    command("density", "sample", folder / "m.safetensors", "--count", 5)
    command("density", "quantiles", folder / "m.safetensors")


def _use_table(folder: Path) -> None:
    command("table", "info", folder / "t.gmx")
    command("table", "info", folder / "t.gmx", "--json")
    command("table", "info", folder / "t.gmx", "--group", "FR")
    command("table", "quantiles", folder / "t.gmx", "0.5")


@register("table", "t.gmx", f"{_TENSORS} gaussmix.tables.estimator:TableDensity", read=_use_table)
def _table(folder: Path) -> None:
    from gaussmix.tables.estimator import TableDensity

    _table_csv(folder)
    TableDensity(by="country", rule="fast", max_cells=64, max_group_cells=16).fit(folder / "a.csv").save(
        folder / "t.gmx"
    )


def _use_rows(folder: Path) -> None:
    command("table", "info", folder / "t.gmx")
    command("table", "sample", folder / "t.gmx", "--count", "3", "--where", "country=FR")


@register("table with a copula", "t.gmx", f"{_TENSORS} gaussmix.tables.estimator:TableDensity", read=_use_rows)
def _rows_table(folder: Path) -> None:
    from gaussmix.tables.estimator import TableDensity

    _table_csv(folder)
    TableDensity(dependence="copula", rule="fast", max_cells=64).fit(folder / "a.csv").save(folder / "t.gmx")


def _compare_model(folder: Path) -> None:
    command("density", "compare", folder / "m.safetensors", folder / "m.safetensors", "-o", folder / "c.png")


def _save_model(values: Any, **options: Any) -> Callable[[Path], None]:
    from gaussmix.density.model import DensityModel

    return lambda folder: DensityModel(**options).fit(values).save(folder / "m.safetensors")


@register("model", "m.safetensors", _MODEL, read=_use_model)
def _model(folder: Path) -> None:
    _save_model(np.random.default_rng(1).normal(5, 2, 400))(folder)


@register("model, compared", "m.safetensors", _MODEL, cost=20, read=_compare_model)
def _compared(folder: Path) -> None:
    _save_model(np.random.default_rng(1).normal(5, 2, 400))(folder)


@register("model of integers", "m.safetensors", _MODEL, read=_use_model)
def _integers(folder: Path) -> None:
    _save_model(np.random.default_rng(1).poisson(4, 400))(folder)


@register("model of dates", "m.safetensors", _MODEL, read=_use_model)
def _dated(folder: Path) -> None:
    _save_model(np.datetime64("2024-01-01") + np.random.default_rng(1).integers(0, 500, 400))(folder)


@register("model on a basis", "m.safetensors", _MODEL, read=_use_model)
def _on_basis(folder: Path) -> None:
    _save_model(np.random.default_rng(1).exponential(3, 400), rule="kernel", exact=True, bounds=(0, None))(folder)


@register("model, learnt on", "m.safetensors", _MODEL, cost=3, read=lambda folder: _learn_on(folder))
def _streamed(folder: Path) -> None:
    from gaussmix import GMMExpansion

    x = np.random.default_rng(1).standard_t(2, (300, 2))
    GMMExpansion().partial_fit(x, sample_weight=np.linspace(0.5, 1, 300)).save(folder / "m.safetensors")


def _learn_on(folder: Path) -> None:
    from gaussmix import GMMExpansion

    model = GMMExpansion.load(folder / "m.safetensors")
    with _named(folder / "m.safetensors"):
        model.partial_fit(np.arange(20.0).reshape(10, 2))
        for law in model.distributions_:
            law.ppf([0.1, 0.9])


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Sentences about what was read before: of arguments, they name no file."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


@register("mixture", "m.safetensors", _TENSORS, read=lambda folder: _use_mixture(folder))
def _mixture(folder: Path) -> None:
    from gaussmix import GaussianMixture1D

    law = GaussianMixture1D(
        [0.3, 0.7], [0, 5], [1, 2], bounds=(-1, None), tail=(0.01, 0, 3), atoms=([0, 2], [0.1, 0.1])
    )
    law.save(folder / "m.safetensors")


def _use_mixture(folder: Path) -> None:
    from gaussmix import GaussianMixture1D

    law = GaussianMixture1D.load(folder / "m.safetensors")
    for answer in (law.rvs(3, random_state=0), law.ppf([0.2, 0.5]), law.mean(), law.std(), law.logpdf([0.0, 1.0])):
        assert not np.isnan(answer).any(), repr(law)


_CONDITIONAL = f"{_TENSORS} gaussmix.conditional.stored:read"


def _conditional_table(n: int) -> tuple[dict[str, Any], Any]:
    """Numbers and categories, some missing; and an answer of which a fifth is 0."""
    rng = np.random.default_rng(0)
    a, c = rng.normal(size=n), rng.choice(["x", "y", "z"], n).astype(object)
    c[0], a[1] = None, np.nan
    return {"a": a, "c": c}, np.where(rng.random(n) < 0.2, 0.0, np.nan_to_num(a) + (c == "x") + rng.normal(size=n))


def _use_conditional(folder: Path) -> None:
    from gaussmix.conditional.estimator import ConditionalGMMExpansion

    path = folder / "m.gmx"
    words = ("--interval", 0.9, "--conformal", "--sample", 2)
    command("conditional", "predict", path, folder / "t.csv", *words, "-o", folder / "out.csv")
    command("conditional", "evaluate", path, folder / "t.csv", "--target", "y", "--json")
    model = ConditionalGMMExpansion.load(path)
    law = model.predict_distribution(_conditional_table(9)[0])
    for answer in (law.mean(), law.var(), law.crps(0.5), law.cdf(0.5), law.logpdf(0.5), law[0].ppf([0.1, 0.9])):
        assert not np.isnan(answer).any(), f"{model.report_} {model}"


def _save_conditional(folder: Path, rule: str, n: int, scale: float) -> None:
    from gaussmix.conditional.estimator import ConditionalGMMExpansion

    X, y = _conditional_table(n)
    y = y if scale == 1 else np.rint(scale * y)
    ConditionalGMMExpansion(rule, random_state=0).fit(X, y).save(folder / "m.gmx")
    rows = zip(X["a"].tolist(), X["c"], y.tolist(), strict=True)
    lines = [f"{'' if a != a else a},{c or ''},{v}\n" for a, c, v in rows]
    (folder / "t.csv").write_text("a,c,y\n" + "".join(lines))


@register("conditional model with atoms", "m.gmx", _CONDITIONAL, read=_use_conditional)
def _conditional_atoms(folder: Path) -> None:
    _save_conditional(folder, "fast", 150, 1)


@register("conditional model on a lattice", "m.gmx", _CONDITIONAL, read=_use_conditional)
def _conditional_lattice(folder: Path) -> None:
    _save_conditional(folder, "auto", 150, 3)


@register("counts", "c.safetensors", _TENSORS, read=lambda folder: _use_counts(folder))
def _counts(folder: Path) -> None:
    from gaussmix import BinnedCounts
    from gaussmix.density.axis import Axis

    counts = BinnedCounts(Axis(-5, 0.25, 40), atoms=[0.0, 1.0], exact=True)
    counts.add(np.random.default_rng(0).normal(size=100), np.linspace(0.1, 1, 100)).save(folder / "c.safetensors")


def _use_counts(folder: Path) -> None:
    from gaussmix import BinnedCounts

    counts = BinnedCounts.load(folder / "c.safetensors")
    counts.add([0.0, 1.0, 99.0])
    assert counts.without_atoms().n <= counts.n
    assert counts.size >= 0, repr(counts)


@register(
    "sampler of latents",
    "s.safetensors",
    f"{_TENSORS} gaussmix.latents.expansion:ExpansionSampler",
    read=lambda folder: _use_sampler(folder),
)
def _sampler(folder: Path) -> None:
    from gaussmix.latents.expansion import ExpansionSampler

    z = np.random.default_rng(0).normal(size=(80, 3))
    ExpansionSampler(n_clusters=2, random_state=0).fit(z, np.arange(80) % 2).save(folder / "s.safetensors")


def _use_sampler(folder: Path) -> None:
    from gaussmix.latents.expansion import ExpansionSampler

    sampler = ExpansionSampler.load(folder / "s.safetensors")
    assert len(sampler.sample(3, random_state=0)) == 3
    assert len(sampler.score_samples(np.zeros((2, sampler.n_features_in_)))) == 2


@register(
    "novelty and latents",
    "n.safetensors latents.safetensors",
    "gaussmix.autoencoder.generate:NoveltyScale gaussmix.autoencoder.train:load_latents",
    read=lambda folder: _use_novelty(folder),
)
def _novelty(folder: Path) -> None:
    from gaussmix._files import write_tensors
    from gaussmix.autoencoder.generate import NoveltyScale
    from gaussmix.autoencoder.train import _KIND, _LATENTS

    NoveltyScale.of(np.random.default_rng(0).normal(size=(30, 2))).save(folder / "n.safetensors")
    write_tensors(folder / _LATENTS, {"z": np.ones((5, 2), np.float32), "y": np.arange(5)}, _KIND)


def _use_novelty(folder: Path) -> None:
    from gaussmix.autoencoder.generate import NoveltyScale
    from gaussmix.autoencoder.train import fit_sampler, load_latents

    NoveltyScale.load(folder / "n.safetensors").judge(np.zeros((1, 2)))
    z, y = load_latents(folder)
    assert len(z) == len(y), fit_sampler


@register(
    "style",
    "s.safetensors",
    f"{_TENSORS} gaussmix.style.expansion:GramExpansion gaussmix.style.regions:read_sources",
    read=lambda folder: _use_style(folder),
)
def _style(folder: Path) -> None:
    from gaussmix.style.expansion import GramExpansion

    rows = np.random.default_rng(0).normal(size=(12, 6, 3)).astype(np.float32)
    GramExpansion().fit_grams({"s": {"relu1_1": rows @ rows.swapaxes(1, 2)}}).save(folder / "s.safetensors")


def _use_style(folder: Path) -> None:
    from gaussmix.style.expansion import GramExpansion

    GramExpansion.load(folder / "s.safetensors").sample(2, random_state=0)


# --- pictures

_PICTURES = ("a.png", "a.jpg", "a.gif", "a.webp", "a.bmp", "a.tif", "a.ppm")


def _save_pictures(folder: Path) -> None:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (40, 36, 4), np.uint8)
    for name in _PICTURES:
        mode = "RGBA" if name in ("a.png", "a.webp") else "RGB"
        Image.fromarray(pixels[..., : len(mode)]).save(folder / name)


@register(
    "picture", " ".join(_PICTURES), "gaussmix.data.decode:decode gaussmix.data.decode:read_square "
    "gaussmix.cli.faces:EditFace gaussmix.cli.autoencoder:SampleClasses",
    read=lambda folder: _decode_all(folder),
)  # fmt: skip
def _pictures(folder: Path) -> None:
    _save_pictures(folder)


def _decode_all(folder: Path) -> None:
    from gaussmix.data.decode import read_square

    for name in _PICTURES:
        assert read_square(folder / name, 8).shape == (8, 8, 3)


@register(
    "picture of a style",
    " ".join(_PICTURES),
    "gaussmix.style.images:read_layers gaussmix.style.regions:read_sources gaussmix.style.regions:read_mask "
    "gaussmix.cli.style:FitStyle",
    read=lambda f: _look_at(f),
)
def _style_pictures(folder: Path) -> None:
    _save_pictures(folder)


def _look_at(folder: Path) -> None:
    from gaussmix.style.images import read_picture

    for name in _PICTURES:
        assert max(read_picture(folder / name, 32).shape[:2]) == 32


# --- data sets


def _load(folder: Path) -> None:
    from gaussmix.data import load_dataset

    load_dataset(folder / "set", size=8, progress=False)


def _load_labelled(folder: Path) -> None:
    from gaussmix.data import load_labelled

    load_labelled(folder / "set", progress=False)


_READERS = "gaussmix.data.readers"
_LISTS = "gaussmix.data.table:read_text gaussmix.data.decode:_read"


@register(
    "image folder",
    "set/metadata.csv set/0.png set/1.png",
    f"{_LISTS} gaussmix.data.readers.image_folder:_read_table",
    named="set",
    read=_load,
)
def _image_folder(folder: Path) -> None:
    from data.layouts import write_image_folder

    write_image_folder(folder / "set", [f"{i}.png" for i in range(4)])


@register(
    "CelebA",
    "set/list_attr_celeba.txt set/list_eval_partition.txt",
    f"{_LISTS} {_READERS}.celeba:_read_attributes {_READERS}.celeba:_read_partition",
    named="set",
    read=_load,
)
def _celeba(folder: Path) -> None:
    from data.layouts import write_celeba

    write_celeba(folder / "set", 5)


_IDX = " ".join(f"set/{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))


@register("idx", _IDX, "gaussmix.data.readers.idx:read_idx", named="set", read=_load_labelled)
def _idx(folder: Path) -> None:
    (folder / "set").mkdir()
    for name in _IDX.split():
        shape = (6, 4, 4) if "images" in name else (6,)
        head = bytes([0, 0, 8, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape)
        numbers = bytes(i % 3 for i in range(int(np.prod(shape))))
        (folder / name).write_bytes(gzip.compress(head + numbers, mtime=0))


_CIFAR = "gaussmix.data.readers.cifar10"


@register(
    "CIFAR-10, pickled", "batches.meta data_batch_1", f"{_CIFAR}:read_pickle", read=lambda folder: _use_pickles(folder)
)
def _pickled(folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3072), np.uint8)
    batch = {b"data": pixels, b"labels": [0, 1, 2, 3], b"batch_label": b"x"}
    (folder / "data_batch_1").write_bytes(pickle.dumps(batch, protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [str(i) for i in range(10)]}, protocol=2))


def _use_pickles(folder: Path) -> None:
    from gaussmix.data.readers import cifar10

    usual, cifar10.RECORDS = cifar10.RECORDS, 4
    try:
        cifar10._listed_names(folder / "batches.meta")
        cifar10._read_pickled(folder / "data_batch_1")
    finally:
        cifar10.RECORDS = usual


_BATCHES = tuple(f"set/{name}.bin" for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"))


@register(
    "CIFAR-10, binary", f"set/batches.meta.txt {_BATCHES[0]} {_BATCHES[-1]}",
    f"{_CIFAR}:_read_records {_CIFAR}:_fingerprint {_CIFAR}:load_cifar10",
    named="set", read=lambda folder: _use_records(folder),
)  # fmt: skip
def _binary(folder: Path) -> None:
    (folder / "set").mkdir()
    for name in _BATCHES:
        (folder / name).write_bytes(bytes(i % 10 for i in range(20 * 3073)))
    (folder / "set" / "batches.meta.txt").write_text("\n".join(f"class{i}" for i in range(10)))
    rows = np.zeros((20, 3073), np.uint8)
    rows[:, 0] = np.arange(20) % 10
    for name in _BATCHES:
        (folder / name).write_bytes(rows.tobytes())


def _use_records(folder: Path) -> None:
    from gaussmix.data.readers import cifar10

    usual, cifar10.RECORDS = cifar10.RECORDS, 20
    try:
        _load(folder)
    finally:
        cifar10.RECORDS = usual


@register(
    "cache of pictures", "cache/datasets/KEY/meta.json cache/datasets/KEY/images.npy cache/datasets/KEY/split.npy",
    "gaussmix.data.cache:_read_whole", rebuilt=True, read=lambda folder: _use_cache(folder),
)  # fmt: skip
def _cache(folder: Path) -> None:
    (folder / "cache").mkdir()
    _use_cache(folder)
    (entry,) = (folder / "cache" / "datasets").iterdir()
    entry.rename(entry.with_name("KEY"))


def _use_cache(folder: Path) -> None:
    from gaussmix.data.cache import fetch

    images = np.arange(3 * 4 * 4 * 3, dtype=np.uint8).reshape(3, 4, 4, 3)

    def build(append: Callable[[np.ndarray], None]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        append(images)
        return {"split": np.arange(3, dtype=np.uint8)}, {"skipped": 0}

    entry = fetch(folder / "cache", "KEY", 4, build)
    assert entry.images.shape == images.shape
    assert entry.arrays["split"].tolist() == [0, 1, 2]
    assert entry.info == {"skipped": 0}


# --- networks


@register(
    "VGG19, .pth",
    "v.pth old.pth",
    "gaussmix.style.vgg:_read",
    read=lambda folder: _use_vgg(folder, "v.pth", "old.pth"),
)
def _vgg_pth(folder: Path) -> None:
    import torch

    torch.save(_vgg_weights(), folder / "v.pth")
    torch.save(_vgg_weights(), folder / "old.pth", _use_new_zipfile_serialization=False)


@register(
    "VGG19, .safetensors",
    "v.safetensors",
    "gaussmix.style.vgg:_read",
    read=lambda f: _use_vgg(f, "v.safetensors"),
)
def _vgg_safetensors(folder: Path) -> None:
    from safetensors.torch import save_file

    save_file(_vgg_weights(), folder / "v.safetensors")


@register(
    "VGG19, .tar.gz",
    "v.tar.gz",
    "gaussmix.style.vgg:_read gaussmix.style.vgg:_unpacked",
    read=lambda f: _use_vgg(f, "v.tar.gz"),
)
def _vgg_archive(folder: Path) -> None:
    import io
    import tarfile

    import torch

    weights, packed = _vgg_weights(), io.BytesIO()
    numbered = {f"{3 * n + 2}": f"features.{i}" for n, i in enumerate((0, 2, 5))}
    found = {f"{new}.{part}": weights[f"{old}.{part}"] for new, old in numbered.items() for part in ("weight", "bias")}
    torch.save({"0.weight": torch.eye(3)[..., None, None], "0.bias": torch.zeros(3), **found}, packed)
    member = tarfile.TarInfo("models/vgg_normalized.pth")
    member.size = packed.tell()
    packed.seek(0)
    with tarfile.open(folder / "v.tar.gz", "w:gz") as archive:
        archive.addfile(member, packed)


def _vgg_weights() -> dict[str, Any]:
    from gaussmix.style.vgg import VGG19Features

    network = VGG19Features.random(width=2, layers=("relu1_1", "relu2_1"))
    return {name: tensor.contiguous() for name, tensor in network.state_dict().items()}


def _use_vgg(folder: Path, *names: str) -> None:
    import torch

    from gaussmix.style.vgg import VGG19Features

    for name in names:
        with _named(folder / name):
            VGG19Features.load(folder / name, layers=("relu1_1", "relu2_1"))(torch.zeros(1, 3, 16, 16))


_FOLDER = "model/model_index.json model/scheduler/scheduler_config.json model/unet/config.json"
_WEIGHTS = "model/unet/diffusion_pytorch_model.safetensors"


@register(
    "model folder, listed", "model/model_index.json", "gaussmix._files:read_json", named="model",
    read=lambda folder: command("faces", "attributes", folder / "model"),
)  # fmt: skip
def _listed(folder: Path) -> None:
    from gaussmix.diffusion.config import BUILT_IN_MODEL

    shutil.copytree(BUILT_IN_MODEL, folder / "model")


@register(
    "model folder", f"{_FOLDER} {_WEIGHTS}",
    "gaussmix.diffusion.pipeline:AttributeDiffusionPipeline gaussmix.diffusion.saved:count_numbers",
    named="model", cost=2, read=lambda folder: _use_pipeline(folder),
)  # fmt: skip
def _model_folder(folder: Path) -> None:
    from tiny import squares_dataset, tiny_config

    from gaussmix.diffusion.train import train

    with contextlib.redirect_stderr(io.StringIO()):
        train(tiny_config(folder, steps=2, checkpoint_every=2, warmup_steps=1), squares_dataset())


def _use_pipeline(folder: Path) -> None:
    from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
    from gaussmix.diffusion.saved import count_numbers

    with contextlib.redirect_stderr(io.StringIO()):
        with _named(folder / "model"):
            assert count_numbers(folder / "model", "unet") >= 0
        pipeline = AttributeDiffusionPipeline.load(folder / "model")
        with _named(folder / "model"):
            rows = pipeline.choose_attributes(["Bald"], count=1, seed=0)
            assert len(rows) == 1


_STEP = "run/checkpoints/step-00000004"


@register(
    "training, resumed",
    f"{_STEP}/state.json {_STEP}/unet.safetensors run/config.json run/metrics.jsonl run/latents.safetensors",
    "gaussmix.training.checkpoints:_read gaussmix.training.checkpoints:_digest gaussmix.training.watch:MetricsLog",
    named="run",
    cost=30,
    read=lambda folder: _train(folder, resume=True),
)  # fmt: skip
def _trained(folder: Path) -> None:
    _train(folder, resume=False)


def _train(folder: Path, *, resume: bool) -> None:
    from tiny import squares_dataset, tiny_config

    from gaussmix.diffusion.train import train
    from gaussmix.training.loop import TrainingError

    steps = {"steps": 6 if resume else 4, "checkpoint_every": 2, "warmup_steps": 1, "log_every": 1}
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            train(tiny_config(folder / "run", resume=resume, **steps), squares_dataset())
        except TrainingError as error:
            raise ValueError(str(error)) from error


@register(
    "autoencoder", "run/model/config.json run/model/diffusion_pytorch_model.safetensors run/sampler.safetensors",
    "gaussmix.training.saved:load_network", named="run", cost=2,
    read=lambda folder: _use_autoencoder(folder),
)  # fmt: skip
def _autoencoder(folder: Path) -> None:
    from autoencoder.digits import digits_dataset, tiny_config

    from gaussmix.autoencoder.train import train

    with contextlib.redirect_stderr(io.StringIO()):
        train(tiny_config(folder / "run", steps=4), digits_dataset(count=200))


def _use_autoencoder(folder: Path) -> None:
    from gaussmix.autoencoder.generate import LatentGenerator

    with contextlib.redirect_stderr(io.StringIO()):
        generator = LatentGenerator.load(folder / "run")
        with _named(folder / "run"):
            generator.sample(1, class_name=generator.class_names[0], random_state=0)


# --- places that open files

OPENERS = {
    "open", "read_text", "read_bytes", "fromfile", "load", "open_memmap", "memmap", "safe_open", "load_file", "loadtxt",
    "genfromtxt", "from_pretrained", "ParquetFile", "OSFile", "open_file", "scan_parquet", "scan_ipc", "GzipFile",
    "loads", "read_tensors", "read_picture", "read_square",
}  # fmt: skip
"""Names of functions and methods that read files; ``loads`` of pickles only."""

EXEMPT: dict[str, str] = {
    "gaussmix.studio.layout:build_page": "the package's own style sheet",
    "gaussmix.studio.densities:Densities": "tables, by `tables.sources`, whose kinds are registered",
    "gaussmix.studio.drawing:load_network": "weights, by `VGG19Features.load`, which is registered",
    "gaussmix.studio.drawing:look_at": "a picture, by `read_square`, which is registered",
    "gaussmix.studio.drawing:read_image": "a picture, by `read_square`, which is registered",
    "gaussmix.studio.pictures:ink_of": "what the page's canvas sends, no file; any damage is one sentence",
    "gaussmix.studio.style:_begin": "paintings, by `read_picture`, which is registered",
    "gaussmix.studio.style:_read": "a picture, by `read_picture`, which is registered",
    "gaussmix.studio.style:make_film": "the photo, by `read_picture`, and the film that it has just written",
    "gaussmix.studio.style:render": "the photo, by `read_picture`, which is registered",
    "gaussmix._compiled:_Cache": "compiled code of our own, with a hash before it; unpickled only if that fits",
    "gaussmix._files:TensorRecord": "its classes are registered: mixture, counts",
    "gaussmix._files:tensors_of": "what `read_tensors` reads, which is registered",
    "gaussmix.cli:main": "opens the null device",
    "gaussmix.cli:_drop_unwritten": "opens the null device",
    "gaussmix.cli.demo:_join": "pictures that the demo drew, whole or absent",
    "gaussmix.data.decode:_to_rgb": "a picture that its callers opened",
    "gaussmix.data.cache:recall": "a digest, of which only the length matters: another one is read anew",
    "gaussmix.data.readers.avatars:_render": "a picture that was just drawn",
    "gaussmix.data.readers.image_folder:read_pictures": "pictures, by `read_square`, which is registered",
    "gaussmix.density.files:TableSource": "opens what `SourceFile` opens, whose kinds are registered",
    "gaussmix.diffusion.batches:TrainingBatches": "arrays of the dataset",
    "gaussmix.diffusion.train:DiffusionTrainer": "`--init` opens a model folder, which is registered",
    "gaussmix.metrics.features:_read_entry": "an entry of the cache, with a hash: trained anew if that does not fit",
    "gaussmix.metrics.features:InceptionFeatures": "TorchScript is a program, which only a trusted file may be",
    "gaussmix._files:flush": "opens what was just written",
    "gaussmix.style.vgg:find_weights": "a download, of which only the hash is looked at",
    "gaussmix.training.lock:_held": "whose lock it is, another process where that cannot be read",
    "gaussmix.training.lock:check_free": "a lock, of which nothing is read",
}


def openers() -> dict[str, list[int]]:
    """``module:name`` of the functions and classes of the package that call one of `OPENERS`, with the lines."""
    found: dict[str, list[int]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        for top in ast.parse(path.read_text()).body:
            for node in ast.walk(top):
                if isinstance(node, ast.Call) and _opens(node):
                    found.setdefault(f"{module}:{getattr(top, 'name', '')}", []).append(node.lineno)
    return found


def _opens(call: ast.Call) -> bool:
    function = call.func.body if isinstance(call.func, ast.IfExp) else call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name not in OPENERS:
        return False
    owner = ast.unparse(function.value) if isinstance(function, ast.Attribute) else ""
    if name == "loads" and owner != "pickle":
        return False
    if name == "load" and owner[:1].isupper():  # a class of ours, whose own `load` is looked at
        return False
    mode = next((ast.unparse(each) for each in call.args if isinstance(each, ast.Constant)), "")
    return not (name == "open" and mode.strip("'\"")[:1] in ("w", "a", "x"))
