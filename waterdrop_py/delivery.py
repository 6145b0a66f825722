"""What becomes of a message: the handle, and the report it ends with."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, InvalidStateError
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from waterdrop_py._engine.client import waiting, watchers
from waterdrop_py._engine.concurrency.contained import (
    from_signal_handler,
    on_main_thread,
)
from waterdrop_py._engine.concurrency.signals import unbroken
from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._engine.reports.subjects import subject_of
from waterdrop_py._settings.arguments import seconds
from waterdrop_py._settings.foreign_names import HANDLE, REPORT, no_attribute
from waterdrop_py._settings.redact import shown
from waterdrop_py.errors import DeliveryTimeoutError, InvalidArgumentError, about
from waterdrop_py.message import Message
from waterdrop_py.typing import Headers

if TYPE_CHECKING:
    from waterdrop_py._engine.client.client import Client


class Place(NamedTuple):
    """What few messages have: where they go, and when they were."""

    partition: int | None
    partition_key: bytes | None
    timestamp: int | None


ANYWHERE: Final = Place(None, None, None)


class DeliveryReport:
    """Where a message ended up. Immutable; its figures are read when asked for.

    It can be copied and pickled; a label that cannot be is None in the pickle. Two
    reports are equal when all their values are; of an error those are type and text.
    """

    __slots__ = ("_error", "_handle", "_native")

    _error: BaseException | None
    _handle: DeliveryHandle
    _native: Any

    if not TYPE_CHECKING:  # else a type checker would accept every name

        def __getattr__(self, name: str) -> NoReturn:
            no_attribute(self, name, REPORT.get(name))

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
        if self._handle is other._handle:
            return True
        # A label may not survive pickling, and its comparison may raise.
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash((self.topic, self.partition, self.offset, self.timestamp))

    def __copy__(self) -> DeliveryReport:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> DeliveryReport:
        try:
            label = copy.deepcopy(self.label, memo)
        except Exception:  # noqa: BLE001 - a lock, a socket: it is shared then
            label = self.label
        return _restored(*self._kept(label))

    def __reduce__(self) -> tuple[Any, ...]:
        import pickle  # at hand for who pickles

        label = self.label
        try:
            pickle.dumps(label)
        except Exception:  # noqa: BLE001 - whatever a foreign object raises
            label = None
        return _restored, self._kept(label)

    def _kept(self, label: Any) -> tuple[Any, ...]:
        figures = None
        if self._native is not None:
            figures = (self.partition, self.offset, self.timestamp, self.latency_ms)
        return replace(self.message, label=label), figures, self._error

    def _values(self) -> tuple[Any, ...]:
        message, figures, error = self._kept(None)
        return message, figures, type(error), str(error)

    def __repr__(self) -> str:
        shown = (
            f"{name}={getattr(self, name)!r}"
            for name in ("topic", "partition", "offset", "timestamp", "error")
        )
        return f"DeliveryReport({', '.join(shown)})"


class _Figures(NamedTuple):
    """What a restored report reads in place of librdkafka's message."""

    kept: tuple[int | None, int | None, int | None, float | None]

    def partition(self) -> int | None:
        return self.kept[0]

    def offset(self) -> int | None:
        return self.kept[1]

    def timestamp(self) -> tuple[int, int | None]:
        return 0, self.kept[2]

    def latency(self) -> float | None:
        latency_ms = self.kept[3]
        return None if latency_ms is None else latency_ms / 1000


def _restored(message: Message, figures: Any, error: Any) -> DeliveryReport:
    """A report of values that were kept."""
    handle = DeliveryHandle()
    handle._topic, handle._label = message.topic, message.label
    handle._payload, handle._key = message.payload, message.key  # type: ignore[assignment]
    handle._headers = message.headers  # type: ignore[assignment]
    handle._place = Place(
        message.partition,
        message.partition_key,  # type: ignore[arg-type]
        message.timestamp,  # type: ignore[arg-type]
    )
    return report_of(handle, None if figures is None else _Figures(figures), error)


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
    if TYPE_CHECKING:  # of the engine, for which no type is looked up at run time
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
            if not waiting.wait_for(self, bound):
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
        watchers.watch(self, fn)

    def as_future(self) -> Future[DeliveryReport]:
        """A `concurrent.futures.Future` of the same outcome, for
        `concurrent.futures.wait` and `asyncio.wrap_future`. It cannot be cancelled."""
        future: Future[DeliveryReport] = Future()
        future.set_running_or_notify_cancel()
        if self.done():
            self._resolve(future)
        else:
            watchers.wake(self, lambda _: self._resolve_undisturbed(future))
        return future

    def _resolve_undisturbed(self, future: Future[DeliveryReport]) -> None:
        """Give `future` the outcome where no signal handler runs: one that raised
        inside its `set_result` would keep from it who waits for it."""
        if not on_main_thread():
            self._resolve(future)
            return
        from waterdrop_py._engine.process.runtime import (
            RUNTIME,  # it needs this module itself
        )

        RUNTIME.workers.submit(lambda: self._resolve(future))

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
            self._client.reports.callback_raised("done_callback", raised)

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

        watchers.wake(self, ring)
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


def client_of(handle: DeliveryHandle) -> Any:
    """The client that has the message; None before the first try to send it."""
    return handle._client


def topic_of(handle: DeliveryHandle) -> str:
    """The topic that the message goes to."""
    return handle._topic


def undelivered(handles: Iterable[DeliveryHandle]) -> list[DeliveryHandle]:
    """Those of `handles` that the broker has not acknowledged, so far or for good."""
    return [handle for handle in handles if handle._native is None]


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


def fail(handle: DeliveryHandle, error: BaseException) -> None:
    """Give a message that was not sent its error, and tell who waits for it."""
    handle._error = error
    watchers.notify(handle)


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
        raise InvalidArgumentError(
            f"fn: must be callable as fn(handle), got {shown(fn)}"
        )


def _raise(handle: DeliveryHandle, error: BaseException) -> NoReturn:
    """Raise a copy: the handle keeps the error, and may be asked again and again."""
    try:
        raise about(error, subject_of(handle))
    finally:
        del error  # the traceback would hold the frame that holds the error


def place_of(handle: DeliveryHandle) -> Place | None:
    """Where its message goes, if that was said."""
    return handle._place


def move(handle: DeliveryHandle, place: Place) -> None:
    """Have its message go to `place` when it is produced again."""
    handle._place = place


def produce_again(
    handle: DeliveryHandle, produce: Callable[..., None], partition: int
) -> None:
    """Hand its message over once more, to `partition`; it keeps its number."""
    place = handle._place
    produce(
        handle._topic,
        handle._payload,
        handle._key,
        partition,
        handle,
        handle,
        0 if place is None else place.timestamp or 0,
        handle._headers,
    )
