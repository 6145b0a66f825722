"""A handle filled with what is sent of a message; the plainly legal ones quickly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from waterdrop_py._engine.client.pending import ANYWHERE, Place
from waterdrop_py._engine.produce.validation import fields
from waterdrop_py._engine.produce.validation.fields import KNOWN_TOPICS
from waterdrop_py._engine.produce.validation.messages import Violations, as_message
from waterdrop_py._engine.produce.validation.plain import recognise
from waterdrop_py.delivery import DeliveryHandle
from waterdrop_py.errors import MessageInvalidError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from waterdrop_py.message import Message, MessageInput


def fill(message: Message, limit: int | None) -> DeliveryHandle:
    """Validate `message`; a handle with what is sent of it.

    Raises:
        MessageInvalidError: with every violation; nothing was sent.
    """
    handle = DeliveryHandle()
    topic, payload, key = message.topic, message.payload, message.key
    if (
        type(payload) is bytes
        and type(topic) is str
        and topic in KNOWN_TOPICS
        and (key is None or (type(key) is bytes and key))
        and message.partition is None
        and message.partition_key is None
        and message.timestamp is None
        and message.headers is None
        and limit is None
    ):
        handle._topic, handle._payload, handle._key = topic, payload, key
        handle._headers = handle._place = None
        handle._label = message.label
    else:
        _fill_checked(handle, message, limit)
    return handle


def fill_all(given: Sequence[MessageInput], limit: int | None) -> list[DeliveryHandle]:
    """A handle for each message of a batch; all are valid, or none is returned.

    Raises:
        MessageInvalidError: with every violation of every message.
    """
    if limit is not None:
        return fill_others(list(given), range(len(given)), limit)
    return fill_others(*recognise(given), limit)


def fill_others(
    batch: list[Any], others: Iterable[int], limit: int | None, *, null: bool = False
) -> list[DeliveryHandle]:
    """The batch, with a handle in place of each of the `others`, too; `null`: they
    are tombstones.

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


def _fill_checked(handle: DeliveryHandle, message: Message, limit: int | None) -> None:
    """Fill from a message that is not plainly legal."""
    errors: dict[str, str] = {}
    handle._topic = fields.topic(message.topic, errors)
    handle._payload = fields.payload(message.payload, errors)
    handle._key = fields.key("key", message.key, errors)
    place = Place(
        fields.partition(message.partition, errors),
        fields.key("partition_key", message.partition_key, errors),
        fields.timestamp(message.timestamp, errors),
    )
    handle._place = None if place == ANYWHERE else place
    handle._headers = fields.headers(message.headers, errors)
    handle._label = message.label
    sent = handle._payload
    # The size is judged of a message that is right otherwise.
    if not errors and limit is not None and sent is not None and len(sent) > limit:
        errors["payload"] = (
            f"must be at most {limit} bytes (max_payload_size), got {len(sent)}"
        )
    if errors:
        raise MessageInvalidError(errors)


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
