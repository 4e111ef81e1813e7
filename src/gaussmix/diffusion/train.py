"""Training the attribute-conditioned diffusion model (D Sec. 3.2, 3.3): the loss, what a step sees, the run.

    x_t = sqrt(ab_t) x_0 + sqrt(1-ab_t) eps,   eps ~ N(0, I)
    L_simple = E || target - f(x_t, t, Z, A) ||^2

with target eps (the paper) or v = sqrt(ab_t) eps - sqrt(1-ab_t) x_0 (default), and f of `gaussmix.diffusion.unet`:
`gaussmix.diffusion.loss` has it, with what a classifier adds, and the guess that it is held against.

Differs from the paper by default: v-prediction with t drawn evenly along the angle arccos sqrt(ab_t), and Z matched to
the images; the presets ``celeba64`` and ``cifar10`` train as the paper.

A run's folder holds, beside what every `Trainer` writes, ``latents.safetensors`` (matched Z) and at the end
``samples.png``.
"""

from __future__ import annotations

import json
import warnings
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from diffusers.training_utils import EMAModel
from torch import Generator, Tensor

from gaussmix._progress import progress_bar
from gaussmix.data.base import SPLITS, AttributeDataset
from gaussmix.diffusion.batches import TrainingBatches
from gaussmix.diffusion.codec import to_pixels
from gaussmix.diffusion.conditions import MAX_ROWS, pack_rows
from gaussmix.diffusion.config import DiffusionConfig
from gaussmix.diffusion.encoder import AttributeEncoder, train_encoder
from gaussmix.diffusion.loss import DiffusionLosses, ForwardProcess, Network, detail_weights
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.precondition import some_rows
from gaussmix.diffusion.sampling import SHEET_PICTURES, default_steps, draw_sheet
from gaussmix.diffusion.schedulers import make_scheduler
from gaussmix.diffusion.transformer import AttributeTransformer
from gaussmix.diffusion.unet import AttributeUNet
from gaussmix.metrics.classifier import train_attribute_classifier
from gaussmix.metrics.features import BATCH_SIZE
from gaussmix.training.checkpoints import Checkpoint, save_whole_folder
from gaussmix.training.loop import Trainer, TrainingError, TrainResult
from gaussmix.training.schedule import step_generator
from gaussmix.training.watch import Guess

__all__ = ["DiffusionTrainer", "TrainResult", "TrainingError", "train"]


_AT_ONCE = 1024  # pictures that are encoded
_NOT_ABOVE = 1.05  # of the guess's loss, means over 100 steps scatter by a few per cent
_SAVING_SECONDS = 1.0
_TIMED = 3  # steps of the reader, to know how long all will take


