"""Forks with messages that no broker takes."""

from __future__ import annotations

import os
import sys
import time

from tests.scenarios.kit import TOPIC, make_producer, say, wait_for_child
from waterdrop_py.errors import ProduceError


def main() -> None:
    """The child ends at once, and knows that the messages are not its own."""
    producer = make_producer(close_timeout=5_000)
    handles = [producer.produce_async(TOPIC, b"lost") for _ in range(500)]
    time.sleep(0.1)
    pid = os.fork()
    if not pid:
        codes = set()
        for handle in handles:
            try:
                handle.result(1)
            except ProduceError as error:
                codes.add(error.code)
        say(codes=sorted(codes), child_queue=len(producer), leaving=time.monotonic())
        sys.exit(0)
    say(child_code=wait_for_child(pid), gone=time.monotonic())
    say(parent_queue=len(producer), done=sum(handle.done() for handle in handles))
    report = producer.close(0.5)
    say(undelivered=len(report.undelivered))


main()
