"""Pools on the real broker, and threads that lease from them and keep accounts."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from waterdrop_py import Config
from waterdrop_py.errors import ProduceError
from waterdrop_py.testing import allow_short_idle_timeouts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.kafka.harness import KafkaCluster
    from waterdrop_py import Event, Monitor, Producer, ProducerPool

JOIN_SECONDS = 60.0
PER_LEASE = 3
RIVAL = b"rival"


def settings(properties: Mapping[str, Any], **options: Any) -> Config:
    """A configuration without linger, which may be idle or old soon."""
    kafka = {"linger.ms": 0, **properties}
    with allow_short_idle_timeouts():
        return Config(kafka=kafka, **options)


def transactional(cluster: KafkaCluster, prefix: str, **options: Any) -> Config:
    """The same for a transactional pool, without TLS and login."""
    properties = {**cluster.client_properties(), "transactional.id": prefix}
    return settings(properties, **options)


def slot_of(producer: Producer) -> int:
    """The index of the slot that a producer of a pool is in."""
    return int(producer.id.rpartition("-")[2])


def wait_until(done: Callable[[], object], what: str, timeout: float = 15.0) -> None:
    """Wait for something that happens on other threads, or at the broker."""
    deadline = time.monotonic() + timeout
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


class Clients:
    """How many clients each producer id had open, and has, by the pool's events."""

    def __init__(self, monitor: Monitor) -> None:
        self.now: defaultdict[str, int] = defaultdict(int)
        self.opened: defaultdict[str, int] = defaultdict(int)
        self.most: defaultdict[str, int] = defaultdict(int)
        self.reasons: list[str] = []
        monitor.subscribe("producer.connected", self._connected)
        monitor.subscribe("producer.disconnected", self._disconnected)

    def _connected(self, event: Event) -> None:
        name = event["producer_id"]
        self.opened[name] += 1
        self.now[name] += 1
        self.most[name] = max(self.most[name], self.now[name])

    def _disconnected(self, event: Event) -> None:
        self.reasons.append(event["reason"])
        self.now[event["producer_id"]] -= 1


class LeaseTraffic:
    """Threads that lease a producer, send numbered messages and wait for them.

    A context manager that starts and ends them. Numbers go up within a slot, which one
    thread has at a time. `stored` is what was acknowledged, or committed, by slot and
    in order. `refused` and `surprises` are the errors of Kafka, and all others.
    """

    def __init__(
        self,
        pool: ProducerPool,
        topic: str,
        *,
        transactional: bool,
        threads: int = 6,
    ) -> None:
        self._pool = pool
        self._topic = topic
        self._transactional = transactional
        self._numbers: defaultdict[int, int] = defaultdict(int)
        self.stored: defaultdict[int, list[bytes]] = defaultdict(list)
        self.refused: list[ProduceError] = []
        self.surprises: list[BaseException] = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, daemon=True) for _ in range(threads)
        ]

    def __enter__(self) -> LeaseTraffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        deadline = time.monotonic() + JOIN_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        assert not any(thread.is_alive() for thread in self._threads), "a thread hangs"

    @property
    def count(self) -> int:
        """How many messages are stored, in all slots."""
        return sum(map(len, tuple(self.stored.values())))

    def go_on(self, messages: int = 60) -> None:
        """Wait until that many more are stored."""
        wanted = self.count + messages
        wait_until(lambda: self.count >= wanted, "the traffic did not go on", 45)

    def _run(self) -> None:
        try:
            while not self._stop.wait(0.002):
                try:
                    self._lease()
                except ProduceError as error:
                    self.refused.append(error)
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.surprises.append(error)

    def _lease(self) -> None:
        with self._pool.acquire(30) as producer:
            slot = slot_of(producer)
            first = self._numbers[slot]
            self._numbers[slot] += PER_LEASE
            payloads = [b"%d-%d" % (slot, first + each) for each in range(PER_LEASE)]
            with self._block(producer):
                handles = [producer.produce_async(self._topic, p) for p in payloads]
                for handle in handles:
                    handle.result(30)
            # Still within the lease: the next holder goes on with the numbers.
            self.stored[slot].extend(payloads)

    def _block(self, producer: Producer) -> AbstractContextManager[object]:
        return producer.transaction() if self._transactional else nullcontext()


def stored_by_slot(cluster: KafkaCluster, topic: str) -> dict[int, list[bytes]]:
    """What a read_committed consumer sees, by slot and in order; no rival's."""
    found: defaultdict[int, list[bytes]] = defaultdict(list)
    for message in cluster.read_topic(topic):
        payload = message.value()
        assert isinstance(payload, bytes)
        if payload != RIVAL:
            found[int(payload.partition(b"-")[0])].append(payload)
    return dict(found)


def assert_stored(traffic: LeaseTraffic, cluster: KafkaCluster, topic: str) -> None:
    """Everything is there once, in the order of its slot, and nothing else is."""
    assert traffic.surprises == []
    assert stored_by_slot(cluster, topic) == dict(traffic.stored)
