"""`PoolEmitter`: sends the events of a pool to its monitor and to the shared one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from waterdrop_py._engine.concurrency.call_queue import CallQueue
from waterdrop_py._engine.concurrency.future import Future
from waterdrop_py._engine.emitter import Emitter
from waterdrop_py.monitor import monitor as shared_monitor
from waterdrop_py.pools._owners import running_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from waterdrop_py.monitor import Monitor
    from waterdrop_py.pools._slot import Holding


class PoolEmitter(Emitter):
    """Sends the events of one pool.

    What happens on the thread of a loop is told on a library thread, in order: no
    subscriber holds the loop.

    Attributes:
        hears_leases: whether what happens to each lease has subscribers.
    """

    __slots__ = ("_later", "hears_leases")

    subject = "pool"

    def __init__(
        self, pool: object, name: str, tags: Mapping[str, str], own: Monitor
    ) -> None:
        super().__init__(pool, name, tags, own, shared_monitor)
        self.start_afresh()
        self.refresh()

    def start_afresh(self) -> None:
        """No library thread tells anything: at first, and in a forked child."""
        self._later: CallQueue | None = None

    def emit(
        self,
        name: str,
        payload: Mapping[str, Any] | None = None,
        *,
        duration_ms: float | None = None,
        begun: list[Callable[..., object]] | None = None,
        client: object | None = None,
    ) -> None:
        """As `Emitter.emit`, or later where a loop runs on this thread."""
        del client  # a pool has none
        if running_loop() is None:
            super().emit(name, payload, duration_ms=duration_ms, begun=begun)
        elif self.listens(name):
            if self._later is None:
                self._later = CallQueue(1)
            whole = {**(payload or {})}
            tell = partial(super().emit, name, whole, duration_ms=duration_ms)
            self._later.submit(Future(tell))

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
