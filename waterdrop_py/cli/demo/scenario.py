"""`waterdrop demo`: the main job, live, measured, and checked by reading it back."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaException

from waterdrop_py.cli.demo import baseline
from waterdrop_py.cli.demo.cluster import MESSAGE_SECONDS, Stage, open_stage
from waterdrop_py.cli.demo.interrupts import Interrupts
from waterdrop_py.cli.demo.producers import News, Player
from waterdrop_py.cli.demo.screen import Scene, Screen, has_terminal, open_screen
from waterdrop_py.cli.demo.summary import Outcome, conclusion, problems, report
from waterdrop_py.cli.demo.usage import Holding, Holdings
from waterdrop_py.errors import WaterdropError
from waterdrop_py.testing import read_topic

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES: Final = ("orders", "payments", "emails", "audit", "clicks", "invoices")
IDLE_MS: Final = 1_500
"""Shorter than the 30 s that a Config allows: nobody wants to watch for so long."""
SPRINT_IDLE_MS: Final = 8
REST: Final = 0.012
BURST: Final = 12
WAKE_UPS: Final = 100
WAKE_UP_SECONDS: Final = 4.0
"""A cluster far away gets fewer wake-ups instead of a longer demo."""
PATIENCE: Final = 2.0
"""Seconds beyond the deadline after which a client that is still open has stayed."""
TICK: Final = 0.01


def demo(bootstrap_servers: str | None) -> int:
    """Play the demo; 0, or 1 when something was lost, doubled, or stayed open.

    Blocks for 12 to 15 s. To be called in the main thread of a process in which
    nothing else opens sockets meanwhile. Raises `KeyboardInterrupt` once everything
    is closed.
    """
    news = News()
    try:
        with ExitStack() as stack:
            stage = stack.enter_context(open_stage(bootstrap_servers, _say))
            print(f"on {stage.what}\ntopic {stage.topic}", flush=True)
            interrupts = stack.enter_context(Interrupts())
            outcome = Play(stage, news, interrupts, stack).run()
    except (WaterdropError, KafkaException, TimeoutError, RuntimeError) as error:
        print(f"waterdrop: {error}", file=sys.stderr)
        return 1
    _tell(outcome)
    return 1 if problems(outcome) else 0


def _say(sentence: str) -> None:
    print(f"waterdrop: {sentence}", file=sys.stderr, flush=True)


def _tell(outcome: Outcome) -> None:
    print()
    for line in report(outcome):
        print(line)
    verdict = conclusion(outcome)
    if has_terminal():
        from rich.console import Console

        style = "bold red" if problems(outcome) else "bold green"
        Console(highlight=False).print(verdict, style=style)
    else:
        print(verdict)


class Play:
    """The story. Everything runs in the calling thread but the library's own work."""

    def __init__(
        self, stage: Stage, news: News, interrupts: Interrupts, stack: ExitStack
    ) -> None:
        self._stage = stage
        self._interrupts = interrupts
        self._news = news
        self._holdings = Holdings()
        self._players = [Player(name, stage, IDLE_MS, news) for name in NAMES]
        # Measured, so nobody listens: its events would drown the others' besides.
        self._sprinter = Player("sprinter", stage, SPRINT_IDLE_MS, news=None)
        for player in (*self._players, self._sprinter):
            stack.enter_context(player.producer)
        scene = Scene(self._players, self._holdings, news)
        self._screen: Screen = stack.enter_context(open_screen(scene))
        self._idle: list[Holding] = []

    def run(self) -> Outcome:
        """Play it, and measure."""
        n = len(self._players)
        self._screen.chapter(f"{n} producers exist; nothing is open")
        self._screen.snapshot()
        self._wait(0.6)
        self._enter("one after another opens its client and sends")
        self._talk("all send", 1.0)
        self._fall_idle()
        self._enter("they wake up, one after another, and send again")
        self._talk("all send", 0.4)
        self._fall_idle()
        wake_up, fresh = self._measure_wake_ups()
        self._screen.chapter(f"{n} bare clients, to compare: send, then idle")
        bare = baseline.held_while_idle(self._stage, n, self._holdings, self._wait)
        self._screen.chapter("reading the topic back")
        everybody = [*self._players, self._sprinter]
        return Outcome(
            sent=[payload for each in everybody for payload in each.sent],
            acknowledged=sum(e.producer.stats().acknowledged for e in everybody),
            read_back=self._read_back(),
            idle=self._most_held_idle(),
            late_ms=[late for each in self._players for late in each.late_ms],
            producers=n,
            bare=bare,
            wake_up_ms=wake_up,
            fresh_ms=fresh,
            seconds=self._news.seconds(),
        )

    def _enter(self, title: str) -> None:
        """Everybody sends to each partition, alone, so that what opens is theirs."""
        self._screen.chapter(title)
        for count, player in enumerate(self._players):
            for partition in range(self._stage.partitions):
                player.deliver(partition)
            for earlier in self._players[:count]:
                earlier.send(1)  # so that none falls idle before the last is there
            self._wait(0.12)
            self._holdings.give(player.name)
        self._screen.snapshot()

    def _talk(self, title: str, seconds: float) -> None:
        """Everybody sends; they stop one after another, and so do their deadlines."""
        self._screen.chapter(title)
        stop = time.monotonic() + seconds
        stops = {each: stop + 0.1 * n for n, each in enumerate(self._players)}
        while stops:
            for player in tuple(stops):
                if len(player.producer) < BURST:  # a slow cluster gets no backlog
                    player.send(BURST)
                if time.monotonic() > stops[player]:
                    del stops[player]
            self._wait(0.04)

    def _fall_idle(self) -> None:
        """Wait until each is disconnected, and then look at what is held."""
        self._screen.chapter(
            f"silence: each is disconnected after {IDLE_MS} ms without activity"
        )
        self._screen.snapshot()
        # The deadlines start from the last report; each is there when its time is up.
        self._wait(
            MESSAGE_SECONDS, lambda: not any(len(p.producer) for p in self._players)
        )
        self._wait(
            IDLE_MS / 1000 + PATIENCE, lambda: all(p.is_idle for p in self._players)
        )
        self._wait(0.05)  # the last event comes after the last close
        self._screen.chapter("idle")
        self._screen.snapshot()
        for _ in range(10):
            held = self._holdings.above_baseline()
            if held is not None:
                self._idle.append(held)
            self._wait(0.08)

    def _measure_wake_ups(self) -> tuple[list[float], list[float]]:
        """First deliveries of a producer after idleness, and of new bare clients."""
        self._screen.chapter(
            f"how long does waking up take? {WAKE_UPS} times, in turns"
        )
        self._sprinter.deliver(0)
        baseline.first_delivery_ms(self._stage)
        wake_up: list[float] = []
        fresh: list[float] = []
        stop = time.monotonic() + WAKE_UP_SECONDS
        while len(wake_up) < WAKE_UPS and time.monotonic() < stop:
            self._rest()
            started = time.perf_counter()
            self._sprinter.deliver(0)
            wake_up.append((time.perf_counter() - started) * 1000)
            self._rest()
            fresh.append(baseline.first_delivery_ms(self._stage))
        return wake_up, fresh

    def _rest(self) -> None:
        """Until the sprinter is disconnected: what is measured next starts cold."""
        self._wait(REST)
        if not self._wait(PATIENCE, lambda: self._sprinter.is_idle):
            raise TimeoutError(f"still connected {PATIENCE:g} s after it fell idle")

    def _read_back(self) -> list[bytes]:
        messages = read_topic(self._stage.bootstrap_servers, self._stage.topic)
        return [m.value() or b"" for m in messages if m.key() != baseline.KEY]

    def _most_held_idle(self) -> Holding | None:
        if not self._idle:
            return None
        return Holding(*(max(figures) for figures in zip(*self._idle, strict=True)))

    def _wait(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass on the screen; whether `until` came true before it was up."""
        stop = time.monotonic() + seconds
        while not (met := until()) and time.monotonic() < stop:
            self._interrupts.check()
            self._screen.refresh()
            time.sleep(min(TICK, max(0.0, stop - time.monotonic())))
        return met
