"""Measures batches and the buffer, against a loop of bare produce."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks import rivals
from benchmarks.rates import PAYLOAD, collector, flushed, rates
from benchmarks.rows import BARE, OURS, Row, at_least, compared

if TYPE_CHECKING:
    from collections.abc import Callable

    import confluent_kafka

    from benchmarks.rivals import Rival
    from benchmarks.setting import Setting
    from waterdrop_py import Producer

BATCH = 1_000


def produce_many(setting: Setting) -> list[Row]:
    """Rate of `produce_many_async` with 1000 dicts, against a loop over them."""
    return _row(setting, "produce_many_async of 1000", _many, (0.8, 1.0))


def buffered_flush(setting: Setting) -> list[Row]:
    """Rate of `buffer_many` and `flush_buffer_async` with the same dicts."""
    name = "buffer_many and flush_buffer_async of 1000"
    return _row(setting, name, _buffered, (0.75, None))


def _row(
    setting: Setting,
    name: str,
    send: Callable[[Producer, list[Any]], None],
    bounds: tuple[float, float | None],
) -> list[Row]:
    def ours(producer: Producer, topic: str, count: int) -> None:
        batch = _batch(topic)
        for _ in range(count // BATCH):
            send(producer, batch)
        producer.flush()

    measured = rates(setting, ours, {BARE: _bare}, _rival, rivals.kinds(setting))
    must, aim = bounds
    judged = setting.broker.embedded
    return [
        compared(
            name,
            measured,
            unit="msg/s",
            n=len(measured[OURS]),
            must=at_least(must) if judged else None,
            aim=at_least(aim) if judged and aim else None,
            note="the others: a loop over the same dicts",
        )
    ]


def _many(producer: Producer, batch: list[Any]) -> None:
    producer.produce_many_async(batch)


def _buffered(producer: Producer, batch: list[Any]) -> None:
    producer.buffer_many(batch)
    producer.flush_buffer_async()


def _batch(topic: str) -> list[dict[str, Any]]:
    return [{"topic": topic, "payload": PAYLOAD} for _ in range(BATCH)]


def _bare(client: confluent_kafka.Producer, topic: str, count: int) -> None:
    failures, delivered = collector()
    batch = _batch(topic)
    for _ in range(count // BATCH):
        for each in batch:
            client.produce(each["topic"], each["payload"], on_delivery=delivered)
    flushed(client, failures)


def _rival(rival: Rival, topic: str, count: int) -> None:
    rival.bulk(topic, count, {"value": PAYLOAD})
