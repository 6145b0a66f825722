"""Two threads meet in what tasks of asyncio wait in; each interleaving is forced."""

# ruff: noqa: SLF001 - an interleaving is forced where the threads meet

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.concurrency.aio.support import full, made, opened
from tests.concurrency.support import connection_of
from tests.looping import run
from waterdrop_py import AsyncProducer, Message
from waterdrop_py._engine.client.client import Client
from waterdrop_py._engine.concurrency.locks import AwaitedLock, Hold, OwnedLock
from waterdrop_py._engine.process.blocking_poller import _BlockingPoller
from waterdrop_py._engine.produce import hot_path
from waterdrop_py._engine.produce.queued import Queued
from waterdrop_py._engine.transactions.turns import Turn, Turns

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from tests.concurrency.support import Make
    from tests.doubles import Bench


class HookedLock(OwnedLock):
    """Calls a function once, just before it is released."""

    __slots__ = ("before_release",)
    before_release: Callable[[], object] | None

    def __init__(self) -> None:
        super().__init__()
        self.before_release = None

    def release(self, hold: Hold) -> bool:
        """Release it, behind the function."""
        hook, self.before_release = self.before_release, None
        if hook is not None:
            hook()
        return super().release(hold)


def test_a_task_that_awaits_as_the_thread_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It found the client attended, and told no thread; the client is polled again."""
    poller = _BlockingPoller()
    client: Any = Client(None, lambda _: None)  # type: ignore[arg-type]
    client.native = object()
    served: list[object] = []

    def serve(each: Any) -> None:
        served.append(each)
        if len(served) == 1:
            each.awaits["late"] = None  # behind the last look of the loop
        else:
            each.awaits.clear()

    monkeypatch.setattr(poller, "_serve", serve)
    poller._running.take(Hold())  # so that no thread starts
    assert poller.take(client)
    assert poller._step()
    assert poller._inbox
    assert poller._step()
    assert served == [client, client]
    assert not client.attended


def test_a_message_that_comes_as_the_thread_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was sent without a word to the poller, because the thread attended it."""
    poller = _BlockingPoller()
    told: list[object] = []
    client: Any = Client(None, told.append)  # type: ignore[arg-type]
    client.native = object()
    monkeypatch.setattr(poller, "_serve", lambda each: each.resume())
    poller._running.take(Hold())  # so that no thread starts
    assert poller.take(client)
    assert poller._step()
    assert told == [client]


def test_a_withdrawal_meets_the_hand_over() -> None:
    """Either the message is being sent, or it is never sent."""
    first = Queued([], "verb", None, lambda: None)
    assert first.claim()
    assert not first.withdraw()
    first.unclaim()
    assert not first.claim()
    second = Queued([], "verb", None, lambda: None)
    assert second.withdraw()
    assert not second.claim()


def test_an_entry_that_comes_as_the_sender_stops(bench: Bench, make: Make) -> None:
    """The sender has found nothing more, and still holds the lock: it looks again."""
    producer = made(make)

    async def main() -> None:
        await opened(producer)
        components = producer.sync_producer._components
        queue = components.send_queue()
        lock = HookedLock()
        queue._sending = lock
        made_of = [
            components.verbs.filled(Message("t", text))[1] for text in (b"1", b"2")
        ]
        over: list[str] = []
        entries = [
            Queued([handle], "verb", None, lambda: over.append("over"))
            for handle in made_of
        ]

        def late() -> None:
            queue.submit(entries[1])
            assert not queue.advance()

        lock.before_release = late
        queue.submit(entries[0])
        queue.advance()
        assert over == ["over", "over"]

    run(main())


def test_room_that_is_made_as_the_queue_is_parked(
    bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last report came between the refusal and the note that room is wanted: no
    further report will come."""
    producer = made(make)

    async def main() -> None:
        await full(bench, producer, 2)
        connection = connection_of(producer.sync_producer)
        client = connection.client
        dispatch = type(producer.sync_producer._components.dispatch)

        def make_room(*_: object) -> None:
            monkeypatch.undo()
            bench.auto = True
            bench.client.ack()
            while client.in_flight():
                hold = Hold()
                if client.poll_lock.take(hold):
                    client.serve(0.0)
                client.stop_polling(hold)

        monkeypatch.setattr(dispatch, "refuse_without_room", make_room)
        await asyncio.wait_for(producer.send("t", b"last"), 0.4)

    run(main())


def test_a_turn_that_comes_as_the_lock_is_released() -> None:
    """The lock is released while a thread grants, and has found it taken."""
    lock = AwaitedLock()
    turns = Turns(lock)
    granting = HookedLock()
    turns._granting = granting
    holder = Hold()
    told: list[str] = []

    def take() -> None:
        assert lock.take(holder)

    first, second = (
        Turn(Hold(), lambda: told.append("first")),
        Turn(Hold(), lambda: told.append("second")),
    )
    take()
    turns.join(first)
    assert not first.granted
    lock.release(holder)

    # `advance` grants the first one; before it stops, that turn ends.
    def end_first() -> None:
        lock.release(first.hold)
        lock.wake()  # finds the other thread granting

    granting.before_release = end_first
    turns.join(second)
    assert told == ["first", "second"]
    assert second.granted
    assert not turns.leave(second)


def test_a_turn_that_was_withdrawn_is_not_granted() -> None:
    """The lock goes to the next one, and is free after the last."""
    lock = AwaitedLock()
    turns = Turns(lock)
    holder = Hold()
    assert lock.take(holder)
    told: list[int] = []
    line = [Turn(Hold(), lambda n=n: told.append(n)) for n in range(3)]  # type: ignore[misc]
    for turn in line:
        turns.join(turn)
    assert turns.leave(line[0])
    lock.release(holder)
    lock.wake()
    assert told == [1]
    assert turns.leave(line[2])
    lock.release(line[1].hold)
    lock.wake()
    assert not lock.locked


def test_a_report_that_comes_before_its_task_waits(
    bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its future is not there yet, so nothing wakes it."""
    producer = make.quiet()
    bench.auto = True
    tasks = AsyncProducer(producer)

    async def main() -> None:
        await tasks.produce("t", b"first")
        client = connection_of(producer).client
        client.reports.sends_observed = False  # type: ignore[attr-defined]
        early: list[object] = []
        original = hot_path.produce_async

        def send(*given: Any, **named: Any) -> Any:
            handle = original(*given, **named)
            while client.in_flight():
                hold = Hold()
                if client.poll_lock.take(hold):
                    client.serve(0.0)
                client.stop_polling(hold)
            early.append(handle)
            return handle

        monkeypatch.setattr(hot_path, "produce_async", send)
        report = await asyncio.wait_for(tasks.produce("t", b"second"), 5)
        assert report.error is None
        assert len(early) == 1

    run(main())
