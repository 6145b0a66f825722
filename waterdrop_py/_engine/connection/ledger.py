"""Figures of a producer that outlive its clients."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count, starmap
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

from waterdrop_py._engine.client.tally import Tally
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.counter import peek
from waterdrop_py._engine.concurrency.exact import exact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from waterdrop_py._engine.client.client import Client

_ONCE: Final = ((),)
_MOST_SERVERS: Final = 100
"""Clusters of which it is remembered what a disconnect released."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What was not held, because there was no client: each is a number times seconds.

    Attributes:
        connection_s: connections to brokers.
        thread_s: librdkafka's threads.
        descriptor_s: descriptors of every kind, the connections' included.
    """

    connection_s: float = 0.0
    thread_s: float = 0.0
    descriptor_s: float = 0.0

    def __add__(self, other: Saved) -> Saved:
        return Saved(
            self.connection_s + other.connection_s,
            self.thread_s + other.thread_s,
            self.descriptor_s + other.descriptor_s,
        )

    def __mul__(self, seconds: float) -> Saved:
        return Saved(
            self.connection_s * seconds,
            self.thread_s * seconds,
            self.descriptor_s * seconds,
        )


NOTHING: Final = Saved()

NO_TALLY: Final = Tally()
"""Of a connection that has opened no client; never added to."""

_released: Final[dict[str, Saved]] = {}
"""What the last measured disconnect released, by `bootstrap.servers`."""


class Release:
    """What one disconnect released. Known once the client is destroyed.

    Attributes:
        gone_at: when the client was destroyed, in seconds on the clock.
        by_second: what each second from then on saves; None: not known yet.
    """

    __slots__ = ("_ledger", "_servers", "by_second", "gone_at")

    def __init__(self, ledger: Ledger, servers: str) -> None:
        self._ledger = ledger
        self._servers = servers
        self.gone_at = -inf
        self.by_second: Saved | None = None

    def gone(self) -> None:
        """The client is destroyed, or given up."""
        self.gone_at = clock.now()

    def measured(self, released: Mapping[str, int] | None) -> None:
        """Take the payload of `producer.disconnected`; None: it was not measured."""
        ledger = self._ledger
        if released is None:
            next(ledger.unmeasured_count)
            known = ledger.last_released or _released.get(self._servers, NOTHING)
        else:
            # Another part of the process may have opened a descriptor meanwhile.
            known = Saved(
                max(0, released["sockets"]),
                max(0, released["threads"]),
                max(0, released["fds"]),
            )
            ledger.last_released = known
            _released.pop(self._servers, None)
            _released[self._servers] = known
            for servers in list(_released)[:-_MOST_SERVERS]:
                _released.pop(servers, None)
        self.by_second = known


class Period:
    """A time with a client, or without one.

    A reader reads the clock and then looks whether the period has ended. `end` reads
    the clock and notes it in one call of C, where no other thread runs in between. So
    no reader sees a length that a later one finds shorter
    (test_no_figure_falls_as_a_period_ends).
    """

    __slots__ = ("_ends", "begun", "release")

    def __init__(self, begun: float, release: Release | None = None) -> None:
        self.begun = begun
        self.release = release
        self._ends: list[float] = []

    def end(self) -> float:
        """End it now, unless it has ended; when that was, in seconds on the clock."""
        if not self._ends:
            self._ends.extend(starmap(clock.now, _ONCE))
        return self._ends[0]

    def length(self, now: float, since: float = -inf) -> float:
        """Its seconds from `since` on; up to `now`, which was read before, if it has
        not ended."""
        end = self._ends[0] if self._ends else now
        return exact(max(0.0, end - max(self.begun, since)))

    def saved(self, now: float) -> Saved | None:
        """What it has saved so far; None while that is not known."""
        release = self.release
        if release is None or release.by_second is None:
            return None if release else NOTHING
        return release.by_second * self.length(now, release.gone_at)


class Came(NamedTuple):
    """When a call came that found no client; `use`: it was a use.

    `at` is in seconds on the clock, `system_at` on the real one.
    """

    at: float
    system_at: float
    use: bool = True


class Totals(NamedTuple):
    """What the clients add up to that are closed. `opens` counts the open one too.

    `unsettled` are the ended times without a client whose saving is not known yet.
    """

    opens: int = 0
    disconnects: Mapping[str, int] = {}
    produced: int = 0
    acknowledged: int = 0
    failed: int = 0
    connected_s: float = 0.0
    idle_s: float = 0.0
    saved: Saved = NOTHING
    unsettled: tuple[Period, ...] = ()

    def after(self, absence: Period) -> Totals:
        """The totals after a time without a client has ended."""
        idle_s, saved = self.idle_s, self.saved
        unsettled = []
        for period in (*self.unsettled, absence):
            known = period.saved(inf)
            if known is None:
                unsettled.append(period)
            else:
                saved += known
        return self._replace(
            idle_s=idle_s + absence.length(inf),
            saved=saved,
            unsettled=tuple(unsettled),
        )


class Book(NamedTuple):
    """The totals, the client that is not in them yet, and the present period."""

    totals: Totals = Totals()
    client: Client | None = None
    period: Period | None = None


class Ledger:
    """What a connection counts. Written with the lifecycle lock held, read without it.

    `book` is replaced as a whole, so no reader counts a message or a second twice.

    Attributes:
        reopen_ms: milliseconds that the last re-open took.
        active_at: when the closed clients were last active, in seconds on the clock;
            `inf` before the first use.
        last_released: what the last measured disconnect released.
    """

    __slots__ = (
        "_produced",
        "active_at",
        "book",
        "last_released",
        "reopen_ms",
        "stopped",
        "tally",
        "unmeasured_count",
    )

    def __init__(self) -> None:
        self.book = Book()
        self.reopen_ms: float | None = None
        self.active_at = inf
        self.last_released: Saved | None = None
        self.stopped = False
        self.tally = NO_TALLY
        self.unmeasured_count = count()
        self._produced = 0

    @property
    def opens(self) -> int:
        """Clients opened."""
        return self.book.totals.opens

    @property
    def unmeasured(self) -> int:
        """Disconnects of which it is not known what they released."""
        return peek(self.unmeasured_count)

    def opened(self, client: Client, took_ms: float, came: Came) -> None:
        """A client was opened, for a call that `came` and found none."""
        totals, _, absence = self.book
        if self.tally is NO_TALLY:
            self.tally = Tally()
        client.tally = self.tally
        if totals.opens:
            self.reopen_ms = took_ms
            client.awaited_since = came.system_at if came.use else None
        if came.use:
            self.tally.add_gap(self.active_at, came.at)
        else:
            client.gap_since = self.active_at
        if absence is None:
            now = clock.now()
        else:
            now = absence.end()
            totals = totals.after(absence)
        self.stopped = False
        client.opened_at = now
        totals = totals._replace(opens=totals.opens + 1)
        self.book = Book(totals, client, Period(now))

    def closed(
        self, client: Client, reason: str, release: Release | None = None
    ) -> None:
        """A client was detached; add its figures to the totals."""
        totals, _, period = self.book
        now = clock.now() if period is None else period.end()
        taken = client.accepted()
        totals = totals._replace(
            disconnects={
                **totals.disconnects,
                reason: totals.disconnects.get(reason, 0) + 1,
            },
            produced=totals.produced + taken,
            acknowledged=totals.acknowledged + client.acknowledged,
            failed=totals.failed + taken - client.acknowledged,
            connected_s=totals.connected_s
            + (0.0 if period is None else period.length(now)),
        )
        if client.gap_since is None:
            self.active_at = client.last_activity
        ends = self.stopped or reason == "close"
        self.book = Book(totals, None, None if ends else Period(now, release))

    def stop(self) -> None:
        """The producer closes: no more time is saved. Again does no harm."""
        self.stopped = True
        totals, client, absence = self.book
        if client is None and absence is not None:
            absence.end()
            self.book = Book(totals.after(absence), None, None)

    def never_less(self, produced: int) -> int:
        """`produced`, or what this was told before, if that was more.

        A message that is being refused counts for a moment (see
        `MessageCounters.accepted`), and a counter must not fall behind it.
        """
        self._produced = max(self._produced, produced)
        return self._produced

    def idle_s(self, book: Book, now: float) -> float:
        """Seconds without a client since the first one was closed."""
        idle_s = book.totals.idle_s
        if book.client is None and book.period is not None:
            idle_s += book.period.length(now)
        return idle_s

    def connected_s(self, book: Book, now: float) -> float:
        """Seconds with an open client."""
        connected_s = book.totals.connected_s
        if book.client is not None and book.period is not None:
            connected_s += book.period.length(now)
        return connected_s

    def saved(self, book: Book, now: float) -> Saved:
        """What the times without a client have saved, as far as that is known."""
        saved = book.totals.saved
        periods = book.totals.unsettled
        if book.client is None and book.period is not None:
            periods = (*periods, book.period)
        for period in periods:
            saved += period.saved(now) or NOTHING
        return saved
