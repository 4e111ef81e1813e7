"""The studio: a page in the browser on which people look, click and understand.

It composes what the rooms above have and holds no science. What a page (a tab) is:

- a module ``gaussmix.studio.NAME`` with ``build(session)``, and a line in ``layout.PAGES``. The module is imported, and
  ``build`` called, when the tab is first opened, inside the tab's panel, in the event loop: it lays out elements of
  NiceGUI (``ui.row()`` ...) and returns. Nothing slow, and no torch, on import or in ``build``: import it in a job.
- ``session`` (`Session`) is one open page in one browser: ``session.settings`` (files and ``--model``),
  ``session.files``, ``session.folder`` for files of its own, ``session.studio.once(key, make)`` for what all sessions
  share, such as a model. State of a tab lives in the object or the closure that ``build`` makes, never in a module.
- ``await parts.run(session, where, title, function, *args, on_value=...)`` runs ``function(*args, progress=progress)``
  in the line of jobs; in the element ``where`` it shows the place in line, the progress, and a way to cancel. It
  returns what the function returns, or None for a job that was cancelled or has failed, which the page then says.
  ``progress(share, note, value)`` is called from the job as often as it likes; each ``value`` comes to ``on_value`` in
  the page's event loop and slot. A job touches no element.
- ``with parts.saying(session, where):`` around a handler makes a sentence of an error; `parts.tell` says one.
- ``parts.drop_files(session, on_file, suffixes=..., about=...)`` takes files; ``on_file`` gets a `KeptFile`.
- ``parts.chart(options, about)`` is a chart that is drawn in the browser, in the house's colours, ``parts.INK`` and so
  on; ``parts.Slider`` one that keys move; ``parts.card(title)`` a part of a page, ``parts.columns()`` controls beside
  what they control.
- Text goes through ``ui.label`` or ``.text``, which escape it; never a name, of a column, a file or a class, into
  ``ui.html`` or ``ui.markdown``. Every control has words (a label, or ``aria-label``), every chart a sentence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gaussmix._lazy import face

if TYPE_CHECKING:
    from gaussmix.studio.server import serve as serve
    from gaussmix.studio.session import Session as Session
    from gaussmix.studio.session import Settings as Settings
    from gaussmix.studio.session import Studio as Studio

__getattr__, __dir__, __all__ = face(
    __name__, {"server": ["serve"], "session": ["Session", "Settings", "Studio"]}, extra="studio"
)
