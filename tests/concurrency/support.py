"""What forces an interleaving: hooks in the places that threads look at."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from waterdrop_py import Producer
from waterdrop_py._engine.concurrency.counter import peek
from waterdrop_py._engine.connection.batch import batch_of
from waterdrop_py._engine.connection.connection import every_connection
from waterdrop_py._engine.connection.disconnecting import disconnect_if_due
from waterdrop_py.testing import record

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack
    from itertools import count

    from tests.doubles import Bench
    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py.monitor import Event

IDLE: Final = 60.0
"""Seconds of the idle timeout, on the test's clock."""


class Make:
    """Builds producers; each records its events."""

    def __init__(self, bench: Bench, stack: ExitStack) -> None:
        self._bench, self._stack = bench, stack
        self.events: list[Event] = []

    def __call__(self, *, idle: bool = False, **options: Any) -> Producer:
        """A producer without, or with, an idle timeout of IDLE."""
        options.setdefault("idle_disconnect_timeout", int(IDLE * 1000) if idle else 0)
        producer = Producer(**self._bench.options(**options))
        self.events = self._stack.enter_context(record(producer.monitor))
        self._stack.callback(producer.close, 2)
        return producer

    def quiet(self, **options: Any) -> Producer:
        """One without subscribers, so that it takes every short cut."""
        producer = Producer(**self._bench.options(**options))
        self._stack.callback(producer.close, 2)
        return producer


def connection_of(producer: Producer) -> Connection:
    """The connection of a producer that has opened a client."""
    for connection in every_connection():
        if connection.emitter.producer_id == producer.id:
            return connection
    raise AssertionError("it has never opened a client")


def named(events: list[Event], name: str) -> list[dict[str, Any]]:
    """The payloads of the events of that name."""
    return [event.payload for event in list(events) if event.name == name]


def reap(connection: Connection) -> None:
    """Close the client of `connection` as a worker does that is told that it is due."""
    batch = batch_of(connection.runtime, 1)
    disconnect_if_due(connection, batch)


class HookedMarks(deque[None]):
    """`client.borrows` with a call before a mark is set, or after it is seen."""

    def __init__(
        self,
        before_append: Callable[[], object] | None = None,
        after_look: Callable[[], object] | None = None,
    ) -> None:
        super().__init__()
        self.before_append, self.after_look = before_append, after_look

    def append(self, item: None) -> None:
        """Set a mark."""
        hook, self.before_append = self.before_append, None
        if hook is not None:
            hook()
        super().append(item)

    def __len__(self) -> int:
        found = super().__len__()
        hook, self.after_look = self.after_look, None
        if hook is not None:
            hook()
        return found

    def __bool__(self) -> bool:
        return len(self) > 0


class HookedCount:
    """`itertools.count` that calls a function before it counts, or after a read."""

    def __init__(
        self,
        inner: count[int],
        before_next: Callable[[], object] | None = None,
        after_read: Callable[[], object] | None = None,
    ) -> None:
        self._inner = inner
        self.before_next, self.after_read = before_next, after_read

    def __next__(self) -> int:
        hook, self.before_next = self.before_next, None
        if hook is not None:
            hook()
        return next(self._inner)

    def __repr__(self) -> str:
        read = peek(self._inner)
        hook, self.after_read = self.after_read, None
        if hook is not None:
            hook()
        return f"count({read})"
