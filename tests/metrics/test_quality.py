from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from gaussmix.metrics import (
    DefectScores,
    frechet_distance,
    kernel_distance,
    manifold_scores,
    measure_quality,
    nearest_pictures,
    pairwise_diversity,
)


class Colours:
    """Features for tests: the mean of each colour over each quarter of a picture."""

    name = "colours of quarters"

    def __init__(self):
        self.largest = 0

    def features(self, images: np.ndarray) -> np.ndarray:
        self.largest = max(self.largest, len(images))
        n, size = images.shape[:2]
        return images.reshape(n, 2, size // 2, 2, size // 2, 3).mean((2, 4)).reshape(n, 12).astype(np.float32) / 100


def pictures(count: int, seed: int, *, base: int = 0) -> np.ndarray:
    """8 x 8 pixels, each quarter one random colour with a little noise."""
    rng = np.random.default_rng(seed)
    quarters = rng.integers(base, 200, (count, 2, 2, 3)).repeat(4, 1).repeat(4, 2)
    return (quarters + rng.integers(0, 50, (count, 8, 8, 3))).astype(np.uint8)


def test_numbers_are_those_of_the_functions():
    made, real, control, training = pictures(300, 0, base=60), pictures(200, 1), pictures(30, 2), pictures(50, 3)
    extractor = Colours()
    report = measure_quality(made, real, extractor, control=control, training=training, k=3)
    assert extractor.largest < 300  # pictures are looked at in batches
    true = extractor.features(real)
    near = [nearest_pictures(images, training) for images in (made, control)]
    limit = np.quantile(near[1], 0.05)
    for scores, images, distances in ((report.generated, made, near[0]), (report.reference, control, near[1])):
        features = extractor.features(images)
        assert scores.frechet_distance == pytest.approx(frechet_distance(features, true))
        assert (scores.kernel_distance, scores.kernel_distance_error) == kernel_distance(features, true)
        expected = manifold_scores(true, features, k=3)
        assert (scores.precision, scores.recall, scores.density, scores.coverage) == expected
        assert np.isnan(scores.defect_rate)  # nobody looked
        assert scores.diversity == pairwise_diversity(features)
        assert scores.nearest_training == np.median(distances)
        assert scores.close_to_training == (distances < limit).mean()
    assert (report.n_generated, report.n_real, report.n_control, report.n_training) == (300, 200, 30, 50)
    assert (report.extractor, report.n_features, report.k) == ("colours of quarters", 12, 3)


def test_without_a_control_real_pictures_are_halved():
    real, extractor = pictures(201, 1), Colours()
    report = measure_quality(pictures(50, 0), real, extractor, seed=5)
    order = np.random.default_rng(5).permutation(201)
    first, second = extractor.features(real[order[:101]]), extractor.features(real[order[101:]])
    assert report.reference.frechet_distance == pytest.approx(frechet_distance(first, second))
    assert report.reference.precision == manifold_scores(first, second).precision
    assert report.reference.diversity == pytest.approx(pairwise_diversity(extractor.features(real)))
    assert np.isnan(report.generated.nearest_training)
    assert str(report) == str(measure_quality(pictures(50, 0), real, extractor, seed=5))  # NaN is not equal to itself
    assert report.reference != measure_quality(pictures(50, 0), real, extractor, seed=6).reference


def test_copies_show():
    training, real = pictures(60, 0), pictures(40, 1)
    copies = training[:50].copy()
    copies[:, 0, 0] += 1
    report = measure_quality(copies, real, Colours(), training=training)
    assert report.generated.close_to_training == 1
    assert report.generated.nearest_training == pytest.approx(np.sqrt(1 / 64))  # one pixel of 64, by one level
    assert report.reference.close_to_training == 0.05


def test_the_reference_of_paired_pictures():
    """A generator that redraws the pictures it was asked for is as good as real: only beside a control does it show."""
    held_out, others = pictures(80, 0), pictures(80, 1)
    redrawn = held_out ^ np.uint8(1)
    paired = measure_quality(redrawn, held_out, Colours())
    assert paired.generated.frechet_distance < 0.01 * paired.reference.frechet_distance
    apart = measure_quality(redrawn, others, Colours(), control=held_out)
    assert apart.generated.frechet_distance == pytest.approx(apart.reference.frechet_distance, rel=0.05)


def test_report_as_table_and_json():
    report = measure_quality(pictures(10, 0), pictures(12, 1), Colours())
    written = io.StringIO()
    Console(file=written, width=120).print(report.table())
    text = " ".join(written.getvalue().split())
    assert f"{report.generated.frechet_distance:.3f}" in text
    assert f"{report.reference.kernel_distance:.3g} ± {1.96 * report.reference.kernel_distance_error:.3g}" in text
    assert "10 generated against 12 real pictures" in text
    assert "6 pictures are few for 12 features" in text
    assert "nearest" not in text  # no training pictures, no such row
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert plain["generated"]["recall"] is None
    assert plain["generated"]["diversity"] == report.generated.diversity
    assert plain["real_against_real"]["nearest_training"] is None
    assert (plain["extractor"], plain["n_real"], plain["n_control"], plain["seed"]) == ("colours of quarters", 12, 0, 0)
    more = measure_quality(
        pictures(20, 0), pictures(20, 1), Colours(), control=pictures(20, 2), training=pictures(9, 3)
    )
    assert "20 generated and 20 real pictures, each set against 20 other real ones." in more.notes
    assert not any("few" in note for note in more.notes)
    assert not any("unlike size" in note for note in more.notes)
    unlike = measure_quality(pictures(30, 0), pictures(20, 1), Colours(), control=pictures(20, 2))
    assert any("sets of unlike size" in note for note in unlike.notes)
    assert more.table().row_count == report.table().row_count + 2


def test_few_real_pictures_say_nothing_of_manifolds_and_defects():
    caught = DefectScores(0.25, 0.05, {"blurred": 1.0})
    few = measure_quality(pictures(300, 0), pictures(199, 1), Colours(), control=pictures(30, 2), defects=caught)
    enough = measure_quality(pictures(300, 0), pictures(200, 1), Colours(), control=pictures(30, 2), defects=caught)
    for name in ("precision", "recall", "density", "coverage", "defect_rate"):
        assert np.isnan(getattr(few.generated, name))
        assert np.isnan(getattr(few.reference, name))
        assert name not in few.generated_errors
        assert np.isfinite(getattr(enough.generated, name))
    assert few.withheld[0].endswith("they need 200 real pictures to be held against, and there are 199.")
    assert few.withheld[0] in few.notes
    assert not enough.withheld
    assert (enough.generated.defect_rate, enough.reference.defect_rate) == (0.25, 0.05)
    assert few.table().row_count == enough.table().row_count - 5


def test_a_missed_control_is_said_instead_of_a_rate():
    missed = DefectScores(0.0, 0.05, {"blurred": 1.0, "shuffled": 0.4})
    report = measure_quality(pictures(30, 0), pictures(200, 1), Colours(), control=pictures(30, 2), defects=missed)
    assert np.isnan(report.generated.defect_rate)
    assert report.withheld == ("Defects are withheld: of shuffled real pictures only 40% are recognised.",)


def test_intervals_hold_what_they_should():
    """The standard errors are the scatter of the scores over sets of pictures."""
    training, drawn = pictures(50, 99), []
    for seed in range(20):
        report = measure_quality(
            pictures(60, 2 * seed, base=60), pictures(60, 2 * seed + 1), Colours(), training=training
        )
        drawn.append((report.generated, report.generated_errors))
    for name in ("frechet_distance", "diversity", "detail", "nearest_training", "kernel_distance"):
        scatter = np.std([getattr(scores, name) for scores, _ in drawn], ddof=1)
        told = np.mean([errors[name] for _, errors in drawn])
        assert 0.5 * scatter < told < 2.2 * scatter, name


def test_too_few_pictures():
    few, extractor = pictures(7, 0), Colours()
    measure_quality(few, few, extractor, control=few, k=6)
    with pytest.raises(ValueError, match=r"there are 7 generated pictures, .* k = 7 .* needs at least 8; give more"):
        measure_quality(few, pictures(20, 1), extractor, k=7)
    with pytest.raises(ValueError, match=r"there are 7 real pictures, and quality with k = 3 .* at least 8"):
        measure_quality(few, few, extractor, k=3)
    with pytest.raises(ValueError, match=r"there are 5 control pictures, and quality with k = 5 .* at least 6"):
        measure_quality(few, few, extractor, control=few[:5])


def test_progress_goes_to_standard_error(capsys: pytest.CaptureFixture[str]):
    measure_quality(pictures(8, 0), pictures(12, 1), Colours(), progress=True)
    out, err = capsys.readouterr()
    assert not out
    assert "features" in err
