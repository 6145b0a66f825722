"""A signal handler raises at random moments of a pool's calls."""

from __future__ import annotations

import random
import signal
import sys
import time
import warnings

from tests.scenarios.kit import WORDS, eventually, say
from waterdrop_py import ProducerPool
from waterdrop_py.testing import FakeClient

MODE, SECONDS, RANDOM = WORDS[0], float(WORDS[1]), random.Random(int(WORDS[2]))
SIZE = 2
KAFKA = {"bootstrap.servers": "x:1"}
if MODE == "transaction":
    KAFKA["transactional.id"] = "tx"
POOL = ProducerPool(
    {"kafka": KAFKA, "client_factory": FakeClient}, size=SIZE, timeout=5
)
ARMED = [False]


class Interrupt(KeyboardInterrupt):
    """The handler's."""


def on_signal(*_: object) -> None:
    """Raise, wherever the program is."""
    if ARMED[0]:
        raise Interrupt


def by_with() -> None:
    """A lease, and a message."""
    with POOL.acquire() as producer:
        producer.produce_async("t", b"x")


def by_release() -> None:
    """A lease by hand."""
    lease = POOL.acquire()
    try:
        lease.producer.produce_async("t", b"x")
    finally:
        lease.release()


def by_transaction() -> None:
    """A transaction with a message."""
    with POOL.transaction() as producer:
        producer.produce_async("t", b"x")


CALLS = {"with": by_with, "release": by_release, "transaction": by_transaction}


def main() -> None:
    """Whatever was interrupted, the pool is full in the end."""
    warnings.simplefilter("ignore", ResourceWarning)
    sys.unraisablehook = lambda _: None  # what is raised in a finalizer
    call, raised, calls, others = CALLS[MODE], 0, 0, []
    signal.signal(signal.SIGALRM, on_signal)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            ARMED[0] = True
            signal.setitimer(signal.ITIMER_REAL, RANDOM.uniform(0.000_01, 0.000_5))
            for _ in range(20):
                call()
                calls += 1
            ARMED[0] = False
        except Interrupt:
            ARMED[0] = False
            raised += 1
        except Exception as error:  # noqa: BLE001 - told, and judged by the test
            ARMED[0] = False
            others.append(repr(error))
        signal.setitimer(signal.ITIMER_REAL, 0)
    full = eventually(lambda: POOL.stats().available == SIZE, 5)
    stats = POOL.stats()
    ended = stats.granted + stats.timed_out + stats.refused
    say(raised=raised, calls=calls, others=others[:3], full=full)
    say(left=stats.requests - ended, leased=stats.leased, draining=stats.draining)
    for lease in [POOL.acquire(1) for _ in range(SIZE)]:
        lease.release()
    began = time.monotonic()
    # A disconnect that was interrupted as it began is begun again after a second. Until
    # then a close does not wait for it: it would wait for this thread.
    say(complete=eventually(lambda: POOL.close(5).complete, 5))
    say(close_s=time.monotonic() - began)


main()
