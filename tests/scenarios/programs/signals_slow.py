"""A signal handler that takes longer than what is left of the wait it interrupts."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.scenarios.kit import TOPIC, make_producer, say
from waterdrop_py.errors import WaterdropError

if TYPE_CHECKING:
    from collections.abc import Callable

WAIT, AFTER, HANDLER = 0.3, 0.1, 0.6


def on_signal(*_: object) -> None:
    """Take longer than any wait, and than the library's own looks every 0.5 s."""
    time.sleep(HANDLER)


def timed(call: Callable[[], object]) -> float:
    """How many seconds the call takes, interrupted once."""
    started = time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, AFTER)
    with suppress(WaterdropError):
        call()
    return time.monotonic() - started


def main() -> None:
    """No broker answers; another thread serves the reports, so this one is rung."""
    signal.signal(signal.SIGALRM, on_signal)
    producer = make_producer()
    handle = producer.produce_async(TOPIC, b"x")

    def serve() -> None:
        with suppress(WaterdropError):
            handle.exception(30)

    threading.Thread(target=serve, daemon=True).start()
    time.sleep(0.2)
    calls = {
        "exception": lambda: handle.exception(WAIT),
        "produce_sync": lambda: producer.produce_sync(TOPIC, b"y", timeout=WAIT),
        "flush": lambda: producer.flush(WAIT),
        "connect": lambda: producer.connect(WAIT),
        "disconnect": producer.disconnect,
        "close": lambda: producer.close(WAIT),
    }
    say(took={name: timed(call) for name, call in calls.items()})


main()
