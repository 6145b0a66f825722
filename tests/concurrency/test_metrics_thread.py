"""MetricsThread: it runs while a client is open, and tells of errors once."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from tests.doubles import eventually
from waterdrop_py._engine.concurrency import threads
from waterdrop_py.listeners._thread import Job, MetricsThread

NAME = "waterdrop-metrics"
OTHERS: set[threading.Thread] = set()
"""What listeners of other tests have left: it ends with the last open client."""


@pytest.fixture(autouse=True)
def others() -> None:
    """Take note of it."""
    OTHERS.clear()
    OTHERS.update(threading.enumerate())


def is_running() -> bool:
    """Whether there is such a thread of the test."""
    own = set(threading.enumerate()) - OTHERS
    return any(thread.name == NAME for thread in own)


def test_it_lives_while_a_client_is_open() -> None:
    """It is started by the first client, runs each job again and again, and ends with
    the last client; the next one starts another."""
    is_open = threading.Event()
    ran: list[None] = []
    thread = MetricsThread(is_open.is_set)
    job = Job(0.01, lambda: ran.append(None))
    thread.add(job)
    thread.ensure()
    assert not is_running()
    for _ in range(2):
        is_open.set()
        thread.ensure()
        eventually(lambda: len(ran) >= 3)
        is_open.clear()
        thread.run_soon(job)
        eventually(lambda: not is_running())
        ran.clear()


def test_it_ends_with_the_last_job() -> None:
    """Also while a client is open: nobody listens any more."""
    ran: list[None] = []
    thread = MetricsThread(lambda: True)
    job = Job(0.01, lambda: ran.append(None))
    thread.add(job)
    eventually(lambda: bool(ran))
    thread.remove(job)
    eventually(lambda: not is_running())


def test_a_client_that_opens_as_it_ends_starts_it_again() -> None:
    """1. The thread looks, and no client is open.
    2. A client opens, and finds the thread running.
    3. The thread clears its mark and looks again."""
    answers = iter([True, True, True, False, False])
    looks: list[bool] = []
    ran: list[None] = []
    thread: MetricsThread

    def is_needed() -> bool:
        answer = next(answers, len(ran) < 10)
        looks.append(answer)
        if looks[-2:] == [False, False] and len(ran) < 10:
            thread.ensure()  # a client has opened since the thread looked
        return answer

    thread = MetricsThread(is_needed)
    thread.add(Job(0.0, lambda: ran.append(None)))
    eventually(lambda: len(ran) >= 10)
    eventually(lambda: not is_running())


def test_an_event_is_pushed_at_once() -> None:
    """Without a thread, as long as that takes little of the time."""
    ran: list[None] = []
    thread, job = MetricsThread(lambda: False), Job(5.0, lambda: ran.append(None))
    thread.run_soon(job)
    assert ran == []  # nobody has subscribed
    thread.add(job)
    for number in range(1, 20):
        thread.run_soon(job)
        assert len(ran) == number
    assert not is_running()


def test_many_events_are_pushed_together() -> None:
    """A thousand producers that close at the same moment do not each wait for a push
    of 20 ms; behind the last event there is one, and the thread ends."""
    pushed: list[int] = []
    events = 0

    def push() -> None:
        seen = events
        time.sleep(0.02)
        pushed.append(seen)

    thread, job = MetricsThread(lambda: False), Job(60.0, push)
    thread.add(job)
    began = time.monotonic()
    for _ in range(1000):
        events += 1
        thread.run_soon(job)
    assert time.monotonic() - began < 5  # one by one they take 20 s
    eventually(lambda: pushed[-1] == 1000)
    assert len(pushed) < 100
    eventually(lambda: not is_running())


def test_what_is_pending_is_pushed_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread starts any more, the end of the process pushes, once."""
    monkeypatch.setattr(threads, "start", lambda *_: False)
    ran: list[None] = []

    def push() -> None:
        time.sleep(0.02)
        ran.append(None)

    thread, job = MetricsThread(lambda: False), Job(60.0, push)
    thread.add(job)
    while not job.pending:
        thread.run_soon(job)
    before = len(ran)
    thread.run_pending()
    thread.run_pending()
    assert len(ran) == before + 1


def test_an_error_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """A disk that is full keeps no other listener from pushing, and fills no log."""
    errors = iter([OSError("full"), OSError("full"), None, OSError("full")])
    ran: list[None] = []

    def push() -> None:
        error = next(errors, None)
        if error is not None:
            raise error

    broken, other = Job(1.0, push), Job(1.0, lambda: ran.append(None))
    with caplog.at_level(logging.ERROR):
        for now in range(4):
            broken.run_if_due(now)
            other.run_if_due(now)
    assert len(ran) == 4
    assert [record.getMessage() for record in caplog.records] == [
        "metrics could not be pushed"
    ] * 2


def test_a_job_runs_when_it_is_due() -> None:
    """At once, and then each interval, by the clock that it is given."""
    ran: list[None] = []
    job = Job(5.0, lambda: ran.append(None))
    for now, times in ((100.0, 1), (104.9, 1), (105.0, 2), (200.0, 3)):
        job.run_if_due(now)
        assert len(ran) == times
