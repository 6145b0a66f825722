"""Clients that are not `confluent_kafka.Producer` itself: what they are given, what is
asked of them, and which of them are refused."""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar, cast
from unittest.mock import MagicMock, Mock

import confluent_kafka
import pytest
import wrapt
from confluent_kafka import KafkaError, KafkaException, SerializingProducer
from confluent_kafka.serialization import SerializationError

from tests.doubles import eventually
from tests.unit.client.proxies import Proxied
from waterdrop_py import Producer
from waterdrop_py._engine.client.by_keyword import RepeatedHeaders
from waterdrop_py.errors import (
    ConfigurationInvalidError,
    InvalidArgumentError,
    ProduceError,
    ProduceManyError,
)
from waterdrop_py.testing import (
    BufferedClient,
    FakeClient,
    allow_short_idle_timeouts,
    record,
    trigger_fatal_error,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from waterdrop_py import Event
    from waterdrop_py.testing import EmbeddedCluster

FATAL = 47  # INVALID_PRODUCER_EPOCH


@pytest.fixture
def make(waterdrop_cluster: EmbeddedCluster) -> Iterator[Callable[..., Producer]]:
    """Producers of the cluster with a `client_factory`, closed after the test."""
    made: list[Producer] = []

    def build(factory: Any = None, *, kafka: Any = None, **options: Any) -> Producer:
        servers = waterdrop_cluster.bootstrap_servers
        properties = {"bootstrap.servers": servers, "linger.ms": 0, **(kafka or {})}
        with allow_short_idle_timeouts():
            options = {"client_factory": factory, **options}
            made.append(Producer(kafka=properties, **options))
        return made[-1]

    yield build
    for producer in made:
        producer.close(5, force=True)


@pytest.fixture
def topic() -> str:
    """A topic of the test's own."""
    return f"topic-{uuid.uuid4().hex[:12]}"


def connection_of(producer: Producer) -> Any:
    """The engine's part of it."""
    return producer._connection  # noqa: SLF001 - what is looked at is the engine's


class Recorder(BufferedClient):
    """Keeps how it was called, and treats headers as a tracer does."""

    calls: list[tuple[tuple[Any, ...], dict[str, Any]]]

    def __init__(self, conf: dict[str, Any] | None = None) -> None:
        self.calls = []
        self.failures: list[BaseException | None] = []
        super().__init__(conf)

    def produce(self, *args: Any, **given: Any) -> None:
        """Record, change the headers, and take it or fail."""
        self.calls.append((args, dict(given)))
        headers = given.setdefault("headers", {})
        if isinstance(headers, dict):
            headers["trace"] = b"1"
        else:
            headers.append(("trace", b"1"))
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        super().produce(*args, **given)


class Counting(confluent_kafka.Producer):
    """A subclass that counts its calls, of all its clients."""

    calls: ClassVar[Counter[str]] = Counter()

    def produce(self, *args: Any, **given: Any) -> None:
        """Count and pass on."""
        self.calls["produce"] += 1
        super().produce(*args, **given)


# -- what it is given --------------------------------------------------------


def test_a_bare_client_is_called_by_position(make: Callable[..., Producer]) -> None:
    """Its own bound method, without anything between: the fast path's speed."""
    producer = make().connect()
    client = connection_of(producer).client
    assert client.produce == cast("Any", client.native).produce
    assert type(client.native) is confluent_kafka.cimpl.Producer
    assert not connection_of(producer).reports.sends_observed


def test_everything_but_the_topic_comes_by_keyword() -> None:
    """And only what the message has; by every verb, on a client that is busy or not."""
    client = Recorder()
    with Producer(kafka={"client.id": "x"}, client_factory=client, id="p") as producer:
        bare: list[dict[str, Any]] = []
        handles = [producer.produce_async("t", b"v") for _ in range(3)]
        handles += producer.produce_many_async([{"topic": "t", "payload": b"v"}] * 3)
        for handle in handles:
            handle.result(5)
        for args, given in client.calls:
            assert args == ("t",)
            assert given.pop("on_delivery") in handles
            bare.append(given)
        assert bare == [{"value": b"v"}] * 6
        client.calls.clear()
        producer.produce_sync(
            "t", b"v", key=b"k", partition=2, timestamp=5, headers=[("a", b"1")]
        )
        [(args, given)] = client.calls
        assert args == ("t",)
        assert given.pop("on_delivery")
        assert given == {
            "value": b"v",
            "key": b"k",
            "partition": 2,
            "timestamp": 5,
            "headers": {"a": b"1", "trace": b"1"},
        }
        client.calls.clear()
        producer.tombstone_sync("t", key=b"k")
        assert client.calls[0][1].keys() == {"value", "key", "on_delivery"}
        assert client.calls[0][1]["value"] is None


@pytest.mark.parametrize(
    "headers", [{"a": b"1"}, [("a", b"1"), ("a", b"2")], [("a", b"1"), ("b", None)]]
)
def test_headers_are_the_clients_own(headers: Any) -> None:
    """A dict where names are unique, else pairs; what a tracer adds is neither in the
    report nor in the next try, and the caller's are as they were."""
    client = Recorder()
    client.failures[:] = [BufferError("full")]
    pairs = list(headers.items() if isinstance(headers, dict) else headers)
    repeated = len({name for name, _ in pairs}) != len(pairs)
    options: dict[str, Any] = {"wait_backoff_on_queue_full": 1}
    with Producer(kafka={"client.id": "x"}, client_factory=client, **options) as each:
        report = each.produce_sync("t", b"v", headers=headers)
        assert report.message.headers == pairs
        assert headers in (dict(pairs), pairs)
    sent = [given["headers"] for _, given in client.calls]
    assert len(sent) == 2
    for given in sent:
        assert isinstance(given, list if repeated else dict)
        assert (given if isinstance(given, list) else list(given.items())) == [
            *pairs,
            ("trace", b"1"),
        ]
    assert client.messages[0].headers() == [*pairs, ("trace", b"1")]


def test_repeated_headers_take_an_item_as_a_dict_does() -> None:
    """ddtrace sets them so; setting one again replaces it, and indexes are indexes."""
    headers: Any = RepeatedHeaders([("a", b"1"), ("a", b"2")])
    headers["x"] = "1"
    headers["x"] = "2"
    assert headers == [("a", b"1"), ("a", b"2"), ("x", "2")]
    headers[0] = ("b", b"3")
    assert headers[0] == ("b", b"3")


def test_a_tracer_that_comes_later_is_looked_up_at_the_next_open(
    make: Callable[..., Producer], topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that goes is gone with the next: `None` names no class."""
    producer = make()
    Counting.calls.clear()
    producer.produce_sync(topic, b"1")
    with monkeypatch.context() as patch:
        patch.setattr(confluent_kafka, "Producer", Counting)
        producer.produce_sync(topic, b"2")
        assert not Counting.calls  # this client was open
        assert producer.disconnect()
        producer.produce_sync(topic, b"3")
        producer.produce_async(topic, b"4").result(5)
        assert Counting.calls["produce"] == 2
        assert producer.disconnect()
    producer.produce_sync(topic, b"5")
    producer.produce_async(topic, b"6").result(5)
    assert Counting.calls["produce"] == 2
    assert producer.config.client_factory is None


def test_a_replaced_class_judges_no_properties(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """librdkafka does, also where a test replaces `confluent_kafka.Producer`."""
    monkeypatch.setattr(confluent_kafka, "Producer", MagicMock())
    with pytest.raises(ConfigurationInvalidError, match=r"kafka\.lingr"):
        Producer(kafka={"bootstrap.servers": "h", "lingr.ms": 1})


# -- how often it is asked ---------------------------------------------------


def test_what_is_refused_was_tried_once(make: Callable[..., Producer]) -> None:
    """By every verb, on a busy client too: a tracer makes a span for each try."""
    client = Recorder()
    producer = make(client)
    kept = [producer.produce_async("t", b"x") for _ in range(3)]
    message = {"topic": "t", "payload": b"x"}
    verbs: list[Callable[[], object]] = [
        lambda: producer.produce_async("t", b"x"),
        lambda: producer.produce_sync("t", b"x"),
        lambda: producer.produce_many_sync([message]),
        lambda: producer.produce_many_async([message]),
    ]
    for verb in verbs:
        client.calls.clear()
        client.failures[:] = [KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))]
        with pytest.raises(ProduceError, match="msg_size_too_large"):
            verb()
        assert len(client.calls) == 1
    assert all(handle.result(5) for handle in kept)
    assert not any("failed" in repr(handle) for handle in kept)


def test_a_full_queue_is_no_try(make: Callable[..., Producer], topic: str) -> None:
    """Each message is handed over once, however long it waits for room."""
    Counting.calls.clear()
    producer = make(
        Counting,
        kafka={"queue.buffering.max.messages": 3, "linger.ms": 5},
        wait_backoff_on_queue_full=1,
    )
    with record(producer.monitor) as events:
        handles = [producer.produce_async(topic, b"x") for _ in range(20)]
        message = {"topic": topic, "payload": b"x"}
        handles += producer.produce_many_async([message] * 20)
        for handle in handles:
            handle.result(5)
    assert any(each.name == "error.occurred" for each in events)
    assert Counting.calls["produce"] == 40


def test_a_queue_that_is_full_by_bytes(
    make: Callable[..., Producer], waterdrop_cluster: EmbeddedCluster, topic: str
) -> None:
    """The client itself refuses once; the same message is not tried again before
    something has left the client, and is sent then."""
    Counting.calls.clear()
    waterdrop_cluster.create_topic(topic, 1)
    producer = make(
        Counting,
        kafka={"queue.buffering.max.kbytes": 3, "linger.ms": 500},
        wait_backoff_on_queue_full=1,
    )
    handles = [producer.produce_async(topic, bytes(1_000) + b"x") for _ in range(2)]
    with record(producer.monitor) as events:
        handles.append(producer.produce_async(topic, bytes(1_500)))
    waits = [each for each in events if each.name == "error.occurred"]
    assert len(waits) > 10
    assert Counting.calls["produce"] == 4
    assert [handle.result(5).offset for handle in handles] == [0, 1, 2]


def test_a_full_queue_without_a_wait(make: Callable[..., Producer], topic: str) -> None:
    """As many as the queue holds are taken, and the next one is refused."""
    kafka = {"queue.buffering.max.messages": 3, "linger.ms": 5_000}
    producer = make(Counting, kafka=kafka, wait_on_queue_full=False)
    for _ in range(3):
        producer.produce_async(topic, b"x")
    Counting.calls.clear()
    with pytest.raises(ProduceError) as refused:
        producer.produce_async(topic, b"x")
    assert refused.value.code == "queue_full"
    assert not Counting.calls
    producer.flush(5)
    assert not producer.produce_async(topic, b"x").done()
    assert producer.flush(5) == 0


# -- what it raises ----------------------------------------------------------


def refuse(_value: object, _context: object) -> bytes:
    """A serializer that takes nothing."""
    raise SerializationError("no such schema")


@pytest.mark.parametrize("name", ["key.serializer", "value.serializer.builder"])
@pytest.mark.parametrize("value", [refuse, "refuse"])
def test_a_serializer_is_no_property_of_librdkafka(name: str, value: object) -> None:
    """The error says where it belongs."""
    with pytest.raises(ConfigurationInvalidError) as raised:
        Producer(
            kafka={"bootstrap.servers": "h", name: value},
            client_factory=SerializingProducer,
        )
    sentence = raised.value.errors[f"kafka.{name}"]
    assert "must be set by client_factory" in sentence
    assert name in sentence


@pytest.mark.parametrize("field", ["key", "value"])
def test_a_serializer_that_fails(
    make: Callable[..., Producer], topic: str, field: str
) -> None:
    """A `ProduceError` of every verb, with the serializer's as its cause; nothing was
    sent, and the client may be closed."""
    serializer = {f"{field}.serializer": refuse}
    producer = make(lambda conf: SerializingProducer({**conf, **serializer}))
    message: Any = {"topic": topic, "payload": b"x", "key": b"k"}
    for verb in (
        lambda: producer.produce_async(**message),
        lambda: producer.produce_sync(**message),
        lambda: producer.produce_many_sync([message]),
    ):
        with pytest.raises(ProduceError, match="no such schema") as raised:
            verb()
        assert raised.value.code == f"{field}_serialization"
        assert not raised.value.retriable
        assert isinstance(raised.value.__cause__, SerializationError)
    eventually(producer.disconnect, "never closed")


@pytest.mark.parametrize(
    "raised", [SerializationError("mine"), KafkaException("mine"), KafkaException()]
)
def test_exceptions_without_a_kafka_error(raised: Exception) -> None:
    """Of a subclass of the user's: a `ProduceError`, and of a batch one that has what
    was dispatched."""
    client = Recorder()
    with Producer(kafka={"client.id": "x"}, client_factory=client) as producer:
        client.failures[:] = [raised]
        with pytest.raises(ProduceError) as refused:
            producer.produce_sync("t", b"x")
        assert refused.value.code == "fail"
        assert "mine" in str(refused.value) or not raised.args
        message = {"topic": "t", "payload": b"x"}
        client.failures[:] = [None, None, raised]
        with pytest.raises(ProduceManyError) as many:
            producer.produce_many_sync([message] * 4)
        assert many.value.code == "fail"
        assert len(many.value.dispatched) == 2
        assert all(handle.done() for handle in many.value.dispatched)
    assert producer.stats().in_flight == 0


def test_other_exceptions_come_out_as_themselves() -> None:
    """They may be a signal handler's. Whether the message was sent is open, and nothing
    is left of it."""
    client = Recorder()
    with Producer(kafka={"client.id": "x"}, client_factory=client) as producer:
        producer.produce_sync("t", b"x")
        client.failures[:] = [ZeroDivisionError("mine"), KeyboardInterrupt()]
        with pytest.raises(ZeroDivisionError):
            producer.produce_async("t", b"x")
        with pytest.raises(KeyboardInterrupt):
            producer.produce_sync("t", b"x")
        eventually(lambda: not producer.stats().in_flight, "in flight for good")
        eventually(producer.disconnect, "never closed")


# -- reports -----------------------------------------------------------------


class Silent(confluent_kafka.Producer):
    """A wrapper that forgets to pass `on_delivery` on."""

    def produce(  # type: ignore[override]
        self, topic: str, value: Any = None, **_: Any
    ) -> None:
        """Send, without a report."""
        super().produce(topic, value)


@pytest.mark.parametrize("factory", [Silent, lambda _: MagicMock()])
def test_a_client_that_reports_nothing(
    make: Callable[..., Producer], topic: str, factory: Any
) -> None:
    """Its handles resolve, with what is wrong; no verb waits for ever, and the client
    is closed."""
    producer = make(factory)
    started = time.monotonic()
    with pytest.raises(ProduceError, match="on_delivery") as lost:
        producer.produce_sync(topic, b"x", timeout=10)
    assert lost.value.code == "report_lost"
    assert time.monotonic() - started < 5
    handle = producer.produce_async(topic, b"x")
    assert cast("Any", handle.exception(8)).code == "report_lost"
    eventually(producer.disconnect, "never closed")


class Wrapping(confluent_kafka.Producer):
    """Wraps the callback, and polls where it sends, as many a subclass does."""

    seen: ClassVar[Counter[str]] = Counter()

    def produce(  # type: ignore[override]
        self, topic: str, *, on_delivery: Any, **given: Any
    ) -> None:
        """Send and serve."""

        def report(error: Any, message: Any) -> None:
            self.seen["report"] += 1
            on_delivery(error, message)

        super().produce(topic, on_delivery=report, **given)
        self.flush(5)


def test_a_client_that_serves_reports_where_it_sends(
    make: Callable[..., Producer], topic: str
) -> None:
    """Every handle gets its report, and a report is activity on any thread."""
    producer = make(Wrapping, idle_disconnect_timeout=60_000)
    Wrapping.seen.clear()
    client = connection_of(producer.connect()).client
    client.quiet = False
    client.last_activity = 0.0
    assert producer.produce_async(topic, b"x", partition=0).done()
    assert client.last_activity > 0
    message = {"topic": topic, "payload": b"x", "partition": 0}
    handles = producer.produce_many_async([message] * 5)
    assert [handle.result(5).offset for handle in handles] == [1, 2, 3, 4, 5]
    assert Wrapping.seen["report"] == 6
    assert producer.stats().in_flight == 0


# -- what it must have -------------------------------------------------------


class Delegating:
    """The usual wrapper: everything is looked up in the client but magic methods."""

    def __init__(self, conf: dict[str, Any]) -> None:
        self.inner = FakeClient(conf)
        self.closed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def close(self) -> None:
        """Close."""
        self.closed = True


@pytest.mark.parametrize(
    ("lacks", "kafka"),
    [
        ("flush", {}),
        ("purge", {}),
        ("list_topics", {}),
        ("begin_transaction", {"transactional.id": "id"}),
        ("send_offsets_to_transaction", {"transactional.id": "id"}),
    ],
)
def test_what_is_missing_is_named(lacks: str, kafka: dict[str, str]) -> None:
    """At the first open, whatever opens it; nothing counts as opened."""
    lacking = type("Lacking", (FakeClient,), {lacks: None})
    servers = {"bootstrap.servers": "h", **kafka}
    with Producer(kafka=servers, client_factory=lacking) as producer:
        for use in (producer.connect, lambda: producer.produce_sync("t", b"x")):
            with pytest.raises(ConfigurationInvalidError) as refused:
                use()
            sentence = refused.value.errors["client_factory"]
            assert sentence.endswith(f"got a Lacking, which has no {lacks}")
        assert producer.stats().opens == 0


def test_transactions_are_for_those_who_ask_for_them() -> None:
    """Without a `transactional.id` no method of theirs is missed."""
    plain = type("Plain", (FakeClient,), {"begin_transaction": None})
    with Producer(kafka={"bootstrap.servers": "h"}, client_factory=plain) as producer:
        assert producer.produce_sync("t", b"x").offset == 0


@pytest.mark.parametrize("factory", [Delegating, lambda _: Mock()])
def test_a_length_is_a_magic_method(factory: Any) -> None:
    """`__getattr__` passes none on. What was made and refused is closed."""
    made: list[Any] = []

    def build(conf: dict[str, Any]) -> Any:
        made.append(factory(conf))
        return made[-1]

    kafka = {"bootstrap.servers": "h"}
    with (
        Producer(kafka=kafka, client_factory=build) as producer,
        pytest.raises(ConfigurationInvalidError, match="has no __len__"),
    ):
        producer.connect()
    assert made[0].closed


def test_a_closed_client_is_refused(make: Callable[..., Producer], topic: str) -> None:
    """One client for every open is none after the first idle close."""
    servers = make().config.kafka["bootstrap.servers"]
    shared = confluent_kafka.Producer({"bootstrap.servers": servers})
    producer = make(lambda _: shared)
    producer.produce_sync(topic, b"x")
    assert producer.disconnect()
    with pytest.raises(ConfigurationInvalidError, match="must make a new Producer"):
        producer.produce_sync(topic, b"x")


class Raising(FakeClient):
    """Delivers nothing until it is purged; one of its methods raises."""

    def __init__(self, conf: dict[str, Any] | None = None, raising: str = "") -> None:
        self.raising = raising
        self.held = True
        self.closes = 0
        super().__init__(conf)

    def _meet(self, method: str) -> None:
        if method == self.raising:
            raise ZeroDivisionError

    def poll(self, timeout: float = -1) -> int:
        """Wait a moment, and serve nothing at first."""
        threading.Event().wait(0.001)
        if len(self):
            self._meet("poll")
        return 0 if self.held else super().poll(timeout)

    def flush(self, timeout: float = -1) -> int:
        """Serve."""
        self._meet("flush")
        return super().flush(timeout)

    def purge(
        self, in_queue: bool = True, in_flight: bool = True, blocking: bool = True
    ) -> None:
        """Purge, and serve reports from then on."""
        self._meet("purge")
        self.held = False
        super().purge(in_queue, in_flight, blocking)

    def close(self) -> bool:
        """Close, and count that."""
        self.closes += 1
        self._meet("close")
        return super().close()


@pytest.mark.parametrize("method", ["poll", "flush", "purge", "close"])
def test_a_client_that_raises_is_closed(method: str) -> None:
    """Each message has its outcome, what was raised is told of, and the client is
    closed, once."""
    client = Raising(raising=method)
    kafka = {"bootstrap.servers": "h", "linger.ms": 1000}
    producer = Producer(kafka=kafka, client_factory=lambda _: client)
    with record(producer.monitor) as events:
        handles = [producer.produce_async("t", b"%d" % n) for n in range(3)]
        with producer.native() as bare:
            bare.produce("t", b"theirs")
        report = producer.close(0.1)
    assert producer.close() == report
    assert report.complete
    assert [each.payload for each in report.undelivered] == [b"0", b"1", b"2"]
    assert all(handle.done() for handle in handles)
    assert str(producer.status) == "closed"
    assert client.closes == 1
    errors = [each for each in events if each.name == "error.occurred"]
    told = {e["type"] for e in errors if isinstance(e["error"], ZeroDivisionError)}
    assert told - {"poller.error"} == {"producer.disconnect.error"}


def test_a_poll_that_raises_once_gives_nothing_up() -> None:
    """The close goes on delivering until its bound."""
    client = Raising(raising="poll")
    kafka = {"bootstrap.servers": "h"}
    producer = Producer(kafka=kafka, client_factory=lambda _: client)

    def mend(event: Event) -> None:
        if event["type"] == "producer.disconnect.error":
            client.raising = ""
            client.held = False

    producer.monitor.subscribe("error.occurred", mend)
    handles = [producer.produce_async("t", b"x") for _ in range(3)]
    report = producer.close(10)
    assert (report.failed, report.undelivered, report.complete) == (0, [], True)
    assert [handle.exception(0) for handle in handles] == [None] * 3


# -- proxies -----------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2])
def test_a_proxy_is_used_with_what_it_wraps(
    make: Callable[..., Producer], topic: str, depth: int
) -> None:
    """OpenTelemetry's `instrument_producer` is a subclass that was never opened: what
    it passes on goes through it, all else to the producer that it wraps."""
    made: list[Proxied] = []

    def factory(conf: dict[str, Any]) -> Any:
        client: Any = confluent_kafka.Producer(conf)
        for _ in range(depth):
            client = Proxied(client)
            made.append(client)
        return client

    producer = make(factory, kafka={"acks": "all"})
    producer.produce_sync(topic, b"x")
    producer.produce_sync(topic, b"x", partition_key=b"k")
    assert producer.partition_count(topic) == 4
    with producer.native() as client:
        client.produce(topic, value=b"theirs")
        assert len(client) >= 1
        assert topic in client.list_topics(timeout=5).topics
        assert cast("Any", client).original_producer() is not None
        assert "Proxied" in repr(client)
    producer.flush(5)
    assert [each.produced for each in made] == [3] * depth
    eventually(producer.disconnect, "never closed")
    inner: Any = made[0].original_producer()
    with pytest.raises(RuntimeError):
        inner.list_topics(timeout=0)
    assert producer.produce_sync(topic, b"x").topic == topic
    assert len(made) == 2 * depth


def test_a_proxy_of_a_double() -> None:
    """It may wrap anything with the protocol."""
    client = BufferedClient()
    with (
        Producer(
            kafka={"bootstrap.servers": "h", "transactional.id": "id"},
            client_factory=lambda conf: Proxied(client(conf)),
        ) as producer,
        producer.transaction(),
    ):
        producer.produce_async("t", b"x")
    assert [each.value() for each in client.messages] == [b"x"]


@pytest.mark.parametrize(("count", "said"), [(0, "wraps 0 others"), (2, "wraps 2")])
def test_a_proxy_of_none_or_several_is_refused(count: int, said: str) -> None:
    """With what works."""

    def factory(conf: dict[str, Any]) -> Any:
        proxy = Proxied(None)
        for each in range(count):
            vars(proxy)[f"inner{each}"] = FakeClient(conf)
        return proxy

    with Producer(kafka={"bootstrap.servers": "h"}, client_factory=factory) as each:
        with pytest.raises(ConfigurationInvalidError, match=said) as refused:
            each.produce_sync("t", b"x")
        assert "replacing confluent_kafka.Producer" in str(refused.value)


def test_an_object_proxy(make: Callable[..., Producer], topic: str) -> None:
    """wrapt's, which other tracers are made of."""
    producer = make(lambda conf: wrapt.ObjectProxy(confluent_kafka.Producer(conf)))
    producer.produce_sync(topic, b"x", partition_key=b"k", headers={"a": b"1"})
    assert producer.produce_async(topic, b"x").result(5).offset is not None
    assert producer.disconnect()


@pytest.mark.parametrize("wrap", [lambda client: client, Proxied])
def test_a_fatal_error_of_what_is_wrapped(
    make: Callable[..., Producer], topic: str, wrap: Any
) -> None:
    """`trigger_fatal_error` reaches the librdkafka client behind a subclass or a
    proxy, and the next message says what happened."""
    kafka = {"enable.idempotence": True}
    producer = make(lambda conf: wrap(Counting(conf)), kafka=kafka)
    producer.produce_sync(topic, b"x")
    trigger_fatal_error(producer, FATAL, "x")
    with pytest.raises(ProduceError) as raised:
        producer.produce_sync(topic, b"x")
    assert raised.value.fatal


def test_a_fatal_error_of_an_object_proxy_is_refused(
    make: Callable[..., Producer],
) -> None:
    """It looks like a producer and has another layout in memory."""
    producer = make(lambda conf: wrapt.ObjectProxy(confluent_kafka.Producer(conf)))
    with pytest.raises(InvalidArgumentError, match="producer: "):
        trigger_fatal_error(producer, FATAL, "x")


@pytest.mark.parametrize("factory", [None, Counting])
def test_deliver_false_calls_no_tracer(
    make: Callable[..., Producer], topic: str, factory: Any
) -> None:
    """Nothing is sent, so there is nothing to trace."""
    Counting.calls.clear()
    producer = make(factory, deliver=False)
    assert producer.produce_sync(topic, b"x").offset == 0
    assert not Counting.calls
