"""The close of a client that its slot has let go of."""

from __future__ import annotations

import math
import warnings
from contextlib import nullcontext, suppress
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import KafkaException

from waterdrop_py._engine.client.foreign import identities_of
from waterdrop_py._engine.client.kafka_errors import kafka_error_of
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.contained import from_signal_handler
from waterdrop_py._engine.concurrency.locks import Ticket
from waterdrop_py._engine.concurrency.pause import pause
from waterdrop_py._engine.concurrency.wakeup import Wakeup
from waterdrop_py._engine.connection.batch import batch_of
from waterdrop_py._engine.process.reaper import RELIEF

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.connection.batch import TeardownBatch
    from waterdrop_py._engine.emitter import Emitter
    from waterdrop_py._engine.process.runtime import Runtime

LAST_ABORT: Final = 0.1
"""Seconds to abort the transaction that a client is closed in."""
NUDGE: Final = 0.5
"""Seconds after which a close that has not ended is begun again."""
TELLING: Final = 0.2
"""Seconds that whoever waits for a close leaves to the subscribers who hear of it."""
ANSWER: Final = 0.3
"""Seconds that a caller waits for the answer to a question for metadata. The client is
destroyed in the background when that takes longer."""
INSIDE: Final = 0.01
"""Seconds between two looks at who is inside the client."""


# A client that closes in the middle of a transaction warns that its abort failed. It
# closes here after a fatal error, which has been told, or when its time is over.
warnings.filterwarnings(
    "ignore", "Producer .* failed during close", RuntimeWarning, __name__
)


def destroy_unready(client: Client) -> None:
    """Destroy a client that could not be made ready, here and now."""
    ticket = Ticket()
    try:
        while not client.poll_lock.take(ticket):  # the poller has it
            pause(INSIDE)
        with suppress(SystemError, KafkaException):
            # confluent-kafka warns here that there was nothing to abort; where
            # warnings are errors, that is what comes of it. After a fatal error it
            # raises that once more. The client is destroyed by then.
            _destroy(client)
    finally:
        _drop(client, ticket)


def _drop(client: Client, ticket: Ticket) -> None:
    """Drop the client, before the turn: nobody polls or counts a destroyed one."""
    try:
        client.native = client.produce = None
        client.drain()
    finally:
        client.leave(ticket)


def _destroy(client: Client) -> None:
    """The native close. Turn held, nobody inside.

    In the middle of a transaction it would wait for the coordinator without a bound
    (with every broker down: for more than 35 s, measured). So the abort comes first,
    and when that does not get through the client goes with its last reference (3 ms).
    """
    native = client.native
    if native is None:
        return
    if client.in_transaction and client.fatal is None:
        try:
            native.abort_transaction(LAST_ABORT)
        except KafkaException:
            return
    native.close()


