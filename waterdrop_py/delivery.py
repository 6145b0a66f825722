"""What becomes of a message: the handle, and the report it ends with."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from waterdrop_py._engine import aside, waiting
from waterdrop_py._engine.arguments import seconds
from waterdrop_py._engine.unbroken import unbroken
from waterdrop_py._engine.unhooked import check
from waterdrop_py._settings.shown import shown
from waterdrop_py.errors import DeliveryTimeoutError, InvalidArgumentError
from waterdrop_py.message import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from datetime import timedelta

    from waterdrop_py._engine.life import Life
    from waterdrop_py.typing import Headers


class Place(NamedTuple):
    """What few messages have: where they go, and when they were."""

    partition: int | None
    partition_key: bytes | None
    timestamp: int | None


ANYWHERE: Final = Place(None, None, None)


class DeliveryReport:
    """Where a message ended up. Immutable; its figures are read when asked for.

    Two reports are equal when they are of the same message, sent once.
    """

    __slots__ = ("_error", "_handle", "_native")

    _error: BaseException | None
    _handle: DeliveryHandle
    _native: Any

    @property
    def topic(self) -> str:
        """The topic it was sent to."""
        return self._handle._topic

    @property
    def partition(self) -> int | None:
        """The partition it is in; None when it reached none."""
        native = self._native
        return None if native is None else _natural(native.partition())

    @property
    def offset(self) -> int | None:
        """Its offset there; None when it has none (failed, or `acks=0`)."""
        native = self._native
        return None if native is None else _natural(native.offset())

    @property
    def timestamp(self) -> int | None:
        """Milliseconds since the epoch, as the broker stored it; or None."""
        native = self._native
        return None if native is None else _natural(native.timestamp()[1])

    @property
    def latency_ms(self) -> float | None:
        """Milliseconds from the hand-over to librdkafka until the broker's answer,
        as librdkafka measured it; or None."""
        native = self._native
        latency = None if native is None else native.latency()
        return None if latency is None or latency < 0 else latency * 1000

    @property
    def label(self) -> Any:
        """What the message was labelled with."""
        return self._handle._label

    @property
    def message(self) -> Message:
        """The message itself."""
        return self._handle.message

    @property
    def error(self) -> BaseException | None:
        """The `ProduceError` of a message that was not delivered, else None."""
        return self._error

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DeliveryReport):
            return NotImplemented
        return self._handle is other._handle

    def __hash__(self) -> int:
        return hash(self._handle)

    def __repr__(self) -> str:
        shown = (
            f"{name}={getattr(self, name)!r}"
            for name in ("topic", "partition", "offset", "timestamp", "error")
        )
        return f"DeliveryReport({', '.join(shown)})"


def _natural(figure: int | None) -> int | None:
    """librdkafka says "none" with a negative number."""
    return None if figure is None or figure < 0 else figure


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
        "_error",
        "_headers",
        "_key",
        "_label",
        "_life",
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
    _life: Life
    _native: Any
    _payload: bytes | None
    _place: Place | None
    _seq: int
    _topic: str

    def __getattr__(self, name: str) -> None:
        if name in DeliveryHandle.__slots__:
            return  # a slot that this message does not use
        raise AttributeError(name)

    def __call__(self, error: Any, native: Any) -> None:
        """Take the delivery report. librdkafka's, on whichever thread polls.

        No signal handler runs here before the report is in safety: not on entering
        (see `unbroken`), nor between statements that call nothing.
        """
        try:
            life = self._life
            if error is None and life.plain:
                life.acknowledged += 1
                self._native = native
                if _WATCHED:
                    aside.notify(self)
            else:
                life.report = (self, error, native)
                life.reports.settle(self, error, native)
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
        lost: BaseException | None = self._life.lost
        return lost

    def result(self, timeout: float | timedelta | None = None) -> DeliveryReport:
        """The delivery report, waiting at most `timeout` seconds (None: no bound).

        Raises:
            ProduceError: the message was not delivered.
            DeliveryTimeoutError: the time is over; delivery goes on, and a later
                wait returns the report.
            ReentrantCallError: the report could only be served by a call that
                this one interrupted.
            InvalidArgumentError: `timeout` is no duration.
        """
        native = self._native
        if native is None:
            error = self.exception(timeout)
            if error is not None:
                _raise(error)
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
            if not waiting.wait_for(self, bound):
                raise overdue(self, bound)
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
        aside.watch(self, fn)

    def as_future(self) -> Future[DeliveryReport]:
        """A `concurrent.futures.Future` of the same outcome, for
        `concurrent.futures.wait` and `asyncio.wrap_future`. It cannot be cancelled."""
        future: Future[DeliveryReport] = Future()
        future.set_running_or_notify_cancel()

        def resolve(handle: DeliveryHandle) -> None:
            error = handle._failure()
            if error is None:
                future.set_result(handle._report())
            else:
                future.set_exception(error)

        aside.watch(self, resolve)
        return future

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

        aside.watch(self, ring)
        try:
            await resolved
        finally:
            aside.unwatch(self, ring)

    def _failure(self) -> BaseException | None:
        if self._native is not None:
            return None
        return self._error or self._life.lost

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
_WATCHED: Final = aside.WATCHED


def overdue(handle: DeliveryHandle, bound: float | None) -> DeliveryTimeoutError:
    """The error of a wait for `handle` that took `bound` seconds."""
    return DeliveryTimeoutError(
        f"no delivery report within {bound:.3g} s; delivery goes on",
        checklist=handle._life.reports.checklist(),
    )


def report_of(
    handle: DeliveryHandle, native: Any, error: BaseException | None
) -> DeliveryReport:
    """The report of `handle`, from librdkafka's message or from the error alone."""
    report = DeliveryReport()
    report._handle = handle
    report._native = native
    report._error = error
    return report


def _check_callable(fn: object) -> None:
    if not callable(fn):
        raise InvalidArgumentError(f"fn: {shown(fn)} is not callable; fn(handle) is")


def _raise(error: BaseException) -> NoReturn:
    try:
        raise error
    finally:
        del error  # the traceback would hold the frame that holds the error
