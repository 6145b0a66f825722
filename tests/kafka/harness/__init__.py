"""Starts, breaks and stops a real Apache Kafka for the tests of this folder."""

from __future__ import annotations

from .broker import KafkaBroker
from .cluster import KafkaCluster
from .coordinator import TransactionalId
from .errors import HarnessError
from .listeners import (
    CLIENT_LISTENERS,
    SCRAM_PASSWORD,
    SCRAM_USER,
    ClientListener,
    Listener,
    unsecured_token,
)
from .ports import free_port

__all__ = [
    "CLIENT_LISTENERS",
    "SCRAM_PASSWORD",
    "SCRAM_USER",
    "ClientListener",
    "HarnessError",
    "KafkaBroker",
    "KafkaCluster",
    "Listener",
    "TransactionalId",
    "free_port",
    "unsecured_token",
]
