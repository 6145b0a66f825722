"""The close of one client, once it is detached: the only place that calls `close`."""

from __future__ import annotations

import math
import warnings
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import KafkaException

from waterdrop_py._engine.client.borrow_marks import borrows_here
from waterdrop_py._engine.client.foreign import identities_of
from waterdrop_py._engine.client.kafka_errors import kafka_error_of
from waterdrop_py._engine.concurrency import background, clock
from waterdrop_py._engine.concurrency.locks import Hold
from waterdrop_py._engine.concurrency.native import caller_id
from waterdrop_py._engine.concurrency.signals import (
    from_signal_handler,
    no_signal_at_entry,
)
from waterdrop_py._engine.concurrency.wakeup import Wakeup, sleep
from waterdrop_py._engine.connection.batch import batch_of
from waterdrop_py._engine.process.reaper import RELIEF

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.connection.batch import TeardownBatch
    from waterdrop_py._engine.connection.ledger import Release
    from waterdrop_py._engine.emitter import Emitter
    from waterdrop_py._engine.process.runtime import Runtime

LAST_ABORT: Final = 0.1
"""Seconds to abort the transaction that a client is closed in."""
RETRY: Final = 0.5
"""Seconds after which a close that has not ended is begun again."""
TELLING: Final = 0.2
"""Seconds that `disconnect()` waits for subscribers of `producer.disconnected`."""
ANSWER: Final = 0.3
"""Seconds that a caller waits for the answer to a request for metadata. If that takes
longer, the client is destroyed in the background."""
INSIDE: Final = 0.01
"""Seconds between two checks whether a thread is inside the client."""


# A client that closes in the middle of a transaction warns that its abort failed. Here
# that happens after a fatal error, which was reported, or at the end of the timeout.
warnings.filterwarnings(
    "ignore", "Producer .* failed during close", RuntimeWarning, __name__
)


def destroy_unready(client: Client) -> None:
    """Destroy a client that could not be made ready, here and now."""
    hold = Hold()
    try:
        while not client.poll_lock.take(hold):  # the poller has it
            sleep(INSIDE)
        with suppress(SystemError, KafkaException):
            # confluent-kafka warns that there was nothing to abort, which raises a
            # SystemError where warnings are errors. After a fatal error it raises that
            # again. The client is destroyed by then.
            background.call(lambda: _destroy(client))
    finally:
        _drop(client, hold)
        client.settle_here()


@no_signal_at_entry
def _drop(client: Client, hold: Hold) -> None:
    """Forget the native client, then release the poll lock: no thread polls or counts
    a destroyed one."""
    try:
        client.drop_native()
    finally:
        client.stop_polling(hold)


def _destroy(client: Client) -> None:
    """The native close. Poll lock held, and no thread inside the client.

    In the middle of a transaction it would wait for the coordinator without a bound
    (more than 35 s with every broker down). So the abort comes first. If that fails,
    dropping the last reference destroys the client (3 ms).
    """
    native = client.native
    if native is None:
        return
    if client.transaction.open and client.fatal is None:
        try:
            native.abort_transaction(LAST_ABORT)
        except KafkaException:
            return
    native.close()


