"""Schedules, the four samplers, and RenoiseScheduler against a literal loop and a closed form."""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from oracles.renoise import alpha_bar, ddim_loop, renoise_loop, renoise_variances

from gaussmix.diffusion.schedulers import (
    SCHEDULER_NAMES,
    PredictionType,
    RenoiseScheduler,
    Scheduler,
    SchedulerName,
    angle_weights,
    make_betas,
    make_scheduler,
    set_steps,
    switch_scheduler,
)

T = 100
SHAPE = (2, 3, 4, 4)
BETAS = make_betas("constant", T)
PREDICTIONS: tuple[PredictionType, ...] = get_args(PredictionType)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def start(shape: tuple[int, ...] = SHAPE, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def noises(seed: int) -> Iterator[np.ndarray]:
    draws = generator(seed)
    while True:
        yield torch.randn(SHAPE, generator=draws, dtype=torch.float64).numpy()


def predict(x: torch.Tensor, t: int) -> torch.Tensor:
    """Stands in for a network: smooth, bounded, different at every step."""
    return 0.9 * torch.tanh(0.7 * x + 0.3 * math.cos(t))


def predict_numpy(x: np.ndarray, t: int) -> np.ndarray:
    return 0.9 * np.tanh(0.7 * x + 0.3 * math.cos(t))


def sample(scheduler: Any, x: torch.Tensor, **step: Any) -> torch.Tensor:
    """A full loop over the timesteps already set; asserts that every x stays finite."""
    for t in scheduler.timesteps:
        x = scheduler.step(predict(x, int(t)), t, x, **step).prev_sample
        assert torch.isfinite(x).all(), f"not finite after step {int(t)}"
    return x


def make(name: str, prediction: str = "epsilon") -> Any:
    """`make_scheduler` on BETAS. Any, because diffusers' types of what `step` returns are too loose."""
    return make_scheduler(name, BETAS, prediction)  # pyright: ignore[reportArgumentType]


class TestBetas:
    def test_constant_default_is_07_at_100_steps(self):
        np.testing.assert_allclose(make_betas("constant", 100), np.full(100, 0.07), rtol=1e-12)

    @pytest.mark.parametrize("steps", [1, 10, 400, 1000])
    def test_constant_default_ends_at_the_same_alpha_bar(self, steps: int):
        assert np.prod(1 - make_betas("constant", steps)) == pytest.approx(0.93**100, rel=1e-9)

    def test_linear_is_the_schedule_of_ddpm(self):
        expected = DDPMScheduler().betas
        np.testing.assert_allclose(make_betas("linear", 1000), expected.numpy(), rtol=1e-5)

    def test_warns_of_a_last_level_that_is_not_noise(self):
        with pytest.warns(UserWarning, match=r"alpha_bar_T = 0\.0769 .* raise beta or num_train_timesteps"):
            make_betas("constant", 50, beta=0.05)
        with pytest.warns(UserWarning, match=r"alpha_bar_T = 0\.364 .* raise beta_end"):
            make_betas("linear", 100)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            make_betas("constant", 100, beta=0.046)  # alpha_bar_T = 9.0e-3

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"schedule": "sine"}, "'sine' is unknown: choose 'constant', 'linear' or 'cosine'"),
            ({"schedule": "cosine", "beta": 0.1}, r"beta=0\.1 belongs to 'constant'"),
            ({"num_train_timesteps": 0}, "num_train_timesteps=0"),
            ({"num_train_timesteps": 10.0}, r"num_train_timesteps=10\.0"),
            ({"beta": 0.0}, r"beta=0\.0 is outside \(0, 1\)"),
            ({"beta": 1.0}, r"beta=1\.0 is outside"),
            ({"beta": float("nan")}, "beta=nan is outside"),
            ({"schedule": "linear", "beta": 0.1}, r"beta=0\.1 belongs to 'constant'"),
            ({"schedule": "linear", "beta_start": 0.0}, r"beta_start=0\.0 is outside"),
            ({"schedule": "linear", "beta_end": 1.5}, r"beta_end=1\.5 is outside"),
            ({"schedule": "linear", "beta_start": 0.3, "beta_end": 0.2}, "exceeds beta_end=0.2"),
        ],
    )
    def test_errors(self, arguments: dict[str, Any], message: str):
        with pytest.raises(ValueError, match=message):
            make_betas(**{"schedule": "constant", "num_train_timesteps": 100, **arguments})


