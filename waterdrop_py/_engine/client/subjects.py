"""How errors name their subject: the message, and the limit that it met."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from waterdrop_py._settings.defaults import MESSAGE_TIMEOUT_MS, message_timeout_ms
from waterdrop_py._settings.reading import number_of
from waterdrop_py._settings.redact import kind
from waterdrop_py.events import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_LONGEST: Final = 40
"""Characters of a key or a label that are shown."""
# librdkafka's own defaults (CONFIGURATION.md).
_DEFAULTS: Final = {
    "message.timeout.ms": MESSAGE_TIMEOUT_MS,
    "message.max.bytes": 1_000_000,
    "queue.buffering.max.messages": 100_000,
    "queue.buffering.max.kbytes": 1_048_576,
}
_LIMITS: Final = {
    "msg_timed_out": ("message.timeout.ms",),
    "msg_size_too_large": ("message.max.bytes",),
    "queue_full": ("queue.buffering.max.messages", "queue.buffering.max.kbytes"),
}


def subject(topic: str, partition: int | None, key: Any, label: Any) -> str:
    """The topic, partition, key and label of a message, as far as it has them."""
    where = "" if partition is None or partition < 0 else f" partition {partition}"
    details = [
        f"{name} {short(value)}"
        for name, value in (("key", key), ("label", label))
        if value is not None
    ]
    shown = f" ({', '.join(details)})" if details else ""
    return f"{topic!r}{where}{shown}"


def short(value: Any) -> str:
    """A key or a label, cut; of other objects than text and numbers only the type.

    A repr may be long, or raise.
    """
    if type(value) is bytes:
        cut = value[:_LONGEST]
        if cut.isascii() and cut.decode().isprintable():
            value = value[: _LONGEST + 1].decode("ascii", "replace")
        else:
            return f"{cut!r}{'...' if len(value) > _LONGEST else ''}"
    if type(value) is str:
        if len(value) > _LONGEST:
            return f"{value[:_LONGEST]!r}..."
        return repr(value)
    if type(value) in {bool, float} or (
        type(value) is int and value.bit_length() <= _LONGEST
    ):
        return repr(value)
    return kind(value)[: 2 * _LONGEST]


def limit_of(code: str, kafka: Mapping[str, Any]) -> str:
    """The limit that an error of this code has met, and where it is set; or ""."""
    met = []
    for name in _LIMITS.get(code, ()):
        own = number_of(kafka, name)
        value = own
        if name == "message.timeout.ms":
            value = message_timeout_ms(kafka)
        elif own is None:
            value = _DEFAULTS[name]
        met.append(f"{name} is {value} ({'default' if own is None else 'kafka'})")
    return f"; {', '.join(met)}" if met else ""


def nearest(topic: str, sent: Collection[str]) -> str:
    """A question that names a similar topic, of those that were sent to; or ""."""
    return did_you_mean(topic, [each for each in list(sent) if each != topic])
