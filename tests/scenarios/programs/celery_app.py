"""A Celery application whose producers the master has used before it forks its pool.

The broker is the master's memory, so the master itself calls the tasks.
"""

from __future__ import annotations

import os
import time
from typing import Any

from celery import Celery
from celery.signals import (
    worker_process_shutdown,
    worker_ready,
)

from tests.scenarios.programs import served

TASKS = 20

app = Celery("scenario", broker="memory://")
app.conf.worker_hijack_root_logger = False
app.conf.broker_connection_retry_on_startup = True
served.use_in_master()


@app.task  # type: ignore[untyped-decorator]
def send(name: str) -> None:
    """Send, and stay long enough for the other worker to get its share."""
    served.accept(name).result(10)
    time.sleep(0.05)
    served.tell_served(name)


@worker_ready.connect  # type: ignore[untyped-decorator]
def call_tasks(**_: Any) -> None:
    """Runs in the master, when its pool is there."""
    for number in range(TASKS):
        send.delay(str(number))


@worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def say_goodbye(**_: Any) -> None:
    """Runs in a worker that has nothing left to do, and sends all the same."""
    name = f"goodbye-{os.getpid()}"
    served.accept(name).result(10)
    served.tell_served(name)
    served.tell_leaving()
