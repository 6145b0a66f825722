"""Figures that several threads write, and that are read meanwhile."""

from __future__ import annotations

import random
import sys
import threading
from collections import deque
from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.concurrency.still import StillProducer
from tests.concurrency.support import connection_of
from tests.doubles import Bench, Run, eventually
from tests.moments import each_moment
from tests.patches import here_only
from waterdrop_py._engine.client.tally import Tally
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.locks import Hold, OwnedLock
from waterdrop_py._engine.connection.family import Relatives
from waterdrop_py._engine.connection.ledger import Period, Saved
from waterdrop_py._engine.connection.opening import open_noted
from waterdrop_py._engine.connection.states import ConnectionState
from waterdrop_py._engine.introspection.accounts import Accounts, Labels
from waterdrop_py._engine.introspection.stats import read_stats
from waterdrop_py._engine.introspection.sums import Sum
from waterdrop_py.planning import GAP_EDGES, REOPEN_EDGES, Buckets
from waterdrop_py.testing import FakeClient, FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.concurrency.support import Make


def test_values_from_many_threads_count_once() -> None:
    """Each gap of several threads counts once, and none is lost."""
    tally = Tally()
    start = threading.Barrier(8)

    def add(index: int) -> None:
        start.wait(5)
        for round_ in range(200):
            tally.add_gap(float(round_), round_ + 2.0)  # of all eight
            tally.add_reopen(float(round_), 3.0 + index)

    for each in [Run(lambda index=index: add(index)) for index in range(8)]:  # type: ignore[misc]
        each.result()
    # A late thread adds a gap that is over since; it was counted by another one.
    assert tally.gaps == Buckets.of(GAP_EDGES, [2.0] * 200)
    assert tally.reopens.edges == REOPEN_EDGES
    assert tally.reopens.count == 200


class Releasing(OwnedLock):
    """A lock that calls a function once, just before it is free."""

    def __init__(self, before: Callable[[], None]) -> None:
        super().__init__()
        self._before = before

    def release(self, hold: Hold) -> bool:
        """Release it, behind the call."""
        before, self._before = self._before, lambda: None
        before()
        return super().release(hold)


def test_a_value_that_comes_as_the_lock_is_released_is_summed_up() -> None:
    """Its thread has found the lock held; the holder looks again behind it."""
    tally = Tally()
    tally.adding.lock = Releasing(lambda: tally.add_gap(5.0, 8.0))
    tally.add_gap(1.0, 3.0)
    assert tally.gaps == Buckets.of(GAP_EDGES, [2.0, 3.0])


def test_an_interrupted_sum_is_continued_by_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A signal handler raises after a value was summed up, before it was taken away:
    it counts once."""
    tally = Tally()
    sum_up = Tally._sum_up  # noqa: SLF001 - where the handler runs

    def interrupted(self: Tally, arrived: list[tuple[bool, float, float]]) -> None:
        sum_up(self, arrived)
        arrived.append((False, 1.0, 2.0))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Tally, "_sum_up", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tally.add_gap(1.0, 3.0)
    tally.add_gap(5.0, 7.0)
    assert tally.gaps == Buckets.of(GAP_EDGES, [2.0, 2.0])


def test_a_gap_that_many_threads_end_counts_once(
    bench: Bench, make: Make, time_: FakeClock
) -> None:
    """Threads send at the same moment after quiet, with a client and without one."""
    producer = make()
    producer.produce_sync("t", b"x")
    for round_ in range(1, 31):
        eventually(lambda: connection_of(producer).client.quiet)
        time_.advance(3)
        if round_ % 2:
            producer.disconnect()
        start = threading.Barrier(6)

        def send(start: threading.Barrier = start) -> None:
            start.wait(5)
            producer.produce_sync("t", b"x")

        for each in [Run(send) for _ in range(6)]:
            each.result()
        assert producer.stats().idle_gaps_s == Buckets.of(GAP_EDGES, [3.0] * round_)


def test_no_figure_falls_as_a_period_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader has read the clock, and the period ends before it looks: what it finds
    is no more than what a later reader finds."""
    period = Period(0.0)
    ends: list[float] = [7.0]
    monkeypatch.setattr(clock, "now", here_only(ends.pop, clock.system_now))
    assert period.length(5.0) == 5.0
    assert period.end() == 7.0
    assert period.end() == 7.0
    assert period.length(9.0) == 7.0


