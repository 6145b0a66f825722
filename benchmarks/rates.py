"""Measures messages per second of several clients, which take turns."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks import clients, rivals
from benchmarks.measure import interleave, messages_per_second
from benchmarks.rows import OURS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import confluent_kafka

    from benchmarks.rivals import Rival
    from benchmarks.setting import Setting
    from waterdrop_py import Producer

PAYLOAD = bytes(100)
UNMEASURED = 2
"""Rounds before those that count, which open connections and fill caches."""


def rates(
    setting: Setting,
    ours: Callable[[Producer, str, int], None],
    bare: Mapping[str, Callable[[confluent_kafka.Producer, str, int], None]],
    rival: Callable[[Rival, str, int], None],
    kinds: list[type[Rival]],
) -> dict[str, list[float]]:
    """The rate of each client in each round; `bare` names ways to use a bare client."""
    topic = clients.new_topic()
    rounds, count = size(setting)
    client = clients.bare(setting.broker)
    linger = rivals.LIBRDKAFKA_LINGER_MS
    with (
        clients.ours(setting.broker) as producer,
        clients.polled(client),
        rivals.opened(kinds, setting.broker, linger) as others,
    ):
        work: dict[str, Callable[[], None]] = {
            OURS: lambda: _acknowledged(producer, count, partial(ours, producer, topic))
        }
        work |= {
            name: partial(send, client, topic, count) for name, send in bare.items()
        }
        work |= {each.name: partial(rival, each, topic, count) for each in others}
        contenders = {
            name: partial(messages_per_second, count, send)
            for name, send in work.items()
        }
        interleave(UNMEASURED, contenders)
        measured = interleave(rounds, contenders)
    clients.close_bare(client)
    return measured


def size(setting: Setting) -> tuple[int, int]:
    """Rounds, and messages per round: fewer than librdkafka's queue holds.

    Bare raises a BufferError when the queue is full.
    """
    return setting.pick((15, 48_000), (5, 10_000))


def _acknowledged(producer: Producer, count: int, send: Callable[[int], None]) -> None:
    before = producer.stats().acknowledged
    send(count)
    acknowledged = producer.stats().acknowledged - before
    if acknowledged != count:
        raise RuntimeError(f"{acknowledged} of {count} were acknowledged")


def collector() -> tuple[list[Any], Callable[[Any, Any], None]]:
    """A list, and an `on_delivery` for a bare client that adds errors to it."""
    failures: list[Any] = []

    def delivered(error: Any, _: Any) -> None:
        if error is not None:
            failures.append(error)

    return failures, delivered


def flushed(client: confluent_kafka.Producer, failures: list[Any]) -> None:
    """Wait until all messages of a bare client are acknowledged, or raise."""
    if client.flush(clients.BOUND_SECONDS) or failures:
        raise RuntimeError("bare: not all were acknowledged")
