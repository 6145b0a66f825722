"""The process forks in the middle of a close."""

from __future__ import annotations

import os
import threading
import time

from tests.scenarios.kit import (
    TOPIC,
    WORDS,
    eventually,
    make_producer,
    say,
    wait_for_child,
)
from waterdrop_py.errors import ProducerClosedError

PHASE = WORDS[0]


def child(producer: object) -> None:
    """What the child sees of the close of its parent."""
    from waterdrop_py import Producer

    assert isinstance(producer, Producer)
    say(status=str(producer.status))
    started = time.monotonic()
    try:
        producer.produce_async(TOPIC, b"child")
    except ProducerClosedError:
        say(refused=True)
    report = producer.close(2)
    say(child_s=time.monotonic() - started, complete=report.complete)
    say(left=len(report.undelivered), after=str(producer.status))


def main() -> None:
    """Fork while a thread closes, with every broker down."""
    kafka = {"queue.buffering.max.messages": 2} if PHASE == "handing over" else {}
    producer = make_producer(kafka=kafka)
    for _ in range(2):
        producer.produce_async(TOPIC, b"parent")
    if PHASE == "handing over":
        producer.buffer(TOPIC, b"no room")
    closing = threading.Thread(target=lambda: reports.append(producer.close(3)))
    reports: list[object] = []
    closing.start()
    if PHASE == "closing":
        assert eventually(lambda: str(producer.status) == "closing")
    else:
        time.sleep(0.3)
    pid = os.fork()
    if pid == 0:
        child(producer)
        os._exit(0)
    say(code=wait_for_child(pid))
    closing.join(10)
    say(parent=len(reports), parents_status=str(producer.status))


main()
