"""Uses the public surface as a user does. It is type-checked only, never run.

An ignore comment that is not needed is an error. So each one marks a line that the type
checker must refuse.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import TYPE_CHECKING, Any

import waterdrop_py
from waterdrop_py import (
    AsyncProducer,
    AsyncProducerPool,
    Config,
    DeliveryHandle,
    DeliveryReport,
    Event,
    Message,
    Monitor,
    Producer,
    ProducerPool,
    Status,
    errors,
    monitor,
    planning,
)
from waterdrop_py.testing import (
    DroppingProxy,
    EmbeddedCluster,
    FakeClock,
    allow_short_idle_timeouts,
    record,
)

if TYPE_CHECKING:
    # Needs no installation, because type checkers know it.
    from typing_extensions import assert_type

    from waterdrop_py.typing import Handle, KafkaClient, LeaseHolder, Unsubscribe


class Topics(str, Enum):
    """The topics of an application."""

    ORDERS = "orders"


def configuring() -> None:
    """A producer of a Config, a mapping, a URL, or keyword options."""
    kafka = {"bootstrap.servers": "localhost:9092", "linger.ms": 0, "acks": "all"}
    config = Config(
        kafka=kafka,
        idle_disconnect_timeout="5m",
        max_wait_timeout=timedelta(minutes=3),
        close_before_fork=None,
        tags={"team": "a"},
    )
    assert_type(config.idle_disconnect_timeout, int)
    assert_type(config.close_before_fork, "int | None")
    assert_type(config.id, "str | None")
    assert_type(Config.from_url("kafka://h:9092", id="x"), Config)
    assert_type(Config.from_env(), Config)
    assert_type(Config({"kafka": kafka, "id": "x"}, id="y"), Config)
    assert_type(Config(config, max_wait_timeout="5m"), Config)
    assert_type(config.replace(id="other"), Config)
    assert_type(config.as_url(), str)
    assert_type({config: 1}[config], int)
    Config.parse_url("kafka://h")  # type: ignore[attr-defined]
    Config(5)  # type: ignore[arg-type]
    Config(kafka=kafka, id=5)  # type: ignore[arg-type]
    Config(kafka=kafka, idd="x")  # type: ignore[call-arg]
    Producer(config)
    Producer(config, id="other", kafka={"acks": 1})
    Producer({"kafka": kafka, "id": "orders"})
    Producer("kafka://localhost:9092/?idle_disconnect_timeout=5m")
    Producer(kafka=kafka, idle_disconnect_timeout=300_000)
    Producer(5)  # type: ignore[arg-type]
    config.id = "other"  # type: ignore[misc]


def producing(producer: Producer) -> None:
    """Every argument in each of its types."""
    report = producer.produce_sync(
        Topics.ORDERS,
        b"payload",
        key="key",
        partition=1,
        partition_key=b"customer",
        timestamp=datetime.now(timezone.utc),
        headers={"a": b"1", "b": "2", "c": None, "d": [b"x", "y", None]},
        label=object(),
        timeout=timedelta(seconds=5),
    )
    assert_type(report, DeliveryReport)
    assert_type(report.topic, str)
    assert_type(report.partition, "int | None")
    assert_type(report.offset, "int | None")
    assert_type(report.timestamp, "int | None")
    assert_type(report.latency_ms, "float | None")
    assert_type(report.label, Any)
    assert_type(report.message, Message)
    assert_type(report.error, "BaseException | None")
    for payload in (b"b", bytearray(b"a"), memoryview(b"m"), "text", None):
        producer.produce_async("orders", payload, headers=[("a", "1"), ("a", None)])
    assert_type(producer.produce_async("orders", b"x"), DeliveryHandle)
    batch: list[Message | dict[str, Any]] = [
        Message("orders", b"x"),
        {"topic": "orders", "payload": b"y"},
    ]
    assert_type(producer.produce_many_sync(batch), "list[DeliveryReport]")
    assert_type(producer.produce_many_async(iter(batch)), "list[DeliveryHandle]")
    assert_type(producer.flush(1.5), int)
    producer.produce_sync("orders")  # type: ignore[call-arg]
    producer.produce_sync("orders", 5)  # type: ignore[arg-type]
    producer.produce_sync("orders", b"x", b"key")  # type: ignore[call-arg]
    producer.produce_async("orders", b"x", timeout=5)  # type: ignore[call-arg]
    producer.produce_async("orders", value=b"x")  # type: ignore[call-arg]
    producer.produce_sync("orders", b"x", on_delivery=print)  # type: ignore[call-arg]
    producer.produce("orders", b"x")  # type: ignore[attr-defined]
    producer.variant().poll(0)  # type: ignore[attr-defined]
    report.value()  # type: ignore[attr-defined]
    producer.produce_async("orders", b"x").get()  # type: ignore[attr-defined]


def waiting(handle: DeliveryHandle) -> None:
    """A handle has the methods of a concurrent.futures.Future, except cancel."""
    assert_type(handle.result(timeout=5), DeliveryReport)
    assert_type(handle.exception(), "BaseException | None")
    assert_type(handle.done(), bool)
    assert_type(handle.message, Message)
    handle.add_done_callback(lambda done: done.result(0))
    future = handle.as_future()
    assert_type(future, "concurrent.futures.Future[DeliveryReport]")
    concurrent.futures.wait([future], timeout=1)


async def awaiting(handle: DeliveryHandle) -> None:
    """A handle is awaitable."""
    assert_type(await handle, DeliveryReport)
    both = await asyncio.gather(handle, handle)
    assert_type(both, "tuple[DeliveryReport, DeliveryReport]")
    wrapped = asyncio.wrap_future(handle.as_future())
    assert_type(await wrapped, DeliveryReport)


def managing(producer: Producer) -> None:  # noqa: PLR0915 - each in a line
    """Opening and closing the client, and what a producer reports of itself."""
    assert_type(producer.connect(5.0, max_retries=3, interval_start=0.5), Producer)
    producer.connect(errback=lambda error, interval: (error, interval))
    assert_type(producer.disconnect(), bool)
    report = producer.explain_idle()
    assert_type(report.due_in_ms, "float | None")
    assert_type([reason.code for reason in report.reasons], "list[str]")
    health = producer.health(deep=True, timeout=1)
    assert_type(health.healthy, bool)
    assert_type(health.error, "BaseException | None")
    assert_type(health.http(live=True), "tuple[int, dict[str, Any]]")
    health.http(True)  # type: ignore[call-arg]
    assert_type(report.timeout_ms, "float | None")
    stats = producer.stats()
    assert_type((stats.reopens, stats.unmeasured), "tuple[int, int]")
    assert_type(stats.idle_timeout_ms, "float | None")
    assert_type(stats.saved.connection_s, float)
    assert_type(stats.idle_gaps_s, planning.Buckets)
    assert_type(stats.reopen_times_ms.quantile(0.5), "float | None")
    assert_type(stats.opens, int)
    assert_type(stats.disconnects["idle"], int)
    assert_type(stats.reopen_ms, "float | None")
    assert_type(producer.status, Status)
    text: str = producer.status
    assert_type(text.upper(), str)
    assert_type(producer.idle_ms, "float | None")
    assert_type(producer.partition_count("orders"), int)
    assert_type(
        (producer.id, len(producer), producer.queue_size), "tuple[str, int, int]"
    )
    drained = producer.close(timeout=5, force=True)
    assert_type(drained.undelivered, "list[Message]")
    assert_type(drained.complete, bool)
    with Producer(kafka={"bootstrap.servers": "h:9092"}) as inside:
        assert_type(inside, Producer)
    with producer.native() as client:
        client.set_sasl_credentials("user", "password")
        assert_type(client.list_topics("orders", timeout=5), Any)
        assert_type(client.cluster_id(5), "str | None")
        client.produce("orders", "value", b"key", on_delivery=print)
        same: KafkaClient = client
        assert_type(len(same), int)
        client.anything()  # type: ignore[attr-defined]
    producer.id = "x"  # type: ignore[misc]
    producer.status = Status.CLOSED  # type: ignore[misc]


def overlooking() -> None:
    """The whole process: what it did not hold, and whether it works."""
    whole = waterdrop_py.ledger()
    assert_type(whole.disconnects["idle"], int)
    assert_type(whole.saved.thread_s + whole.disconnected_s, float)
    assert_type(whole.as_dict(), "dict[str, Any]")
    assert_type(whole.idle_gaps_s + whole.idle_gaps_s, planning.Buckets)
    assert_type(planning.GAP_EDGES[0], float)
    health = waterdrop_py.health(deep=True, timeout=timedelta(seconds=1))
    assert_type(health.healthy, bool)
    assert_type(health.producers["orders"].healthy, bool)
    assert_type(health.http(live=True), "tuple[int, dict[str, Any]]")
    waterdrop_py.health(True)  # type: ignore[call-arg]
    planning.Buckets((1,), ("1", "2"), (0, 0))  # type: ignore[arg-type]


async def tasks(plain: Producer) -> None:  # noqa: PLR0915 - each in a line
    """The verbs of tasks."""
    producer = AsyncProducer(plain)
    assert_type(producer.sync_producer, Producer)
    AsyncProducer("kafka://localhost:9092/", id="mine")
    AsyncProducer(kafka={"bootstrap.servers": "h:9092"})
    AsyncProducer(5)  # type: ignore[arg-type]
    assert_type(await producer.produce("t", b"x", key="k", timeout=1), DeliveryReport)
    handle = await producer.send("t", b"x", headers={"a": b"b"})
    assert_type(handle, DeliveryHandle)
    assert_type(await handle, DeliveryReport)
    await producer.send("t", b"x", timeout=1)  # type: ignore[call-arg]
    await producer.send("t", 5)  # type: ignore[arg-type]
    batch: list[Message] = []
    assert_type(await producer.produce_many(batch), list[DeliveryReport])
    assert_type(await producer.send_many(batch), list[DeliveryHandle])
    assert_type(await producer.tombstone("t", key=b"k"), DeliveryReport)
    assert_type(await producer.flush(1), int)
    assert_type(await producer.flush_buffer(), list[DeliveryReport])
    assert_type(await producer.partition_count("t"), int)
    assert_type(await producer.connect(1), AsyncProducer)
    assert_type(await producer.disconnect(), bool)
    assert_type((await producer.health(deep=True)).healthy, bool)
    assert_type((await producer.close(force=True)).complete, bool)
    assert_type(producer.buffer_size, int)
    async with producer.transaction():
        pass
    async with producer.native() as client:
        client.list_topics("t", 1)
    async with AsyncProducer(plain) as inside:
        assert_type(inside, AsyncProducer)
    variant = producer.variant(max_wait_timeout="5s")
    assert_type(await variant.produce("t", b"x"), DeliveryReport)
    assert_type(variant.producer, AsyncProducer)


async def pooled(plain: ProducerPool) -> None:
    """Leases for tasks."""
    pool = AsyncProducerPool("kafka://localhost", size=3, timeout=timedelta(seconds=1))
    assert_type(AsyncProducerPool(plain).sync_pool, ProducerPool)
    async with pool.acquire() as producer:
        assert_type(producer, AsyncProducer)
        assert_type(await producer.produce("t", b"x"), DeliveryReport)
    lease = await pool.acquire(0, block=False)
    assert_type(lease.producer, AsyncProducer)
    assert_type(lease.slot, int)
    assert_type(lease.release(), None)
    async with lease as producer, pool.transaction(timeout=1) as inside:
        assert_type((producer, inside), tuple[AsyncProducer, AsyncProducer])
    assert_type(await pool.connect(errback=lambda error, s: None), AsyncProducerPool)
    assert_type(await pool.reload("kafka://localhost", timeout=1), None)
    assert_type(await pool.flush(1), int)
    assert_type(pool.resize(4, min_connected=1), None)
    assert_type(pool.health().healthy, bool)
    assert_type((await pool.health(deep=True)).healthy, bool)
    assert_type((await pool.close()).complete, bool)


def listening(producer: Producer) -> None:
    """Functions, decorators, listener objects, and the module's monitor."""

    def heard(event: Event) -> None:
        assert_type(event.name, str)
        assert_type(event.duration_ms, "float | None")
        assert_type(event["reason"], Any)

    unsubscribe = producer.monitor.subscribe("producer.disconnected", heard)
    assert_type(unsubscribe, "Unsubscribe")
    unsubscribe()

    @monitor.on("error.occurred")
    def failed(event: Event) -> int:
        return len(event.payload)

    class Listener:
        def on_producer_connected(self, event: Event) -> None: ...

    waterdrop_py.monitor.subscribe(Listener())
    assert_type(waterdrop_py.monitor, Monitor)
    assert_type(failed(Event("error.occurred", {}, {})), int)


