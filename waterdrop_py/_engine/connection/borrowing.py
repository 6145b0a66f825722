"""Using the open client for something other than a send: `native()`, admin calls."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, TypeVar

from waterdrop_py._engine.client.borrow_marks import borrower
from waterdrop_py._engine.client.client import Client
from waterdrop_py._engine.client.pins import Pin
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.native import caller_id
from waterdrop_py._engine.connection.opening import open_noted
from waterdrop_py.errors import WaterdropError

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py.typing import KafkaClient

_T = TypeVar("_T")

NO_THREAD: Final = 0


class Pinned:
    """`Producer.native()`: the open client itself, kept open until the block ends."""

    __slots__ = ("_client", "_connection", "_owner", "_pin")

    def __init__(self, connection: Connection, owner: str | None = None) -> None:
        """`owner`: the name of the task that uses the client; None: a thread does."""
        self._connection = connection
        self._owner = owner
        self._client: Client | None = None

    def __enter__(self) -> KafkaClient:
        if self._client is not None:
            # The first pin would keep the client open for good.
            raise WaterdropError(
                "this block is entered already; each block takes a native() of its own"
            )
        me, name = caller_id(), self._owner
        if name is None:
            name = threading.current_thread().name
        else:
            me = NO_THREAD  # a close on the thread that enters it may wait for it
        self._pin = pin = Pin(me, name, clock.now())
        while True:
            client = open_noted(self._connection, None, use=False)
            client.pins.append(pin)
            native = client.native
            if self._connection.client is client and native is not None:
                client.pins.mark_used()
                self._client = client
                return native
            client.pins.remove(pin)

    def __exit__(self, *_: object) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        client.pins.remove(self._pin)
        if client.pins.left_last():
            return
        client.poll_soon(client)  # then a refused close is looked at again


@borrower
def borrow(
    connection: Connection, call: Callable[[KafkaClient], _T], deadline: float | None
) -> _T:
    """The result of `call(client)`, with a client that stays open meanwhile.

    Opens one if need be. Raises what `open_client` and `call` raise.
    """
    while True:
        client = open_noted(connection, deadline, use=False)
        try:
            # Inside the `try`: CPython runs signal handlers after a call and not before
            # it, so the mark is set whatever is raised here.
            client.borrows.append(None)
            native = client.native
            if connection.client is client and native is not None:
                return call(native)
        finally:
            client.borrows.pop()
            if client.refusals:
                connection.reschedule()
