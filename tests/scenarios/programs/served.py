"""What the applications of the servers share: two producers that the master has used.

A server's own arguments leave no room for ours, so these come in the environment.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from tests.scenarios.kit import library_threads, make_producer, say, sockets

if TYPE_CHECKING:
    from waterdrop_py import DeliveryHandle, Producer

TOPIC = os.environ["SCENARIO_TOPIC"]
CLOSED_BEFORE_FORK = os.environ["SCENARIO_CLOSED_BEFORE_FORK"] == "yes"
NEVER_BY_ITSELF_MS = 100_000


def _producer(**options: Any) -> Producer:
    return make_producer(
        os.environ["SCENARIO_SERVERS"],
        close_before_fork=0 if CLOSED_BEFORE_FORK else None,
        close_timeout=10_000,
        **options,
    )


PROMPT = _producer()
LATE = _producer(kafka={"linger.ms": NEVER_BY_ITSELF_MS})
"""What it accepts leaves the process when the producer is closed, and not before."""


def use_in_master() -> None:
    """Have both clients open when the server forks; tell what each child inherits."""
    PROMPT.produce_sync(TOPIC, b"master")
    LATE.produce_async(TOPIC, b"master-late")
    LATE.flush(10)
    say(master=os.getpid(), master_sockets=sockets())
    os.register_at_fork(after_in_child=_tell_inherited)


def _tell_inherited() -> None:
    say(inherited_sockets=sockets(), inherited_threads=library_threads())


def accept(name: str) -> DeliveryHandle:
    """Send one message now, and have another accepted."""
    LATE.produce_async(TOPIC, f"late-{name}")
    return PROMPT.produce_async(TOPIC, f"prompt-{name}")


def tell_served(name: str) -> None:
    """Tell that the request is done, by whom, and with how many clients."""
    opens = (PROMPT.stats().opens, LATE.stats().opens)
    say(served=name, served_by=os.getpid(), opens=opens)


def close() -> None:
    """Deliver what was accepted, and say whether that is all."""
    say(complete=[producer.close().complete for producer in (PROMPT, LATE)])


def tell_leaving() -> None:
    """Tell that this process has nothing left to do."""
    say(leaving=time.monotonic(), pid=os.getpid())
