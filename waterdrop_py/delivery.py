"""`DeliveryHandle`: a message on its way, as its user sees it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future, InvalidStateError
from datetime import timedelta
from typing import Any, Final, NoReturn

from waterdrop_py._engine.client import watchers
from waterdrop_py._engine.client.awaiting import wait_in_task
from waterdrop_py._engine.client.pending import (
    ANYWHERE,
    PendingMessage,
    overdue,
    subject_of,
    wait_for,
)
from waterdrop_py._engine.concurrency import background
from waterdrop_py._engine.concurrency.native import on_main_thread
from waterdrop_py._engine.concurrency.signals import (
    from_signal_handler,
    no_signal_at_entry,
)
from waterdrop_py._settings.arguments import seconds
from waterdrop_py._settings.callables import check_function
from waterdrop_py.delivery_report import DeliveryReport
from waterdrop_py.errors import about
from waterdrop_py.message import Message
from waterdrop_py.middleware import Trace

__all__ = ["DeliveryHandle", "DeliveryReport"]


class DeliveryHandle(PendingMessage):
    """A message on its way. Thread-safe; made by the library only.

    It has the surface of `concurrent.futures.Future` without `cancel()`: what
    librdkafka has accepted cannot be called back one by one. `await handle` works
    inside asyncio and does not block the loop.

    The handle is itself the native delivery callback, and the only object per message
    that the garbage collector tracks. `PendingMessage` is that half of it.
    """

    __slots__ = ()

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
            # From the fast path, which sets no others. Positional, and not read one by
            # one: `close` builds a message for each that was not delivered, and 100 000
            # of them take 0.2 s less this way.
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

    def result(self, timeout: float | timedelta | None = None) -> DeliveryReport:
        """The delivery report, waiting at most `timeout` seconds (None: no bound).

        Raises:
            ProduceError: the message was not delivered.
            DeliveryTimeoutError: the time is over; delivery goes on, and a later wait
                returns the report.
            ReentrantCallError: only a call that this one interrupted could serve the
                report.
            InvalidArgumentError: `timeout` is not a duration.

        Example:
            >>> producer.produce_async("orders", b"first").result(timeout=10).topic
            'orders'
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
        """The error of a message that was not delivered, else None.

        Waits like `result`, and raises the same `DeliveryTimeoutError`,
        `ReentrantCallError` and `InvalidArgumentError`.
        """
        if self._native is None and not self.done():
            bound = seconds("timeout", timeout)
            if not wait_for(self, bound):
                raise overdue(self, bound, "timeout")
        return self._failure()

    def add_done_callback(self, fn: Callable[[DeliveryHandle], object]) -> None:
        """Call `fn(handle)` once the outcome is known, now if it is.

        It runs on a thread of the library, or on any thread inside a blocking verb, and
        must not block. What it raises becomes `error.occurred` of type
        `callbacks.done_callback.error`.

        Args:
            fn: called with the handle.

        Raises:
            InvalidArgumentError: `fn` is not a plain function.

        Example:
            >>> handle = producer.produce_async("orders", b"first")
            >>> handle.result(timeout=10).topic
            'orders'
            >>> handle.add_done_callback(lambda done: print(done.exception()))
            None
        """
        check_function("fn", fn, "fn(handle)")
        watchers.add_callback(self._client, self, fn)

    def as_future(self) -> Future[DeliveryReport]:
        """A `concurrent.futures.Future` of the same outcome; it cannot be cancelled.

        For `concurrent.futures.wait` and `asyncio.wrap_future`.
        """
        future: Future[DeliveryReport] = Future()
        future.set_running_or_notify_cancel()
        if self.done():
            self._resolve(future)
        else:
            watchers.add_wakeup(
                self._client, self, lambda _: self._resolve_undisturbed(future)
            )
        return future

    def _resolve_undisturbed(self, future: Future[DeliveryReport]) -> None:
        """Give `future` the outcome on a thread without signal handlers.

        A handler that raised inside `set_result` would leave waiting threads asleep.
        """
        if on_main_thread():
            background.submit(lambda: self._resolve(future))
        else:
            self._resolve(future)

    def _resolve(self, future: Future[DeliveryReport]) -> None:
        """Give `future` the outcome, unless it has it."""
        error = self._failure()
        try:
            if error is None:
                future.set_result(self._report())
            else:
                future.set_exception(about(error, subject_of(self)))
        except InvalidStateError:
            pass  # it has it already
        except BaseException as raised:
            # Of a callback of the future, which itself logs any `Exception`.
            if from_signal_handler(raised):
                raise
            self._client.done_callback_raised(raised)

    def __await__(self) -> Generator[Any, None, DeliveryReport]:
        """Wait inside asyncio; cancelling the wait does not cancel the delivery."""
        if not self.done():
            yield from wait_in_task(self._client, self, None).__await__()
        return self.result(0)

    def _report(self) -> DeliveryReport:
        return report_of(self, self._native, self._failure())

    def __repr__(self) -> str:
        if not self.done():
            outcome = "pending"
        elif (error := self._failure()) is None:
            report = self._report()
            outcome = f"delivered partition={report.partition} offset={report.offset}"
        else:
            outcome = f"failed code={getattr(error, 'code', type(error).__name__)}"
        return f"<DeliveryHandle topic={self._topic!r} {outcome}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a DeliveryHandle cannot be copied or pickled")


class TracedHandle(DeliveryHandle):
    """A handle whose outcome is told to steps of the middleware, before it resolves.

    So its report is always settled by `Settling`, and on a worker. Other handles have
    neither the slot nor a check.
    """

    __slots__ = ("_traces",)

    _traces: tuple[Trace, ...]

    def __call__(self, error: Any, native: Any) -> None:
        """Take the delivery report. As in `PendingMessage`, no signal handler runs."""
        try:
            try:
                arrived = self._client.arrived
                arrived += ((self, error, native),)
            finally:
                pass
        finally:
            pass


no_signal_at_entry(TracedHandle.__call__)


_place_of: Final = PendingMessage.__dict__["_place"].__get__


def report_of(
    handle: DeliveryHandle, native: Any, error: BaseException | None
) -> DeliveryReport:
    """The report of `handle`, from librdkafka's message or from the error."""
    report = DeliveryReport()
    report._sent = handle
    report._topic = handle._topic
    report._native = native
    report._error = error
    return report


def _raise(handle: DeliveryHandle, error: BaseException) -> NoReturn:
    """Raise a copy: the handle keeps the error, and may be asked again and again."""
    try:
        raise about(error, subject_of(handle))
    finally:
        del error  # the traceback would hold the frame that holds the error
