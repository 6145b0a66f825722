"""`AsyncProducer`, the asyncio front end of a `Producer`, and `AsyncVariant`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from typing import Any

from waterdrop_py._described import Described
from waterdrop_py._engine.introspection import probe
from waterdrop_py._engine.introspection.health import Health
from waterdrop_py._engine.reports.accounting import DrainReport
from waterdrop_py._settings.answering import awaited
from waterdrop_py._settings.arguments import flag, required_seconds, seconds
from waterdrop_py.aio._closing import close
from waterdrop_py.aio._pinned import TaskPin
from waterdrop_py.aio.jobs import on_worker
from waterdrop_py.aio.sender import AsyncSender
from waterdrop_py.config import Config
from waterdrop_py.errors import InvalidArgumentError
from waterdrop_py.producer import Producer, Variant
from waterdrop_py.typing import NativeClient


class AsyncProducer(Described, AsyncSender):
    """A Kafka producer for asyncio that costs nothing while it is idle.

    It takes what `Producer` takes, or a `Producer` alone, whose client, buffer,
    middleware, monitor and figures it then shares. The constructor needs no running
    loop, opens no socket and starts no thread. It is bound to no loop: any number of
    loops and threads may use it, one after another or side by side. No coroutine holds
    the loop: what blocks runs on threads of the library. What is not a coroutine
    neither blocks nor suspends. `async with` closes the producer at its end. It can be
    neither copied nor pickled.

    Args:
        config: a `Config`, a mapping of its options, a URL, or a `Producer` alone.
        options: options of `Config`; they win over those of `config`.

    Raises:
        ConfigurationInvalidError: with every violation at once.
        InvalidArgumentError: options are given beside a `Producer`.

    Example:
        >>> import asyncio
        >>> async def main():
        ...     async with AsyncProducer("kafka://localhost:9092/") as producer:
        ...         report = await producer.produce("orders", b"first", key="42")
        ...         print(report.topic)
        >>> asyncio.run(main())
        orders
    """

    __slots__ = ("_producer",)

    def __init__(
        self,
        /,
        config: Config | Mapping[str, Any] | str | Producer | None = None,
        **options: Any,
    ) -> None:
        if not isinstance(config, Producer):
            config = Producer(config, **options)
        elif options:
            raise InvalidArgumentError(
                f"{', '.join(sorted(options))}: options cannot be given beside a "
                "Producer, which has its own; give either"
            )
        self._producer = config
        self._adopt(config)

    @property
    def sync_producer(self) -> Producer:
        """The producer itself, for threads and plain functions."""
        return self._producer

    def variant(
        self,
        *,
        topic_config: Mapping[str, Any] | None = None,
        max_wait_timeout: int | timedelta | str | None = None,
    ) -> AsyncVariant:
        """The same verbs with other settings. Opens nothing.

        Args:
            topic_config: librdkafka's per-topic properties, such as `acks`,
                `compression.type` and `message.timeout.ms`.
            max_wait_timeout: as the option: ms, a `timedelta`, or text with a unit.

        Raises:
            VariantInvalidError: with every violation.
            ProducerClosedError: the producer is closed, or closing.

        Example:
            >>> import asyncio
            >>> async def main():
            ...     async with AsyncProducer(config) as producer:
            ...         fast = producer.variant(topic_config={"acks": 1})
            ...         print((await fast.produce("orders", b"first")).error)
            >>> asyncio.run(main())
            None
        """
        made = self._producer.variant(
            topic_config=topic_config, max_wait_timeout=max_wait_timeout
        )
        return AsyncVariant(self, made)

    # -- the client --------------------------------------------------------

    @awaited
    async def connect(
        self,
        timeout: float | timedelta = 30.0,
        *,
        errback: Callable[[BaseException, float], object] | None = None,
        max_retries: int | None = None,
        interval_start: float | timedelta = 2,
        interval_step: float | timedelta = 2,
        interval_max: float | timedelta = 30,
    ) -> AsyncProducer:
        """Open the client now, and prove it with the cluster's metadata.

        As `Producer.connect`. Returns the producer. Suspends for at most `timeout`
        seconds in all. Cancelling ends the wait at once; a request that was sent ends
        on a library thread.

        Args:
            timeout: seconds in all, or a `timedelta`.
            errback: called on the loop before each retry, with the error and the
                seconds to wait; a plain function.
            max_retries: how many retries follow the first try; None: no limit.
            interval_start: seconds before the first retry.
            interval_step: seconds that each further interval is longer.
            interval_max: seconds of the longest interval.

        Raises:
            BrokerUnreachableError: no broker answered, with a checklist. At once, with
                `retriable` False, for refused credentials, a certificate, a missing
                right, and a fatal error.
            ProduceError: `too_many_clients`: this process cannot open another one.
            InvalidArgumentError: an argument is invalid.
            ProducerClosedError: the producer is closed, or closing.
            ConfigurationInvalidError: as `send`.

        Example:
            >>> import asyncio
            >>> async def main():
            ...     async with AsyncProducer(config) as producer:
            ...         await producer.connect(timeout=10)
            ...         print(producer.is_connected)
            >>> asyncio.run(main())
            True
        """
        retries = probe.Retries(
            max_retries, interval_start, interval_step, interval_max, errback
        )
        bound = required_seconds("timeout", timeout)
        attempts = probe.Attempts(self._connection, bound, retries)
        while (error := await on_worker(attempts.prove)) is not None:
            pause = attempts.pause_after(error)
            if pause is not None:
                await asyncio.sleep(pause)
            if pause is None or attempts.over:
                await on_worker(partial(attempts.give_up, error))
        return self

    @awaited
    async def disconnect(self) -> bool:
        """Close the client if that is safe now. False if it is not, or none is open.

        As `Producer.disconnect`: it never waits for a send in progress. Suspends for at
        most `close_timeout`, until the client is destroyed and the subscribers of
        `producer.disconnected` have returned (0.2 s for them at most). It is carried
        through where it is cancelled.

        Example:
            >>> import asyncio
            >>> async def main():
            ...     async with AsyncProducer(config) as producer:
            ...         await producer.produce("orders", b"first")
            ...         print(await producer.disconnect(), producer.status)
            >>> asyncio.run(main())
            True disconnected
        """
        return await on_worker(self._components.disconnect_here)

    def native(self) -> AbstractAsyncContextManager[NativeClient]:
        """The open confluent_kafka client itself, which stays open inside the block.

        For what the library does not wrap. Its methods block: call them on another
        thread, such as by `asyncio.to_thread`. What is set on the client ends with it.
        It must not be closed, nor used after the block. Entering the block opens a
        client if need be, and suspends only for that; leaving it does not suspend.
        Cancelled on entering, nothing stays pinned. Each `async with` needs its own
        `native()`.

        Raises:
            ProduceError: no client could be opened, or a fatal error stays.
            ProducerClosedError: the producer is closed, or closing.
            ConfigurationInvalidError: as `send`.
            WaterdropError: this block is entered already.

        Example:
            >>> import asyncio
            >>> async def main():
            ...     async with AsyncProducer(config) as producer:
            ...         async with producer.native() as client:
            ...             found = await asyncio.to_thread(client.list_topics)
            ...         print(len(found.brokers))
            >>> asyncio.run(main())
            3
        """
        return TaskPin(self._connection)

    @awaited
    async def close(
        self,
        timeout: float | timedelta | None = None,
        *,
        force: bool = False,
    ) -> DrainReport:
        """Deliver what is on its way, give up the rest, and close for good.

        As `Producer.close`: it closes the producer, also one that it was given. What
        waits is handed over first, within the bound. `force=True` gives everything up
        at once. Suspends for at most `timeout` seconds (None: `close_timeout`) and
        0.5 s more. Where it is cancelled it goes on; a later `close()` waits for it,
        and has its report. Idempotent.

        Args:
            timeout: seconds, or a `timedelta`.
            force: give up everything at once.

        Raises:
            InvalidArgumentError: `timeout` is not a duration, or `force` not a bool.
            TransactionalCloseError: called inside a transaction of the producer.

        Example:
            >>> import asyncio
            >>> async def main():
            ...     producer = AsyncProducer(config)
            ...     handle = await producer.send("orders", b"last")
            ...     drained = await producer.close(timeout=10)
            ...     print(drained.delivered, drained.failed, drained.complete)
            >>> asyncio.run(main())
            1 0 True
        """
        bound = seconds("timeout", timeout)
        return await close(self._components, bound, force=flag("force", force))

    @awaited
    async def health(
        self,
        *,
        deep: bool = False,
        timeout: float | timedelta = 5.0,
    ) -> Health:
        """Whether the producer works; as `Producer.health`.

        Only the deep check suspends, for at most `timeout` seconds. Cancelling ends the
        wait at once. An unreachable broker, or a client that cannot be opened, raises
        nothing: the answer has the error.

        Args:
            deep: ask the cluster, too.
            timeout: seconds of a deep check, or a `timedelta`.

        Raises:
            InvalidArgumentError: an argument is invalid.

        Example:
            >>> import asyncio
            >>> async def main():
            ...     async with AsyncProducer(config) as producer:
            ...         print((await producer.health(deep=True)).healthy)
            >>> asyncio.run(main())
            True
        """
        check = partial(self._producer.health, deep=flag("deep", deep), timeout=timeout)
        return await on_worker(check) if deep else check()

    @awaited
    async def partition_count(self, topic: str) -> int:
        """The number of partitions of `topic`; as `Producer.partition_count`.

        The first look-up opens the client and suspends for at most 5 s. A number that
        is known is returned without a suspension. Cancelling ends the wait at once.

        Args:
            topic: its name.

        Raises:
            MessageInvalidError: `topic` is not a valid name.
            ProduceError: the topic is unknown, no broker answered, or a fatal error
                stays.
            ProducerClosedError: the producer is closed, or closing, and the number is
                not known.
            ConfigurationInvalidError: as `send`.
        """
        ask = partial(self._producer.partition_count, topic)
        known = type(topic) is str and self._connection.partitions.count(topic)
        return ask() if known else await on_worker(ask)

    async def __aenter__(self) -> AsyncProducer:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Async{repr(self._producer)[1:]}"


class AsyncVariant(AsyncSender):
    """The verbs of an `AsyncProducer` with other settings.

    It is made by `AsyncProducer.variant`, and closed with its producer. With a
    `topic_config` it has its own client, as a `Variant` has.
    """

    __slots__ = ("_producer",)

    def __init__(self, producer: AsyncProducer, variant: Variant) -> None:
        self._producer = producer
        self._adopt(variant)

    @property
    def producer(self) -> AsyncProducer:
        """The producer that it is a variant of."""
        return self._producer

    def __repr__(self) -> str:
        return f"<AsyncVariant of {self._producer!r}>"


AsyncVariant.answer(
    {
        name: f"a variant only sends; it is variant.producer.{name}"
        for name in {**vars(Described), **vars(AsyncProducer)}
        if not name.startswith("_")
    }
)
