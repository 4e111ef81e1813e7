"""The study of D's figures: what networks are told, runs that are trained once, judging, claims, measures of pages."""

from __future__ import annotations

import itertools
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from scipy import stats
from sklearn.metrics import normalized_mutual_info_score
from tiny import NAMES, squares_dataset, tiny_config, tiny_unet

from gaussmix.diffusion.config import DiffusionConfig
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.sampling import draw
from gaussmix.diffusion.schedulers import make_betas, make_scheduler
from gaussmix.diffusion.train import DiffusionTrainer
from reproduction import runs as training_runs
from reproduction.diffusion import fig1, fig4, fig5, fig6, fig9, studies
from reproduction.diffusion.components import CASES, Case, information, largest
from reproduction.diffusion.conditions import OVERLAP, categories, clusters, entropy, features, nothing
from reproduction.diffusion.faces import FaceBlock, draw_faces, draw_numbered, nearest_to, with_attributes
from reproduction.diffusion.fig5 import variance_parts
from reproduction.diffusion.fig9 import measure_leak
from reproduction.diffusion.study import (
    ARMS,
    Study,
    StudyConfig,
    avatar_faces,
    held_out_loss,
    judged,
    kept_json,
    quality,
)
from reproduction.page import write_pictures
from reproduction.runs import Curve, run_folder, trained
from reproduction.statistics import Interval, below, compare, difference, interval, smallest_seen, summaries, verdict

# -- what a network is told --------------------------------------------------------------------------------------------


def faces_like_rows(seed: int, count: int = 300) -> tuple[np.ndarray, tuple[str, ...]]:
    """Hair of one colour or none, a hat over it, and attributes that are independent."""
    rng = np.random.default_rng(seed)
    hair = rng.choice(5, count, p=[0.3, 0.3, 0.2, 0.1, 0.1])
    rows = np.zeros((count, 8), np.uint8)
    rows[np.arange(count), hair] = hair < 4
    rows[:, 4] = (hair == 4) & (rng.random(count) < 0.7)
    rows[:, 5:] = rng.random((count, 3)) < (0.5, 0.2, 0.8)
    rows = rows[:, [4, 0, 1, 2, 3, 5, 6, 7]]
    return rows, ("hat", "black", "brown", "blond", "grey", "smile", "beard", "young")


def best_exclusive_set(rows: np.ndarray) -> tuple[int, ...]:
    """Of all sets of columns, none of two met in more than `OVERLAP`, the one of most information; by trying all."""
    best, most = (), -1.0
    for size in range(1, rows.shape[1] + 1):
        for columns in itertools.combinations(range(rows.shape[1]), size):
            if any((rows[:, i] & rows[:, j]).mean() >= OVERLAP for i, j in itertools.combinations(columns, 2)):
                continue
            labels = [next((k for k in columns if row[k]), -1) for row in rows]
            information = stats.entropy(np.unique(labels, return_counts=True)[1], base=2)
            if information > most + 1e-9:
                best, most = columns, information
    return best


@pytest.mark.parametrize("seed", range(3))
def test_categories_are_the_most_informative_exclusive_set(seed: int) -> None:
    rows, names = faces_like_rows(seed)
    best = best_exclusive_set(rows)
    told = categories(rows, names)
    assert told.names == (*(names[k] for k in best), "none")
    given = told.apply(rows)
    assert (given.sum(1) == 1).all()
    np.testing.assert_array_equal(given[:, :-1], rows[:, list(best)])  # these rows never have two


def test_a_row_with_two_categories_belongs_to_the_first() -> None:
    rows, names = faces_like_rows(0)
    told = categories(rows, names)
    both = np.zeros((1, 8), np.uint8)
    both[0, [1, 3]] = 1
    assert told.names[int(told.apply(both).argmax())] == "black"


def test_without_pictures_that_have_none_there_is_no_such_class() -> None:
    rows = np.eye(3, dtype=np.uint8)[np.arange(300) % 3]
    assert categories(rows, ("a", "b", "c")).names == ("a", "b", "c")