class Teardown:
    """One client's way from "let go of" to "destroyed". Used once."""

    __slots__ = (
        "_batch",
        "_claimed",
        "_emitter",
        "_nudged",
        "_on_gone",
        "_over_at",
        "_runtime",
        "_told",
        "client",
        "close_timeout",
        "closed",
        "idle_ms",
        "reason",
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
        *,
        close_timeout: float,
        batch: TeardownBatch | None = None,
    ) -> None:
        """`on_gone` is called once, when the client is destroyed or given up.
        `close_timeout`: seconds after which the close is given up."""
        now = clock.now()
        self._runtime = runtime
        self._emitter = emitter
        self._on_gone = on_gone
        self.close_timeout = close_timeout
        self.client = client
        self.reason = reason
        self.idle_ms = (now - client.last_activity) * 1000
        self.closed = Wakeup()
        self.thread: int | None = get_ident()  # whoever has to begin it yet
        self.started = self._nudged = clock.system_now()
        self._batch = batch if batch is not None else batch_of(runtime, [emitter])
        self._claimed: list[None] = [None]
        self._over_at = math.inf
        self._told = False

    def begin(self) -> None:
        """Close the client on a closer thread, as soon as nobody polls it."""
        self._runtime.closes.begin(self)
        self._nudged = clock.system_now()
        self.client.after_turn(self._submit)
        self.thread = None

    def retry_if_stuck(self) -> None:
        """Begin again if it has not ended for a while.

        A signal handler may have raised before `begin`, or inside it. Twice does no
        harm: who comes second finds no client (test_a_torn_begin_is_begun_again).
        """
        if not self._claimed or clock.system_now() - self._nudged <= NUDGE:
            return
        workers = self._runtime.workers
        # While closes wait for a thread, this one may just be waiting for its own.
        if workers.waiting():
            workers.start_if_needed()
            return
        # The poller heals the turns of the clients that it knows; this one it may never
        # have heard of (test_a_torn_turn_holds_no_close_up).
        self.client.poll_lock.heal()
        self.begin()

    def _submit(self) -> None:
        self._runtime.workers.submit(self.run)

    def run(self) -> None:
        """Close the client here and now, unless somebody polls it again.

        Whoever is inside another native call is waited for, however long: a close
        that meets one aborts the process (test_close_waits_for_a_native_call,
        test_a_close_waits_for_a_metadata_request).
        """
        ticket = Ticket()
        client = self.client
        while client.borrows or (client.pins and self.reason == "reload"):
            pause(INSIDE)
        if not client.poll_lock.take(ticket):
            client.after_turn(self._submit)
            return
        error: Exception | None = None
        identities = identities_of(client.native)
        try:
            # With the turn: nobody hears any more of a client that was let go of.
            while client.asks():
                pause(INSIDE)
            # The fork waits for its own closes itself.
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
            _drop(client, ticket)
        self.finish(error)
        self._runtime.leak_check.closed(self._emitter, identities)

    def finish(self, error: Exception | None = None) -> bool:
        """The client is destroyed, or given up; False when that was said before."""
        try:
            self._claimed.pop()
        except IndexError:
            return False
        self._over_at = clock.system_now()
        try:
            # In this order: a close is always to be seen, as one in progress or as
            # traffic.
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
        if self._claimed:
            self.abandon()

    def wait_until(self, deadline: float) -> None:
        """Wait until the client is destroyed and that was told, or `deadline`; the
        close goes on (test_disconnect_returns_when_it_was_told)."""
        workers = self._runtime.workers
        while not self._told:
            left = min(deadline, self._over_at + TELLING) - clock.system_now()
            if left <= 0 or self._waits_for_an_answer():
                return
            self.closed.wait(min(left, RELIEF))
            workers.start_if_needed()
            self.retry_if_stuck()

    def _waits_for_an_answer(self) -> bool:
        late = clock.system_now() - self.started > ANSWER
        return late and self.client.asks()

    def abandon(self) -> None:
        """Give up a close that hangs: its thread is a daemon, and leaks the client.

        One that waits for the answer to a metadata request does not hang: it ends by
        itself, and the client is destroyed then.
        """
        asking = self.client.asks()
        if asking:
            self._runtime.closes.note_move()  # what it releases is not measured
        if self.finish() and not asking:
            error = TimeoutError("the close of a client hangs; it was abandoned")
            self._emitter.error("producer.close.abandoned", error)

    def payload(self, measured: dict[str, int] | None) -> dict[str, Any]:
        """What `producer.disconnected` says."""
        return {
            "reason": self.reason,
            "idle_ms": round(self.idle_ms, 3),
            "connected_ms": round((clock.now() - self.client.opened_at) * 1000, 3),
            "messages": self.client.taken(),
            "released": measured,
        }

    def announce(self, measured: dict[str, int] | None) -> None:
        """Say that the client is gone, and what that released."""
        if self._batch.silent:
            self._emitter.emit("producer.disconnecting", {"reason": self.reason})
        self._emitter.emit(
            "producer.disconnected",
            self.payload(measured),
            duration_ms=(clock.system_now() - self.started) * 1000,
        )
