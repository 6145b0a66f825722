"""A signal, or another thread, at each moment of each call of a pool."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.concurrency.pools.support import (
    aside,
    each_moment,
    interrupt,
    whole_again,
)
from tests.doubles import Run, eventually
from tests.unit.pools.support import Cluster, config, lose, send, transactional
from waterdrop_py.errors import PoolError, ProducerClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.pools.conftest import MakePool
    from waterdrop_py import ProducerPool

# An interrupted caller has no lease to release: what it leaves is collected.
pytestmark = pytest.mark.filterwarnings("ignore:a lease of pool:ResourceWarning")
SIZE = 2
Calls = dict[str, "Callable[[ProducerPool], Any]"]


def take_and_give(pool: ProducerPool) -> None:
    """A lease by `with`."""
    with pool.acquire():
        pass


def take_and_release(pool: ProducerPool) -> None:
    """A lease by hand, which its caller keeps safe."""
    lease = None
    try:
        lease = pool.acquire()
    finally:
        if lease is not None:
            lease.release()


def do_not_wait(pool: ProducerPool) -> None:
    """One more than there are."""
    with suppress(PoolError), pool.acquire(0), pool.acquire(0), pool.acquire(0):
        pass


def wait_in_vain(pool: ProducerPool) -> None:
    """One more than there are, for a moment."""
    with suppress(PoolError), pool.acquire(), pool.acquire(), pool.acquire(0.001):
        pass


def lose_one(pool: ProducerPool) -> None:
    """A lease whose producer meets a fatal error."""
    with pool.acquire() as producer:
        producer.produce_sync("t", b"x")
        lose(producer)


def transact(pool: ProducerPool) -> None:
    """A transaction with a message."""
    with pool.transaction() as producer:
        producer.produce_async("t", b"x")


CALLS: Calls = {
    "with": take_and_give,
    "release": take_and_release,
    "do not wait": do_not_wait,
    "wait in vain": wait_in_vain,
    "stats": lambda pool: (pool.stats(), pool.slots(), repr(pool), pool.health()),
    "grow": lambda pool: pool.resize(SIZE + 1),
    "shrink": lambda pool: pool.resize(1),
}
OTHERS: Calls = {
    "with": take_and_give,
    "do not wait": do_not_wait,
    "stats": lambda pool: (pool.stats(), pool.slots()),
    "grow": lambda pool: pool.resize(SIZE + 1),
    "shrink": lambda pool: pool.resize(1),
    "reload": lambda pool: pool.reload(),
    "lose": lose_one,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_handler_that_raises_loses_no_lease(
    call: Callable[[ProducerPool], Any], make_pool: MakePool
) -> None:
    """A signal handler raises, at each moment of a call: the pool is full again."""
    pool = make_pool(size=SIZE, timeout=5)
    send(pool)
    for moments in each_moment(interrupt):
        with suppress(KeyboardInterrupt), moments:
            call(pool)
        pool.resize(SIZE)
        whole_again(pool, SIZE)


@pytest.mark.parametrize("kind", ["open", "not open", "transactional", "heard"])
def test_a_handler_that_raises_ends_a_kept_lease(
    kind: str, cluster: Cluster, make_pool: MakePool
) -> None:
    """A signal handler raises, at each moment of `release()`: the lease has ended, with
    no second `release()`. The caller keeps it, so it is not collected."""
    source = transactional(cluster) if kind == "transactional" else config(cluster)
    pool = make_pool(source, size=1, timeout=5)
    if kind == "open":
        send(pool)
    if kind == "heard":
        pool.monitor.subscribe("pool.released", lambda _: None)
    for moments in each_moment(interrupt):
        lease = pool.acquire()
        with suppress(KeyboardInterrupt), moments:
            lease.release()
        assert lease.released
        whole_again(pool, 1)
    assert pool.stats().leaked == 0


def test_a_handler_that_raises_in_a_transaction(
    cluster: Cluster, make_pool: MakePool
) -> None:
    """The transaction is over, the lease is back, and the next transaction commits."""
    pool = make_pool(transactional(cluster), size=SIZE, timeout=5)
    transact(pool)
    for moments in each_moment(interrupt):
        with suppress(KeyboardInterrupt), moments:
            transact(pool)
        whole_again(pool, SIZE)
        transact(pool)


def test_a_handler_that_raises_as_a_kept_block_ends(
    cluster: Cluster, make_pool: MakePool
) -> None:
    """At each moment of the end of a transaction: the lease is back, though the caller
    keeps the block, so that it is not collected."""
    pool = make_pool(transactional(cluster), size=1, timeout=5)
    for moments in each_moment(interrupt):
        block = pool.transaction()
        with suppress(KeyboardInterrupt):
            block.__enter__()
            with moments:
                block.__exit__(None, None, None)
        assert pool.stats().leased == 0
        whole_again(pool, 1)
    assert pool.stats().leaked == 0


@pytest.mark.parametrize("way", ["release", "with"])
def test_a_handler_that_raises_wakes_who_waits(way: str, make_pool: MakePool) -> None:
    """While a lease is given back for which another thread waits: it gets it."""
    pool = make_pool(size=1, timeout=4)
    for moments in each_moment(interrupt):
        lease = pool.acquire()
        waiting = Run(lambda: pool.acquire().release())
        eventually(lambda: pool.stats().waiting == 1)
        with suppress(KeyboardInterrupt), moments:
            lease.release() if way == "release" else lease.__exit__(None, None, None)
        assert lease.released
        waiting.result()
        whole_again(pool, 1)


def test_a_handler_that_raises_ends_a_wait(make_pool: MakePool) -> None:
    """While a lease comes back to the caller that waits: it is lost to neither."""
    pool = make_pool(size=1, timeout=4)
    for moments in each_moment(interrupt):
        lease = pool.acquire()

        def give_back(lease: Any = lease) -> None:
            eventually(lambda: pool.stats().waiting == 1 or lease.released)
            lease.release()

        giving = Run(give_back)
        with suppress(KeyboardInterrupt), moments:
            pool.acquire().release()
        lease.release()
        giving.result()
        whole_again(pool, 1)


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_another_thread_meets_a_call(
    call: Callable[[ProducerPool], Any],
    other: Callable[[ProducerPool], Any],
    cluster: Cluster,
    make_pool: MakePool,
) -> None:
    """Each call, at each moment of each other one: the pool is full again, and what was
    retired is closed."""
    pool = make_pool(config(cluster), size=SIZE, timeout=0.05)
    send(pool)

    def interfere() -> None:
        with suppress(PoolError):
            other(pool)

    for moments in each_moment(aside(interfere)):
        with suppress(PoolError), moments:
            call(pool)
        pool.resize(SIZE)
        whole_again(pool, SIZE)


@pytest.mark.parametrize("other", ["with", "do not wait", "stats"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_handler_uses_the_pool_that_it_interrupts(
    call: Callable[[ProducerPool], Any], other: str, make_pool: MakePool
) -> None:
    """In the same thread, on top of any other call."""
    pool = make_pool(size=SIZE + 1, timeout=0.02)

    def handle() -> None:
        with suppress(PoolError):
            OTHERS[other](pool)

    for moments in each_moment(handle):
        with moments:
            call(pool)
        pool.resize(SIZE + 1)
        whole_again(pool, SIZE + 1)


CLOSED: Calls = {
    **CALLS,
    "connect": lambda pool: pool.connect(5),
    "reload": lambda pool: pool.reload(),
    "deep": lambda pool: pool.health(deep=True),
    "use": send,
}


@pytest.mark.parametrize("call", CLOSED.values(), ids=CLOSED)
@pytest.mark.parametrize("least", [0, 2])
def test_a_close_meets_a_call(
    call: Callable[[ProducerPool], Any],
    least: int,
    cluster: Cluster,
    make_pool: MakePool,
) -> None:
    """At each of its moments: no client is open afterwards, and no lease is out."""
    pools: list[ProducerPool] = []

    def close() -> None:
        pools[-1].close(0)

    for moments in each_moment(aside(close)):
        pools.append(make_pool(size=SIZE, timeout=5, min_connected=least))
        with suppress(PoolError, ProducerClosedError), moments:
            call(pools[-1])
        if not moments.reached:
            pools[-1].close()
        assert pools[-1].stats().leased == 0
        whole_again(pools[-1], 0)
        eventually(lambda: cluster.open == [], "no client stays open")
