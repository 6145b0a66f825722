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
from waterdrop_py._engine.concurrency.wakeup import Bell
from waterdrop_py._engine.process.reaper import RELIEF
from waterdrop_py._engine.process.resources import released, take_census

if TYPE_CHECKING:
    from waterdrop_py._engine.client.client import Life
    from waterdrop_py._engine.connection.connection import ClientSlot
    from waterdrop_py._engine.process.resources import Census
    from waterdrop_py._engine.process.runtime import Engine

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


def destroy_unready(life: Life) -> None:
    """Destroy a client that could not be made ready, here and now."""
    turn = Ticket()
    try:
        while not life.turn.take(turn):  # the poller has it
            pause(INSIDE)
        with suppress(SystemError, KafkaException):
            # confluent-kafka warns here that there was nothing to abort; where
            # warnings are errors, that is what comes of it. After a fatal error it
            # raises that once more. The client is destroyed by then.
            _destroy(life)
    finally:
        _drop(life, turn)


def _drop(life: Life, turn: Ticket) -> None:
    """Drop the client, before the turn: nobody polls or counts a destroyed one."""
    try:
        life.client = life.produce = None
        life.drain()
    finally:
        life.leave(turn)


def _destroy(life: Life) -> None:
    """The native close. Turn held, nobody inside.

    In the middle of a transaction it would wait for the coordinator without a bound
    (with every broker down: for more than 35 s, measured). So the abort comes first,
    and when that does not get through the client goes with its last reference (3 ms).
    """
    client = life.client
    if client is None:
        return
    if life.transacting and life.fatal is None:
        try:
            client.abort_transaction(LAST_ABORT)
        except KafkaException:
            return
    client.close()


class Ending:
    """One client's way from "let go of" to "destroyed". Used once."""

    __slots__ = (
        "_batch",
        "_claimed",
        "_nudged",
        "_over_at",
        "_told",
        "closed",
        "idle_ms",
        "life",
        "reason",
        "slot",
        "started",
        "thread",
    )

    def __init__(
        self, slot: ClientSlot, life: Life, reason: str, batch: Batch | None = None
    ) -> None:
        now = clock.now()
        self.slot = slot
        self.life = life
        self.reason = reason
        self.idle_ms = (now - life.last_activity) * 1000
        self.closed = Bell()
        self.thread: int | None = get_ident()  # whoever has to begin it yet
        self.started = self._nudged = clock.system_now()
        self._batch = batch if batch is not None else slot.engine.batch([slot])
        self._claimed: list[None] = [None]
        self._over_at = math.inf
        self._told = False

    def begin(self) -> None:
        """Close the client on a closer thread, as soon as nobody polls it."""
        self.slot.engine.endings[self] = None
        self._nudged = clock.system_now()
        self.life.after_turn(self._submit)
        self.thread = None

    def nudge(self) -> None:
        """Begin again if it has not ended for a while.

        A signal handler may have raised before `begin`, or inside it. Twice does no
        harm: who comes second finds no client (test_a_torn_begin_is_begun_again).
        """
        if not self._claimed or clock.system_now() - self._nudged <= NUDGE:
            return
        closers = self.slot.engine.closers
        # While closes wait for a thread, this one may just be waiting for its own.
        if closers.waiting():
            closers.relieve()
            return
        # The poller heals the turns of the clients that it knows; this one it may never
        # have heard of (test_a_torn_turn_holds_no_close_up).
        self.life.turn.heal()
        self.begin()

    def _submit(self) -> None:
        self.slot.engine.closers.submit(self.run)

    def run(self) -> None:
        """Close the client here and now, unless somebody polls it again.

        Whoever is inside another native call is waited for, however long: a close
        that meets one aborts the process (test_close_waits_for_a_native_call,
        test_a_close_waits_for_a_metadata_request).
        """
        turn = Ticket()
        life = self.life
        while life.inuse or (life.pins and self.reason == "reload"):
            pause(INSIDE)
        if not life.turn.take(turn):
            life.after_turn(self._submit)
            return
        error: Exception | None = None
        identities = identities_of(life.client)
        try:
            # With the turn: nobody hears any more of a client that was let go of.
            while life.asks():
                pause(INSIDE)
            # The fork waits for its own closes itself.
            gate = self.slot.engine.gate
            with nullcontext() if self.reason == "fork" else gate.closing():
                _destroy(life)
        except Exception as raised:
            if from_signal_handler(raised):
                raise
            error = raised
            native = kafka_error_of(raised)
            if native is not None and native.fatal():
                life.doomed(native)
        finally:
            _drop(life, turn)
        self.finish(error)
        self.slot.engine.leftovers.closed(self.slot, identities)

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
            self.slot.released(self)
            self.slot.engine.forget(self)
            if error is not None and self.life.fatal is None:
                self.slot.emitter.error("producer.disconnect.error", error)
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
        closers = self.slot.engine.closers
        while not self._told:
            left = min(deadline, self._over_at + TELLING) - clock.system_now()
            if left <= 0 or self._waits_for_an_answer():
                return
            self.closed.wait(min(left, RELIEF))
            closers.relieve()
            self.nudge()

    def _waits_for_an_answer(self) -> bool:
        late = clock.system_now() - self.started > ANSWER
        return late and self.life.asks()

    def abandon(self) -> None:
        """Give up a close that hangs: its thread is a daemon, and leaks the client.

        One that waits for the answer to a metadata request does not hang: it ends by
        itself, and the client is destroyed then.
        """
        asking = self.life.asks()
        if asking:
            self.slot.engine.note_traffic()  # what it releases is not measured
        if self.finish() and not asking:
            error = TimeoutError("the close of a client hangs; it was abandoned")
            self.slot.emitter.error("producer.close.abandoned", error)

    def payload(self, measured: dict[str, int] | None) -> dict[str, Any]:
        """What `producer.disconnected` says."""
        return {
            "reason": self.reason,
            "idle_ms": round(self.idle_ms, 3),
            "connected_ms": round((clock.now() - self.life.opened_at) * 1000, 3),
            "messages": self.life.taken(),
            "released": measured,
        }

    def announce(self, measured: dict[str, int] | None) -> None:
        """Say that the client is gone, and what that released."""
        if self._batch.silent:
            self.slot.emitter.emit("producer.disconnecting", {"reason": self.reason})
        self.slot.emitter.emit(
            "producer.disconnected",
            self.payload(measured),
            duration_ms=(clock.system_now() - self.started) * 1000,
        )


