"""What notebooks show of tables and of comparisons: a line for each column, with a sparkline.

A notebook's HTML has no style sheet: it takes the ink of the page around it, light or dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np

from gaussmix.density._mixture.picture import LINE, as_svg
from gaussmix.tables.chance import Shapes, shapes_of
from gaussmix.tables.report import (
    MEASURES,
    about_groups,
    about_tables,
    kinds_of,
    overlay,
    remarks_on,
    small,
    strongest,
)

_MOST_COLUMNS = 40  # that are shown: a density or a picture is made for each
_MOST_BARS = 8  # categories of a sparkline
_WIDE, _TALL = 110, 26  # pixels of a sparkline
_OLD = "#9aa0a6"  # plain on white and on black, as LINE


def table_html(table: Any) -> str:
    """A line for each of the first columns of a fitted `TableDensity`: what it holds, its density as a sparkline."""
    if not hasattr(table, "counts_"):
        return f"<strong>{escape(repr(table))}</strong>"
    columns = list(table.columns_.values())
    rows = []
    for column in columns[:_MOST_COLUMNS]:
        law = column.density
        drawn = as_svg(law, _WIDE, _TALL, scale=False) if law is not None else ""
        rows.append(((column.name, column.kind, f"{column.share_missing:.1%}", _middle(column)), drawn, 1.0))
    return _lines(repr(table), ("column", "kind", "missing", "5, 50, 95 %, or shares"), rows, len(columns))


def _middle(column: Any) -> str:
    """Three quantiles, or the most frequent categories."""
    if column.density is not None:
        spread = float(np.ptp(column.density.ppf([0.05, 0.95])))
        values = column.density.ppf([0.05, 0.5, 0.95]).tolist()
        return ", ".join(column.quantity.format(value, spread=spread) for value in values)
    shares = list((column.frequencies or {}).items())[:3]
    return ", ".join(f"{name} {count / max(column.n_rows, 1):.0%}" for name, count in shares)


def comparison_html(found: Any) -> str:
    """A line for each of the first columns of a `TableComparison`, the old density in grey below the new one."""
    rows = []
    for column in found.columns[:_MOST_COLUMNS]:
        name = strongest(column) if column.beyond else next(iter(column.measures), "")
        value, floor = column.measures.get(name, (math.nan, math.nan))
        measured = f"{MEASURES[name]} {small(value)}" if name else column.status
        cells = (column.name, kinds_of(column), measured, small(floor), "; ".join(remarks_on(column)))
        rows.append((cells, _drawn(column, found.pairs.get(column.name)), 1.0 if column.moved else 0.6))
    colours = f"--old:{_OLD};--new:{LINE};--soft:currentColor"
    key = "".join(
        f'<span style="margin-right:16px;border-bottom:3px solid {colour}">{escape(said)}</span>'
        for colour, said in zip((_OLD, LINE), about_tables(found), strict=True)
    )
    groups = f"<div>{escape(about_groups(found))}</div>" if found.by else ""
    titles = ("column", "kind", "apart", "by chance up to", "what moved")
    lines = _lines(found.summary, titles, rows, len(found.columns), f'<div style="margin:2px 0 8px">{key}</div>')
    return f'<div style="{colours}">{lines}{groups}</div>'


def _drawn(column: Any, pair: Any) -> str:
    """The densities of both columns, or the shares of the categories that changed most."""
    if column.quantiles and pair:
        shapes = shapes_of(*pair)
    elif column.categories:
        some = column.categories[:_MOST_BARS]
        bars = np.array([[place, move.old, move.new] for place, move in enumerate(some)]).T
        shapes = Shapes(-1.0, float(len(some)), np.zeros((2, 0)), bars, 1.0)
    else:
        return ""
    return f'<div style="width:{_WIDE}px">{overlay(shapes)}</div>'


def _lines(
    title: str, titles: Sequence[str], rows: Iterable[tuple[Sequence[str], str, float]], count: int, below: str = ""
) -> str:
    """A table of the rows, each its cells, a drawing and how strong its ink is, under a title."""
    pad = "text-align:left;padding:1px 12px 1px 0"
    head = "".join(f'<th style="{pad}">{name}</th>' for name in (*titles, ""))
    parts = []
    for cells, drawn, ink in rows:
        style = f' style="{pad}"' if ink == 1.0 else f' style="{pad};opacity:{ink}"'
        told = "".join(f"<td{style}>{escape(cell)}</td>" for cell in cells)
        parts.append(f"<tr>{told}<td>{drawn}</td></tr>")
    more = count - len(parts)
    said = f"<div>and {more} more columns</div>" if more > 0 else ""
    table = f'<table style="border-collapse:collapse"><tr>{head}</tr>{"".join(parts)}</table>'
    return f"<strong>{escape(title)}</strong>{below}{table}{said}"
