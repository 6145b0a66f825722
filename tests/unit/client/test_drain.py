"""What librdkafka calls back with is stored first, and settled after the call."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError

from tests.concurrency.still import StillProducer
from tests.doubles import Bench, Run
from waterdrop_py._engine.client import watchers
from waterdrop_py._engine.connection.disconnecting import blockers
from waterdrop_py._engine.connection.opening import open_noted
from waterdrop_py._engine.produce.validation import fill
from waterdrop_py._engine.shutdown.fork import _leak
from waterdrop_py.message import Message
from waterdrop_py.testing import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from waterdrop_py._engine.client.client import Client
    from waterdrop_py.delivery import DeliveryHandle
    from waterdrop_py.monitor import Event

ACKNOWLEDGED = "message.acknowledged"


class Limit(Exception):
    """What the handler raises."""


class Still(StillProducer):
    """A producer whose client only the test polls, and its bench."""

    def __init__(self, **options: Any) -> None:
        self.bench = Bench()
        super().__init__(self.bench, **options)


@pytest.fixture
def interrupt() -> Iterator[Callable[..., None]]:
    """Makes the signal handler raise, the first time that it is called."""
    left = [None]

    def on_signal(*_: object) -> None:
        raise Limit

    def call(*_: object) -> None:
        if left:
            left.pop()
            signal.raise_signal(signal.SIGUSR2)

    before = signal.signal(signal.SIGUSR2, on_signal)
    yield call
    signal.signal(signal.SIGUSR2, before)


@pytest.fixture
def producer() -> Still:
    """A producer whose client only the test polls."""
    return Still()


def send(producer: Still, count: int = 1) -> list[DeliveryHandle]:
    """Messages whose reports come with the next poll."""
    handles = [fill(Message("t", b"x"), None) for _ in range(count)]
    for handle in handles:
        producer.dispatch.send(handle, "message.produce_async")
    return handles


def test_reports_are_settled_behind_the_call(producer: Still) -> None:
    """Subscribers and callbacks do not run inside the native poll."""
    inside: list[bool] = []
    polling = [False]
    send(producer)
    client = producer.connection.client
    producer.monitor.subscribe(ACKNOWLEDGED, lambda _: inside.append(polling[0]))
    producer.connection.refresh()

    def poll(timeout: float) -> None:
        polling[0] = True
        assert client.native is not None
        client.native.poll(timeout)
        polling[0] = False

    client.serve_with(poll, 0.0)
    assert inside == [False]


def test_reports_are_settled_when_the_call_raises(producer: Still) -> None:
    """A handler's exception comes out of the poll, after the callbacks."""
    [handle] = send(producer)
    client = producer.connection.client
    heard: list[object] = []
    handle.add_done_callback(heard.append)

    def poll(timeout: float) -> None:
        assert client.native is not None
        client.native.poll(timeout)
        raise Limit

    with pytest.raises(Limit):
        client.serve_with(poll, 0.0)
    assert handle.done()
    assert heard == [handle]
    assert client.counters_uncertain  # what it left open is counted off


def test_an_interrupted_callback_costs_the_others_nothing(
    producer: Still, interrupt: Callable[..., None]
) -> None:
    """The exception comes out at once; the next poll calls each of the others, once
    and in the order of the reports."""
    handles = send(producer, 3)
    heard: list[Any] = []

    def first(handle: DeliveryHandle) -> None:
        heard.append(handle)
        interrupt()

    for handle in handles:
        handle.add_done_callback(first)
        handle.add_done_callback(heard.append)
    with pytest.raises(Limit):
        producer.connection.client.serve(0.0)
    assert heard == handles[:1]
    producer.connection.client.serve(0.0)
    assert heard == [each for each in handles for _ in range(2)]
    assert not watchers.WATCHED


