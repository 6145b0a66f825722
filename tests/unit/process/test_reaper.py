"""The reaper's policy: a function of deadlines and of now."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from waterdrop_py._engine.concurrency import threads
from waterdrop_py._engine.concurrency.locks import Hold, OwnedLock
from waterdrop_py._engine.process.reaper import Reaper, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


class Sleeper:
    """Something that falls due."""

    def __init__(self, due: float | None) -> None:
        self.due = due
        self.restarts = 0

    def due_at(self) -> float | None:
        """When."""
        return self.due

    def restart_deadline(self) -> None:
        """It was not due yet."""
        self.restarts += 1


def test_due_exactly_at_the_deadline() -> None:
    """Never before; at the deadline itself."""
    schedule, connection = Schedule(), Sleeper(10.0)
    schedule.add(connection)
    assert schedule.next() == 10.0
    assert schedule.sweep(9.999_999) == []
    assert connection.restarts == 0
    assert schedule.sweep(10.0) == [connection]


def test_a_due_connection_is_forgotten() -> None:
    """Until it is scheduled again."""
    schedule, connection = Schedule(), Sleeper(10.0)
    schedule.add(connection)
    schedule.sweep(10.0)
    assert schedule.next() is None
    assert schedule.sweep(1e9) == []
    assert len(schedule) == 0
    schedule.add(connection)
    assert schedule.sweep(10.0) == [connection]


def test_a_busy_connection_costs_one_check_per_timeout() -> None:
    """It is scheduled again for its new deadline, and its refusals may be repeated."""
    schedule, connection = Schedule(), Sleeper(10.0)
    schedule.add(connection)
    connection.due = 17.0
    assert schedule.sweep(10.0) == []
    assert connection.restarts == 1
    assert schedule.next() == 17.0
    assert schedule.sweep(17.0) == [connection]


def test_a_connection_without_deadline_is_forgotten() -> None:
    """A closed one, whether looked at or found by the sweep."""
    schedule, first, second = Schedule(), Sleeper(10.0), Sleeper(11.0)
    schedule.add(first)
    schedule.add(second)
    first.due = second.due = None
    schedule.add(first)
    assert len(schedule) == 1
    assert schedule.sweep(20.0) == []
    assert schedule.next() is None
    assert len(schedule) == 0


def test_the_last_one_forgotten_frees_everything() -> None:
    """Old entries do not keep closed connections alive."""
    schedule, connection = Schedule(), Sleeper(10.0)
    schedule.add(connection)
    connection.due = None
    schedule.add(connection)
    assert schedule._heap == []  # noqa: SLF001 - what would keep it alive


def test_a_deadline_that_comes_nearer() -> None:
    """Is the one that counts; the old one is void."""
    schedule, connection = Schedule(), Sleeper(50.0)
    schedule.add(connection)
    connection.due = 10.0
    schedule.add(connection)
    assert schedule.next() == 10.0
    assert schedule.sweep(60.0) == [connection]


def test_a_deadline_that_comes_back() -> None:
    """An old entry that is right again makes the connection due once, not twice."""
    schedule, connection = Schedule(), Sleeper(50.0)
    for due in (50.0, 10.0, 50.0):
        connection.due = due
        schedule.add(connection)
    assert schedule.sweep(60.0) == [connection]
    assert schedule.sweep(60.0) == []


def test_looking_again_costs_nothing() -> None:
    """An unchanged deadline adds no entry."""
    schedule, connection = Schedule(), Sleeper(10.0)
    for _ in range(100):
        schedule.add(connection)
    assert len(schedule._heap) == 1  # noqa: SLF001 - what a leak would fill


def test_a_thousand_due_at_once() -> None:
    """All in one sweep, in the order in which they came."""
    schedule, connections = Schedule(), [Sleeper(10.0) for _ in range(1000)]
    for connection in connections:
        schedule.add(connection)
    assert schedule.sweep(10.0) == connections
    assert schedule.sweep(10.0) == []


def test_earliest_first() -> None:
    """Due connections come in the order of their deadlines."""
    schedule, late, early = Schedule(), Sleeper(10.0), Sleeper(5.0)
    schedule.add(late)
    schedule.add(early)
    assert schedule.sweep(10.0) == [early, late]


@given(
    st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), st.integers(0, 30)))),
    st.integers(0, 30),
)
def test_sweep_agrees_with_the_definition(
    changes: list[tuple[int, int | None]], now: int
) -> None:
    """However deadlines changed: due are those, and only those, that are due."""
    schedule, connections = Schedule(), [Sleeper(None) for _ in range(6)]
    for index, due in changes:
        connections[index].due = None if due is None else float(due)
        schedule.add(connections[index])
    expected = {
        id(connection)
        for connection in connections
        if connection.due is not None and connection.due <= now
    }
    left = [
        connection.due
        for connection in connections
        if connection.due is not None and connection.due > now
    ]
    swept = schedule.sweep(float(now))
    assert {id(connection) for connection in swept} == expected
    assert len(swept) == len(expected)
    assert schedule.next() == min(left, default=None)


def test_a_reaper_that_is_told_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told while its thread is on its way, it ends without the linger."""
    started: list[Callable[[], None]] = []

    def start(_: str, run: Callable[[], None]) -> bool:
        started.append(run)
        return True

    monkeypatch.setattr(threads, "start", start)
    monkeypatch.setattr("waterdrop_py._engine.process.reaper.LINGER", 1e6)
    reaper = Reaper(lambda _: None, lambda: False)
    reaper.reschedule(Sleeper(None))
    reaper.end_if_idle()
    coming = threading.Thread(target=started.pop(), daemon=True)
    coming.start()
    coming.join(10)
    assert not coming.is_alive()


def test_a_deadline_that_comes_as_the_reaper_ends(
    monkeypatch: pytest.MonkeyPatch, started: list[Callable[[], None]]
) -> None:
    """The reaper has looked for the last time and still holds its lock, so no other
    thread is started for the deadline: the reaper looks again after the release."""
    monkeypatch.setattr("waterdrop_py._engine.process.reaper.LINGER", 0.0)
    late, found = [Sleeper(0.0)], list[object]()
    reaper = Reaper(found.extend, lambda: False)

    class Lock(OwnedLock):
        """Before whose first release the deadline comes."""

        def release(self, hold: Hold) -> bool:
            if late:
                reaper.reschedule(late.pop())
            return super().release(hold)

    reaper._running = Lock()  # noqa: SLF001 - what a caller looks at
    reaper._run()  # noqa: SLF001
    assert len(found) == 1
    assert not started