class TestAngleWeights:
    @pytest.mark.parametrize("betas", [BETAS, make_betas("linear", 1000), np.array([0.5])])
    def test_equals_the_increments_of_the_angle(self, betas: np.ndarray):
        angles = [math.acos(math.sqrt(alpha_bar(betas.tolist(), t))) for t in range(-1, len(betas))]
        expected = [(high - low) / angles[-1] for low, high in pairwise(angles)]
        np.testing.assert_allclose(angle_weights(betas), expected, atol=1e-9)
        assert angle_weights(betas).sum() == pytest.approx(1)

    def test_half_the_draws_lie_below_half_the_angle(self):
        angle = np.arccos(np.sqrt(np.cumprod(1 - BETAS)))
        below = angle_weights(BETAS)[angle <= angle[-1] / 2].sum()
        assert below == pytest.approx(0.5, abs=angle_weights(BETAS).max())
        assert (angle <= angle[-1] / 2).mean() < 0.15  # uniform t spends almost nothing there

    @pytest.mark.parametrize("betas", [np.ones((2, 2)) / 3, np.array([]), np.array([0.1, 1.0]), [0.1, math.nan]])
    def test_errors(self, betas: Any):
        with pytest.raises(ValueError, match="betas"):
            angle_weights(betas)


class TestRenoise:
    @pytest.mark.parametrize("steps", [T, 30, 29, 1])
    @pytest.mark.parametrize("prediction", PREDICTIONS)
    def test_equals_the_literal_loop(self, steps: int, prediction: PredictionType):
        scheduler = make("renoise", prediction)
        scheduler.set_timesteps(steps)
        visited = scheduler.timesteps.tolist()
        assert len(visited) == steps
        assert visited[0] == T - 1
        expected = renoise_loop(
            predict_numpy, start().numpy(), BETAS.tolist(), visited, noises(5), velocity=prediction == "v_prediction"
        )
        result = sample(scheduler, start(), generator=generator(5))
        np.testing.assert_allclose(result.numpy(), expected, atol=1e-5)

    @pytest.mark.parametrize(("v", "steps"), [(0.25, 50), (1.0, 20), (4.0, 20)])
    def test_variance_follows_the_recursion_with_an_exact_score(self, v: float, steps: int):
        scheduler: Any = RenoiseScheduler.from_config(make("renoise").config, clip_sample=False)
        scheduler.set_timesteps(steps)
        visited = scheduler.timesteps.tolist()
        variances = renoise_variances(v, BETAS.tolist(), visited)
        draws = generator()
        x = torch.randn(300_000, generator=draws, dtype=torch.float64)
        for t, variance in zip(visited, variances, strict=True):
            ab = alpha_bar(BETAS.tolist(), t)
            eps = math.sqrt(1 - ab) / (ab * v + 1 - ab) * x  # E[eps | x_t]
            x = scheduler.step(eps, t, x, generator=draws).prev_sample
            assert float(x.var()) == pytest.approx(variance, rel=1e-2)
        assert variances[-1] < 0.99 * v, "under-dispersed although the score is exact"

    def test_last_step_returns_the_estimate_and_draws_nothing(self):
        scheduler = make("renoise")
        scheduler.set_timesteps(10)
        draws = generator()
        before = draws.get_state()
        x = 0.1 * start()
        t = int(scheduler.timesteps[-1])
        result = scheduler.step(predict(x, t), t, x, generator=draws)
        assert torch.equal(result.prev_sample, result.pred_original_sample)
        ab = alpha_bar(BETAS.tolist(), t)
        torch.testing.assert_close(
            result.prev_sample, (x - math.sqrt(1 - ab) * predict(x, t)) / math.sqrt(ab), atol=1e-6, rtol=0
        )
        assert torch.equal(draws.get_state(), before)

    def test_generator_decides_the_noise(self):
        scheduler = make("renoise", "v_prediction")
        scheduler.set_timesteps(10)
        first = sample(scheduler, start(), generator=generator(3))
        assert torch.equal(first, sample(scheduler, start(), generator=generator(3)))
        assert not torch.allclose(first, sample(scheduler, start(), generator=generator(4)), atol=1e-2)

    def test_noise_is_fresh_at_every_step(self):
        scheduler = make("renoise")
        scheduler.set_timesteps(T)
        draws, zero, ab = generator(), torch.zeros(SHAPE, dtype=torch.float64), np.cumprod(1 - BETAS)
        z = [scheduler.step(zero, t, zero, generator=draws).prev_sample / math.sqrt(1 - ab[t - 1]) for t in (60, 59)]
        correlation = np.corrcoef(z[0].flatten(), z[1].flatten())[0, 1]
        assert abs(correlation) < 0.4

    def test_list_of_generators_draws_for_each_sample_alone(self):
        scheduler = make("renoise")
        scheduler.set_timesteps(10)
        both = sample(scheduler, start(), generator=[generator(7), generator(8)])
        for row, seed in enumerate((7, 8)):
            alone = sample(scheduler, start()[row : row + 1], generator=generator(seed))
            assert torch.equal(both[row : row + 1], alone)

    def test_tuple_and_output_agree_and_keep_the_type(self):
        scheduler = make("renoise", "v_prediction")
        scheduler.set_timesteps(T)
        x = start().float()
        output = scheduler.step(predict(x, 50), torch.tensor(50), x, generator=generator())
        previous, original = scheduler.step(predict(x, 50), 50, x, generator=generator(), return_dict=False)
        assert torch.equal(output.prev_sample, previous)
        assert torch.equal(output.pred_original_sample, original)
        assert previous.dtype == original.dtype == torch.float32

    def test_clipping_and_thresholding_are_those_of_the_parent(self):
        x = 3 * start()
        for options in (
            {"clip_sample": True, "clip_sample_range": 0.7},
            {"thresholding": True, "sample_max_value": 2.0},
        ):
            config = make("renoise").config
            outputs = []
            for kind in (RenoiseScheduler, DDIMScheduler):
                scheduler: Any = kind.from_config(config, **options)
                scheduler.set_timesteps(T)
                outputs.append(scheduler.step(predict(x, 60), 60, x).pred_original_sample)
            assert torch.equal(*outputs)
            assert outputs[0].abs().max() == pytest.approx(options.get("clip_sample_range", 1.0))

    def test_errors(self):
        scheduler = make("renoise")
        with pytest.raises(ValueError, match="set_timesteps"):
            scheduler.step(start(), 10, start())
        with pytest.raises(ValueError, match="101"):
            scheduler.set_timesteps(T + 1)
        with pytest.raises(ValueError, match="50 betas for num_train_timesteps=100"):
            RenoiseScheduler(num_train_timesteps=T, trained_betas=[0.1] * 50).set_timesteps(10)
        scheduler.set_timesteps(10)
        with pytest.raises(ValueError, match="timestep=98 is not among the 10 chosen"):
            scheduler.step(start(), 98, start())


