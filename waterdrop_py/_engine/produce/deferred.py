"""Deferred messages: sent once the call that they interrupted has ended.

A callback, a subscriber or a signal handler may send while its own thread, further
down the stack, holds what the send would wait for.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from waterdrop_py._engine.client.borrow_marks import ends_step, in_deferred
from waterdrop_py._engine.client.client import Client
from waterdrop_py._engine.client.pending import fail, sequence_of, wait_in
from waterdrop_py._engine.concurrency.signals import from_signal_handler
from waterdrop_py.errors import ProduceError, ReentrantCallError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py._engine.produce.dispatch import Dispatch
    from waterdrop_py.delivery import DeliveryHandle


def send_or_defer(dispatch: Dispatch, handle: DeliveryHandle, verb: str) -> None:
    """`dispatch.send`, or `defer` if that would wait for the call it interrupted.

    Raises:
        ProduceError, ProducerClosedError: nothing was sent.
    """
    try:
        dispatch.send(handle, verb)
    except ReentrantCallError:
        connection = dispatch.connection
        after = (
            connection.when_free
            if connection.locked_here
            else connection.client.when_not_polled
        )
        defer(dispatch, handle, verb, after, nullcontext)


def defer(
    dispatch: Dispatch,
    handle: DeliveryHandle,
    verb: str,
    after: Callable[[Callable[[], None]], None],
    block: Callable[[], AbstractContextManager[object]],
) -> None:
    """Send `handle` later, inside `block()`. `after(job)` runs a job when it can be."""
    connection = dispatch.connection
    waiting_room = Client(connection.reports, connection.runtime.poller.poll_soon)
    waiting_room.blocked = lambda: _inside(connection)
    wait_in(handle, waiting_room)
    after(DeferredSend(dispatch, handle, verb, block).run)


def _inside(connection: Connection) -> bool:
    """Whether this thread is inside a call that a deferred message waits for."""
    return (
        connection.hooks.inside()
        or connection.locked_here
        or connection.client.served_here
        or in_deferred(connection)
    )


class DeferredSend:
    """One message that is sent later."""

    __slots__ = ("_block", "_connection", "_dispatch", "_handle", "_verb")

    def __init__(
        self,
        dispatch: Dispatch,
        handle: DeliveryHandle,
        verb: str,
        block: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self._connection = dispatch.connection
        self._dispatch = dispatch
        self._handle = handle
        self._verb = verb
        self._block = block

    @ends_step
    def run(self) -> None:
        """Send it. An error becomes its outcome, and `error.occurred`."""
        handle = self._handle
        try:
            with self._block():
                send_or_defer(self._dispatch, handle, self._verb)
        except BaseException as error:
            if from_signal_handler(error):
                self._after_interruption()
                raise
            self._connection.emitter.error(self._verb, error, message=handle.message)
            fail(handle, error.with_traceback(None))  # its frames have the handle

    def _after_interruption(self) -> None:
        """A signal handler raised: another thread sends the message.

        Once the message has a number, it may be queued already. It is not sent again
        then, and its outcome is `report_lost`.
        """
        handle = self._handle
        if sequence_of(handle) < 0:
            self._connection.runtime.workers.submit(self.run)
        elif not handle.done():
            fail(
                handle,
                ProduceError(
                    "a signal handler raised as this message was handed over: whether "
                    "it was sent is not known (report_lost)",
                    code="report_lost",
                ),
            )
