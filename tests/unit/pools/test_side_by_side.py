"""Calls that are made at the same time."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.doubles import BOUND, Park, Run
from waterdrop_py._engine.concurrency import background, clock, threads
from waterdrop_py._engine.concurrency.side_by_side import acting_for, side_by_side
from waterdrop_py._engine.concurrency.wakeup import Wakeup

if TYPE_CHECKING:
    from collections.abc import Callable


def soon() -> float:
    """The end of a wait that never takes as long."""
    return clock.system_now() + BOUND


@pytest.fixture
def no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread can start, as at the interpreter's exit."""
    monkeypatch.setattr(threads, "can_start", lambda: False)


def test_all_run_at_the_same_time() -> None:
    """Each waits for all others. There are more than the usual threads of workers."""
    everyone = threading.Barrier(12)
    made = side_by_side([partial(everyone.wait, BOUND)] * 12, soon())
    assert sorted(each.result() for each in made) == list(range(12))


def test_more_begin_when_none_ends() -> None:
    """Each waits for all others, and there are many more than begin at once."""
    everyone = threading.Barrier(100)
    made = side_by_side([partial(everyone.wait, BOUND)] * 100, soon())
    assert sorted(each.result() for each in made) == list(range(100))


def test_outcomes_are_in_order() -> None:
    """A result is returned, and an error raised, by the `Future` of its own call."""

    def failing() -> str:
        raise LookupError("x")

    first, second, third = side_by_side([lambda: "a", failing, lambda: "c"], soon())
    assert (first.result(), third.result()) == ("a", "c")
    with pytest.raises(LookupError):
        second.result()


def test_no_call() -> None:
    """There is nothing to wait for."""
    assert side_by_side([], None) == []


def test_one_call_runs_here() -> None:
    """Without a thread, and without the way there and back."""
    (made,) = side_by_side([threading.get_ident], None)
    assert made.result() == threading.get_ident()


@pytest.mark.usefixtures("no_thread")
def test_all_run_here_where_no_thread_can_start() -> None:
    """One after the other, in order."""
    order: list[int] = []
    calls = [partial(order.append, number) for number in range(3)]
    made = side_by_side(calls, clock.system_now())
    assert order == [0, 1, 2]
    assert all(each.done for each in made)


def test_threads_that_can_no_longer_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The threads were refused after the look: the calls run here all the same."""
    answers = [True]
    monkeypatch.setattr(threads, "can_start", lambda: bool(answers and answers.pop()))
    monkeypatch.setattr(background, "submit", lambda _: None)
    made = side_by_side([threading.get_ident] * 2, None)
    assert {each.result() for each in made} == {threading.get_ident()}


def test_a_job_that_is_lost_is_submitted_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Other jobs held up all threads, and no thread was started for these calls."""
    submit = background.submit
    lost: list[Callable[[], None]] = []

    def lossy(job: Callable[[], None]) -> None:
        if job in lost:
            submit(job)
        else:
            lost.append(job)

    monkeypatch.setattr(background, "submit", lossy)
    made = side_by_side([threading.get_ident] * 2, soon())
    assert all(each.done for each in made)


def test_what_is_not_over_at_the_deadline_goes_on() -> None:
    """The wait ends, and the call does not."""
    park = Park()
    calls: list[Callable[[], None]] = [park, lambda: None]
    slow, fast = side_by_side(calls, clock.system_now() + 0.02)
    assert (slow.done, fast.done) == (False, True)
    park.go()
    assert slow.wait(BOUND)


def test_an_interrupted_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """What interrupts the wait comes out at once, and the calls go on."""
    park, ended = Park(), threading.Event()

    def slow() -> None:
        park()
        ended.set()

    def interrupt(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Wakeup, "wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            side_by_side([slow, slow], None)
    park.go()
    assert ended.wait(BOUND)


def test_a_call_knows_for_whom_it_acts() -> None:
    """The thread that asked, also from a nested call; elsewhere the thread itself."""

    def nested() -> set[object]:
        inner = side_by_side([acting_for, acting_for], soon())
        return {each.result() for each in inner}

    def outer() -> tuple[object, set[object]]:
        made = side_by_side([nested, nested], soon())
        return threading.current_thread(), set().union(
            *(each.result() for each in made)
        )

    asking, found = Run(outer).result()
    assert found == {asking}
    assert acting_for() is threading.current_thread()


def test_a_call_runs_in_the_context_of_the_caller() -> None:
    """It is inside of the transactions that the caller is inside of."""
    variable: ContextVar[str] = ContextVar("variable", default="unset")

    def outer() -> set[str]:
        variable.set("set")
        made = side_by_side([variable.get, variable.get], soon())
        return {each.result() for each in made}

    assert Run(outer).result() == {"set"}
