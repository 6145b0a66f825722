"""Wraps the clients that are compared inside asyncio, each on a loop of its own.

All have the same settings: acks=all, no idempotence, no compression, and the same
linger and batch size. "By hand" is what an application writes around a bare client: a
polling thread, and for each message a future that `call_soon_threadsafe` resolves.
"""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from confluent_kafka import KafkaException

from benchmarks import clients, rivals
from benchmarks.rates import PAYLOAD
from benchmarks.rows import OURS
from waterdrop_py import AsyncProducer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping

    import confluent_kafka

    from benchmarks.setting import Broker

AIOKAFKA, AIO, BY_HAND = "aiokafka", "AIOProducer", "by hand"
AIO_FLUSHED = "AIOProducer and a flush"
RETRY_SECONDS = 0.01
"""Seconds that a task sleeps by hand when librdkafka's queue is full."""


class Spent(NamedTuple):
    """Messages per second, and the loop's thread's processor time for each in us."""

    rate: float
    cpu_us: float


class Contender:
    """An open client, and the loop that runs only while the client is measured.

    Attributes:
        produce: sends one message and waits for its outcome.
        send: sends one message; what it returns is awaited for the outcome.
    """

    name: ClassVar[str]
    produce: Callable[..., Coroutine[Any, Any, object]]
    send: Callable[..., Coroutine[Any, Any, Awaitable[object]]]

    def __init__(self, broker: Broker, **kafka: Any) -> None:
        self.broker, self.kafka = broker, kafka
        self.loop = asyncio.new_event_loop()
        self.run(self.open())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """The result of `work`."""
        return self.loop.run_until_complete(work)

    async def open(self) -> None:
        """Make the client."""
        raise NotImplementedError

    async def end(self) -> None:
        """Close the client."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the client and the loop."""
        self.run(self.end())
        self.loop.close()

    async def sent(self, topic: str, count: int, **fields: Any) -> None:
        """Send `count` messages, then await the outcome of each."""
        send = self.send
        if fields:
            key, headers = fields["key"], fields["headers"]
            futures = [
                await send(topic, PAYLOAD, key=key, headers=headers)
                for _ in range(count)
            ]
        else:
            futures = [await send(topic, PAYLOAD) for _ in range(count)]
        for future in futures:
            await future

    async def gathered(self, topic: str, count: int) -> None:
        """Await `count` messages at once."""
        produce = self.produce
        await asyncio.gather(*[produce(topic, PAYLOAD) for _ in range(count)])

    async def many(self, batch: list[dict[str, Any]]) -> None:
        """Send a batch, and await the outcome of all of it."""
        send = self.send
        futures = [await send(each["topic"], each["payload"]) for each in batch]
        for future in futures:
            await future


class Ours(Contender):
    """An `AsyncProducer`."""

    name = OURS

    async def open(self) -> None:
        """See `Contender`."""
        self.producer = AsyncProducer(clients.ours(self.broker, **self.kafka))
        self.produce, self.send = self.producer.produce, self.producer.send

    async def end(self) -> None:
        """See `Contender`."""
        await self.producer.close()

    async def many(self, batch: list[dict[str, Any]]) -> None:
        """See `Contender`."""
        await self.producer.produce_many(batch)


class ByHand(Contender):
    """A bare client."""

    name = BY_HAND

    async def open(self) -> None:
        """See `Contender`."""
        self.client = clients.bare(self.broker, **self.kafka)
        self._polled = ExitStack()
        self._polled.enter_context(clients.polled(self.client))
        self.now = sender(self.client, self.loop)

    async def end(self) -> None:
        """See `Contender`."""
        self._polled.close()
        clients.close_bare(self.client)

    async def produce(self, topic: str, payload: bytes) -> object:
        """See `Contender`."""
        return await self.now(topic, payload)

    async def send(self, topic: str, payload: bytes) -> Awaitable[object]:
        """See `Contender`; again after a sleep while the queue is full."""
        while True:
            try:
                return self.now(topic, payload)
            except BufferError:
                await asyncio.sleep(RETRY_SECONDS)

    async def sent(self, topic: str, count: int, **fields: Any) -> None:
        """See `Contender`. A plain function sends: nothing here waits for room."""
        now = self.now
        if fields:
            key, headers = fields["key"], fields["headers"]
            futures = [
                now(topic, PAYLOAD, key=key, headers=headers) for _ in range(count)
            ]
        else:
            futures = [now(topic, PAYLOAD) for _ in range(count)]
        for future in futures:
            await future


