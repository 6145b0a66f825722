"""Many threads around a short idle timeout: nothing is lost, doubled or refused."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from tests.embedded.support import in_threads

if TYPE_CHECKING:
    from tests.embedded.support import EventLog, MakeProducer
    from waterdrop_py.testing import EmbeddedCluster

SECONDS = 8
PAUSE_EVERY = 0.075


def test_sent_is_acknowledged_is_read_back(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str, log: EventLog
) -> None:
    """8 threads pause together so that disconnects fall between two of their sends."""
    producer = make_producer(idle_disconnect_timeout=50)
    accepted: list[list[bytes]] = [[] for _ in range(8)]
    acknowledged: list[int] = [0] * 8
    started = time.monotonic()

    def work(index: int) -> None:
        chance = random.Random(index)
        handles = []
        number = 0
        while (now := time.monotonic() - started) < SECONDS:
            # The pauses of all threads end around the same deadline, some before
            # it and some after.
            slot = int(now / PAUSE_EVERY) + 1
            wake = slot * PAUSE_EVERY + chance.uniform(-0.012, 0.012)
            time.sleep(max(0.0, wake - (time.monotonic() - started)))
            for _ in range(chance.randint(1, 3)):
                payload = b"%d-%d" % (index, number)
                number += 1
                if chance.random() < 0.5:
                    producer.produce_sync(topic, payload, partition=index % 3)
                    acknowledged[index] += 1
                else:
                    handle = producer.produce_async(topic, payload, partition=index % 3)
                    handles.append(handle)
                accepted[index].append(payload)
        for handle in handles:
            handle.result(10)
            acknowledged[index] += 1

    assert in_threads(8, work) == []
    sent = [payload for each in accepted for payload in each]
    read = [message.value() or b"" for message in cluster.read(topic)]
    stats = producer.stats()
    assert sum(acknowledged) == len(sent) == stats.produced == stats.acknowledged
    assert sorted(read) == sorted(sent)
    assert (stats.failed, stats.in_flight) == (0, 0)
    assert sum(stats.disconnects.values()) > 50
    assert not log.all("error.occurred")
    gone = log.all("producer.disconnected")
    assert sum(event["messages"] for event in gone) <= len(sent)
    assert len(log.all("producer.connected")) == stats.opens
