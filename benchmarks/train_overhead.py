"""What the trainer costs on top of a bare training loop: same network, same batches in size and type, one process.

    bare     autocast, forward, loss, backward, AdamW: the least that any loop must do
    usual    bare + gradient clipping + averaged weights (EMA), what nearly all diffusion training does
    trainer  `DiffusionTrainer.steps()`: usual + accelerate, seeded batches and noise, matched latents, learning rate,
             dropout

The three take turns in one run, so the ratios hold on a busy machine where absolute times do not. The last lines show
what a checkpoint and a line of the log cost, in steps. On a CPU, times are CPU times of this process (one thread).

    python benchmarks/train_overhead.py [--rounds 40] [--steps 1] [--batch-size 8]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from diffusers.training_utils import EMAModel

from gaussmix.data.base import AttributeDataset
from gaussmix.diffusion.config import DiffusionConfig
from gaussmix.diffusion.train import DiffusionTrainer
from gaussmix.diffusion.unet import AttributeUNet
from gaussmix.training.checkpoints import CheckpointStore
from gaussmix.training.loop import MetricsLog

N_IMAGES, N_ATTRIBUTES = 512, 16
LOG_LINE = {"loss": 0.1, "gradient_norm": 1.0, "learning_rate": 1e-3, "images_per_second": 99.0, "seconds": 1.0}


def synthetic_dataset(size: int) -> AttributeDataset:
    """Noise with random attributes: the time of a step does not depend on what is in the pictures."""
    rng = np.random.default_rng(0)
    return AttributeDataset(
        name="noise",
        images=rng.integers(0, 256, (N_IMAGES, size, size, 3), dtype=np.uint8),
        attributes=rng.integers(0, 2, (N_IMAGES, N_ATTRIBUTES), dtype=np.uint8),
        attribute_names=tuple(f"attribute_{k}" for k in range(N_ATTRIBUTES)),
        split=np.zeros(N_IMAGES, np.uint8),
        key="noise",
    )


def plain_loop(trainer: DiffusionTrainer, *, usual: bool) -> Iterator[None]:
    """A loop as one writes it by hand, around a copy of the trainer's network; one step for each `next`."""
    config, device = trainer.config, trainer.accelerator.device
    network = AttributeUNet.from_config(trainer.network.config)
    assert isinstance(network, AttributeUNet)
    network.to(device).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, fused=True)
    averaged = EMAModel(network.parameters(), decay=config.ema_decay, foreach=True) if usual else None
    latents = trainer.batches.latent_distribution
    images = torch.rand(config.batch_size, 3, config.size, config.size, device=device) * 2 - 1
    attributes = torch.randint(0, 2, (config.batch_size, latents.n_attributes), device=device).float()
    z = torch.randn(config.batch_size, latents.n_tokens, latents.latent_dim, device=device)
    signal, sigma = trainer.diffusion.signal, trainer.diffusion.noise
    while True:
        timesteps = torch.randint(0, config.timesteps, (config.batch_size,), device=device)
        noise = torch.randn_like(images)
        a, b = signal[timesteps].view(-1, 1, 1, 1), sigma[timesteps].view(-1, 1, 1, 1)
        with torch.autocast(device.type, torch.bfloat16, enabled=config.mixed_precision == "bf16"):
            answer = network(a * images + b * noise, timesteps, z, attributes, return_dict=False)[0]
        torch.nn.functional.mse_loss(answer.float(), a * noise - b * images).backward()
        if averaged is not None:
            torch.nn.utils.clip_grad_norm_(network.parameters(), config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if averaged is not None:
            averaged.step(network.parameters())
        yield


def clock(device: torch.device) -> float:
    """Seconds: of the CPU used by this process, or on a GPU of the wall once it has finished."""
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def seconds(work: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Mean time of one call."""
    started = clock(device)
    for _ in range(repeats):
        work()
    return (clock(device) - started) / repeats


def measure(config: DiffusionConfig, *, rounds: int, steps: int) -> dict[str, np.ndarray]:
    """Seconds a step of each loop, and of a checkpoint and a log line, one value a round: each `(rounds,)`."""
    trainer = DiffusionTrainer(config, synthetic_dataset(config.size))
    device = trainer.accelerator.device
    loops = {
        "bare": plain_loop(trainer, usual=False),
        "usual": plain_loop(trainer, usual=True),
        "trainer": trainer.steps(),
    }
    for loop in loops.values():  # the first steps allocate memory and choose kernels
        for _ in range(2):
            next(loop)
    names = list(loops)
    times: dict[str, list[float]] = {name: [] for name in [*names, "checkpoint", "log line"]}
    store, log = CheckpointStore(config.output / "checkpoints", keep=1), MetricsLog(config.output)
    for turn in range(rounds):
        for name in names[turn % 3 :] + names[: turn % 3]:  # nobody always goes first
            times[name].append(seconds(lambda loop=loops[name]: next(loop), steps, device))
        times["checkpoint"].append(
            seconds(lambda: store.save(trainer.step, trainer.tensors(), {"seconds": 0.0}), 1, device)
        )
        times["log line"].append(seconds(lambda: log.write(trainer.step, **LOG_LINE), 10, device))
    log.close()
    return {name: np.array(values) for name, values in times.items()}


def report(times: dict[str, np.ndarray]) -> str:
    """A table of medians, and of the median and the quartiles of each round's ratio to the usual loop."""
    lines = [f"{'':12}{'ms':>9}{'ratio to usual':>18}   quartiles"]
    for name, values in times.items():
        low, middle, high = np.percentile(values / times["usual"], [25, 50, 75])
        unit = "" if name in ("bare", "usual", "trainer") else "  (steps)"
        lines.append(f"{name:12}{1e3 * np.median(values):9.2f}{middle:18.3f}   {low:.3f} .. {high:.3f}{unit}")
    return "\n".join(lines)


def main(rounds: int = 40, steps: int = 1, batch_size: int = 8) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        config = DiffusionConfig(output=Path(folder), batch_size=batch_size, steps=1_000_000)
        times = measure(config, rounds=rounds, steps=steps)
    print(report(times))
    return times


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=8)
    main(**vars(parser.parse_args()))