def test_an_interrupted_drain_is_continued_by_the_next(
    producer: Still, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is interrupted; subscribers hear once."""
    handles = send(producer, 2)
    client = producer.connection.client
    heard: list[Any] = []
    told: list[Event] = []
    producer.monitor.subscribe(ACKNOWLEDGED, told.append)
    producer.connection.refresh()
    for handle in handles:
        handle.add_done_callback(heard.append)
    notify, left = watchers.notify, [KeyboardInterrupt(), KeyboardInterrupt()]

    def interrupted(client: Client, handle: DeliveryHandle) -> None:
        if left:
            raise left.pop()
        notify(client, handle)

    monkeypatch.setattr(
        "waterdrop_py._engine.reports.handler.watchers.notify", interrupted
    )
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            client.serve(0.0)
    assert heard == []
    client.serve(0.0)
    assert heard == handles
    assert len(told) == 2
    assert (client.acknowledged, client.in_flight()) == (2, 0)


def test_what_is_left_is_a_reason_to_poll(producer: Still) -> None:
    """The client is not quiet, and not closed, before all is settled."""
    [handle] = send(producer)
    client = producer.connection.client
    assert client.native is not None
    producer.monitor.subscribe(ACKNOWLEDGED, lambda _: None)
    producer.connection.refresh()
    client.native.poll(0.0)
    assert (len(client.native), handle.done()) == (0, False)
    assert client.busy()
    assert not client.check_quiet()
    assert [each.code for each in blockers(producer.connection, client)] == [
        "in_flight"
    ]


def test_a_wake_up_is_repeated_until_all_were_done(producer: Still) -> None:
    """A handler raises inside the second one: the next drain calls all of them."""
    [handle] = send(producer)
    woken: list[str] = []
    left = [KeyboardInterrupt()]

    def second(_: object) -> None:
        if left:
            raise left.pop()
        woken.append("second")

    watchers.add_wakeup(
        producer.connection.client, handle, lambda _: woken.append("first")
    )
    watchers.add_wakeup(producer.connection.client, handle, second)
    watchers.add_wakeup(
        producer.connection.client, handle, lambda _: woken.append("third")
    )
    with pytest.raises(KeyboardInterrupt):
        producer.connection.client.serve(0.0)
    producer.connection.client.serve(0.0)
    assert woken == ["first", "first", "second", "third"]
    assert handle not in watchers.WATCHED


def test_a_callback_that_is_interrupted_as_it_is_added(
    producer: Still,
) -> None:
    """The outcome is there, so it is called at once; the poller calls the rest."""
    [handle] = send(producer)
    client = producer.connection.client
    client.serve(0.0)
    heard: list[object] = []

    def interrupted(_: object) -> None:
        watchers.WATCHED[handle][1].append(heard.append)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        handle.add_done_callback(interrupted)
    assert client in producer.runtime.armed
    client.serve(0.0)
    assert heard == [handle]


def test_a_subscriber_hears_once_whatever_interrupts(
    producer: Still, interrupt: Callable[..., None]
) -> None:
    """The interrupted one is not called again, and those behind it are."""
    [handle] = send(producer)
    heard: list[str] = []

    def second(_: object) -> None:
        heard.append("second")
        interrupt()

    producer.monitor.subscribe(ACKNOWLEDGED, lambda _: heard.append("first"))
    producer.monitor.subscribe(ACKNOWLEDGED, second)
    producer.monitor.subscribe(ACKNOWLEDGED, lambda _: heard.append("third"))
    producer.connection.refresh()
    with pytest.raises(Limit):
        producer.connection.client.serve(0.0)
    assert heard == ["first", "second", "third"]
    producer.connection.client.serve(0.0)
    assert heard == ["first", "second", "third"]
    assert handle.done()


def test_on_delivery_is_called_once_whatever_interrupts(
    interrupt: Callable[..., None],
) -> None:
    """The user's `on_delivery` is not called again for the same report."""
    heard: list[str] = []

    def on_delivery(*_: object) -> None:
        heard.append("report")
        interrupt()

    producer = Still(kafka={"on_delivery": on_delivery})
    [handle] = send(producer)
    with pytest.raises(Limit):
        producer.connection.client.serve(0.0)
    producer.connection.client.serve(0.0)
    assert heard == ["report"]
    assert handle.done()


def test_a_failure_is_counted_once(
    producer: Still, interrupt: Callable[..., None]
) -> None:
    """Interrupted while it hears."""
    producer.bench.auto = False
    [handle] = send(producer)
    told: list[Event] = []
    producer.monitor.subscribe("error.occurred", told.append)
    producer.monitor.subscribe("error.occurred", interrupt)
    producer.bench.client.fail(KafkaError._MSG_TIMED_OUT)  # noqa: SLF001 - its name
    with pytest.raises(Limit):
        producer.connection.client.serve(0.0)
    producer.connection.client.serve(0.0)
    assert handle.exception(0) is not None
    assert len(told) == 1
    assert producer.connection.client.failed == 1


RAISED = [asyncio.CancelledError, SystemExit, GeneratorExit, Limit]


@pytest.mark.parametrize("kind", RAISED)
@pytest.mark.parametrize("where", ["callback", "subscriber", "receiver", "on_delivery"])
def test_what_user_code_raises_is_told_and_not_raised(
    kind: type[BaseException], where: str
) -> None:
    """On the main thread too, where a poll serves the reports of others."""

    def burst(*_: object, **__: object) -> None:
        raise kind

    kafka = {"on_delivery": burst} if where == "on_delivery" else {}
    producer = Still(kafka=kafka)
    [handle] = send(producer)
    if where == "callback":
        handle.add_done_callback(burst)
    elif where == "subscriber":
        producer.monitor.subscribe(ACKNOWLEDGED, burst)
    elif where == "receiver":
        producer.monitor.signal(ACKNOWLEDGED).connect(burst)
    producer.connection.refresh()
    with record(producer.monitor) as events:
        producer.connection.client.serve(0.0)
    [told] = [event for event in events if event.name == "error.occurred"]
    assert isinstance(told["error"], kind)
    assert handle.result(0).error is None


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_leaves_a_program_is_told_of_on_another_thread(
    producer: Still, kind: type[BaseException]
) -> None:
    """No signal handler runs there."""
    [handle] = send(producer)

    def burst(_: object) -> None:
        raise kind

    handle.add_done_callback(burst)
    with record(producer.monitor) as events:
        Run(lambda: producer.connection.client.serve(0.0)).result()
    [told] = [event for event in events if event.name == "error.occurred"]
    assert isinstance(told["error"], kind)


@pytest.mark.parametrize("name", ["error_cb", "stats_cb", "throttle_cb"])
def test_librdkafkas_callbacks_only_store(name: str) -> None:
    """The user's callbacks run after the native call. What they raise is reported,
    unless it is a signal handler's."""
    raised: list[BaseException] = [asyncio.CancelledError(), KeyboardInterrupt()]
    heard: list[object] = []

    def theirs(argument: object) -> None:
        heard.append(argument)
        raise raised.pop(0)

    producer = Still(kafka={name: theirs})
    client = open_noted(producer.connection, None)
    argument: Any = "{}" if name == "stats_cb" else KafkaError(KafkaError._TRANSPORT)  # noqa: SLF001
    with record(producer.monitor) as events:
        producer.bench.client.conf[name](argument)
        assert heard == []
        client.serve(0.0)
        assert heard == [argument]
        producer.bench.client.conf[name](argument)
        with pytest.raises(KeyboardInterrupt):
            client.serve(0.0)
    told = [event["type"] for event in events if event.name == "error.occurred"]
    assert f"callbacks.{name}.error" in told


def test_a_forked_child_runs_nothing_of_its_parents() -> None:
    """The parent settles what had arrived, and calls the user's callbacks."""
    heard: list[object] = []
    producer = Still(kafka={"error_cb": heard.append})
    [handle] = send(producer)
    client = producer.connection.client
    assert client.native is not None
    producer.monitor.subscribe(ACKNOWLEDGED, lambda _: None)
    producer.connection.refresh()
    client.native.poll(0.0)
    error = KafkaError(KafkaError._TRANSPORT)  # noqa: SLF001 - its name
    producer.bench.client.conf["error_cb"](error)
    assert len(client.arrived) == 2
    native = client.native
    _leak(client)
    client.settle()
    assert getattr(handle.exception(0), "code", "") == "forked"
    assert heard == []
    native.close()
