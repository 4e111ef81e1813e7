"""What `StyleTransfer` costs beside a plain loop in the manner of Gatys et al.: same network, size and losses.

    plain    forward, Gram matrices, losses, backward, Adam, clamp, as one writes it by hand; single precision
    single   `StyleTransfer` in single precision
    default  `StyleTransfer` as it comes: where the processor has it, the network in bfloat16

Times are CPU times of steps that take turns in one process, so ratios hold on a busy machine. Peak memory is that of a
process of its own each, above what it held before its first step. The last lines: a whole picture of 128 pixels, and
steps at 1024 pixels, in one piece and in tiles. Random weights serve as well as trained ones.

    OMP_NUM_THREADS=1 python benchmarks/style.py [--size 128] [--rounds 15] [--large 1024]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gaussmix.style.images import to_tensor
from gaussmix.style.transfer import MAX_PIXELS, StyleTransfer
from gaussmix.style.vgg import CONTENT_LAYERS, STYLE_LAYERS, VGG19Features, gram_matrix

MEMORY_STEPS, MEMORY_SIZE = 4, 384  # smaller pictures drown in what the allocator keeps
PICTURE_STEPS = 200
LOOPS = ("plain", "single", "default")


def noise(size: int) -> NDArray[np.uint8]:
    return np.random.default_rng(size).integers(0, 256, (size, size, 3), dtype=np.uint8)


def style_of(network: VGG19Features) -> dict[str, Tensor]:
    with torch.no_grad():
        found = network(to_tensor(noise(96)[None]))
    return {layer: gram_matrix(found[layer]) for layer in STYLE_LAYERS}


def plain_loop(network: VGG19Features, size: int, target: dict[str, Tensor]) -> Callable[[], object]:
    content = to_tensor(noise(size)[None])
    with torch.no_grad():
        still = {layer: network(content)[layer] for layer in CONTENT_LAYERS}
    x = content.clone().requires_grad_()
    optimizer = torch.optim.Adam([x], lr=0.03, betas=(0.9, 0.99))

    def step() -> None:
        optimizer.zero_grad()
        found = network(x)
        loss = torch.zeros(())
        for layer, gram in target.items():
            loss = loss + F.mse_loss(gram_matrix(found[layer]), gram) / gram.square().mean() / len(target)
        for layer, features in still.items():
            loss = loss + 0.1 * F.mse_loss(found[layer], features) / features.square().mean()
        loss = loss + 0.5 * (x.diff(dim=2).square().mean() + x.diff(dim=3).square().mean())
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            x.clamp_(0, 1)

    return step


def our_loop(
    network: VGG19Features, size: int, target: dict[str, Tensor], *, half: bool | None, max_pixels: int = MAX_PIXELS
) -> Callable[[], object]:
    transfer = StyleTransfer(network, size=size, half_precision=half, max_pixels=max_pixels)
    return transfer._begin(noise(size), target, to_tensor(noise(size)[None])).step


def loop(name: str, network: VGG19Features, size: int, max_pixels: int = MAX_PIXELS) -> Callable[[], object]:
    target = style_of(network)
    if name == "plain":
        return plain_loop(network, size, target)
    return our_loop(network, size, target, half=False if name == "single" else None, max_pixels=max_pixels)


def forget_peak() -> float:
    """MB that this process holds now; `peak` counts from here. Linux alone."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> float:
    """MB that this process has held at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1000


def memory(name: str, size: int, max_pixels: int = MAX_PIXELS) -> tuple[float, float]:
    """(MB, CPU seconds a step) of some steps in a process of their own."""
    command = [sys.executable, __file__, "--child", name, "--size", str(size), "--max-pixels", str(max_pixels)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    megabytes, seconds = json.loads(done.stdout)
    return megabytes, seconds


def child(name: str, size: int, max_pixels: int) -> None:
    network = VGG19Features.random()
    step = loop(name, network, size, max_pixels)
    before, started = forget_peak(), time.process_time()
    for _ in range(MEMORY_STEPS):
        step()
    print(json.dumps([peak() - before, (time.process_time() - started) / MEMORY_STEPS]))


def main(size: int = 128, rounds: int = 15, large: int = 1024) -> None:
    network = VGG19Features.random()
    steps = {name: loop(name, network, size) for name in LOOPS}
    times: dict[str, list[float]] = {name: [] for name in LOOPS}
    for turn in range(rounds + 1):
        for name in LOOPS[turn % 3 :] + LOOPS[: turn % 3]:  # nobody always goes first
            started = time.process_time()
            steps[name]()
            if turn > 0:  # the first allocates memory and chooses kernels
                times[name].append(time.process_time() - started)
    held = {name: memory(name, MEMORY_SIZE)[0] for name in LOOPS}
    print(f"{size} px     CPU s a step   ratio (quartiles)   MB at {MEMORY_SIZE} px    ratio")
    for name in LOOPS:
        low, middle, high = np.percentile(np.array(times[name]) / times["plain"], [25, 50, 75])
        ratios = f"{middle:.3f} ({low:.3f} .. {high:.3f})"
        print(
            f"{name:10}{np.median(times[name]):13.3f}   {ratios:24}{held[name]:6.0f}{held[name] / held['plain']:9.3f}"
        )

    started = time.process_time()
    transfer = StyleTransfer(network, size=size, steps=PICTURE_STEPS)
    transfer.run(noise(size), [{layer: gram[0] for layer, gram in style_of(network).items()}])
    print(f"a picture of {size} px, {PICTURE_STEPS} steps: {time.process_time() - started:.1f} CPU s")
    for what, max_pixels in (("in one piece", large * large), ("in tiles", large * large // 4)):
        for name in ("single", "default"):
            mb, seconds = memory(name, large, max_pixels)
            print(f"{large} px {what}, {name}: {mb:.0f} MB above the start, {seconds:.1f} CPU s a step")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--large", type=int, default=1024)
    parser.add_argument("--child", choices=LOOPS, help=argparse.SUPPRESS)
    parser.add_argument("--max-pixels", type=int, default=MAX_PIXELS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.child:
        child(given.child, given.size, given.max_pixels)
    else:
        main(given.size, given.rounds, given.large)
