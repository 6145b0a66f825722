"""What `waterdrop demo --pool` does, step by step, and what it measures."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

from waterdrop_py import pools
from waterdrop_py.cli.demo.pool_summary import PoolOutcome
from waterdrop_py.cli.demo.pool_users import (
    CLOSE_MS,
    IDLE_MS,
    LIBRARIES,
    SIZE,
    TENANTS,
    Libraries,
    Service,
    Tenants,
    Threads,
)
from waterdrop_py.cli.demo.usage import Resources, Usage

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from waterdrop_py.cli.demo.cluster import Target
    from waterdrop_py.cli.demo.output import Output
    from waterdrop_py.cli.demo.pool_users import User

BURST_SECONDS: Final = 2.0
PAUSE: Final = 0.02
"""Seconds between two sends of a thread."""
GRACE: Final = 2.0
"""Seconds after the deadline of a disconnect until it has failed."""
TICK: Final = 0.02
ASLEEP_SECONDS: Final = IDLE_MS / 1000 + GRACE
_OPEN: Final = ("#", "green")
_ASLEEP: Final = (".", "cyan")
LEGEND: Final = "# a client is open; . none is, and nothing is held"
HEADER: Final = (
    f"{'':10}{'clients':<{TENANTS}}  {'open':>4}  {'sockets':>7}  {'sent':>6}"
)


def play(target: Target, output: Output, stack: ExitStack) -> PoolOutcome:
    """Show the scenario, and return what was measured.

    Blocks for 14 to 18 s. For the main thread of a process in which nothing else opens
    sockets meanwhile.
    """
    return PoolScenario(target, output, stack).run()


class PoolScenario:
    """The three users of pools, one after another."""

    def __init__(self, target: Target, output: Output, stack: ExitStack) -> None:
        self._target = target
        self._output = output
        self._usage = Usage()
        self._started = time.monotonic()
        self._service = Service(target)
        self._libraries = Libraries(target)
        self._tenants = Tenants(target)
        stack.callback(pools.reset, CLOSE_MS / 1000)
        stack.enter_context(self._service.pool)

    def run(self) -> PoolOutcome:
        """Let all three work, and return what was measured."""
        self._output.say(LEGEND)
        service = self._serve()
        self._share()
        tenants = self._host()
        end = self._usage.above_baseline()
        self._output.say("\nreading the topic back", "bold")
        users: list[User] = [self._service, self._libraries, self._tenants]
        stats = [pool.stats() for user in users for pool in user.pools]
        return PoolOutcome(
            sent=[payload for user in users for payload in user.sent],
            acknowledged=sum(each.acknowledged for each in stats),
            read_back=[m.value() or b"" for m in self._target.read_back()],
            size=SIZE,
            **service._asdict(),
            libraries=len(LIBRARIES),
            library_pools=len(self._libraries.pools),
            library_opens=self._libraries.opens,
            tenants=TENANTS,
            tenant_pools=len(self._tenants.pools),
            tenants_held=tenants,
            idle=end,
            seconds=time.monotonic() - self._started,
        )

    # -- the three users ---------------------------------------------------

    def _serve(self) -> _Service:
        """A burst over the whole pool; then slot 0 works on, and the tail is idle."""
        service = self._service
        self._title(
            f"1. A service: {SIZE} transactions at a time, in a pool of {SIZE}",
            "with pool.transaction() as producer: ...",
        )
        with Threads([service.transact] * SIZE, PAUSE) as threads:
            self._watch(BURST_SECONDS, service, threads)
            burst = self._usage.above_baseline()
        self._title(
            f"the burst is over, slot 0 works on; slots 1 to {SIZE - 1} fall asleep "
            f"after {IDLE_MS} ms"
        )
        with Threads([service.transact], PAUSE) as threads:
            self._watch(
                ASLEEP_SECONDS,
                service,
                threads,
                until=lambda: not any(service.is_open[1:]),
            )
            self._watch(2.0, service, threads)
        asleep = service.is_open[1:].count(False)
        both = self._usage.above_baseline()
        self._wait(GRACE, self._disconnect_slot_0)
        tail = self._usage.above_baseline()
        return _Service(burst, _minus(both, tail), tail, asleep)

    def _disconnect_slot_0(self) -> bool:
        with self._service.pool.acquire() as producer:
            return producer.disconnect() or not producer.is_connected

    def _share(self) -> None:
        """Two libraries send through one pool, because their configs are equal."""
        libraries = self._libraries
        self._title(
            f"2. Libraries in one process: {' and '.join(LIBRARIES)} look up equal "
            "configs",
            "with pools.producers[config].acquire() as producer: ...",
        )
        with Threads(libraries.sends, PAUSE) as threads:
            self._watch(1.2, libraries, threads)
        self._sleep(libraries)

    def _host(self) -> Resources | None:
        """Tenants send; then all are idle. Returns what was held while they sent."""
        tenants = self._tenants
        self._title(
            f"3. {TENANTS} tenants, each with a config of its own",
            "with pools.producers[tenant.config].acquire() as producer: ...",
        )
        with Threads(tenants.sends, PAUSE) as threads:
            self._watch(2.0, tenants, threads)
            held = self._usage.above_baseline()
        self._sleep(tenants)
        return held

    # -- what is shown -----------------------------------------------------

    def _sleep(self, user: User) -> None:
        """Wait until all of its pools are asleep."""
        self._watch(ASLEEP_SECONDS, user, until=lambda: not any(user.is_open))
        self._wait(0.1)  # for what the last close leaves
        self._row(user)

    def _title(self, title: str, code: str = "") -> None:
        self._output.say(f"\n{title}", "bold")
        if code:
            self._output.say(f"   {code}", "italic")
        self._output.say(HEADER, "dim")

    def _watch(
        self,
        seconds: float,
        user: User,
        threads: Threads | None = None,
        until: Callable[[], bool] = lambda: False,
    ) -> None:
        """Print a row each second, for `seconds`, or until `until()`."""
        began = printed = time.monotonic()
        self._row(user)
        while time.monotonic() - began < seconds and not until():
            if threads is not None:
                threads.check()
            if time.monotonic() - printed >= 1.0:
                printed += 1.0
                self._row(user)
            time.sleep(TICK)

    def _wait(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        stop = time.monotonic() + seconds
        while not until() and time.monotonic() < stop:
            time.sleep(TICK)

    def _row(self, user: User) -> None:
        held, is_open = self._usage.above_baseline(), user.is_open
        sockets = "-" if held is None else str(held.sockets)
        space = " " * (TENANTS - len(is_open))
        figures = f"  {sum(is_open):>4}  {sockets:>7}  {len(user.sent):>6}"
        self._output.line(
            [
                (f"{time.monotonic() - self._started:6.2f} s  ", ""),
                *(_OPEN if each else _ASLEEP for each in is_open),
                (space + figures, ""),
            ]
        )


class _Service(NamedTuple):
    """What was held in the burst, then by slot 0, and beside it, and how many slots of
    the tail were asleep."""

    burst: Resources | None
    slot_0: Resources | None
    tail: Resources | None
    tail_asleep: int


def _minus(both: Resources | None, part: Resources | None) -> Resources | None:
    if both is None or part is None:
        return None
    return Resources(*(a - b for a, b in zip(both, part, strict=True)))
