"""Checks that sends around the idle deadline are neither lost nor sent twice."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from benchmarks import clients
from benchmarks.rows import Row, absolute, at_least, at_most
from waterdrop_py.testing.reading import read_topic

if TYPE_CHECKING:
    from benchmarks.setting import Setting
    from waterdrop_py import DeliveryHandle, Producer

THREADS = 8
IDLE_MS = 50
EARLY_SECONDS = 0.0015
LATE_SECONDS = 0.005
"""Seconds before and after the deadline between which the threads send again."""
APART_SECONDS = 0.0008
"""Seconds that a thread sends at most before or after the others."""
READ_SECONDS = 60.0
DISCONNECTS_PER_SECOND = 200 / 30
"""Idle disconnects that a run must reach, so that it tests what it should."""


def run(setting: Setting) -> list[Row]:
    """Send messages with different payloads around the deadline, and read them back."""
    topic = clients.new_topic()
    seconds = setting.pick(30.0, 3.0)
    with clients.ours(setting.broker, idle_ms=IDLE_MS, linger_ms=0) as producer:
        hammer = Hammer(producer, topic, seconds)
        hammer.run()
        stats = producer.stats()
    servers = setting.broker.properties["bootstrap.servers"]
    read = Counter(
        message.value() for message in read_topic(servers, topic, timeout=READ_SECONDS)
    )
    sent = {payload for payload, _ in hammer.sent}
    known = {each for each, handle in hammer.sent if handle.exception(0) is None}
    lost = len(sent - known) + len(sent - read.keys())
    twice = sum(read.values()) - len(read)
    what = f"{THREADS} threads around an idle timeout"
    return [
        absolute(
            f"{what}: lost or sent twice",
            lost + twice,
            unit="",
            n=len(sent),
            must=at_most(0),
            note=f"{len(sent)} sent, {len(known)} acknowledged, {len(read)} read back",
        ),
        absolute(
            f"{what}: exceptions",
            len(hammer.errors),
            unit="",
            n=len(sent),
            must=at_most(0),
            note="; ".join(sorted({repr(error)[:80] for error in hammer.errors})),
        ),
        absolute(
            f"{what}: idle disconnects in {seconds:g} s",
            stats.disconnects.get("idle", 0),
            unit="",
            n=1,
            must=at_least(round(DISCONNECTS_PER_SECOND * seconds)),
            note=f"{stats.opens} clients opened",
        ),
    ]


class Hammer:
    """Threads that pause together and send again around the idle deadline.

    The barrier makes all threads pause together, because the client is due only if none
    sends. Then all send again near the deadline: before, while or after the client is
    disconnected.
    """

    def __init__(self, producer: Producer, topic: str, seconds: float) -> None:
        self.sent: list[tuple[bytes, DeliveryHandle]] = []
        self.errors: list[BaseException] = []
        self._producer = producer
        self._topic = topic
        self._ends = time.perf_counter() + seconds
        self._running = True
        self._rng = random.Random(THREADS)
        self._pause = 0.0
        self._barrier = threading.Barrier(THREADS, self._choose_pause)

    def run(self) -> None:
        """Send until the time is over, and wait until every message has an outcome."""
        threads = [
            threading.Thread(target=self._thread, args=(number,))
            for number in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._producer.flush(clients.BOUND_SECONDS)

    def _choose_pause(self) -> None:
        self._running = time.perf_counter() < self._ends
        around = self._rng.uniform(-EARLY_SECONDS, LATE_SECONDS)
        self._pause = IDLE_MS / 1000 + around

    def _thread(self, number: int) -> None:
        rng = random.Random(number)
        turn = 0
        while self._running:
            try:
                for _ in range(rng.randint(1, 3)):
                    self._send(b"%d-%d" % (number, turn), wait=rng.random() < 0.5)
                    turn += 1
            except Exception as error:  # noqa: BLE001 - counted, and shown in a row
                self.errors.append(error)
            self._barrier.wait(clients.BOUND_SECONDS)
            apart = rng.uniform(-APART_SECONDS, APART_SECONDS)
            time.sleep(self._pause + apart)

    def _send(self, payload: bytes, *, wait: bool) -> None:
        handle = self._producer.produce_async(self._topic, payload)
        self.sent.append((payload, handle))
        if wait:
            handle.result(clients.BOUND_SECONDS)
