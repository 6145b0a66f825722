"""Telling subscribers of a message's outcome, each of them once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from waterdrop_py._engine.client.pending import topic_of
from waterdrop_py.delivery import report_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.emitter import Emitter
    from waterdrop_py.delivery import DeliveryHandle
    from waterdrop_py.errors import ProduceError


class Announcement:
    """How far it is said that a message has its outcome: a signal handler may raise at
    any moment, and then it goes on from there.

    Attributes:
        called: the user's `on_delivery` has begun.
        begun: the subscribers that have begun to hear of a success.
        failed: a failure is being told.
    """

    __slots__ = ("begun", "called", "failed", "failure", "handle")

    def __init__(self, handle: DeliveryHandle, failure: ProduceError | None) -> None:
        self.handle = handle
        self.failure = failure
        self.called = self.failed = False
        self.begun: list[Callable[..., object]] = []


def announce_success(emitter: Emitter, telling: Announcement, native: Any) -> None:
    """Tell of a delivered message; goes on where an earlier try was interrupted."""
    name = "message.acknowledged"
    if emitter.listens(name):
        payload = _payload(telling.handle, native, None)
        emitter.emit(name, payload, begun=telling.begun)


def announce_purge(emitter: Emitter, telling: Announcement, native: Any) -> None:
    """Tell of a message that an aborted transaction has given up."""
    if emitter.listens("message.purged"):
        payload = _payload(telling.handle, native, telling.failure)
        emitter.emit("message.purged", payload)


def announce_failure(
    emitter: Emitter,
    telling: Announcement,
    native: Any,
    *,
    logged: bool,
    alone: bool,
) -> None:
    """Tell of a message that was not delivered.

    `logged`: it is logged where nothing hears of it. `alone`: even where nothing
    listens; else the caller says so once for many messages.
    """
    kind, failure = "librdkafka.dispatch_error", telling.failure
    assert failure is not None
    if emitter.listens("error.occurred"):
        payload = _payload(telling.handle, native, failure)
        if logged:
            emitter.error(kind, failure, **payload)
        else:
            emitter.tell(kind, failure, **payload)
    elif logged and alone:
        emitter.error(kind, failure, topic=topic_of(telling.handle))


def _payload(
    handle: DeliveryHandle, native: Any, failure: ProduceError | None
) -> dict[str, Any]:
    """What events say of a message that has its outcome."""
    report = report_of(handle, native, failure)
    return {
        "topic": report.topic,
        "partition": report.partition,
        "offset": report.offset,
        "label": report.label,
        "message": report.message,
        "delivery_report": report,
    }
