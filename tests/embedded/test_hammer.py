"""Many threads around a short idle timeout: nothing is lost, doubled or refused."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest

from tests.embedded.support import BOUND, EventLog, in_threads

if TYPE_CHECKING:
    from tests.embedded.support import MakeProducer
    from waterdrop_py import DeliveryHandle, Producer
    from waterdrop_py.testing import EmbeddedCluster

SECONDS = 8
THREADS = 8
TIMEOUT_MS = 50
# The idle timeout and what the starts of a burst are apart, more or less.
PERIOD = 0.076
# So many disconnects are wanted; a busy machine gets more time for them.
DISCONNECTS = 51
PATIENCE = 45.0


class Sender:
    """One thread's work: bursts that begin around the moment of the idle deadline."""

    def __init__(self, index: int, producer: Producer, topic: str) -> None:
        self.sent: list[bytes] = []
        self.acknowledged = 0
        self._chance = random.Random(index)
        self._index = index
        self._producer = producer
        self._topic = topic
        self._handles: list[DeliveryHandle] = []

    def run(self, started: float) -> None:
        """Send until the time is over, then wait for all reports."""
        while (now := time.monotonic() - started) < SECONDS or self._go_on(now):
            wake = (int(now / PERIOD) + 1) * PERIOD + self._chance.uniform(-0.01, 0.01)
            time.sleep(max(0.0, wake - now))
            for _ in range(self._chance.randint(1, 3)):
                self._send()
        for handle in self._handles:
            assert handle.result(BOUND).error is None
            self.acknowledged += 1

    def _go_on(self, now: float) -> bool:
        """Whether there were too few disconnects yet, and there is time for more."""
        disconnects = sum(self._producer.stats().disconnects.values())
        return disconnects < DISCONNECTS and now < PATIENCE

    def _send(self) -> None:
        payload = b"%d-%d" % (self._index, len(self.sent))
        # Half of them go the short way of the send path, which takes no partition.
        partition = self._chance.choice([None, self._index % 3])
        if self._chance.random() < 0.5:
            self._producer.produce_sync(self._topic, payload, partition=partition)
            self.acknowledged += 1
        else:
            handle = self._producer.produce_async(
                self._topic, payload, partition=partition
            )
            self._handles.append(handle)
        self.sent.append(payload)


@pytest.mark.timed
@pytest.mark.long
def test_sent_is_acknowledged_is_read_back(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """8 threads pause together, so that disconnects fall between two of their sends."""
    producer = make_producer(idle_disconnect_timeout=TIMEOUT_MS)
    log = EventLog(producer.monitor)
    senders = [Sender(index, producer, topic) for index in range(THREADS)]
    started = time.monotonic()
    assert in_threads(THREADS, lambda index: senders[index].run(started)) == []
    sent = [payload for sender in senders for payload in sender.sent]
    read = [message.value() or b"" for message in cluster.read(topic)]
    stats = producer.stats()
    assert sum(sender.acknowledged for sender in senders) == len(sent)
    assert len(sent) == stats.produced == stats.acknowledged
    assert sorted(read) == sorted(sent)
    assert (stats.failed, stats.in_flight) == (0, 0)
    assert sum(stats.disconnects.values()) >= DISCONNECTS, stats
    # Threads that are left in the process may be another test's.
    errors = {event["type"] for event in log.all("error.occurred")}
    assert errors <= {"producer.disconnect.incomplete"}
    assert len(log.all("producer.connected")) == stats.opens
