"""The line of jobs: places, progress, cancelling, limits, errors."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gaussmix.studio.work import CancelledWorkError, Job, Progress, WorkQueue

STEP = 0.005


def on_loop(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Run a test in an event loop; one that hangs fails."""

    def run() -> None:
        asyncio.run(asyncio.wait_for(test(), 30))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def until(gate: threading.Event, *, progress: Progress) -> str:
    """Works until it is let go, or cancelled."""
    while not gate.wait(STEP):
        progress(0.5, "working")
    return threading.current_thread().name


@on_loop
async def test_a_job_runs_in_a_thread_and_tells_how_far_it_is() -> None:
    values: list[int] = []
    heard: list[tuple[Any, ...]] = []

    def count(n: int, *, progress: Progress, by: int) -> int:
        for i in range(n):
            progress(i / n, f"number {i}", i * by)
        assert threading.current_thread() is not threading.main_thread()
        return n * by

    job = WorkQueue().submit("Counting", "me", count, 5, by=10, on_value=values.append)
    job.listeners.append(lambda job: heard.append((job.state, job.share, job.note)))
    assert await job.result() == 50
    assert values == [0, 10, 20, 30, 40]  # each value, though they follow each other at once
    assert ("running", 0.4, "number 2") in heard
    assert heard[-1][:2] == ("done", 1.0)


@on_loop
async def test_the_page_hears_ten_calls_a_second() -> None:
    heard: list[float | None] = []

    def hurry(*, progress: Progress) -> None:
        for i in range(100_000):
            progress(i / 100_000)

    job = WorkQueue().submit("Hurrying", "me", hurry)
    job.listeners.append(lambda job: heard.append(job.share))
    await job.result()
    assert len(heard) < 1000


@on_loop
async def test_places_in_line() -> None:
    queue, gate = WorkQueue(), threading.Event()
    jobs = [queue.submit(f"Job {i}", f"owner {i}", until, gate) for i in range(4)]
    assert [job.before for job in jobs] == [0, 1, 2, 3]
    assert [job.state for job in jobs] == ["running", "waiting", "waiting", "waiting"]
    queue.cancel(jobs[1])
    assert [job.before for job in jobs[2:]] == [1, 2]
    with pytest.raises(CancelledWorkError):
        await jobs[1].result()
    gate.set()
    assert await jobs[3].result() == "gaussmix-studio"
    assert [job.state for job in jobs] == ["done", "cancelled", "done", "done"]


@on_loop
async def test_two_workers_run_two_jobs() -> None:
    queue, gate = WorkQueue(workers=2), threading.Event()
    jobs = [queue.submit("A job", "me", until, gate) for _ in range(3)]
    assert [job.state for job in jobs] == ["running", "running", "waiting"]
    assert jobs[2].before == 2
    gate.set()
    await jobs[2].result()


@on_loop
async def test_cancel_stops_a_job_at_its_next_progress_and_the_next_one_starts() -> None:
    queue, never, gate = WorkQueue(), threading.Event(), threading.Event()
    first, second = queue.submit("First", "me", until, never), queue.submit("Second", "me", until, gate)
    queue.cancel(first)
    with pytest.raises(CancelledWorkError):
        await first.result()
    assert (first.state, second.state) == ("cancelled", "running")
    gate.set()
    await second.result()


@on_loop
async def test_cancel_all_of_one_owner() -> None:
    queue, gate = WorkQueue(), threading.Event()
    mine = [queue.submit("Mine", "me", until, gate) for _ in range(2)]
    theirs = queue.submit("Theirs", "you", until, gate)
    queue.cancel_all("me")
    for job in mine:
        with pytest.raises(CancelledWorkError):
            await job.result()
    gate.set()
    await theirs.result()
    assert theirs.state == "done"


@on_loop
async def test_an_owner_has_so_many_jobs() -> None:
    queue, gate = WorkQueue(most=2), threading.Event()
    jobs = [queue.submit("Mine", "me", until, gate) for _ in range(2)]
    with pytest.raises(ValueError, match="2 things are being worked on"):
        queue.submit("One too many", "me", until, gate)
    jobs.append(queue.submit("Theirs", "you", until, gate))
    gate.set()
    for job in jobs:
        await job.result()
    await queue.submit("Mine again", "me", until, gate).result()


@on_loop
async def test_a_job_has_so_much_time() -> None:
    job = WorkQueue().submit("Learning", "me", until, threading.Event(), seconds=0.03)
    with pytest.raises(ValueError, match=r"Learning took longer than 0.0005 minutes"):
        await job.result()
    assert job.state == "failed"


@on_loop
async def test_errors_end_a_job_and_not_the_line() -> None:
    def fail(error: Exception, *, progress: Progress) -> None:
        raise error

    queue = WorkQueue()
    jobs: list[tuple[Job, Exception]] = []
    for error in (ValueError("too few"), OSError("gone"), ZeroDivisionError("ours")):
        jobs.append((queue.submit("Failing", "me", fail, error), error))
    for job, error in jobs:
        with pytest.raises(type(error), match=str(error)):
            await job.result()
        assert job.state == "failed"


@on_loop
async def test_a_listener_that_fails_fails_alone() -> None:
    job = WorkQueue().submit("Working", "me", lambda *, progress: 7)
    job.listeners.append(lambda job: 1 // 0)
    assert await job.result() == 7
