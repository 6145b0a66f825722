"""What events and errors say about the messages of a verb."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from waterdrop_py.errors import ProduceError, ProduceManyError

if TYPE_CHECKING:
    from waterdrop_py.delivery import DeliveryHandle
    from waterdrop_py.message import Message


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
    """The error of a batch whose messages before a refused one were `dispatched`."""
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
