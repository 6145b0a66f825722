"""Middleware: order of steps, once per message, and errors of steps."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.doubles import Run
from waterdrop_py import Message, Producer, monitor
from waterdrop_py.errors import InvalidArgumentError, MessageInvalidError
from waterdrop_py.middleware import Middleware
from waterdrop_py.testing import BufferedClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SINGLE = ["produce_async", "produce_sync"]
MANY = ["produce_many_async", "produce_many_sync"]


def adding(text: bytes, message: Message) -> Message:
    """A step that returns a changed copy."""
    assert isinstance(message.payload, bytes)
    return replace(message, payload=message.payload + text)


@pytest.fixture
def client() -> BufferedClient:
    """A client that keeps the messages."""
    return BufferedClient()


@pytest.fixture
def make(client: BufferedClient) -> Iterator[Callable[..., Producer]]:
    """A function that makes producers of that client, closed after the test."""
    made: list[Producer] = []

    def build(
        *steps: Callable[[Message], Any],
        named: dict[str, str] | None = None,
        **options: Any,
    ) -> Producer:
        kafka = {"bootstrap.servers": "x:9092", "message.timeout.ms": 1}
        kafka.update(named or {})
        producer = Producer(
            kafka=kafka, client_factory=client, middleware=steps, **options
        )
        made.append(producer)
        return producer

    yield build
    for producer in made:
        producer.close(1)


def sent(client: BufferedClient) -> list[Any]:
    """The payloads that were sent."""
    return [message.value() for message in client.messages]


def test_no_steps_change_nothing() -> None:
    """Without a step the message is the same object."""
    message = Message("t", b"x")
    assert Middleware(()).run(message) is message


def test_order(client: BufferedClient, make: Callable[..., Producer]) -> None:
    """Prepended steps run first, then configured ones, then appended ones.

    Each gets the message that the step before it returned.
    """
    producer = make(partial(adding, b"b"), partial(adding, b"c"))
    producer.middleware.append(partial(adding, b"d"))
    producer.middleware.prepend(partial(adding, b"a"))
    producer.produce_sync("t", b"-")
    assert sent(client) == [b"-abcd"]


@pytest.mark.parametrize("verb", SINGLE)
def test_a_step_added_later_ends_the_fast_path(
    client: BufferedClient, make: Callable[..., Producer], verb: str
) -> None:
    """A producer in use sends through a step as soon as it is added."""
    producer = make()
    for _ in range(3):
        producer.produce_async("t", b"plain")
    producer.middleware.append(partial(adding, b"!"))
    getattr(producer, verb)("t", b"later")
    assert sent(client) == [b"plain"] * 3 + [b"later!"]


def test_added_by_a_subscriber_of_producer_configured(
    client: BufferedClient, make: Callable[..., Producer]
) -> None:
    """A subscriber of the event can add a step before the first message."""
    unsubscribe = monitor.subscribe(
        "producer.configured",
        lambda event: event["producer"].middleware.append(partial(adding, b"!")),
    )
    try:
        producer = make(partial(adding, b"?"))
    finally:
        unsubscribe()
    producer.produce_sync("t", b"x")
    assert sent(client) == [b"x?!"]


def test_before_validation(
    client: BufferedClient, make: Callable[..., Producer]
) -> None:
    """A step can repair an invalid message, and can make a valid one invalid."""
    repaired = make(lambda message: replace(message, topic="good"))
    repaired.produce_sync("not a topic", b"x")
    assert [each.topic() for each in client.messages] == ["good"]
    spoiled = make(lambda message: replace(message, partition_key=-1))
    with pytest.raises(MessageInvalidError) as invalid:
        spoiled.produce_async("t", b"x")
    assert set(invalid.value.errors) == {"partition_key"}
    assert len(client.messages) == 1


@pytest.mark.parametrize("verb", SINGLE + MANY)
@pytest.mark.parametrize("raised", [LookupError("mine"), KeyboardInterrupt()])
def test_what_a_step_raises_reaches_the_caller(
    client: BufferedClient,
    make: Callable[..., Producer],
    verb: str,
    raised: BaseException,
) -> None:
    """The exception is unchanged, and nothing of the call is sent."""

    def step(message: Message) -> Message:
        if message.payload == b"bad":
            raise raised
        return message

    producer = make(step)
    arguments: Any = ("t", b"bad")
    if verb in MANY:
        arguments = ([Message("t", b"good"), Message("t", b"bad")],)
    with pytest.raises(type(raised)) as caught:
        getattr(producer, verb)(*arguments)
    assert caught.value is raised
    assert not client.messages
    assert producer.stats().opens == 0


@pytest.mark.parametrize("returned", [None, b"x", {"topic": "t", "payload": b"x"}])
def test_a_step_returns_a_message(
    client: BufferedClient, make: Callable[..., Producer], returned: Any
) -> None:
    """A step that returns anything else is a MessageInvalidError; nothing is sent."""
    producer = make(lambda _: returned)
    with pytest.raises(MessageInvalidError, match=type(returned).__name__) as invalid:
        producer.produce_async("t", b"x")
    assert "must return a Message" in invalid.value.errors["middleware"]
    assert not client.messages


@pytest.mark.parametrize("verb", MANY)
def test_a_batch_is_stepped_through_before_any_of_it_is_sent(
    client: BufferedClient, make: Callable[..., Producer], verb: str
) -> None:
    """All messages go through the steps, in order, before the first one is sent."""
    seen: list[Any] = []

    def step(message: Message) -> Message:
        seen.append((message.payload, len(client.messages)))
        return adding(b"!", message)

    batch = [Message("t", b"%d" % n) for n in range(3)]
    getattr(make(step), verb)(batch)
    assert seen == [(b"0", 0), (b"1", 0), (b"2", 0)]
    assert sent(client) == [b"0!", b"1!", b"2!"]
    assert [message.payload for message in batch] == [b"0", b"1", b"2"]


def test_mappings_reach_the_steps_as_messages(
    client: BufferedClient, make: Callable[..., Producer]
) -> None:
    """A step gets a Message of each mapping, which is not changed."""
    given = {"topic": "t", "payload": b"x", "label": 7}
    [handle] = make(partial(adding, b"!")).produce_many_async([given])
    assert sent(client) == [b"x!"]
    assert given == {"topic": "t", "payload": b"x", "label": 7}
    assert (handle.label, handle.message.payload) == (7, b"x!")


def test_once_over_buffer_and_flush(
    client: BufferedClient, make: Callable[..., Producer]
) -> None:
    """A buffered message goes through the steps once, in the flush."""
    calls: list[Any] = []

    def step(message: Message) -> Message:
        calls.append(message.payload)
        return adding(b"!", message)

    producer = make(step)
    producer.buffer("t", b"x")
    assert calls == []
    producer.flush_buffer_sync()
    assert calls == [b"x"]
    assert sent(client) == [b"x!"]


def test_tombstones_and_variants_go_through_it(
    client: BufferedClient, make: Callable[..., Producer]
) -> None:
    """Every verb and variant uses the steps of its producer, also later ones."""
    producer = make(lambda message: replace(message, headers={"by": "step"}))
    variant = producer.variant(topic_config={"acks": 1})
    with_max_wait = producer.variant(max_wait_timeout=5_000)
    producer.tombstone_sync("t", key=b"k")
    variant.produce_sync("t", b"x")
    with_max_wait.produce_sync("t", b"y")
    assert [m.headers() for m in client.messages] == [[("by", b"step")]] * 3
    producer.middleware.append(partial(adding, b"!"))
    variant.produce_async("t", b"z").result(5)
    assert sent(client)[-1] == b"z!"


def test_only_callables() -> None:
    """A step that is not callable is refused when it is added."""
    middleware = Middleware(())
    for wrong in (None, "step", 5):
        with pytest.raises(InvalidArgumentError, match="step"):
            middleware.append(wrong)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError, match="step"):
            middleware.prepend(wrong)  # type: ignore[arg-type]
    assert list(middleware.steps) == []


def test_two_threads_add_steps() -> None:
    """No step is lost when several threads add steps at once."""
    middleware = Middleware(())
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        adders = [middleware.append, middleware.prepend] * 2

        def add(way: Callable[[Any], None]) -> None:
            for _ in range(2_000):
                way(abs)

        for run in [Run(partial(add, way)) for way in adders]:
            run.result()
    finally:
        sys.setswitchinterval(before)
    assert len(middleware.steps) == 8_000


def test_a_step_sees_headers_of_a_buffered_batch_as_they_were_written(
    make: Callable[..., Producer],
) -> None:
    """A step gets headers as the user wrote them, also on the fast path."""
    seen: list[Any] = []

    def step(message: Message) -> Message:
        seen.append(message.headers)
        return message

    producer = make()
    producer.produce_sync("t", b"x")
    producer.buffer_many([{"topic": "t", "payload": b"x", "headers": {"a": b"1"}}])
    producer.middleware.append(step)
    producer.flush_buffer_sync()
    assert seen == [{"a": b"1"}]


@pytest.mark.parametrize("options", [{}, {"transactional": True}])
def test_close_returns_what_the_steps_made_of_a_message(
    make: Callable[..., Producer], options: dict[str, bool]
) -> None:
    """An undelivered message of the report is the one that the steps returned."""

    def step(message: Message) -> Message:
        return replace(message, label="seen", topic="no topic")

    named = {"transactional.id": "steps"} if options else {}
    producer = make(step, named=named)
    producer.buffer_many([{"topic": "t", "payload": b"x"}])
    [message] = producer.close(5).undelivered
    assert (message.topic, message.label) == ("no topic", "seen")
