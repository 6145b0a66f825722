"""A fork in the middle of another thread's reload, while a lease is out.

The reload closes the old producers, or it has not taken them out of their slots yet.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any, Final

from tests.scenarios.kit import WORDS, eventually, say, wait_for_child
from waterdrop_py import ProducerPool
from waterdrop_py.pools._members import Members
from waterdrop_py.testing import FakeClient

PARENT: Final = os.getpid()
HELD = threading.Event()
REACHED = threading.Semaphore(0)
STUCK = threading.Event()


def stick(where: str) -> None:
    """Stay here in the parent, if the fork is to be made then."""
    if WORDS[0] == where and os.getpid() == PARENT:
        REACHED.release()
        STUCK.wait(10)


class Client(FakeClient):
    """One whose close takes its time in the parent, and whose reports may be held."""

    def poll(self, timeout: float = -1) -> int:
        """Serve the reports, unless they are held."""
        if HELD.is_set():
            time.sleep(0.002)
            return 0
        return super().poll(timeout)

    def close(self) -> bool:
        """Close, in the parent when it may."""
        stick("closing")
        return super().close()


def config(linger: int) -> dict[str, Any]:
    """A configuration; another `linger` makes another one."""
    kafka = {"bootstrap.servers": "x:1", "linger.ms": linger}
    return {"kafka": kafka, "client_factory": Client}


POOL = ProducerPool(config(1), size=8)


def succeed(members: Members, *arguments: Any) -> bool:
    """As it is, and slow."""
    stick("succeeding")
    return SUCCEED(members, *arguments)


SUCCEED, Members.succeed = Members.succeed, succeed  # type: ignore[assignment,method-assign]


def child(own: Any) -> None:
    """The lease goes on; its producer is counted, flushed and closed by the pool."""
    say(draining=POOL.stats().draining)
    HELD.set()
    handle = own.producer.produce_async("t", b"mine")
    own.release()
    stats = POOL.stats()
    say(flushed=POOL.flush(0.05), produced=stats.produced, in_flight=stats.in_flight)
    HELD.clear()
    handle.result(5)
    with POOL.acquire(1) as producer:
        say(linger=producer.config.kafka["linger.ms"])
        producer.produce_sync("t", b"next", timeout=5)
    say(closed=eventually(lambda: POOL.stats().draining == 0, 5))
    say(acknowledged=POOL.stats().acknowledged, complete=POOL.close(5).complete)


def main() -> None:
    """Fork while no library thread is left that could close a producer, or while the
    first slot is to have its next producer."""
    leases = [POOL.acquire() for _ in range(8)]
    for lease in leases:
        lease.producer.produce_sync("t", b"first", timeout=5)
    own = leases.pop(0)
    reload = threading.Thread(target=lambda: POOL.reload(config(2)))
    for lease in leases:
        lease.release()
    reload.start()
    for _ in range(4 if WORDS[0] == "closing" else 1):
        assert REACHED.acquire(timeout=5)
    pid = os.fork()
    if not pid:
        child(own)
        sys.stdout.flush()
        os._exit(0)
    say(code=wait_for_child(pid))
    STUCK.set()
    reload.join()
    own.release()
    say(parent_complete=POOL.close(5).complete)


main()
