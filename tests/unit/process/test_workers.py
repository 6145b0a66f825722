"""How many threads close clients; the threads themselves are the test's."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.doubles import Park, Run
from tests.patches import set_system_clock
from waterdrop_py._engine.concurrency import clock, threads
from waterdrop_py._engine.concurrency.future import Future
from waterdrop_py._engine.process import workers
from waterdrop_py._engine.process.poller import Poller
from waterdrop_py._engine.process.workers import STUCK, USUAL, Workers

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(autouse=True)
def no_lingering(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread with nothing to do ends at once."""
    monkeypatch.setattr(workers, "LINGER", 0.0)


def nothing() -> None:
    """A job."""


def elsewhere(_: Callable[[], None]) -> None:
    """Another thread for jobs; not needed."""
    raise AssertionError("there are threads")


def test_no_more_threads_than_usual(started: list[Callable[[], None]]) -> None:
    """A hundred jobs are not a hundred threads."""
    ours = Workers(elsewhere)
    for _ in range(100):
        ours.submit(nothing)
    assert len(started) == USUAL


def test_threads_run_everything_and_end(started: list[Callable[[], None]]) -> None:
    """One thread runs all that waits, and is gone when nothing comes."""
    ours, ran = Workers(elsewhere), list[int]()
    for number in range(3):
        ours.submit(lambda n=number: ran.append(n))  # type: ignore[misc]
    started[0]()
    assert ran == [0, 1, 2]
    assert not ours.waiting()
    begun = len(started)
    for run in started[1:]:
        run()
    ours.submit(nothing)
    assert len(started) == begun + 1


def test_a_raising_job_loses_no_other(started: list[Callable[[], None]]) -> None:
    """Its thread ends, and the next one is started for what waits."""
    ours, ran = Workers(elsewhere), list[str]()

    def burst() -> None:
        raise SystemExit

    for _ in range(USUAL):
        ours.submit(burst)
    ours.submit(lambda: ran.append("after"))
    while started:
        with suppress(SystemExit):
            started.pop(0)()
    assert ran == ["after"]


