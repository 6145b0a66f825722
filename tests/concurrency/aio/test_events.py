"""Where subscribers and steps of middleware run: a verb's own in the calling task."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.concurrency.aio.support import full
from tests.looping import eventually, run
from waterdrop_py import AsyncProducer, Message
from waterdrop_py.errors import MessageInvalidError, ProduceError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.concurrency.support import Make
    from tests.doubles import Bench

USER: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")
MANY = [{"topic": "t", "payload": b"x"}, {"topic": "t", "payload": b"y"}]


class Heard:
    """Each event, with the thread, the task and the context that heard it."""

    def __init__(self, producer: AsyncProducer) -> None:
        self.events: list[tuple[str, int, Any, str]] = []
        producer.monitor.subscribe("*", self.hear)

    def hear(self, event: Any) -> None:
        """Note it."""
        try:
            task = asyncio.current_task()
        except RuntimeError:
            task = None
        name = event.payload.get("type", event.name)
        self.events.append((name, threading.get_ident(), task, USER.get()))

    def of(self, name: str) -> list[tuple[int, Any, str]]:
        """Where those of that name were heard."""
        return [each[1:] for each in self.events if each[0] == name]

    def names(self) -> set[str]:
        """What was heard."""
        return {each[0] for each in self.events}


OWN: dict[str, tuple[Callable[[AsyncProducer], Coroutine[Any, Any, Any]], str]] = {
    "produce": (lambda p: p.produce("t", b"x"), "message.produced_sync"),
    "send": (lambda p: p.send("t", b"x"), "message.produced_async"),
    "produce_many": (lambda p: p.produce_many(MANY), "messages.produced_sync"),
    "send_many": (lambda p: p.send_many(MANY), "messages.produced_async"),
    "tombstone": (lambda p: p.tombstone("t", key=b"k"), "message.produced_sync"),
}


@pytest.mark.parametrize("opened", [True, False], ids=["open", "closed"])
@pytest.mark.parametrize("verb", OWN)
def test_the_events_of_a_verb_are_told_in_the_calling_task(
    bench: Bench, make: Make, verb: str, opened: bool
) -> None:
    """With its context variables, whether or not it had to wait; the same events as
    those of the sync verb."""
    producer = AsyncProducer(make.quiet())
    call, name = OWN[verb]

    async def main() -> None:
        if opened:
            await producer.produce("t", b"x")
        heard = Heard(producer)

        async def one(user: str) -> None:
            USER.set(user)
            await call(producer)

        tasks = {user: asyncio.ensure_future(one(user)) for user in ("ann", "bob")}
        await asyncio.gather(*tasks.values())
        here = threading.get_ident()
        assert sorted(user for *_, user in heard.of(name)) == ["ann", "bob"]
        for thread, task, user in heard.of(name):
            assert thread == here
            assert task is tasks[user]

    run(main())


@pytest.mark.parametrize("verb", OWN)
def test_the_sync_verb_tells_the_same(bench: Bench, make: Make, verb: str) -> None:
    """Event by event: names and payloads' keys."""
    from tests.unit.aio.test_surface import SYNC

    told: list[list[Any]] = []
    producer = AsyncProducer(make.quiet())
    arguments: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
        "produce": (("t", b"x"), {}),
        "send": (("t", b"x"), {}),
        "produce_many": ((MANY,), {}),
        "send_many": ((MANY,), {}),
        "tombstone": (("t",), {"key": b"k"}),
    }
    positional, named = arguments[verb]

    async def main() -> None:
        await producer.produce("t", b"first")
        for call in (
            functools.partial(getattr(producer, verb), *positional, **named),
            functools.partial(
                asyncio.to_thread,
                getattr(producer.sync_producer, SYNC[verb]),
                *positional,
                **named,
            ),
        ):
            heard: list[Any] = []
            stop = producer.monitor.subscribe("*", heard.append)
            await call()
            await producer.flush(5)
            await eventually(lambda: producer.queue_size == 0)
            await asyncio.sleep(0.02)
            stop()
            told.append(sorted((each.name, sorted(each.payload)) for each in heard))

    run(main())
    assert told[0] == told[1]


def test_every_other_subscriber_runs_off_the_loop(bench: Bench, make: Make) -> None:
    """Lifecycle, reports, done callbacks: on threads of the library."""
    producer = AsyncProducer(make.quiet())

    async def main() -> None:
        heard = Heard(producer)
        here = threading.get_ident()
        called: list[int] = []
        for _ in range(3):
            await producer.produce("t", b"x")
            bench.auto = False
            handle = await producer.send("t", b"x")
            handle.add_done_callback(lambda _: called.append(threading.get_ident()))
            bench.auto = True
            bench.client.ack()
            await handle
            await producer.flush(5)
            assert await producer.disconnect()
        await eventually(lambda: len(called) == 3)
        await producer.close()
        await eventually(lambda: "producer.closed" in heard.names())
        await eventually(lambda: len(heard.of("message.acknowledged")) == 6)
        own = {"message.produced_sync", "message.produced_async"}
        on_loop = {name for name, thread, *_ in heard.events if thread == here}
        assert on_loop == own
        assert {"producer.connected", "producer.disconnected", "producer.closed"} <= (
            heard.names()
        )
        assert here not in called

    run(main())


