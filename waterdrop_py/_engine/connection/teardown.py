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
from waterdrop_py._engine.process.reaper import RELIEF
from waterdrop_py._engine.process.resources import count_resources, released

if TYPE_CHECKING:
    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py._engine.process.resources import ResourceCount
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
        "_nudged",
        "_over_at",
        "_told",
        "client",
        "closed",
        "connection",
        "idle_ms",
        "reason",
        "started",
        "thread",
    )

    def __init__(
        self,
        connection: Connection,
        client: Client,
        reason: str,
        batch: TeardownBatch | None = None,
    ) -> None:
        now = clock.now()
        self.connection = connection
        self.client = client
        self.reason = reason
        self.idle_ms = (now - client.last_activity) * 1000
        self.closed = Wakeup()
        self.thread: int | None = get_ident()  # whoever has to begin it yet
        self.started = self._nudged = clock.system_now()
        self._batch = (
            batch if batch is not None else connection.runtime.batch([connection])
        )
        self._claimed: list[None] = [None]
        self._over_at = math.inf
        self._told = False

    def begin(self) -> None:
        """Close the client on a closer thread, as soon as nobody polls it."""
        self.connection.runtime.teardowns[self] = None
        self._nudged = clock.system_now()
        self.client.after_turn(self._submit)
        self.thread = None

    def nudge(self) -> None:
        """Begin again if it has not ended for a while.

        A signal handler may have raised before `begin`, or inside it. Twice does no
        harm: who comes second finds no client (test_a_torn_begin_is_begun_again).
        """
        if not self._claimed or clock.system_now() - self._nudged <= NUDGE:
            return
        workers = self.connection.runtime.workers
        # While closes wait for a thread, this one may just be waiting for its own.
        if workers.waiting():
            workers.relieve()
            return
        # The poller heals the turns of the clients that it knows; this one it may never
        # have heard of (test_a_torn_turn_holds_no_close_up).
        self.client.poll_lock.heal()
        self.begin()

    def _submit(self) -> None:
        self.connection.runtime.workers.submit(self.run)

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
            fork_guard = self.connection.runtime.fork_guard
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
        self.connection.runtime.leak_check.closed(self.connection, identities)

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
            self.connection.released(self)
            self.connection.runtime.forget(self)
            if error is not None and self.client.fatal is None:
                self.connection.emitter.error("producer.disconnect.error", error)
            self._batch.done(self)
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
        workers = self.connection.runtime.workers
        while not self._told:
            left = min(deadline, self._over_at + TELLING) - clock.system_now()
            if left <= 0 or self._waits_for_an_answer():
                return
            self.closed.wait(min(left, RELIEF))
            workers.relieve()
            self.nudge()

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
            self.connection.runtime.note_traffic()  # what it releases is not measured
        if self.finish() and not asking:
            error = TimeoutError("the close of a client hangs; it was abandoned")
            self.connection.emitter.error("producer.close.abandoned", error)

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
            self.connection.emitter.emit(
                "producer.disconnecting", {"reason": self.reason}
            )
        self.connection.emitter.emit(
            "producer.disconnected",
            self.payload(measured),
            duration_ms=(clock.system_now() - self.started) * 1000,
        )


class TeardownBatch:
    """Clients that are closed together, and what that released of the process.

    One look at the process costs up to 0.1 s with a thousand clients, so it is
    made once before and once after the batch, not for each close. The figures
    are shared out evenly, and only said when nobody else opened or closed a
    client meanwhile. No lock: `_open.pop` counts down.
    """

    __slots__ = ("_before", "_closed", "_late", "_moves", "_open", "_runtime", "silent")

    def __init__(
        self, runtime: Runtime, size: int, *, measure: bool, silent: bool = False
    ) -> None:
        self._runtime = runtime
        # A silent batch has one place more: it is told of when its owner says so.
        self.silent = silent
        self._open: list[None] = [None] * (size + silent)
        self._closed: list[Teardown] = []
        # Not measured, so nobody has to wait for the others.
        self._late = not measure and not silent
        self._moves = runtime.traffic()  # first: what ends during the census counts
        self._before = count_resources() if measure else None

    def done(self, teardown: Teardown) -> None:
        """One client is destroyed; with the last one, everybody is told."""
        self._closed.append(teardown)
        self.skip()

    def skip(self) -> None:
        """One client is not closed, or is destroyed."""
        with suppress(IndexError):
            self._open.pop()
        if not self._open or self._late:
            self.announce()

    @property
    def over(self) -> bool:
        """Whether every client of it is destroyed or was not closed."""
        return not self._open

    @property
    def late(self) -> bool:
        """Whether those that were in time have been told of already."""
        return self._late

    def announce(self) -> None:
        """Tell of those that are closed: of all, or of those that were in time."""
        self._late = bool(self._open)
        shares = [] if self._late else self._shares()
        while self._closed:
            try:
                teardown = self._closed.pop(0)
            except IndexError:
                return
            teardown.announce(shares.pop() if shares else None)

    def _shares(self) -> list[dict[str, int]]:
        before, count = self._before, len(self._closed)
        if before is None or not count:
            return []
        after = _settled_count(before)
        # Every close is one move once it has ended: any more, or one that has not,
        # and somebody else opened or closed. Asked last: one that began during the
        # census has changed it.
        runtime = self._runtime
        if (
            after is None
            or runtime.teardowns
            or runtime.traffic() != self._moves + count
        ):
            return []
        total = released(before, after)
        shares = [
            {name: figure // count for name, figure in total.items()}
            for _ in range(count)
        ]
        for name, figure in total.items():
            for index in range(figure % count):
                shares[index][name] += 1
        return shares


def _settled_count(before: ResourceCount) -> ResourceCount | None:
    """The census after the close, once the kernel has let go too.

    A joined thread stays in /proc for some microseconds, so a count that still
    falls is taken again.
    """
    last = before
    for _ in range(5):
        census = count_resources()
        if census is None or census == last:
            return census
        last = census
    return last
