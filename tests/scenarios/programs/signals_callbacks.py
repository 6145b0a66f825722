"""A timer's handler raises while the main thread serves reports that have callbacks."""

from __future__ import annotations

import random
import signal
from typing import Any

from tests.scenarios.kit import TOPIC, WORDS, eventually, make_producer, say

ROUNDS = int(WORDS[0])
RANDOM = random.Random(int(WORDS[1]))
SUBSCRIBED = WORDS[2:] == ["subscribed"]


class Interrupt(Exception):
    """The handler's: an `Exception`, as Celery's and RQ's are."""


ARMED = [False]
"""Whether the handler raises. A timer that is stopped as it fires is heard of later:
another thread may be given the signal."""


def on_signal(*_: object) -> None:
    """Raise, wherever the program is."""
    if ARMED[0]:
        raise Interrupt


def behind(error: BaseException) -> list[str]:
    """The types of what the exception hides or names as its reason."""
    found = []
    seen = error.__cause__ or error.__context__
    while seen is not None:
        found.append(type(seen).__name__)
        seen = seen.__cause__ or seen.__context__
    return found


class Rounds:
    """Messages with callbacks and futures, and waits that are interrupted."""

    def __init__(self) -> None:
        self.producer = make_producer()
        self.sent: list[Any] = []
        self.ran: list[Any] = []
        self.futures: list[Any] = []
        self.replaced: list[str] = []
        self.raised = 0

    def send(self) -> None:
        """Three messages."""
        for _ in range(3):
            handle = self.producer.produce_async(TOPIC, b"m")
            # Of C, so that no handler finds its way between its beginning and its end.
            handle.add_done_callback(self.ran.append)
            self.futures.append(handle.as_future())
            self.sent.append(handle)

    def wait(self) -> None:
        """In one of the ways there are, until it is over or interrupted."""
        waits = (
            lambda: self.sent[-1].result(5),
            lambda: self.producer.flush(5),
            lambda: self.producer.produce_sync(TOPIC, b"s", timeout=5),
        )
        try:
            ARMED[0] = True
            signal.setitimer(signal.ITIMER_REAL, RANDOM.uniform(2e-5, 8e-4))
            RANDOM.choice(waits)()
            ARMED[0] = False
        except Interrupt as error:
            ARMED[0] = False
            self.raised += 1
            if "SystemError" in behind(error):
                self.replaced.append(f"behind: {behind(error)}")
        except BaseException as error:  # noqa: BLE001 - told, and judged by the test
            ARMED[0] = False
            self.replaced.append(repr(error))
        signal.setitimer(signal.ITIMER_REAL, 0)


def main() -> None:
    """Whatever call is interrupted: each callback runs, once."""
    rounds = Rounds()
    sent, ran, producer = rounds.sent, rounds.ran, rounds.producer
    heard: list[Any] = []
    if SUBSCRIBED:
        producer.monitor.subscribe("message.acknowledged", heard.append)
    producer.produce_sync(TOPIC, b"first")
    signal.signal(signal.SIGALRM, on_signal)
    for _ in range(ROUNDS):
        rounds.send()
        rounds.wait()
    settled = eventually(lambda: all(handle.done() for handle in sent), 5)
    eventually(lambda: len(ran) >= len(sent), 3)
    eventually(lambda: all(future.done() for future in rounds.futures), 3)
    once = len(set(map(id, ran)))
    say(raised=rounds.raised, replaced=rounds.replaced, settled=settled)
    say(sent=len(sent), lost=len(sent) - once, twice=len(ran) - once)
    say(pending=sum(not future.done() for future in rounds.futures))
    acknowledged = producer.stats().acknowledged
    say(unheard=acknowledged - len(heard) if SUBSCRIBED else 0)
    left = producer.flush(5)
    eventually(lambda: producer.stats().in_flight == 0, 5)
    say(in_flight=producer.stats().in_flight, left=left)
    say(complete=producer.close(5).complete)


main()
