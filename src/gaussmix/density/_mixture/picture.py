"""The picture of a density: where a line has its points, on matplotlib's axes, and what notebooks show.

A notebook's HTML has no style sheet: it takes the ink of the page around it, light or dark.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussmix._typing import FloatArray, IntArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gaussmix.density._mixture.distribution import Atoms
    from gaussmix.density.mixture import GaussianMixture1D

WIDTH, HEIGHT = 280, 80
_PEAK = 4.0  # heights of the 98 % point of the line by which its peak may stand above that
_BESIDE = 1e-13  # of an edge lie two points, in widths of the picture
_GUARD_ONLY = 0.98  # mass of atoms from which the rest is taken for the guard of a discrete column
LINE, ATOM = "#4c8fd6", "#d9623f"  # plain on white and on black


def span(law: GaussianMixture1D, log: bool = False) -> tuple[float, float]:
    """The ends of a picture: far quantiles, but not further from the median than some widths of the middle."""
    share, reach = (1e-4, 12.0) if log else (1e-3, 2.5)
    low, q05, middle, q95, high = law.ppf([share, 0.05, 0.5, 0.95, 1 - share]).tolist()
    if q95 > q05:
        low, high = max(low, middle - reach * (q95 - q05)), min(high, middle + reach * (q95 - q05))
    margin = 0.05 * (high - low) or max(abs(low), 1.0) * 0.1
    ends = np.r_[law.bounds, law.atoms.positions]
    return max(low, float(ends.min())) - margin, min(high, float(ends.max())) + margin


def line_points(law: GaussianMixture1D, low: float, high: float) -> FloatArray:
    """Ascending points for a line: even ones, more where the probability is, and both sides of a hard edge."""
    edges = [bound for bound in law.bounds if low < bound < high]
    both = np.array([[edge - _BESIDE * (high - low), edge + _BESIDE * (high - low)] for edge in edges]).ravel()
    x = np.concatenate([np.linspace(low, high, 1001), law.ppf(np.linspace(0.0005, 0.9995, 1000)), edges, both])
    return np.setdiff1d(x[(x >= low) & (x <= high)], law.atoms.positions)


def only_points(law: GaussianMixture1D) -> bool:
    """Whether next to nothing but atoms is there to be drawn."""
    return float(law.atoms.masses.sum()) >= _GUARD_ONLY


def draw_line(axes: Axes, law: GaussianMixture1D, *, fill: bool = False, **style: Any) -> None:
    """The density as a line; point masses as stems of their shares, on an axis at the right."""
    low, high = span(law)
    positions, masses = law.atoms
    if only_points(law):
        draw_stems(axes, positions, masses, "share of a point mass", **style)
        return
    x = line_points(law, low, high)
    y = law.pdf(x)
    (line,) = axes.plot(x, y, **style)
    if fill:
        axes.fill_between(x, y, color=line.get_color(), alpha=0.25, linewidth=0)
    axes.set_ylim(bottom=0, auto=True)  # a higher line may come
    axes.set_ylabel("density")
    if positions.size:
        draw_stems(axes.twinx(), positions, masses, "share of a point mass", color=line.get_color())


def draw_stems(axes: Axes, x: FloatArray, height: FloatArray, about: str, **style: Any) -> None:
    """Stems from 0 with dots on them; ``about`` them the axis says."""
    size = min(4.0, 400 / x.size)
    style = {"markersize": size} | style
    (dots,) = axes.plot(x, height, "o", **style)
    axes.vlines(x, 0, height, color=dots.get_color(), linewidth=style.get("linewidth", size / 2))
    axes.margins(y=0.25)
    axes.set_ylim(bottom=0, auto=True)
    axes.set_ylabel(about)


def describe(law: GaussianMixture1D) -> list[tuple[str, str]]:
    """What there is to say about a mixture, as pairs of a name and a value."""
    n = len(law.weights)
    facts = [("components", f"{n:,}".replace(",", " ")), *describe_numbers(law)]
    if law.bounds != (-math.inf, math.inf):
        facts.append(("bounds", " .. ".join(f"{end:.6g}" if math.isfinite(end) else "open" for end in law.bounds)))
    if law.atoms.masses.size:
        facts.append(("point masses", heaviest(law.atoms)))
    return facts


def describe_numbers(law: GaussianMixture1D) -> list[tuple[str, str]]:
    """Mean, standard deviation and quantiles."""
    quantiles = ", ".join(f"{x:.4g}" for x in law.ppf([0.05, 0.25, 0.5, 0.75, 0.95]).tolist())
    return [
        ("mean", f"{law.mean():.6g}"),
        ("std", f"{law.std():.6g}"),
        ("quantiles 5, 25, 50, 75, 95 %", quantiles),
    ]


def heaviest(atoms: Atoms) -> str:
    """The four heaviest atoms, and how many more there are."""
    order = np.argsort(-atoms.masses, kind="stable")[:4]
    said = [f"{atoms.masses[j]:.2%} at {atoms.positions[j]:.6g}" for j in order]
    more = atoms.masses.size - len(said)
    return ", ".join(said + ([f"{more} more"] if more else []))


def as_html(law: GaussianMixture1D, facts: Iterable[tuple[str, str]]) -> str:
    """A table of facts and a drawing, in the colours of the page around them."""
    rows = "".join(
        f'<tr><th style="text-align:left;font-weight:normal;opacity:.7;padding:1px 12px 1px 0">{html.escape(name)}</th>'
        f'<td style="text-align:left;padding:1px 0">{html.escape(value)}</td></tr>'
        for name, value in facts
    )
    return (
        '<div style="display:flex;flex-wrap:wrap;gap:24px;align-items:center">'
        f"<div><strong>{html.escape(type(law).__name__)}</strong>"
        f'<table style="margin:4px 0 0;border-collapse:collapse">{rows}</table></div>{as_svg(law)}</div>'
    )


def text_html(report: object) -> str:
    """What ``print`` says of a report."""
    style = "margin:0;white-space:pre-wrap;color:inherit;background:none"
    return f'<strong>{html.escape(type(report).__name__)}</strong><pre style="{style}">{html.escape(str(report))}</pre>'


def as_svg(law: GaussianMixture1D, wide: int = WIDTH, tall: int = HEIGHT, *, scale: bool = True) -> str:
    """The density as a filled line, point masses as stems; with ``scale`` its ends, in the ink of the page."""
    low, high = span(law)
    base, full = tall - 4, tall - 10

    def across(x: FloatArray) -> FloatArray:
        return (x - low) / (high - low) * wide

    parts = []

    if not only_points(law):
        x = line_points(law, low, high)
        y = law.pdf(x)
        heights = base - full * np.minimum(y / min(float(y.max()), _PEAK * float(np.quantile(y, 0.98))), 1)
        kept = _thinned(across(x), y)
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(across(x[kept]), heights[kept], strict=True))
        style = f'fill="{LINE}" fill-opacity=".3" stroke="{LINE}" stroke-width="1.5"'
        parts.append(f'<path d="M0,{base} {line} {wide},{base}" {style}/>')
    positions, masses = law.atoms
    for x, y in zip(across(positions), base - full * masses / masses.max(initial=0), strict=True):
        parts.append(f'<path d="M{x:.1f} {base}V{y:.1f}" stroke="{ATOM}" stroke-width="2"/>')
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{ATOM}"/>')
    parts.append(f'<path d="M0 {base}H{wide}" stroke="currentColor" stroke-opacity=".5"/>')
    for x, value, anchor in ((0, low, "start"), (wide, high, "end")) if scale else ():
        style = f'font-size="10" text-anchor="{anchor}" fill="currentColor"'
        parts.append(f'<text x="{x}" y="{tall + 9}" {style}>{html.escape(f"{value:.4g}")}</text>')
    high_all = tall + 14 * scale
    size = f'width="{wide}" height="{high_all}" viewBox="0 0 {wide} {high_all}"'
    label = html.escape(f"density from {low:.4g} to {high:.4g}")
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _thinned(across: FloatArray, y: FloatArray) -> IntArray:
    """Which of the points of a line are drawn: of each pixel column the lowest and the highest."""
    pixel = np.floor(across).astype(np.int64)
    order = np.lexsort((y, pixel))
    first = np.flatnonzero(np.diff(pixel[order], prepend=-1))
    last = np.append(first[1:], pixel.size) - 1
    return np.unique(np.concatenate([order[first], order[last], [0, pixel.size - 1]]))
