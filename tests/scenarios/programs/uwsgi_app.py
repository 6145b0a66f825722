"""An application for uWSGI: the master uses the producer, and so does each worker."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.scenarios.kit import make_producer, say, sockets

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

TOPIC = os.environ["SCENARIO_TOPIC"]
PRODUCER = make_producer(
    os.environ["SCENARIO_SERVERS"], idle_disconnect_timeout=30_000, close_timeout=5_000
)
LATE = make_producer(os.environ["SCENARIO_SERVERS"], kafka={"linger.ms": 100_000})

PRODUCER.produce_sync(TOPIC, f"master-sync-{os.getpid()}")
PRODUCER.produce_async(TOPIC, f"master-async-{os.getpid()}")
say(loaded_by=os.getpid(), sockets=sockets())


def application(
    environ: dict[str, Any], start_response: Callable[..., object]
) -> list[bytes]:
    """Three messages for each request, of which one waits for the process to end."""
    name = environ["PATH_INFO"].strip("/")
    LATE.produce_async(TOPIC, f"late-{name}")
    PRODUCER.produce_async(TOPIC, f"async-{name}")
    PRODUCER.produce_sync(TOPIC, f"sync-{name}", timeout=10)
    say(served_by=os.getpid())
    start_response("204 No Content", [])
    return []
