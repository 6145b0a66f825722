"""A timer's handler raises while messages with headers are sent."""

from __future__ import annotations

import random
import signal
from collections import Counter
from typing import TYPE_CHECKING

from tests.scenarios.kit import TOPIC, WORDS, make_producer, say

if TYPE_CHECKING:
    from waterdrop_py import Producer

ROUNDS = int(WORDS[0])
RANDOM = random.Random(int(WORDS[1]))
HEADERS = {f"name-{number}": b"value" for number in range(10)}


class Interrupt(Exception):
    """The handler's: an `Exception`, as Celery's and RQ's are."""


ARMED = [False]
"""Whether the handler raises. A timer that is stopped as it fires is heard of later:
another thread may be given the signal."""


def on_signal(*_: object) -> None:
    """Raise, wherever the program is."""
    if ARMED[0]:
        raise Interrupt


def send_until_interrupted(producer: Producer) -> None:
    """Messages with ten headers, one after another."""
    ARMED[0] = True
    signal.setitimer(signal.ITIMER_REAL, RANDOM.uniform(2e-5, 2e-4))
    for _ in range(1_000):
        producer.produce_async(TOPIC, b"m", headers=HEADERS)
    ARMED[0] = False


def main() -> None:
    """What comes out of the verb is the handler's exception, and no other."""
    producer = make_producer()
    producer.produce_sync(TOPIC, b"first")
    signal.signal(signal.SIGALRM, on_signal)
    others: Counter[str] = Counter()
    raised = 0
    for number in range(ROUNDS):
        try:
            send_until_interrupted(producer)
        except Interrupt as error:
            ARMED[0] = False
            raised += 1
            if isinstance(
                error.__context__ or error.__cause__, SystemError | TypeError
            ):
                others[f"behind: {error.__context__!r} {error.__cause__!r}"] += 1
        except BaseException as error:  # noqa: BLE001 - told, and judged by the test
            ARMED[0] = False
            others[repr(error)] += 1
        if not number % 100:
            producer.flush(5)
    left = producer.flush(10)
    say(raised=raised, others=dict(others), left=left)
    say(in_flight=producer.stats().in_flight)
    say(complete=producer.close(10).complete)


main()
