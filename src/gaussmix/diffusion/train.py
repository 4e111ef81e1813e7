"""Training the attribute-conditioned diffusion model (D Sec. 3.2).

    L_simple = E || target - f(sqrt(ab_t) x_0 + sqrt(1-ab_t) eps, t, Z, A) ||^2

with target eps (the paper) or v = sqrt(ab_t) eps - sqrt(1-ab_t) x_0 (default). Differs from the paper by default:
v-prediction with t drawn evenly along the angle arccos sqrt(ab_t), and Z matched to the images; the presets
``celeba64`` and ``cifar10`` train as the paper.

With a classifier on the bottleneck (D Sec. 3.3, Fig. 8) its loss for the attributes A of every image, dropped
conditions or not, is added, at all noise levels alike:

    L = L_simple + classifier_weight * classification

One step is a function of the weights, the optimiser's state and the step's number: batch, noise levels, noise and
dropped conditions are drawn from generators seeded by (seed, step). That is why a resumed run is bit-identical to one
that was never interrupted, on the same machine and number of processes.

A training run from start to finish: checkpoints, logs, pictures, interruptions, the finished model.

A run's folder holds ``config.json``, ``checkpoints/``, ``latents.safetensors`` (matched Z), ``metrics.jsonl``,
``tensorboard/``, ``samples/step-*.png``, and at the end ``samples.png`` and ``model/``.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.training_utils import EMAModel

from gaussmix._progress import progress_bar
from gaussmix.data.base import AttributeDataset
from gaussmix.diffusion.batches import TrainingBatches
from gaussmix.diffusion.conditions import MAX_ROWS, pack_rows
from gaussmix.diffusion.config import TrainConfig
from gaussmix.diffusion.encoder import train_encoder
from gaussmix.diffusion.loss import Diffusion, Losses, _mean, detail_weights
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.schedulers import make_scheduler
from gaussmix.diffusion.sheets import draw_sheet
from gaussmix.diffusion.unet import AttributeUNet
from gaussmix.training.checkpoints import Checkpoint, optimizer_tensors, restore_optimizer
from gaussmix.training.device import make_accelerator
from gaussmix.training.loop import TrainingError, TrainResult, finished_share, run_steps
from gaussmix.training.run import open_run, save_whole_folder
from gaussmix.training.schedule import step_generator, warmup_cosine

__all__ = ["TrainResult", "Trainer", "TrainingError", "train"]


class Trainer:
    """The state of a run: network, optimiser, averaged weights, step. `run` drives it; `steps` is the bare loop."""

    def __init__(self, config: TrainConfig, dataset: AttributeDataset):
        self.config = config
        self.accelerator = make_accelerator(config.threads, config.mixed_precision, config.accumulate)
        world = self.accelerator.num_processes
        with self.accelerator.main_process_first():
            self.batches = TrainingBatches(
                dataset,
                config,
                config.out / "latents.safetensors",
                config.batch_size * config.accumulate * world,
            )
        weights = None
        if config.detail_weight and self.batches.maps is not None:
            weights = detail_weights(self.batches.maps, config.detail_weight, config.size)
        self.diffusion = Diffusion(config, self.accelerator.device, weights)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.unet = AttributeUNet(
                sample_size=config.size,
                n_attributes=self.batches.latents.n_attributes,
                latent_dim=config.latent_dim,
                n_components=config.n_components,
                separation=config.separation,
                base_token=self.batches.latents.base_token,
                conditioning=config.conditioning,
                injection=config.injection,
                block_out_channels=tuple(config.channels),
                layers_per_block=config.layers_per_block,
                scale_shift=config.scale_shift,
                classifier=config.classifier_weight > 0,
                classifier_pass=config.classifier_pass,
            )
        self.unet.to(self.accelerator.device)
        # use_ema_warmup raises the decay as 1 - (1 + step)^(-3/4) towards its end value.
        self.ema = EMAModel(
            self.unet.parameters(),
            decay=config.ema_decay,
            use_ema_warmup=True,
            inv_gamma=1.0,
            power=0.75,
            foreach=True,
        )
        optimizer = torch.optim.AdamW(
            self.unet.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.model, self.optimizer = self.accelerator.prepare(self.unet, optimizer)
        self.parameters = list(self.model.parameters())  # walking through the modules costs a millisecond a time
        self.step = 0
        self.seconds = 0.0  # spent in training, over all resumed parts

    def start_from(self, known: AttributeDiffusionPipeline) -> None:
        """Begin at the weights of a model of the same attributes and the same network; its pictures' size may differ.

        The distribution of Z is this run's own. Raises ValueError for another network or other attributes.
        """
        names = self.batches.dataset.attribute_names
        if known.attribute_names != tuple(names):
            raise ValueError(f"--init {self.config.init} knows {known.attribute_names}; the data have {tuple(names)}")
        theirs, ours = dict(known.unet.config), dict(self.unet.config)
        parts = [name for name in ours if not name.startswith("_") and name not in ("sample_size", "shares")]
        other = [name for name in parts if json.dumps(theirs.get(name)) != json.dumps(ours[name])]
        if other:
            listed = ", ".join(f"{name} {theirs.get(name)} there and {ours[name]} here" for name in other)
            raise ValueError(f"--init {self.config.init} is another network: {listed}; use its settings")
        theirs = known.scheduler.config
        levels, ours_levels = known.scheduler.alphas_cumprod.numpy(), np.cumprod(1 - self.diffusion.betas)
        same_levels = levels.shape == ours_levels.shape and np.allclose(levels, ours_levels, rtol=1e-3)
        if theirs["prediction_type"] != self.config.objective or not same_levels:
            raise ValueError(
                f"--init {self.config.init} was trained with {theirs['prediction_type']} on {len(levels)} noise "
                "levels; give the same --objective, --timesteps and betas"
            )
        learnt = known.training
        same_data = (learnt.get("dataset_key"), learnt.get("seed")) == (self.batches.dataset.key, self.config.seed)
        if self.config.pairing == "matched" and not same_data:
            warnings.warn(
                f"Z is matched anew to other data or with another seed than --init {self.config.init} knows: its "
                "components will mean something else, and the network has to learn them again",
                stacklevel=2,
            )
        self.unet.load_state_dict(known.unet.state_dict())
        with torch.no_grad():
            for shadow, parameter in zip(self.ema.shadow_params, self.unet.parameters(), strict=True):
                shadow.copy_(parameter)

    @property
    def images_per_step(self) -> int:
        """Of all processes."""
        return self.batches.order.batch_size

    @property
    def data_key(self) -> str:
        """Names the content of the data."""
        return self.batches.dataset.key

    def progress(self) -> float:
        """The finished share of the run: by steps or by minutes, whichever is further."""
        return finished_share(self.config, self.step, self.seconds, self.accelerator.device)

    def steps(self) -> Iterator[tuple[Losses, torch.Tensor]]:
        """Train until the run's end; after each step yields the losses and the gradient's norm, on the device."""
        config, rank = self.config, self.accelerator.process_index
        self.model.train()
        while (progress := self.progress()) < 1:
            started = time.perf_counter()
            rate = config.learning_rate * warmup_cosine(self.step, progress, config.warmup_steps)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            parts: list[Losses] = []
            norm = torch.zeros((), device=self.accelerator.device)
            for part in range(config.accumulate):
                stream = rank * config.accumulate + part
                generator = step_generator(config.seed, self.step, stream, self.accelerator.device)
                rows = slice(stream * config.batch_size, (stream + 1) * config.batch_size)
                images, attributes, latents = self.batches.load(self.step, rows, generator)
                with self.accelerator.accumulate(self.model):
                    losses = self.diffusion.loss(self.model, images, attributes, latents, generator)
                    self.accelerator.backward(losses.total)
                    if self.accelerator.sync_gradients:
                        norm = self.accelerator.clip_grad_norm_(self.parameters, config.max_grad_norm)
                    self.optimizer.step()
                    self.optimizer.zero_grad(set_to_none=True)
                parts.append(losses)
            self.ema.step(self.parameters)
            self.step += 1
            self.seconds += time.perf_counter() - started
            yield _mean(parts), torch.as_tensor(norm)

    # -- checkpoints -------------------------------------------------------------------------------------------

    def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        """All tensors of the run's state, by group."""
        names = [name for name, _ in self.unet.named_parameters()]
        return {
            "unet": dict(self.unet.state_dict()),
            "ema": dict(zip(names, self.ema.shadow_params, strict=True)),
            "optimizer": optimizer_tensors(self.optimizer, names),
        }

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint of a run with the same settings."""
        device = self.accelerator.device
        names = [name for name, _ in self.unet.named_parameters()]
        self.unet.load_state_dict(checkpoint.tensors["unet"])
        self.ema.shadow_params = [checkpoint.tensors["ema"][name].to(device) for name in names]
        self.ema.optimization_step = checkpoint.step
        restore_optimizer(self.optimizer, names, checkpoint.tensors["optimizer"])
        self.step, self.seconds = checkpoint.step, float(checkpoint.state["seconds"])

    def pipeline(self) -> AttributeDiffusionPipeline:
        """A sampler with the averaged weights (a copy)."""
        averaged: Any = AttributeUNet.from_config(self.unet.config)
        averaged.to(self.accelerator.device)
        self.ema.copy_to(averaged.parameters())
        rng = np.random.default_rng(self.config.seed)
        rows = self.batches.attributes
        kept = rows if len(rows) <= MAX_ROWS else rows[rng.choice(len(rows), MAX_ROWS, replace=False)]
        record = self.config.to_dict()
        return AttributeDiffusionPipeline(
            unet=averaged.eval(),
            scheduler=make_scheduler("dpm++", self.diffusion.betas, self.config.objective),
            attribute_names=list(self.batches.dataset.attribute_names),
            latents=self.batches.latents.to_config(),
            attribute_rows=pack_rows(kept),
            training={
                "data": record["data"],
                "dataset_key": self.batches.dataset.key,
                **{key: record[key] for key in ("size", "count", "seed", "pairing", "objective", "batch_size")},
                **({"init": record["init"]} if record["init"] else {}),
                "steps": self.step,
                "seconds": round(self.seconds, 1),
                "processes": self.accelerator.num_processes,
            },
        )


_MAY_CHANGE = {
    *("out", "resume", "steps", "minutes", "threads", "checkpoint_every", "keep_checkpoints"),
    *("sample_every", "guidance", "log_every", "skip_bad", "reader_steps"),
}


def train(config: TrainConfig, dataset: AttributeDataset, *, progress: bool = True, sheet: bool = True) -> TrainResult:
    """Train on ``dataset`` as ``config`` says, writing everything to ``config.out``.

    Ctrl-C or SIGTERM end the run after the current step with a checkpoint; ``resume`` continues it. ``sheet=False``
    leaves out the overview of the finished model.

    Raises ValueError if the folder holds another run, if resuming with settings that do not fit the checkpoint, or if
    ``init`` names no model, or one of another network or other attributes;
    TrainingError if the loss or a gradient is no longer finite.
    """
    store, checkpoint = open_run(config, TrainConfig(), dataset.key, _MAY_CHANGE)
    begin_with = None
    if config.init and checkpoint is None:
        begin_with = AttributeDiffusionPipeline.load(None if config.init == "built-in" else config.init)
    trainer = Trainer(config, dataset)
    if begin_with is not None:
        trainer.start_from(begin_with)
    if checkpoint is not None:
        trainer.restore(checkpoint)

    def draw(path: Path) -> None:
        draw_sheet(
            trainer.pipeline(), path, guidance=config.guidance, seed=config.seed, step=trainer.step, num_steps=10
        )

    if run_steps(trainer, store, draw, progress=progress):
        return TrainResult(trainer.step, True, None, None)
    trainer.accelerator.wait_for_everyone()
    if not trainer.accelerator.is_main_process:
        return TrainResult(trainer.step, False, None, None)
    pipeline = trainer.pipeline()
    _add_encoder(pipeline, trainer, progress)
    model = save_whole_folder(config.out / "model", pipeline.save_pretrained)
    if not sheet:
        return TrainResult(trainer.step, False, model, None)
    samples = config.out / "samples.png"
    draw_sheet(pipeline, samples, guidance=config.guidance, seed=config.seed, step=trainer.step)
    return TrainResult(trainer.step, False, model, samples)


def _add_encoder(pipeline: AttributeDiffusionPipeline, trainer: Trainer, progress: bool) -> None:
    """What `gaussmix faces edit` needs, where Z is matched to the pictures: a reader of their attributes and of Z."""
    config, batches = trainer.config, trainer.batches
    if not config.reader_steps or batches.encoder is None or batches.maps is None:
        return
    with progress_bar("learning to read", config.reader_steps, progress) as show:
        encoder = train_encoder(
            batches.dataset,
            batches.encoder,
            batches.maps,
            steps=config.reader_steps,
            device=trainer.accelerator.device,
            on_progress=lambda step, _loss: show(step),
        )
    pipeline.register_modules(encoder=encoder)
