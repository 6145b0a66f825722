"""Measures a lease of a pool, beside pools of other libraries and a queue."""

from __future__ import annotations

import gc
import threading
import time
from contextlib import ExitStack, contextmanager
from queue import LifoQueue
from statistics import median
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from kombu.resource import Resource
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool

from benchmarks import clients
from benchmarks.measure import interleave
from benchmarks.rates import PAYLOAD
from benchmarks.rows import BARE, OURS, Row, absolute, at_most, compared
from waterdrop_py import ProducerPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from benchmarks.setting import Setting

SIZE: Final = 10
"""Producers, connections or objects in each pool."""
LEASES: Final = 5_000
"""Leases of each contender in a round."""
TIMEOUT: Final = 5.0
"""Seconds that each contender would wait for a free one."""
QUEUE, PSYCOPG, KOMBU = "queue.LifoQueue", "psycopg_pool", "kombu"
WITH, PSYCOPG_WITH = "ours, in a block", "psycopg_pool, in a block"
THREADS: Final = 8
SLOTS: Final = 2
HOLD_SECONDS: Final = 0.005
"""Seconds that a thread keeps what it has got, on two slots for eight threads."""


def uncontended(setting: Setting) -> list[Row]:
    """Processor time of a lease of an open, free producer, and of its end."""
    rounds = setting.pick(31, 11)
    with ExitStack() as stack:
        pool = stack.enter_context(_ours(setting, SIZE))
        theirs = stack.enter_context(_psycopg(SIZE))
        objects: Any = Objects  # not typed
        resources, queue = objects(limit=SIZE), _queue(SIZE)
        with pool.acquire() as producer:
            producer.produce_sync(clients.new_topic(), PAYLOAD)
        contenders: dict[str, Callable[[], float]] = {
            OURS: lambda: _acquire(pool),
            QUEUE: lambda: _get(queue),
            PSYCOPG: lambda: _getconn(theirs),
            KOMBU: lambda: _acquire_object(resources),
            WITH: lambda: _in_a_block(pool.acquire),
            PSYCOPG_WITH: lambda: _in_a_block(theirs.connection),
        }
        interleave(2, contenders)
        measured = interleave(rounds, contenders)
        if pool.stats().warm != pool.stats().granted - 1:
            raise RuntimeError("slot 0 was not open all the time")

    def row(ours: str, theirs: str, must: float, what: str, note: str) -> Row:
        return compared(
            f"lease, uncontended: {what}",
            {OURS: measured[ours], BARE: measured[theirs]},
            unit="us",
            n=rounds * LEASES,
            must=at_most(must),
            note=f"bare: {note}. Processor time; ours: slot 0 of {SIZE} is open and "
            "free, and owner and line of each lease are recorded",
        )

    return [
        row(
            OURS,
            QUEUE,
            1.5,
            "acquire() + release(), beside a LifoQueue",
            "`get(timeout=)` and `put()` of a queue.LifoQueue",
        ),
        row(
            OURS,
            PSYCOPG,
            0.8,
            "acquire() + release(), beside psycopg_pool",
            "`getconn()` and `putconn()` of a ConnectionPool of stub connections",
        ),
        row(
            OURS,
            KOMBU,
            1.0,
            "acquire() + release(), beside kombu",
            "`acquire(block=True, timeout=)` and `release()` of a kombu Resource",
        ),
        row(
            WITH,
            PSYCOPG_WITH,
            0.5,
            "with acquire(), beside psycopg_pool",
            "`with pool.connection()` of the same ConnectionPool",
        ),
    ]


def contended(setting: Setting) -> list[Row]:
    """How evenly eight threads are served on two slots."""
    seconds = setting.pick(10.0, 2.5)
    queue = _queue(SLOTS)
    with _ours(setting, SLOTS) as pool, _psycopg(SLOTS) as theirs:
        ours = _waits(pool.acquire, seconds)
        others = {
            PSYCOPG: _waits(theirs.connection, seconds),
            QUEUE: _waits(lambda: _taken(queue), seconds),
        }
    what = f"{THREADS} threads on {SLOTS} slots"
    leases = sum(map(len, ours))
    note = f"each lease is held for {HOLD_SECONDS * 1000:g} ms; " + "; ".join(
        f"{name}: shares {_apart(waits):.3g} % apart, "
        f"longest wait {_longest(waits):.3g} x the median"
        for name, waits in others.items()
    )
    return [
        absolute(
            f"{what}: shares of leases, apart",
            _apart(ours),
            unit="%",
            n=leases,
            must=at_most(20),
            note=note,
        ),
        absolute(
            f"{what}: longest wait",
            _longest(ours),
            unit="x the median",
            n=leases,
            must=at_most(4),
        ),
    ]


