"""Messages of asyncio's tasks that wait: for a client, for room, for partitions.

They are handed over in the order of the calls. None of them takes a thread while it
waits for room: the thread that serves the reports hands over what they make room for.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaException

from waterdrop_py._engine.client.waiting import wait_serving
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.locks import Hold, OwnedLock
from waterdrop_py._engine.concurrency.signals import from_signal_handler
from waterdrop_py._engine.concurrency.wakeup import sleep
from waterdrop_py._engine.produce.dispatch import WithdrawnError
from waterdrop_py._engine.produce.hot_path import send_run
from waterdrop_py._engine.produce.look_ups import LookUps, known_partition
from waterdrop_py._engine.shutdown.children import watch_exit
from waterdrop_py.errors import ProduceError, ProducerClosedError

if TYPE_CHECKING:
    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.produce.dispatch import Dispatch
    from waterdrop_py._engine.produce.queued import Queued
    from waterdrop_py.delivery import DeliveryHandle

RUN: Final = 250
"""Messages that are handed over in one go: about a millisecond."""
_TICK: Final = 0.001  # seconds between two looks of a close at what waits


class SendQueue:
    """The entries of one connection, in order. Thread-safe, no lock is waited for.

    One thread at a time hands over: it holds `_sending`. `submit` appends, and then
    looks at that lock. The holder releases it and then looks at the entries
    (test_an_entry_that_comes_as_the_sender_stops).

    `advance` never waits, and leaves to a worker what would. Entries that wait for the
    partitions of their topic stand aside, so that other topics pass.
    """

    __slots__ = (
        "_connection",
        "_dispatch",
        "_look_ups",
        "_sending",
        "_until",
        "_waiting",
    )

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self._connection = dispatch.connection
        self._waiting: deque[Queued] = deque()
        self._look_ups = LookUps(self._connection, self._work)
        self._sending = OwnedLock()
        self._until = inf  # a close ends all waits by then

    @property
    def full(self) -> BufferError | None:
        """The refusal of a full queue, while all that waits does so for room."""
        try:
            return self._waiting[0].full
        except IndexError:
            return None

    @property
    def idle(self) -> bool:
        """Whether nothing waits, so that a message may go past it."""
        return not (self._waiting or self._look_ups)

    @property
    def waiting(self) -> int:
        """How many calls wait. None for the thread that hands over: an old client is
        replaced before it gets the next message."""
        if self._sending.held_here:
            return 0
        return len(self._waiting) + len(self._look_ups)

    @property
    def left_alone(self) -> int:
        """How many messages wait whose callers have left, because it took too long."""
        waiting = [*self._waiting, *self._look_ups.entries()]
        alone = [each for each in waiting if each.left_alone and not each.over]
        return sum(len(each.handles) - each.count for each in alone)

    def wait_handed_over(self, deadline: float) -> None:
        """Wait until the client has these. The thread that makes room never waits."""
        while self.left_alone and (now := clock.system_now()) < deadline:
            client = self._connection.client
            if client.served_here:
                return
            wait_serving(client, lambda: not self.left_alone, now + 10 * _TICK)

    def send_at_once(self, handle: DeliveryHandle) -> bool:
        """Hand one message over if nothing waits, and it need not wait either."""
        connection = self._connection
        if not self.idle or connection.shutdowns or connection.reports.foreign:
            return False
        client = self._dispatch.client_now()
        partition = known_partition(connection, handle)
        if client is None or partition is None:
            return False
        try:
            return self._dispatch.send_now(handle, client, partition)
        except (BufferError, KafkaException):
            return False  # the queue tries again, and handles the refusal

    def submit(self, entry: Queued) -> None:
        """Add an entry. Call `advance` next.

        Raises:
            ProducerClosedError: the close has begun.
        """
        connection = self._connection
        connection.refuse_closed()
        if connection.shutdown is not None and connection.hooks.reopen is None:
            raise self._closed_error()
        # So a forked child forgets them, and the exit hands them over (test_a_fork).
        connection.runtime.register(connection)
        watch_exit()
        self._waiting.append(entry)

    def _closed_error(self) -> ProducerClosedError:
        name = self._connection.emitter.producer_id
        return ProducerClosedError(f"producer {name!r} is closing; nothing was sent")

    def withdraw(self, entry: Queued) -> bool:
        """Take `entry` back. False while it is being handed over; then ask again."""
        if not entry.withdraw():
            return False
        self._remove(entry)
        self.advance(go_on=True)
        return True

    def _remove(self, entry: Queued) -> None:
        with suppress(ValueError):
            self._waiting.remove(entry)
            return
        self._look_ups.remove(entry)

    def begin(self) -> None:
        """Have a worker hand over what waits."""
        if self._waiting or self._look_ups.answered:
            self._connection.runtime.workers.submit(self._work)

    def advance(self, most: int = RUN, *, go_on: bool = False) -> bool:
        """Hand over at most `most` messages, as far as that waits for nothing.

        Whether the next one could be handed over too. With `go_on` a worker does that.
        Never raises what a message is refused with.
        """
        more = self._send(most, may_wait=False)
        if more and go_on:
            self.begin()
        return more

    def _on_room(self) -> None:
        """Reports have made room. On the thread that serves them."""
        if self._connection.reports.foreign:
            self.begin()  # such a client may be of the user's code
        else:
            self.advance(go_on=True)

    def _work(self) -> None:
        while self._send(RUN, may_wait=True):
            pass

    def _send(self, most: int, *, may_wait: bool) -> bool:
        """Hand over from the front; whether it stopped because of `most` alone."""
        left = most
        while self._waiting or self._look_ups.answered:
            hold = Hold()
            try:
                if not self._sending.take(hold):
                    return False
                left, blocked = self._send_front(left, may_wait=may_wait)
            finally:
                self._sending.release(hold)
            if left <= 0 or blocked:
                return bool(self._waiting) and not blocked
        return False

    def _send_front(self, left: int, *, may_wait: bool) -> tuple[int, bool]:
        """Hand over until `left` is used up; what is left, and whether it is stuck."""
        while left > 0:
            self._look_ups.put_back(self._waiting)
            try:
                entry = self._waiting[0]
            except IndexError:
                break
            if entry.over or entry.withdrawn or self._look_ups.take(entry):
                self._drop(entry)
                continue
            before = entry.count
            if self._send_entry(entry, left, may_wait=may_wait):
                return left, True
            left -= max(1, entry.count - before)
        return left, False

    def _drop(self, entry: Queued) -> None:
        with suppress(ValueError):
            self._waiting.remove(entry)

    def _send_entry(self, entry: Queued, left: int, *, may_wait: bool) -> bool:
        """Hand over some of `entry`; whether it has to wait."""
        try:
            if self._run(entry, left):
                return False
            if may_wait:
                entry.context.run(self._send_one, entry)
            elif not entry.context.run(self._send_now, entry):
                self.begin()
                return True
        except BufferError as full:
            return self._is_full(entry, full)
        except BaseException as error:
            if from_signal_handler(error):
                raise
            self._drop(entry)
            entry.end(error.with_traceback(None))
        return False

    def _run(self, entry: Queued, left: int) -> bool:
        """Hand over what the fast loop can; whether it did all that it was given."""
        run = entry.handles[entry.count : entry.count + left]
        if not entry.claim():
            return self._give_back(entry)
        try:
            sent = send_run(self._connection, run, 0)
        finally:
            entry.unclaim()
        return self._count(entry, sent) or sent == len(run)

    def _send_now(self, entry: Queued) -> bool:
        """Hand over one message to the open client; False if that might wait."""
        handle = entry.handles[entry.count]
        client = self._dispatch.client_now()
        partition = known_partition(self._connection, handle)
        if client is None or partition is None or entry.refused is not None:
            return False
        if not entry.claim():
            return self._give_back(entry)
        try:
            sent = self._dispatch.send_now(handle, client, partition)
        except KafkaException as refused:
            entry.refused = client, refused  # what to do about it may take long
            return False
        finally:
            entry.unclaim()
        self._count(entry, int(sent))
        return sent

    def _send_one(self, entry: Queued) -> None:
        """Hand over one message, and wait for what that needs, except for room."""
        handle = entry.handles[entry.count]
        deadline = min(self._until, inf if entry.deadline is None else entry.deadline)
        try:
            self._dispatch.send(
                handle,
                entry.verb,
                None if deadline == inf else deadline,
                queued=entry,
            )
        except WithdrawnError:
            self._give_back(entry)
            return
        finally:
            entry.unclaim()
        self._count(entry, 1)

    def _give_back(self, entry: Queued) -> bool:
        """The entry is not wanted any more."""
        if not entry.withdrawn:
            entry.end(
                ProduceError(
                    "the transaction ended before this message was handed over; "
                    "nothing was sent (aborted)",
                    code="aborted",
                )
            )
        self._drop(entry)
        return True

    def _count(self, entry: Queued, sent: int) -> bool:
        """Note that `sent` more were handed over; whether those were the last."""
        if sent:
            entry.count += sent
            entry.full = None
            if len(entry.handles) > 1:
                entry.since = clock.system_now()
        if entry.count < len(entry.handles):
            if entry.withdrawn:
                self._drop(entry)
            return False
        self._drop(entry)  # first: its caller may send again at once
        entry.end()
        return True

    def _is_full(self, entry: Queued, full: BufferError) -> bool:
        """The queue is full: reports will have this go on.

        1. A report makes room, and finds no one to tell.
        2. `on_room` is set, and the message is refused once more.
        So another report is to come (test_room_that_is_made_as_the_queue_is_parked).
        """
        try:
            self._dispatch.refuse_without_room(entry.handles[entry.count], full)
        except ProduceError as error:
            self._drop(entry)
            entry.end(error)
            return False
        client: Client = self._connection.client
        told = client.on_room
        entry.full = full
        client.on_room = self._on_room
        return told is not None

    # -- the end -----------------------------------------------------------

    def flush(self, deadline: float) -> None:
        """Hand over what waits, until `deadline`; for a close."""
        self._until = self._look_ups.until = deadline
        while not self.idle and clock.system_now() < deadline:
            self._work()
            if not self.idle:
                sleep(_TICK)

    def give_up(self) -> None:
        """Refuse what waits: the producer closes, and nothing of it is sent."""
        for entry in [*self._waiting, *self._look_ups.entries()]:
            while not entry.withdraw():
                sleep(_TICK)  # it is being handed over
            self._remove(entry)
            if not entry.over:
                entry.end(self._closed_error())

    def forget(self) -> None:
        """Start afresh: this is a forked child, or the producer opens again."""
        self._waiting.clear()
        self._look_ups = LookUps(self._connection, self._work)
        self._sending = OwnedLock()
        self._until = inf
