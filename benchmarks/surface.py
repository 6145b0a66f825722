"""Batches, the buffer and transactions against bare confluent_kafka's loops."""

from __future__ import annotations

import uuid
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks import clients
from benchmarks.measure import alternate, messages_per_second, timed_ms
from benchmarks.rows import Row, compared

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.setting import Setting
    from waterdrop_py import Producer

BATCH = 1_000
BATCH_BOUND = 0.75
TRANSACTION = 100
TRANSACTION_BOUND = 1.15
_PAYLOAD = bytes(100)


def produce_many(setting: Setting) -> list[Row]:
    """`produce_many_async` of 1000 dicts against a loop over the same dicts."""
    return _batches(setting, "produce_many_async of 1000", _many)


def buffered_flush(setting: Setting) -> list[Row]:
    """The same by way of the buffer."""
    return _batches(setting, "buffer_many and flush_buffer_async of 1000", _buffered)


def transaction(setting: Setting) -> list[Row]:
    """A transaction of 100 messages against bare begin, produce and commit."""
    topic = clients.new_topic()
    rounds = setting.pick(60, 20)
    name = uuid.uuid4().hex[:8]
    properties: dict[str, Any] = {"linger_ms": 0, "transaction_timeout_ms": 165_000}
    client = clients.bare(
        setting.servers, transactional_id=f"bare-{name}", **properties
    )
    client.init_transactions(clients.BOUND_SECONDS)
    with clients.ours(
        setting.servers, transactional_id=f"ours-{name}", **properties
    ) as producer:

        def ours() -> float:
            def run() -> None:
                with producer.transaction():
                    for _ in range(TRANSACTION):
                        producer.produce_async(topic, _PAYLOAD)

            return timed_ms(run)

        def bare() -> float:
            def run() -> None:
                client.begin_transaction()
                for _ in range(TRANSACTION):
                    client.produce(topic, _PAYLOAD, on_delivery=_ignore)
                client.commit_transaction(clients.BOUND_SECONDS)

            return timed_ms(run)

        alternate(3, ours, bare)
        mine, theirs = alternate(rounds, ours, bare)
    clients.close_bare(client)
    return [
        compared(
            "transaction of 100 messages, p50",
            median(mine),
            median(theirs),
            unit="ms",
            n=rounds,
            at_most=TRANSACTION_BOUND,
        )
    ]


def _batches(
    setting: Setting, name: str, send: Callable[[Producer, list[Any]], None]
) -> list[Row]:
    topic = clients.new_topic()
    rounds, count = setting.pick((15, 48_000), (5, 24_000))
    batch: list[dict[str, Any]] = [
        {"topic": topic, "payload": _PAYLOAD} for _ in range(BATCH)
    ]
    client = clients.bare(setting.servers)
    with clients.ours(setting.servers) as producer, clients.polled(client):

        def ours() -> float:
            def run() -> None:
                for _ in range(count // BATCH):
                    send(producer, batch)
                producer.flush(clients.BOUND_SECONDS)

            return messages_per_second(count, run)

        def bare() -> float:
            def run() -> None:
                for _ in range(count // BATCH):
                    for each in batch:
                        client.produce(
                            each["topic"], each["payload"], on_delivery=_ignore
                        )
                client.flush(clients.BOUND_SECONDS)

            return messages_per_second(count, run)

        alternate(2, ours, bare)
        mine, theirs = alternate(rounds, ours, bare)
    clients.close_bare(client)
    return [
        compared(
            name,
            median(mine),
            median(theirs),
            unit="msg/s",
            n=rounds,
            at_least=BATCH_BOUND,
        )
    ]


def _many(producer: Producer, batch: list[Any]) -> None:
    producer.produce_many_async(batch)


def _buffered(producer: Producer, batch: list[Any]) -> None:
    producer.buffer_many(batch)
    producer.flush_buffer_async()


def _ignore(_error: Any, _message: Any) -> None:
    """Bare's delivery callback."""
