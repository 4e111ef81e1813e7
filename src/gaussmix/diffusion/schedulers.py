r"""Noise schedules and samplers for the attribute-conditioned diffusion model (D Sec. 3.2).

Symbols, for t = 1..T as in the paper (arrays and diffusers count from 0, so entry t - 1 holds step t):

    alpha_t = 1 - beta_t,  ab_t = alpha_1 ... alpha_t,  ab_0 = 1
    x_t     = sqrt(ab_t) x_0 + sqrt(1 - ab_t) eps,  eps ~ N(0, I)
    v_t     = sqrt(ab_t) eps - sqrt(1 - ab_t) x_0   (the `get_velocity` of diffusers' schedulers)

The angle arccos sqrt(ab_t) runs from 0 (clean) to pi/2 (noise); `angle_weights` draws training steps evenly
along it. Four samplers share one schedule: `RenoiseScheduler` (the paper's), and diffusers' DDPM, DDIM and
DPM-Solver++.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal, get_args

import numpy as np
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler, DDIMSchedulerOutput
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

# Needed at run time, not only for types: to reload a pipeline, diffusers looks the base class of a component
# up in the module that defines the component.
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

BetaSchedule = Literal["constant", "linear", "cosine"]
SchedulerName = Literal["renoise", "ddpm", "ddim", "dpm++"]
PredictionType = Literal["epsilon", "v_prediction"]
Scheduler = DDIMScheduler | DDPMScheduler | DPMSolverMultistepScheduler  # RenoiseScheduler is a DDIMScheduler

_FITTING = (DDPMScheduler, DDIMScheduler, DPMSolverMultistepScheduler)
SCHEDULER_NAMES: tuple[SchedulerName, ...] = get_args(SchedulerName)

_LAST_ANGLE = 0.995 * np.pi / 2  # of "cosine": ab_T = 6e-5
_LEAST_ANGLE = 0.04  # at which DPM-Solver++ ends on even angles: below, nothing is left to say
_MAX_FINAL_ALPHA_BAR = 1e-2  # above it x_T visibly differs from the N(0, I) that sampling starts from


def make_betas(
    schedule: BetaSchedule,
    num_train_timesteps: int,
    *,
    beta: float | None = None,
    beta_start: float = 1e-4,
    beta_end: float = 0.02,
) -> np.ndarray:
    """Return the variances beta_t of the noise added at each step, ``(T,)`` float64.

    Every sampler here ends with a posterior mean at the lowest level it visits, so detail whose variance is
    below the noise there, (1 - ab) / ab, is averaged away: .075 at the first level of "constant", .44 at the
    fifth, which is the last one visited by 20 trailing steps of 100. Warns if ab_T > .01.

    Parameters
    ----------
    schedule : {"constant", "linear", "cosine"}
        beta_t = ``beta``, or from ``beta_start`` to ``beta_end``, or such that the angle arccos sqrt(ab_t) grows evenly
        up to .995 pi / 2 (Nichol and Dhariwal 2021, without their offset).
    num_train_timesteps : int
        T.
    beta : float, optional
        By default 1 - .93^(100 / T): .07 at T = 100, and ab_T = .93^100 = 7e-4 for every T.
    beta_start, beta_end : float
        The defaults are DDPM's, made for T = 1000 (ab_T = 4e-5).

    Raises
    ------
    ValueError
        For an unknown schedule, T < 1, or a beta outside (0, 1).
    """
    if schedule not in get_args(BetaSchedule):
        raise ValueError(f"schedule={schedule!r} is unknown: choose 'constant', 'linear' or 'cosine'")
    if not isinstance(num_train_timesteps, int | np.integer) or num_train_timesteps < 1:
        raise ValueError(f"num_train_timesteps={num_train_timesteps!r}: give a whole number of at least 1")
    if schedule != "constant" and beta is not None:
        raise ValueError(f"beta={beta!r} belongs to 'constant': give beta_start and beta_end for 'linear'")
    if schedule == "cosine":
        alpha_bars = np.cos(_LAST_ANGLE * np.arange(num_train_timesteps + 1) / num_train_timesteps) ** 2
        return 1 - alpha_bars[1:] / alpha_bars[:-1]
    if schedule == "constant":
        if beta is None:
            beta = -float(np.expm1(100 / num_train_timesteps * np.log1p(-0.07)))
        _check_beta("beta", beta)
        betas, remedy = np.full(num_train_timesteps, beta, dtype=np.float64), "beta"
    else:
        _check_beta("beta_start", beta_start)
        _check_beta("beta_end", beta_end)
        if beta_start > beta_end:
            raise ValueError(f"beta_start={beta_start!r} exceeds beta_end={beta_end!r}: swap them")
        betas, remedy = np.linspace(beta_start, beta_end, num_train_timesteps), "beta_end"
    final = float(np.prod(1 - betas))
    if final > _MAX_FINAL_ALPHA_BAR:
        warnings.warn(
            f"alpha_bar_T = {final:.3g} is above {_MAX_FINAL_ALPHA_BAR}: the last noise level still shows "
            f"the picture, but sampling starts from pure noise; raise {remedy} or num_train_timesteps",
            stacklevel=2,
        )
    return betas


def angle_weights(betas: np.ndarray) -> np.ndarray:
    """Probability ``(T,)`` of drawing each training step, for ``betas`` ``(T,)``.

    Proportional to the increments of arccos sqrt(ab_t), starting from arccos(1) = 0: steps are then drawn
    evenly along the path from picture to noise, and not mostly among the last ones, where all is noise.
    """
    alpha_bars = np.cumprod(1 - _check_betas(betas))
    increments = np.diff(np.arccos(np.sqrt(alpha_bars)), prepend=0.0)
    return increments / increments.sum()


class RenoiseScheduler(DDIMScheduler):
    r"""The paper's sampler: estimate the picture, then noise the estimate to the next lower level (D Eq. 10).

        x0*     = (x_t - sqrt(1 - ab_t) eps(x_t, t)) / sqrt(ab_t)
        x_{t-1} = sqrt(ab_{t-1}) x0* + sqrt(1 - ab_{t-1}) z,   z ~ N(0, I), fresh at every step

    The last step returns x0* exactly (ab_0 = 1). With fewer than T steps, t - 1 is the next step visited.

    Differs from the paper: Eq. 10 prints one ab, without an index, in both lines, and calls the fresh noise eps. The
    second line must use the lower level t - 1, or no step would ever lower the noise.

    This is DDIM at its largest sigma, sigma_t^2 = 1 - ab_{t-1}, which keeps nothing of the predicted eps
    (DDIMScheduler's ``eta`` cannot reach it: rounding makes a radicand negative and the result NaN), and it has the
    form of multistep consistency sampling. It is under-dispersed even with an exact eps: x0* is a posterior mean, and
    the spread around that mean is never put back. For 1-D Gaussian data of variance v, the variance V_t of x_t follows

        V_{t-1} = ab_{t-1} k_t^2 V_t + 1 - ab_{t-1},   k_t = sqrt(ab_t) v / (ab_t v + 1 - ab_t),

    and ends at V_0 < v.

    Arguments, prediction types, clipping and thresholding of x0* are those of DDIMScheduler. Its default
    ``timestep_spacing`` is "leading"; `make_scheduler` sets "trailing", which always starts at t = T.
    """

    def set_timesteps(self, num_inference_steps: int, device: str | torch.device | None = None) -> None:
        """Choose the steps to visit, highest first.

        Parameters
        ----------
        num_inference_steps, device : int, torch.device
            How many, 1 ... T, and where they are kept.

        Raises
        ------
        ValueError
            For more than T, or without T betas.
        """
        total = self.config["num_train_timesteps"]
        if len(self.betas) != total:
            raise ValueError(f"{len(self.betas)} betas for num_train_timesteps={total}: give one for each step")
        super().set_timesteps(num_inference_steps, device=device)  # pyright: ignore[reportArgumentType]
        # For some counts (29 of 100) rounding makes diffusers' trailing spacing add a step -1.
        self.timesteps = self.timesteps[self.timesteps >= 0]

    # DDIM's eta, use_clipped_model_output and variance_noise have no meaning here.
    def step(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        model_output: Tensor,
        timestep: int | Tensor,
        sample: Tensor,
        generator: torch.Generator | list[torch.Generator] | None = None,
        return_dict: bool = True,
    ) -> DDIMSchedulerOutput | tuple[Tensor, Tensor]:
        """Do one step of D Eq. 10: return x_{t-1} as ``prev_sample`` and x0* as ``pred_original_sample``.

        Parameters
        ----------
        model_output, timestep, sample : tensor, int, tensor
            The network's answer ``(B, ...)`` to x_t ``(B, ...)``, and t, one of ``timesteps``.
        generator : torch.Generator or list of torch.Generator, optional
            Draws z; a list has one for each of the B samples.
        return_dict : bool
            Otherwise a tuple of both.

        Raises
        ------
        ValueError
            Before `set_timesteps`, and for a ``timestep`` that is not among ``timesteps``.
        """
        t = int(timestep)
        # DDIM's own estimate of x0, for every prediction type, clipped or thresholded as configured.
        x0 = super().step(model_output, t, sample, return_dict=False)[1]
        visited = self.timesteps.tolist()
        if t not in visited:
            raise ValueError(f"timestep={t} is not among the {len(visited)} chosen: loop over scheduler.timesteps")
        prev_sample = x0
        if t != visited[-1]:
            alpha_bar = self.alphas_cumprod[visited[visited.index(t) + 1]]
            z = randn_tensor(tuple(x0.shape), generator=generator, device=x0.device, dtype=x0.dtype)
            prev_sample = alpha_bar**0.5 * x0 + (1 - alpha_bar) ** 0.5 * z
        if not return_dict:
            return prev_sample, x0
        return DDIMSchedulerOutput(prev_sample=prev_sample, pred_original_sample=x0)


def make_scheduler(
    name: SchedulerName, betas: np.ndarray, prediction_type: PredictionType, *, bounded: bool = True
) -> Scheduler:
    """Return a sampler.

    Parameters
    ----------
    name : {"renoise", "ddpm", "ddim", "dpm++"}
        `RenoiseScheduler`, or diffusers' own. "dpm++", the quickest to a good picture, is second-order multistep
        DPM-Solver++, on noise levels spaced as by Karras et al. (2022) from t = T down to t = 1, or on even angles
        down to .04 where the schedule has these. The others use trailing spacing: they start at t = T and, with fewer
        than T steps, leave off above t = 1.
    betas : ndarray
        The schedule ``(T,)``, variances.
    prediction_type : {"epsilon", "v_prediction"}
        What the network predicts.
    bounded : bool
        What is noised lies in [-1, 1], as pixels do: estimates x0* are clipped ("dpm++": thresholded) to that.

    Raises
    ------
    ValueError
        For an unknown name or prediction type, and for betas that are not in (0, 1).
    """
    if prediction_type not in get_args(PredictionType):
        raise ValueError(f"prediction_type={prediction_type!r} is unknown: choose 'epsilon' or 'v_prediction'")
    checked = _check_betas(betas)
    common: dict[str, Any] = {
        "num_train_timesteps": len(checked),
        "trained_betas": checked.tolist(),  # a list, because the config is saved as JSON
        "prediction_type": prediction_type,
        "timestep_spacing": "trailing",
    }
    clipping = {"renoise": RenoiseScheduler, "ddpm": DDPMScheduler, "ddim": DDIMScheduler}
    if name in clipping:
        return clipping[name](**common, clip_sample=bounded)
    if name == "dpm++":
        # Karras's levels end at t = 1; trailing spacing would leave off at t = 5, visibly grainy.
        common |= {"solver_order": 2, "algorithm_type": "dpmsolver++", "use_karras_sigmas": not _are_even(checked)}
        return DPMSolverMultistepScheduler(**common, thresholding=bounded, sample_max_value=1.0)
    raise ValueError(f"scheduler {name!r} is unknown: choose one of {', '.join(SCHEDULER_NAMES)}")


def switch_scheduler(scheduler: SchedulerMixin, name: SchedulerName) -> Scheduler:
    """Return another sampler on the schedule and prediction type of a scheduler.

    Parameters
    ----------
    scheduler : scheduler
        What there is.
    name : {"renoise", "ddpm", "ddim", "dpm++"}
        As in `make_scheduler`.

    Raises
    ------
    ValueError
        Where ``scheduler`` has no betas (flow matching), or predicts neither eps nor v.
    """
    config: Any = getattr(scheduler, "config", {})
    betas = config.get("trained_betas")
    if betas is None:
        betas = getattr(scheduler, "betas", None)
    if betas is None:
        raise ValueError(f"{type(scheduler).__name__} has no betas: build {name!r} with make_scheduler")
    bounded = bool(config.get("thresholding") or config.get("clip_sample"))
    return make_scheduler(name, np.asarray(betas, dtype=np.float64), config.get("prediction_type"), bounded=bounded)


def check_fits(scheduler: Any, alpha_bar: Tensor | None, prediction_type: str | None, *, bounded: bool) -> None:
    """Refuse a scheduler that would be accepted and draw wrongly.

    Those of other classes scale x_t otherwise, or visit places between the levels of noise that the network knows.

    Parameters
    ----------
    scheduler : scheduler
        What is to be used.
    alpha_bar, prediction_type : tensor or None, str or None
        Of the scheduler that the model came with, ``(T,)``.
    bounded : bool
        What is noised lies in [-1, 1].

    Raises
    ------
    ValueError
        Naming what fits, and how it is made.
    """
    name, known = type(scheduler).__name__, [each.__name__ for each in _FITTING]
    if not isinstance(scheduler, _FITTING):
        raise ValueError(
            f"{name} does not fit this model; {', '.join(known)} do: "
            "make one with gaussmix.diffusion.schedulers.switch_scheduler(pipeline.scheduler, 'ddim')"
        )
    config, levels = scheduler.config, scheduler.alphas_cumprod
    remedy = f"make it with {name}.from_config(pipeline.scheduler.config)"
    if alpha_bar is not None and (levels.shape != alpha_bar.shape or not torch.allclose(levels, alpha_bar, atol=1e-5)):
        raise ValueError(f"this {name} has {len(levels)} levels of noise that are not the model's; {remedy}")
    if config["prediction_type"] != prediction_type:
        raise ValueError(f"this {name} predicts {config['prediction_type']}, the model {prediction_type}; {remedy}")
    if not bounded and (config.get("clip_sample") or config.get("thresholding")):
        raise ValueError(
            f"this {name} clips to [-1, 1], and what this model noises is not bounded; {remedy[:-1]}, "
            "clip_sample=False, thresholding=False)"
        )


def set_steps(scheduler: Scheduler, steps: int, device: str | torch.device | None = None) -> None:
    """``scheduler.set_timesteps(steps)``, refusing the counts that diffusers 0.42 accepts but samples wrongly.

    DDIM moves by T // steps, whatever the next step is: with a count that does not divide T, the noise left
    in x and the level the network is told differ, and the last step may keep noise. Trailing spacing adds a
    step -1 for a few counts (29 of 100). Raises ValueError with the nearest smaller count that works.
    """
    total = int(scheduler.config["num_train_timesteps"])
    if not 1 <= steps <= total:
        raise ValueError(f"steps={steps}: the model was trained with T={total} steps, choose 1 to {total}")

    if isinstance(scheduler, DPMSolverMultistepScheduler) and not scheduler.config["use_karras_sigmas"]:
        angles = np.arccos(np.sqrt(scheduler.alphas_cumprod.double().numpy()))
        last = int(np.argmin(abs(angles - _LEAST_ANGLE)))
        places = np.unique(np.linspace(total - 1, min(last, total - steps), steps).round().astype(int))[::-1]
        scheduler.set_timesteps(device=device, timesteps=places.tolist())  # pyright: ignore[reportArgumentType]
        return

    def works(count: int) -> bool:
        scheduler.set_timesteps(count, device=device)  # pyright: ignore[reportArgumentType]
        return len(scheduler.timesteps) == count and (total % count == 0 or type(scheduler) is not DDIMScheduler)

    if not works(steps):
        usable = next(count for count in range(steps - 1, 0, -1) if works(count))
        raise ValueError(f"{type(scheduler).__name__} cannot take {steps} even steps of T={total}: try {usable}")


def _are_even(betas: np.ndarray) -> bool:
    """Whether angles grow evenly, as those of "cosine" do."""
    angles = np.arccos(np.sqrt(np.cumprod(1 - betas)))
    return bool(np.ptp(np.diff(angles, prepend=0.0)) < 1e-6)


def _check_beta(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name}={value!r} is outside (0, 1): give a variance such as 0.02")


def _check_betas(betas: np.ndarray) -> np.ndarray:
    array = np.asarray(betas, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"betas has shape {array.shape}: give one value a step, (T,), as make_betas does")
    if not ((array > 0) & (array < 1)).all():
        raise ValueError(f"betas run from {array.min()} to {array.max()}: all must lie in (0, 1), see make_betas")
    return array
