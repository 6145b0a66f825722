"""The library's defaults for librdkafka's properties (options: see `config`)."""

from __future__ import annotations

import functools
import socket
from collections.abc import Mapping
from typing import Any

from waterdrop_py._settings.reading import is_set, number_of, text_of

MESSAGE_TIMEOUT_MS = 150_000
"""Milliseconds that librdkafka tries to deliver a message.

Outlives a broker's restart and a leader election. Below the default `max_wait_timeout`
of 180 000 ms, so that a sync call sees the outcome.
"""
TRANSACTION_TIMEOUT_MS = 165_000
"""Milliseconds after which the broker aborts an open transaction.

Above MESSAGE_TIMEOUT_MS, because librdkafka refuses a shorter one.
"""
STATISTICS_INTERVAL_MS = 5_000
"""Milliseconds between two reports of librdkafka's statistics."""

_MESSAGE_TIMEOUT = "message.timeout.ms"


def missing_defaults(kafka: Mapping[str, Any], *, statistics: bool) -> dict[str, Any]:
    """The defaults for properties that the user has not set.

    `statistics` is whether librdkafka collects statistics. Reads the host's name
    once per process; does not block otherwise. Thread-safe.
    """
    defaults: dict[str, Any] = {
        "client.id": f"waterdrop-py-{_hostname()}",
        _MESSAGE_TIMEOUT: _default_message_timeout(kafka),
        "socket.nagle.disable": True,
        "socket.keepalive.enable": True,
        "log.connection.close": False,
        "statistics.interval.ms": STATISTICS_INTERVAL_MS if statistics else 0,
    }
    if text_of(kafka, "transactional.id"):
        own = number_of(kafka, _MESSAGE_TIMEOUT) or 0
        defaults["transaction.timeout.ms"] = max(TRANSACTION_TIMEOUT_MS, own)
    return {k: v for k, v in defaults.items() if not is_set(kafka, k)}


def message_timeout_ms(kafka: Mapping[str, Any]) -> int | None:
    """Milliseconds that librdkafka tries to deliver a message.

    0 is forever. None if the user's value is not a number.
    """
    if is_set(kafka, _MESSAGE_TIMEOUT):
        return number_of(kafka, _MESSAGE_TIMEOUT)
    return _default_message_timeout(kafka)


def _default_message_timeout(kafka: Mapping[str, Any]) -> int:
    transaction = number_of(kafka, "transaction.timeout.ms")
    if transaction is None or transaction <= 0:
        return MESSAGE_TIMEOUT_MS
    return min(MESSAGE_TIMEOUT_MS, transaction)


@functools.cache
def _hostname() -> str:
    return socket.gethostname()
