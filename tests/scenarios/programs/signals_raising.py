"""A signal handler raises at random moments, wherever that is."""

from __future__ import annotations

import random
import signal
import time
from typing import Any

# The first `connect` would: an import ends in the callback of a weak reference, and
# what a handler raises in there Python prints, and goes on.
import confluent_kafka.admin  # noqa: F401

from tests.scenarios.kit import TOPIC, WORDS, eventually, make_producer, say

SECONDS = float(WORDS[0])
RANDOM = random.Random(int(WORDS[1]))


class Interrupt(KeyboardInterrupt):
    """The handler's."""


ARMED = [False]
"""Whether the handler raises. A timer that is stopped as it fires is heard of later:
another thread may be given the signal."""


def on_signal(*_: object) -> None:
    """Raise, wherever the program is."""
    if ARMED[0]:
        raise Interrupt


def main() -> None:  # noqa: PLR0915 - one story
    """Whatever was torn: later calls work, nothing is stuck, and all is accounted."""
    producer = make_producer(idle_disconnect_timeout=30_000)
    handles: list[Any] = []
    calls = (
        lambda: handles.append(producer.produce_async(TOPIC, b"m")),
        lambda: handles.append(producer.produce_async(TOPIC, b"m")),
        lambda: producer.produce_sync(TOPIC, b"sync", timeout=5),
        lambda: producer.flush(5),
        producer.disconnect,
        lambda: handles[-1].result(5) if handles else None,
        lambda: producer.connect(5),
        producer.stats,
    )
    signal.signal(signal.SIGALRM, on_signal)
    end = time.monotonic() + SECONDS
    raised, slow = 0, 0.0
    replaced: list[str] = []
    while time.monotonic() < end:
        started = time.monotonic()
        try:
            ARMED[0] = True
            signal.setitimer(signal.ITIMER_REAL, RANDOM.uniform(0.000_02, 0.002))
            for _ in range(3):
                RANDOM.choice(calls)()
            ARMED[0] = False
        except KeyboardInterrupt:
            ARMED[0] = False
            raised += 1
        except Exception as error:  # noqa: BLE001 - told, and judged by the test
            ARMED[0] = False
            # confluent-kafka answers some with an error of its own.
            replaced.append(repr(error))
        signal.setitimer(signal.ITIMER_REAL, 0)
        slow = max(slow, time.monotonic() - started)
    signal.setitimer(signal.ITIMER_REAL, 0)
    settled = eventually(lambda: all(handle.done() for handle in handles), 10)
    left = producer.flush(5)
    producer.produce_sync(TOPIC, b"after", timeout=5)
    idle = eventually(lambda: producer.stats().in_flight == 0, 5)
    reasons = [reason.code for reason in producer.explain_idle().reasons]
    disconnected = eventually(producer.disconnect, 5)
    say(replaced=replaced)
    say(raised=raised, slowest=slow, settled=settled, left=left, idle=idle)
    say(sent=len(handles), reasons=reasons, disconnected=disconnected)
    producer.produce_sync(TOPIC, b"last", timeout=5)
    started = time.monotonic()
    report = producer.close(5)
    say(complete=report.complete, close_s=time.monotonic() - started)


main()
