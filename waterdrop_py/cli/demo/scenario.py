"""What `waterdrop demo` does, step by step, and what it measures."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from waterdrop_py.cli.demo import baseline
from waterdrop_py.cli.demo.cluster import MESSAGE_SECONDS, Target
from waterdrop_py.cli.demo.producers import DemoProducer, EventQueue
from waterdrop_py.cli.demo.screen import Screen
from waterdrop_py.cli.demo.summary import Outcome
from waterdrop_py.cli.demo.usage import Resources, Usage

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from waterdrop_py.cli.demo.output import Output

NAMES: Final = ("orders", "payments", "emails", "audit", "clicks", "invoices")
IDLE_MS: Final = 1_500
"""Milliseconds. A Config allows 30 s and more, which is too long to watch."""
WOKEN_IDLE_MS: Final = 8
"""Milliseconds until the producer of the wake-ups is disconnected."""
PAUSE: Final = 0.012
"""Seconds after which it should be."""
BURST: Final = 12
"""Messages that each producer sends at a time."""
WAKE_UPS: Final = 100
WAKE_UP_SECONDS: Final = 4.0
"""Seconds for all wake-ups: a distant cluster gets fewer of them."""
GRACE: Final = 2.0
"""Seconds after the deadline of a disconnect until it has failed."""
BARE_SECONDS: Final = 10.0
"""Seconds for the process of the bare clients to start, which takes 0.5 s."""
TICK: Final = 0.01
"""Seconds between two refreshes of the screen."""


def play(target: Target, output: Output, stack: ExitStack) -> Outcome:
    """Show the scenario, and return what was measured.

    Blocks for 12 to 15 s. For the main thread of a process in which nothing else opens
    sockets meanwhile.
    """
    return Scenario(target, output, stack).run()


class Scenario:
    """The steps of the demo. They run in the calling thread."""

    def __init__(self, target: Target, output: Output, stack: ExitStack) -> None:
        self._target = target
        # In a process of their own; its pipes belong to what is held at the start.
        self._bare = baseline.BareProcess(target, len(NAMES))
        stack.callback(self._bare.close)
        self._news = EventQueue()
        self._usage = Usage()
        self._producers = [
            DemoProducer(name, target, IDLE_MS, self._news) for name in NAMES
        ]
        # Its events are not shown: it is measured, and has too many of them.
        self._woken = DemoProducer("wake-up", target, WOKEN_IDLE_MS, news=None)
        for each in (*self._producers, self._woken):
            stack.enter_context(each.producer)
        self._screen = Screen(
            output, self._producers, self._bare, self._usage, self._news
        )
        stack.callback(self._screen.stop)
        self._idle: list[Resources] = []
        self._bare_idle: Resources | None = None

    def run(self) -> Outcome:
        """Take all steps, and return what was measured."""
        n = len(self._producers)
        self._screen.title(f"{n} producers of each kind exist; none has sent")
        self._wait(0.6)
        self._wait(BARE_SECONDS, self._bare_has_told)
        self._screen.snapshot()
        self._open_one_by_one("one after another sends its first message")
        self._send_together("all send", 1.0)
        self._wait_until_idle()
        self._open_one_by_one("they wake up, one after another, and send")
        self._send_together("all send", 0.4)
        self._wait_until_idle()
        wake_up, fresh = self._measure_wake_ups()
        self._screen.title("reading the topic back")
        everyone = [*self._producers, self._woken]
        return Outcome(
            sent=[payload for each in everyone for payload in each.sent],
            acknowledged=sum(one.producer.stats().acknowledged for one in everyone),
            read_back=self._read_back(),
            idle=self._most_held_idle(),
            late_ms=[late for each in self._producers for late in each.late_ms],
            producers=n,
            bare=self._bare_idle,
            wake_up_ms=wake_up,
            fresh_ms=fresh,
            seconds=self._news.seconds(),
        )

    def _bare_has_told(self) -> bool:
        return self._bare.acknowledged is not None or self._bare.ended

    def _open_one_by_one(self, title: str) -> None:
        """Each producer in turn sends to every partition, and so connects."""
        self._screen.title(title)
        for count, each in enumerate(self._producers):
            for partition in range(self._target.partitions):
                self._bare.deliver(count, partition)
                each.deliver(partition)
            for number, earlier in enumerate(self._producers[:count]):
                earlier.send(1)  # so that none becomes idle before the last is open
                self._bare.send(number, 1)
            self._wait(0.12)
        self._screen.snapshot()

    def _send_together(self, title: str, seconds: float) -> None:
        """All send. They stop one after another, so that their deadlines differ."""
        self._screen.title(title)
        stop = time.monotonic() + seconds
        stops = [stop + 0.1 * number for number in range(len(self._producers))]
        while time.monotonic() < stops[-1]:
            for number, each in enumerate(self._producers):
                # No backlog at a slow cluster.
                if time.monotonic() < stops[number] and len(each.producer) < BURST:
                    each.send(BURST)
                    self._bare.send(number, BURST)
            self._wait(0.04)

    def _wait_until_idle(self) -> None:
        """Wait until all are disconnected, and then measure what the process holds."""
        self._screen.title(f"silence: ours disconnect after {IDLE_MS} ms")
        self._screen.snapshot()
        # A deadline counts from the last report.
        self._wait(
            MESSAGE_SECONDS, lambda: not any(len(p.producer) for p in self._producers)
        )
        self._wait(
            IDLE_MS / 1000 + GRACE, lambda: all(p.is_idle for p in self._producers)
        )
        self._wait(0.05)  # for the event of the last close
        self._screen.title("idle")
        self._screen.snapshot()
        self._bare_idle = self._bare.held
        for _ in range(10):
            held = self._usage.above_baseline()
            if held is not None:
                self._idle.append(held)
            self._wait(0.08)

    def _measure_wake_ups(self) -> tuple[list[float], list[float]]:
        """Milliseconds of first deliveries: disconnected producer, new bare clients."""
        self._screen.title(f"how long does a wake-up take? Up to {WAKE_UPS} times")
        self._woken.deliver(0)
        baseline.first_delivery_ms(self._target)
        wake_up: list[float] = []
        fresh: list[float] = []
        stop = time.monotonic() + WAKE_UP_SECONDS
        while len(wake_up) < WAKE_UPS and time.monotonic() < stop:
            self._wait_for_disconnect()
            started = time.perf_counter()
            self._woken.deliver(0)
            wake_up.append((time.perf_counter() - started) * 1000)
            self._wait_for_disconnect()
            fresh.append(baseline.first_delivery_ms(self._target))
        return wake_up, fresh

    def _wait_for_disconnect(self) -> None:
        """Wait until the producer of the wake-ups is disconnected."""
        self._wait(PAUSE)
        if not self._wait(GRACE, lambda: self._woken.is_idle):
            raise TimeoutError(f"still connected {GRACE:g} s after it became idle")

    def _read_back(self) -> list[bytes]:
        messages = self._target.read_back()
        return [m.value() or b"" for m in messages if m.key() != baseline.KEY]

    def _most_held_idle(self) -> Resources | None:
        if not self._idle:
            return None
        return Resources(*(max(figures) for figures in zip(*self._idle, strict=True)))

    def _wait(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Refresh the screen for `seconds`, or until `until()`; returns the latter."""
        stop = time.monotonic() + seconds
        while not (met := until()) and time.monotonic() < stop:
            self._screen.refresh()
            time.sleep(min(TICK, max(0.0, stop - time.monotonic())))
        return met
