"""Wraps other clients that do the same work: AIOProducer, aiokafka and kafka-python.

They have the same settings as ours and bare: acks=all, no idempotence, no compression,
librdkafka's linger and batch size.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from confluent_kafka.aio import AIOProducer

from benchmarks import clients
from benchmarks.measure import timed_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping

    from benchmarks.setting import Broker, Setting

LIBRDKAFKA_LINGER_MS = 5
LIBRDKAFKA_BATCH_BYTES = 1_000_000
SECURITY = {
    "bootstrap.servers": "bootstrap_servers",
    "security.protocol": "security_protocol",
    "sasl.mechanism": "sasl_mechanism",
    "sasl.username": "sasl_plain_username",
    "sasl.password": "sasl_plain_password",
}


class Rival(ABC):
    """An open client of another library."""

    name: str
    threads = False
    """Whether several threads may send."""
    headers = True
    """Whether messages may have headers."""

    def __init__(self, broker: Broker, linger_ms: int) -> None:
        self.broker, self.linger_ms = broker, linger_ms

    @abstractmethod
    def bulk(self, topic: str, count: int, message: Mapping[str, Any]) -> None:
        """Send `count` messages, ignore their futures, and flush."""

    @abstractmethod
    def kept(self, topic: str, count: int, message: Mapping[str, Any]) -> None:
        """Send `count` messages, and take the outcome of each."""

    @abstractmethod
    def one_by_one(self, topic: str, count: int, payload: bytes) -> list[float]:
        """Milliseconds from the call to the outcome, of each of `count` messages.

        For clients that were opened with `linger_ms` 0.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the client."""


class _Looping(Rival):
    """A client on an event loop that runs only while the client is measured."""

    def bulk(self, topic: str, count: int, message: Mapping[str, Any]) -> None:
        """See `Rival`."""
        _run(self._bulk(topic, count, message))

    def kept(self, topic: str, count: int, message: Mapping[str, Any]) -> None:
        """See `Rival`."""
        _run(self._kept(topic, count, message))

    def one_by_one(self, topic: str, count: int, payload: bytes) -> list[float]:
        """See `Rival`."""
        took: list[float] = _run(self._one_by_one(topic, count, payload))
        return took

    async def _bulk(self, topic: str, count: int, message: Mapping[str, Any]) -> None:
        send = self._send
        for _ in range(count):
            await send(topic, **message)
        await self._client.flush()

    async def _kept(self, topic: str, count: int, message: Mapping[str, Any]) -> None:
        send = self._send
        futures = [await send(topic, **message) for _ in range(count)]
        await self._client.flush()
        for future in futures:
            await future

    async def _one_by_one(self, topic: str, count: int, payload: bytes) -> list[float]:
        took = []
        for _ in range(count):
            started = time.perf_counter()
            await self._delivered(await self._send(topic, value=payload))
            took.append((time.perf_counter() - started) * 1000)
        return took

    async def _delivered(self, future: Any) -> None:
        await future

    _client: Any
    _send: Callable[..., Any]


class Aio(_Looping):
    """confluent_kafka.aio.AIOProducer, with its default settings for batches.

    Single messages are followed by a flush. Without one it polls for reports and sends
    batches about once a second, even with `batch_size=1`.
    """

    name = "AIOProducer"
    headers = False  # NotImplementedError: not supported in its batch mode

    def __init__(self, broker: Broker, linger_ms: int) -> None:
        super().__init__(broker, linger_ms)

        async def begin() -> AIOProducer:
            return open_aio(broker, linger_ms)

        self._client = _run(begin())
        self._send = self._client.produce

    async def _delivered(self, future: Any) -> None:
        await self._client.flush()
        await future

    def close(self) -> None:
        """See `Rival`."""
        _run(self._client.close())


class AioKafka(_Looping):
    """aiokafka, a client written in Python."""

    name = "aiokafka"

    def __init__(self, broker: Broker, linger_ms: int) -> None:
        super().__init__(broker, linger_ms)
        self._client = _run(open_aiokafka(broker, linger_ms))
        self._send = self._client.send

    def close(self) -> None:
        """See `Rival`."""
        _run(self._client.stop())


class KafkaPython(Rival):
    """kafka-python, a client written in Python, with a thread."""

    name = "kafka-python"
    threads = True

    def __init__(self, broker: Broker, linger_ms: int) -> None:
        from kafka import KafkaProducer

        super().__init__(broker, linger_ms)
        security = _python_security(broker)
        if ca := broker.properties.get("ssl.ca.location"):
            security["ssl_cafile"] = ca
        self._client = KafkaProducer(
            acks="all",
            enable_idempotence=False,
            linger_ms=linger_ms,
            batch_size=LIBRDKAFKA_BATCH_BYTES,
            **security,
        )

    def bulk(self, topic: str, count: int, message: Mapping[str, Any]) -> None:
        """See `Rival`."""
        send = self._client.send
        for _ in range(count):
            send(topic, **message)
        self._client.flush(clients.BOUND_SECONDS)

    def kept(self, topic: str, count: int, message: Mapping[str, Any]) -> None:
        """See `Rival`."""
        send = self._client.send
        futures = [send(topic, **message) for _ in range(count)]
        for future in futures:
            future.get(clients.BOUND_SECONDS)

    def one_by_one(self, topic: str, count: int, payload: bytes) -> list[float]:
        """See `Rival`."""
        send = self._client.send

        def one() -> None:
            send(topic, value=payload).get(clients.BOUND_SECONDS)

        return [timed_ms(one) for _ in range(count)]

    def close(self) -> None:
        """See `Rival`."""
        self._client.close(clients.BOUND_SECONDS)


def open_aio(broker: Broker, linger_ms: int) -> AIOProducer:
    """An `AIOProducer` of the running loop."""
    properties = {**broker.properties, "log_level": 0, **clients.AS_OURS}
    properties["linger.ms"] = linger_ms
    return AIOProducer(properties)


async def open_aiokafka(broker: Broker, linger_ms: int) -> Any:
    """A started aiokafka producer of the running loop."""
    from aiokafka import AIOKafkaProducer

    security = _python_security(broker)
    if ca := broker.properties.get("ssl.ca.location"):
        security["ssl_context"] = ssl.create_default_context(cafile=ca)
    client = AIOKafkaProducer(
        acks="all",
        linger_ms=linger_ms,
        max_batch_size=LIBRDKAFKA_BATCH_BYTES,
        **security,
    )
    await client.start()
    return client


def kinds(setting: Setting, *, always: bool = False) -> list[type[Rival]]:
    """The clients to measure: kafka-python does not start on the mock cluster.

    A quick run measures them only if `always` is true.
    """
    if setting.quick and not always:
        return []
    embedded = setting.broker.embedded
    return [Aio, AioKafka] if embedded else [Aio, AioKafka, KafkaPython]


@contextmanager
def opened(chosen: list[type[Rival]], broker: Broker, ms: int) -> Iterator[list[Rival]]:
    """Open all of them with `linger_ms=ms`, and close them after the block."""
    rivals = [kind(broker, ms) for kind in chosen]
    try:
        yield rivals
    finally:
        for rival in rivals:
            rival.close()


def _python_security(broker: Broker) -> dict[str, Any]:
    named: dict[str, Any] = {
        python: broker.properties[name]
        for name, python in SECURITY.items()
        if name in broker.properties
    }
    if "security_protocol" in named:
        named["security_protocol"] = named["security_protocol"].upper()
    return named


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    return _loop().run_until_complete(work)
