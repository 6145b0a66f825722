"""Measures messages per second of `produce_async`, all of them acknowledged."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException

from benchmarks import clients, rivals
from benchmarks.rates import PAYLOAD, collector, flushed, rates, size
from benchmarks.rows import BARE, OURS, Row, at_least, compared

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import confluent_kafka

    from benchmarks.rivals import Rival
    from benchmarks.setting import Setting
    from waterdrop_py import Producer

HEADERS: list[tuple[str, str | bytes | None]] = [
    ("trace", b"0123456789abcdef"),
    ("kind", b"order"),
]
KEY = b"customer-0123456"
BY_HAND = "Future per message"


def one_thread(setting: Setting) -> list[Row]:
    """One thread sends, ignores the handles, and flushes."""
    kinds = rivals.kinds(setting, always=True)
    measured = rates(setting, _dropped, {BARE: _bare}, _rival, kinds)
    return [_row(setting, "produce_async", measured, (0.65, 0.85))]


def eight_threads(setting: Setting) -> list[Row]:
    """Eight threads send; clients of asyncio have only one."""
    kinds = [each for each in rivals.kinds(setting) if each.threads]
    measured = rates(
        setting,
        partial(_dropped, threads=8),
        {BARE: partial(_bare, threads=8)},
        _rival_in_threads,
        kinds,
    )
    return [_row(setting, "produce_async, 8 threads", measured, (0.65, 0.85))]


def keyed(setting: Setting) -> list[Row]:
    """One thread sends with key and headers, ours also with a label."""
    kinds = [each for each in rivals.kinds(setting) if each.headers]
    measured = rates(
        setting,
        _dropped_keyed,
        {BARE: _bare_keyed},
        partial(_rival, message={"key": KEY, "headers": HEADERS}),
        kinds,
    )
    name = "produce_async with key, headers and label"
    return [_row(setting, name, measured, (0.6, 0.8))]


def kept(setting: Setting) -> list[Row]:
    """One thread sends, keeps every handle, and calls its `result()`."""
    measured = rates(
        setting,
        _kept,
        {BARE: _bare, BY_HAND: _futures},
        lambda rival, topic, count: rival.kept(topic, count, {"value": PAYLOAD}),
        rivals.kinds(setting),
    )
    per_message = measured.pop(BY_HAND)
    name = "produce_async, every result()"
    first = _row(setting, name, measured, (0.4, 0.6))
    measured[BARE] = per_message
    second = compared(
        f"{name}, beside a Future per message",
        {OURS: measured[OURS], BARE: per_message},
        unit="msg/s",
        n=first.n,
        must=at_least(3) if setting.broker.embedded else None,
        aim=at_least(6) if setting.broker.embedded else None,
        note="bare: a concurrent.futures.Future for each message, set by a closure; "
        "the same outcome for the caller",
    )
    return [first, second]


def _row(
    setting: Setting,
    name: str,
    measured: Mapping[str, list[float]],
    bounds: tuple[float, float],
) -> Row:
    must, aim = map(at_least, bounds)
    judged = setting.broker.embedded
    return compared(
        name,
        measured,
        unit="msg/s",
        n=len(measured[OURS]),
        must=must if judged else None,
        aim=aim if judged else None,
        note=f"{size(setting)[1]} messages of 100 bytes a round; bare: on_delivery and "
        "a polling thread",
    )


# Each loop writes the arguments in the call, as an application does. `**fields` would
# cost a method written in Python 0.2 us, and one written in C nothing.


def _dropped(producer: Producer, topic: str, count: int, threads: int = 1) -> None:
    def send(share: int) -> None:
        produce = producer.produce_async
        for _ in range(share):
            produce(topic, PAYLOAD)

    _in_threads(send, count, threads)
    producer.flush(clients.BOUND_SECONDS)


def _dropped_keyed(producer: Producer, topic: str, count: int) -> None:
    produce = producer.produce_async
    for _ in range(count):
        produce(topic, PAYLOAD, key=KEY, headers=HEADERS, label="a label")
    producer.flush(clients.BOUND_SECONDS)


def _kept(producer: Producer, topic: str, count: int) -> None:
    handles = [producer.produce_async(topic, PAYLOAD) for _ in range(count)]
    for handle in handles:
        handle.result()


def _bare(
    client: confluent_kafka.Producer, topic: str, count: int, threads: int = 1
) -> None:
    failures, delivered = collector()

    def send(share: int) -> None:
        produce = client.produce
        for _ in range(share):
            produce(topic, PAYLOAD, on_delivery=delivered)

    _in_threads(send, count, threads)
    flushed(client, failures)


def _bare_keyed(client: confluent_kafka.Producer, topic: str, count: int) -> None:
    failures, delivered = collector()
    produce = client.produce
    for _ in range(count):
        produce(topic, PAYLOAD, key=KEY, headers=HEADERS, on_delivery=delivered)
    flushed(client, failures)


def _futures(client: confluent_kafka.Producer, topic: str, count: int) -> None:
    """What a user of a bare client writes to get each message's outcome."""

    def send() -> Future[Any]:
        future: Future[Any] = Future()

        def delivered(error: Any, message: Any) -> None:
            if error is None:
                future.set_result(message)
            else:
                future.set_exception(KafkaException(error))

        client.produce(topic, PAYLOAD, on_delivery=delivered)
        return future

    for future in [send() for _ in range(count)]:
        future.result(clients.BOUND_SECONDS)


def _rival(
    rival: Rival, topic: str, count: int, message: Mapping[str, Any] | None = None
) -> None:
    rival.bulk(topic, count, {"value": PAYLOAD, **(message or {})})


def _rival_in_threads(rival: Rival, topic: str, count: int) -> None:
    _in_threads(lambda share: _rival(rival, topic, share), count, 8)


def _in_threads(send: Callable[[int], None], count: int, threads: int) -> None:
    if threads == 1:
        send(count)
        return
    workers = [
        threading.Thread(target=send, args=(count // threads,)) for _ in range(threads)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
