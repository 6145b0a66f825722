"""Forks with figures of every kind; the child tells what it has counted."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import time
from typing import Any

import waterdrop_py
from tests.scenarios.kit import (
    TOPIC,
    WORDS,
    eventually,
    make_producer,
    say,
    wait_for_child,
)
from waterdrop_py import overview

WAY = WORDS[0]


def figures() -> dict[str, Any]:
    """What the process has counted so far."""
    ledger = waterdrop_py.ledger()
    return {
        "opens": ledger.opens,
        "reopens": ledger.reopens,
        "disconnects": sum(ledger.disconnects.values()),
        "gaps": ledger.idle_gaps_s.count,
        "times": ledger.reopen_times_ms.count,
        "seconds": ledger.connected_s + ledger.disconnected_s,
        "saved": ledger.saved.connection_s,
        "produced": sum(
            each.produced for each in overview.figures(lambda labels: labels).values()
        ),
        "labels": sorted(
            {each.name or "" for each in overview.figures(lambda labels: labels)}
        ),
        "health": sorted(waterdrop_py.health().producers),
    }


def fork() -> int:
    """By Python, or in C, where no hook runs."""
    if WAY == "os":
        return os.fork()
    time.sleep(0.3)
    return int(ctypes.PyDLL(None).fork())


def main() -> None:
    """One producer is idle, one is closed, one was collected."""
    idle, closed, dropped = (
        make_producer(id=name, close_before_fork=None)
        for name in ("idle", "closed", "dropped")
    )
    for each in (idle, closed, dropped):
        each.produce_sync(TOPIC, b"parent")
    idle.variant(topic_config={"acks": 1}).produce_sync(TOPIC, b"parent")
    time.sleep(1.05)
    idle.disconnect()
    idle.produce_sync(TOPIC, b"parent")
    idle.disconnect()
    closed.close(5)
    del each, dropped
    gc.collect()
    assert eventually(lambda: waterdrop_py.ledger().disconnects.get("close") == 2)
    parent = figures()
    pid = fork()
    if not pid:
        say(child=figures(), stats=[idle.stats().opens, closed.stats().opens])
        idle.produce_sync(TOPIC, b"child")
        say(after=figures())
        sys.exit(0)
    say(code=wait_for_child(pid), parent=parent, later=figures())
    idle.close(5)


main()
