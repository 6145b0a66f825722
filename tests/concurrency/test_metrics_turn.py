"""Turn: jobs run one after another, and none that was asked for is left out."""

from __future__ import annotations

import time
from threading import Event, Thread

from waterdrop_py.listeners._turn import Turn


def test_threads_take_turns() -> None:
    """Two jobs never run at the same time, and both run."""
    turn = Turn()
    inside: list[None] = []
    ran: list[None] = []

    def job() -> None:
        inside.append(None)
        time.sleep(0.005)
        assert len(inside) == 1
        inside.pop()
        ran.append(None)

    threads = [Thread(target=turn.run, args=(job,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert ran


def test_a_job_inside_a_job_is_run_behind_it() -> None:
    """A subscriber on top of the frame of a push: it waits for nothing, and what it
    would have pushed is pushed at once afterwards."""
    turn = Turn()
    log: list[str] = []

    def inner() -> None:
        log.append("inner")

    def job() -> None:
        log.append("job")
        if len(log) == 1:
            assert not turn.run(inner)

    assert turn.run(job)
    assert log == ["job", "job"]


def test_a_job_that_raises_gives_its_turn_back() -> None:
    """The error comes out, and the next job runs."""
    turn = Turn()
    ran: list[str] = []

    def broken() -> None:
        raise OSError("full")

    try:
        turn.run(broken)
    except OSError:
        ran.append("raised")
    assert turn.run(lambda: ran.append("next"))
    assert ran == ["raised", "next"]


def test_waiting_for_a_turn_has_a_bound() -> None:
    """A push that hangs holds up no disconnect for longer than the patience."""
    turn, release, begun = Turn(), Event(), Event()

    def hang() -> None:
        begun.set()
        release.wait(10)

    thread = Thread(target=turn.run, args=(hang,))
    thread.start()
    assert begun.wait(5)
    began = time.monotonic()
    assert not turn.run(lambda: None, patience=0.1)
    assert 0.1 <= time.monotonic() - began < 5
    release.set()
    thread.join(5)


def test_nothing_runs_while_the_process_forks() -> None:
    """A job that is asked for during a fork runs behind it, once."""
    turn = Turn()
    ran: list[str] = []
    turn.begin_fork(0.1)
    assert not turn.run(lambda: ran.append("meanwhile"))
    assert ran == []
    turn.end_fork(lambda: ran.append("behind"))
    assert ran == ["behind"]
    turn.begin_fork(0.1)
    turn.end_fork(lambda: ran.append("unasked"))
    assert ran == ["behind"]


def test_a_fork_comes_first() -> None:
    """1. A thread pushes all the time, one push after another.
    2. A fork begins to wait during one of these pushes.
    3. No other push begins before the fork has the turn."""
    turn, waiting, go_on, over = Turn(), Event(), Event(), Event()
    forks: list[str] = []

    def first() -> None:
        waiting.set()
        assert go_on.wait(5)

    def other() -> None:
        forks.append("push")
        time.sleep(0.02)

    def push() -> None:
        turn.run(first)
        while not over.is_set():
            turn.run(other)

    def fork() -> None:
        turn.begin_fork(5)
        forks.append("fork")

    pusher, forker = Thread(target=push), Thread(target=fork)
    pusher.start()
    try:
        assert waiting.wait(5)
        forker.start()
        time.sleep(0.1)  # it waits by now
        go_on.set()
        forker.join(10)
        assert forks == ["fork"]
    finally:
        over.set()
        turn.end_fork(lambda: None)
        pusher.join(5)
