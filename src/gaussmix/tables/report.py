"""What is said of two tables: a comparison as text for a terminal, and as one page of HTML.

The page needs no other file, asks nothing of a network and runs no script; its policy tells the browser to see to that.
Whatever came from the tables is escaped. Pictures are SVG in the page's colours.

A comparison is a `TableComparison` or whatever has its attributes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape
from typing import Any

import numpy as np

from gaussmix._guard import counted, printable, shown
from gaussmix.density.quantity import Quantity
from gaussmix.tables.chance import MOST_NAMED, Shapes, shapes_of, short

_MOST_OPEN, _MOST_DRAWN, _MOST_GROUPS, _MOST_BARS = 40, 200, 50, 10
_WIDTH, _HEIGHT, _PEAK = 280, 80, 4.0  # heights of the 98 % point of the lines by which a peak may stand above that
_PLAIN = str.maketrans({"→": "->", "−": "-", "∞": "inf"})  # a terminal may have no more
_DURATION = Quantity("duration")
_COLORS = ("var(--old)", "var(--new)")
MEASURES = {"share_of_spread": "W1 / spread", "total_variation": "total variation", "kolmogorov_smirnov": "KS"}
MEASURES |= {"missing": "missing"}


# -- text


def text(found: Any) -> str:
    """The columns as a table for a terminal, and what moved where."""
    head = ("column", "kind", "moved", "W1", "/ spread", "chance", "tot. var.", "chance", "missing")
    rows = [head, *(_row(column) for column in found.columns)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(head))]
    lines = [" → ".join(about_tables(found)), found.summary, ""]
    lines += ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    moved = [column for column in found.columns if column.moved]
    said = [f"{shown(column.name, 40)}: {remark}" for column in moved for remark in remarks_on(column)]
    lines += ["", *said] if said else []
    if found.by:
        lines += ["", about_groups(found)]
    for group in found.groups[:_MOST_GROUPS]:
        some = ", ".join(f"{shown(column.name, 40)} ({_most(column)})" for column in group.moved[:3])
        lines.append(f"{shown(found.group_name(group.key), 60)}: {some}")
    return "\n".join(map(printable, lines)).translate(_PLAIN)


def about_tables(found: Any) -> list[str]:
    named = zip(found.names, found.n_rows, strict=True)
    return [f"{shown(name, 60)} ({_count(rows, 'row')})" for name, rows in named]


def _row(column: Any) -> tuple[str, ...]:
    of_numbers = not math.isnan(column.wasserstein_1)
    w1 = _length(column, column.wasserstein_1) if of_numbers else ""
    numbers = (column.measures.get(name, (math.nan, math.nan)) for name in ("share_of_spread", "total_variation"))
    said = [small(value) for each in numbers for value in each]
    moved = _most(column) if column.beyond == ("kolmogorov_smirnov",) else "yes" * column.moved
    return (shown(column.name, 40), kinds_of(column), moved, w1, *said, _missing(column))


def kinds_of(column: Any) -> str:
    old, new = column.kinds
    return f"{old} → {new}" if old and new and old != new else old or new or ""


def _missing(column: Any) -> str:
    if column.status in ("appeared", "vanished"):
        return column.status
    old, new = map(_percent, column.missing)
    return "" if not any(column.missing) else old if old == new else f"{old} → {new}"


def remarks_on(column: Any) -> list[str]:
    """What happened, in sentences."""
    said = []
    if column.status in ("appeared", "vanished"):
        said.append(f"{column.status}: only the {'new' if column.status == 'appeared' else 'old'} table has it")
    elif column.kinds[0] != column.kinds[1]:
        said.append(f"was {column.kinds[0]}, is {column.kinds[1]}".replace("empty", "empty, all missing"))
    if move := _largest(column):
        old, new = (_value(column, each) for each in (move.old, move.new))
        which = "median" if move.at == 0.5 else f"{100 * move.at:.0f} % quantile"
        said.append(f"the {which} moved most, {old} → {new} ({_signed(column, move)})")
    for what, moves in (("new", column.new_categories), ("vanished", column.vanished_categories)):
        if moves:
            named = ", ".join(f"{shown(each.at, 40)} ({_percent(each.old or each.new)})" for each in moves[:3])
            more = f" and {len(moves) - 3}{' or more' * (len(moves) == MOST_NAMED)} others" if len(moves) > 3 else ""
            said.append(f"{what} {'category' if len(moves) == 1 else 'categories'}: {named}{more}")
    return said


def _largest(column: Any) -> Any:
    """The quantile that moved most, of those beyond chance."""
    moved = [move for move in column.quantiles if move.beyond and move.change]
    return max(moved, key=lambda move: abs(move.change), default=None)


def _signed(column: Any, move: Any) -> str:
    sign = "+" if move.change > 0 else "−"
    length = _value if column.quantity.kind == "number" else _length
    return f"{sign}{length(column, abs(move.change))}" if move.change else "0"


def _value(column: Any, x: float) -> str:
    """A number to a hundredth of the column's spread or so, a date to what its spread asks for."""
    if column.quantity.kind != "number":
        return short(column.quantity, column.quantity.format(x, column.spread))
    decimals = 2 - math.floor(math.log10(column.spread)) if 0 < column.spread < math.inf else 99
    fixed = 0 <= decimals <= 6 and "number" in column.kinds
    said = f"{x:.{decimals}f}" if fixed else column.quantity.format(round(x, decimals), column.spread)
    return f"−{said[1:]}" if said.startswith("-") else said


