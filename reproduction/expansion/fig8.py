"""E Figure 8, Eq. 10: the autoencoder with its discriminator, how well it reconstructs, and the sign of its loss.

E shows the structure as a picture and prints no number. Here: what was built, its error on test images beside that of
principal components of as many numbers, and Eq. 10 trained as printed and with the sign that works.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from gaussmix.autoencoder.config import PRESETS
from gaussmix.autoencoder.evaluate import REAL, RECONSTRUCTION
from gaussmix.autoencoder.model import ClassConditionalAutoencoder, to_tensor
from gaussmix.autoencoder.sheets import as_rgb
from reproduction.expansion import latents
from reproduction.page import Measured
from reproduction.runs import counted, cpu_seconds

SIGNS = ("working", "printed")
"""-log D(G(z)), and +log(1 - D(G(z))) with the weight -alpha."""
_PCA_ROWS = 10_000
_SHOWN = 8


@dataclass(frozen=True)
class Config(latents.LatentPageConfig):
    """Settings of Figure 8."""

    sign_weight: float = 0.05
    """alpha in the comparison of signs; E prints none, and at the presets' .002 the sign hardly matters."""
    sign_steps: int = 600
    """Training steps in it."""

    @property
    def n_steps(self) -> int:
        """Autoencoders, those of the signs too."""
        return super().n_steps + self.repetitions * len(SIGNS)

    def quick(self) -> Config:
        return replace(self, sign_steps=30, **latents.QUICK)


Rows = dict[str, list[dict[str, float]]]


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Return errors of reconstruction and the discriminator's judgements, by seed and over the seeds."""
    one_more = counted(on_step)
    rows: Rows = {}
    shown: dict[str, NDArray[np.uint8]] = {}
    built: dict[str, Any] = {}
    for images in latents.data_sets(config):
        rows[images.name] = []
        for seed in config.seeds:
            model, out = images.autoencoder(seed)
            rows[images.name].append({**_reconstruct(images, model), "cpu_seconds": cpu_seconds(out)})
            if seed == config.seed:
                built = built or _structure(model)
                few = images.reference.images[:_SHOWN]
                shown[images.name] = np.stack([as_rgb(few), as_rgb(model.decode(model.encode(few)))])
            one_more()
    signs = _signs(config, one_more)
    ours = {
        "reconstruction": rows,
        "reconstruction_over_seeds": {name: latents.over_seeds(each) for name, each in rows.items()},
        "pca_rows": _PCA_ROWS,
        "adversarial_weight": PRESETS["mnist"].adversarial_weight,
        "signs": signs,
        "signs_over_seeds": {sign: latents.over_seeds(each) for sign, each in signs.items()},
        "printed_less_working": latents.paired_differences(signs["printed"], signs["working"]),
    }
    paper = {"loss": "-alpha/2 E log(1 - D(G(z))) + ||x - G(z)||^2", "alpha": None}
    return Measured(ours | built, paper, {"pairs": shown})


def _reconstruct(subject: latents.JudgedImages, model: ClassConditionalAutoencoder) -> dict[str, float]:
    test, train = (subject.dataset.indices(split) for split in ("test", "train"))
    images = subject.dataset.images[test]
    size = model.config["latent_dim"]
    flat = images.reshape(len(images), -1) / 255.0
    known = subject.dataset.images[train[:_PCA_ROWS]].reshape(-1, flat.shape[1]) / 255.0
    components = PCA(size, svd_solver="covariance_eigh").fit(known)
    decoded = model.decode(model.encode(images))
    judge, labels = subject.judge, subject.dataset.labels[test]
    return {
        "error": float(((decoded.reshape(flat.shape) / 255.0 - flat) ** 2).mean()),
        "PCA": float(((components.inverse_transform(components.transform(flat)) - flat) ** 2).mean()),
        "mean image": float(((flat - known.mean(0)) ** 2).mean()),
        REAL: float((judge.predict(images) == labels).mean()),
        RECONSTRUCTION: float((judge.predict(decoded) == labels).mean()),
        "latent_dim": size,
    }


def _signs(config: Config, one_more: Callable[[], None]) -> Rows:
    """Error and the discriminator's judgements with each sign, by seed, of scikit-learn's digits."""
    rows: Rows = {sign: [] for sign in SIGNS}
    shorter = replace(config, training_steps=config.sign_steps)
    for digits in latents.data_sets(shorter, {latents.DIGITS: latents.DIGITS}):
        images = digits.dataset.images[digits.dataset.indices("test")]
        for seed, sign in product(config.seeds, SIGNS):
            model, _ = digits.autoencoder(seed, adversarial_sign=sign, adversarial_weight=config.sign_weight)
            decoded = model.decode(model.encode(images))
            rows[sign].append(
                {
                    "error": float((((decoded - images.astype(float)) / 255) ** 2).mean()),
                    "D(decoded)": _real(model, decoded),
                    "D(real)": _real(model, images),
                }
            )
            one_more()
    return rows


@torch.no_grad()
def _real(model: ClassConditionalAutoencoder, images: NDArray[np.uint8]) -> float:
    """The discriminator's mean probability of "real"."""
    pixels = to_tensor(images, model.config["image_size"], model.config["in_channels"])
    return float(model.discriminator(pixels)[0].sigmoid().mean())


def _structure(model: ClassConditionalAutoencoder) -> dict[str, Any]:
    parts = {"encoder": model.encoder, "decoder": model.decoder, "discriminator": model.discriminator}
    sizes = ("image_size", "in_channels", "channels", "hidden", "latent_dim")
    weights = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    return {"weights": weights, "structure": {name: model.config[name] for name in sizes}}


def draw(measured: Measured) -> dict[str, Figure]:
    """Return test images above their reconstructions."""
    title = "Test images and their reconstructions"
    return {"": latents.draw_blocks(title, measured.seen["pairs"].items(), ("image", "decoded"))}