def test_no_thread_runs_between_the_clock_and_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A reader looks at each moment of an end at which one may run, on a clock that
    goes on meanwhile: it finds no more than a later reader."""
    monkeypatch.setattr(clock, "now", deque(range(10_000)).popleft)  # a call of C
    periods: list[Period] = []
    found: list[float] = []

    def look() -> None:
        found.append(periods[-1].length(clock.now()))

    for moments in each_moment("_engine/connection/ledger.py", look):
        periods.append(Period(clock.now()))
        with moments:
            periods[-1].end()
        assert all(each <= periods[-1].length(clock.now()) for each in found)
        found.clear()
    assert len(periods) > 1


def test_no_figure_ever_falls() -> None:
    """Two threads open and disconnect, on the real clock, while one reads."""
    producer = StillProducer(Bench())
    connection, ledger = producer.connection, producer.connection.ledger
    over = threading.Event()

    class Released:
        gone_at = 0.0
        by_second = Saved(3, 5, 8)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def work() -> None:
        while not over.is_set():
            client = open_noted(connection, None)
            connection.client = type(client)(None, lambda _: None)  # type: ignore[arg-type]
            connection.client.drop_native()
            ledger.closed(client, "idle", Released())  # type: ignore[arg-type]
            connection.client = _no_client()
            connection.state = type(connection.state).EMPTY

    working = Run(work)
    figures = []
    for _ in range(3_000):
        stats = read_stats(connection, rising=True)
        figures.append(
            (
                stats.connected_ms,
                stats.idle_ms_saved,
                stats.saved.connection_s,
                stats.saved.descriptor_s,
                stats.opens,
                stats.produced,
            )
        )
    over.set()
    working.result()
    sys.setswitchinterval(interval)
    for before, after in pairwise(figures):
        assert all(early <= late for early, late in zip(before, after, strict=True))


def _no_client() -> Any:
    from waterdrop_py._engine.connection.connection import NO_CLIENT

    return NO_CLIENT


def test_a_message_that_is_refused_makes_no_counter_fall(
    bench: Bench, make: Make
) -> None:
    """It has its number already, and a reader counts it; then librdkafka refuses."""
    producer = make(wait_on_queue_full=False)
    producer.produce_sync("t", b"x")
    source = producer._components  # noqa: SLF001 - what listeners read
    bench.limit = 0
    found: list[int] = []
    bench.parks["produce"] = lambda: found.append(source.own_stats().produced)
    with pytest.raises(Exception, match="queue"):
        producer.produce_async("t", b"x")
    del bench.parks["produce"]
    assert found == [2]
    assert source.own_stats().produced == 2
    assert producer.stats().produced == 1
    bench.limit = 10
    producer.produce_sync("t", b"x")
    assert source.own_stats().produced == producer.stats().produced == 2


def test_sums_do_not_depend_on_the_order() -> None:
    """Nor on what was added up before: no sum falls by a rounding."""
    with FakeClock() as time_:
        made = []
        for index in range(40):
            producer = StillProducer(Bench())
            client = open_noted(producer.connection, None)
            time_.advance(random.Random(index).random() * 1e5)
            client.tally.add_gap(0.0, random.Random(index).random() * 1e5)  # type: ignore[union-attr]
            made.append(read_stats(producer.connection))
    expected = None
    for seed in range(50):
        random.Random(seed).shuffle(made)
        first, second, whole = Sum(), Sum(), Sum()
        for index, stats in enumerate(made):
            (first if index % 3 else second).add(stats)
        whole.add_sum(first)
        whole.add_sum(second)
        expected = expected or whole.stats()
        assert whole.stats() == expected


class Source:
    """Something with an account."""

    def __init__(self, before: Callable[[], None] | None = None) -> None:
        self.connection = StillProducer(Bench()).connection
        open_noted(self.connection, None)
        self._before = before

    def own_stats(self) -> Any:
        """Its figures; `before` happens as they are read."""
        before, self._before = self._before, None
        if before is not None:
            before()
        return read_stats(self.connection)


def opens(accounts: Accounts) -> int:
    """How many clients all accounts have opened."""
    alive, sums = accounts.read()
    total = Sum()
    for each in alive:
        total.add(each.source.own_stats())
    for ended in sums.values():
        total.add_sum(ended)
    return total.stats().opens


def test_an_account_that_ends_meanwhile_counts_once() -> None:
    """A reader looks at each step of an end: before, at its sum, and after."""
    accounts = Accounts()
    found = []
    ending = Source(lambda: found.append(opens(accounts)))
    for source in (Source(), ending):
        accounts.add(source, Labels("a"))
    accounts.end(ending)
    accounts.end(ending)
    found.append(opens(accounts))
    assert found == [2, 2]
    alive, sums = accounts.read()
    assert len(alive) == 1
    assert list(sums) == [Labels("a")]


class Moments(dict[int, Any]):
    """Open accounts, with a call before one is taken out, or after they are copied."""

    before_pop: Callable[[], object] | None = None
    before_copy: Callable[[], object] | None = None
    after_copy: Callable[[], object] | None = None

    def pop(self, *key: Any) -> Any:
        """Take one out."""
        if self.before_pop is not None:
            self.before_pop()
        return super().pop(*key)

    def values(self) -> Any:
        """A copy."""
        before, self.before_copy = self.before_copy, None
        if before is not None:
            before()
        copy = list(super().values())
        after, self.after_copy = self.after_copy, None
        if after is not None:
            after()
        return copy


def test_an_account_that_is_summed_up_and_still_open_counts_once() -> None:
    """The sums are published, and the account is not taken out yet."""
    accounts = Accounts()
    accounts._open = moments = Moments()  # noqa: SLF001 - the moment
    source, found = Source(), []
    accounts.add(source, Labels())
    moments.before_pop = lambda: found.append(opens(accounts))
    accounts.end(source)
    assert found == [1]


@pytest.mark.parametrize("moment", ["before_copy", "after_copy"])
def test_an_account_that_ends_as_a_reader_copies_counts_once(moment: str) -> None:
    """A reader copies the open accounts, and reads the sums after the end."""
    accounts = Accounts()
    accounts._open = moments = Moments()  # noqa: SLF001 - the moment
    source, other = Source(), Source()
    accounts.add(source, Labels())
    accounts.add(other, Labels())

    def end_both() -> None:
        accounts.end(source)
        accounts.end(other)

    setattr(moments, moment, end_both)
    assert opens(accounts) == 2


def test_an_account_that_ends_inside_another_end_is_not_lost() -> None:
    """A finalizer runs as figures are summed up, on the same thread."""
    accounts = Accounts()
    inner = Source()
    outer = Source(lambda: accounts.end(inner))
    for source in (inner, outer):
        accounts.add(source, Labels())
    accounts.end(outer)
    assert accounts.read()[0] == []
    assert opens(accounts) == 2


def test_an_account_that_ends_as_the_lock_is_released_is_not_lost() -> None:
    """Its thread has found the lock held; the holder looks again behind it."""
    accounts = Accounts()
    first, second = Source(), Source()
    for source in (first, second):
        accounts.add(source, Labels())
    accounts._lock = Releasing(lambda: accounts.end(second))  # noqa: SLF001 - the moment
    accounts.end(first)
    assert accounts.read()[0] == []
    assert opens(accounts) == 2


def test_an_interrupted_end_is_finished_by_the_next() -> None:
    """A signal handler raises as figures are summed up: they count once."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    accounts = Accounts()
    torn, other = Source(interrupt), Source()
    for source in (torn, other):
        accounts.add(source, Labels())
    with pytest.raises(KeyboardInterrupt):
        accounts.end(torn)
    assert opens(accounts) == 2
    accounts.end(other)
    assert accounts.read()[0] == []
    assert opens(accounts) == 2


