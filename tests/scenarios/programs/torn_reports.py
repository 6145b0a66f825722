"""A timer's handler raises while the main thread serves reports."""

from __future__ import annotations

import random
import signal

from tests.scenarios.kit import TOPIC, make_producer, say

RANDOM = random.Random(7)


class Interrupt(BaseException):
    """The handler's."""


ENOUGH = 250
MOST = 20_000
"""Messages: how many are interrupted depends on how fast they are."""

ARMED = [False]
"""Whether the handler raises. A timer that is stopped as it fires is heard of later:
another thread may be given the signal."""


def on_signal(*_: object) -> None:
    """Raise, wherever the program is."""
    if ARMED[0]:
        raise Interrupt


def main() -> None:
    """Every report has its outcome, whatever call it was served in."""
    producer = make_producer()
    producer.produce_sync(TOPIC, b"x")
    signal.signal(signal.SIGALRM, on_signal)
    raised = number = 0
    while raised < ENOUGH and number < MOST:
        number += 1
        try:
            ARMED[0] = True
            signal.setitimer(signal.ITIMER_REAL, RANDOM.uniform(5e-5, 1.2e-3))
            producer.produce_sync(TOPIC, b"x", partition=number % 3, timeout=1)
            ARMED[0] = False
        except Interrupt:
            ARMED[0] = False
            raised += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
    producer.flush(5)
    stats = producer.stats()
    say(raised=raised, failed=stats.failed, in_flight=stats.in_flight)
    producer.close()


main()
