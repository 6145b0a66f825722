"""The ledger agrees with the brokers' own count of connections."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import confluent_kafka
import pytest

from tests.kafka.harness.connection_count import ConnectionCount
from waterdrop_py import Producer
from waterdrop_py.testing import allow_short_idle_timeouts

if TYPE_CHECKING:
    from tests.kafka.harness import KafkaCluster

GAPS = (1.0, 3.0, 2.0, 5.0, 1.5)
IDLE_MS = 100


@pytest.mark.timed
def test_what_was_saved_is_what_the_brokers_count_less(
    kafka_cluster: KafkaCluster,
) -> None:
    """A bare client and ours, with the same traffic to three brokers at the same time,
    and gaps of a second and more: within 2 %."""
    topic = kafka_cluster.create_topic("ledger", 3)
    with allow_short_idle_timeouts():
        ours = Producer(
            kafka={**kafka_cluster.client_properties("PLAINTEXT"), "linger.ms": 0},
            idle_disconnect_timeout=IDLE_MS,
        )
    bare = confluent_kafka.Producer(
        {**kafka_cluster.client_properties("SSL"), "linger.ms": 0}
    )

    def send() -> None:
        for partition in range(3):
            bare.produce(topic, b"x", partition=partition)
            ours.produce_async(topic, b"x", partition=partition)
        assert bare.flush(10) == ours.flush(10) == 0

    pids = [broker.pid for broker in kafka_cluster.brokers]
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
    error = stats.saved.connection_s / (of_bare - of_ours) - 1
    logging.getLogger(__name__).info("error of the ledger: %+.2f %%", 100 * error)
    assert stats.reopens == stats.idle_gaps_s.count == len(GAPS)
    assert stats.unmeasured == 0
    assert abs(error) <= 0.02, (
        f"brokers: {of_bare:.2f} - {of_ours:.2f} connection-seconds; "
        f"ledger: {stats.saved.connection_s:.2f}; error {error:+.2%}"
    )
