"""Jobs for RQ. Each sends without a wait what stays in the process until it ends."""

from __future__ import annotations

import os
import time

from rq import Retry
from rq.worker import Worker

from tests.scenarios.kit import make_producer

TOPIC = os.environ["SCENARIO_TOPIC"]
PRODUCER = make_producer(
    os.environ["SCENARIO_SERVERS"], kafka={"linger.ms": 20_000}, close_timeout=5_000
)


def send(name: str) -> None:
    """A job that returns."""
    PRODUCER.produce_async(TOPIC, f"job-{name}")
    PRODUCER.buffer(TOPIC, f"buffered-{name}")


def fail(name: str) -> None:
    """A job that raises."""
    send(name)
    raise LookupError(name)


def overdue(name: str) -> None:
    """A job that its timeout interrupts, while it waits for a report."""
    send(name)
    PRODUCER.produce_sync(TOPIC, f"sync-{name}")
    time.sleep(20)


def again(name: str) -> Retry | None:
    """A job that asks to be run once more, the first time."""
    first = not os.path.exists(f"{os.environ['SCENARIO_FOLDER']}/{name}")
    if not first:
        return None
    with open(f"{os.environ['SCENARIO_FOLDER']}/{name}", "w"):
        send(name)
    return Retry(max=1)


def report(job: object, *_: object) -> None:
    """A callback of RQ's, behind the job."""
    PRODUCER.produce_async(TOPIC, "callback")


class Preloaded(Worker):
    """A worker that has used the producer before it forks."""

    def work(self, *args: object, **kwargs: object) -> bool:
        """Have a client open, and the library's threads at work, in the parent."""
        PRODUCER.produce_async(TOPIC, "parent")
        PRODUCER.flush(10)
        return bool(super().work(*args, **kwargs))  # type: ignore[arg-type]