def test_one_more_thread_for_each_that_is_held_up(
    started: list[Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs that hang take no place of others."""
    now = [0.0]
    set_system_clock(monkeypatch, lambda: now[0])
    ours, ran = Workers(elsewhere), list[str]()

    def hang(depth: int) -> None:
        """While this one hangs, the next one is submitted, and its thread runs."""
        now[0] += STUCK * 2
        begun = len(started)
        if depth == 0:
            ours.submit(lambda: ran.append("runs"))
        else:
            ours.submit(lambda: hang(depth - 1))
        assert len(started) == begun + 1
        started[-1]()

    ours.submit(lambda: hang(3 * USUAL))
    started[0]()
    assert ran == ["runs"]


def test_a_thread_that_is_held_up_runs_nothing(
    started: list[Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that waits for another one, which no thread can be started for, gets it run
    elsewhere."""
    now = [0.0]
    set_system_clock(monkeypatch, lambda: now[0])
    handed: list[Callable[[], None]] = []
    ours = Workers(handed.append)

    def waits() -> None:
        monkeypatch.setattr(threads, "start", lambda *_: False)
        ours.submit(nothing)
        assert not handed
        now[0] += STUCK * 2
        ours.start_if_needed()
        assert handed == [nothing]

    ours.submit(waits)
    started[0]()
    assert handed == [nothing]


def test_all_that_waits_is_handed_over(
    started: list[Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that was left to a busy thread is not one behind for good, when that is
    held up and no other thread starts."""
    now = [0.0]
    set_system_clock(monkeypatch, lambda: now[0])
    handed: list[Callable[[], None]] = []
    ours = Workers(handed.append)

    def waits() -> None:
        monkeypatch.setattr(threads, "start", lambda *_: False)
        ours.submit(nothing)
        now[0] += STUCK * 2
        ours.submit(nothing)
        assert handed == [nothing, nothing]

    ours.submit(waits)
    started[0]()
    assert len(handed) == 2


def test_without_any_thread_jobs_run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a worker nor the poller can start: the submitting thread runs the job."""
    monkeypatch.setattr(threads, "start", lambda *_: False)
    poller, ran = Poller(lambda _: None), list[str]()
    ours = Workers(poller.do)
    ours.submit(lambda: ran.append("here"))
    assert ran == ["here"]
    assert not ours.waiting()
    assert not poller.armed


def test_without_threads_jobs_go_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """At interpreter exit no thread starts; the job is not lost."""
    monkeypatch.setattr(threads, "start", lambda *_: False)
    handed: list[Callable[[], None]] = []
    ours = Workers(handed.append)
    ours.submit(nothing)
    assert handed == [nothing]


@pytest.mark.parametrize("begun", [False, True])
def test_an_interrupted_start_takes_no_place(
    monkeypatch: pytest.MonkeyPatch, started: list[Callable[[], None]], begun: bool
) -> None:
    """A signal handler raises as the thread is started, or just after: the next look
    starts one, and the job runs once."""
    ours, ran = Workers(elsewhere), list[str]()
    start = threads.start

    def interrupted(name: str, run: Callable[[], None]) -> bool:
        if begun:
            start(name, run)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threads, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ours.submit(lambda: ran.append("runs"))
    ours.start_if_needed()
    assert len(started) == 1 + begun
    for run in started:
        run()
    assert ran == ["runs"]
    ours.submit(nothing)
    assert len(started) == 2 + begun


def test_a_job_that_ended_holds_nothing_up(
    started: list[Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long after it, jobs get the usual threads, and no more."""
    now = [0.0]
    set_system_clock(monkeypatch, lambda: now[0])
    ours = Workers(elsewhere)
    ours.submit(nothing)
    started.pop()()
    now[0] += STUCK * 2
    for _ in range(100):
        ours.submit(nothing)
    assert len(started) == USUAL


def test_a_job_that_is_waited_for_runs_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can start. It goes nowhere else: the caller may be the thread
    that runs what goes there."""
    monkeypatch.setattr(threads, "start", lambda *_: False)
    ours, job = Workers(elsewhere), Future(lambda: "here")
    assert ours.wait(job, clock.system_now() + 1)
    assert job.result() == "here"
    ours.start_if_needed()
    assert not ours.waiting()
    assert ours.none_starts


def test_a_job_that_is_waited_for_is_taken_from_a_thread_that_is_held_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was left to a thread that is busy. That is held up, and no other one starts:
    the caller runs the job."""
    ours, park = Workers(elsewhere), Park()
    ours.submit(park)
    park.entered()
    monkeypatch.setattr(threads, "start", lambda *_: False)
    job = Future(lambda: "here")
    assert ours.wait(job, clock.system_now() + 5)
    park.go()


def test_each_job_that_is_waited_for_gets_a_thread(
    started: list[Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and not when the one before it counts as held up: it may wait for
    another job."""
    set_system_clock(monkeypatch, lambda: 0.0)
    ours = Workers(elsewhere)

    def waits(depth: int) -> int:
        if depth:
            inner = Future(lambda: waits(depth - 1))
            begun = len(started)
            ours.run(inner)
            assert len(started) == begun + 1
            started[-1]()
            inner.result()
        return depth

    outer = Future(lambda: waits(3 * USUAL))
    ours.run(outer)
    started[0]()
    assert outer.result() == 3 * USUAL


def test_a_thread_that_takes_such_a_job_starts_the_next_one(
    started: list[Callable[[], None]],
) -> None:
    """A hundred come at once: each gets its thread although no more are submitted."""
    ours, parked = Workers(elsewhere), list[int]()

    def job() -> None:
        parked.append(1)
        begun = len(started)
        if len(parked) < 100:
            assert begun > len(parked)
            started[len(parked)]()

    jobs = [Future(job) for _ in range(100)]
    for each in jobs:
        ours.run(each)
    assert len(started) == USUAL
    started[0]()
    for each in jobs:
        each.result()
    assert len(parked) == 100


def test_the_caller_waits_for_another_end(started: list[Callable[[], None]]) -> None:
    """Such as a part of the job."""
    ours = Workers(elsewhere)
    end = Future(lambda: "end")
    job = Future(end)
    waiting = Run(lambda: ours.wait(job, clock.system_now() + 5, end))
    while not started:
        pass
    started[0]()
    assert waiting.result()
    assert not ours.wait(Future(lambda: None), clock.system_now() - 1, Future(end))


def test_a_job_that_ends_holds_up_no_caller(
    started: list[Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job has woken the caller, who then asks: what it took before is no sign."""
    now = [100.0]
    set_system_clock(monkeypatch, lambda: now[0])
    ours = Workers(elsewhere)

    def job() -> None:
        now[0] += 10.0
        since = now[0]
        assert not ours.held_up(0.02, since)
        now[0] += 0.03
        assert ours.held_up(0.02, since)

    ended = Future(job)
    ours.run(ended)
    started[0]()
    ended.result()


def test_a_job_is_run_though_its_deadline_has_passed(
    started: list[Callable[[], None]],
) -> None:
    """The caller was held up for longer than its bound: nothing is left undone."""
    ours = Workers(elsewhere)
    job = Future(nothing)
    assert not ours.wait(job, clock.system_now() - 1)
    assert not job.begun
    started[0]()
    assert job.done