def test_clusters_give_each_row_to_the_nearest_centre() -> None:
    rows, _ = faces_like_rows(1)
    told = clusters(rows, 6, seed=0)
    given = told.apply(rows)
    assert given.shape == (300, 6)
    assert (given.sum(1) == 1).all()
    labels = given.argmax(1)
    centres = np.stack([rows[labels == k].mean(0) for k in range(6)])
    new, _ = faces_like_rows(2)
    distances = ((new[:, None] - centres) ** 2).sum(2)
    chosen = distances[np.arange(300), told.apply(new).argmax(1)]
    np.testing.assert_allclose(chosen, distances.min(1), atol=1e-5)  # k-means has come to rest; ties may go either way
    assert len(clusters(rows[:4], 16, seed=0).names) == len(np.unique(rows[:4], axis=0))


def test_nothing_and_features() -> None:
    rows, names = faces_like_rows(0)
    np.testing.assert_array_equal(features(names).apply(rows), rows)
    assert not nothing().apply(rows).any()
    assert entropy(nothing().apply(rows)) == 0
    assert entropy(np.eye(8, dtype=np.uint8)) == 3


def test_what_is_told_decides_the_key_of_the_data() -> None:
    squares = squares_dataset()
    rows = squares.attributes
    told = [features(tuple(NAMES)), nothing(), clusters(rows, 3, seed=0), clusters(rows, 2, seed=0)]
    keys = [each.of(squares).key for each in told]
    assert len({*keys, squares.key}) == 5
    assert keys == [each.of(squares).key for each in told]
    changed = told[1].of(squares)
    assert changed.attribute_names == ("nothing",)
    assert changed.images is squares.images


# -- intervals and claims --------------------------------------------------------------------------------------------


def test_intervals_are_students() -> None:
    rng = np.random.default_rng(0)
    for n in (2, 3, 10):
        a, b = rng.normal(1, 2, n), rng.normal(0, 1, n)
        pairs: list[tuple[Interval, Any]] = [
            (interval(a), stats.ttest_1samp(a, 0)),
            (difference(a, b), stats.ttest_rel(a, b)),
        ]
        for ours, theirs in pairs:
            low, high = theirs.confidence_interval(0.95)
            np.testing.assert_allclose((ours.mean - ours.half, ours.mean + ours.half), (low, high))
            assert (abs(ours.mean) > ours.half) == (theirs.pvalue < 0.05)


def test_one_repetition_has_no_interval() -> None:
    one = interval([3.0])
    assert one.mean == 3
    assert np.isnan(one.half)


def test_the_smallest_difference_that_would_be_seen() -> None:
    """Differences of that mean are told from 0 in four of five studies, by a count of drawn ones."""
    rng = np.random.default_rng(0)
    for n in (2, 3, 5):
        size = smallest_seen(np.linspace(-1, 1, n) / np.linspace(-1, 1, n).std(ddof=1))
        found = np.mean([verdict(row, 1) == "holds" for row in rng.normal(size, 1, (3000, n))])
        assert found == pytest.approx(0.8, abs=0.03)
    assert np.isnan(smallest_seen([1.0]))


def test_verdicts() -> None:
    assert verdict([1.0, 1.1, 0.9], 1) == verdict([-1.0, -1.1, -0.9], -1) == "holds"
    assert verdict([1.0, 1.1, 0.9], -1) == "fails"
    assert verdict([1.0, -1.1, 0.9], 1) == "too small to see"
    assert verdict([1.0], 1) == verdict([], 1) == "open"
    assert below([0.1, 0.11, 0.09], 0.2) == {
        "mean": pytest.approx(0.1),
        "half": pytest.approx(0.0248, abs=1e-3),
        "verdict": "holds",
    }
    assert below([], 0.2) == {"mean": None, "half": None, "verdict": "open"}


