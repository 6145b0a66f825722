"""Slots that stay open: they are opened in the background, and again after a close."""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from waterdrop_py._engine.concurrency import background, clock
from waterdrop_py._engine.concurrency.future import Future
from waterdrop_py._engine.concurrency.side_by_side import side_by_side
from waterdrop_py._engine.concurrency.weak_calls import call_if_alive
from waterdrop_py.errors import ProducerClosedError, fresh
from waterdrop_py.pools._exhaustion import busy_error, closed_error, lost_error
from waterdrop_py.pools._owners import running_loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py.events import Event
    from waterdrop_py.pools._emitter import PoolEmitter
    from waterdrop_py.pools._members import Members
    from waterdrop_py.pools._producer import PoolProducer
    from waterdrop_py.pools._slot import Slot

SECONDS: Final = 30.0
"""How long a background open waits for the cluster's answer, in seconds."""
_AGAIN: Final = frozenset({"age", "close", "fork", "reload"})
"""Why a client was closed that is opened again at once. "close": its producer is
replaced by another one."""
_CLOSING: Final = (
    "still closes a client that its slot had before the next one may open, because "
    "that has messages to deliver"
)
_TAKEN: Final = True


class Opening:
    """Keeps the first `min_connected` slots of a pool open. Thread-safe, no lock.

    Attributes:
        lacking: indices of slots that are to be opened.
        wanted: a lease was taken while some lacked, or the pool was connected. A pool
            that is only made and resized opens none.
    """

    __slots__ = ("__weakref__", "_emitter", "_members", "lacking", "wanted")

    def __init__(self, members: Members, emitter: PoolEmitter) -> None:
        self._members = members
        self._emitter = emitter
        self.lacking: dict[int, None] = {}
        self.wanted = False
        members.on_made = self._watch
        self.note_all()

    def note_all(self) -> None:
        """Have each slot opened that is to stay open, at the next `begin`."""
        for index in range(self._members.settings.min_connected):
            self.lacking[index] = None

    def connect(
        self, timeout: float, connect: Callable[[PoolProducer, float], object]
    ) -> None:
        """Have `connect` connect those that are to stay open, at least one, each within
        so many seconds; `ProducerPool.connect`."""
        self.wanted = True
        members = self._members
        deadline = clock.system_now() + timeout
        working = [slot for slot in members.present if slot.error is None]
        if not working:
            raise lost_error(members)
        kept = max(1, members.settings.min_connected)
        opened = [slot for slot in working if slot.index < kept] or working[:1]
        calls = [partial(self._connect, slot, deadline, connect) for slot in opened]
        for call in side_by_side(calls):
            call.result()

    def _connect(
        self,
        slot: Slot,
        deadline: float,
        connect: Callable[[PoolProducer, float], object],
    ) -> None:
        """Connect the producer of `slot`, once the one before it is closed. Not where
        that one is on lease: the next is opened after it."""
        began, members = clock.system_now(), self._members
        while (producer := members.openable(slot)) is None:
            closing = slot.closing
            if members.closed:
                raise closed_error(members.settings.name)
            if slot.error is not None:
                raise fresh(slot.error)
            if slot.index >= members.settings.size:
                return  # taken away meanwhile
            if closing is not None and slot.seats:
                return  # a lease has it, and may be the caller's own
            left = max(0.0, deadline - clock.system_now())
            if closing is not None and not closing.wait(left):
                waited = clock.system_now() - began
                raise busy_error(members, _CLOSING, waited)
        connect(producer, max(0.0, deadline - clock.system_now()))

    def start(self) -> None:
        """The pool is used: open what is lacking, now and later."""
        self.wanted = True
        self.begin()

    def start_afresh(self) -> None:
        """Open at the first use in this forked child."""
        self.wanted = False
        self.note_all()

    def begin(self) -> None:
        """Open what is lacking, on library threads, if the pool is used. Does not
        wait."""
        if not self._may_open():
            return
        if running_loop() is not None:  # which the making of producers would hold
            background.submit(Future(self._begin))
        else:
            self._begin()

    def _begin(self) -> None:
        members = self._members
        for index in list(self.lacking):
            slots = members.present
            wanted = index < min(len(slots), members.settings.min_connected)
            if wanted and slots[index].closing is not None:
                continue  # until that has ended, which begins this again
            if self.lacking.pop(index, _TAKEN) is _TAKEN or not wanted:
                continue
            members.openable(slots[index])  # here, so that it is made once
            me = weakref.ref(self)
            background.submit(partial(call_if_alive, me, Opening.open, slots[index]))

    def _may_open(self) -> bool:
        """Whether there is something to open, and the pool is used."""
        if not self.lacking or self._members.closed:
            return False
        return self.wanted or bool(self._members.producers())

    def open(self, slot: Slot) -> None:
        """Open the client of `slot`, and prove it. On a library thread.

        A failure is an event, and the slot is opened at the next `begin`.
        """
        members = self._members
        if members.closed or slot.error is not None:
            return
        producer = members.openable(slot)
        if producer is None:
            self.lacking[slot.index] = None
            self.begin()
            return
        try:
            producer.connect(SECONDS, max_retries=0)
        except Exception as error:  # noqa: BLE001 - told of, and tried again
            if isinstance(error, ProducerClosedError):
                return  # it was retired, or the pool was closed
            self.lacking[slot.index] = None
            about = {"slot": slot.index, "producer_id": producer.id}
            self._emitter.error("pool.open", error, **about)

    def _watch(self, slot: Slot, producer: PoolProducer) -> None:
        if slot.index < self._members.settings.min_connected:
            reopen = partial(_reopen, weakref.ref(self), slot.index)
            producer.monitor.subscribe("producer.disconnected", reopen)


def _reopen(me: weakref.ref[Any], index: int, event: Event) -> None:
    opening = me()
    if opening is not None and event["reason"] in _AGAIN:
        opening.lacking[index] = None
        opening.begin()
