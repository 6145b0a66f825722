"""The library's defaults for librdkafka's properties; the user's own always win."""

from __future__ import annotations

import functools
import socket
from collections.abc import Mapping
from typing import Any

from waterdrop_py._settings import known

# Long enough to outlive a broker's restart and leader election, and below the
# default `max_wait_timeout` of 180 000 ms, so that a sync call sees the outcome.
MESSAGE_TIMEOUT_MS = 150_000
# Above the former: librdkafka refuses a transaction that ends before its messages.
TRANSACTION_TIMEOUT_MS = 165_000
STATISTICS_INTERVAL_MS = 5_000

_MESSAGE_TIMEOUT = "message.timeout.ms"
_ALIASES = {_MESSAGE_TIMEOUT: ("delivery.timeout.ms",)}


def missing_defaults(kafka: Mapping[str, Any], *, statistics: bool) -> dict[str, Any]:
    """The defaults of what the user has not set.

    Reads the host's name once per process; nothing else blocks. `statistics`: whether
    somebody listens to librdkafka's statistics.
    """
    kafka = dict(kafka)  # many looks at it
    defaults: dict[str, Any] = {
        "client.id": f"waterdrop-py-{_hostname()}",
        _MESSAGE_TIMEOUT: _default_message_timeout(kafka),
        "socket.nagle.disable": True,
        "socket.keepalive.enable": True,
        "log.connection.close": False,
        "statistics.interval.ms": STATISTICS_INTERVAL_MS if statistics else 0,
    }
    if kafka.get("transactional.id"):
        own = own_number(kafka, _MESSAGE_TIMEOUT) or 0
        defaults["transaction.timeout.ms"] = max(TRANSACTION_TIMEOUT_MS, own)
    return {k: v for k, v in defaults.items() if not _own(kafka, k)}


def message_timeout_ms(kafka: Mapping[str, Any]) -> int | None:
    """How long librdkafka tries to deliver; 0 is for ever, None not a number."""
    if _own(kafka, _MESSAGE_TIMEOUT):
        return own_number(kafka, _MESSAGE_TIMEOUT)
    return _default_message_timeout(kafka)


def own_number(kafka: Mapping[str, Any], name: str) -> int | None:
    """The user's own figure of a property, also when it is text such as `"5000"`."""
    values = _own(kafka, name)
    try:
        return int(values[-1]) if values else None
    except (TypeError, ValueError, OverflowError):
        return None


def _default_message_timeout(kafka: Mapping[str, Any]) -> int:
    transaction = own_number(kafka, "transaction.timeout.ms")
    if transaction is None or transaction <= 0:
        return MESSAGE_TIMEOUT_MS
    return min(MESSAGE_TIMEOUT_MS, transaction)


def _own(kafka: Mapping[str, Any], name: str) -> list[Any]:
    """The values the user gave it, under each of its names; the last one wins."""
    names = {name, *_ALIASES.get(name, ())}
    values = [kafka[key] for key in kafka if key.removeprefix("topic.") in names]
    inner = kafka.get(known.TOPIC_DEFAULTS)
    if isinstance(inner, Mapping):
        values += _own(inner, name)
    return values


@functools.cache
def _hostname() -> str:
    return socket.gethostname()
