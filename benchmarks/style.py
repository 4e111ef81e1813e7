"""What `StyleTransfer` costs beside a plain loop in the manner of Gatys et al.: same network, size and losses.

    plain    forward, Gram matrices, losses, backward, Adam, clamp, as one writes it by hand; single precision
    single   `StyleTransfer` in single precision
    default  `StyleTransfer` as it comes: where the processor has it, the network in bfloat16

Times are CPU times of steps that take turns in one process, so ratios hold on a busy machine. Peak memory is that of a
process of its own each, above what it held before its first step. The last lines: steps at 1024 pixels, in one piece
and in tiles. Random weights serve as well as trained ones.

With ``--optimizers FOLDER`` of starry_night.jpg and home.jpg, and $GAUSSMIX_VGG19, instead: the photograph in a draw
from the painting's distribution, by each optimizer in as many steps. What is left of the style (as `Objective` has it,
in single precision), how far the content moved, and how much of the picture is specks, beside the originals' share: a
table in Markdown, written into docs/style.md with ``--page``.

    OMP_NUM_THREADS=1 python benchmarks/style.py [--size 128] [--rounds 15] [--large 1024]
    OMP_NUM_THREADS=1 python benchmarks/style.py --optimizers FOLDER [--sizes 128 256 512] [--steps 50] [--save FOLDER]
        [--page FILE]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gaussmix.sheets import save_images
from gaussmix.style.descent import Descent, OptimizerName
from gaussmix.style.expansion import GramExpansion
from gaussmix.style.images import Picture, read_picture, resize, specks, to_tensor
from gaussmix.style.objective import Objective
from gaussmix.style.scene import Scene
from gaussmix.style.transfer import MAX_PIXELS, StyleTransfer, Target
from gaussmix.style.vgg import CONTENT_LAYERS, STYLE_LAYERS, VGG19Features, gram_matrix

MEMORY_STEPS, MEMORY_SIZE = 4, 384  # smaller pictures drown in what the allocator keeps
BEGIN, END = "<!-- optimizers -->", "<!-- /optimizers -->"  # of the table in a page
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
    scene = Scene.of(noise(size), None, False, transfer.device)
    return transfer._begin(scene, target, to_tensor(noise(size)[None]), "adam", ()).step


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

    for what, max_pixels in (("in one piece", large * large), ("in tiles", large * large // 4)):
        for name in ("single", "default"):
            mb, seconds = memory(name, large, max_pixels)
            print(f"{large} px {what}, {name}: {mb:.0f} MB above the start, {seconds:.1f} CPU s a step")


class Mixed(StyleTransfer):
    """Adam at the pyramid's first size, L-BFGS at the others."""

    def _begin(self, scene: Scene, targets: dict[str, Tensor], pixels: Tensor, optimizer: Any, blends: Any) -> Descent:
        first = tuple(pixels.shape[2:]) == self._plan(scene.content)[0][0]
        return super()._begin(scene, targets, pixels, "adam" if first else "lbfgs", blends)


def left(network: VGG19Features, picture: Picture, content: Picture, target: Target) -> tuple[float, float]:
    """Style and content losses of a picture ``(H, W, 3)``."""
    still = to_tensor(resize(content, *picture.shape[:2])[None])
    losses = []
    for style, kept in ((1.0, 0.0), (0.0, 1.0)):
        weights: dict[str, Any] = {"style_weight": style, "content_weight": kept, "tv_weight": 0.0}
        grams = {layer: gram[None] for layer, gram in target.items()}
        objective = Objective(network, still, grams, **weights, max_pixels=MAX_PIXELS)
        losses.append(float(objective(to_tensor(picture[None]))[0]))
    return losses[0], losses[1]


def optimizers(art: Path, sizes: list[int], steps: int, save: Path | None, page: Path | None) -> None:
    if page is not None and END not in page.read_text(encoding="utf-8").partition(BEGIN)[2]:
        raise SystemExit(f"{page} has no place for the table: {BEGIN} and, after it, {END}")
    network = VGG19Features.load()
    content = read_picture(art / "home.jpg")
    lines = [
        f"| {steps} steps | CPU-seconds | style left | content moved | specks |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for size in sizes:
        painting = read_picture(art / "starry_night.jpg", size)
        for name, picture in (("photograph", read_picture(art / "home.jpg", size)), ("painting", painting)):
            lines.append(f"| {size} px, the {name} | | | | {specks(picture[None])[0]:.3f} |")
        target = GramExpansion().fit(painting, network, random_state=0).sample(1, random_state=1)
        kinds: tuple[tuple[str, type[StyleTransfer], OptimizerName], ...] = (
            ("Adam", StyleTransfer, "adam"),
            ("Adam, then L-BFGS", Mixed, "lbfgs"),
            ("L-BFGS", StyleTransfer, "lbfgs"),
        )
        for name, kind, optimizer in kinds:
            if kind is Mixed and size < 2 * 128:
                continue
            started = time.process_time()
            images = kind(network, size=size, steps=steps, optimizer=optimizer).run(content, target).images
            seconds = time.process_time() - started
            style, moved = left(network, images[0], content, target[0])
            lines.append(f"| {size} px, {name} | {seconds:.1f} | {style:.3f} | {moved:.2f} | {specks(images)[0]:.3f} |")
            print(lines[-1], flush=True)
            if save is not None:
                save_images(images, save / f"{size}-{name}", digits=2)
    table = "\n".join(lines)
    print(table)
    if page is not None:
        before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        page.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--large", type=int, default=1024)
    parser.add_argument("--optimizers", type=Path, metavar="FOLDER")
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--save", type=Path, metavar="FOLDER")
    parser.add_argument("--page", type=Path, metavar="FILE")
    parser.add_argument("--child", choices=LOOPS, help=argparse.SUPPRESS)
    parser.add_argument("--max-pixels", type=int, default=MAX_PIXELS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.child:
        child(given.child, given.size, given.max_pixels)
    elif given.optimizers:
        optimizers(given.optimizers, given.sizes, given.steps, given.save, given.page)
    else:
        main(given.size, given.rounds, given.large)
