"""`record`: the events of a monitor as a list."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

from waterdrop_py.events import EVENTS, listener_method

if TYPE_CHECKING:
    from collections.abc import Iterator

    from waterdrop_py.monitor import Event, Monitor


@contextmanager
def record(monitor: Monitor) -> Iterator[list[Event]]:
    """Give the list to which every event of the monitor is added, in order.

    Does not block; events may come from any thread. The list stays as it is once the
    block has ended. Recording counts as listening to each event, statistics too.
    """
    events: list[Event] = []
    methods = {listener_method(name): events.append for name in EVENTS}
    unsubscribe = monitor.subscribe(SimpleNamespace(**methods))
    try:
        yield events
    finally:
        unsubscribe()
