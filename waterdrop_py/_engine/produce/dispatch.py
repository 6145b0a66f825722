"""From a valid message to librdkafka: lease, produce, queue-full policy."""

from __future__ import annotations

from contextlib import nullcontext
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import KafkaException

from waterdrop_py._engine.client import waiting, watchers
from waterdrop_py._engine.client.borrow_marks import ends_step, in_deferred, leaseholder
from waterdrop_py._engine.client.client import Life
from waterdrop_py._engine.client.interruption import raise_interruption
from waterdrop_py._engine.client.kafka_errors import (
    code_name,
    queue_full_error,
    refusal_of,
)
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.contained import from_signal_handler
from waterdrop_py._engine.concurrency.unhooked_forks import HOME
from waterdrop_py._engine.connection import metadata
from waterdrop_py._engine.connection.partitions import (
    GONE,
    LOOK_UP,
    moved,
    partition_of,
    refresh,
)
from waterdrop_py._engine.connection.resending import Moved
from waterdrop_py._engine.reports.subjects import limit_of, subject_of
from waterdrop_py._settings.reading import number_of
from waterdrop_py.delivery import ANYWHERE, Place
from waterdrop_py.errors import (
    ProduceError,
    ReentrantCallError,
    about,
    shared,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from waterdrop_py._engine.connection.connection import ClientSlot
    from waterdrop_py._engine.connection.recovery import Recovery
    from waterdrop_py._engine.emitter import Emitter
    from waterdrop_py.config import Config
    from waterdrop_py.delivery import DeliveryHandle

# What a client raises for a message that it did not take. Anything else that comes
# out of the call (a signal handler's exception) leaves that open: it may not be sent
# again, and its number is settled when the client has nothing left (`Life.torn`).
REFUSED: Final = (BufferError, KafkaException)


_QUEUE_SIZE: Final = "queue.buffering.max.kbytes"


def _arm(life: Life) -> None:
    """Have it served, whatever a signal handler raises meanwhile; twice does no harm
    (test_a_handler_that_raises_as_the_poller_is_told)."""
    try:
        life.arm(life)
    except BaseException:
        life.arm(life)
        raise


class Dispatch:
    """Hands messages to the client of one slot. Thread-safe, no lock."""

    __slots__ = ("_config", "_emitter", "_recovery", "_slot")

    def __init__(
        self,
        config: Config,
        slot: ClientSlot,
        emitter: Emitter,
        recovery: Recovery | None = None,
    ) -> None:
        self._recovery = recovery
        self._config = config
        self._slot = slot
        self._emitter = emitter

    def send(
        self,
        handle: DeliveryHandle,
        verb: str,
        deadline: float | None = None,
        *,
        serves: bool = False,
    ) -> None:
        """Hand a filled `handle` to librdkafka, opening a client if need be.

        The caller `serves` the report itself: the poller need not, and does not get
        in its way (p50 of `produce_sync` 1.25 of bare instead of 1.4).

        It sees to `introduce` itself then, whatever is raised.

        Blocks for an open, for the first look-up of a topic's partitions, and for a
        full queue; until `deadline` at most, where there is one.

        Raises:
            ProduceError, ProducerClosedError, ReentrantCallError: nothing was sent.
        """
        give_up = self._give_up_at(deadline)
        partition = self._partition(handle, deadline)
        try:
            while True:
                life = self._ready(handle, deadline)
                try:
                    if self._produce(handle, life, partition, serves=serves):
                        return
                except BufferError as full:
                    self._wait_for_room(handle, life, verb, full, give_up)
                except KafkaException as refused:
                    elsewhere = self._moved(handle, refused, deadline)
                    if elsewhere is None:
                        self._recover(handle, life, refused)
                    else:
                        partition = elsewhere
                finally:
                    if life.refusals:
                        self._slot.look_again()
        finally:
            self._sent(handle, serves=serves)

    def _give_up_at(self, deadline: float | None) -> float:
        """Until when a full queue is waited for."""
        patience = clock.system_now() + self._config.wait_timeout_on_queue_full / 1000
        return patience if deadline is None else min(patience, deadline)

    def _sent(self, handle: DeliveryHandle, *, serves: bool) -> None:
        """What comes behind a message, with the client open."""
        slot, place = self._slot, handle._place
        if not serves:
            slot.introduce()
        slot.topic = handle._topic
        if place is not None and place.partition_key is not None:
            refresh(slot, handle._topic)

    @property
    def unnoted(self) -> bool:
        """Whether the client is not made known to the background threads yet."""
        return self._slot.unnoted

    def introduce(self, handle: DeliveryHandle) -> None:
        """Have the background threads know of a client that was opened for `handle`."""
        try:
            self._slot.introduce()
        finally:
            life: Life | None = handle._life
            if life is not None and not life.poll_at:
                life.arm(life)  # the poller does not know this client yet

    def refuse_closed(self) -> None:
        """Raise `ProducerClosedError` from the beginning of the close on."""
        self._slot.refuse_closed()

    def refuse_inside_callback(self) -> None:
        """For verbs that wait: nothing is sent whose report could not come.

        Raises:
            ReentrantCallError: this thread is inside a callback of the same client.
        """
        if self._slot.life.held_here():
            raise ReentrantCallError(
                "a verb that waits was called inside a callback or subscriber of the "
                "same client, which holds up its reports; nothing was sent"
            )

    def send_or_defer(self, handle: DeliveryHandle, verb: str) -> None:
        """`send`, and where it would wait for the very call that it interrupted,
        leave the message to the end of that call.

        Raises:
            ProduceError, ProducerClosedError: nothing was sent.
        """
        try:
            self.send(handle, verb)
        except ReentrantCallError:
            slot = self._slot
            after = slot.when_free if slot.mine else slot.life.after_turn
            self.defer(handle, verb, after, nullcontext)

    def defer(
        self,
        handle: DeliveryHandle,
        verb: str,
        after: Callable[[Callable[[], None]], None],
        block: Callable[[], AbstractContextManager[object]],
    ) -> None:
        """Send `handle` inside `block()` when `after` says that nothing hinders."""
        handle._life = waiting_room = Life(
            self._slot.reports, self._slot.engine.poller.arm
        )
        waiting_room.blocked = self._inside
        handle._seq = -get_ident()
        after(lambda: self._send_deferred(handle, verb, block))

    def _inside(self) -> bool:
        """Whether this thread is still inside what a deferred message waits for."""
        slot = self._slot
        within = slot.inside is not None and slot.inside()
        return within or slot.mine or slot.life.held_here() or in_deferred(slot)

    @ends_step
    def _send_deferred(
        self,
        handle: DeliveryHandle,
        verb: str,
        block: Callable[[], AbstractContextManager[object]],
    ) -> None:
        try:
            with block():
                self.send_or_defer(handle, verb)
        except BaseException as error:
            if from_signal_handler(error):
                self._after_interruption(handle, verb, block)
                raise
            self._emitter.error(verb, error, message=handle.message)
            handle._error = error.with_traceback(None)  # its frames have the handle
            watchers.notify(handle)

    def _ready(self, handle: DeliveryHandle, deadline: float | None) -> Life:
        try:
            return self._slot.open(deadline)
        except ProduceError as error:
            raise about(shared(error), subject_of(handle)) from error.__cause__

    def _after_interruption(
        self,
        handle: DeliveryHandle,
        verb: str,
        block: Callable[[], AbstractContextManager[object]],
    ) -> None:
        """A deferred send was interrupted: another thread goes on. Not once the message
        has a number: it is not known then whether it was sent, once or not at all."""
        if handle._seq < 0:
            self._slot.engine.closers.submit(
                lambda: self._send_deferred(handle, verb, block)
            )
        elif not handle.done():
            handle._error = ProduceError(
                "a signal handler raised as this message was handed over: whether it "
                "was sent is not known (report_lost)",
                code="report_lost",
            )
            watchers.notify(handle)

    def _partition(self, handle: DeliveryHandle, deadline: float | None) -> int:
        place = handle._place
        if place is None:
            return -1
        if place.partition is not None:
            return place.partition
        if place.partition_key is None:
            return -1
        return partition_of(self._slot, handle._topic, place.partition_key, deadline)

    def _moved(
        self, handle: DeliveryHandle, refused: KafkaException, deadline: float | None
    ) -> int | None:
        """The partition for a message that was refused because its own does not
        exist; None: the refusal stands. Once for each message, and never in a
        transaction, which a refused message ends."""
        slot, place = self._slot, handle._place
        error: Any = refusal_of(refused)
        if type(place) is not Place or slot.reports.transactional:
            return None
        if code_name(error) not in GONE:
            return None
        handle._place = Moved(*place)
        until = clock.system_now() + LOOK_UP
        if deadline is not None:
            until = min(until, deadline)
        topic = handle._topic
        return moved(
            slot.partitions, topic, place, lambda: metadata.ask(slot, topic, until)
        )

    @leaseholder
    def _produce(  # noqa: PLR0915 - each step where no exception leaves a mark
        self, handle: DeliveryHandle, life: Life, partition: int, *, serves: bool
    ) -> bool:
        """Produce on `life` under a lease; False when it is not the slot's any more.

        The mark is set before the look at the slot; see `ClientSlot`. Whoever ends
        the quiet arms the poller, also when the message is refused: the next sender
        finds no quiet, and relies on it (test_a_refusal_on_a_quiet_client_arms).
        """
        woken = sent = False
        place = handle._place
        try:
            # Within the `try`: CPython runs signal handlers after a call and not
            # before it, so whatever is raised here finds the mark set.
            life.inuse.append(None)
            if self._slot.life is not life:
                return False
            self._slot.reports.note_topic(handle._topic)
            if life.quiet:
                woken = True
                life.quiet = False
                life.last_activity = clock.now()
            handle._life = life
            handle._seq = next(life.sent)
            try:
                life.produce(  # type: ignore[misc]
                    handle._topic,
                    handle._payload,
                    handle._key,
                    partition,
                    handle,
                    handle,
                    0 if place is None else place.timestamp or 0,
                    handle._headers,
                )
            except REFUSED:
                next(life.refused)
                del handle._life  # it is in no client
                raise
            except BaseException as error:
                life.torn = True
                raise_interruption(error)
                raise
            sent = True
            return True
        finally:
            try:
                life.inuse.pop()
            finally:
                if woken and not (serves and sent):
                    _arm(life)

    @leaseholder
    def send_run(  # noqa: PLR0915 - a hot loop, in one piece
        self, handles: list[DeliveryHandle], start: int
    ) -> int:
        """Hand over handles from `start` on, under one lease, as far as nothing is in
        the way; the index of the first that was not. `send` has the policies."""
        slot = self._slot
        life = slot.life
        count = start
        try:
            life.inuse.append(None)
            # `send` would try again what a foreign client has refused here.
            moved = slot.life is not life or not HOME[0]
            if moved or life.quiet or slot.reports.foreign:
                return count
            produce: Any = life.produce
            run = handles[start:] if start else handles
            handle: DeliveryHandle
            for handle, handle._seq in zip(run, life.sent):  # noqa: B905 - endless
                place, headers = handle._place, handle._headers
                if place is None and headers is None:
                    handle._life = life
                    produce(handle._topic, handle._payload, handle._key, -1, handle)
                    count += 1
                    continue
                partition, key, timestamp = place or ANYWHERE
                if partition is None:
                    if key is not None:
                        next(life.refused)
                        break
                    partition = -1
                handle._life = life
                produce(
                    handle._topic,
                    handle._payload,
                    handle._key,
                    partition,
                    handle,
                    handle,
                    timestamp or 0,
                    headers,
                )
                count += 1
        except REFUSED:
            next(life.refused)
            del handles[count]._life  # as in `_produce`
        except BaseException as error:
            life.torn = True
            raise_interruption(error)
            raise
        finally:
            life.inuse.pop()
        return count

    def _wait_for_room(
        self,
        handle: DeliveryHandle,
        life: Life,
        verb: str,
        full: BufferError,
        give_up: float,
    ) -> None:
        """Serve reports until one has made room, for one backoff at most.

        Without the lease, and serving them itself: a callback on the poller that
        sends would otherwise wait for the poller.
        """
        self._refuse_larger_than_the_queue(handle, full)
        now = clock.system_now()
        wait_ms = self._config.wait_timeout_on_queue_full
        error = queue_full_error(
            full,
            subject_of(handle),
            f"{limit_of('queue_full', self._slot.reports.kafka)}, "
            f"wait_timeout_on_queue_full is {wait_ms} ms",
        )
        if not self._config.wait_on_queue_full or now >= give_up:
            raise error
        if life.held_here():
            raise ReentrantCallError(
                "the client's queue is full, and the callback that sends holds up "
                "the reports that would make room"
            )
        if self._config.instrument_on_wait_queue_full:
            # Not logged: it has not failed yet.
            self._emitter.tell(verb, error, message=handle.message)
        before = life.acknowledged + life.failed
        backoff = self._config.wait_backoff_on_queue_full / 1000
        waiting.wait_turn(
            life,
            lambda: life.acknowledged + life.failed != before,
            min(give_up, now + backoff),
        )
        if backoff == 0:
            waiting.hear(life)

    def _refuse_larger_than_the_queue(
        self, handle: DeliveryHandle, full: BufferError
    ) -> None:
        """Raise for a message that no wait makes room for: only its payload counts."""
        size = len(handle._payload or b"")
        kbytes = number_of(self._slot.factory.kafka, _QUEUE_SIZE)
        if kbytes is not None and size > kbytes * 1024:
            raise ProduceError(
                f"{subject_of(handle)}: a payload of {size} bytes is larger than the "
                f"client's whole queue: {_QUEUE_SIZE} is {kbytes} ({kbytes * 1024} "
                "bytes); nothing was sent (msg_size_too_large)",
                code="msg_size_too_large",
                checklist=(f"raise kafka[{_QUEUE_SIZE!r}], or send less at once",),
            ) from full

    def _recover(
        self, handle: DeliveryHandle, life: Life, refused: KafkaException
    ) -> None:
        """Replace a lost client: the message goes to the next. Else raise the error."""
        error = self._refusal(handle, life, refused)
        recovery = self._recovery
        if recovery is None or not error.fatal:
            raise error from refused
        if not recovery.reload(life, error, "librdkafka.idempotent_fatal_error"):
            raise error from refused

    def _refusal(
        self, handle: DeliveryHandle, life: Life, refused: KafkaException
    ) -> ProduceError:
        """What `produce` refused a message with, and the real code of a fatal error."""
        error: Any = refusal_of(refused)
        lost = error.code() == error._FATAL
        if lost:
            if life.fatal is None and not life.held_here():
                # It comes out of a poll, once, and says what really happened.
                waiting.wait_turn(
                    life, lambda: life.fatal is not None, clock.system_now() + 0.2
                )
            if life.fatal is None:
                life.doomed(error)
            if life.fatal is not None:
                return about(shared(life.fatal.error()), subject_of(handle))
        raised = self._slot.reports.refused(handle, life, error)
        raised.fatal = raised.fatal or life.fatal is not None
        return raised
