"""What the programs of the scenarios share: their arguments, and how they report.

A program is called with the brokers, a topic, and words of its own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from waterdrop_py import Config, Producer
from waterdrop_py._engine.process.resources import count_resources
from waterdrop_py.testing import allow_short_idle_timeouts

if TYPE_CHECKING:
    from collections.abc import Callable

SERVERS, TOPIC, *WORDS = [*sys.argv[1:], "", ""][: max(2, len(sys.argv) - 1)]


def say(**facts: Any) -> None:
    """Tell the test; one write, so that processes do not mix their lines."""
    os.write(1, (json.dumps(facts) + "\n").encode())


def make_producer(servers: str = SERVERS, **options: Any) -> Producer:
    """A producer without linger; idle timeouts may be short."""
    kafka = {
        "bootstrap.servers": servers,
        "linger.ms": 0,
        **options.pop("kafka", {}),
    }
    with allow_short_idle_timeouts():
        return Producer(Config(kafka=kafka, **options))


def sockets() -> int:
    """TCP sockets of this process."""
    census = count_resources()
    assert census is not None
    return census.sockets


def library_threads() -> int:
    """librdkafka's threads in this process."""
    census = count_resources()
    assert census is not None
    return census.threads


def eventually(condition: Callable[[], bool], within: float = 10.0) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def wait_for_child(pid: int, within: float = 10.0) -> int | None:
    """The exit code of a child; None when it does not end in time."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    return None
