"""Forks in the way that its word says; the child sends, and tells what it found."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time

from tests.scenarios.kit import (
    TOPIC,
    WORDS,
    make_producer,
    say,
    sockets,
    wait_for_child,
)

PARENT_MESSAGES = 200
PRODUCER = make_producer()


def child() -> None:
    """Tell what was inherited, send, and tell when the end begins."""
    found = str(PRODUCER.status)
    buffered = len(PRODUCER)
    PRODUCER.produce_sync(TOPIC, b"child", timeout=10)
    say(
        found=found,
        buffered=buffered,
        opens=PRODUCER.stats().opens,
        leaving=time.monotonic(),
    )


def fork() -> None:
    """`os.fork`, and a child that ends like any program."""
    pid = os.fork()
    if not pid:
        child()
        sys.exit(0)
    say(child_code=wait_for_child(pid), gone=time.monotonic())


def in_callback() -> None:
    """`os.fork` inside a subscriber, on the thread that serves reports."""
    pids: list[int] = []

    def on_acknowledged(_: object) -> None:
        if not pids:
            pids.append(-1)
            pids.append(os.fork())
            if not pids[1]:
                code = 1
                try:
                    child()
                    code = 0
                finally:
                    os._exit(code)

    unsubscribe = PRODUCER.monitor.subscribe("message.acknowledged", on_acknowledged)
    PRODUCER.produce_async(TOPIC, b"parent-callback").result(10)
    unsubscribe()
    say(child_code=wait_for_child(pids[1]), gone=time.monotonic())


def preexec() -> None:
    """A function of ours runs in the child before it becomes another program."""
    process = subprocess.Popen([sys.executable, "-c", "pass"], preexec_fn=child)  # noqa: PLW1509 - the subject
    say(child_code=process.wait(10), gone=time.monotonic())


def started(method: str) -> None:
    """A process of multiprocessing."""
    process = multiprocessing.get_context(method).Process(target=child)  # type: ignore[attr-defined]
    process.start()
    process.join(20)
    say(child_code=process.exitcode, gone=time.monotonic())


def main() -> None:
    """Send, fork with messages in flight, and close."""
    kind = WORDS[0]
    PRODUCER.produce_sync(TOPIC, b"parent-first")
    handles = [
        PRODUCER.produce_async(TOPIC, f"parent-{n}".encode())
        for n in range(PARENT_MESSAGES)
    ]
    if kind == "os":
        fork()
    elif kind == "callback":
        in_callback()
    elif kind == "preexec":
        preexec()
    else:
        started(kind)
    for handle in handles:
        handle.result(10)
    say(parent_opens=PRODUCER.stats().opens, parent_sockets=sockets())
    report = PRODUCER.close(5)
    say(complete=report.complete)


if __name__ == "__main__":
    main()
