"""The wall clock jumps by days, a hundred times a second, all the while."""

from __future__ import annotations

import itertools
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DAY_S = 86_400
OFFSETS = itertools.cycle([DAY_S, -DAY_S, 0, 40 * DAY_S, -40 * DAY_S])
OVER = threading.Event()
JUMPS = [0.0]
_time, _time_ns, _gettime = time.time, time.time_ns, time.clock_gettime


def gettime(clock: int) -> float:
    """Every reading of the wall clock is of another day; the other clocks are right."""
    return _gettime(clock) + (JUMPS[-1] if clock == time.CLOCK_REALTIME else 0.0)


def jump_on() -> None:
    """Until the program is over."""
    while not OVER.wait(0.01):
        JUMPS.append(next(OFFSETS))


# Before the library is imported, so that it cannot have kept the right ones.
time.time = lambda: _time() + JUMPS[-1]
time.time_ns = lambda: _time_ns() + int(JUMPS[-1]) * 10**9
time.clock_gettime = gettime

from tests.scenarios.kit import (  # noqa: E402
    TOPIC,
    WORDS,
    eventually,
    make_producer,
    say,
)

DEAD = WORDS[0]
IDLE_S = 0.4


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes, whether or not it raises."""
    started = time.monotonic()
    try:
        call()
    except Exception as error:  # noqa: BLE001 - which one, is part of what is told
        say(error=type(error).__name__)
    return time.monotonic() - started


def main() -> None:
    """Idle deadlines, bounds of waits and the close."""
    threading.Thread(target=jump_on, daemon=True).start()
    producer = make_producer(idle_disconnect_timeout=int(IDLE_S * 1000))
    closed_after = []
    for number in range(3):
        sent = time.monotonic()
        producer.produce_sync(TOPIC, f"m{number}".encode())
        assert eventually(lambda: not producer.is_connected, 3)
        closed_after.append(time.monotonic() - sent)
    say(closed_after=closed_after, opens=producer.stats().opens)
    say(complete=producer.close(5).complete)

    lost = make_producer(DEAD, max_wait_timeout=180_000)
    handle = lost.produce_async(TOPIC, b"lost")
    say(
        result_s=seconds(lambda: handle.result(0.4)),
        produce_s=seconds(lambda: lost.produce_sync(TOPIC, b"lost", timeout=0.4)),
        flush_s=seconds(lambda: lost.flush(0.4)),
        close_s=seconds(lambda: lost.close(0.4)),
        jumps=len(JUMPS),
    )
    OVER.set()


main()
