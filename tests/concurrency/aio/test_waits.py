"""What a task waits for, and what wakes it where no report of its own does."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import pytest

from tests.concurrency.aio.support import made, opened
from tests.concurrency.support import IDLE, connection_of
from tests.looping import eventually, run
from waterdrop_py import AsyncProducer
from waterdrop_py._engine.client import awaiting
from waterdrop_py._engine.client.client import Client
from waterdrop_py._engine.concurrency.loops import Bridge, Waiter
from waterdrop_py._engine.connection.borrowing import Pinned
from waterdrop_py._engine.reports.giving_up import give_up_now
from waterdrop_py._engine.shutdown.close import must_not_wait
from waterdrop_py.errors import DeliveryTimeoutError

if TYPE_CHECKING:
    from tests.concurrency.support import Make
    from tests.doubles import Bench
    from waterdrop_py.testing import FakeClock


def test_a_stale_client_is_replaced_before_it_gets_a_message(
    bench: Bench, make: Make, time_: FakeClock
) -> None:
    """The message that waits is a reason not to close the client, but not for the
    thread that hands it over."""
    producer = AsyncProducer(make(idle=True))

    async def main() -> None:
        await opened(producer)
        connection = connection_of(producer.sync_producer)
        await eventually(lambda: connection.client.quiet)
        time_.advance(IDLE + 1)
        await producer.send("t", b"late")
        assert producer.stats().opens == 2

    run(main())


def test_a_client_is_quiet_as_soon_as_its_last_report_is_served(
    bench: Bench, make: Make, time_: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while a thread still polls it for the next message: the process may be
    suspended there, and the connections go meanwhile."""
    monkeypatch.setattr(awaiting, "STAY", 1.0)
    producer = AsyncProducer(make(idle=True))

    async def main() -> None:
        for _ in range(5):
            await producer.produce("t", b"1")
        connection = connection_of(producer.sync_producer)
        await eventually(lambda: connection.client.quiet)
        client = connection.client
        client.progress_at -= 60.0  # as if the system had slept
        time_.advance(IDLE + 1)
        await producer.produce("t", b"2")
        assert producer.stats().opens == 2

    run(main())


def test_a_closed_loop_is_woken_without_an_error() -> None:
    """Its tasks never run again; the thread that polls goes on."""
    loop = asyncio.new_event_loop()
    future: asyncio.Future[bool] = loop.create_future()
    bridge = Bridge(loop)
    loop.close()
    bridge.wake(future)
    bridge.wake_all([future, future])
    assert not future.done()


def test_a_task_is_woken_where_only_acknowledgements_are_heard(
    bench: Bench, make: Make
) -> None:
    """The message takes the fast path; its report is settled by a worker."""
    producer = make.quiet()
    heard: list[str] = []
    producer.monitor.subscribe(
        "message.acknowledged", lambda event: heard.append(event["topic"])
    )
    tasks = AsyncProducer(producer)

    async def main() -> None:
        await tasks.produce("t", b"1")
        for _ in range(20):
            await asyncio.wait_for(tasks.produce("t", b"2"), 5)

    run(main())
    assert heard == ["t"] * 21


def test_tasks_are_woken_when_their_handles_are_given_up() -> None:
    """No report will come."""

    async def main() -> None:
        client: Any = Client(None, lambda _: None)  # type: ignore[arg-type]
        waiter = Waiter()
        client.awaits["a handle"] = waiter.future
        await asyncio.to_thread(give_up_now, client)
        assert await asyncio.wait_for(waiter.future, 5)

    run(main())


def test_a_job_ends_the_polls_for_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs a client that no thread polls, such as a close."""
    monkeypatch.setattr(Client, "serve", lambda *_: None)
    monkeypatch.setattr(Client, "check_quiet", lambda _: True)
    client: Any = Client(MagicMock(foreign=False), lambda _: None)
    client.native = object()
    client.awaits["a handle"] = None
    client.poll_lock.add_job(lambda: None)
    thread = threading.Thread(
        target=awaiting.serve_awaited, args=(client,), daemon=True
    )
    thread.start()
    thread.join(5)
    assert not thread.is_alive()


def test_the_pin_of_a_task_belongs_to_no_thread(bench: Bench, make: Make) -> None:
    """A close on the worker that has entered the block waits for its end."""
    producer = made(make)

    async def main() -> None:
        await opened(producer)

    run(main())
    connection = connection_of(producer.sync_producer)
    pinned = Pinned(connection, "a task")
    pinned.__enter__()
    try:
        assert not must_not_wait(connection)
    finally:
        pinned.__exit__()


def test_a_message_whose_time_is_over_as_the_client_opens_goes_on(
    bench: Bench, make: Make
) -> None:
    """As with a thread that opens the client: the caller hears that the time is over,
    and the message is delivered."""
    producer = made(make)

    async def main() -> None:
        with bench.park("open") as opening:
            task = asyncio.ensure_future(producer.produce("t", b"1", timeout=0.05))
            await asyncio.to_thread(opening.entered)
            with pytest.raises(DeliveryTimeoutError, match="delivery goes on") as late:
                await task
            assert late.value.checklist
            assert producer.explain_idle().reasons[-1].code == "call"
            opening.go()
        await eventually(lambda: producer.stats().acknowledged == 1)
        with pytest.raises(DeliveryTimeoutError):
            await AsyncProducer(make.quiet()).produce("t", b"2", timeout=0)
        await eventually(lambda: len(bench.sent) == 2)

    run(main())


def test_a_message_that_goes_on_and_fails_is_told_of(bench: Bench, make: Make) -> None:
    """Its caller has left with a timeout, so the error is an event."""
    producer = make.quiet()
    told: list[str] = []
    producer.monitor.subscribe("error.occurred", lambda each: told.append(each["type"]))
    tasks = AsyncProducer(producer)

    async def main() -> None:
        with bench.park("open") as opening:
            bench.fail("open", RuntimeError("no client"))
            task = asyncio.ensure_future(tasks.produce("t", b"1", timeout=0.05))
            await asyncio.to_thread(opening.entered)
            with pytest.raises(DeliveryTimeoutError):
                await task
            opening.go()
        await eventually(lambda: told.count("message.produce_sync") == 2)

    run(main())
