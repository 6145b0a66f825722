"""A pool in a forked child: whose leases go on, and which configuration it has."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from typing import Any

from tests.scenarios.kit import WORDS, eventually, say, wait_for_child
from waterdrop_py import ProducerPool
from waterdrop_py.errors import (
    ConfigurationInvalidError,
    LeaseReleasedError,
    TuningWarning,
)
from waterdrop_py.testing import FakeClient

WAY = WORDS[0]


def config(index: int) -> dict[str, Any]:
    """A configuration of this process."""
    kafka = {"bootstrap.servers": "x:1", "transactional.id": f"{os.getpid()}-{index}"}
    return {"kafka": kafka, "client_factory": FakeClient}


FIXED = {
    "kafka": {"bootstrap.servers": "x:1", "transactional.id": "fixed"},
    "client_factory": FakeClient,
}
PLAIN = {"kafka": {"bootstrap.servers": "x:1"}, "client_factory": FakeClient}
SOURCES: dict[str, Any] = {"callable": config, "fixed": FIXED, "plain": PLAIN}
POOL = ProducerPool(SOURCES[WAY], size=3)


def child(own: Any, others: Any) -> None:
    """Use the pool."""
    stats = POOL.stats()
    say(leased=stats.leased, waiting=stats.waiting, draining=stats.draining)
    say(own=own.released, others=others.released, granted=stats.granted)
    try:
        say(gives=others.producer.id)
    except LeaseReleasedError:
        say(gives=None)
    try:
        POOL.reload({"kafka": {}})
    except ConfigurationInvalidError:
        say(refused=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            with POOL.acquire(1) as producer:
                say(mine=str(os.getpid()) in str(producer.config.kafka))
        if WAY == "plain":
            own.producer.produce_sync("t", b"x", timeout=5)
    own.release()
    say(warned=len([each for each in caught if each.category is TuningWarning]))
    eventually(lambda: POOL.stats().available == 3)  # old clients close first
    say(available=POOL.stats().available, complete=POOL.close(5).complete)


def main() -> None:
    """Fork while two threads have leases and one waits."""
    own, taken = POOL.acquire(), []
    thread = threading.Thread(target=lambda: taken.append(POOL.acquire()))
    thread.start()
    thread.join()
    third = POOL.acquire()
    waits = threading.Thread(target=lambda: POOL.acquire(10).release())
    waits.start()
    while not POOL.stats().waiting:
        pass
    pid = os.fork()
    if not pid:
        third.release()
        child(own, taken[0])
        sys.stdout.flush()
        os._exit(0)
    say(code=wait_for_child(pid))
    third.release()
    waits.join()
    for lease in (own, taken[0]):
        lease.release()
    say(parent=POOL.stats().available, parent_complete=POOL.close(5).complete)


main()
