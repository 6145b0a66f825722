"""Slots that stay open: they are opened in the background, and again after a close."""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from waterdrop_py._engine.concurrency import background
from waterdrop_py._engine.concurrency.weak_calls import call_if_alive
from waterdrop_py.errors import ProducerClosedError
from waterdrop_py.pools._side_by_side import side_by_side

if TYPE_CHECKING:
    from waterdrop_py.monitor import Event
    from waterdrop_py.pools._emitter import PoolEmitter
    from waterdrop_py.pools._members import Members
    from waterdrop_py.pools._producer import PoolProducer
    from waterdrop_py.pools._slot import Slot

SECONDS: Final = 30.0
"""How long a background open waits for the cluster's answer, in seconds."""
_AGAIN: Final = frozenset({"age", "fork", "reload"})
"""Why a client was closed that is opened again at once."""
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

    def connect(self, timeout: float, **retries: Any) -> None:
        """Connect those that are to stay open, at least one; `ProducerPool.connect`."""
        self.wanted = True
        members = self._members
        slots = members.present[: max(1, members.settings.min_connected)]
        producers = [members.openable(slot) for slot in slots]
        calls = [
            partial(producer.connect, timeout, **retries)
            for producer in producers
            if producer is not None
        ]
        for call in side_by_side(calls):
            call.result()

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
        members = self._members
        if not (self.wanted or any(members.producers())):
            return
        for index in tuple(self.lacking):
            slots = members.present
            stays_open = index < min(len(slots), members.settings.min_connected)
            if stays_open and slots[index].closing is not None:
                continue  # until that has ended, which begins this again
            if self.lacking.pop(index, _TAKEN) is _TAKEN or not stays_open:
                continue
            members.openable(slots[index])  # here, so that it is made once
            me = weakref.ref(self)
            background.submit(partial(call_if_alive, me, Opening.open, slots[index]))

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
            ended = members.closed or producer.retired is not None
            if ended and isinstance(error, ProducerClosedError):
                return
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
