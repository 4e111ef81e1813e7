"""AttributeDiffusionPipeline: from attributes to pictures.

Sampling starts from noise x_T (``latents``, as diffusers calls it), is told attributes A and their latents Z
(``attribute_latents``), and follows the scheduler down. With guidance scale ``w`` the network's answer is

    f = f(no condition) + w (f(Z, A) - f(no condition))        (classifier-free guidance; w = 1 uses f(Z, A) alone)

A classifier on the bottleneck that does not see the condition can guide too (Dhariwal and Nichol 2021, Alg. 2), with
scale ``s`` and ``g`` the gradient by x_t of ``sum_k log p(A_k | x_t)``:

    eps' = eps - s sqrt(1-ab) g,   so   v' = v - s sqrt((1-ab) / ab) g   and   x0' = x0 + s (1-ab) / sqrt(ab) g
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import DiffusionPipeline
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils.torch_utils import randn_tensor
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gaussmix.diffusion.conditions import choose_attributes, find_attributes, unpack_rows
from gaussmix.diffusion.config import find_model
from gaussmix.diffusion.encoder import AttributeEncoder
from gaussmix.diffusion.outputs import AttributePipelineOutput, OutputType, are_names, as_type, check_options
from gaussmix.diffusion.saved import load_parts
from gaussmix.diffusion.schedulers import check_fits, set_steps
from gaussmix.diffusion.transformer import AttributeTransformer
from gaussmix.diffusion.unet import AttributeUNet
from gaussmix.latents.attributes import AttributeLatents
from gaussmix.training.saved import save_compact

Generators = torch.Generator | list[torch.Generator] | None


class AttributeDiffusionPipeline(DiffusionPipeline):
    """A trained network, its scheduler, the names of its attributes and the distribution of their latents.

    Parameters
    ----------
    unet : AttributeUNet or None
        The network, unless that is a transformer.
    scheduler : scheduler
        Any of `gaussmix.diffusion.schedulers.make_scheduler`.
    attribute_names : list of str, optional
        K names, in the order of the network's attributes.
    latent_distribution : dict, optional
        `AttributeLatents.to_config`; by default the distribution of the network's config, equal shares.
    attribute_rows : list of str, optional
        Rows of real attributes, packed by `gaussmix.diffusion.conditions.pack_rows`.
    training : dict, optional
        What the model was trained on, for the record and for the evaluation.
    encoder : AttributeEncoder, optional
        What reads attributes and Z off pictures, for `gaussmix.diffusion.edit`.
    transformer : AttributeTransformer, optional
        The network, in place of ``unet``.
    """

    unet: AttributeUNet | None
    transformer: AttributeTransformer | None
    scheduler: Any
    encoder: AttributeEncoder | None
    # diffusers' name: a folder without one still loads
    _optional_components = ["unet", "transformer", "encoder"]  # noqa: RUF012
    _callback_tensor_inputs = ["latents", "attribute_latents", "attributes"]  # noqa: RUF012

    def __init__(
        self,
        unet: AttributeUNet | None,
        scheduler: SchedulerMixin,
        attribute_names: list[str] | None = None,
        latent_distribution: dict[str, Any] | None = None,
        attribute_rows: list[str] | None = None,
        training: dict[str, Any] | None = None,
        encoder: AttributeEncoder | None = None,
        transformer: AttributeTransformer | None = None,
    ):
        super().__init__()
        network = transformer if unet is None else unet
        if network is None or (unet is not None and transformer is not None):
            raise ValueError("a pipeline has one network: give unet or transformer, and None for the other")
        n_attributes = network.condition.n_attributes
        names = list(attribute_names or ()) or [f"attribute_{k}" for k in range(n_attributes)]
        if len(names) != n_attributes:
            raise ValueError(f"{len(names)} attribute names for a network with {n_attributes} attributes")
        self.register_modules(unet=unet, transformer=transformer, scheduler=scheduler, encoder=encoder)
        given: Any = scheduler
        self._trained_with = getattr(given, "alphas_cumprod", None), given.config.get("prediction_type")
        self.register_to_config(
            attribute_names=names,
            latent_distribution=dict(latent_distribution or network.latent_distribution.to_config()),
            attribute_rows=list(attribute_rows or ()),
            training=dict(training or {}),
        )

    @property
    def network(self) -> AttributeUNet | AttributeTransformer:
        """What denoises, whichever it is."""
        network = self.transformer if self.unet is None else self.unet
        assert network is not None
        return network

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """The K attributes that can be asked for."""
        return tuple(self.config["attribute_names"])

    @property
    def latent_distribution(self) -> AttributeLatents:
        """The distribution that Z is drawn from."""
        return AttributeLatents.from_config(self.config["latent_distribution"])

    @property
    def training(self) -> dict[str, Any]:
        """What the model was trained on: data source, size, steps ..."""
        return dict(self.config["training"])

    @classmethod
    def load(cls, folder: str | Path | None = None) -> AttributeDiffusionPipeline:
        """Load a model's folder, the model in a training run's folder, or by default the one in the package.

        The weights are turned to float32. Nothing that the folder names is imported or run. Raises ValueError if there
        is no model, or a damaged one.
        """
        found = find_model(folder)
        try:
            pipeline = cls(**load_parts(found))
            told, known = pipeline.latent_distribution, pipeline.network.latent_distribution
            if dataclasses.replace(told, shares=None) != known:
                raise ValueError(f"{found / 'model_index.json'} describes other latents than those of the network")
            return pipeline
        except (ValueError, OSError) as error:
            raise ValueError(f"the model in {found} cannot be loaded: {error}") from error

    @classmethod
    def from_pretrained(cls, folder: str | Path, **options: Any) -> AttributeDiffusionPipeline:  # pyright: ignore
        """Load as `load` does: diffusers' own way would import what the folder names.

        Parameters
        ----------
        folder : str or Path
            A model's folder on this machine.
        **options
            None but ``local_files_only``, which is so anyway; ValueError for others.
        """
        if options.keys() - {"local_files_only"}:
            raise ValueError(f"from_pretrained takes no {', '.join(options)}; load the model, then change it")
        return cls.load(folder)

    def save_compact(self, folder: str | Path) -> None:
        """Save in a quarter of the bytes, tables of numbers as int8: `load` reads it, diffusers does not.

        Parameters
        ----------
        folder : str or Path
            Where to.
        """
        folder = Path(folder)
        self.save_config(folder)
        self.scheduler.save_config(folder / "scheduler")
        for name in ("unet", "transformer", "encoder"):
            if (part := getattr(self, name)) is not None:
                save_compact(part, folder / name)

    def known_rows(self) -> NDArray[np.uint8]:
        """Return the attribute rows of training pictures that came with the model, ``(M, K)``; M may be 0."""
        return unpack_rows(self.config["attribute_rows"], len(self.attribute_names))

    def choose_attributes(
        self, present: Sequence[str] = (), absent: Sequence[str] = (), *, count: int, seed: int = 0
    ) -> NDArray[np.uint8]:
        """Draw attribute vectors ``(count, K)`` with some present and some absent, the others as in the data.

        Parameters
        ----------
        present, absent : sequence of str
            Names; case does not matter.
        count, seed : int
            How many; fewer are the first of more.

        Raises
        ------
        ValueError
            For unknown names, naming the nearest, and for a name on both sides.
        """
        names = self.attribute_names
        on, off = find_attributes(present, names), find_attributes(absent, names)
        for k in set(on) & set(off):
            raise ValueError(f"{names[k]} is asked for and ruled out at once")
        rows = self.known_rows()
        rows = rows if len(rows) else np.zeros((1, len(names)), np.uint8)
        return choose_attributes(rows, on, off, count, np.random.default_rng(seed))

    def draw_attribute_latents(
        self, count: int, generator: torch.Generator | None = None, components: Mapping[str, int] | None = None
    ) -> Tensor:
        """Draw Z for pictures, ``(count, T, N)``, ungated.

        Parameters
        ----------
        count, generator : int, torch.Generator
            How many, and where random numbers come from.
        components : mapping of str to int, optional
            Modes of attributes by name: ``{"Eyeglasses": 2}``.
        """
        positions = find_attributes(components or {}, self.attribute_names)
        wanted = dict(zip(positions, (components or {}).values(), strict=True))
        return self.latent_distribution.draw(count, generator, wanted)

    @torch.no_grad()
    def __call__(
        self,
        attributes: ArrayLike | Tensor | Sequence[str] | Sequence[Sequence[str]],
        attribute_latents: Tensor | None = None,
        num_inference_steps: int = 10,
        guidance_scale: float = 2.0,
        generator: Generators = None,
        latents: Tensor | None = None,
        output_type: OutputType = "pil",
        callback: Callable[[int, int, Tensor], None] | None = None,
        classifier_scale: float = 0.0,
        return_dict: bool = True,
        callback_on_step_end: Callable[[Any, int, int, dict[str, Tensor]], dict[str, Tensor] | None] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> Any:
        """Draw one picture for each row of attributes.

        Parameters
        ----------
        attributes : array_like, or sequence of str
            ``(B, K)`` of 0/1; or names that one picture shall have, or a list of such lists, one a picture. What is not
            named is as in the training data, drawn with the first generator.
        attribute_latents : tensor, optional
            ``(B, T, N)`` Z; drawn from ``generator`` if not given.
        num_inference_steps : int
            Network evaluations (twice that with guidance), 1 ... T.
        guidance_scale : float
            1 follows the data, larger values follow the request more and vary less; 0 ignores it.
        generator : torch.Generator or list of torch.Generator, optional
            For Z, the noise and the scheduler's own noise; one, or a list of B, one a picture.
        latents : tensor, optional
            Standard normal x_T ``(B, *network.state_shape)``; drawn from ``generator`` if not given.
        output_type : {"pil", "np", "pt", "uint8"}
            Images; as diffusers, floats in [0, 1] ``(B, H, W, 3)``, or a tensor of them ``(B, 3, H, W)``; or uint8.
        callback : callable, optional
            Called with the step, its timestep and the estimate of the picture x0* ``(B, C, H, W)`` at every step.
        classifier_scale : float
            How much the classifier on the bottleneck guides, 0 not at all.
        return_dict : bool
            Otherwise a tuple of the images.
        callback_on_step_end : callable, optional
            As diffusers': called with the pipeline, the step, its timestep and a dict of the tensors named in
            ``callback_on_step_end_tensor_inputs``; what it returns of these is gone on with.
        callback_on_step_end_tensor_inputs : sequence of str
            Some of ``latents`` (x_t after the step), ``attribute_latents`` and ``attributes``.

        Returns
        -------
        AttributePipelineOutput or tuple
            The pictures.

        Raises
        ------
        ValueError
            For a scheduler that does not fit the model, no rows, shapes that do not fit, a number of steps the
            scheduler cannot take, NaN guidance, and for classifier guidance by a model without a classifier, or with
            one that sees the condition.
        """
        check_fits(self.scheduler, *self._trained_with, bounded=self.network.bounded)
        scales = {"guidance_scale": guidance_scale, "classifier_scale": classifier_scale}
        check_options(output_type, callback_on_step_end_tensor_inputs, self._callback_tensor_inputs, scales)
        self._check_classifier(classifier_scale)
        x, z, wanted = self._prepare(attributes, attribute_latents, latents, generator)
        own_noise = {} if generator is None else {"generator": generator}
        set_steps(self.scheduler, num_inference_steps, self.network.device)
        with self.progress_bar(total=num_inference_steps) as bar:  # pyright: ignore[reportCallIssue]
            for step, timestep in enumerate(self.scheduler.timesteps):
                answer = self._guide(x, timestep, z, wanted, guidance_scale, classifier_scale)
                if callback is not None:
                    callback(step, int(timestep), self.clean_estimate(answer, timestep, x))
                x = self.scheduler.step(answer, timestep, x, **own_noise).prev_sample
                if callback_on_step_end is not None:
                    tensors = {"latents": x, "attribute_latents": z, "attributes": wanted}
                    told = {name: tensors[name] for name in callback_on_step_end_tensor_inputs}
                    tensors |= callback_on_step_end(self, step, int(timestep), told) or {}
                    x, z, wanted = (tensors[name] for name in self._callback_tensor_inputs)
                bar.update()
        pictures = as_type(self.network.decode(x), output_type)
        return AttributePipelineOutput(pictures) if return_dict else (pictures,)

    def _prepare(
        self,
        attributes: ArrayLike | Tensor,
        attribute_latents: Tensor | None,
        latents: Tensor | None,
        generator: Generators,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Checks the shapes, draws what is not given, first Z, then x_T, and returns x_T, Z and A for the network."""
        distribution = self.latent_distribution
        if isinstance(attributes, list | tuple) and are_names(attributes):
            attributes = self._named(attributes, generator)
        if np.shape(attributes)[:1] == (0,):
            raise ValueError("there are no rows of attributes; give at least one, each for a picture")
        distribution.gate(attributes)  # checks the shape and the values
        wanted = attributes if isinstance(attributes, Tensor) else torch.as_tensor(np.asarray(attributes))
        count = len(wanted)
        if isinstance(generator, list) and len(generator) != count:
            raise ValueError(f"{len(generator)} generators for {count} pictures; give one each or one for all")
        if attribute_latents is None:
            each = [(1, one) for one in generator] if isinstance(generator, list) else [(count, generator)]
            attribute_latents = torch.cat([distribution.draw(n, one) for n, one in each])
        shape = (count, *self.network.state_shape)
        z_shape = (count, distribution.n_tokens, distribution.latent_dim)
        if latents is None:
            latents = randn_tensor(shape, generator=generator, device=torch.device("cpu"))
        checked = (("attribute_latents", attribute_latents, z_shape), ("latents", latents, shape))
        for name, given, expected in checked:
            if tuple(given.shape) != expected:
                raise ValueError(f"{name} have shape {tuple(given.shape)}; expected {expected}")
        device, dtype = self.network.device, self.network.dtype
        return latents.to(device, dtype), attribute_latents.to(device, dtype), wanted.to(device, dtype)

    def _named(self, request: Sequence[Any], generator: Generators) -> NDArray[np.uint8]:
        """Rows of attributes for names that one picture shall have, or for a list of such lists."""
        each = [request] if isinstance(request[0], str) else request
        first = generator[0] if isinstance(generator, list) else generator
        device = "cpu" if first is None else first.device
        seeds = torch.randint(2**31, (len(each),), generator=first, device=device).tolist()
        return np.concatenate(
            [self.choose_attributes(names, count=1, seed=seed) for names, seed in zip(each, seeds, strict=True)]
        )

    def _guide(
        self, x: Tensor, timestep: Tensor, z: Tensor, attributes: Tensor, guidance_scale: float, classifier_scale: float
    ) -> Tensor:
        """The network's answer to x_t ``(B, C, H, W)``, guided."""
        repeats = 1 if guidance_scale == 1 else 2
        rows = [part.repeat(repeats, *[1] * (part.ndim - 1)) for part in (z, attributes)]
        dropped = torch.arange(repeats * len(x), device=x.device) >= len(x)
        model_input = self.scheduler.scale_model_input(x, timestep).repeat(repeats, 1, 1, 1)
        answer = self.network(model_input, timestep, *rows, dropped).sample
        if guidance_scale != 1:
            conditional, free = answer.chunk(2)
            answer = free + guidance_scale * (conditional - free)
        if classifier_scale:
            answer = answer - classifier_scale * self._classifier_pull(x, timestep, attributes)
        return answer

    def _check_classifier(self, scale: float) -> None:
        if not scale:
            return
        given = f"classifier_scale is {scale:g}, but the model"
        if self.network.head is None:
            raise ValueError(f"{given} has no classifier; train one with --classifier-weight 0.1 --injection up")
        if self.network.classifier_leaks:
            raise ValueError(
                f"{given}'s classifier was trained to see the condition and need not know the image; train with "
                "--injection up or --classifier-pass unconditioned"
            )

    def _classifier_pull(self, sample: Tensor, timestep: Tensor, attributes: Tensor) -> Tensor:
        """What classifier guidance of scale 1 takes from the network's answer, ``(B, C, H, W)``."""
        with torch.enable_grad():
            x = sample.detach().requires_grad_()
            logits = self.network.classify(x, timestep).float()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, attributes.float(), reduction="sum")
            (gradient,) = torch.autograd.grad(-loss, x)
        alpha_bar = self.scheduler.alphas_cumprod[int(timestep)].to(sample.device, sample.dtype)
        if self.scheduler.config.prediction_type == "v_prediction":
            return ((1 - alpha_bar) / alpha_bar).sqrt() * gradient
        return (1 - alpha_bar).sqrt() * gradient

    def clean_estimate(self, answer: Tensor, timestep: Tensor | int, sample: Tensor) -> Tensor:
        """Return the picture x0* ``(B, C, H, W)`` (D Eq. 10), clamped to [-1, 1].

        Parameters
        ----------
        answer, timestep, sample : tensor, int, tensor
            The network's answer ``(B, ...)``, and the step and the x_t ``(B, ...)`` that it was given for.
        """
        alpha_bar = self.scheduler.alphas_cumprod[int(timestep)].to(sample.device, sample.dtype)
        if self.scheduler.config.prediction_type == "v_prediction":
            estimate = alpha_bar.sqrt() * sample - (1 - alpha_bar).sqrt() * answer
        else:
            estimate = (sample - (1 - alpha_bar).sqrt() * answer) / alpha_bar.sqrt()
        return self.network.decode(estimate).clamp(-1, 1)


# diffusers finds the class of a saved pipeline by its name among its own: so `DiffusionPipeline.from_pretrained` loads
# ours too, once this module is imported.
diffusers.AttributeDiffusionPipeline = AttributeDiffusionPipeline  # pyright: ignore[reportAttributeAccessIssue]