def test_an_end_that_is_interrupted_behind_its_sum_counts_once() -> None:
    """A signal handler raises before the account is taken out."""
    accounts = Accounts()
    accounts._open = moments = Moments()  # noqa: SLF001 - the moment
    torn, other = Source(), Source()
    for source in (torn, other):
        accounts.add(source, Labels())

    def interrupt() -> None:
        moments.before_pop = None
        raise KeyboardInterrupt

    moments.before_pop = interrupt
    with pytest.raises(KeyboardInterrupt):
        accounts.end(torn)
    assert opens(accounts) == 2
    accounts.end(other)
    assert accounts.read()[0] == []
    assert opens(accounts) == 2


def test_sums_never_fall_while_accounts_come_and_go() -> None:
    """Four threads make and end accounts of the same labels, and one reads."""
    accounts = Accounts()
    over = threading.Event()
    made: list[None] = []

    def work(index: int) -> None:
        while not over.is_set():
            source = Source()
            made.append(None)
            accounts.add(source, Labels(str(index % 2)))
            accounts.end(source)

    workers = [Run(lambda index=index: work(index)) for index in range(4)]  # type: ignore[misc]
    found = [opens(accounts) for _ in range(300)]
    over.set()
    for each in workers:
        each.result()
    assert found == sorted(found)
    assert opens(accounts) == len(made)
    assert len(accounts.read()[1]) == 2


