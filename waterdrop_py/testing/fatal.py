"""Making a client fail for good, to test what a service does then."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from confluent_kafka import cimpl

from waterdrop_py.errors import InvalidArgumentError

if TYPE_CHECKING:
    from waterdrop_py.producer import Producer

_HANDLE = 16
"""Where a client object keeps its `rd_kafka_t *`: behind its reference count and its
type, in every CPython with a GIL."""


def trigger_fatal_error(producer: Producer, code: int, reason: str) -> None:
    """Put the producer's client into librdkafka's fatal state. Opens one if need be.

    `code` is librdkafka's int code, such as 47 (`INVALID_PRODUCER_EPOCH`). The client
    must be a `confluent_kafka.Producer`.
    """
    if type(code) is not int:
        raise InvalidArgumentError(f"code: {code!r} is no int; librdkafka's codes are")
    with producer.native() as client:
        if not isinstance(client, cimpl.Producer):
            raise InvalidArgumentError(
                f"producer: its client is a {type(client).__name__}; only a "
                "confluent_kafka.Producer has a fatal state"
            )
        library = ctypes.CDLL(cimpl.__file__)
        handle = ctypes.c_void_p.from_address(id(client) + _HANDLE)
        library.rd_kafka_test_fatal_error(handle, code, reason.encode())