def test_arms_are_compared_over_the_seeds_that_both_have() -> None:
    table = {"a": {0: {"FD": 3.0}, 1: {"FD": 4.0}, 2: {"FD": 9.0}}, "b": {0: {"FD": 1.0}, 1: {"FD": 2.5}}, "c": {}}
    found = compare(table, "a", "b", "FD", 1)
    assert found["mean"] == 1.75
    assert found["half"] == pytest.approx(12.706 * 0.25, rel=1e-3)
    assert (found["seeds"], found["verdict"]) == (2, "too small to see")
    none = compare(table, "a", "c", "FD", 1)
    assert (none["mean"], none["seeds"], none["verdict"]) == (None, 0, "open")
    summary = summaries(table)
    assert summary["a"]["FD"]["runs"] == [3.0, 4.0, 9.0]
    assert (summary["b"]["seeds"], summary["c"]["seeds"], summary["c"]["FD"]["mean"]) == (2, 0, None)
    with pytest.raises(ValueError, match="no run of c is finished; leave out --no-training"):
        summaries({"c": {}})
    assert summaries({"c": {}}, ["FD"])["c"]["FD"]["runs"] == []


# -- runs that are trained once ----------------------------------------------------------------------------------------


def test_the_folder_follows_from_what_decides_the_result(tmp_path: Path) -> None:
    squares = squares_dataset()
    plain = DiffusionConfig()
    where = run_folder(plain, squares, tmp_path)
    assert where.parent == tmp_path
    for same in (
        {"output": Path("elsewhere")}, {"resume": True}, {"threads": 4}, {"checkpoint_every": 7},
        {"keep_checkpoints": 1}, {"guidance": 5.0}, {"data": "a folder"}, {"reader_steps": 0},
    ):  # fmt: skip
        assert run_folder(replace(plain, **same), squares, tmp_path) == where
    others: list[dict[str, Any]] = [
        {"seed": 1}, {"steps": 5}, {"pairing": "fixed"}, {"classifier_weight": 0.1}, {"log_every": 1},
    ]  # fmt: skip
    folders = {run_folder(replace(plain, **other), squares, tmp_path) for other in others}
    folders |= {run_folder(plain, replace(squares, key="squares-2"), tmp_path), where}
    assert len(folders) == len(others) + 2


def quick_config(**settings: Any) -> DiffusionConfig:
    return tiny_config(Path("unused"), **{"pairing": "fixed", "steps": 12, "log_every": 1, **settings})


