"""Threads that send unique messages with idle pauses, and account for each of them."""

from __future__ import annotations

import operator
import random
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from waterdrop_py import Producer
from waterdrop_py.errors import DeliveryTimeoutError, ProduceError
from waterdrop_py.testing import allow_short_idle_timeouts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.kafka.harness import KafkaCluster
    from waterdrop_py import DeliveryHandle, Event

IDLE_MS = 250
THREADS_PER_PRODUCER = 2
BURST = 10
# From much shorter than the idle timeout to four times as long.
PAUSES = (0.02, 1.0)
PATIENT_MS = 60_000
JOIN_SECONDS = PATIENT_MS / 1000 + 20.0


def idempotent_producer(
    cluster: KafkaCluster, message_timeout_ms: int, extra: Mapping[str, object]
) -> Producer:
    """An idempotent producer that disconnects when idle, and notices faults soon."""
    with allow_short_idle_timeouts():
        return Producer(
            kafka={
                **cluster.client_properties(),
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 0,
                "message.timeout.ms": message_timeout_ms,
                # A stopped broker keeps its connections: a request to it is given
                # up after 60 s unless this says otherwise.
                "socket.timeout.ms": 5_000,
                "reconnect.backoff.max.ms": 1_000,
                **extra,
            },
            idle_disconnect_timeout=IDLE_MS,
            max_wait_timeout=message_timeout_ms + 10_000,
        )


class Traffic:
    """Eight threads on four producers; a context manager that starts and ends them.

    Half of the threads send and wait, the others collect handles. Afterwards every
    payload is in `acknowledged` or in `failed`; what is in neither is `pending`. What
    was acknowledged may have no offset: a retry after a kill may find it stored.
    """

    def __init__(
        self,
        cluster: KafkaCluster,
        topic: str,
        *,
        message_timeout_ms: int = PATIENT_MS,
        **extra: object,
    ) -> None:
        self._topic = topic
        self.producers = [
            idempotent_producer(cluster, message_timeout_ms, extra) for _ in range(4)
        ]
        self.acknowledged: list[bytes] = []
        self.failed: dict[bytes, ProduceError] = {}
        self.pending: list[bytes] = []
        self.surprises: list[BaseException] = []
        self.closes_ms: list[float] = []
        for producer in self.producers:
            producer.monitor.subscribe("producer.disconnected", self._closed)
        self._stop = threading.Event()
        self._flowing = threading.Event()
        self._flowing.set()
        self._threads = [
            threading.Thread(target=self._send, args=(producer, number), daemon=True)
            for number in range(4 * THREADS_PER_PRODUCER)
            for producer in [self.producers[number % 4]]
        ]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._flowing.set()
        deadline = time.monotonic() + JOIN_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        stuck = sum(thread.is_alive() for thread in self._threads)
        for producer in self.producers:
            producer.close(timeout=5)
        assert stuck == 0, f"{stuck} threads never got their outcome"

    def wait_for(self, acknowledged: int, timeout: float = 45.0) -> None:
        """Wait until that many more messages are acknowledged."""
        deadline = time.monotonic() + timeout
        wanted = len(self.acknowledged) + acknowledged
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < deadline, "the traffic did not go on"
            time.sleep(0.02)

    def rest(self, timeout: float = 45.0) -> None:
        """Pause until every producer was disconnected for idleness, then go on.

        Each thread sends one burst more, so that there is a client to disconnect, and
        nothing after it: the disconnect is caused, however slow the machine is.
        """
        deadline = time.monotonic() + timeout
        before = self._idle_disconnects()
        self._flowing.clear()
        try:
            while not all(map(operator.gt, self._idle_disconnects(), before)):
                assert time.monotonic() < deadline, "not every producer idled"
                time.sleep(0.02)
        finally:
            self._flowing.set()

    def _idle_disconnects(self) -> list[int]:
        """How often its client was closed for idleness, for each producer."""
        return [each.stats().disconnects.get("idle", 0) for each in self.producers]

    def _closed(self, event: Event) -> None:
        if event["reason"] == "idle":
            self.closes_ms.append(event["time"])

    # -- one thread --------------------------------------------------------

    def _send(self, producer: Producer, number: int) -> None:
        dice = random.Random(number)
        count = 0
        try:
            while not self._stop.is_set():
                last = not self._flowing.is_set()
                payloads = [b"%d-%d" % (number, count + i) for i in range(BURST)]
                count += BURST
                if number < 4:
                    self._and_wait(producer, payloads)
                else:
                    self._and_collect(producer, payloads)
                if last:
                    self._flowing.wait()
                else:
                    self._stop.wait(dice.uniform(*PAUSES))
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.surprises.append(error)

    def _and_wait(self, producer: Producer, payloads: list[bytes]) -> None:
        for payload in payloads:
            try:
                producer.produce_sync(self._topic, payload)
            except DeliveryTimeoutError:
                self.pending.append(payload)
            except ProduceError as error:
                self.failed[payload] = error
            else:
                self.acknowledged.append(payload)

    def _and_collect(self, producer: Producer, payloads: list[bytes]) -> None:
        handles: list[tuple[bytes, DeliveryHandle]] = []
        for payload in payloads:
            try:
                handles.append((payload, producer.produce_async(self._topic, payload)))
            except ProduceError as error:
                self.failed[payload] = error
        for payload, handle in handles:
            try:
                handle.result(PATIENT_MS / 1000 + 10)
            except DeliveryTimeoutError:
                self.pending.append(payload)
            except ProduceError as error:
                self.failed[payload] = error
            else:
                self.acknowledged.append(payload)


def assert_all_accounted_for(
    traffic: Traffic, cluster: KafkaCluster, topic: str
) -> None:
    """Acknowledged is stored exactly once, failed at most once, and nothing else."""
    assert traffic.surprises == [], f"{traffic.surprises!r}"
    assert traffic.pending == []
    acknowledged = set(traffic.acknowledged)
    assert len(acknowledged) == len(traffic.acknowledged)
    assert acknowledged.isdisjoint(traffic.failed)
    cluster.wait_until_leaders_agree(topic)
    stored = Counter(message.value() for message in cluster.read_topic(topic))
    lost = acknowledged - stored.keys()
    doubled = {payload for payload, count in stored.items() if count > 1}
    assert (lost, doubled) == (set(), set()), f"lost {lost}, doubled {doubled}"
    assert stored.keys() <= acknowledged | traffic.failed.keys()
    # confluent-kafka's close flushes, however long that takes: an idle client that
    # was closed with a message on its way would hang for as long as the fault.
    assert max(traffic.closes_ms) < 2_000
    for producer in traffic.producers:
        stats = producer.stats()
        assert stats.produced == stats.acknowledged + stats.failed
        assert stats.in_flight == 0
