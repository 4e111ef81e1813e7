"""Precision, recall, density, coverage, diversity and the nearest row by loops over pairs, as in the papers."""

from __future__ import annotations

import math

import numpy as np

Rows = np.ndarray


def distance(x: np.ndarray, y: np.ndarray) -> float:
    return math.sqrt(sum((float(u) - float(v)) ** 2 for u, v in zip(x, y, strict=True)))


def radius(rows: Rows, i: int, k: int) -> float:
    """Distance of row `i` to its k-th nearest other row."""
    return sorted(distance(rows[i], rows[j]) for j in range(len(rows)) if j != i)[k - 1]


def manifold_scores(real: Rows, generated: Rows, k: int) -> tuple[float, float, float, float]:
    """Precision and recall of Kynkaanniemi et al. (2019), density and coverage of Naeem et al. (2020)."""
    r = [radius(real, i, k) for i in range(len(real))]
    s = [radius(generated, j, k) for j in range(len(generated))]
    inside = [[distance(x, y) <= ri for x, ri in zip(real, r, strict=True)] for y in generated]  # of a real ball
    reached = [any(distance(x, y) <= sj for y, sj in zip(generated, s, strict=True)) for x in real]
    covered = [any(inside[j][i] for j in range(len(generated))) for i in range(len(real))]
    precision = [any(row) for row in inside]
    density = [sum(row) / k for row in inside]
    return tuple(float(np.mean(values)) for values in (precision, reached, density, covered))  # type: ignore[return-value]


def pairwise_diversity(rows: Rows) -> float:
    return float(np.mean([distance(rows[i], rows[j]) for i in range(len(rows)) for j in range(i)]))


def nearest_distances(a: Rows, b: Rows) -> list[float]:
    return [min(distance(x, y) for y in b) for x in a]