class Batch:
    """Clients that are closed together, and what that released of the process.

    One look at the process costs up to 0.1 s with a thousand clients, so it is
    made once before and once after the batch, not for each close. The figures
    are shared out evenly, and only said when nobody else opened or closed a
    client meanwhile. No lock: `_open.pop` counts down.
    """

    __slots__ = ("_before", "_closed", "_engine", "_late", "_moves", "_open", "silent")

    def __init__(
        self, engine: Engine, size: int, *, measure: bool, silent: bool = False
    ) -> None:
        self._engine = engine
        # A silent batch has one place more: it is told of when its owner says so.
        self.silent = silent
        self._open: list[None] = [None] * (size + silent)
        self._closed: list[Ending] = []
        # Not measured, so nobody has to wait for the others.
        self._late = not measure and not silent
        self._moves = engine.traffic()  # first: what ends during the census counts
        self._before = take_census() if measure else None

    def done(self, ending: Ending) -> None:
        """One client is destroyed; with the last one, everybody is told."""
        self._closed.append(ending)
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
                ending = self._closed.pop(0)
            except IndexError:
                return
            ending.announce(shares.pop() if shares else None)

    def _shares(self) -> list[dict[str, int]]:
        before, count = self._before, len(self._closed)
        if before is None or not count:
            return []
        after = _settled_census(before)
        # Every close is one move once it has ended: any more, or one that has not,
        # and somebody else opened or closed. Asked last: one that began during the
        # census has changed it.
        engine = self._engine
        if after is None or engine.endings or engine.traffic() != self._moves + count:
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


def _settled_census(before: Census) -> Census | None:
    """The census after the close, once the kernel has let go too.

    A joined thread stays in /proc for some microseconds, so a count that still
    falls is taken again.
    """
    last = before
    for _ in range(5):
        census = take_census()
        if census is None or census == last:
            return census
        last = census
    return last
