"""AttributeDiffusionPipeline: from attributes to pictures.

Sampling starts from noise x_T and follows the scheduler down. With guidance scale ``w`` the network's answer is

    f = f(no condition) + w (f(Z, A) - f(no condition))        (classifier-free guidance; w = 1 uses f(Z, A) alone)

A classifier on the bottleneck that does not see the condition can guide too (Dhariwal and Nichol 2021, Alg. 2), with
scale ``s`` and ``g`` the gradient by x_t of ``sum_k log p(A_k | x_t)``:

    eps' = eps - s sqrt(1-ab) g,   so   v' = v - s sqrt((1-ab) / ab) g   and   x0' = x0 + s (1-ab) / sqrt(ab) g
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from diffusers import DiffusionPipeline
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils.outputs import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from gaussmix.diffusion.conditions import choose_attributes, find_attributes, unpack_rows
from gaussmix.diffusion.encoder import AttributeEncoder
from gaussmix.diffusion.schedulers import set_steps
from gaussmix.diffusion.unet import AttributeUNet
from gaussmix.latents.attributes import AttributeLatents

BUILT_IN_MODEL = Path(__file__).parents[1] / "models" / "avatars32"
"""The folder of the avatars model that comes with the package."""

StepCallback = Callable[[int, int, torch.Tensor], None]


@dataclass
class AttributePipelineOutput(BaseOutput):
    """``images``: ``(B, H, W, 3)`` uint8, or a list of B PIL images.

    ``trajectory``: with ``return_trajectory``, the estimates x0* of every step, ``(steps, B, H, W, 3)`` uint8.
    """

    images: NDArray[np.uint8] | list[Image.Image]
    trajectory: NDArray[np.uint8] | None = None


def to_uint8(images: torch.Tensor) -> NDArray[np.uint8]:
    """``(B, C, H, W)`` in [-1, 1] to ``(B, H, W, C)`` in 0 ... 255."""
    scaled = ((images.float().clamp(-1, 1) + 1) * 127.5).round()
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def check_pictures(images: NDArray[np.uint8], size: int) -> None:
    """Raises ValueError unless ``images`` are ``(M, size, size, 3)`` uint8."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (size, size, 3):
        raise ValueError(f"pictures are {images.dtype} {images.shape}; give uint8 (count, {size}, {size}, 3)")


