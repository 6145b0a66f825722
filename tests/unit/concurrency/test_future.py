"""A call that another thread makes, and its result."""

from __future__ import annotations

import pytest

from tests.doubles import Park, Run
from waterdrop_py._engine.concurrency.future import Future


def test_the_call_is_made_once() -> None:
    """However often it is submitted, and whichever thread makes it."""
    made: list[int] = []

    def make() -> int:
        made.append(1)
        return len(made)

    future = Future(make)
    assert not future.begun
    for run in [Run(future) for _ in range(4)]:
        run.result()
    assert future.wait(0)
    assert (made, future.result(), future.begun) == ([1], 1, True)


def test_each_watcher_is_called_once() -> None:
    """One that is added before the result, and one that is added behind it."""
    told: list[str] = []
    future = Future(lambda: None)
    future.on_done(lambda: told.append("before"))
    future()
    future.on_done(lambda: told.append("behind"))
    future()
    assert told == ["before", "behind"]


def test_threads_that_wait_are_woken() -> None:
    """All of them; the wait of one that gives up leaves nothing behind."""
    park = Park()
    future = Future(park)
    assert not future.wait(0.01)
    assert not future._watchers  # noqa: SLF001
    waiting = [Run(lambda: future.wait(5)) for _ in range(3)]
    caller = Run(future)
    park.entered()
    park.go()
    caller.result()
    assert [run.result() for run in waiting] == [True] * 3


def test_what_the_call_raises_is_the_result() -> None:
    """Of each thread that asks for it; the thread that made the call goes on."""

    def failing() -> None:
        raise LookupError("x")

    future = Future(failing)
    future()
    for _ in range(2):
        with pytest.raises(LookupError):
            future.result()


def test_a_call_that_a_signal_handler_interrupts_is_made_again() -> None:
    """Here, on the main thread, its exception comes out. The next thread makes it."""
    interrupts = [KeyboardInterrupt()]

    def interrupted() -> str:
        if interrupts:
            raise interrupts.pop()
        return "made"

    future = Future(interrupted)
    with pytest.raises(KeyboardInterrupt):
        future()
    assert not future.begun
    assert not future.done
    future()
    assert future.result() == "made"


def test_a_result_that_is_told_early_stays() -> None:
    """A thread that waits for a decision does not wait for what follows from it."""
    park = Park()

    def decided() -> str:
        future.resolve("early")
        park()
        return "late"

    future: Future[str] = Future(decided)
    caller = Run(future)
    park.entered()
    assert future.wait(0)
    park.go()
    caller.result()
    assert future.result() == "early"


def test_a_cancelled_call_is_not_made() -> None:
    """Unless it has begun."""
    future = Future(lambda: pytest.fail("made"))
    future.cancel()
    future()
    assert not future.done
