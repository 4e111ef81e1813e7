"""E Figure 8, Eq. 10: the autoencoder with its discriminator, how well it reconstructs, and the sign of its loss.

E shows the structure as a picture and prints no number. Here: what was built, its error on test images beside that of
principal components of as many numbers, and Eq. 10 trained as printed and with the sign that works.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from gaussmix.autoencoder.evaluate import REAL, RECONSTRUCTION
from gaussmix.autoencoder.model import ClassConditionalAutoencoder, to_tensor
from gaussmix.autoencoder.sheets import as_rgb
from reproduction.diffusion.model import Faces, draw_faces
from reproduction.expansion import latents as latent_study
from reproduction.expansion.latents import OnStep, Run, StudyConfig, Subject, data_words, subjects
from reproduction.page import Cell, Picture, Result, Table
from reproduction.runs import counted, runs_under
from reproduction.statistics import difference, interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIGNS = {"working": "-log D(G(z)), ours", "printed": "+log(1 - D(G(z))) with the weight -alpha, as printed"}
_PCA_ROWS = 10_000
_SHOWN = 8


@dataclass(frozen=True)
class Config(StudyConfig):
    """Settings of Figure 8."""

    sign_weight: float = 0.05
    """alpha in the comparison of signs; E prints none, and at the presets' .002 the sign hardly matters."""
    sign_steps: int = 600
    """Training steps in it."""

    @property
    def n_steps(self) -> int:
        """Runs."""
        return self.repetitions * (len(self.sources) + len(SIGNS))

    def quick(self) -> Config:
        return replace(self, sign_steps=30, **latent_study.QUICK)


Rows = dict[str, list[dict[str, float]]]


def run(config: Config, on_step: OnStep) -> Result:
    """Figure 8."""
    one_more = counted(on_step)
    measured: Rows = {}
    shown: dict[str, NDArray[np.uint8]] = {}
    model: ClassConditionalAutoencoder | None = None
    with runs_under(config.runs) as folder:
        for subject in subjects(config):
            measured[subject.name] = []
            for seed in config.seeds:
                trained = subject.run(seed, folder)
                measured[subject.name].append(_measure(subject, trained))
                if seed == config.seed:
                    model = model or trained.model
                    shown[subject.name] = _pairs(subject, trained)
                one_more()
        signs = _signs(config, folder, one_more)
    assert model is not None
    return Result(
        title="E Figure 8: the autoencoder with its discriminator, and Eq. 10",
        about="What was built after E's picture of the structure, how near its reconstructions of test images are, and "
        "what the sign in Eq. 10 does.",
        ours={"reconstruction": measured, "signs": signs, "weights": _weights(model)},
        paper={"loss": "-alpha/2 E log(1 - D(G(z))) + ||x - G(z)||^2", "alpha": None},
        tables=(_structure(model), _reconstruction_table(measured), _sign_table(signs)),
        readings=(
            f"{data_words(config)} {config.repetitions} seeds.",
            'E takes "exactly" the structure of Kolouri et al. 2018 and shows no sizes. Ours: strided convolutions '
            "each way without normalisation, so that an image's latents do not depend on its batch. E's "
            'discriminator has "classification output", which Eq. 10 does not use; its weight in our loss is .002, '
            "that of real or decoded too.",
            "Error: mean squared difference of pixels in [0, 1] over the test images. Principal components: of "
            f"{_PCA_ROWS} training images at most, as many as the autoencoder has latents.",
            f"Signs: scikit-learn's digits, {config.sign_steps} steps with alpha = {config.sign_weight:g}, all else "
            'equal seed by seed. D: mean over test images of the discriminator\'s probability of "real".',
            "Intervals: Student's t over the seeds.",
        ),
        findings=_findings(measured, signs),
        pictures=(
            Picture(
                "",
                "Test images, the first eight, and below each its reconstruction from the latents alone.",
                lambda: _draw(shown),
            ),
        ),
    )


def _measure(subject: Subject, trained: Run) -> dict[str, float]:
    test, train = (subject.dataset.indices(split) for split in ("test", "train"))
    images = subject.dataset.images[test]
    size = trained.model.config["latent_dim"]
    flat = images.reshape(len(images), -1) / 255.0
    known = subject.dataset.images[train[:_PCA_ROWS]].reshape(-1, flat.shape[1]) / 255.0
    components = PCA(size, svd_solver="covariance_eigh").fit(known)
    decoded = trained.model.decode(trained.model.encode(images))
    judge, labels = subject.judge, subject.dataset.labels[test]
    return {
        "error": float(((decoded.reshape(flat.shape) / 255.0 - flat) ** 2).mean()),
        "PCA": float(((components.inverse_transform(components.transform(flat)) - flat) ** 2).mean()),
        "mean image": float(((flat - known.mean(0)) ** 2).mean()),
        REAL: float((judge.predict(images) == labels).mean()),
        RECONSTRUCTION: float((judge.predict(decoded) == labels).mean()),
        "cpu_seconds": trained.cpu_seconds,
        "latent_dim": size,
    }