class AttributeDiffusionPipeline(DiffusionPipeline):
    """A trained network, its scheduler, the names of its attributes and the distribution of its latents.

    Args:
        unet: the network.
        scheduler: any of `gaussmix.diffusion.schedulers.make_scheduler`.
        attribute_names: K names, in the order of the network's attributes.
        latents: `AttributeLatents.to_config`; by default the distribution of the network's config, equal shares.
        attribute_rows: rows of real attributes, packed by `gaussmix.diffusion.conditions.pack_rows`.
        training: what the model was trained on, for the record and for `gaussmix faces evaluate`.
        encoder: what reads attributes and Z off pictures, for `gaussmix.diffusion.edit`.
    """

    unet: AttributeUNet
    scheduler: Any
    encoder: AttributeEncoder | None
    _optional_components = ["encoder"]  # noqa: RUF012, diffusers' name: a folder without one still loads

    def __init__(
        self,
        unet: AttributeUNet,
        scheduler: SchedulerMixin,
        attribute_names: list[str] | None = None,
        latents: dict[str, Any] | None = None,
        attribute_rows: list[str] | None = None,
        training: dict[str, Any] | None = None,
        encoder: AttributeEncoder | None = None,
    ):
        super().__init__()
        n_attributes = unet.config["n_attributes"]
        names = list(attribute_names or ()) or [f"attribute_{k}" for k in range(n_attributes)]
        if len(names) != n_attributes:
            raise ValueError(f"{len(names)} attribute names for a network with {n_attributes} attributes")
        self.register_modules(unet=unet, scheduler=scheduler, encoder=encoder)
        self.register_to_config(
            attribute_names=names,
            latents=dict(latents or unet.latents.to_config()),
            attribute_rows=list(attribute_rows or ()),
            training=dict(training or {}),
        )

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """The K attributes that can be asked for."""
        return tuple(self.config["attribute_names"])

    @property
    def attribute_latents(self) -> AttributeLatents:
        """The distribution that Z is drawn from."""
        return AttributeLatents.from_config(self.config["latents"])

    @property
    def training(self) -> dict[str, Any]:
        """What the model was trained on: data source, size, steps ..."""
        return dict(self.config["training"])

    @classmethod
    def load(cls, folder: str | Path | None = None) -> AttributeDiffusionPipeline:
        """Load a model's folder, the model in a training run's folder, or by default the one in the package.

        The weights are turned to float32. Raises ValueError if there is no model, or a damaged one.
        """
        folder = BUILT_IN_MODEL if folder is None else Path(folder)
        for candidate in (folder, folder / "model"):
            if (candidate / "model_index.json").is_file():
                try:
                    pipeline = cls.from_pretrained(candidate, local_files_only=True)
                    pipeline.unet.float()
                    if pipeline.encoder is not None:
                        pipeline.encoder.float()
                    return pipeline
                except Exception as error:
                    raise ValueError(f"the model in {candidate} cannot be loaded: {error}") from error
        raise ValueError(
            f"no model in {folder}: expected a folder with model_index.json, or a training run with model/"
        )

    def choose_attributes(
        self, present: Sequence[str] = (), absent: Sequence[str] = (), *, count: int, seed: int = 0
    ) -> NDArray[np.uint8]:
        """Attribute vectors ``(count, K)`` with some attributes present and some absent, the others as in the data.

        Raises ValueError for unknown names (naming the nearest) and for a name on both sides.
        """
        names = self.attribute_names
        on, off = find_attributes(present, names), find_attributes(absent, names)
        for k in set(on) & set(off):
            raise ValueError(f"{names[k]} is asked for and ruled out at once")
        packed = self.config["attribute_rows"]
        rows = unpack_rows(packed, len(names)) if packed else np.zeros((1, len(names)), np.uint8)
        return choose_attributes(rows, on, off, count, np.random.default_rng(seed))

    def draw_latents(
        self,
        count: int,
        generator: torch.Generator | None = None,
        components: Mapping[str, int] | None = None,
    ) -> torch.Tensor:
        """Z for ``count`` pictures ``(count, T, N)``, ungated; ``components={"Eyeglasses": 2}`` picks modes by name."""
        positions = find_attributes(components or {}, self.attribute_names)
        wanted = dict(zip(positions, (components or {}).values(), strict=True))
        return self.attribute_latents.draw(count, generator, wanted)

    @torch.no_grad()
    def __call__(
        self,
        attributes: ArrayLike | torch.Tensor,
        latents: torch.Tensor | None = None,
        num_inference_steps: int = 10,
        guidance_scale: float = 2.0,
        generator: torch.Generator | list[torch.Generator] | None = None,
        noise: torch.Tensor | None = None,
        output_type: Literal["np", "pil"] = "pil",
        callback: StepCallback | None = None,
        return_trajectory: bool = False,
        classifier_scale: float = 0.0,
    ) -> AttributePipelineOutput:
        """Draw one picture for each row of attributes.

        Args:
            attributes: ``(B, K)`` of 0/1.
            latents: ``(B, T, N)`` Z; drawn from ``generator`` if not given.
            num_inference_steps: network evaluations (twice that with guidance), 1 ... T.
            guidance_scale: 1 follows the data, larger values follow the request more and vary less; 0 ignores it.
            generator: for Z, the noise and the scheduler's own noise; one, or a list of B, one a picture.
            noise: ``(B, C, H, W)`` standard normal x_T; drawn from ``generator`` if not given.
            output_type: ``"pil"`` for images, ``"np"`` for an array.
            callback: called as ``callback(step, timestep, x0_estimate)`` after every step.
            return_trajectory: keep x0* of every step.
            classifier_scale: how much the classifier on the bottleneck guides, 0 not at all.

        Raises ValueError for shapes that do not fit, a number of steps the scheduler cannot take, NaN guidance, and
        for classifier guidance by a model without a classifier, or with one that sees the condition.
        """
        latents_distribution = self.attribute_latents
        latents_distribution.gate(attributes)  # checks the shape and the values
        device, dtype = self.unet.device, self.unet.dtype
        wanted = torch.as_tensor(np.asarray(attributes) if not torch.is_tensor(attributes) else attributes)
        count = len(wanted)
        if output_type not in ("np", "pil"):
            raise ValueError(f"output_type is {output_type!r}; choose 'np' or 'pil'")
        if not np.isfinite(guidance_scale):
            raise ValueError(f"guidance_scale is {guidance_scale}; it must be a finite number")
        self._check_classifier_scale(classifier_scale)
        if isinstance(generator, list) and len(generator) != count:
            raise ValueError(f"{len(generator)} generators for {count} pictures; give one each or one for all")
        if latents is None:
            if isinstance(generator, list):
                latents = torch.cat([latents_distribution.draw(1, each) for each in generator])
            else:
                latents = latents_distribution.draw(count, generator)
        expected = (count, latents_distribution.n_tokens, latents_distribution.latent_dim)
        if tuple(latents.shape) != expected:
            raise ValueError(f"latents have shape {tuple(latents.shape)}; expected {expected}")
        size, channels = self.unet.config["sample_size"], self.unet.config["in_channels"]
        shape = (count, channels, size, size)
        if noise is None:
            noise = randn_tensor(shape, generator=generator, device=torch.device("cpu"))
        if tuple(noise.shape) != shape:
            raise ValueError(f"noise has shape {tuple(noise.shape)}; expected {shape}")

        sample = noise.to(device, dtype)
        latents, wanted = latents.to(device, dtype), wanted.to(device, dtype)
        guided = guidance_scale != 1
        dropped = torch.arange(2 * count if guided else count, device=device) >= count
        repeats = 2 if guided else 1
        latents, wanted = latents.repeat(repeats, 1, 1), wanted.repeat(repeats, 1)
        set_steps(self.scheduler, num_inference_steps, device)
        takes_generator = {} if generator is None else {"generator": generator}
        trajectory = []
        with self.progress_bar(total=num_inference_steps) as bar:  # pyright: ignore[reportCallIssue]
            for step, timestep in enumerate(self.scheduler.timesteps):
                model_input = self.scheduler.scale_model_input(sample, timestep).repeat(repeats, 1, 1, 1)
                answer = self.unet(model_input, timestep, latents, wanted, dropped).sample
                if guided:
                    conditional, free = answer.chunk(2)
                    answer = free + guidance_scale * (conditional - free)
                if classifier_scale:
                    answer = answer - classifier_scale * self._classifier_pull(sample, timestep, wanted[:count])
                if callback is not None or return_trajectory:
                    estimate = self.clean_estimate(answer, timestep, sample)
                    if return_trajectory:
                        trajectory.append(to_uint8(estimate))
                    if callback is not None:
                        callback(step, int(timestep), estimate)
                sample = self.scheduler.step(answer, timestep, sample, **takes_generator).prev_sample
                bar.update()
        pictures = to_uint8(sample)
        return AttributePipelineOutput(
            images=[Image.fromarray(picture) for picture in pictures] if output_type == "pil" else pictures,
            trajectory=np.stack(trajectory) if trajectory else None,
        )

    def _check_classifier_scale(self, scale: float) -> None:
        if not np.isfinite(scale):
            raise ValueError(f"classifier_scale is {scale}; it must be a finite number")
        if not scale:
            return
        if self.unet.head is None:
            raise ValueError(
                f"classifier_scale is {scale:g}, but the model has no classifier; "
                "train one with --classifier-weight 0.1 --injection up"
            )
        if self.unet.classifier_leaks:
            raise ValueError(
                f"classifier_scale is {scale:g}, but the model's classifier was trained to see the condition and need "
                "not know the image; train with --injection up or --classifier-pass unconditioned"
            )

    def _classifier_pull(self, sample: torch.Tensor, timestep: torch.Tensor, attributes: torch.Tensor) -> torch.Tensor:
        """What classifier guidance of scale 1 takes from the network's answer, ``(B, C, H, W)``."""
        with torch.enable_grad():
            x = sample.detach().requires_grad_()
            logits = self.unet.classify(x, timestep).float()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, attributes.float(), reduction="sum")
            (gradient,) = torch.autograd.grad(-loss, x)
        alpha_bar = self.scheduler.alphas_cumprod[int(timestep)].to(sample.device, sample.dtype)
        if self.scheduler.config.prediction_type == "v_prediction":
            return ((1 - alpha_bar) / alpha_bar).sqrt() * gradient
        return (1 - alpha_bar).sqrt() * gradient

    def clean_estimate(self, answer: torch.Tensor, timestep: torch.Tensor | int, sample: torch.Tensor) -> torch.Tensor:
        """x0* from the network's answer at ``timestep``, clamped to [-1, 1]."""
        alpha_bar = self.scheduler.alphas_cumprod[int(timestep)].to(sample.device, sample.dtype)
        if self.scheduler.config.prediction_type == "v_prediction":
            estimate = alpha_bar.sqrt() * sample - (1 - alpha_bar).sqrt() * answer
        else:
            estimate = (sample - (1 - alpha_bar).sqrt() * answer) / alpha_bar.sqrt()
        return estimate.clamp(-1, 1)
