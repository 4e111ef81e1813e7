"""A small crowd: what `crowd` finds with many, with three."""

from __future__ import annotations

import pytest

pytest.importorskip("nicegui", reason="the studio is an extra: pip install 'gaussmix[studio]'")
pytest.importorskip("aiohttp", reason="the crowd's WebSockets need aiohttp")

from studio.crowd import odd_uploads, run


def test_three_visitors_and_odd_uploads() -> None:
    found = run(3, 14)
    assert found["faults"] == []
    assert len(found["seconds"]) == 3
    assert found["longest_line"] >= 1
    assert sum(found["uploads"].values()) == 14
    assert found["uploads"]["refused"] >= 3
    assert found["uploads"]["status 400"] == 2  # of a name too long, and of none


def test_no_two_odd_uploads_are_the_same() -> None:
    first = list(odd_uploads(120))
    assert len({(name, content[:1000]) for name, content in first}) > 80