def test_a_forked_child_counts_what_lives_in_it() -> None:
    """What was collected in the parent, and is being closed there, is none of it."""
    accounts = Accounts()
    alive, dropped, ended = Source(), Source(), Source()
    for source in (alive, dropped, ended):
        accounts.add(source, Labels())
    accounts.end(ended)
    owner = StillProducer(Bench())
    alive.connection.emitter = owner.connection.emitter
    assert opens(accounts) == 3
    accounts.reset()
    accounts.end(dropped)
    assert [each.source for each in accounts.read()[0]] == [alive]
    assert accounts.read()[1] == {}


def test_the_first_close_begins_and_the_last_one_ends() -> None:
    """Of two that are both there already, one; and again after a reset."""
    members = [Source().connection for _ in range(2)]
    producer = SimpleNamespace(connections=lambda: members, stats=lambda: None)
    family = Relatives(producer)
    for _ in range(2):
        assert [family.begins_with(each) for each in (*members, members[0])] == [
            *(True, False, True)
        ]
        assert not family.ends_with(members[0])
        for each in members:
            each.state = ConnectionState.CLOSED
        assert [family.ends_with(each) for each in (*members, members[0])] == [
            *(True, False, True)
        ]
        members[0].shutdowns.clear()
        for each in members:
            each.state = ConnectionState.OPEN


def test_one_of_two_closes_that_end_together_tells_of_it(make: Make) -> None:
    """A producer with variants, closed by two threads: one event with all figures."""
    for _ in range(20):
        producer = make(client_factory=FakeClient)
        told: list[Any] = []
        producer.monitor.subscribe("producer.clos*", told.append)
        for acks in (0, 1):
            producer.variant(topic_config={"acks": acks}).produce_sync("t", b"x")
        producer.produce_sync("t", b"x")
        for each in [Run(producer.close) for _ in range(2)]:
            each.result()
        begun, closed = told
        assert begun.name == "producer.closing"
        assert closed["stats"] == producer.stats()
        assert all(each.disconnects for each in closed["stats"].variants.values())
