"""Telling subscribers of a message's outcome, each of them once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from waterdrop_py._engine.client.pending import end_traces, is_traced, topic_of
from waterdrop_py.delivery import report_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.emitter import Emitter
    from waterdrop_py._engine.reports.accounting import CloseAccounting
    from waterdrop_py.delivery import DeliveryHandle
    from waterdrop_py.errors import ProduceError


class Announcement:
    """How far a message's outcome is announced.

    A signal handler may interrupt that. The next settling continues.

    Attributes:
        called: the user's `on_delivery` has begun.
        begun: the subscribers that have begun to hear of a success.
        failed: the announcement of a failure has begun.
    """

    __slots__ = ("begun", "called", "failed", "failure", "handle")

    def __init__(self, handle: DeliveryHandle, failure: ProduceError | None) -> None:
        self.handle = handle
        self.failure = failure
        self.called = self.failed = False
        self.begun: list[Callable[..., object]] = []


def announce_success(emitter: Emitter, announcement: Announcement, native: Any) -> None:
    """Announce a delivered message; continues where it was interrupted."""
    name = "message.acknowledged"
    if emitter.listens(name):
        payload = _payload(announcement.handle, native, None)
        emitter.emit(name, payload, begun=announcement.begun)


def announce_purge(emitter: Emitter, announcement: Announcement, native: Any) -> None:
    """Announce a message that an aborted transaction has purged."""
    if emitter.listens("message.purged"):
        payload = _payload(announcement.handle, native, announcement.failure)
        emitter.emit("message.purged", payload)


def announce_failure(
    emitter: Emitter,
    announcement: Announcement,
    native: Any,
    *,
    logged: bool,
    alone: bool,
) -> None:
    """Announce a message that was not delivered.

    `logged`: it is logged if no subscriber hears of it. `alone`: also if there are no
    subscribers; else the caller logs it together with others.
    """
    kind, failure = "librdkafka.dispatch_error", announcement.failure
    assert failure is not None
    if emitter.listens("error.occurred"):
        payload = _payload(announcement.handle, native, failure)
        if logged:
            emitter.error(kind, failure, **payload)
        else:
            emitter.emit_error(kind, failure, **payload)
    elif logged and alone:
        emitter.error(kind, failure, topic=topic_of(announcement.handle))


def end_traces_of(
    announcement: Announcement, native: Any, closing: CloseAccounting | None
) -> None:
    """Tell the steps that trace the message; those that were told hear nothing."""
    handle, failure = announcement.handle, announcement.failure
    if is_traced(handle):
        end = partial(end_traces, handle, report_of(handle, native, failure), failure)
        if closing is None or not closing.puts_off(end):
            end()


def _payload(
    handle: DeliveryHandle, native: Any, failure: ProduceError | None
) -> dict[str, Any]:
    """What events say about a message and its outcome."""
    report = report_of(handle, native, failure)
    return {
        "topic": report.topic,
        "partition": report.partition,
        "offset": report.offset,
        "label": report.label,
        "message": report.message,
        "delivery_report": report,
    }
