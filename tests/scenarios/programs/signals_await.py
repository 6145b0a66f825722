"""Another thread awaits handles while the waits of the main thread are interrupted."""

from __future__ import annotations

import asyncio
import random
import signal
import threading
import time
from typing import Any

from tests.scenarios.kit import TOPIC, WORDS, make_producer, say

SECONDS = float(WORDS[0])
RANDOM = random.Random(int(WORDS[1]))
HANGS = 3.0


class Interrupt(BaseException):
    """The handler's."""


ARMED = [False]
"""Whether the handler raises. A timer that is stopped as it fires is heard of later:
another thread may be given the signal."""


def on_signal(*_: object) -> None:
    """Raise, wherever the program is."""
    if ARMED[0]:
        raise Interrupt


class Awaiter:
    """A loop in a thread of its own, that awaits one message after another."""

    def __init__(self, producer: Any) -> None:
        self.over = False
        self.awaited = 0
        self.hung: list[bool] = []
        self._producer = producer
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()

    async def _run(self) -> None:
        while not self.over:
            handles = [self._producer.produce_async(TOPIC, b"a") for _ in range(5)]
            for handle in handles:
                try:
                    await asyncio.wait_for(_wait(handle), HANGS)
                    self.awaited += 1
                except (TimeoutError, asyncio.TimeoutError):
                    self.hung.append(handle.done())

    def join(self) -> bool:
        """End it; whether it ended."""
        self.over = True
        self._thread.join(5 * HANGS + 5)
        return not self._thread.is_alive()


async def _wait(handle: Any) -> None:
    await handle


def main() -> None:
    """No await hangs, whatever was interrupted."""
    producer = make_producer()
    producer.produce_sync(TOPIC, b"first")
    signal.signal(signal.SIGALRM, on_signal)
    awaiter = Awaiter(producer)
    raised = 0
    replaced: list[str] = []
    waits = (
        lambda: producer.produce_sync(TOPIC, b"s", timeout=5),
        lambda: producer.produce_async(TOPIC, b"r").result(5),
        lambda: producer.flush(0.05),
    )
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            ARMED[0] = True
            signal.setitimer(signal.ITIMER_REAL, RANDOM.uniform(2e-5, 8e-4))
            RANDOM.choice(waits)()
            ARMED[0] = False
        except Interrupt:
            ARMED[0] = False
            raised += 1
        except BaseException as error:  # noqa: BLE001 - told, and judged by the test
            ARMED[0] = False
            replaced.append(repr(error))
        signal.setitimer(signal.ITIMER_REAL, 0)
    ended = awaiter.join()
    say(raised=raised, replaced=replaced, awaited=awaiter.awaited)
    say(hung=len(awaiter.hung), hung_though_done=sum(awaiter.hung), ended=ended)
    say(left=producer.flush(5), complete=producer.close(5).complete)


main()
