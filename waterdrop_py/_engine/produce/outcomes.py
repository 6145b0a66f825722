"""What becomes of messages, as events and as errors of the verbs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from waterdrop_py._engine.client.pending import subject_of, undelivered
from waterdrop_py._engine.concurrency import clock
from waterdrop_py.errors import (
    DeliveryTimeoutError,
    ProduceError,
    ProduceManyError,
)
from waterdrop_py.errors import about as about_message

if TYPE_CHECKING:
    from waterdrop_py._engine.emitter import Emitter
    from waterdrop_py.delivery import DeliveryHandle, DeliveryReport
    from waterdrop_py.message import Message


def tell_sent(emitter: Emitter, handle: DeliveryHandle) -> None:
    """Emit that a message was handed over."""
    if emitter.listens("message.produced_async"):
        emitter.emit("message.produced_async", about(handle.message))


def tell_delivered(emitter: Emitter, report: DeliveryReport, started: float) -> None:
    """Emit that a message was delivered which its caller has waited for."""
    if emitter.listens("message.produced_sync"):
        emitter.emit(
            "message.produced_sync",
            {
                **about(report.message),
                "partition": report.partition,
                "offset": report.offset,
                "delivery_report": report,
            },
            duration_ms=(clock.system_now() - started) * 1000,
        )


def tell_all_sent(emitter: Emitter, handles: list[DeliveryHandle]) -> None:
    """Emit that a batch was handed over."""
    if emitter.listens("messages.produced_async"):
        sent = [handle.message for handle in handles]
        emitter.emit("messages.produced_async", {"messages": sent})


def tell_all_delivered(
    emitter: Emitter, handles: list[DeliveryHandle], started: float
) -> None:
    """Emit that a batch was delivered which its caller has waited for."""
    if emitter.listens("messages.produced_sync"):
        sent = [handle.message for handle in handles]
        emitter.emit(
            "messages.produced_sync",
            {"messages": sent},
            duration_ms=(clock.system_now() - started) * 1000,
        )


def raise_undelivered(
    emitter: Emitter, failure: ProduceError, handles: list[DeliveryHandle], verb: str
) -> NoReturn:
    """Emit and raise the error of a batch, of which `failure` is the first."""
    sent = [handle.message for handle in handles]
    error = failure
    if not isinstance(failure, DeliveryTimeoutError):
        error = many_error(failure, handles)
    emitter.error(verb, error, messages=sent)
    try:
        raise error
    finally:
        del error, failure  # the traceback has this frame: a cycle


def raise_refused(
    emitter: Emitter,
    failure: ProduceError,
    handles: list[DeliveryHandle],
    count: int,
    verb: str,
) -> NoReturn:
    """Emit and raise the error of a batch, of which `count` were handed over."""
    error = many_error(failure, handles[:count])
    sent = [each.message for each in handles]
    emitter.error(verb, error, messages=sent)
    try:
        raise error
    finally:
        del error


def first_error(handles: list[DeliveryHandle]) -> ProduceError | None:
    """The first error, in input order, of messages that all have an outcome."""
    for handle in undelivered(handles):
        error = handle.exception(0)
        if isinstance(error, ProduceError):
            return about_message(error, subject_of(handle))
    return None


def about(message: Message) -> dict[str, Any]:
    """The payload of an event about one message."""
    return {
        "topic": message.topic,
        "partition": message.partition,
        "label": message.label,
        "message": message,
    }


def many_error(
    failure: ProduceError, dispatched: list[DeliveryHandle]
) -> ProduceManyError:
    error = ProduceManyError(
        f"{failure.args[0]}; {len(dispatched)} messages were handed to librdkafka",
        code=failure.code,
        retriable=failure.retriable,
        fatal=failure.fatal,
        checklist=failure.checklist,
        dispatched=dispatched,
    )
    error.__cause__ = failure.__cause__ or failure
    return error