def _length(column: Any, value: float) -> str:
    """To three digits."""
    if column.quantity.kind == "number":
        return column.quantity.format_length(float(f"{value:.3g}"))
    return short(_DURATION, column.quantity.format_length(value))


def about_groups(found: Any) -> str:
    some, of = _count(len(found.groups)) if found.groups else "none", _count(found.n_groups, "group")
    said = f"{some} of {of} by {', '.join(found.by)} hold a column that moved beyond chance"
    for what, groups in (("new", found.new_groups), ("vanished", found.vanished_groups)):
        if groups:
            named = ", ".join(f"{shown(found.group_name(key), 60)} ({_count(rows, 'row')})" for key, rows in groups[:5])
            said += f"; {what}: {named}" + (f" and {len(groups) - 5} more" if len(groups) > 5 else "")
    return said


def _most(column: Any) -> str:
    """The measure that stands out, as text."""
    if not column.beyond:
        return column.status
    name = strongest(column)
    return f"{MEASURES[name]} {small(column.measures[name][0])}"


def strongest(column: Any) -> str:
    return max(column.beyond, key=lambda name: column.measures[name][0])


def _count(rows: float, noun: str = "") -> str:
    return (counted(round(rows), noun) if noun else f"{rows:,.0f}").replace(",", " ")


def small(value: float) -> str:
    if not math.isfinite(value):
        return "" if math.isnan(value) else "∞"
    if value == 0:
        return "0"
    digits = 0 if value >= 100 else 2 if value >= 0.1 else 3 if value >= 0.01 else 4
    return f"{value:.{digits}f}" if value >= 5e-5 else f"{value:.0e}"


def _percent(share: float) -> str:
    kind = ".1f" if 0.01 <= share < 1 else "#.2g" if 0 < share < 1 else ".0f"
    return f"{100 * share:{kind}} %"


# -- HTML

_STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#16191d;--soft:#5b6570;--line:#e3e6ea;--old:#a3abb5;--new:#1f63c4}
@media(prefers-color-scheme:dark){:root{--paper:#14171a;--ink:#e8eaed;--soft:#9aa4af;--line:#2b3036;--old:#6d7680;
--new:#74aaf5}}
*{box-sizing:border-box}
body{margin:0 auto;padding:2.5rem 1.25rem 4rem;max-width:58rem;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;overflow-wrap:anywhere}
h1{margin:.1rem 0 .5rem;font-size:1.8rem;line-height:1.2;font-weight:650;letter-spacing:-.015em;text-wrap:balance}
h2,h3{margin:0;font-size:1.1rem;font-weight:620}p{margin:.3rem 0;max-width:44rem}
small,.soft,th{color:var(--soft);font-weight:400}small{font-size:.8rem}
a{color:inherit;text-decoration-color:var(--line);text-underline-offset:3px}
.key{display:flex;flex-wrap:wrap;gap:.2rem 1.4rem}
.key i{display:inline-block;width:.8rem;height:.8rem;margin-right:.45rem;border-radius:2px;vertical-align:-1px}
article,section,details{margin-top:1.6rem;padding-top:1.4rem;border-top:1px solid var(--line)}
summary{cursor:pointer;font-weight:620}article article{border:0;padding:0}
.two{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,23rem);gap:1rem 2rem;align-items:start;margin-top:1rem}
.facts{display:flex;flex-wrap:wrap;gap:.5rem 2.2rem;margin:.7rem 0 0}.facts div{min-width:7.5rem}
.facts dt{font-size:.8rem;color:var(--soft)}.facts dd{margin:0;font-size:1.15rem;line-height:1.35;color:var(--soft)}
.facts .on dd{color:var(--ink);font-weight:620}.facts small{display:block;font-weight:400}
figure{margin:0}svg{display:block;width:100%;height:auto;overflow:visible}svg text{fill:var(--soft);font-size:7.5px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
td,th{padding:.17rem 0 .17rem .8rem;text-align:right;white-space:nowrap}thead th{font-size:.8rem}
td:first-child,th:first-child{padding-left:0;text-align:left}tbody tr+tr{border-top:1px solid var(--line)}
tr.most td{font-weight:620}tr.still td{color:var(--soft)}
.groups{margin-top:.8rem}.groups div{display:grid;grid-template-columns:minmax(0,12rem) 9.5rem minmax(0,1fr);
gap:0 1.4rem;padding:.25rem 0;align-items:baseline}.groups div+div{border-top:1px solid var(--line)}
.bars{display:grid;gap:.4rem;margin-top:1rem}
.bars div{display:grid;grid-template-columns:minmax(0,9rem) minmax(0,1fr) 9rem;gap:0 1rem;align-items:center}
.pair{display:grid;gap:2px}.pair i{display:block;height:6px;min-width:1px;border-radius:1px;background:var(--old)}
.pair i+i{background:var(--new)}.num{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.over{display:grid;gap:.35rem;margin:1.5rem 0 0}
.over div{display:grid;grid-template-columns:minmax(0,11rem) minmax(0,1fr) 10.5rem;gap:0 1rem;align-items:center}
.track{position:relative;height:9px;border-radius:2px;background:color-mix(in srgb,var(--line) 60%,transparent)}
.track i{position:absolute;inset:0 auto 0 0;background:var(--new);border-radius:2px}
.track u{position:absolute;top:-3px;bottom:-3px;width:2px;background:var(--ink)}
.scroll{overflow-x:auto;margin-top:.7rem}.scroll svg{width:7.5rem}
@media(max-width:40rem){body{padding-top:1.5rem}h1{font-size:1.45rem}.two{grid-template-columns:minmax(0,1fr)}
.hide{display:none}.facts{gap:.5rem 1rem}.facts div{min-width:6.8rem}.over{gap:.7rem}
.over div{grid-template-columns:minmax(0,1fr) auto}.track{grid-row:2;grid-column:1/3;height:7px}
.bars div{grid-template-columns:minmax(0,1fr) auto}.pair{grid-row:2;grid-column:1/3}.bars{gap:.7rem}
td,th{padding-left:.5rem}.two table{font-size:.84rem}svg text{font-size:10px}
.groups div{grid-template-columns:minmax(0,1fr) auto}.groups span+small+span{grid-column:1/3}}
"""


def page(found: Any) -> str:
    """The page."""
    moved = [column for column in found.columns if column.moved]
    still = [column for column in found.columns if not column.moved]
    drawn = {column.name for column in found.columns[:_MOST_DRAWN]}
    cards = [_card(each, found.pairs.get(each.name) if each.name in drawn else None, k) for k, each in enumerate(moved)]
    more = cards[_MOST_OPEN:]
    folded = f"<details><summary>{len(more)} more that moved</summary>{''.join(more)}</details>" if more else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{escape(" → ".join(shown(name, 60) for name in found.names))}: drift</title><style>{_STYLE}</style></head><body>
<header><p class="soft">Drift</p><h1>{_sentence(found.summary)}</h1>{_key(found)}{_overview(moved)}</header>
<main>{"".join(cards[:_MOST_OPEN])}{folded}{_groups(found) if found.by else ""}{_unmoved(still, found, drawn)}</main>
{_legend(found)}</body></html>
"""


def _sentence(said: str) -> str:
    return escape(said[0].upper() + said[1:])


def _key(found: Any) -> str:
    """Names and colours of the tables."""
    named = zip(_COLORS, found.names, found.n_rows, strict=True)
    parts = [
        f'<span><i style="background:{color}"></i>{escape(shown(name, 60))}, {_count(rows, "row")}</span>'
        for color, name, rows in named
    ]
    return f'<p class="key soft">{"".join(parts)}</p>'


def _overview(moved: list[Any]) -> str:
    """Bars of the measures that stand out, and what chance stays below."""
    rows, listed = [], moved[:_MOST_OPEN] if len(moved) > 1 else []
    whole = min(1.0, max((column.effect for column in listed if column.beyond), default=1.0))
    for k, column in enumerate(listed):
        bar, said = "", f"<small>{column.status}</small>"
        if column.beyond:
            name = strongest(column)
            value, floor = column.measures[name]
            bar = f'<i style="width:{_width(value / whole)}"></i><u style="left:{_width(floor / whole)}"></u>'
            said = f"{small(value)} <small>{MEASURES[name]}</small>"
        link = f'<a href="#c{k}">{escape(shown(column.name, 60))}</a>'
        rows.append(f'<div>{link}<span class="track">{bar}</span><span>{said}</span></div>')
    return f'<div class="over">{"".join(rows)}</div>' if rows else ""


def _width(value: float) -> str:
    return f"{100 * min(value, 1.0):.1f}%"


def _card(column: Any, pair: Any, k: int) -> str:
    """What moved in a column."""
    measures, facts = column.measures, []
    for name, (value, floor) in measures.items():
        said, chance = small(value), f"by chance up to {small(floor)}"
        if name == "missing":
            old, new = map(_percent, column.missing)
            said, chance = f"{old} → {new}" if old != new else old, f"by chance up to ±{_percent(floor)}"
        if name != "missing" or any(column.missing):
            facts.append(_fact(MEASURES[name], said, chance, name in column.beyond))
        if name == "share_of_spread":
            w1, spread = (_length(column, each) for each in (column.wasserstein_1, column.spread))
            facts.append(_fact("W1", w1, f"spread {spread}", False))
    remarks = "".join(f"<p>{_sentence(said)}.</p>" for said in remarks_on(column))
    return (
        f'<article id="c{k}"><h2>{escape(shown(column.name, 200))} <small>{kinds_of(column)}</small></h2>{remarks}'
        f'<dl class="facts">{"".join(facts)}</dl>{_body(column, pair)}</article>'
    )


def _fact(name: str, value: str, about: str, on: bool) -> str:
    kind = " class=on" if on else ""
    return f"<div{kind}><dt>{name}</dt><dd>{escape(value)}<small>{escape(about)}</small></dd></div>"


def _body(column: Any, pair: Any) -> str:
    """The picture beside the quantiles, or bars of categories."""
    if column.categories:
        return _bars(column.categories)
    if not column.quantiles:
        return ""
    picture = f"<figure>{overlay(shapes_of(*pair), column.quantity)}</figure>" if pair else ""
    most, rows = _largest(column), []
    for move in column.quantiles:
        kind = "most" if move is most else "" if move.beyond else "still"
        values = [escape(_value(column, each)) for each in (move.old, move.new)]
        values = [each.replace(" ", "<br>") if column.quantity.kind == "datetime" else each for each in values]
        cells = "".join(f"<td>{each}</td>" for each in (*values, escape(_signed(column, move))))
        rows.append(f'<tr class="{kind}"><td>{100 * move.at:.0f} %</td>{cells}</tr>')
    head = "<thead><tr><th>quantile</th><th>old</th><th>new</th><th>change</th></tr></thead>"
    return f'<div class="two">{picture}<table>{head}<tbody>{"".join(rows)}</tbody></table></div>'


def _bars(moves: Iterable[Any]) -> str:
    """Shares of categories in both tables, the largest changes first."""
    moves = list(moves)
    most, rows = max(max(move.old, move.new) for move in moves), []
    for move in moves[:_MOST_BARS]:
        bars = "".join(f'<i style="width:{_width(share / most)}"></i>' for share in (move.old, move.new))
        soft = "" if move.beyond else " soft"
        rows.append(
            f'<div><span>{escape(shown(move.at, 60))}</span><span class="pair">{bars}</span>'
            f'<span class="num{soft}">{_percent(move.old)} → {_percent(move.new)}</span></div>'
        )
    rest, or_more = len(moves) - _MOST_BARS, " or more" * (len(moves) == MOST_NAMED)
    more = f'<p class="soft">{rest}{or_more} others changed less.</p>' if rest > 0 else ""
    return f'<div class="bars">{"".join(rows)}</div>{more}'


def _unmoved(still: list[Any], found: Any, drawn: set[str]) -> str:
    """A table of the columns that stayed, folded."""
    if not still:
        return ""
    rows = []
    for column in still:
        name, kind, _, _, share, floor, variation, of_chance, missing = _row(column)
        picture = ""
        if column.quantiles and column.name in drawn:
            picture = overlay(shapes_of(*found.pairs[column.name]))
        cells = (share, f"<small>{floor}</small>", variation, f"<small>{of_chance}</small>", missing)
        rows.append(
            f'<tr><td>{escape(name)} <small>{kind}</small></td><td class="hide">{picture}</td>'
            f"{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
        )
    titles = ("W1 / spread", "chance", "total variation", "chance", "missing")
    head = "<th>column</th><th class=hide></th>" + "".join(f"<th>{title}</th>" for title in titles)
    said = f"{len(still)} column{'s' * (len(still) != 1)} did not move beyond chance"
    return (
        f'<details><summary>{said}</summary><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></details>"
    )


def _groups(found: Any) -> str:
    """The groups that moved most."""
    rows = []
    for group in found.groups[:_MOST_GROUPS]:
        some = "; ".join(f"{shown(column.name, 40)} {_most(column)}" for column in group.moved[:3])
        more = f" <small>and {len(group.moved) - 3} more</small>" if len(group.moved) > 3 else ""
        name, sizes = escape(shown(found.group_name(group.key), 80)), " → ".join(map(_count, group.n_rows, ("", "row")))
        rows.append(
            f'<div><span>{name}</span><small class="num">{sizes}</small><span>{escape(some)}{more}</span></div>'
        )
    said, more = about_groups(found), len(found.groups) - _MOST_GROUPS
    rows += [f"<p class=soft>and {_count(more, 'group')} more</p>"] if more > 0 else []
    title = escape(", ".join(found.by))
    return f'<section><h3>By {title}</h3><p>{_sentence(said)}.</p><div class="groups">{"".join(rows)}</div></section>'


def _legend(found: Any) -> str:
    groups = " or group" * bool(found.by)
    return f"""<details><summary>How to read this</summary>
<p>W1, the Wasserstein distance, is how far a value moved on average, in the column's unit; W1 / spread is its share of
the old column's robust spread, which is near the standard deviation. Total variation is the share of the rows that
would have to change for both tables to look alike: of categories, or of up to 100 cells that hold about as many rows
each. KS, of Kolmogorov and Smirnov, is the largest difference of the shares of rows up to a value.</p>
<p>“By chance up to” is a floor. If both tables were random parts of one, any measure of any column{groups} would be
above its floor in at most {100 * found.alpha:.3g} of 100 such pairs, if rows do not depend on each other.</p>
<p>In pictures the old table is grey, the new one blue; bars are single values that hold a share of the rows. Quantiles
and categories in full ink moved beyond chance, each by itself.</p></details>"""


def overlay(shapes: Shapes, quantity: Any = None) -> str:
    """Two lines and bars beside each other as SVG, with numbers along the axis if a quantity says how."""
    low, high, lines, bars, step = shapes
    scale, full, parts = _WIDTH / (high - low), _HEIGHT - 6, []
    width = min(7.0, max(1.5, 0.38 * scale * step)) if not lines.size else 2.5
    top = min(lines.max(), _PEAK * np.quantile(lines, 0.98)) or lines.max() if lines.size else 1.0
    most = float(bars[1:].max(initial=0)) or 1.0
    for k, color in enumerate(_COLORS):
        if lines.size:
            x = (np.arange(lines.shape[1]) + 0.5) / lines.shape[1] * _WIDTH
            y = _HEIGHT - full * np.minimum(lines[k] / top, 1)
            points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
            area = f"M0,{_HEIGHT} {points} {_WIDTH},{_HEIGHT}"
            parts.append(f'<path d="{area}" fill="{color}" fill-opacity="{(0.45, 0.14)[k]}"/>')
            parts += [f'<path d="M{points}" fill="none" stroke="{color}" stroke-width="1.5"/>'] * k
        for x, share in bars[[0, k + 1]].T.tolist():
            left, tall = (x - low) * scale + (k - 1) * width, full * share / most
            place = f'x="{left:.1f}" y="{_HEIGHT - tall:.1f}" width="{width:.1f}" height="{tall:.1f}"'
            parts.append(f'<rect {place} fill="{color}"/>')
    parts.append(f'<path d="M0 {_HEIGHT}H{_WIDTH}" stroke="var(--soft)" stroke-opacity=".5"/>')
    for x, said in [] if quantity is None else shapes.ticks(quantity):
        parts.append(f'<text x="{(x - low) * scale:.1f}" y="{_HEIGHT + 12}" text-anchor="middle">{escape(said)}</text>')
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT + (0 if quantity is None else 14)}"'
    return f'<svg {size} role="img" aria-label="old and new density">{"".join(parts)}</svg>'
