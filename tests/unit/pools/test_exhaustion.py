"""When no lease is free: how long a call waits, and what it is told."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.doubles import Run, eventually
from tests.unit.pools.support import Cluster, balanced, named, transactional
from waterdrop_py.errors import (
    InvalidArgumentError,
    PoolExhaustedError,
    PoolTimeoutError,
    TooManyRequestsError,
)
from waterdrop_py.testing import record

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.pools.conftest import MakePool
    from waterdrop_py import ProducerPool


def refusal(call: Callable[[], object]) -> PoolExhaustedError:
    """Why there is no lease."""
    with pytest.raises(PoolExhaustedError) as caught:
        call()
    return caught.value


WITHOUT_WAITING: dict[str, dict[str, Any]] = {
    "zero": {"timeout": 0},
    "none": {"timeout": timedelta(0)},
    "block": {"block": False},
    "both": {"timeout": 30, "block": False},
}


@pytest.mark.timed
@pytest.mark.parametrize("given", WITHOUT_WAITING.values(), ids=WITHOUT_WAITING)
def test_a_call_that_does_not_wait(given: dict[str, Any], make_pool: MakePool) -> None:
    """Gets what is free, else an error that is no timeout."""
    pool = make_pool(size=1)
    lease = pool.acquire(**given)
    began = time.monotonic()
    error = refusal(lambda: pool.acquire(**given))
    assert time.monotonic() - began < 1
    assert type(error) is PoolExhaustedError
    assert error.retriable
    lease.release()
    pool.acquire(**given).release()
    stats = pool.stats()
    assert (stats.refused, stats.timed_out, stats.queued) == (1, 0, 0)
    assert balanced(pool)


@pytest.mark.parametrize("given", [0.05, timedelta(milliseconds=50), None])
def test_never_before_the_deadline(given: Any, make_pool: MakePool) -> None:
    """The call's timeout, or the pool's."""
    pool = make_pool(size=1, timeout=0.05)
    lease = pool.acquire()
    for _ in range(5):
        began = time.monotonic()
        error = refusal(lambda: pool.acquire(given))
        took = time.monotonic() - began
        assert type(error) is PoolTimeoutError
        assert isinstance(error, TimeoutError)
        assert 0.05 <= took < 5
        assert error.waited_ms >= 50
    stats = pool.stats()
    assert (stats.timed_out, stats.refused, stats.queued) == (5, 0, 5)
    assert stats.wait_ms >= 250
    assert balanced(pool)
    lease.release()


@pytest.mark.timed
def test_soon_after_the_deadline(make_pool: MakePool) -> None:
    """At most 20 ms."""
    pool = make_pool(size=1)
    lease = pool.acquire()
    late = []
    for _ in range(20):
        began = time.monotonic()
        refusal(lambda: pool.acquire(0.02))
        late.append(time.monotonic() - began - 0.02)
    assert sorted(late)[10] < 0.02
    assert min(late) >= 0
    lease.release()


@pytest.mark.parametrize(
    "given",
    [
        {"timeout": -1},
        {"timeout": "5"},
        {"timeout": True},
        {"timeout": float("nan")},
        {"block": None},
        {"block": 1},
        {"block": "no"},
    ],
)
@pytest.mark.parametrize("verb", ["acquire", "transaction"])
def test_invalid_arguments(
    verb: str, given: dict[str, Any], cluster: Cluster, make_pool: MakePool
) -> None:
    """They are named, and no lease is taken."""
    pool = make_pool(transactional(cluster))
    with pytest.raises(InvalidArgumentError, match=next(iter(given))):
        getattr(pool, verb)(**given)
    assert pool.stats().requests == 0


def test_what_the_error_knows(make_pool: MakePool) -> None:
    """Who holds the leases, longest held first, with file and line."""
    pool = make_pool(name="orders")
    leases = []

    def take() -> None:
        leases.append(pool.acquire())

    for name in ("first", "second"):
        thread = threading.Thread(target=take, name=name)
        thread.start()
        thread.join()
    error = refusal(lambda: pool.acquire(0.02))
    assert (error.pool, error.size, error.leased, error.waiting) == ("orders", 2, 2, 0)
    assert [each.owner for each in error.holders] == ["first", "second"]
    assert [each.slot for each in error.holders] == [0, 1]
    line = take.__code__.co_firstlineno + 1
    assert all(each.where.endswith(f"{__file__}:{line}") for each in error.holders)
    text = str(error)
    assert all(point in text for point in error.checklist)
    assert f"test_exhaustion.py:{line}" in text
    assert text.index("first took") < text.index("second took")
    assert "nested" not in text
    for lease in leases:
        lease.release()


class TestAdvice:
    """The options to raise, with their values, where that is legal."""

    def test_of_an_exclusive_pool(self, make_pool: MakePool) -> None:
        """Its size, or leases that share."""
        pool = make_pool(size=1)
        lease = pool.acquire()
        advice = refusal(lambda: pool.acquire(0)).checklist
        lease.release()
        assert "raise size, which is 1" in advice
        assert any("client_limit, which is 1" in each for each in advice)
        assert not any("max_waiting" in each for each in advice)

    def test_of_a_transactional_pool(
        self, cluster: Cluster, make_pool: MakePool
    ) -> None:
        """Its leases cannot share."""
        pool = make_pool(transactional(cluster), size=1)
        lease = pool.acquire()
        advice = refusal(lambda: pool.acquire(0)).checklist
        lease.release()
        assert not any("client_limit" in each for each in advice)

    def test_of_the_largest_pool(self, make_pool: MakePool) -> None:
        """It cannot grow."""
        pool = make_pool(size=1000)
        leases = [pool.acquire() for _ in range(1000)]
        error = refusal(lambda: pool.acquire(0))
        assert not any("raise size" in each for each in error.checklist)
        assert len(error.holders) == 1000
        assert len(str(error)) < 2_000
        for lease in leases:
            lease.release()

    def test_after_a_resize(self, make_pool: MakePool) -> None:
        """The value is that of now."""
        pool = make_pool(size=1)
        pool.resize(2)
        leases = [pool.acquire() for _ in range(2)]
        assert "raise size, which is 2" in refusal(lambda: pool.acquire(0)).checklist
        for lease in leases:
            lease.release()

    def test_nested_leases(self, make_pool: MakePool) -> None:
        """A thread that holds a lease itself is told so; another is not."""
        pool = make_pool(size=1)
        with pool.acquire():
            own = refusal(lambda: pool.acquire(0.01))
            other = Run(lambda: refusal(lambda: pool.acquire(0.01))).result()
        assert any("nested leases" in each for each in own.checklist)
        assert "nested leases" in str(own)
        assert not any("nested" in each for each in other.checklist)


class TestMaxWaiting:
    """How many callers may wait."""

    def test_the_next_one_is_refused_at_once(self, make_pool: MakePool) -> None:
        """With an error of its own, whose advice names the option."""
        pool = make_pool(size=1, max_waiting=2, timeout=30)
        lease = pool.acquire()
        waiting = [Run(lambda: pool.acquire().release()) for _ in range(2)]
        eventually(lambda: pool.stats().waiting == 2)
        began = time.monotonic()
        error = refusal(pool.acquire)
        assert time.monotonic() - began < 5
        assert type(error) is TooManyRequestsError
        assert error.waiting == 2
        assert error.checklist[0] == "raise max_waiting, which is 2"
        stats = pool.stats()
        assert (stats.refused, stats.waiting, stats.queued) == (1, 2, 2)
        lease.release()
        for each in waiting:
            each.result()
        assert balanced(pool)
        assert pool.stats().granted == 3

    def test_one_who_does_not_wait_is_not_counted(self, make_pool: MakePool) -> None:
        """`block=False` gets the error of an exhausted pool."""
        pool = make_pool(size=1, max_waiting=1)
        lease = pool.acquire()
        waiting = Run(lambda: pool.acquire(30).release())
        eventually(lambda: pool.stats().waiting == 1)
        assert type(refusal(lambda: pool.acquire(0))) is PoolExhaustedError
        lease.release()
        waiting.result()

    def test_after_one_has_left(self, make_pool: MakePool) -> None:
        """There is room again."""
        pool = make_pool(size=1, max_waiting=1)
        lease = pool.acquire()
        for _ in range(3):
            assert type(refusal(lambda: pool.acquire(0.01))) is PoolTimeoutError
        lease.release()


def waiters(pool: ProducerPool, count: int, order: list[int]) -> list[Run]:
    """Callers that wait, in this order, and note when they get their lease."""

    def take(number: int) -> None:
        with pool.acquire(30):
            order.append(number)

    started = []
    for number in range(count):
        started.append(Run(lambda number=number: take(number)))  # type: ignore[misc]
        eventually(lambda number=number: pool.stats().waiting == number + 1)  # type: ignore[misc]
    return started


def test_first_come_first_served(make_pool: MakePool) -> None:
    """A lease that comes back belongs to the caller that waits longest; one that does
    not wait overtakes no other."""
    pool = make_pool(size=1)
    lease = pool.acquire()
    order: list[int] = []
    waiting = waiters(pool, 5, order)
    lease.release()
    for each in waiting:
        each.result()
    assert order == [0, 1, 2, 3, 4]
    assert pool.stats().queued == 5


def test_no_call_overtakes_one_that_waits(make_pool: MakePool) -> None:
    """Not even one that does not wait, the moment after a release."""
    pool = make_pool(size=1)
    for _ in range(20):
        lease, order = pool.acquire(), list[int]()
        waiting = waiters(pool, 1, order)
        lease.release()
        try:
            with pool.acquire(block=False):
                assert order == [0], "it overtook"
        except PoolExhaustedError:
            pass
        waiting[0].result()


def test_events_of_exhaustion(make_pool: MakePool) -> None:
    """One for each error, which it carries."""
    pool = make_pool(size=1, name="orders")
    lease = pool.acquire()
    with record(pool.monitor) as events:
        errors = [
            refusal(lambda: pool.acquire(0)),
            refusal(lambda: pool.acquire(0.01)),
        ]
    told = named(events, "pool.exhausted")
    assert [each["error"] for each in told] == errors
    assert {each["pool"] for each in told} == {"orders"}
    lease.release()
