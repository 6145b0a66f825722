"""Forks while the group of the process has a pool, and a thread is making another.

The word says on which thread the fork is: beside the look-up, or inside of it.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

from tests.scenarios.kit import SERVERS, TOPIC, WORDS, say, wait_for_child
from waterdrop_py import Config, pools
from waterdrop_py.pools._group_pool import GroupPool

KEPT = Config(kafka={"bootstrap.servers": SERVERS, "linger.ms": 0}, id="kept")
NEW = Config(kafka={"bootstrap.servers": SERVERS, "linger.ms": 0}, id="new")
ENTERED, GO = threading.Event(), threading.Event()
construct = GroupPool.__init__


def send(config: Config, payload: str) -> None:
    """Send one message through the pool of `config`."""
    with pools.producers[config].acquire() as producer:
        producer.produce_sync(TOPIC, payload.encode(), timeout=10)


def fork(pool: object) -> None:
    """Fork; the child uses its parent's pool, and makes one of its own."""
    pid = os.fork()
    if not pid:
        say(same=pools.producers[KEPT] is pool, pools=len(pools.producers))
        send(KEPT, "child-kept")
        send(NEW, "child-new")
        say(then=len(pools.producers), opens=pools.producers[KEPT].stats().opens)
        say(
            limit=pools.set_limit(3),
            sizes=[each.size for each in pools.producers.values()],
        )
        say(complete=pools.reset(5).complete, left=len(pools.producers))
        sys.exit(0)
    say(child_code=wait_for_child(pid, 15))


def beside(pool: object) -> None:
    """Fork while another thread is in the middle of a look-up."""

    def parked(new: GroupPool, *args: Any, **options: Any) -> None:
        construct(new, *args, **options)
        if threading.current_thread() is not threading.main_thread():
            ENTERED.set()
            GO.wait(20)

    GroupPool.__init__ = parked  # type: ignore[assignment, method-assign]
    thread = threading.Thread(target=pools.producers.__getitem__, args=(NEW,))
    thread.start()
    ENTERED.wait(10)
    fork(pool)
    GO.set()
    thread.join()


def inside(pool: object) -> None:
    """Fork inside of a look-up; it goes on in the child, on top of which it began."""
    forked: list[None] = []

    def forking(new: GroupPool, *args: Any, **options: Any) -> None:
        construct(new, *args, **options)
        if not forked:
            forked.append(None)
            fork(pool)

    GroupPool.__init__ = forking  # type: ignore[assignment, method-assign]
    pools.producers[NEW]


def main() -> None:
    """Use both pools afterwards in the parent, too."""
    pool = pools.producers[KEPT]
    send(KEPT, "parent-first")
    {"beside": beside, "inside": inside}[WORDS[0]](pool)
    send(KEPT, "parent-kept")
    send(NEW, "parent-new")
    say(parent=len(pools.producers), parent_same=pools.producers[KEPT] is pool)
    say(parent_complete=pools.reset(5).complete)


main()
