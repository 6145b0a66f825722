"""Bare confluent_kafka clients in a process of their own, which does as it is told.

It reads lines of JSON from stdin: the cluster, the topic, and the numbers of partitions
and clients; then commands, such as `["deliver", 0, 2]`: client 0 sends to partition 2
and waits for the report. Every 0.05 s it tells what it holds. It ends with its stdin,
and so with its parent.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from typing import Any, Final

from waterdrop_py.cli.demo.baseline import BareClient
from waterdrop_py.cli.demo.cluster import Target
from waterdrop_py.cli.demo.usage import Usage

TELL_SECONDS: Final = 0.05


def main() -> None:
    """Serve until the parent closes stdin, which ends the process."""
    cluster, topic, partitions, count = json.loads(sys.stdin.readline())
    commands: queue.SimpleQueue[list[Any]] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(commands,), daemon=True).start()
    usage = Usage()
    target = Target(cluster, topic, partitions, what="")
    clients = [BareClient(target) for _ in range(count)]
    while True:
        for client in clients:
            client.poll()
        acknowledged = sum(client.acknowledged for client in clients)
        line = json.dumps([usage.above_baseline(), acknowledged]) + "\n"
        os.write(1, line.encode())
        try:
            what, number, argument = commands.get(timeout=TELL_SECONDS)
        except queue.Empty:
            continue
        getattr(clients[number], what)(argument)


def _read(commands: queue.SimpleQueue[list[Any]]) -> None:
    for line in sys.stdin:
        commands.put(json.loads(line))
    os._exit(0)
