"""What every benchmark is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")
EMBEDDED = "embedded cluster"


@dataclass(frozen=True)
class Broker:
    """Where a client connects, and how; `properties` are librdkafka's."""

    properties: Mapping[str, str] = field(repr=False)
    name: str = EMBEDDED

    @property
    def embedded(self) -> bool:
        """Whether it is librdkafka's mock cluster, not a real Kafka."""
        return self.name == EMBEDDED

    @property
    def secure(self) -> bool:
        """Whether its listener speaks TLS and SASL."""
        return "sasl.mechanism" in self.properties


def embedded(servers: str) -> Broker:
    """The embedded cluster, or a proxy in front of it."""
    return Broker({"bootstrap.servers": servers})


@dataclass(frozen=True)
class Setting:
    """The broker to measure on, and how much time there is."""

    broker: Broker
    quick: bool

    def pick(self, full: T, quick: T) -> T:
        """`full` in a whole run, `quick` in one that has little time."""
        return quick if self.quick else full
