"""A torch network that gives distributions
========================================

y runs over [0, 1] and x = y + .3 sin(2 pi y) + noise: an x has up to three y. One small network is trained twice by
likelihood: with one Gaussian it can only be wide; with weights on a moved basis it splits. A guard of .002 keeps an
outlier at tens of nats. Right: the density at one x, beside the true one.
"""

import numpy as np
import torch
from matplotlib import pyplot as plt
from torch import Tensor

from gaussmix import GaussianBasis
from gaussmix.nn import Components, ExpansionDistribution
from gaussmix.plots import INK, LINE

plt.style.use("gaussmix.plots.light")
N = 2000
N_STEPS = 600
SEED = 0
NOISE, SHOWN = 0.05, 0.5  # standard deviation of x given y; the x of the right panel
HEADS = {
    "one Gaussian": Components(torch.zeros(1), torch.ones(1)),
    "weights on a moved basis": GaussianBasis.spanning(-3.0, 3.0, 24, 1.5),
}


def inverse_problem(n: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """x and y (n,)."""
    y = rng.uniform(size=n)
    x = y + 0.3 * np.sin(2 * np.pi * y) + rng.normal(scale=NOISE, size=n)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)


class Regression(torch.nn.Module):
    """x (N,) to one distribution a row: logits, a location, a scale."""

    def __init__(self, basis: GaussianBasis | Components):
        super().__init__()
        self.basis = basis
        n = len(basis.means) if isinstance(basis, Components) else basis.n_components
        self.net = torch.nn.Sequential(
            torch.nn.Linear(1, 64),
            torch.nn.SiLU(),
            torch.nn.Linear(64, 64),
            torch.nn.SiLU(),
            torch.nn.Linear(64, n + 2),
        )

    def forward(self, x: Tensor) -> ExpansionDistribution:
        out = self.net(4 * (x[:, None] - 0.5))
        loc, scale, logits = out[:, 0], torch.nn.functional.softplus(out[:, 1]) + 1e-3, out[:, 2:]
        return ExpansionDistribution(self.basis, logits=logits, loc=loc, scale=scale, guard=0.002)


def trained(basis: GaussianBasis | Components, x: Tensor, y: Tensor, n_steps: int, seed: int) -> Regression:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Regression(basis)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    for _ in range(n_steps):
        optimizer.zero_grad()
        (-model(x).log_prob(y).mean()).backward()
        optimizer.step()
        schedule.step()
    return model.requires_grad_(False)


rng = np.random.default_rng(SEED)
x, y = inverse_problem(N, rng)
new_x, new_y = inverse_problem(2000, rng)
figure = plt.figure(figsize=(12, 4.2))
*panels, cut = figure.subplots(1, 3)
grid = torch.linspace(-0.2, 1.2, 400)
for axes, color, (name, basis) in zip(panels, ("C1", LINE), HEADS.items(), strict=True):
    model = trained(basis, x, y, N_STEPS, SEED)
    places = torch.linspace(-0.1, 1.1, 240)
    density = model(places).log_prob(grid[:, None]).exp()
    axes.contourf(places, grid, density, levels=[0.1, 0.25, 0.5, 1, 2, 4, 8], cmap="Blues", extend="max")
    axes.plot(x[:200], y[:200], ".", color=INK, markersize=2)
    axes.axvline(SHOWN, color=color, linewidth=1, linestyle="--")
    law = model(new_x)
    nats, score = -law.log_prob(new_y).mean().item(), law.crps(new_y).mean().item()
    axes.set(title=f"{name}\n{nats:.2f} nats, CRPS {score:.4f} on new rows", xlabel="x", ylabel="y")
    at = model(torch.tensor([SHOWN])).log_prob(grid).exp()
    cut.plot(grid, at, color=color, linewidth=2, label=name)
inside = (grid >= 0) & (grid <= 1)
error = (SHOWN - grid - 0.3 * (2 * torch.pi * grid).sin()) / NOISE
truth = torch.where(inside, (-0.5 * error**2).exp(), 0)
truth /= torch.trapezoid(truth, grid)
cut.plot(grid, truth, color=INK, linestyle="--", linewidth=1, label="truth")
cut.set(title=f"y at x = {SHOWN}", xlabel="y", ylabel="density", ylim=(-0.1, 4))
cut.legend()
