"""The ledger agrees with the brokers' own count of connections."""

from __future__ import annotations

import logging
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import confluent_kafka
import pytest

from tests.kafka.harness.connection_count import ConnectionCount
from waterdrop_py import Producer
from waterdrop_py.testing import allow_short_idle_timeouts

if TYPE_CHECKING:
    from tests.kafka.harness import KafkaCluster
    from waterdrop_py.reports import ProducerStats

GAPS = (1.0, 3.0, 2.0, 5.0, 1.5)
IDLE_MS = 100


class Measured(NamedTuple):
    """Connection-seconds that the brokers have counted, and the producer's figures."""

    of_bare: float
    of_ours: float
    stats: ProducerStats


def measure(
    plain: dict[str, Any], tls: dict[str, Any], pids: list[int], topic: str
) -> Measured:
    """Send the same by a bare client and by ours, with gaps. In a process of its own:
    what other tests have left open would keep a disconnect from being measured."""
    with allow_short_idle_timeouts():
        ours = Producer(
            kafka={**plain, "linger.ms": 0}, idle_disconnect_timeout=IDLE_MS
        )
    bare = confluent_kafka.Producer({**tls, "linger.ms": 0})

    def send() -> None:
        for partition in range(3):
            bare.produce(topic, b"x", partition=partition)
            ours.produce_async(topic, b"x", partition=partition)
        assert bare.flush(10) == ours.flush(10) == 0

    with ConnectionCount(("PLAINTEXT", "SSL"), pids) as brokers:
        send()
        began = time.monotonic()
        for gap in GAPS:
            time.sleep(gap)
            send()
        ended, stats = time.monotonic(), ours.stats()
        time.sleep(0.05)
    ours.close()
    bare.close()
    of_bare, of_ours = (
        brokers.seconds(listener, began, ended) for listener in ("SSL", "PLAINTEXT")
    )
    return Measured(of_bare, of_ours, stats)


@pytest.mark.timed
def test_what_was_saved_is_what_the_brokers_count_less(
    kafka_cluster: KafkaCluster,
) -> None:
    """A bare client and ours, with the same traffic to three brokers at the same time,
    and gaps of a second and more: within 2 %."""
    topic = kafka_cluster.create_topic("ledger", 3)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        of_bare, of_ours, stats = process.submit(
            measure,
            dict(kafka_cluster.client_properties("PLAINTEXT")),
            dict(kafka_cluster.client_properties("SSL")),
            [broker.pid for broker in kafka_cluster.brokers],
            topic,
        ).result(120)
    error = stats.saved.connection_s / (of_bare - of_ours) - 1
    logging.getLogger(__name__).info("error of the ledger: %+.2f %%", 100 * error)
    assert stats.reopens == stats.idle_gaps_s.count == len(GAPS)
    assert stats.unmeasured == 0
    assert abs(error) <= 0.02, (
        f"brokers: {of_bare:.2f} - {of_ours:.2f} connection-seconds; "
        f"ledger: {stats.saved.connection_s:.2f}; error {error:+.2%}"
    )
