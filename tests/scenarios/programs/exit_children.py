"""Children of multiprocessing send without waiting, and end."""

from __future__ import annotations

import multiprocessing
import sys
import threading
import time

from tests.scenarios.kit import TOPIC, WORDS, make_producer, say

PRODUCER = make_producer(kafka={"linger.ms": 50})


def send(name: str, pause: float = 0.0) -> None:
    """200 messages."""
    for number in range(200):
        PRODUCER.produce_async(TOPIC, f"{name}-{number}".encode())
        time.sleep(pause)


def child(name: str) -> None:
    """Two threads send; one goes on when this function has returned."""
    threading.Thread(target=send, args=(f"{name}-thread", 0.001)).start()
    send(name)
    if name.endswith("1"):
        sys.exit(7)


def main() -> None:
    """Two children, of which the second ends with a code of its own."""
    context = multiprocessing.get_context(WORDS[0])
    PRODUCER.produce_sync(TOPIC, b"parent")
    children = [
        context.Process(target=child, args=(f"child{number}",))  # type: ignore[attr-defined]
        for number in range(2)
    ]
    for process in children:
        process.start()
    for process in children:
        process.join(20)
    say(codes=[process.exitcode for process in children])


if __name__ == "__main__":
    main()