class Teardown:
    """Destroys one detached client, and tells of it. Used once. Thread-safe."""

    __slots__ = (
        "_batch",
        "_begun",
        "_emitter",
        "_on_gone",
        "_over_at",
        "_runtime",
        "_told",
        "_unfinished",
        "client",
        "close_timeout",
        "closed",
        "idle_ms",
        "reason",
        "release",
        "started",
        "thread",
    )

    def __init__(  # noqa: PLR0913 - what a close needs, in place of a connection
        self,
        runtime: Runtime,
        emitter: Emitter,
        client: Client,
        reason: str,
        on_gone: Callable[[Teardown], None],
        release: Release,
        *,
        close_timeout: float,
        batch: TeardownBatch | None = None,
    ) -> None:
        """`on_gone` is called once, when the client is destroyed or given up;
        `release` is told what that released.
        `close_timeout`: seconds after which the close is given up."""
        now = clock.now()
        self._runtime = runtime
        self._emitter = emitter
        self._on_gone = on_gone
        self.close_timeout = close_timeout
        self.client = client
        self.release = release
        self.reason = reason
        self.idle_ms = (now - client.last_activity) * 1000
        self.closed = Wakeup()
        self.thread: int | None = caller_id()  # the thread that has to begin it
        self.started = self._begun = clock.system_now()
        self._batch = batch if batch is not None else batch_of(runtime, 1)
        self._unfinished: list[None] = [None]
        self._over_at = math.inf
        self._told = False

    def begin(self) -> None:
        """Close the client on a worker thread once no thread polls it."""
        self._runtime.closes.begin(self)
        self._begun = clock.system_now()
        self.client.when_not_polled(self._submit)
        self.thread = None

    def retry_if_stuck(self) -> None:
        """Begin again if it has not ended after RETRY seconds.

        A signal handler may have raised before `begin`, or inside it. Twice does no
        harm: the second one finds no client (test_an_interrupted_begin_is_begun_again).
        """
        if not self._unfinished or clock.system_now() - self._begun <= RETRY:
            return
        workers = self._runtime.workers
        # While jobs wait for a thread, this close may be one of them.
        if workers.waiting():
            workers.start_if_needed()
            return
        self.begin()

    def _submit(self) -> None:
        self._runtime.workers.submit(self.run)

    def run(self) -> None:
        """Close the client here and now, unless a thread polls it again.

        Waits for any other native call, however long it takes: a close during one
        aborts the process (test_close_waits_for_a_native_call,
        test_a_close_waits_for_a_metadata_request).
        """
        hold = Hold()
        client = self.client
        while client.borrows or (client.pins and self.reason == "reload"):
            sleep(INSIDE)
        if not client.poll_lock.take(hold):
            client.when_not_polled(self._submit)
            return
        error: Exception | None = None
        identities = identities_of(client.native)
        try:
            # With the poll lock held: nothing more is told of a detached client.
            while client.asking.running():
                sleep(INSIDE)
            # A fork waits by itself for the closes that it began.
            fork_guard = self._runtime.fork_guard
            with nullcontext() if self.reason == "fork" else fork_guard.closing():
                _destroy(client)
        except Exception as raised:
            if from_signal_handler(raised):
                raise
            error = raised
            native = kafka_error_of(raised)
            if native is not None and native.fatal():
                client.note_fatal(native)
        finally:
            _drop(client, hold)
        client.settle_here()
        self.finish(error)
        self._runtime.leak_check.closed(self._emitter, identities)

    def finish(self, error: Exception | None = None) -> bool:
        """The client is destroyed, or given up. False if it was before."""
        try:
            self._unfinished.pop()
        except IndexError:
            return False
        self._over_at = clock.system_now()
        self.release.gone()
        try:
            # In this order, so that a measurement sees the close at any time: as one
            # in progress, or as a move.
            self._on_gone(self)
            self._runtime.closes.end(self)
            if error is not None and self.client.fatal is None:
                self._emitter.error("producer.disconnect.error", error)
            self._batch.done(self.announce)
        finally:
            self._told = True
            self.closed()
        return True

    def wait(self, timeout: float) -> None:
        """Wait until the client is destroyed; give it up after `timeout` seconds."""
        self.wait_until(clock.system_now() + timeout)
        if self._unfinished:
            self.abandon()

    def wait_until(self, deadline: float) -> None:
        """Wait until the client is destroyed and that was told, but not beyond
        `deadline` (test_disconnect_returns_when_it_was_told)."""
        workers = self._runtime.workers
        while not self._told:
            if workers.left_to_this_thread:
                self.run()  # (test_a_close_on_the_poller_at_the_exit)
            left = min(deadline, self._over_at + TELLING) - clock.system_now()
            if left <= 0 or self._waits_for_an_answer():
                return
            self.closed.wait(min(left, RELIEF))
            workers.start_if_needed()
            self.retry_if_stuck()

    def waits_for_caller(self) -> bool:
        """Whether the client is not destroyed before the calling thread goes on."""
        me, client = caller_id(), self.client
        pinned = any(pin.thread == me for pin in list(client.pins))
        inside = pinned or client.served_here or borrows_here(client) > 0
        return inside or self.thread == me

    def _waits_for_an_answer(self) -> bool:
        late = clock.system_now() - self.started > ANSWER
        return late and self.client.asking.running()

    def abandon(self) -> None:
        """Give up a close that hangs. Its thread, a daemon, keeps the client.

        A close that waits for the answer to a metadata request does not hang: it ends
        by itself, and destroys the client.
        """
        asking = self.client.asking.running()
        if asking:
            self._runtime.closes.note_move()  # so what it releases is not measured
        if self.finish() and not asking:
            error = TimeoutError("the close of a client hangs; it was abandoned")
            self._emitter.error("producer.close.abandoned", error)

    def payload(self, measured: dict[str, int] | None) -> dict[str, Any]:
        """The payload of `producer.disconnected`."""
        return {
            "reason": self.reason,
            "idle_ms": round(self.idle_ms, 3),
            "connected_ms": round((clock.now() - self.client.opened_at) * 1000, 3),
            "messages": self.client.accepted(),
            "released": measured,
            "reopen_ms": self.client.reopen_ms,
        }

    def announce(self, measured: dict[str, int] | None) -> None:
        """Emit that the client is closed, and what that released."""
        self.release.measured(measured)
        if self._batch.silent:
            self._emitter.emit("producer.disconnecting", {"reason": self.reason})
        self._emitter.emit(
            "producer.disconnected",
            self.payload(measured),
            duration_ms=(clock.system_now() - self.started) * 1000,
            client=self.client,
        )