def sender(
    client: confluent_kafka.Producer, loop: asyncio.AbstractEventLoop
) -> Callable[..., asyncio.Future[Any]]:
    """What one writes by hand: a future for each message, which a thread resolves."""

    def settle(future: asyncio.Future[Any], error: Any, message: Any) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(message)
        else:
            future.set_exception(KafkaException(error))

    def send(topic: str, payload: bytes, **fields: Any) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = loop.create_future()

        def delivered(error: Any, message: Any) -> None:
            loop.call_soon_threadsafe(settle, future, error, message)

        client.produce(topic, payload, on_delivery=delivered, **fields)
        return future

    return send


class AioKafka(Contender):
    """aiokafka, a client written in Python."""

    name = AIOKAFKA

    async def open(self) -> None:
        """See `Contender`."""
        self._client = await rivals.open_aiokafka(self.broker, linger_of(self.kafka))
        self.produce, self.send = self._client.send_and_wait, self._client.send

    async def end(self) -> None:
        """See `Contender`."""
        await self._client.stop()


class Aio(Contender):
    """confluent_kafka.aio.AIOProducer, with its default settings for batches.

    What was sent before its futures are awaited is followed by one flush: without, the
    last reports are polled up to a second later.
    """

    name = AIO

    async def open(self) -> None:
        """See `Contender`."""
        self.client = rivals.open_aio(self.broker, linger_of(self.kafka))
        self.send = self.client.produce

    async def end(self) -> None:
        """See `Contender`."""
        await self.client.close()

    async def produce(self, topic: str, payload: bytes) -> object:
        """See `Contender`."""
        return await (await self.client.produce(topic, payload))

    async def sent(self, topic: str, count: int, **fields: Any) -> None:
        """See `Contender`; it refuses headers."""
        send = self.send
        futures = [await send(topic, PAYLOAD) for _ in range(count)]
        await self.client.flush()
        for future in futures:
            await future

    async def many(self, batch: list[dict[str, Any]]) -> None:
        """See `Contender`."""
        send = self.send
        futures = [await send(each["topic"], each["payload"]) for each in batch]
        await self.client.flush()
        for future in futures:
            await future


class AioFlushed(Aio):
    """The same, with a flush after each message that is awaited by itself."""

    name = AIO_FLUSHED

    async def produce(self, topic: str, payload: bytes) -> object:
        """See `Contender`."""
        future = await self.client.produce(topic, payload)
        await self.client.flush()
        return await future

    async def gathered(self, topic: str, count: int) -> None:
        """See `Contender`; all are sent, then there is one flush."""
        send = self.send
        futures = await asyncio.gather(*[send(topic, PAYLOAD) for _ in range(count)])
        await self.client.flush()
        await asyncio.gather(*futures)


@contextmanager
def opened(
    kinds: list[type[Contender]], broker: Broker, **kafka: Any
) -> Iterator[dict[str, Contender]]:
    """Open one of each, by name, and close them after the block."""
    contenders = [kind(broker, **kafka) for kind in kinds]
    try:
        yield {each.name: each for each in contenders}
    finally:
        for each in contenders:
            each.close()


def spent(contender: Contender, count: int, work: Coroutine[Any, Any, Any]) -> Spent:
    """What `work` takes, which sends `count` messages; collects garbage before."""
    gc.collect()
    cpu, started = time.thread_time(), time.perf_counter()
    contender.run(work)
    took, cpu = time.perf_counter() - started, time.thread_time() - cpu
    return Spent(count / took, cpu / count * 1_000_000)


async def disconnected(producer: AsyncProducer) -> None:
    """Disconnect, as soon as that is safe: a client is asked for metadata once."""
    deadline = time.perf_counter() + clients.BOUND_SECONDS
    while not await producer.disconnect():
        if time.perf_counter() > deadline:
            raise TimeoutError(f"not disconnected: {producer.explain_idle()}")
        await asyncio.sleep(0.001)


def linger_of(kafka: Mapping[str, Any]) -> int:
    """The linger in ms, for a client with another name for it."""
    return int(kafka.get("linger_ms", rivals.LIBRDKAFKA_LINGER_MS))