# -- the contenders ----------------------------------------------------------


class Stub:
    """A connection without a server, as far as a ConnectionPool asks for one."""

    pgconn = SimpleNamespace(transaction_status=TransactionStatus.IDLE)

    @classmethod
    def connect(cls, _conninfo: str, **_: object) -> Stub:
        """A new one."""
        return cls()

    def close(self) -> None:
        """Nothing is open."""

    def __enter__(self) -> Stub:
        return self

    def __exit__(self, *_: object) -> None:
        """A Connection would commit here, which is not the pool's work."""


class Object:
    """What a kombu pool of this benchmark has; `acquire` gives it a `release`."""

    release: Callable[[], None]


class Objects(Resource):  # type: ignore[misc, unused-ignore]
    """A kombu pool, which is filled as kombu's own are."""

    def setup(self) -> None:
        """Fill it."""
        for _ in range(self.limit):
            self._resource.put_nowait(Object())


@contextmanager
def _ours(setting: Setting, size: int) -> Iterator[ProducerPool]:
    kafka = {**setting.broker.properties, "linger.ms": 0}
    with ProducerPool({"kafka": kafka}, size=size, timeout=TIMEOUT) as pool:
        yield pool


@contextmanager
def _psycopg(size: int) -> Iterator[Any]:
    stub: Any = Stub
    pool = ConnectionPool(
        connection_class=stub,
        min_size=size,
        max_size=size,
        open=True,
        timeout=TIMEOUT,
    )
    pool.wait()
    try:
        yield pool
    finally:
        pool.close()


def _queue(size: int) -> LifoQueue[object]:
    queue: LifoQueue[object] = LifoQueue()
    for _ in range(size):
        queue.put(object())
    return queue


@contextmanager
def _taken(queue: LifoQueue[object]) -> Iterator[None]:
    # Six of eight threads get nothing for as long as the two others run.
    item = queue.get(timeout=clients.BOUND_SECONDS)
    try:
        yield
    finally:
        queue.put(item)


# -- the loops, each written as an application writes it ---------------------


def _acquire(pool: ProducerPool) -> float:
    started = _begin()
    for _ in range(LEASES):
        lease = pool.acquire()
        lease.release()
    return _microseconds(started)


def _get(queue: LifoQueue[object]) -> float:
    started = _begin()
    for _ in range(LEASES):
        item = queue.get(timeout=TIMEOUT)
        queue.put(item)
    return _microseconds(started)


def _getconn(pool: Any) -> float:
    started = _begin()
    for _ in range(LEASES):
        connection = pool.getconn()
        pool.putconn(connection)
    return _microseconds(started)


def _acquire_object(pool: Any) -> float:
    started = _begin()
    for _ in range(LEASES):
        resource = pool.acquire(block=True, timeout=TIMEOUT)
        resource.release()
    return _microseconds(started)


def _in_a_block(block: Callable[[], AbstractContextManager[object]]) -> float:
    started = _begin()
    for _ in range(LEASES):
        with block():
            pass
    return _microseconds(started)


def _begin() -> float:
    gc.collect()
    return time.thread_time()


def _microseconds(started: float) -> float:
    return (time.thread_time() - started) / LEASES * 1_000_000


def _waits(
    block: Callable[[], AbstractContextManager[object]], seconds: float
) -> list[list[float]]:
    """The seconds that each thread has waited, for each time that it was served."""
    waits: list[list[float]] = [[] for _ in range(THREADS)]
    together = threading.Barrier(THREADS)

    def use(mine: list[float]) -> None:
        together.wait(clients.BOUND_SECONDS)
        ends = time.perf_counter() + seconds
        while (began := time.perf_counter()) < ends:
            with block():
                mine.append(time.perf_counter() - began)
                time.sleep(HOLD_SECONDS)

    threads = [threading.Thread(target=use, args=(mine,)) for mine in waits]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return waits


def _apart(waits: list[list[float]]) -> float:
    """By how many percent the smallest share is below the largest."""
    shares = [len(each) for each in waits]
    return (1 - min(shares) / max(shares)) * 100


def _longest(waits: list[list[float]]) -> float:
    """The longest wait, as a multiple of the median."""
    every = [wait for each in waits for wait in each]
    return max(every) / median(every)