def test_an_interrupted_run_goes_on_and_a_finished_one_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    squares, config = squares_dataset(), quick_config()
    whole, curve = trained(config, squares, tmp_path / "whole")
    steps = DiffusionTrainer.steps

    def interrupted(self: DiffusionTrainer) -> Any:
        for result in steps(self):
            yield result
            if self.step == 7:
                os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(DiffusionTrainer, "steps", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trained(config, squares, tmp_path)
    out = run_folder(config, squares, tmp_path)
    assert (out / "checkpoints").is_dir()
    first = json.loads((out / "cost.json").read_text())["cpu_seconds"]

    resumed, again = trained(config, squares, tmp_path)
    for a, b in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(a, b)
    np.testing.assert_array_equal(again.steps, np.arange(1, 13))
    np.testing.assert_array_equal(again.denoising, curve.denoising)
    assert again.cpu_seconds > first > 0
    assert not (out / "checkpoints").exists(), "a finished run keeps what pages need"
    assert not (out / "samples.png").exists()

    monkeypatch.setattr(training_runs, "train", None)  # not called any more
    read, same = trained(config, squares, tmp_path)
    np.testing.assert_array_equal(same.gradient_norm, again.gradient_norm)
    assert torch.equal(next(read.network.parameters()), next(resumed.network.parameters()))

    note = out / "config.json"
    note.write_text(note.read_text().replace('"learning_rate": 0.0015', '"learning_rate": 0.1'))
    with pytest.raises(ValueError, match=r"other settings \(learning_rate was 0\.1 and is 0\.0015\); remove it"):
        trained(config, squares, tmp_path)


# -- the study ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Of quick models, whose runs are kept."""
    config = StudyConfig().quick()
    return Study(config, avatar_faces(config), tmp_path_factory.mktemp("runs"))


def test_arms_share_what_they_do_not_differ_in(study: Study) -> None:
    plain = study.run("fixed", 0)
    assert plain.settings.network == "transformer"
    assert plain.settings.pairing == "fixed"
    folders = set()
    for name, arm in ARMS.items():
        run = study.run(name, 0)
        folders.add(run.out)
        assert replace(run.settings, **{key: getattr(plain.settings, key) for key in arm.changes}) == plain.settings
        assert run.dataset.images is study.faces.dataset.images
    assert len(folders) == len(ARMS)
    for form in ("seen", "blind"):
        assert ARMS[f"{form}_ngmg"].changes == {**ARMS[f"{form}_bce"].changes, "classifier_loss": "ngmg"}


def test_arms_of_one_seed_see_the_same_batches_and_noise(study: Study) -> None:
    """The first denoising loss of a classifier's arm is that of the arm without."""
    losses = {arm: study.run(arm, 0).model[1].denoising[0] for arm in ("fixed", "seen_bce", "blind_ngmg")}
    assert losses["seen_bce"] == losses["blind_ngmg"] == losses["fixed"]


def test_what_was_measured_is_read(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    first = study.table("judged", judged, ["fixed"])
    monkeypatch.setattr(training_runs, "train", None)  # not called any more
    assert study.table("judged", lambda run: {}, ["fixed"]) == first
    others = replace(study.config, sampling_steps=3)
    assert replace(study, config=others).run("fixed", 0).kept("judged", lambda run: {"FD": 1.0}) == {"FD": 1.0}
    row = first["fixed"][0]
    assert {"accuracy", "defect rate", "recall", "FD", "held-out loss", "CPU minutes"} <= set(row)
    finished = replace(study, config=replace(study.config, train_missing=False, repetitions=2))
    assert [(arm, seed) for arm, seed, _ in finished.runs(["fixed", "category"])] == [("fixed", 0)]
    with pytest.raises(ValueError, match="no run of category is finished"):
        finished.first("category")


def test_kept_json_is_made_once(tmp_path: Path) -> None:
    made = [kept_json(tmp_path / "deep" / "x.json", lambda: {"a": float("nan")}) for _ in range(2)]
    assert all(np.isnan(each["a"]) for each in made)
    assert [each.name for each in (tmp_path / "deep").iterdir()] == ["x.json"]


def test_quality_tells_real_faces_from_noise(study: Study) -> None:
    faces = study.faces
    noise = np.random.default_rng(0).integers(0, 255, faces.asked.shape).astype(np.uint8)
    good, bad = quality(faces, faces.asked), quality(faces, noise)
    assert good["FD"] < bad["FD"]
    assert good["detail"] < bad["detail"]


class Answers(torch.nn.Module):
    """A network that answers ``factor`` times the noisy numbers; numbers are pixels."""

    state_shape = (3, 32, 32)

    def __init__(self, factor: float):
        super().__init__()
        self.factor, self.shown = factor, []

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels

    decode = encode

    def forward(self, noisy: torch.Tensor, level: Any, latents: torch.Tensor, attributes: Any) -> SimpleNamespace:
        self.shown.append(latents)
        return SimpleNamespace(sample=self.factor * noisy)


@pytest.mark.parametrize("factor", [0.0, 0.5])
def test_held_out_loss_of_networks_that_know_nothing(factor: float, study: Study) -> None:
    """Pictures of +-1, so of variance 1: v has variance 1 and no correlation with x_t; answer c x_t loses 1 + c^2."""
    images = np.random.default_rng(0).choice([0, 255], (120, 32, 32, 3)).astype(np.uint8)
    scheduler = make_scheduler("dpm++", make_betas("cosine", 100), "v_prediction")
    drawn = torch.zeros(120, 16, 8)
    pipeline = SimpleNamespace(
        network=Answers(factor), scheduler=scheduler, draw_attribute_latents=lambda count, generator: drawn
    )
    faces = study.faces._replace(asked=images, attributes=np.zeros((120, 16), np.uint8))
    run = replace(study, faces=faces).run("fixed", 0)
    run.__dict__["model"] = (pipeline, None)
    loss = held_out_loss(run)
    assert loss == pytest.approx(1 + factor**2, rel=0.02)
    assert torch.equal(torch.cat(pipeline.network.shown), drawn)
    assert held_out_loss(run) == loss, "the same levels and noise"


def test_matched_z_are_read_off_held_out_faces(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    run, shown = study.run("matched", 0), []
    network = type(run.pipeline.network)
    forward = network.forward

    def spy(self: Any, *given: Any) -> Any:
        shown.append(given[2])
        return forward(self, *given)

    monkeypatch.setattr(network, "forward", spy)
    held_out_loss(run)
    assert run.batches.encoder is not None
    expected = run.batches.encoder.encode(study.faces.asked, study.faces.attributes, study.config.seed)
    np.testing.assert_array_equal(torch.cat(shown), expected)


def test_studies_measure_what_pages_read(study: Study) -> None:
    """Every measure of a page is of arms of the study, under a name that means the same everywhere."""
    named: dict[str, Any] = {}
    for page in studies.PAGES:
        assert set(page.Config.arms) <= set(ARMS)
        for name, (arms, how) in page.MEASURES.items():
            assert set(arms) <= set(page.Config.arms)
            assert named.setdefault(name, how) is how


# -- drawing -----------------------------------------------------------------------------------------------------------


def test_z_and_noise_are_numbered(study: Study) -> None:
    """Pictures of one number are equal, others are not, whatever is drawn beside them."""
    run = study.run("matched", 0)
    row = study.faces.attributes[:1]
    all_of = draw_numbered(run, row.repeat(5, 0), latents=[0, 0, 1, 1, 0], noises=[0, 1, 0, 1, 0])
    np.testing.assert_array_equal(all_of[0], all_of[4])
    assert len(np.unique(all_of.reshape(5, -1), axis=0)) == 4
    alone = draw_numbered(run, row, latents=[1], noises=[1])
    np.testing.assert_allclose(alone[0].astype(int), all_of[3], atol=2)


def test_pictures_do_not_depend_on_what_is_drawn_beside_them(study: Study) -> None:
    run = study.run("fixed", 0)
    alone = draw(run.pipeline, run.asked[:3], seed=study.config.seed, steps=2, guidance=1.0)[0]
    np.testing.assert_allclose(run.pictures[:3].astype(int), alone, atol=2)
    np.testing.assert_array_equal(run.shown[:3], run.pictures[:3])


def test_faces_with_a_list(study: Study) -> None:
    faces, wanted = study.faces, ["Smiling", "Brown_Hair"]
    columns = [faces.names.index(name) for name in wanted]
    has = faces.attributes[:, columns].sum(1)
    np.testing.assert_array_equal(with_attributes(faces, wanted), np.flatnonzero(has == 2))
    nearest = nearest_to(faces, wanted, len(has))
    assert has[nearest].tolist() == sorted(has, reverse=True)


def test_samplers_share_z_and_noise_and_leave_the_model_as_it_was(study: Study) -> None:
    run = study.run("matched", 0)
    before = run.pipeline.scheduler
    paper, fast = fig6.sample(run, fig6.SAMPLERS[0]), fig6.sample(run, "dpm++ 10")
    assert run.pipeline.scheduler is before
    assert len(paper.estimates) == len(fig6.SHOWN)
    np.testing.assert_array_equal(paper.estimates[-1], paper.images)
    assert len(fast.estimates) == 0
    np.testing.assert_array_equal(fast.images, run.pictures)
    assert list(fig6.SHOWN) == np.linspace(1, 100, 11).round().tolist()


def test_component_effects() -> None:
    moved, redrawn = np.zeros((8, 2, 2, 50)), np.zeros((8, 2, 2, 50))
    moved[:, 1], redrawn[:, :, 1] = 3.0, 4.0
    assert fig4.component_effect(moved + redrawn) == (3.0, 4.0)
    assert fig4.component_effect(np.zeros((8, 1, 2, 50))) == (0.0, 0.0), "one component moves nothing"


def test_crossed_pictures_share_z_by_row_and_noise_by_column(study: Study) -> None:
    run, rows = study.run("fixed", 0), study.faces.attributes[:2]
    found = fig5.crossed(run, rows, 2, 3)
    assert found.shape == (2, 2, 3, 32, 32, 3)
    one = draw_numbered(run, rows[1:], latents=[3], noises=[4])[0]
    np.testing.assert_allclose(found[1, 1, 1].astype(int), one, atol=2)


# -- pages -------------------------------------------------------------------------------------------------------------


def test_laws_are_told_apart_only_if_they_differ() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 400, 3))
    same, shifted = fig1.tell_apart(a, b, 0), fig1.tell_apart(a, b + np.array([2, 0, 0]), 0)
    assert abs(same.accuracy - 0.5) < 2 * same.error
    assert shifted.accuracy > 0.5 + 2 * shifted.error
    assert shifted.accuracy == pytest.approx(0.841, abs=0.03)  # Phi(1), the best there is


def test_the_error_of_telling_apart_covers_its_spread() -> None:
    """Within a fifth below, and not twice above; it does not tell it from the binomial error."""
    draws = [np.random.default_rng(i).standard_normal((2, 60, 3)) for i in range(40)]
    found = [fig1.tell_apart(a, b, 0) for a, b in draws]
    spread = np.std([one.accuracy for one in found])
    assert 0.8 * spread < np.mean([one.error for one in found]) < 2 * spread
    assert np.mean([one.accuracy > 0.5 + 2 * one.error for one in found]) < 0.15


def test_fine_detail_is_the_laplacian() -> None:
    images = np.random.default_rng(0).integers(0, 255, (2, 18, 18, 3)).astype(np.uint8)
    found = fig1.fine_detail(images)
    grey = images.astype(float).mean(-1)
    expected = []
    for i, j in ((3, 5), (4, 5), (3, 6), (4, 6)):  # the inner pixels of one square
        near = grey[1, i - 1, j] + grey[1, i + 1, j] + grey[1, i, j - 1] + grey[1, i, j + 1]
        expected.append(abs(4 * grey[1, i, j] - near))
    assert found.shape == (2, 64)
    assert found[1, 8 * 1 + 2] == pytest.approx(np.mean(expected))


def effects(rng: np.random.Generator, shape: tuple[int, int, int], parts: tuple[float, ...], pixels: int) -> np.ndarray:
    """Pictures of the random-effects model, written out: of attributes, Z, noise and both, variances ``parts``."""
    R, M, N = shape
    sizes = ((R, 1, 1), (R, M, 1), (R, 1, N), (R, M, N))
    drawn = [np.sqrt(v) * rng.standard_normal((*size, pixels)) for v, size in zip(parts, sizes, strict=True)]
    return 100 + sum(drawn, start=np.zeros(pixels))


@pytest.mark.parametrize("parts", [(4.0, 3.0, 2.0, 1.0), (0.0, 0.0, 5.0, 0.0), (1.0, 9.0, 0.0, 0.0)])
def test_parts_of_known_effects(parts: tuple[float, ...]) -> None:
    """Many pixels are as good as many repetitions: the estimates are unbiased for 3 x 2 x 3 pictures."""
    found = variance_parts(effects(np.random.default_rng(0), (3, 2, 3), parts, 40_000))
    ours = (found.attributes, found.latents, found.noise, found.both)
    np.testing.assert_allclose(ours, parts, atol=0.15)
    assert found.share == pytest.approx(parts[1] / sum(parts[1:]), abs=0.03)
    assert found.total == pytest.approx(sum(parts), abs=0.2)
    assert found.deviation == pytest.approx(np.sqrt(parts[2] + parts[3]), abs=0.05)


def test_parts_of_uint8_pictures_and_of_too_few() -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (3, 2, 2, 4, 4, 3)).astype(np.uint8)
    flat = variance_parts(pictures.astype(float).reshape(3, 2, 2, -1))
    assert variance_parts(pictures) == flat
    with pytest.raises(ValueError, match=r"pictures are \(3, 1, 2, 4\); give .* at least 2 of each"):
        variance_parts(np.zeros((3, 1, 2, 4)))