class DiffusionTrainer(Trainer[DiffusionConfig, Network]):
    """Trains an `AttributeUNet` or an `AttributeTransformer`, and averages its weights.

    Parameters
    ----------
    config : DiffusionConfig
        The settings.
    dataset : AttributeDataset
        Images with attributes; its training split is used.
    started : float, optional
        As in `Trainer`.

    Raises
    ------
    ValueError
        If the folder holds another run or, with ``config.resume``, one of other settings or data; or if
        ``config.init`` names no model, or one of another network or other attributes.
    """

    group = "unet"

    def __init__(self, config: DiffusionConfig, dataset: AttributeDataset, started: float | None = None):
        super().__init__(config, dataset.key, config.accumulate, started)
        known = None
        if config.init and self.newest is None:
            known = AttributeDiffusionPipeline.load(None if config.init == "built-in" else config.init)
        with self.accelerator.main_process_first():
            self.batches = TrainingBatches(dataset, config, config.output / "latents.safetensors", self.images_per_step)
        maps = self.batches.maps if config.detail_weight else None
        weights = None if maps is None else detail_weights(maps, config.detail_weight, config.size)
        plain = config.network == "unet" and not config.linear_mean  # others weigh numbers by themselves
        self.diffusion = ForwardProcess(config, self.accelerator.device, weights if plain else None)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.network = self._make_network()
            self.pixel_weights = weights
            self._fit_network(weights)
        self.draws_untrained = self.network.known is not None
        self.guess = Guess("denoising", 1.0, "the linear mean", _NOT_ABOVE)
        if self.network.known is None:
            some = self.batches.positions[some_rows(len(self.batches.positions), config.seed)[:_AT_ONCE].numpy()]
            pixels = to_pixels(np.ascontiguousarray(dataset.images[some]))
            loss = self.diffusion.guess_loss(pixels.var(0, correction=0))
            self.guess = Guess("denoising", loss, "a guess from each pixel's mean and variance", _NOT_ABOVE)
        self._reader_seconds = self._time_reader() if config.minutes is not None else 0.0
        # use_ema_warmup raises the decay as 1 - (1 + step)^(-3/4) towards its end value.
        own = list(self.network.parameters())
        self.ema = EMAModel(own, decay=config.ema_decay, use_ema_warmup=True, power=0.75, foreach=True)
        settings = {"lr": config.learning_rate, "weight_decay": config.weight_decay, "betas": (0.9, config.beta2)}
        optimizer = torch.optim.AdamW(own, fused=True, **settings)
        self.model, self.optimizer = self.accelerator.prepare(self.network, optimizer)
        self.parameters = list(self.model.parameters())  # walking through the modules costs a millisecond a time
        self.optimizers = {"optimizer": (self.optimizer, config.learning_rate)}
        if known is not None:
            self._start_from(known)

    def _make_network(self) -> Network:
        """As the settings say."""
        config, batches = self.config, self.batches
        if config.network == "unet":
            return AttributeUNet(
                condition=batches.condition,
                sample_size=config.size,
                block_out_channels=tuple(config.channels),
                layers_per_block=config.layers_per_block,
                scale_shift=config.scale_shift,
                classifier=config.classifier_weight > 0,
                classifier_pass=config.classifier_pass,
                **({"linear_mean": True, "timesteps": config.timesteps} if config.linear_mean else {}),
            )
        own: dict[str, Any] = {"sample_size": config.size, **config.tokens}
        own |= {name: getattr(config, name) for name in ("power", "width", "depth", "heads", "timesteps")}
        if config.classifier_weight:  # networks without one keep the settings that older files have
            own |= {"classifier": True, "classifier_pass": config.classifier_pass}
        return AttributeTransformer(condition=batches.condition, linear_mean=config.linear_mean is not False, **own)

    def _fit_network(self, weights: Tensor | None, keep_codec: bool = False) -> None:
        """Finds what the network takes in closed form: the codec, then the linear mean; a checkpoint has them."""
        config, batches, network = self.config, self.batches, self.network.cpu()
        if self.newest is None and network.known is not None:
            latents = batches.training_latents(Generator().manual_seed(config.seed))
            rows = some_rows(len(latents), config.seed)
            images = np.ascontiguousarray(batches.dataset.images[batches.positions[rows.numpy()]])
            attributes = torch.from_numpy(batches.attributes[rows.numpy()]).float()
            if isinstance(network, AttributeTransformer) and not keep_codec:
                network.codec.fit(images)
            chunks = [images[i : i + _AT_ONCE] for i in range(0, len(images), _AT_ONCE)]
            numbers = torch.cat([network.encode(to_pixels(chunk)) for chunk in chunks])
            even = torch.ones(1, 1, config.size, config.size)
            effort = network.effort(numbers.flatten(1).var(0), even if weights is None else weights)
            alpha_bar = torch.from_numpy(np.cumprod(1 - self.diffusion.betas)).float()
            mean, redraw = config.linear_mean is not False, config.redraw_details
            options = {"effort": effort, "linear_mean": mean, "redraw": redraw, "seed": config.seed}
            network.known.fit(numbers, attributes, latents[rows], alpha_bar, **options)
        network.to(self.accelerator.device)

    def _start_from(self, known: AttributeDiffusionPipeline) -> None:
        """Begins at the weights of a model of the same attributes and the same network.

        The distribution of Z is this run's own, and so is the linear mean; a U-Net without one may have learnt from
        pictures of another size. Raises ValueError for another network or other attributes.
        """
        init, names = f"--init {self.config.init}", tuple(self.batches.dataset.attribute_names)
        if known.attribute_names != names:
            raise ValueError(f"{init} knows {known.attribute_names}; the data have {names}")
        theirs, ours = _flat(known.network), _flat(self.network)
        other = [
            f"{name} {theirs.get(name)} there and {ours[name]} here" for name in ours if theirs.get(name) != ours[name]
        ]
        if other:
            raise ValueError(f"{init} is another network: {', '.join(other)}; use its settings")
        predicts = known.scheduler.config["prediction_type"]
        levels, our_levels = known.scheduler.alphas_cumprod.numpy(), np.cumprod(1 - self.diffusion.betas)
        same_levels = levels.shape == our_levels.shape and np.allclose(levels, our_levels, rtol=1e-3)
        if predicts != self.config.objective or not same_levels:
            raise ValueError(
                f"{init} was trained with {predicts} on {len(levels)} noise levels; give the same --objective, "
                "--timesteps and betas"
            )
        learnt = known.training
        same_data = (learnt.get("dataset_key"), learnt.get("seed")) == (self.data_key, self.config.seed)
        if self.config.pairing == "matched" and not same_data:
            warnings.warn(
                f"Z is matched anew to other data or with another seed than {init} knows: its components will mean "
                "something else, and the network has to learn them again",
                stacklevel=3,
            )
        self.network.load_state_dict(known.network.state_dict())
        if self.network.known is not None:  # of this run's Z, around the codec that the weights know
            self._fit_network(self.pixel_weights, keep_codec=True)
        with torch.no_grad():
            for shadow, parameter in zip(self.ema.shadow_params, self.network.parameters(), strict=True):
                shadow.copy_(parameter)

    def _train_step(self) -> tuple[DiffusionLosses, Tensor]:
        config, rank = self.config, self.accelerator.process_index
        parts: list[DiffusionLosses] = []
        norm = torch.zeros((), device=self.accelerator.device)
        for part in range(config.accumulate):
            stream = rank * config.accumulate + part
            generator = step_generator(config.seed, self.step, stream, self.accelerator.device)
            rows = slice(stream * config.batch_size, (stream + 1) * config.batch_size)
            images, attributes, latents = self.batches.load(self.step, rows, generator)
            with self.accelerator.accumulate(self.model):
                state = self.network.encode(images)
                losses = self.diffusion.loss(self.model, state, attributes, latents, generator, self.network)
                self.accelerator.backward(losses.total)
                if self.accelerator.sync_gradients:
                    norm = self.accelerator.clip_grad_norm_(self.parameters, config.max_grad_norm)
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=True)
            parts.append(losses)
        self.ema.step(self.parameters)
        return DiffusionLosses.mean(parts), torch.as_tensor(norm)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Return all tensors of the run's state, by group."""
        names = [name for name, _ in self.network.named_parameters()]
        return {**super().tensors(), "ema": dict(zip(names, self.ema.shadow_params, strict=True))}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint of a run with the same settings."""
        super().restore(checkpoint)
        device, averaged = self.accelerator.device, checkpoint.tensors["ema"]
        self.ema.shadow_params = [averaged[name].to(device) for name, _ in self.network.named_parameters()]
        self.ema.optimization_step = checkpoint.step

    def pipeline(self) -> AttributeDiffusionPipeline:
        """Return a sampler with the averaged weights, a copy."""
        averaged: Any = type(self.network).from_config(self.network.config)
        averaged.load_state_dict(self.network.state_dict())  # buffers too
        averaged.to(self.accelerator.device)
        self.ema.copy_to(averaged.parameters())
        rng = np.random.default_rng(self.config.seed)
        rows = self.batches.attributes
        kept = rows if len(rows) <= MAX_ROWS else rows[rng.choice(len(rows), MAX_ROWS, replace=False)]
        told = "size", "count", "pairing", "objective", "skip_bad", "reader_steps"
        told += ("init",) if self.config.init else ()
        return AttributeDiffusionPipeline(
            unet=averaged.eval() if isinstance(averaged, AttributeUNet) else None,
            transformer=None if isinstance(averaged, AttributeUNet) else averaged.eval(),
            scheduler=make_scheduler(
                "dpm++", self.diffusion.betas, self.config.objective, bounded=self.network.bounded
            ),
            attribute_names=list(self.batches.dataset.attribute_names),
            latent_distribution=self.batches.latent_distribution.to_config(),
            attribute_rows=pack_rows(kept),
            training=self._record(*told),
        )

    def _draw(self, path: Path, pipeline: AttributeDiffusionPipeline | None = None) -> None:
        config, pipeline = self.config, pipeline or self.pipeline()
        steps = default_steps("dpm++", config.timesteps)
        draw_sheet(pipeline, path, guidance=config.guidance, seed=config.seed, step=self.step, num_steps=steps)

    @property
    def _reads(self) -> bool:
        """Whether the model gets an encoder."""
        return self.config.reader_steps > 0 and self.batches.encoder is not None

    def _known_encoder(self, model: Path, wanted: dict[str, Any]) -> AttributeEncoder | None:
        """The encoder that this run's model has, if it is finished and goes on, as it was learnt; else None."""
        same = ("dataset_key", "seed", "reader_steps")
        with suppress(ValueError, OSError):
            known = AttributeDiffusionPipeline.load(model)
            ours = self.batches.latent_distribution.to_config() == known.latent_distribution.to_config()
            if ours and all(known.training.get(name) == wanted[name] for name in same) and known.encoder is not None:
                return known.encoder.to(self.accelerator.device)
        return None

    def _time_reader(self) -> float:
        """About how many seconds the reader will take to learn, from its first steps; 0 if there will be none."""
        times: list[float] = []

        def note(step: int, _loss: float) -> None:
            times.append(perf_counter())
            if step == _TIMED:
                raise StopIteration

        if not self._reads:
            return 0.0
        with suppress(StopIteration):
            train_attribute_classifier(
                self.batches.dataset, steps=_TIMED, device=self.accelerator.device, on_progress=note
            )
        valid = int((self.batches.dataset.split == SPLITS.index("valid")).sum())  # on which it is judged afterwards
        return (times[-1] - times[0]) / (len(times) - 1) * (self.config.reader_steps + valid / (3 * BATCH_SIZE))

    def finishing(self) -> float:
        """Return about how many seconds `_finish` will take."""
        evaluations = 2 * default_steps("dpm++", self.config.timesteps) * SHEET_PICTURES
        return self.waiting * _SAVING_SECONDS + self._reader_seconds + evaluations * self._image_seconds / 3

    def _finish(self, progress: bool, sheet: bool) -> tuple[Path, Path | None]:
        batches, pipeline, steps = self.batches, self.pipeline(), self.config.reader_steps
        model, samples = self.config.output / "model", self.config.output / "samples.png"
        if self._reads and batches.encoder is not None and batches.maps is not None:
            found, device = (batches.encoder, batches.maps), self.accelerator.device
            encoder = self._known_encoder(model, pipeline.training)
            if encoder is None:
                with progress_bar("learning to read", steps, progress) as show:
                    encoder = train_encoder(
                        batches.dataset, *found, steps=steps, device=device, on_progress=lambda step, _loss: show(step)
                    )
            pipeline.register_modules(encoder=encoder)
        save_whole_folder(model, pipeline.save_pretrained)
        if sheet:
            self._draw(samples, pipeline)
        return model, samples if sheet else None


def _flat(network: Network) -> dict[str, Any]:
    """The settings that two networks must share for one to take the other's weights."""
    settings = json.loads(
        json.dumps({name: value for name, value in network.config.items() if not name.startswith("_")})
    )
    if network.known is None:  # convolutions take pictures of any size
        del settings["sample_size"]
    return settings | settings.pop("condition")


def train(
    config: DiffusionConfig,
    dataset: AttributeDataset,
    *,
    progress: bool = True,
    sheet: bool = True,
    started: float | None = None,
) -> TrainResult:
    """Train on ``dataset`` as ``config`` says: `DiffusionTrainer`, `Trainer.run`."""
    return DiffusionTrainer(config, dataset, started).run(progress=progress, sheet=sheet)
