"""`reload()`: new producers are opened and proved before the old ones go."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.locks import AwaitedLock, Hold
from waterdrop_py._engine.concurrency.side_by_side import side_by_side
from waterdrop_py._settings.plain import whole
from waterdrop_py._settings.pool_options import check_pool_options
from waterdrop_py._settings.tuning_warnings import warn_of_fixed_ids
from waterdrop_py.errors import BrokerUnreachableError, InvalidArgumentError
from waterdrop_py.pools._exhaustion import busy_error, closed_error
from waterdrop_py.pools._producer import PoolProducer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from waterdrop_py._engine.concurrency.future import Future
    from waterdrop_py.pools._emitter import PoolEmitter
    from waterdrop_py.pools._members import Members
    from waterdrop_py.pools._opening import Opening
    from waterdrop_py.pools._settings import PoolConfig, PoolSettings
    from waterdrop_py.producer import Producer

GRACE: Final = 1.0
"""Seconds beyond its bound that a `connect` may take."""
_BUSY: Final = (
    "is being reloaded by another call, which did not end in time; nothing has changed"
)
TICK: Final = 0.5
"""Seconds until a call that waits for another looks again without a wake-up."""


class Reloading:
    """Replaces the producers of a pool, one `reload()` at a time. Thread-safe."""

    __slots__ = ("_emitter", "_lock", "_members", "_opening")

    def __init__(
        self, members: Members, opening: Opening, emitter: PoolEmitter
    ) -> None:
        self._members = members
        self._opening = opening
        self._emitter = emitter
        self._lock = AwaitedLock()

    def start_afresh(self) -> None:
        """No reload runs: this is a forked child."""
        self._lock = AwaitedLock()

    def resize(self, size: int, min_connected: int | None) -> None:
        """Use another size; see `ProducerPool.resize`."""
        members = self._members
        while True:
            before = members.settings
            kept = before.min_connected if min_connected is None else min_connected
            if min_connected is None and whole(size) is not None:
                kept = min(kept, size)
            given = {"size": size, "min_connected": kept}
            errors = check_pool_options(given)[1]
            if errors:
                raise InvalidArgumentError(
                    "; ".join(f"{name}: {text}" for name, text in errors.items())
                )
            settings = before.resized(size, kept)
            if members.use(settings, instead_of=before):
                break
        members.retire_outdated()
        self._opening.note_all()
        members.on_room()
        self._emitter.emit("pool.resized", {"size": size, "before": before.size})

    def begin_in_child(self) -> None:
        """The first use in a forked child: ask a callable again, warn of fixed ids, and
        end what another thread's reload or resize had begun in the parent."""
        members = self._members
        settings = members.settings
        if settings.base is None:
            members.use(settings.reloaded(None), instead_of=settings)
        elif settings.is_transactional:
            warn_of_fixed_ids(settings.name)
        members.retire_outdated()

    def run(self, source: PoolConfig | None, timeout: float) -> None:
        """Prove a configuration within `timeout` seconds, then use it; see
        `ProducerPool.reload`."""
        began = clock.system_now()
        deadline = began + timeout
        with self._one_at_a_time(deadline):
            members = self._members
            settings = members.settings.reloaded(source)
            self._emitter.emit("pool.reload")
            if settings.is_transactional:
                opened = self._prove_without_id(settings, deadline)
                new: dict[int, PoolProducer] = {}
            else:
                new = self._prove(settings, deadline)
                opened = len(new)
            self._refuse_closed(new)
            self._use(settings, new)
            self._refuse_closed(new)  # by a close that may not have seen the new ones
            self._opening.begin()
            took = clock.system_now() - began
            self._emitter.emit(
                "pool.reloaded",
                {"opened": opened, "draining": len(members.history.retired)},
                duration_ms=took * 1000,
            )

    def _refuse_closed(self, new: dict[int, PoolProducer]) -> None:
        """Close the new producers and raise, if the pool was closed meanwhile."""
        if self._members.closed:
            side_by_side([partial(each.close, GRACE) for each in new.values()])
            raise closed_error(self._members.settings.name)

    @contextmanager
    def _one_at_a_time(self, deadline: float) -> Iterator[None]:
        began = clock.system_now()
        hold = Hold()
        try:
            while not self._lock.take(hold):
                left = deadline - clock.system_now()
                if left <= 0 or self._lock.held_here:
                    waited = clock.system_now() - began
                    raise busy_error(self._members, _BUSY, waited)
                self._lock.wait_released(min(left, TICK))
            yield
        finally:
            if self._lock.release(hold):
                self._lock.wake()

    def _prove(
        self, settings: PoolSettings, deadline: float
    ) -> dict[int, PoolProducer]:
        """Open new producers for the slots that are connected, at least for one."""
        members = self._members
        made = [(slot.index, slot.producer) for slot in members.present]
        connected = [
            index for index, each in made if each is not None and each.is_open
        ] or [0]
        new = {
            index: PoolProducer(
                settings.config_of(index), members.monitor, settings.label
            )
            for index in connected
        }
        _connect(list(new.values()), deadline)
        return new

    def _prove_without_id(self, settings: PoolSettings, deadline: float) -> int:
        """Open one client that registers no id, so that no transaction is aborted."""
        proof = PoolProducer(
            settings.proving_config(), self._members.monitor, settings.label
        )
        _connect([proof], deadline)
        _close([proof])
        return 1

    def _use(self, settings: PoolSettings, new: dict[int, PoolProducer]) -> None:
        """Give new leases the new producers; each old one ends with its last lease."""
        members, opening = self._members, self._opening
        old = [(slot, slot.producer) for slot in members.slots]
        while True:
            before = members.settings
            if members.use(before.configured_as(settings), instead_of=before):
                break
        for slot, producer in old:
            fresh = new.get(slot.index)
            if fresh is not None and members.on_made is not None:
                members.on_made(slot, fresh)
            if fresh is None:
                if producer is not None:
                    members.retire(slot, producer)
            elif not members.succeed(slot, producer, fresh):
                _close([fresh])
            slot.error = None
        members.retire_outdated()  # the pool may be smaller by now
        opening.note_all()
        members.on_room()


def _connect(producers: list[PoolProducer], deadline: float) -> None:
    """Connect all, side by side; if one cannot, close all and raise its error."""

    def connect(producer: PoolProducer) -> Producer:
        return producer.connect(max(0.0, deadline - clock.system_now()))

    try:
        calls = side_by_side([partial(connect, each) for each in producers], deadline)
        for call in calls:
            _result(call)
    except BaseException:
        _close(producers)
        raise


def _result(call: Future[Producer]) -> None:
    """Raise what the call raised; its own bound has passed."""
    if not call.wait(GRACE):
        raise BrokerUnreachableError(
            "a new client was not opened in time; nothing has changed"
        )
    call.result()


def _close(producers: list[PoolProducer]) -> None:
    side_by_side([partial(each.close, 0.0, force=True) for each in producers])
