"""What pages are made of: a place to drop files, a job that shows how it gets on, sentences, charts, cards.

Colours are names of the style sheet, so that light and dark are its matter: charts are drawn as SVG, where a colour may
be ``var(--ink)``. The two colours of data, blue and orange, are told apart whatever the eyes see of colours.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from nicegui import events, ui

from gaussmix.studio.session import MOST_BYTES, KeptFile, Session
from gaussmix.studio.work import CancelledWorkError, Job

__all__ = [
    "BARS",
    "BLUE",
    "INK",
    "LINES",
    "ORANGE",
    "TABLES",
    "Slider",
    "card",
    "chart",
    "columns",
    "drop_files",
    "follow",
    "hush",
    "python_code",
    "run",
    "saying",
    "tell",
]

INK, FAINT, LINES, SURFACE = "var(--ink)", "var(--ink-soft)", "var(--line)", "var(--surface)"
BLUE, ORANGE, BARS = "var(--blue)", "var(--orange)", "var(--bars)"
TABLES = (
    *(".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz", ".csv.zst", ".tsv.zst", ".txt.zst"),
    *(".parquet", ".pq", ".feather", ".arrow", ".npy", ".jsonl", ".ndjson"),
)
"""Endings of tables."""

_FONT = 'ui-sans-serif, system-ui, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif'
_DROP = """
<div class="gm-drop-inside">
  <button type="button" class="gm-button" @click="props.pickFiles($event)">Choose a file</button>
  <span v-if="props.isUploading">{{ props.uploadProgressLabel }} of {{ props.uploadSizeLabel }}</span>
  <span v-else>or drop one here</span>
  <label class="gm-drop-input">File<q-uploader-add-trigger /></label>
