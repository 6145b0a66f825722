"""Helpers of the tests of `Monitor`: an event, its delivery, and a subscriber."""

from __future__ import annotations

from typing import Any

from waterdrop_py.monitor import Event, Monitor

NAME = "producer.disconnected"


PRODUCER = object()


def event(name: str = NAME, **payload: Any) -> Event:
    """An event with that payload."""
    return Event(name, payload, {})


def deliver(monitor: Monitor, name: str = NAME, sender: object = PRODUCER) -> None:
    """Call the receivers of an event; what they raise is not caught."""
    for _, call in monitor.receivers(name, sender):
        call(event(name))


class Named:
    """A subscriber that adds its name to a list when it is called."""

    def __init__(self, log: list[str], name: str) -> None:
        self.log = log
        self.name = name

    def __call__(self, event: Event) -> None:
        """The call of a subscriber."""
        self.log.append(self.name)

    def receive(self, sender: object, event: Event) -> None:
        """The call of a receiver of a signal."""
        self.log.append(self.name)
