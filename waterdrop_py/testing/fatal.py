"""`trigger_fatal_error`: making a client fail for good."""

from __future__ import annotations

import ctypes

from confluent_kafka import cimpl

from waterdrop_py._engine.client.foreign import native_of
from waterdrop_py._settings.properties import unfit_text
from waterdrop_py._settings.redact import kind, shown
from waterdrop_py.errors import InvalidArgumentError
from waterdrop_py.producer import Producer

_HANDLE = 16
"""Offset of a client object's `rd_kafka_t *`: after its reference count and its type,
in every CPython with a GIL."""

_LARGEST_CODE = 2**15 - 1  # an int16 on the wire


def trigger_fatal_error(producer: Producer, code: int, reason: str) -> None:
    """Put the producer's client into librdkafka's fatal state. Opens it if needed.

    The client must be a `confluent_kafka.Producer`.

    Args:
        producer: whose client fails.
        code: librdkafka's int code, such as 47 (`INVALID_PRODUCER_EPOCH`).
        reason: the text of the error.

    Example:
        >>> kafka = {"bootstrap.servers": "localhost:9092", "enable.idempotence": True}
        >>> with Producer(kafka=kafka) as producer:
        ...     trigger_fatal_error(producer, 47, "a test")
        ...     producer.produce_sync("orders", b"first")
        Traceback (most recent call last):
        waterdrop_py.errors.ProduceError: ...
    """
    if not isinstance(producer, Producer):
        raise InvalidArgumentError(
            f"producer: must be a Producer, got {kind(producer)}"
        )
    if type(code) is not int or abs(code) > _LARGEST_CODE:
        raise InvalidArgumentError(
            f"code: must be an int of librdkafka's, such as 47, got {shown(code)}"
        )
    if not isinstance(reason, str) or unfit_text(reason):
        raise InvalidArgumentError(
            f"reason: must be a str without NUL, got {shown(reason)}"
        )
    with producer.native() as client:
        native = native_of(client)
        if native is None:
            raise InvalidArgumentError(
                f"producer: its client is a {type(client).__name__}; only a "
                "confluent_kafka.Producer has a fatal state"
            )
        library = ctypes.CDLL(cimpl.__file__)
        handle = ctypes.c_void_p.from_address(id(native) + _HANDLE)
        library.rd_kafka_test_fatal_error(handle, code, reason.encode())
