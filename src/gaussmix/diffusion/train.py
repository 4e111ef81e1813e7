"""Training the attribute-conditioned diffusion model (D Sec. 3.2); `gaussmix.diffusion.loss` has what is minimised.

Differs from the paper by default: v-prediction with t drawn evenly along the angle arccos sqrt(ab_t), and Z matched to
the images; the presets ``celeba64`` and ``cifar10`` train as the paper.

A run's folder holds, beside what every `Trainer` writes, ``latents.safetensors`` (matched Z) and at the end
``samples.png``.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.training_utils import EMAModel

from gaussmix._progress import progress_bar
from gaussmix.data.base import AttributeDataset
from gaussmix.diffusion.batches import TrainingBatches
from gaussmix.diffusion.conditions import MAX_ROWS, pack_rows
from gaussmix.diffusion.config import DiffusionConfig
from gaussmix.diffusion.encoder import train_encoder
from gaussmix.diffusion.loss import DiffusionLosses, ForwardProcess, detail_weights
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.schedulers import make_scheduler
from gaussmix.diffusion.sheets import draw_sheet
from gaussmix.diffusion.unet import AttributeUNet, ConditionConfig
from gaussmix.training.checkpoints import Checkpoint, save_whole_folder
from gaussmix.training.loop import Trainer, TrainingError, TrainResult
from gaussmix.training.schedule import step_generator

__all__ = ["DiffusionTrainer", "TrainResult", "TrainingError", "train"]


class DiffusionTrainer(Trainer[DiffusionConfig, AttributeUNet]):
    """Trains an `AttributeUNet`, and averages its weights.

    Parameters
    ----------
    config : DiffusionConfig
        The settings.
    dataset : AttributeDataset
        Images with attributes; its training split is used.

    Raises
    ------
    ValueError
        If the folder holds another run or, with ``config.resume``, one of other settings or data; or if
        ``config.init`` names no model, or one of another network or other attributes.
    """

    group = "unet"

    def __init__(self, config: DiffusionConfig, dataset: AttributeDataset):
        super().__init__(config, dataset.key, config.accumulate)
        known = None
        if config.init and self.newest is None:
            known = AttributeDiffusionPipeline.load(None if config.init == "built-in" else config.init)
        with self.accelerator.main_process_first():
            self.batches = TrainingBatches(dataset, config, config.output / "latents.safetensors", self.images_per_step)
        weights = None
        if config.detail_weight and self.batches.maps is not None:
            weights = detail_weights(self.batches.maps, config.detail_weight, config.size)
        self.diffusion = ForwardProcess(config, self.accelerator.device, weights)
        condition = ConditionConfig(
            n_attributes=self.batches.latent_distribution.n_attributes,
            latent_dim=config.latent_dim,
            n_components=config.n_components,
            separation=config.separation,
            base_token=self.batches.latent_distribution.base_token,
            conditioning=config.conditioning,
            injection=config.injection,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.network = AttributeUNet(
                condition=condition,
                sample_size=config.size,
                block_out_channels=tuple(config.channels),
                layers_per_block=config.layers_per_block,
                scale_shift=config.scale_shift,
                classifier=config.classifier_weight > 0,
                classifier_pass=config.classifier_pass,
            )
        self.network.to(self.accelerator.device)
        # use_ema_warmup raises the decay as 1 - (1 + step)^(-3/4) towards its end value.
        self.ema = EMAModel(
            self.network.parameters(),
            decay=config.ema_decay,
            use_ema_warmup=True,
            inv_gamma=1.0,
            power=0.75,
            foreach=True,
        )
        optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.model, self.optimizer = self.accelerator.prepare(self.network, optimizer)
        self.parameters = list(self.model.parameters())  # walking through the modules costs a millisecond a time
        self.optimizers = {"optimizer": (self.optimizer, config.learning_rate)}
        if known is not None:
            self._start_from(known)

    def _start_from(self, known: AttributeDiffusionPipeline) -> None:
        """Begins at the weights of a model of the same attributes and the same network; its pictures' size may differ.

        The distribution of Z is this run's own. Raises ValueError for another network or other attributes.
        """
        init, names = f"--init {self.config.init}", tuple(self.batches.dataset.attribute_names)
        if known.attribute_names != names:
            raise ValueError(f"{init} knows {known.attribute_names}; the data have {names}")
        theirs, ours = _flat(known.unet), _flat(self.network)
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
        self.network.load_state_dict(known.unet.state_dict())
        with torch.no_grad():
            for shadow, parameter in zip(self.ema.shadow_params, self.network.parameters(), strict=True):
                shadow.copy_(parameter)

    def _train_step(self) -> tuple[DiffusionLosses, torch.Tensor]:
        config, rank = self.config, self.accelerator.process_index
        parts: list[DiffusionLosses] = []
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
        return DiffusionLosses.mean(parts), torch.as_tensor(norm)

    def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
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
        averaged: Any = AttributeUNet.from_config(self.network.config)
        averaged.to(self.accelerator.device)
        self.ema.copy_to(averaged.parameters())
        rng = np.random.default_rng(self.config.seed)
        rows = self.batches.attributes
        kept = rows if len(rows) <= MAX_ROWS else rows[rng.choice(len(rows), MAX_ROWS, replace=False)]
        told = "size", "count", "pairing", "objective", *(("init",) if self.config.init else ())
        return AttributeDiffusionPipeline(
            unet=averaged.eval(),
            scheduler=make_scheduler("dpm++", self.diffusion.betas, self.config.objective),
            attribute_names=list(self.batches.dataset.attribute_names),
            latent_distribution=self.batches.latent_distribution.to_config(),
            attribute_rows=pack_rows(kept),
            training=self._record(*told),
        )

    def _draw(self, path: Path) -> None:
        draw_sheet(self.pipeline(), path, guidance=self.config.guidance, seed=self.config.seed, step=self.step)

    def _finish(self, progress: bool, sheet: bool) -> tuple[Path, Path | None]:
        config, batches, pipeline = self.config, self.batches, self.pipeline()
        if config.reader_steps and batches.encoder is not None and batches.maps is not None:
            with progress_bar("learning to read", config.reader_steps, progress) as show:
                encoder = train_encoder(
                    batches.dataset,
                    batches.encoder,
                    batches.maps,
                    steps=config.reader_steps,
                    device=self.accelerator.device,
                    on_progress=lambda step, _loss: show(step),
                )
            pipeline.register_modules(encoder=encoder)
        model = save_whole_folder(config.output / "model", pipeline.save_pretrained)
        if not sheet:
            return model, None
        samples = config.output / "samples.png"
        draw_sheet(pipeline, samples, guidance=config.guidance, seed=config.seed, step=self.step)
        return model, samples


def _flat(unet: AttributeUNet) -> dict[str, Any]:
    """The settings that two networks must share for one to take the other's weights."""
    settings = json.loads(json.dumps({name: value for name, value in unet.config.items() if not name.startswith("_")}))
    del settings["sample_size"]
    return settings | settings.pop("condition")


def train(
    config: DiffusionConfig, dataset: AttributeDataset, *, progress: bool = True, sheet: bool = True
) -> TrainResult:
    """Train on ``dataset`` as ``config`` says: `DiffusionTrainer`, `Trainer.run`."""
    return DiffusionTrainer(config, dataset).run(progress=progress, sheet=sheet)
