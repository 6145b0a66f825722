"""Kafka producers that cost nothing while they are idle: the public names."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from waterdrop_py import errors, planning, pools, testing
from waterdrop_py._engine.connection.states import Status
from waterdrop_py.aio.pool import AsyncProducerPool
from waterdrop_py.aio.producer import AsyncProducer
from waterdrop_py.config import Config
from waterdrop_py.delivery import DeliveryHandle, DeliveryReport
from waterdrop_py.errors import AbortTransaction
from waterdrop_py.events import Event
from waterdrop_py.message import Message
from waterdrop_py.monitor import Monitor, monitor
from waterdrop_py.overview import health, ledger
from waterdrop_py.pools import Lease, ProducerPool
from waterdrop_py.producer import Producer

__all__ = [
    "AbortTransaction",
    "AsyncProducer",
    "AsyncProducerPool",
    "Config",
    "DeliveryHandle",
    "DeliveryReport",
    "Event",
    "Lease",
    "Message",
    "Monitor",
    "Producer",
    "ProducerPool",
    "Status",
    "__version__",
    "errors",
    "health",
    "ledger",
    "monitor",
    "planning",
    "pools",
    "testing",
]

# Without a handler, logging would print librdkafka's lines to stderr. The library's own
# lines are printed without any set-up, so its logger has no such handler.
logging.getLogger("waterdrop_py.librdkafka").addHandler(logging.NullHandler())

if TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name: str) -> str:
        # Read on first use, because importing `importlib.metadata` takes 15 ms.
        if name == "__version__":
            from importlib.metadata import version

            return version("waterdrop-py")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
