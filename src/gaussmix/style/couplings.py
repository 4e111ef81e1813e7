"""How the entries of Gram matrices hang together when drawn; rows are those of `gaussmix.style.grams`.

    x_ce        entry e of the row of crop c, c = 1..N
    entry       g_e ~ sum_i pi_ei Normal(mu_ei, (t r_e)^2), each entry by itself       (E Sec. 3.2.2 and Algorithm 2)
                r_e = (max - min) / n,  mu_ei = min + i r_e,  i = 0..n-1
    crop        the same with pi = c / N (the share of the crops nearest to mu_i), but all entries take the same crop's
    pca         g = m + sum_k s_k a_k,  s_k ~ p_k, a `gaussmix.GMMExpansion` of the crops' scores on principal axis k

Of E = 306 000 entries by n = 100 components nothing is stored. A draw from a mixture with the weights c / N is the
centre nearest to a random crop's entry, plus noise; Algorithm 2 as printed, affine in c, takes or leaves such a pick.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from gaussmix._typing import FloatArray
from gaussmix.density.estimator import GMMExpansion
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.density.rules import interval
from gaussmix.style.grams import Rows

PickRule = Literal["histogram", "algorithm2"]

_FLAT = 1e-6
"""Share of the largest variance below which a principal axis is rounding: the rows are in single precision."""


class Picks:
    """Rows whose entries are those of random crops, on a grid, plus noise.

    Of ``rows`` ``(N, E)`` crop c is picked with probability ``shares[c]``: one crop for all entries (``together``), or
    one for each. ``rule`` makes weights of the counts: c / N, or Algorithm 2 as E prints it with negative weights set
    to zero, the latter not ``together``. ``n_components`` and ``bandwidth`` are n and t.
    """

    def __init__(
        self, rows: Rows, shares: FloatArray, *, together: bool, rule: PickRule, n_components: int, bandwidth: float
    ):
        self.rows, self.shares, self.together = rows, shares, together
        self.n_components, self.bandwidth = n_components, bandwidth
        self.low = rows.min(0)
        self.spacing = (rows.max(0) - self.low) / n_components
        if rule == "algorithm2":  # unnormalised weights are flat + slope * count
            t, n = bandwidth, n_components
            step = float(interval(-0.25, 0.25) - interval((1 - t / 4) / t, 1 / t))
            self.flat, self.slope = (1 - step * len(rows)) / n, step * (1 + 1 / n)
        else:
            self.flat, self.slope = 0.0, 1.0

    def draw(self, rng: np.random.Generator) -> Rows:
        """One row ``(E,)``."""
        n_rows, size = self.rows.shape
        pick = rng.choice(n_rows, p=self.shares) if self.together else rng.choice(n_rows, size, p=self.shares)
        cell = self._cells(self.rows[pick, np.arange(size)])
        if self.flat > 0:  # some weight for every centre
            even = self.n_components * self.flat
            anywhere = rng.random(size) < even / (even + self.slope * n_rows)
            cell[anywhere] = rng.integers(self.n_components, size=int(anywhere.sum()))
        elif self.flat < 0:
            cell = self._accepted(cell, rng)
        noise = self.bandwidth * rng.standard_normal(size, np.float32)
        return (self.low + self.spacing * (cell + noise)).astype(np.float32, copy=False)

    def _accepted(self, cell: Rows, rng: np.random.Generator) -> Rows:
        """Cells drawn with weights max(0, flat + slope c) for cells picked with weights c: rejection."""
        n_rows = len(self.rows)
        most = self.slope + self.flat / n_rows
        left = np.arange(len(cell))
        drawn = cell
        while True:
            own = self._cells(self.rows[:, left], left)
            count = n_rows * np.einsum("ne,n->e", own == drawn, self.shares)
            again = rng.random(len(left)) * most >= self.slope + self.flat / count
            cell[left[~again]] = drawn[~again]
            left = left[again]
            if not len(left):
                return cell
            drawn = self._cells(self.rows[rng.choice(n_rows, len(left), p=self.shares), left], left)

    def _cells(self, x: Rows, entries: NDArray[np.intp] | slice = slice(None)) -> Rows:
        """The number of the centre nearest to values ``(..., len(entries))`` of these entries, 0 where all agree."""
        low, spacing = self.low[entries], self.spacing[entries]
        place = np.divide(x - low, spacing, out=np.zeros_like(x), where=spacing > 0)
        return np.minimum(np.rint(place), self.n_components - 1)


@dataclass(frozen=True, eq=False)
class PrincipalScores:
    """Rows on principal axes, a one-dimensional expansion for the scores on each.

    ``mean`` ``(E,)`` and ``axes`` ``(R, E)`` in the units of the rows, at most N - 1 axes; R ``marginals``.
    """

    mean: Rows
    axes: Rows
    marginals: tuple[GaussianMixture1D, ...]

    @classmethod
    def fit(cls, rows: Rows, scale: Rows, expansion: GMMExpansion) -> PrincipalScores:
        """Learn from rows ``(N, E)``; axes are principal for rows times ``scale`` ``(E,)``, scores of unit variance."""
        mean = rows.mean(0)
        centred = rows - mean
        scaled = centred * scale
        values, vectors = np.linalg.eigh((scaled @ scaled.T).astype(np.float64) / len(rows))
        wide = values > _FLAT * values[-1]
        values, vectors = values[wide][::-1], vectors[:, wide][:, ::-1]
        scores = vectors * np.sqrt(len(rows))
        axes = (scores.T / len(rows)).astype(np.float32) @ centred
        return cls(mean, axes, expansion.fit(scores).distributions_)

    def draw(self, rng: np.random.Generator) -> Rows:
        """One row ``(E,)``."""
        return self._rows(np.array([marginal.rvs(1, random_state=rng)[0] for marginal in self.marginals]))

    def walk(self, n: int, rng: np.random.Generator) -> Rows:
        """``(n, E)``: a closed walk, each of whose points has the distribution of a draw.

        s_k = F_k^-1(Phi(z_k)), z = cos(2 pi i / n) u + sin(2 pi i / n) v with standard normal u and v: a circle through
        two draws, in the Gaussian copula.
        """
        angle = 2 * np.pi * np.arange(n)[:, None] / n
        u, v = rng.standard_normal((2, len(self.marginals)))
        place = ndtr(np.cos(angle) * u + np.sin(angle) * v)
        return self._rows(np.stack([m.ppf(q) for m, q in zip(self.marginals, place.T, strict=True)], 1))

    def _rows(self, scores: FloatArray) -> Rows:
        return np.asarray(self.mean + scores.astype(np.float32) @ self.axes, np.float32)