def failing(producer: Producer) -> None:
    """Errors have typed attributes."""
    try:
        producer.produce_many_sync([])
    except errors.ProduceManyError as error:
        assert_type(error.failed, "list[tuple[int, Handle]]")
        assert_type(error.dispatched, "list[Handle]")
    except errors.DeliveryTimeoutError as error:
        late: TimeoutError = error
        raise late from error
    except errors.ProduceError as error:
        assert_type((error.code, error.retriable), "tuple[str, bool]")
        assert_type(error.checklist, "tuple[str, ...]")
    except errors.MessageInvalidError as error:
        assert_type(error.errors, "dict[str, str]")
    except errors.RECOVERABLE_ERRORS as error:
        assert_type(error, "errors.BrokerUnreachableError | errors.PoolExhaustedError")
        assert_type(error.retriable, bool)
    except errors.WaterdropError:
        raise
    try:
        producer.connect()
    except errors.CONNECTION_ERRORS as error:
        assert_type(error, errors.BrokerUnreachableError)


def exhausted(error: errors.PoolTimeoutError) -> None:
    """An exhausted pool says how it was used, and by what."""
    assert_type((error.pool, error.size, error.leased), "tuple[str, int, int]")
    assert_type((error.waiting, error.waited_ms), "tuple[int, float]")
    assert_type(error.holders, "tuple[LeaseHolder, ...]")
    late: TimeoutError = error
    raise late


def testing() -> None:
    """The tools for the tests of an application."""
    with EmbeddedCluster(brokers=1) as cluster, DroppingProxy(cluster) as proxy:
        assert_type(cluster.bootstrap_servers, str)
        assert_type(proxy.black_hole(), int)
        with allow_short_idle_timeouts(), record(monitor) as events:
            assert_type(events, "list[Event]")
    FakeClock()
