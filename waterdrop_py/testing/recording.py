"""`record`: the events of a monitor as a list."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

from waterdrop_py._settings.redact import kind
from waterdrop_py.errors import InvalidArgumentError
from waterdrop_py.events import EVENTS, Event, listener_method
from waterdrop_py.monitor import Monitor


@contextmanager
def record(monitor: Monitor) -> Iterator[list[Event]]:
    """Give a list to which every event of the monitor is added, in order.

    Does not block; events may come from any thread. The list stays as it is when the
    block ends. Recording subscribes to every event, including statistics.

    Args:
        monitor: of a producer or a pool, or `waterdrop_py.monitor` for all of them.

    Example:
        >>> with record(producer.monitor) as events:
        ...     report = producer.produce_sync("orders", b"first")
        >>> "message.acknowledged" in [event.name for event in events]
        True
    """
    if not isinstance(monitor, Monitor):
        raise InvalidArgumentError(
            "monitor: must be a Monitor, as producer.monitor and waterdrop_py.monitor "
            f"are, got {kind(monitor)}"
        )
    events: list[Event] = []
    methods = {listener_method(name): events.append for name in EVENTS}
    unsubscribe = monitor.subscribe(SimpleNamespace(**methods))
    try:
        yield events
    finally:
        unsubscribe()
