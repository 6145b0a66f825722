"""Defines what a benchmark is given: the broker, and whether time is short."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")
EMBEDDED = "embedded cluster"


@dataclass(frozen=True)
class Broker:
    """A broker to measure on; `properties` are librdkafka's, for a client of it."""

    properties: Mapping[str, str] = field(repr=False)
    name: str = EMBEDDED

    @property
    def embedded(self) -> bool:
        """Whether it is librdkafka's mock cluster, rather than a real Kafka."""
        return self.name == EMBEDDED

    @property
    def secure(self) -> bool:
        """Whether its listener uses TLS and SASL."""
        return "sasl.mechanism" in self.properties


def embedded(servers: str) -> Broker:
    """The embedded cluster, or a proxy in front of it."""
    return Broker({"bootstrap.servers": servers})


@dataclass(frozen=True)
class Setting:
    """The broker to measure on, and whether the run is quick."""

    broker: Broker
    quick: bool

    def pick(self, full: T, quick: T) -> T:
        """`full` in a full run, `quick` in a quick one."""
        return quick if self.quick else full
