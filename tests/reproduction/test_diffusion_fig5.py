"""D Figure 5: shares of variance, crossed pictures, numbers for the page."""

from __future__ import annotations

import numpy as np
import pytest
from reproduction.diffusion.model import FaceSampler, PageConfig
from tiny import NAMES, tiny_unet

from gaussmix.diffusion.conditions import pack_rows
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.schedulers import make_betas, make_scheduler
from reproduction.diffusion.fig5 import VarianceParts, crossed, derived, share_error, variance_parts


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


def test_error_of_the_share_is_its_spread() -> None:
    rng = np.random.default_rng(0)
    draws = [effects(rng, (10, 3, 3), (2.0, 3.0, 2.0, 1.0), 2) for _ in range(150)]
    spread = np.std([variance_parts(x).share for x in draws])
    assert np.mean([share_error(x) for x in draws]) == pytest.approx(spread, rel=0.3)


def test_numbers_beside_the_estimates() -> None:
    shares = {"features": [0.1, 0.2, 0.3], "fresh": [0.1, 0.1, 0.1], "matched": [0.4, 0.4, 0.7]}
    found = derived(VarianceParts(50, 45, -1, 6), 400.0, shares)
    assert found["share_of_total"] == {"attributes": 0.5, "latents": 0.45, "noise": -0.01, "both": 0.06}
    assert found["left_to_noise"] == 0.05
    deviations = found["deviations"]
    assert (deviations["all"], deviations["noise"], deviations["real"]) == (10, 0, 20)
    assert found["pairing_means"]["fresh"] == pytest.approx({"mean": 0.1, "half": 0}, abs=1e-12)
    assert set(found["matched_minus"]) == {"features", "fresh"}
    assert found["matched_minus"]["features"]["mean"] == pytest.approx(0.3)
    half = 4.3026527 * np.std([0.3, 0.2, 0.4], ddof=1) / np.sqrt(3)
    assert found["matched_minus"]["features"]["half"] == pytest.approx(half)


def test_crossed_pictures_share_z_by_row_and_noise_by_column() -> None:
    sampler = FaceSampler(PageConfig(sampling_steps=1), lambda done: None)
    scheduler = make_scheduler("dpm++", make_betas("constant", 20, beta=0.3), "v_prediction")
    known = pack_rows(np.eye(3, dtype=np.uint8))
    pipeline = AttributeDiffusionPipeline(tiny_unet(), scheduler, attribute_names=NAMES, attribute_rows=known)
    rows = np.array([[1, 0, 0], [1, 1, 0]], np.uint8)
    found = crossed(sampler, pipeline, rows, 2, 3)
    assert found.shape == (2, 2, 3, 8, 8, 3)
    one = sampler.draw(pipeline, rows[1:], latents=[3], noises=[4])[0]
    np.testing.assert_allclose(found[1, 1, 1].astype(int), one, atol=2)