def _signs(config: Config, folder: Path, one_more: Callable[[], None]) -> Rows:
    """Error and the discriminator's judgements with each sign, by seed."""
    plain = replace(config, mnist="", fashion_mnist="", training_steps=config.sign_steps)
    (digits,) = subjects(plain)
    images = digits.dataset.images[digits.dataset.indices("test")]
    rows: Rows = {sign: [] for sign in SIGNS}
    for seed in config.seeds:
        for sign in SIGNS:
            changes = {"adversarial_sign": sign, "adversarial_weight": config.sign_weight}
            model = digits.run(seed, folder, **changes).model
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


def _weights(model: ClassConditionalAutoencoder) -> dict[str, int]:
    parts = {"encoder": model.encoder, "decoder": model.decoder, "discriminator": model.discriminator}
    return {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}


def _structure(model: ClassConditionalAutoencoder) -> Table:
    own = model.config
    size, channels, hidden, latent = own["image_size"], list(own["channels"]), own["hidden"], own["latent_dim"]
    down = f"image {size} x {size} x {own['in_channels']}, convolutions to {channels} channels, each halving the sides"
    layers = {
        "encoder": f"{down}, {hidden} units, z of {latent} numbers",
        "decoder": f"z, {hidden} units, {channels[-1]} feature maps, transposed convolutions, each doubling the sides",
        "discriminator": f"{down}, {hidden} units, two heads: real or decoded, and {len(own['class_names'])} classes",
    }
    weights = _weights(model)
    return Table(
        "Structure",
        ("part", "layers", "weights"),
        tuple((n, layers[n], f"{weights[n]:,}".replace(",", " ")) for n in layers),
    )


def _reconstruction_table(measured: Rows) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, runs in measured.items():
        same = {key: f"{runs[0][key]:.3g}" for key in ("PCA", "mean image", REAL)}  # for all seeds
        own = {key: str(interval([run[key] for run in runs])) for key in ("error", RECONSTRUCTION)}
        rows.append(
            (
                f"{name}, d = {runs[0]['latent_dim']:g}",
                *({**same, **own}[key] for key in ("error", "PCA", "mean image", REAL, RECONSTRUCTION)),
                f"{np.mean([run['cpu_seconds'] for run in runs]) / 60:.1f}",
            )
        )
    columns = ("data", "error", "PCA", "mean image", "accuracy, real", "accuracy, decoded", "training, CPU-minutes")
    return Table("Test images and their reconstructions: mean ± 95 % interval", columns, tuple(rows))


def _sign_table(signs: Rows) -> Table:
    rows = tuple(
        (SIGNS[name], *(str(interval([run[key] for run in runs])) for key in runs[0])) for name, runs in signs.items()
    )
    return Table("The sign in Eq. 10", ("adversarial term", "error", "D(decoded)", "D(real)"), rows)


def _findings(measured: Rows, signs: Rows) -> tuple[str, ...]:
    error = difference([r["error"] for r in signs["printed"]], [r["error"] for r in signs["working"]])
    judged = {name: interval([r["D(decoded)"] for r in rows]) for name, rows in signs.items()}
    lower = interval(
        [r["D(decoded)"] - w["D(decoded)"] for r, w in zip(signs["printed"], signs["working"], strict=True)]
    )
    found = [
        f"{name}: d = {runs[0]['latent_dim']:g} numbers give an error of {np.mean([r['error'] for r in runs]):.4f}, "
        f"principal components {np.mean([r['PCA'] for r in runs]):.4f}; the judge recognises "
        f"{np.mean([r[RECONSTRUCTION] for r in runs]):.1%} of reconstructions and "
        f"{np.mean([r[REAL] for r in runs]):.1%} of the images."
        for name, runs in measured.items()
    ]
    numbers = (
        f"the discriminator takes decoded images for real with probability {judged['printed']} as printed and "
        f"{judged['working']} with ours; the error changes by {error}"
    )
    if lower.sign < 0:
        found.append(f"Eq. 10 as printed teaches the decoder to be recognised: {numbers}.")
    else:
        found.append(f"That Eq. 10 as printed teaches the decoder to be recognised is not shown: {numbers}.")
    return tuple(found)


def _pairs(subject: Subject, trained: Run) -> NDArray[np.uint8]:
    """``(2, _SHOWN, S, S, 3)``: test images and reconstructions."""
    images = subject.reference.images[:_SHOWN]
    return np.stack([as_rgb(images), as_rgb(trained.model.decode(trained.model.encode(images)))])


def _draw(shown: dict[str, NDArray[np.uint8]]) -> Figure:
    blocks = [
        Faces(name, images, ("image", "decoded") if not i else ()) for i, (name, images) in enumerate(shown.items())
    ]
    return draw_faces("Test images and their reconstructions", *blocks)
