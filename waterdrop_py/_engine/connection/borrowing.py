"""Using the client for something else than a send."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

from waterdrop_py._engine.client.borrow_marks import leaseholder
from waterdrop_py._engine.client.client import Life, Pin
from waterdrop_py._engine.concurrency import clock
from waterdrop_py.errors import WaterdropError

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.connection.connection import ClientSlot
    from waterdrop_py.typing import KafkaClient

_T = TypeVar("_T")


class Pinned:
    """`Producer.native()`: the open client itself, kept open until the block ends."""

    __slots__ = ("_life", "_pin", "_slot")

    def __init__(self, slot: ClientSlot) -> None:
        self._slot = slot
        self._life: Life | None = None

    def __enter__(self) -> KafkaClient:
        if self._life is not None:  # else its first pin would hold the client for good
            raise WaterdropError(
                "this block is entered already; each `with` takes a native() of its own"
            )
        me = threading.current_thread()
        self._pin = pin = Pin(threading.get_ident(), me.name, clock.now())
        while True:
            life = self._slot.ready(None)
            life.pins.append(pin)
            client = life.client
            if self._slot.life is life and client is not None:
                life.pinned = True
                self._life = life
                return client
            life.pins.remove(pin)

    def __exit__(self, *_: object) -> None:
        life, self._life = self._life, None
        if life is None:
            return
        life.pins.remove(self._pin)
        if life.on_unpinned is not None and not life.pins:
            life.on_unpinned()
            return
        life.arm(life)
        if life.refusals:
            self._slot.look_again()


@leaseholder
def use(
    slot: ClientSlot, call: Callable[[KafkaClient], _T], deadline: float | None
) -> _T:
    """`call(client)` with the open client, which stays open meanwhile.

    Opens one if need be; raises what `ClientSlot.ready` and `call` raise.
    """
    while True:
        life = slot.ready(deadline)
        try:
            # Within the `try`: CPython runs signal handlers after a call and not
            # before it, so whatever is raised here finds the mark set.
            life.inuse.append(None)
            client = life.client
            if slot.life is life and client is not None:
                return call(client)
        finally:
            life.inuse.pop()
            if life.refusals:
                slot.look_again()
