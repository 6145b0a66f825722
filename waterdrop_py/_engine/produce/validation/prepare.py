"""`fill`: from a message to a handle with what is sent of it, or a clear error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from waterdrop_py._engine.client.pending import ANYWHERE, Place
from waterdrop_py._engine.produce.validation import fields
from waterdrop_py._engine.produce.validation.messages import Violations, as_message
from waterdrop_py._engine.produce.validation.plain import recognise
from waterdrop_py.delivery import DeliveryHandle, TracedHandle
from waterdrop_py.errors import MessageInvalidError
from waterdrop_py.message import TracedMessage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from waterdrop_py.message import Message


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


def to_wait_for(handle: DeliveryHandle) -> None:
    """Prepare a handle that is polled for its outcome.

    It sets the slots of the outcome, because a slot that is not set is slow to read.
    """
    handle._native = handle._error = None


def _place(message: Message, errors: dict[str, str]) -> Place | None:
    """Partition, partition key and timestamp; None where nothing but -1 was given."""
    place = Place(
        fields.partition(message.partition, errors),
        fields.key("partition_key", message.partition_key, errors),
        fields.timestamp(message.timestamp, errors),
    )
    return None if place == ANYWHERE else place


def fill_run(
    given: list[Any],
    limit: int | None,
    found: Violations,
    start: int,
    *,
    null: bool = False,
) -> list[DeliveryHandle]:
    """A handle for each message of a run of a batch that begins at `start` there.

    `null`: they are tombstones. What is wrong is noted in `found`.
    """
    if null or limit is not None:
        return fill_others(given, range(len(given)), limit, found, start, null=null)
    batch, others = recognise(given)
    return fill_others(batch, others, limit, found, start)


def fill_others(
    batch: list[Any],
    others: Iterable[int],
    limit: int | None,
    found: Violations,
    start: int,
    *,
    null: bool = False,
) -> list[DeliveryHandle]:
    """`fill_run`, with a handle in place of each item at an index of `others`. The
    other items are handles already."""
    for index in others:
        try:
            batch[index] = fill(as_message(batch[index], null=null, whole=True), limit)
        except MessageInvalidError as error:
            found.note(start + index, error)
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
