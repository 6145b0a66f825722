"""`DeliveryHandle`: a message on its way, and what the engine does to one."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Generator
from concurrent.futures import Future, InvalidStateError
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, Protocol

from waterdrop_py._engine.client import waiting, watchers
from waterdrop_py._engine.client.client import Client
from waterdrop_py._engine.client.subjects import subject
from waterdrop_py._engine.concurrency import background, clock
from waterdrop_py._engine.concurrency.contained import (
    from_signal_handler,
    on_main_thread,
)
from waterdrop_py._engine.concurrency.signals import unbroken
from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._settings.arguments import seconds
from waterdrop_py._settings.foreign_names import HANDLE, no_attribute
from waterdrop_py._settings.redact import shown
from waterdrop_py.delivery_report import DeliveryReport
from waterdrop_py.errors import (
    DeliveryTimeoutError,
    InvalidArgumentError,
    ProduceError,
    about,
)
from waterdrop_py.message import Message
from waterdrop_py.typing import Headers

__all__ = ["DeliveryHandle", "DeliveryReport"]


class Place(NamedTuple):
    """What few messages have: where they go, and when they were."""

    partition: int | None
    partition_key: bytes | None
    timestamp: int | None


ANYWHERE: Final = Place(None, None, None)


class Accounting(Protocol):
    """What a closing producer counts outcomes with."""

    delivered: int
    failed: int
    undelivered: list[DeliveryHandle]


class DeliveryHandle:
    """A message on its way. Thread-safe; made by the library only.

    It has the surface of `concurrent.futures.Future` without `cancel()`: what
    librdkafka has accepted cannot be called back one by one. `await handle`
    works inside asyncio and blocks no loop.

    The handle is itself the native delivery callback, and the one object per
    message that the garbage collector tracks. Slots that a message does not use
    are never set and read as None.
    """

    __slots__ = (
        "_client",
        "_error",
        "_headers",
        "_key",
        "_label",
        "_native",
        "_payload",
        "_place",
        "_seq",
        "_topic",
    )

    _error: BaseException | None
    _headers: Headers | None
    _key: bytes | None
    _label: Any
    _client: Client
    _native: Any
    _payload: bytes | None
    _place: Place | None
    _seq: int
    _topic: str

    if not TYPE_CHECKING:  # else a type checker would accept every name

        def __getattr__(self, name: str) -> None:
            if name in DeliveryHandle.__slots__:
                return  # a slot that this message does not use
            no_attribute(self, name, HANDLE.get(name))

    def __call__(self, error: Any, native: Any) -> None:
        """Take the delivery report. librdkafka's, on whichever thread polls.

        It only stores: `Client.drain` does the rest, behind the native call. No signal
        handler runs in here, and so none can raise: not on entering (see `unbroken`),
        nor between statements that call nothing. That is why it says `+=`, which is
        one call of C, where `append` would be a place for handlers
        (test_no_done_callback_is_lost_to_a_raising_handler).
        """
        try:
            client = self._client
            if error is None and client.unobserved:
                client.acknowledged += 1
                self._native = native
                if _WATCHED and self in _WATCHED:
                    arrived = client.arrived
                    arrived += ((self, None, None),)
            else:
                try:  # up to Python 3.10 handlers run after a jump, but not before this
                    arrived = client.arrived
                    arrived += ((self, error, native),)
                finally:
                    pass
        finally:
            pass

    @property
    def label(self) -> Any:
        """What the message was labelled with."""
        return self._label

    @property
    def message(self) -> Message:
        """The message, as it was validated."""
        try:
            place = _place_of(self) or ANYWHERE
        except AttributeError:
            # From the fast path: it has no more than these. Not asked for one by one,
            # and without a keyword: `close` builds a message for each that was not
            # delivered, and 100 000 of them take 0.2 s less this way.
            return Message(
                self._topic,
                self._payload,
                self._key,
                None,
                None,
                None,
                None,
                self._label,
            )
        return Message(
            self._topic,
            self._payload,
            self._key,
            place.partition,
            place.partition_key,
            place.timestamp,
            self._headers,
            self._label,
        )

    def done(self) -> bool:
        """Whether the outcome is known. Never blocks."""
        return (
            self._native is not None
            or self._error is not None
            or self._lost() is not None
        )

    def _lost(self) -> BaseException | None:
        check()  # in a forked child the message is the parent's
        lost: BaseException | None = self._client.given_up
        return lost

    def result(self, timeout: float | timedelta | None = None) -> DeliveryReport:
        """The delivery report, waiting at most `timeout` seconds (None: no bound).

        Raises:
            ProduceError: the message was not delivered.
            DeliveryTimeoutError: the time is over; delivery goes on, and a later
                wait returns the report.
            ReentrantCallError: the report could only be served by a call that
                this one interrupted.
            InvalidArgumentError: `timeout` is not a duration.
        """
        native = self._native
        if native is None:
            error = self.exception(timeout)
            if error is not None:
                _raise(self, error)
            native = self._native
        return report_of(self, native, None)

    def exception(
        self, timeout: float | timedelta | None = None
    ) -> BaseException | None:
        """The error of a message that was not delivered, else None; waits like
        `result`, and raises its `DeliveryTimeoutError`, `ReentrantCallError` and
        `InvalidArgumentError`."""
        if self._native is None and not self.done():
            bound = seconds("timeout", timeout)
            if not wait_for(self, bound):
                raise overdue(self, bound, "timeout")
        return self._failure()

    def add_done_callback(self, fn: Callable[[DeliveryHandle], object]) -> None:
        """Call `fn(handle)` once the outcome is known, at once if it is.

        It runs on a thread of the library or on any thread inside a blocking
        verb, and must not block. What it raises becomes `error.occurred` of type
        `callbacks.done_callback.error`.

        Raises:
            InvalidArgumentError: `fn` is not callable.
        """
        _check_callable(fn)
        watchers.watch(self._client, self, fn)

    def as_future(self) -> Future[DeliveryReport]:
        """A `concurrent.futures.Future` of the same outcome, for
        `concurrent.futures.wait` and `asyncio.wrap_future`. It cannot be cancelled."""
        future: Future[DeliveryReport] = Future()
        future.set_running_or_notify_cancel()
        if self.done():
            self._resolve(future)
        else:
            watchers.wake(
                self._client, self, lambda _: self._resolve_undisturbed(future)
            )
        return future

    def _resolve_undisturbed(self, future: Future[DeliveryReport]) -> None:
        """Give `future` the outcome where no signal handler runs: one that raised
        inside its `set_result` would keep from it who waits for it."""
        if on_main_thread():
            background.submit(lambda: self._resolve(future))
        else:
            self._resolve(future)

    def _resolve(self, future: Future[DeliveryReport]) -> None:
        """Give `future` the outcome; again does no harm."""
        error = self._failure()
        try:
            if error is None:
                future.set_result(self._report())
            else:
                future.set_exception(about(error, subject_of(self)))
        except InvalidStateError:
            pass  # it has it
        except BaseException as raised:
            # A callback of the future's, and no `Exception`: those it logs itself.
            if from_signal_handler(raised):
                raise
            self._client.done_callback_raised(raised)

    def __await__(self) -> Generator[Any, None, DeliveryReport]:
        """Wait inside asyncio; cancelling the wait does not cancel the delivery."""
        if not self.done():
            yield from self._outcome().__await__()
        return self.result(0)

    async def _outcome(self) -> None:
        loop = asyncio.get_running_loop()
        resolved: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not resolved.done():
                resolved.set_result(None)

        def ring(_: DeliveryHandle) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(wake)

        watchers.wake(self._client, self, ring)
        try:
            await resolved
        finally:
            watchers.unwake(self, ring)

    def _failure(self) -> BaseException | None:
        if self._native is not None:
            return None
        return self._error or self._client.given_up

    def _report(self) -> DeliveryReport:
        return report_of(self, self._native, self._failure())

    def __repr__(self) -> str:
        if not self.done():
            outcome = "pending"
        elif (error := self._failure()) is None:
            native = self._native
            outcome = (
                f"delivered partition={native.partition()} offset={native.offset()}"
            )
        else:
            outcome = f"failed code={getattr(error, 'code', type(error).__name__)}"
        return f"<DeliveryHandle topic={self._topic!r} {outcome}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a DeliveryHandle cannot be copied or pickled")


unbroken(DeliveryHandle.__call__)

_place_of: Final = DeliveryHandle.__dict__["_place"].__get__
_WATCHED: Final = watchers.WATCHED


# -- what the engine does with a handle ----------------------------------------


def client_of(handle: DeliveryHandle) -> Client | None:
    """The client that has the message; None before the first try to send it."""
    return handle._client


def topic_of(handle: DeliveryHandle) -> str:
    """The topic that the message goes to."""
    return handle._topic


def sequence_of(handle: DeliveryHandle) -> int:
    """The number of the message on its client; messages were sent in its order."""
    return handle._seq


def subject_of(handle: DeliveryHandle, partition: int | None = None) -> str:
    """The topic, partition, key and label of a message, as far as it has them."""
    place = handle._place
    if partition is None and place is not None:
        partition = place.partition
    return subject(handle._topic, partition, handle._key, handle._label)


def wait_for(handle: DeliveryHandle, timeout: float | None) -> bool:
    """Wait until `handle` has its outcome; False when `timeout` seconds are over.

    Raises:
        ReentrantCallError: only a call that this one interrupted could end it.
    """
    deadline = math.inf if timeout is None else clock.system_now() + timeout
    return wait_until(handle, deadline)


def wait_until(handle: DeliveryHandle, deadline: float) -> bool:
    """The same, with a deadline in seconds on the system's clock."""
    woken: Client | None = None
    check()
    while not handle.done():
        client = handle._client  # another one, once a deferred message was sent
        if handle._seq < 0:
            waiting.wait_deferred(client, handle, -handle._seq, deadline)
        else:
            woken = waiting.wait_once(client, handle, deadline, woken)
        if clock.system_now() >= deadline:
            break
    if woken is not None:
        woken.hand_on()
    return handle.done()