class TestMakeScheduler:
    @pytest.mark.parametrize("prediction", PREDICTIONS)
    @pytest.mark.parametrize("steps", [T, 25])
    @pytest.mark.parametrize("name", ["ddim", "ddpm", "dpm++"])
    def test_equals_diffusers_own(self, name: SchedulerName, steps: int, prediction: PredictionType):
        arguments: dict[str, Any] = {
            "num_train_timesteps": T,
            "beta_schedule": "linear",
            "beta_start": 0.07,
            "beta_end": 0.07,
            "prediction_type": prediction,
            "timestep_spacing": "trailing",
        }
        reference: Any = {
            "ddim": lambda: DDIMScheduler(**arguments),
            "ddpm": lambda: DDPMScheduler(**arguments),
            "dpm++": lambda: DPMSolverMultistepScheduler(**arguments, thresholding=True, use_karras_sigmas=True),
        }[name]()
        scheduler = make(name, prediction)
        for each in (scheduler, reference):
            each.set_timesteps(steps)
        torch.testing.assert_close(
            sample(scheduler, start(), generator=generator()),
            sample(reference, start(), generator=generator()),
            atol=1e-5,
            rtol=0,
        )

    @pytest.mark.parametrize("prediction", PREDICTIONS)
    @pytest.mark.parametrize("steps", [T, 25, 1])
    def test_ddim_equals_the_literal_loop(self, steps: int, prediction: PredictionType):
        scheduler = make("ddim", prediction)
        scheduler.set_timesteps(steps)
        expected = ddim_loop(
            predict_numpy,
            start().numpy(),
            BETAS.tolist(),
            scheduler.timesteps.tolist(),
            velocity=prediction == "v_prediction",
        )
        np.testing.assert_allclose(sample(scheduler, start()).numpy(), expected, atol=1e-5)

    @pytest.mark.parametrize("prediction", PREDICTIONS)
    @pytest.mark.parametrize("steps", [T, 25, 1])
    @pytest.mark.parametrize("name", SCHEDULER_NAMES)
    def test_samples_stay_finite_and_in_range(self, name: SchedulerName, steps: int, prediction: PredictionType):
        scheduler = make(name, prediction)
        set_steps(scheduler, steps)
        assert int(scheduler.timesteps[0]) == T - 1, "sampling starts at the noisiest level"
        result = sample(scheduler, start().float(), generator=generator())
        assert result.dtype == torch.float32
        assert result.abs().max() <= 1

    def test_only_renoise_shrinks_gaussian_data(self):
        v = 0.04  # clipping to [-1, 1] is five standard deviations away
        betas = make_betas("linear", T, beta_start=1e-3, beta_end=0.14)
        ratio = {}
        for name in SCHEDULER_NAMES:
            scheduler: Any = make_scheduler(name, betas, "v_prediction")
            set_steps(scheduler, T)
            x = start((20_000, 1, 1))
            for t in scheduler.timesteps:
                ab = alpha_bar(betas.tolist(), int(t))
                velocity = math.sqrt(ab * (1 - ab)) * (1 - v) / (ab * v + 1 - ab) * x  # E[v_t | x_t]
                x = scheduler.step(velocity, t, x).prev_sample
            ratio[name] = float(x.var()) / v
        assert ratio["renoise"] < 0.5
        assert all(0.75 < ratio[name] < 1.05 for name in ("ddpm", "ddim", "dpm++")), ratio

    @pytest.mark.parametrize("name", ["renoise", "ddpm", "ddim"])
    def test_true_eps_or_velocity_gives_the_picture_back(self, name: SchedulerName):
        x0, eps, t = 0.3 * start().clamp(-3, 3), start(seed=2), torch.tensor([40, 40])
        for prediction in PREDICTIONS:
            scheduler = make(name, prediction)
            scheduler.set_timesteps(T)
            target = eps if prediction == "epsilon" else scheduler.get_velocity(x0, eps, t)
            output = scheduler.step(target, 40, scheduler.add_noise(x0, eps, t), generator=generator())
            torch.testing.assert_close(output.pred_original_sample, x0, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("name", SCHEDULER_NAMES)
    def test_saved_scheduler_reloads_the_same(self, name: SchedulerName, tmp_path: Path):
        betas = make_betas("linear", 50, beta_start=0.02, beta_end=0.3)
        scheduler = make_scheduler(name, betas, "v_prediction")
        scheduler.save_pretrained(tmp_path)
        reloaded: Any = type(scheduler).from_pretrained(tmp_path)
        assert type(reloaded) is type(scheduler)
        assert reloaded.config["trained_betas"] == betas.tolist()
        for each in (scheduler, reloaded):
            set_steps(each, 10)
        results = [sample(each, start(), generator=generator()) for each in (scheduler, reloaded)]
        assert torch.equal(*results)

    def test_pipeline_with_renoise_reloads(self, tmp_path: Path):
        pipeline = OnlyScheduler(scheduler=make("renoise", "v_prediction"))
        pipeline.save_pretrained(tmp_path)
        reloaded = OnlyScheduler.from_pretrained(tmp_path).scheduler
        assert type(reloaded) is RenoiseScheduler
        assert reloaded.config["trained_betas"] == BETAS.tolist()

    def test_errors(self):
        with pytest.raises(ValueError, match=r"'euler' is unknown: choose one of renoise, ddpm, ddim, dpm\+\+"):
            make("euler")  # pyright: ignore[reportArgumentType]
        with pytest.raises(ValueError, match="prediction_type='sample' is unknown"):
            make("ddim", "sample")  # pyright: ignore[reportArgumentType]
        with pytest.raises(ValueError, match="betas has shape"):
            make_scheduler("ddim", BETAS[None], "epsilon")


class OnlyScheduler(DiffusionPipeline):
    scheduler: Any

    def __init__(self, scheduler: Scheduler):
        super().__init__()
        self.register_modules(scheduler=scheduler)


class TestSwitch:
    @pytest.mark.parametrize("source", SCHEDULER_NAMES)
    @pytest.mark.parametrize("name", SCHEDULER_NAMES)
    def test_equals_the_one_made_directly(self, source: SchedulerName, name: SchedulerName):
        direct = make(name, "v_prediction")
        switched = switch_scheduler(make(source, "v_prediction"), name)
        assert type(switched) is type(direct)
        assert dict(switched.config) == dict(direct.config)

    def test_takes_the_betas_of_a_plain_scheduler(self):
        plain = DDPMScheduler(beta_schedule="squaredcos_cap_v2")
        switched = switch_scheduler(plain, "renoise")
        assert torch.equal(switched.betas, plain.betas)
        assert switched.config["prediction_type"] == "epsilon"

    def test_errors(self):
        flow = FlowMatchEulerDiscreteScheduler()
        with pytest.raises(ValueError, match="FlowMatchEulerDiscreteScheduler has no betas"):
            switch_scheduler(flow, "ddim")
        with pytest.raises(ValueError, match="choose one of renoise"):
            switch_scheduler(
                make("ddim"),
                "heun",  # pyright: ignore[reportArgumentType]
            )


class TestSetSteps:
    @pytest.mark.parametrize("name", SCHEDULER_NAMES)
    def test_every_accepted_count_descends_from_the_top(self, name: SchedulerName):
        scheduler = make(name, "v_prediction")
        refused = []
        for steps in range(1, T + 1):
            try:
                set_steps(scheduler, steps)
            except ValueError:
                refused.append(steps)
                continue
            visited = scheduler.timesteps.tolist()
            assert len(visited) == steps
            assert visited[0] == T - 1
            assert visited[-1] >= 0
            # Karras noise levels lie between the trained ones, and neighbours may round to the same step.
            falls = operator.ge if name == "dpm++" else operator.gt
            assert all(falls(high, low) for high, low in pairwise(visited))
        if name == "renoise":
            assert refused == []
        if name == "ddim":
            assert refused == [steps for steps in range(1, T + 1) if T % steps]

    def test_errors_name_a_count_that_works(self):
        with pytest.raises(ValueError, match="DDIMScheduler cannot take 30 even steps of T=100: try 25"):
            set_steps(make("ddim"), 30)
        for steps in (0, 101):
            with pytest.raises(ValueError, match=f"steps={steps}: the model was trained with T=100 steps"):
                set_steps(make("dpm++"), steps)
