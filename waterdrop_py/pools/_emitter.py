"""`PoolEmitter`: sends the events of a pool to its monitor and to the shared one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from waterdrop_py._engine.emitter import Emitter
from waterdrop_py.monitor import monitor as shared_monitor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from waterdrop_py.monitor import Monitor
    from waterdrop_py.pools._slot import Holding


class PoolEmitter(Emitter):
    """Sends the events of one pool.

    Attributes:
        hears_leases: whether what happens to each lease has subscribers.
    """

    __slots__ = ("hears_leases",)

    subject = "pool"

    def __init__(
        self, pool: object, name: str, tags: Mapping[str, str], own: Monitor
    ) -> None:
        super().__init__(pool, name, tags, own, shared_monitor)
        self.refresh()

    def _identity(self) -> dict[str, Any]:
        return {"pool": self.producer_id}

    def refresh(self) -> None:
        """The subscriptions have changed."""
        self.hears_leases = self.listens("pool.acquired") or self.listens(
            "pool.released"
        )

    def acquired(self, holding: Holding, waited_ms: float) -> None:
        """A lease was granted."""
        self.emit("pool.acquired", _about(holding), duration_ms=waited_ms)

    def released(self, holding: Holding) -> None:
        """A lease has ended."""
        self.emit("pool.released", _about(holding), duration_ms=holding.held_ms)

    def leaked(self, holding: Holding) -> None:
        """A lease was collected unreleased."""
        told = {"owner": holding.owner.name, "where": holding.where}
        self.emit("pool.leaked", {**_about(holding), **told})


def _about(holding: Holding) -> dict[str, Any]:
    place, producer = holding.place, holding.producer
    return {
        "slot": None if place is None else place[0].index,
        "producer_id": None if producer is None else producer.id,
    }