</div>
"""


# -- sentences


def tell(where: ui.element, sentence: str) -> None:
    """Show a sentence in an element, in place of the last one, with a button that takes it away.

    Parameters
    ----------
    where : ui.element
        A column or a card.
    sentence : str
        Any text; it is escaped.
    """
    hush(where)
    with where, ui.row().classes("gm-notice").props("role=alert") as notice:
        ui.label(sentence)
        ui.button(icon="close", on_click=notice.delete).props('flat round dense aria-label="Dismiss"')
    notice.move(target_index=0)


def hush(where: ui.element) -> None:
    """Take away what `tell` has said there."""
    for child in list(where.default_slot.children):
        if "gm-notice" in child.classes:
            child.delete()


@contextmanager
def saying(session: Session, where: ui.element) -> Iterator[None]:
    """Around a handler: an error becomes a sentence in ``where``.

    Parameters
    ----------
    session : Session
        Whose it is.
    where : ui.element
        As for `tell`.
    """
    hush(where)
    try:
        yield
    except CancelledWorkError:
        return
    except Exception as error:
        if not session.closed:
            tell(where, session.sentence(error))


# -- work


async def run(
    session: Session,
    where: ui.element,
    title: str,
    function: Callable[..., Any],
    *args: Any,
    on_value: Callable[[Any], Any] | None = None,
    **options: Any,
) -> Any:
    """Run ``function(*args, progress=..., **options)`` in the line of jobs, and show in ``where`` how it gets on.

    Parameters
    ----------
    session : Session
        Whose work it is.
    where : ui.element
        A column or a card, which holds the bar and the sentence of an error.
    title : str
        What it is, such as "Learning price".
    function : callable
        Slow and blocking; see `gaussmix.studio.work`.
    *args : object
        Its arguments.
    on_value : callable, optional
        Called with each value that the function tells, inside ``where``.
    **options : object
        Its arguments by name.

    Returns
    -------
    object
        What the function returns; None if it was cancelled or has failed.
    """

    def inside(value: Any) -> None:
        if not session.closed and on_value is not None:
            with where:
                on_value(value)

    with saying(session, where):
        job = session.studio.work.submit(title, session, function, *args, on_value=inside, **options)
        with where:
            shown = _JobCard(session, job)
        try:
            return await job.result()
        finally:
            if not session.closed:
                shown.delete()
    return None


class _JobCard(ui.column):
    """How a job gets on."""

    def __init__(self, session: Session, job: Job):
        super().__init__()
        self.classes("gm-job")
        with self:
            with ui.row().classes("gm-job-line"):
                with ui.column().classes("gm-job-words"):
                    ui.label(job.title).classes("gm-job-title")
                    self._said = ui.label().classes("gm-soft").props("role=status")
                self._stop = ui.button("Cancel", on_click=lambda: session.studio.work.cancel(job)).props("flat dense")
            self._bar = ui.linear_progress(0.0, show_value=False).props(f'aria-label="{_plain(job.title)}"')
        job.listeners.append(self._show)
        self._show(job)

    def _show(self, job: Job) -> None:
        if self.is_deleted:
            return
        if job.state == "waiting":
            said = f"{job.before} before you"
        else:
            share = "" if job.share is None else f"{job.share:.0%}"
            said = " · ".join(part for part in (share, job.note) if part) or "starting"
        self._said.text = said
        self._stop.set_enabled(not job.stopping.is_set())
        self._bar.props["indeterminate"] = job.state == "running" and job.share is None
        self._bar.value = job.share or 0.0


def _plain(text: str) -> str:
    """For an attribute: without what would end it."""
    return "".join(c if c.isalnum() or c in " .,:-_()" else " " for c in text)


# -- files


def drop_files(
    session: Session,
    on_file: Callable[[KeptFile], Awaitable[None]],
    *,
    suffixes: Collection[str] = TABLES,
    about: str = "CSV, Parquet, Feather, NumPy or JSON lines, up to 1 GB",
    most: int = MOST_BYTES,
) -> ui.upload:
    """Return a place to drop a file on, or to choose one.

    Parameters
    ----------
    session : Session
        Which keeps the file.
    on_file : callable
        Awaited with each file, once it is there; what it raises becomes a sentence.
    suffixes : collection of str
        Endings that are taken.
    about : str
        What may be dropped, in a few words.
    most : int
        Bytes, at most 1 GB; the browser says so before it sends them.
    """

    async def take(event: events.UploadEventArguments) -> None:
        box.reset()
        with saying(session, around):
            await on_file(await session.keep(event.file, suffixes))

    def refuse() -> None:
        tell(around, f"That is not taken here: {about}.")

    def lost(event: events.GenericEventArguments) -> None:
        status, said = event.args
        box.reset()
        tell(around, said[:200] if status == 413 else "That file did not arrive: send it again.")

    with ui.column().classes("gm-drop") as around:
        box = ui.upload(on_upload=take, on_rejected=refuse, auto_upload=True, max_file_size=most)
        box.on("failed", lost, js_handler="({xhr}) => emit(xhr.status, xhr.responseText)")
        box.props("flat").add_slot("header", _DROP)
        box.add_slot("list", "<span></span>")
        ui.label(about).classes("gm-soft gm-small")
    return box


# -- layout and charts


def python_code(make: Callable[[], str]) -> ui.button:
    """Return a button that copies code and shows it below; Python that makes what is seen.

    Parameters
    ----------
    make : callable
        Returns the code for what is seen when it is asked for.
    """

    def copy_code() -> None:
        code.text = make()
        shown.set_visibility(True)
        ui.clipboard.write(code.text)
        button.text = "Copied; copy again"

    button = ui.button("Copy as Python", on_click=copy_code).props("flat dense").classes("gm-take")
    with ui.element("div").classes("gm-wide gm-code-around") as shown:
        code = ui.label().classes("gm-code").props('tabindex=0 role=region aria-label="Python code"')
    shown.set_visibility(False)
    return button


def follow(chart: ui.echart, on_place: Callable[[float], Any]) -> None:
    """Call ``on_place`` with where a pressed pointer is along a chart's first axis, at most 20 times a second.

    Parameters
    ----------
    chart : ui.echart
        Of `chart`; the same has to be within reach of keys, as by a `Slider`.
    on_place : callable
        Called with a number of the axis: of dates milliseconds since 1970.
    """
    code = """(event) => {
        if (event.type !== 'pointerdown' && !(event.buttons & 1)) return;
        const element = getElement(%d);
        if (event.type === 'pointerdown') element.$el.setPointerCapture(event.pointerId);
        const left = element.$el.getBoundingClientRect().left;
        const x = element.chart.convertFromPixel({xAxisIndex: 0}, event.clientX - left);
        if (Number.isFinite(x)) emit(x);
    }"""
    chart.classes("gm-follow")
    for event in ("pointerdown", "pointermove"):
        chart.on(event, lambda event: on_place(float(event.args)), throttle=0.05, js_handler=code % chart.id)


@contextmanager
def columns() -> Iterator[tuple[ui.column, ui.column]]:
    """Two columns, controls at the left and what they control beside them; one above the other on a phone."""
    with ui.element("div").classes("gm-columns"):
        with ui.column().classes("gm-side") as side:
            pass
        with ui.column().classes("gm-main") as main:
            pass
        yield side, main


def card(title: str = "") -> ui.column:
    """Return a part of a page, with its heading; a context.

    Parameters
    ----------
    title : str
        Its heading; none if empty.
    """
    around = ui.column().classes("gm-card")
    if title:
        with around:
            ui.label(title).classes("gm-heading").props("role=heading aria-level=2")
    return around


class Slider(ui.element):
    """A slider, the browser's own: it can be focused, has a name, and takes Home, End and the arrows.

    Parameters
    ----------
    name : str
        What it moves, for those who do not see it.
    low, high, step : float
        Where it may stand.
    value : float
        Where it stands.
    on_move : callable
        Called with the value while it moves, at most twenty times a second, and where it stops.
    """

    def __init__(
        self, name: str, low: float, high: float, *, step: float, value: float, on_move: Callable[[float], Any]
    ):
        super().__init__("input")
        self.classes("gm-slider")
        self.value = value
        self.props["type"], self.props["aria-label"] = "range", name
        self.props["min"], self.props["max"], self.props["step"], self.props["value"] = low, high, step, value

        def moved(event: events.GenericEventArguments) -> Any:
            self.value = float(event.args)
            with self.props.suspend_updates():  # the browser knows; an answer would pull the thumb back
                self.props["value"] = self.value
            return on_move(self.value)

        # Whatever else changes on the page has the browser lay it out anew, from the properties that it keeps.
        kept = f"mounted_app.elements[{self.id}].props.value = event.target.valueAsNumber"
        self.on("input", moved, throttle=0.05, js_handler=f"(event) => emit({kept})")

    def set_value(self, value: float) -> None:
        """Move it, without a call of ``on_move``; a value beyond the ends stands at the end."""
        self.value = min(max(value, self.props["min"]), self.props["max"])
        self.props["value"] = self.value


def chart(options: Mapping[str, Any], about: str, **handlers: Any) -> ui.echart:
    """Return a chart of ECharts, in the house's colours.

    Parameters
    ----------
    options : mapping
        As ECharts takes them; ``xAxis`` and ``yAxis`` may be lists.
    about : str
        What it shows, in a sentence, for those who do not see it.
    **handlers : callable
        ``on_click``, ``on_point_click``, as of ``ui.echart``.
    """
    axis = {
        "axisLabel": {"color": FAINT, "hideOverlap": True, "showMinLabel": False, "showMaxLabel": False},
        "axisLine": {"lineStyle": {"color": LINES}},
        "axisTick": {"lineStyle": {"color": LINES}},
        "splitLine": {"lineStyle": {"color": LINES, "width": 0.6}},
        "nameTextStyle": {"color": FAINT},
    }
    theirs = copy.deepcopy(dict(options))
    for name in ("xAxis", "yAxis"):
        if name in theirs:
            given = theirs[name] if isinstance(theirs[name], list) else [theirs[name]]
            theirs[name] = [{**axis, **each} for each in given]
    base: dict[str, Any] = {
        "animation": False,
        "textStyle": {"fontFamily": _FONT, "color": INK},
        "grid": {"left": 8, "right": 16, "top": 60, "bottom": 8, "containLabel": True},
        "legend": {"type": "scroll", "top": 0, "left": 0, "icon": "roundRect", "itemWidth": 14, "itemHeight": 8,
                   "itemGap": 18, "textStyle": {"color": FAINT}, "pageTextStyle": {"color": FAINT},
                   "pageIconColor": FAINT, "pageIconInactiveColor": LINES, "inactiveColor": LINES},
    }  # fmt: skip
    for name in ("grid", "legend"):
        theirs[name] = {**base[name], **theirs.get(name, {})}
    made = ui.echart({**base, **theirs}, renderer="svg", **handlers).classes("gm-chart")
    made.props["role"] = "img"
    made.props["aria-label"] = about
    return made
