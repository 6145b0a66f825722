"""From what a user passed to `Message` objects: single, tombstones, and batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Final

from waterdrop_py._engine.produce.validation.fields import field_errors
from waterdrop_py._engine.produce.validation.plain import recognise
from waterdrop_py._settings.plain import plain
from waterdrop_py._settings.redact import kind, short_repr
from waterdrop_py.errors import MessageInvalidError
from waterdrop_py.message import Message, snapshot

if TYPE_CHECKING:
    from waterdrop_py.delivery import DeliveryHandle
    from waterdrop_py.message import MessageInput

_NO_KEY: Final = "missing; a tombstone deletes a key: it must be non-empty bytes or str"

_FOREIGN: Final = {"value": "payload", "msg": "payload", "timestamp_ms": "timestamp"}
"""Names of confluent-kafka's and kafka-python's."""
FIELDS: Final = tuple(field.name for field in fields(Message))


def as_message(
    given: MessageInput, *, null: bool = False, whole: bool = False
) -> Message:
    """The `Message` that a user passed as one, or as a mapping of its fields.

    `null`: it is a tombstone. Its payload may be missing, and is ignored.
    `whole`: no middleware will change it, so an error also names wrong values.

    Raises:
        MessageInvalidError: it is neither a `Message` nor a mapping of its fields.
    """
    try:
        return _as_message(given, null=null)
    except MessageInvalidError as error:
        if not whole:
            raise
        errors = {**_wrong_values(given, null=null), **error.errors}
    raise MessageInvalidError(errors)


def _wrong_values(given: object, *, null: bool) -> dict[str, str]:
    if isinstance(given, Message):
        given = {name: getattr(given, name) for name in FIELDS}
    if not isinstance(given, Mapping):
        return {}
    whole = {plain(name): value for name, value in given.items()}
    values = {name: whole[name] for name in FIELDS if name in whole}
    if null:
        values["payload"] = None
    return field_errors(values)


def _as_message(given: MessageInput, *, null: bool) -> Message:
    if isinstance(given, Message):
        return _entombed(given) if null else given
    if not isinstance(given, Mapping):
        raise MessageInvalidError(
            {"message": f"must be a Message or a mapping, got {short_repr(given)}"}
        )
    given = {plain(name): value for name, value in given.items()}
    errors = {str(name): _unknown(name) for name in given if name not in FIELDS}
    if null and given.get("key") is None:
        errors["key"] = _NO_KEY
    for required in ("topic",) if null else ("topic", "payload"):
        if required not in given:
            errors[required] = "missing; it must be given" + (
                " (None, for a null payload, explicitly)"
                if required == "payload"
                else ""
            )
    if errors:
        raise MessageInvalidError(errors)
    return (
        _entombed(Message(**{"payload": None, **given})) if null else Message(**given)
    )


def _entombed(message: Message) -> Message:
    """The message with a null payload. It needs a key, as compaction deletes by key."""
    if message.key is None:
        raise MessageInvalidError({"key": _NO_KEY})
    return replace(message, payload=None)


def _unknown(name: Any) -> str:
    from difflib import get_close_matches  # only needed for an error

    near = get_close_matches(str(name), FIELDS, n=1)
    if name in _FOREIGN:
        near = [_FOREIGN[name]]
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"a message has no such field; {hint}its fields are {', '.join(FIELDS)}"


def listed(given: Iterable[MessageInput]) -> list[MessageInput]:
    """A batch as a list.

    Raises:
        MessageInvalidError: `given` is not an iterable of messages.
    """
    if isinstance(given, str | bytes | Mapping | Message) or not isinstance(
        given, Iterable
    ):
        raise MessageInvalidError(
            {
                "messages": "must be a list of Message objects or mappings, got "
                f"{kind(given)}"
            }
        )
    return list(given)


def snapshots(given: Iterable[MessageInput]) -> list[Message | DeliveryHandle]:
    """A batch as it is now, unaffected by what the caller changes later.

    A message that is plainly legal and has no headers becomes a handle, ready to be
    sent. Headers are kept as they were written, for the middleware.

    Raises:
        MessageInvalidError: `given` is not an iterable of messages.
    """
    batch, others = recognise(listed(given), headers=False)
    found = Violations()
    for index in others:
        try:
            batch[index] = snapshot(as_message(batch[index]))
        except MessageInvalidError as error:
            found.note(index, error)
    found.end()
    return batch


def as_messages(given: Iterable[MessageInput], *, null: bool = False) -> list[Message]:
    """The messages of a batch.

    Raises:
        MessageInvalidError: `given` is not an iterable of messages.
    """
    messages: list[Message] = []
    found = Violations()
    for index, item in enumerate(listed(given)):
        try:
            messages.append(as_message(item, null=null))
        except MessageInvalidError as error:
            found.note(index, error)
    found.end()
    return messages


class Violations:
    """Collects what is wrong with the messages of a batch."""

    __slots__ = ("_errors", "_indexes")

    def __init__(self) -> None:
        self._errors: dict[str, str] = {}
        self._indexes: list[int] = []

    def note(self, index: int, error: MessageInvalidError) -> None:
        """Note what is wrong with the message at `index`."""
        self._indexes.append(index)
        for path, text in error.errors.items():
            self._errors[f"messages[{index}].{path}"] = text

    def end(self) -> None:
        """Raise if anything was noted."""
        if self._errors:
            raise MessageInvalidError(self._errors, self._indexes)
