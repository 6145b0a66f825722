"""`fill`: from a message to a handle with what is sent of it, or a clear error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from waterdrop_py._engine.client.pending import ANYWHERE, Place
from waterdrop_py._engine.produce.validation import fields
from waterdrop_py._engine.produce.validation.messages import Violations, as_message
from waterdrop_py._engine.produce.validation.plain import recognise
from waterdrop_py.delivery import DeliveryHandle, TracedHandle
from waterdrop_py.errors import MessageInvalidError
from waterdrop_py.middleware import TracedMessage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from waterdrop_py.message import Message, MessageInput


def fill(message: Message, limit: int | None) -> DeliveryHandle:
    """Validate `message`. Returns a handle with what is sent of it.

    `limit`: the most bytes of a payload, or None.

    Raises:
        MessageInvalidError: with every violation; nothing was sent.
    """
    handle = DeliveryHandle()
    if type(message) is TracedMessage:
        handle = TracedHandle()
        handle._traces = message.traces
    errors: dict[str, str] = {}
    handle._topic = fields.topic(message.topic, errors)
    handle._payload = sent = fields.payload(message.payload, errors)
    handle._key = fields.key("key", message.key, errors)
    if (
        message.partition is None
        and message.partition_key is None
        and message.timestamp is None
    ):
        handle._place = None
    else:
        handle._place = _place(message, errors)
    given = message.headers
    handle._headers = None if given is None else fields.headers(given, errors)
    handle._label = message.label
    # The size is checked only if all else is right.
    if not errors and limit is not None and sent is not None and len(sent) > limit:
        errors["payload"] = (
            f"must be at most {limit} bytes (max_payload_size), got {len(sent)}"
        )
    if errors:
        raise MessageInvalidError(errors)
    return handle


def fill_to_wait_for(message: Message, limit: int | None) -> DeliveryHandle:
    """`fill`, for a handle that is polled for its outcome.

    It sets the slots of the outcome, because a slot that is not set is slow to read.
    """
    handle = fill(message, limit)
    handle._native = handle._error = None
    return handle


def _place(message: Message, errors: dict[str, str]) -> Place | None:
    """Partition, partition key and timestamp; None where nothing but -1 was given."""
    place = Place(
        fields.partition(message.partition, errors),
        fields.key("partition_key", message.partition_key, errors),
        fields.timestamp(message.timestamp, errors),
    )
    return None if place == ANYWHERE else place


def fill_all(given: Sequence[MessageInput], limit: int | None) -> list[DeliveryHandle]:
    """A handle for each message of a batch, if all are valid.

    Raises:
        MessageInvalidError: with every violation of every message.
    """
    if limit is not None:
        return fill_others(list(given), range(len(given)), limit)
    return fill_others(*recognise(given), limit)


def fill_others(
    batch: list[Any], others: Iterable[int], limit: int | None, *, null: bool = False
) -> list[DeliveryHandle]:
    """The batch, with a handle also in place of each item at an index of `others`.

    `null`: those are tombstones.

    Raises:
        MessageInvalidError: with every violation of every message.
    """
    found = Violations()
    for index in others:
        try:
            batch[index] = fill(as_message(batch[index], null=null, whole=True), limit)
        except MessageInvalidError as error:
            found.note(index, error)
    found.end()
    return batch


def checked_topic(topic: str) -> str:
    """`topic` if it is a topic's name.

    Raises:
        MessageInvalidError: it is not.
    """
    errors: dict[str, str] = {}
    name = fields.topic(topic, errors)
    if errors:
        raise MessageInvalidError(errors)
    return name
