"""Sends from exit handlers that are older than the library's import, or outlive it."""

from __future__ import annotations

import atexit
import logging
import logging.handlers
import queue
import time
import weakref
from typing import Any

LATE: list[Any] = []


def run_late() -> None:
    """What was left for the end; registered before the library's own handler."""
    for job in LATE:
        job()


atexit.register(run_late)

from tests.scenarios.kit import (  # noqa: E402
    SERVERS,
    TOPIC,
    WORDS,
    library_threads,
    make_producer,
    say,
)
from waterdrop_py.errors import ProducerClosedError  # noqa: E402

WAY = WORDS[0]
KAFKA: dict[str, Any] = {"linger.ms": 100_000 if WAY == "linger" else 0}
if WAY == "transactional":
    KAFKA["transactional.id"] = TOPIC
PRODUCER = make_producer(SERVERS, kafka=KAFKA, close_timeout=1_500)


class ToKafka(logging.Handler):
    """A log handler as people write it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send the record."""
        try:
            PRODUCER.produce_async(TOPIC, record.getMessage())
        except Exception:  # noqa: BLE001 - what logging's handlers do
            self.handleError(record)


def logger(handler: logging.Handler) -> logging.Logger:
    """A logger with that handler."""
    log = logging.getLogger("app")
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    return log


def send(count: int = 5) -> None:
    """Without a wait."""
    for number in range(count):
        PRODUCER.produce_async(TOPIC, f"late-{number}")


def memory() -> None:
    """Records that `logging.shutdown` flushes."""
    log = logger(logging.handlers.MemoryHandler(1_000, target=ToKafka()))
    for number in range(5):
        log.info("late-%d", number)


def listener() -> None:
    """A `QueueListener`, whose thread is a daemon, stopped by an old handler."""
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()

    class Slow(ToKafka):
        def emit(self, record: logging.LogRecord) -> None:
            time.sleep(0.05)
            super().emit(record)

    listening = logging.handlers.QueueListener(records, Slow())
    listening.start()
    log = logger(logging.handlers.QueueHandler(records))
    for number in range(5):
        log.info("late-%d", number)
    LATE.append(listening.stop)


def dead() -> None:
    """Handlers send to a broker that is down; all together take a `close_timeout`."""

    def late() -> None:
        started = time.monotonic()
        send()
        say(late_s=time.monotonic() - started)

    LATE.append(late)


def closed() -> None:
    """What the user has closed stays closed; nothing tells the two apart but that."""
    PRODUCER.close()

    def late() -> None:
        try:
            send(1)
        except ProducerClosedError:
            say(refused=True)

    LATE.append(late)


def closed_late() -> None:
    """A handler that sends, closes, and sends again."""

    def late() -> None:
        send()
        report = PRODUCER.close()
        say(complete=report.complete, status=str(PRODUCER.status))
        try:
            send(1)
        except ProducerClosedError:
            say(refused=True)

    LATE.append(late)


def finalizer() -> None:
    """`weakref.finalize` runs at exit; the first one, before the library's import or
    behind it, registers it."""
    held = ToKafka()
    LATE.append(lambda: held)
    weakref.finalize(held, send)


def main() -> None:
    """One way to send late."""
    batch = [{"topic": TOPIC, "payload": f"late-{number}"} for number in range(5)]
    ways: dict[str, Any] = {
        "memory": memory,
        "listener": listener,
        "handler": lambda: LATE.append(send),
        "linger": lambda: LATE.append(send),
        "sync": lambda: LATE.append(
            lambda: [PRODUCER.produce_sync(TOPIC, f"late-{n}") for n in range(5)]
        ),
        "many": lambda: LATE.append(lambda: PRODUCER.produce_many_async(batch)),
        "buffer": lambda: LATE.append(lambda: PRODUCER.buffer_many(batch)),
        "transactional": lambda: LATE.append(send),
        "never-used": lambda: LATE.append(send),
        "closed-late": closed_late,
        "finalizer": finalizer,
        "dead": dead,
        "closed": closed,
    }
    if WAY not in {"never-used", "dead", "linger"}:
        PRODUCER.produce_sync(TOPIC, b"first")
    ways[WAY]()
    LATE.append(lambda: say(leaving=time.monotonic(), clients=library_threads()))


if __name__ == "__main__":
    main()
