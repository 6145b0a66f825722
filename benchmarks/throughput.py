"""Messages per second of `produce_async`, all acknowledged."""

from __future__ import annotations

import threading
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks import clients
from benchmarks.measure import alternate, messages_per_second
from benchmarks.rows import Row, compared

if TYPE_CHECKING:
    from collections.abc import Callable

    import confluent_kafka

    from benchmarks.setting import Setting
    from waterdrop_py import Producer

PAYLOAD = bytes(100)
DROPPED_BOUND = 0.6
KEPT_BOUND = 0.35


def one_thread(setting: Setting) -> list[Row]:
    """The handles are dropped; then `flush`."""
    return _compare(setting, "produce_async", DROPPED_BOUND, _dropped, 1)


def eight_threads(setting: Setting) -> list[Row]:
    """The same from eight threads."""
    return _compare(setting, "produce_async, 8 threads", DROPPED_BOUND, _dropped, 8)


def kept(setting: Setting) -> list[Row]:
    """Every handle is kept, and its `result()` taken."""
    return _compare(setting, "produce_async, every result()", KEPT_BOUND, _kept, 1)


def _compare(
    setting: Setting,
    name: str,
    at_least: float,
    send: Callable[[Producer, str, int, int], None],
    threads: int,
) -> list[Row]:
    topic = clients.new_topic()
    # Fewer than librdkafka's queue holds: bare raises BufferError beyond it.
    rounds, count = setting.pick((15, 48_000), (5, 24_000))
    client = clients.bare(setting.servers)
    with clients.ours(setting.servers) as producer, clients.polled(client):

        def ours() -> float:
            before = producer.stats().acknowledged
            rate = messages_per_second(
                count, lambda: send(producer, topic, count, threads)
            )
            acknowledged = producer.stats().acknowledged - before
            if acknowledged != count:
                raise RuntimeError(f"{acknowledged} of {count} were acknowledged")
            return rate

        def bare() -> float:
            return messages_per_second(
                count, lambda: _bare(client, topic, count, threads)
            )

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
            at_least=at_least,
            note=f"{count} messages a round; bare: on_delivery and a polling thread",
        )
    ]


def _dropped(producer: Producer, topic: str, count: int, threads: int) -> None:
    def send(share: int) -> None:
        produce = producer.produce_async
        for _ in range(share):
            produce(topic, PAYLOAD)

    _in_threads(send, count, threads)
    producer.flush(clients.BOUND_SECONDS)


def _kept(producer: Producer, topic: str, count: int, _threads: int) -> None:
    handles = [producer.produce_async(topic, PAYLOAD) for _ in range(count)]
    for handle in handles:
        handle.result()


def _bare(
    client: confluent_kafka.Producer, topic: str, count: int, threads: int
) -> None:
    failures: list[Any] = []

    def delivered(error: Any, _: Any) -> None:
        if error is not None:
            failures.append(error)

    def send(share: int) -> None:
        produce = client.produce
        for _ in range(share):
            produce(topic, PAYLOAD, on_delivery=delivered)

    _in_threads(send, count, threads)
    if client.flush(clients.BOUND_SECONDS) or failures:
        raise RuntimeError("bare: not all were acknowledged")


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