def overdue(
    handle: DeliveryHandle, bound: float | None, limit: str
) -> DeliveryTimeoutError:
    """The error of a wait for `handle` that took `bound` seconds, as `limit` says."""
    client = handle._client
    return DeliveryTimeoutError(
        f"no delivery report for {subject_of(handle)} within {bound:.3g} s "
        f"({limit}); delivery goes on",
        checklist=client.reports.checklist(client, handle._topic),
    )


def resolve(
    client: Client,
    handle: DeliveryHandle,
    native: Any,
    failure: ProduceError | None,
    accounting: Accounting | None,
    given_up: bool,
) -> None:
    """Give `handle` its outcome, and count it.

    From the first count to the outcome there is no call and, for Python 3.10, no
    jump: no signal handler gets in between, and nothing is counted twice.
    """
    if failure is None:
        if accounting is not None:
            accounting.delivered += 1
        client.acknowledged += 1
        handle._native = native
        client.telling = None
        return
    if accounting is not None:
        if given_up:
            undelivered = accounting.undelivered
            undelivered += (handle,)
        else:
            accounting.failed += 1
    client.failed += 1
    handle._error = failure
    client.telling = None


def fail(client: Client, handle: DeliveryHandle, error: BaseException) -> None:
    """Give a message that was not sent its error, and tell who waits for it."""
    handle._error = error
    watchers.notify(client, handle)


def report_of(
    handle: DeliveryHandle, native: Any, error: BaseException | None
) -> DeliveryReport:
    """The report of `handle`, from librdkafka's message or from the error alone."""
    report = DeliveryReport()
    report._sent = handle
    report._topic = handle._topic
    report._native = native
    report._error = error
    return report


def _check_callable(fn: object) -> None:
    if not callable(fn):
        raise InvalidArgumentError(
            f"fn: must be callable as fn(handle), got {shown(fn)}"
        )


def _raise(handle: DeliveryHandle, error: BaseException) -> NoReturn:
    """Raise a copy: the handle keeps the error, and may be asked again and again."""
    try:
        raise about(error, subject_of(handle))
    finally:
        del error  # the traceback would hold the frame that holds the error