def test_rows_of_a_case() -> None:
    names = ("Smiling", "Mouth_Open")
    attributes = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.uint8)
    assert Case("Mouth_Open", "mouth").rows(attributes, names).tolist() == [False, True, False, True]
    smiling = Case("Mouth_Open", "mouth", ("Smiling", True))
    assert smiling.rows(attributes, names).tolist() == [False, False, False, True]
    assert smiling.label == "Mouth Open, with Smiling"
    grim = Case("Mouth_Open", "mouth", ("Smiling", False))
    assert grim.rows(attributes, names).tolist() == [False, True, False, False]
    assert grim.label == "Mouth Open, without Smiling"
    assert len({case.label for case in CASES}) == len(CASES)


def pairs(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Components, and kinds that follow them in three of four pictures."""
    components = rng.integers(0, 3, count)
    kinds = np.array(["a", "b", "c"])[np.where(rng.random(count) < 0.75, components, rng.integers(0, 3, count))]
    return components, kinds


def test_information_beside_chance() -> None:
    components, kinds = pairs(np.random.default_rng(0), 300)
    found = information(components, kinds, seed=0)
    assert found["value"] == pytest.approx(normalized_mutual_info_score(kinds, components))
    unrelated = information(components, np.random.default_rng(1).permutation(kinds), seed=0)
    # of independent labels: (C - 1)(S - 1) / n / (H(C) + H(S))
    assert found["chance"] == pytest.approx(4 / 300 / (2 * np.log(3)), rel=0.3)
    assert unrelated["value"] < 4 * unrelated["chance"] < found["value"]
    few = information(components[:19], kinds[:19], seed=0)
    assert np.isnan([few["value"], few["chance"]]).all()


def test_largest() -> None:
    table = np.array([[np.nan, 0.2], [0.7, np.nan]])
    assert largest(table, ("x", "y")) == {"value": 0.7, "first": "y", "second": "x"}
    unknown = largest(np.full((2, 2), np.nan), ("x", "y"))
    assert np.isnan(unknown["value"])
    assert (unknown["first"], unknown["second"]) == (None, None)


def test_running_means() -> None:
    values = np.random.default_rng(0).normal(size=(2, 30))
    for window in (1, 4, 30):
        expected = [np.convolve(row, np.full(window, 1 / window), "valid") for row in values]
        np.testing.assert_allclose(fig9.smoothed(values, window), expected, atol=1e-12)


def made_up_curve(seed: int, count: int) -> Curve:
    """Falls to 0.5, and trembles by 0.02; gradients of norm 2 +- 0.5."""
    rng, steps = np.random.default_rng(seed), np.arange(1, count + 1)
    denoising = 0.5 + 1 / steps + rng.normal(0, 0.02, count)
    norm = 2 + rng.normal(0, 0.5, count)
    return Curve(steps, denoising, norm, 1.0)


def test_measures_of_a_curve_with_known_noise() -> None:
    found = fig9.curve_measures(made_up_curve(0, 4000))
    assert found["step to step"] == pytest.approx(0.02, rel=0.05)
    assert found["first half"] == pytest.approx(0.5 + np.mean(1 / np.arange(1, 2001)), abs=0.002)
    assert found["gradient"] == pytest.approx(2, rel=0.02)
    assert found["gradient spread"] == pytest.approx(0.25, rel=0.05)


def pipeline_with(unet: torch.nn.Module, betas: np.ndarray) -> AttributeDiffusionPipeline:
    pipeline = AttributeDiffusionPipeline(
        tiny_unet(classifier=True), make_scheduler("ddim", betas, "v_prediction"), attribute_names=NAMES
    )
    pipeline.unet = unet  # pyright: ignore[reportAttributeAccessIssue]
    return pipeline


def stripes(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images ``(count, 8, 8, 3)`` and attributes ``(count, 3)``, each of which lights two columns."""
    rng = np.random.default_rng(1)
    attributes = rng.integers(0, 2, (count, 3)).astype(np.uint8)
    images = rng.integers(0, 60, (count, 8, 8, 3)).astype(np.uint8)
    for k in range(3):
        images[:, :, 2 * k : 2 * k + 2] += (attributes[:, k] * 150)[:, None, None, None]
    return images, attributes


class Reader(torch.nn.Module):
    """Stands in for a network: its classifier says what the image's stripes or the condition say."""

    def __init__(self, says: str):
        super().__init__()
        self.says, self.config = says, {"classifier_pass": "same"}
        self.encode = lambda pixels: pixels

    def classify(self, sample: torch.Tensor, _timestep: int, _z: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
        if self.says == "image":
            return sample.mean((1, 2))[:, [0, 2, 4]] + 0.2  # dark is below -.5, bright above .1
        if self.says == "condition":
            return shown - 0.5
        return torch.randn(len(sample), 3, generator=torch.Generator().manual_seed(len(sample)))


@pytest.mark.parametrize(("says", "image", "agreement"), [("image", 1, 1), ("condition", 0, 0), ("dice", 0.5, 1)])
def test_the_leak_control_tells_image_from_condition(says: str, image: float, agreement: float) -> None:
    images, attributes = stripes(600)
    found = measure_leak(pipeline_with(Reader(says), np.array([1e-6, 0.5])), images, attributes, 0)
    tolerance = 0.06 if says == "dice" else 1e-9
    assert found["image"] == pytest.approx(image, abs=tolerance)
    assert found["condition"] == pytest.approx(1 - image, abs=tolerance)
    assert found["agreement"] == pytest.approx(agreement, abs=1e-9)
    assert found["right"] == pytest.approx(1 if says != "dice" else 0.5, abs=tolerance)


def test_a_classifier_that_cannot_see_the_condition_does_not_heed_it() -> None:
    data, betas = squares_dataset(), make_betas("constant", 20, beta=0.3)
    ways: list[dict[str, Any]] = [{"injection": "up"}, {"classifier_pass": "unconditioned"}]
    for how in ways:
        pipeline = pipeline_with(tiny_unet(classifier=True, **how), betas)
        found = measure_leak(pipeline, data.images, data.attributes, 10)
        assert found["agreement"] == 1
        assert measure_leak(pipeline, data.images, data.attributes, 10) == found
    pipeline = pipeline_with(tiny_unet(classifier=True), betas)
    with pytest.raises(ValueError, match="no attribute of the 5 images differs"):
        measure_leak(pipeline, data.images[:5], np.ones((5, 3), np.uint8), 1)


# -- pictures ----------------------------------------------------------------------------------------------------------


def test_faces_are_shown_pixel_by_pixel() -> None:
    faces = np.random.default_rng(0).integers(0, 64, (2, 3, 32, 32, 3)).astype(np.uint8) * 4
    figure = draw_faces("title", FaceBlock("left", faces, ["a", "b"]), FaceBlock("right", faces[:, :1], columns=["x"]))
    figure.set_dpi(110)
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    shown = np.asarray(canvas.buffer_rgba())[..., :3]
    face = faces[1, 2].repeat(4, 0).repeat(4, 1)
    places = np.argwhere((shown[:-127, :-127] == face[0, 0]).all(-1))
    assert any((shown[i : i + 128, j : j + 128] == face).all() for i, j in places)


def test_legends_leave_room_for_the_curves() -> None:
    figure = fig9.draw_curves({name: [made_up_curve(seed, 100) for seed in range(2)] for name in fig9.LABELS})
    figure.draw_without_rendering()
    for axes in figure.axes:
        legend = axes.get_legend()
        assert legend is not None
        assert legend.get_window_extent().width < 0.75 * axes.get_window_extent().width


def test_large_pictures_get_a_palette(tmp_path: Path) -> None:
    """Rows of faces fill a repository; lines do not, and stay as they are."""

    def show(pixels: np.ndarray) -> Figure:
        figure = Figure()
        figure.add_subplot().imshow(pixels)
        return figure

    noise = np.random.default_rng(0).random((300, 300, 3))
    paths = write_pictures("name", {"": show(noise), "-flat": show(np.ones((9, 9, 3)))}, tmp_path)
    with Image.open(paths[0]) as large, Image.open(paths[1]) as flat:
        assert large.size == flat.size == (704, 528)
        assert (large.mode, flat.mode) == ("P", "RGBA")