def test_middleware_runs_in_the_task_before_it_suspends(
    bench: Bench, make: Make
) -> None:
    """Once for each message, with the task's context, also while a client opens."""
    seen: list[tuple[int, str]] = []

    def step(message: Message) -> Message:
        seen.append((threading.get_ident(), USER.get()))
        return message

    producer = AsyncProducer(make.quiet(middleware=[step]))

    async def main() -> None:
        USER.set("ann")
        with bench.park("open") as opening:
            coroutine = producer.produce("t", b"x")
            waited = coroutine.send(None)
            assert seen == [(threading.get_ident(), "ann")]
            opening.go()

        async def rest() -> Any:
            # What the first step has waited for, and then the rest of it.
            await _until(waited)
            return await _Resumed(coroutine)

        await rest()
        await producer.produce_many(MANY)
        assert len(seen) == 3

    run(main())


async def _until(waited: Any) -> None:
    await eventually(waited.done)


class _Resumed:
    def __init__(self, coroutine: Any) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Any:
        while True:
            try:
                yield self._coroutine.send(None)
            except StopIteration as end:
                return end.value


def test_what_middleware_raises_reaches_the_caller(bench: Bench, make: Make) -> None:
    """Unchanged, and nothing is sent."""

    def step(message: Message) -> Message:
        raise LookupError(message.payload)

    producer = AsyncProducer(make.quiet(middleware=[step]))

    async def main() -> None:
        with pytest.raises(LookupError):
            await producer.produce("t", b"x")
        with pytest.raises(LookupError):
            await producer.send_many(MANY)

    run(main())
    assert not bench.sent


def test_the_errors_of_a_verb_are_told_in_the_calling_task(
    bench: Bench, make: Make
) -> None:
    """`error.occurred`, with the type of the sync verb."""
    producer = AsyncProducer(make.quiet(wait_on_queue_full=False))

    async def main() -> None:
        await full(bench, producer, 2)
        heard = Heard(producer)
        here = threading.get_ident()
        for call, kind in (
            (producer.produce("t", b"x"), "message.produce_sync"),
            (producer.send("t", b"x"), "message.produce_async"),
            (producer.produce_many(MANY), "messages.produce_many_sync"),
            (producer.send_many(MANY), "messages.produce_many_async"),
        ):
            with pytest.raises(ProduceError):
                await call
            assert heard.of(kind), (kind, heard.names())
            assert {thread for thread, *_ in heard.of(kind)} == {here}
        bench.auto = True
        bench.client.ack()

    run(main())


def test_an_event_is_brought_to_a_loop(bench: Bench, make: Make) -> None:
    """By `loop.call_soon_threadsafe`, as the page says, and a done callback too."""
    producer = AsyncProducer(make.quiet())

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        here = threading.get_ident()
        told: list[tuple[Any, int]] = []

        def on_loop(what: Any) -> None:
            told.append((what, threading.get_ident()))

        producer.monitor.subscribe(
            "producer.connected", functools.partial(loop.call_soon_threadsafe, on_loop)
        )
        handle = await producer.send("t", b"x")
        handle.add_done_callback(functools.partial(loop.call_soon_threadsafe, on_loop))
        await eventually(lambda: len(told) == 2)
        assert {thread for _, thread in told} == {here}
        assert {getattr(what, "name", what) for what, _ in told} == {
            "producer.connected",
            handle,
        }

    run(main())


def test_a_raising_subscriber_changes_nothing(bench: Bench, make: Make) -> None:
    """It is told of once for each time, and the verb returns its report."""
    producer = AsyncProducer(make.quiet())

    async def main() -> None:
        def broken(_: Any) -> None:
            raise LookupError

        heard = Heard(producer)
        producer.monitor.subscribe("message.produced_sync", broken)
        assert (await producer.produce("t", b"x")).error is None
        await eventually(lambda: heard.of("subscriber.error"))

    run(main())


def test_what_is_invalid_is_told_as_the_sync_verb_tells_it(
    bench: Bench, make: Make
) -> None:
    """The error and the events."""
    producer = AsyncProducer(make.quiet())
    topic: Any = ""

    async def main() -> None:
        with pytest.raises(MessageInvalidError) as own:
            await producer.produce(topic, b"x")
        with pytest.raises(MessageInvalidError) as sync:
            producer.sync_producer.produce_sync(topic, b"x")
        assert str(own.value) == str(sync.value)
        assert own.value.errors == sync.value.errors

    run(main())
