"""Where delivery reports arrive that concern more than their handle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from waterdrop_py._engine import aside
from waterdrop_py._engine.contained import from_signal_handler
from waterdrop_py._engine.diagnosis import Diagnosis
from waterdrop_py._engine.drain import Drain
from waterdrop_py._engine.kafka_errors import code_name, kafka_error_of, produce_error
from waterdrop_py.delivery import DeliveryHandle, report_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.emitter import Emitter
    from waterdrop_py._engine.life import Life
    from waterdrop_py.errors import ProduceError

PURGED: Final = frozenset({"purge_queue", "purge_inflight"})


class Telling:
    """How far it is said that a message has its outcome: a signal handler may raise at
    any moment, and then it goes on from there.

    Attributes:
        called: the user's `on_delivery` has begun.
        begun: an entry for each subscriber that has begun to hear of a success.
        failed: a failure is being told.
    """

    __slots__ = ("begun", "called", "failed", "failure", "handle")

    def __init__(self, handle: DeliveryHandle, failure: ProduceError | None) -> None:
        self.handle = handle
        self.failure = failure
        self.called = self.failed = False
        self.begun: list[None] = []


class ReportDesk:
    """Turns what librdkafka reports into outcomes and events. One per client slot.

    No lock: reports of one client are served by one thread at a time.

    Attributes:
        transactional: what is purged was given up by an abort.
        hears_sends: somebody listens to `message.produced_async`.
        drain: what a closing producer accounts with, while it closes.
        diagnosis: the most telling connection error since the last success.
    """

    __slots__ = (
        "_emitter",
        "_on_delivery",
        "_purged",
        "_servers",
        "diagnosis",
        "drain",
        "hears_sends",
        "transactional",
    )

    def __init__(
        self,
        emitter: Emitter,
        servers: str,
        on_delivery: Callable[[Any, Any], None] | None,
    ) -> None:
        self._emitter = emitter
        self._servers = servers
        self._on_delivery = on_delivery
        self._purged: dict[int, ProduceError] = {}
        self.drain: Drain | None = None
        self.hears_sends = False
        self.transactional = False
        self.diagnosis = Diagnosis()

    def refresh(self) -> None:
        """Look again at who wants to hear of sends."""
        self.hears_sends = self._emitter.listens("message.produced_async")

    def start_drain(self) -> Drain:
        """Account for outcomes from now on; a producer closes."""
        if self.drain is None:
            self.drain = Drain()
        return self.drain

    @property
    def plain(self) -> bool:
        """Whether a successful report concerns nobody but its handle."""
        return (
            self.drain is None
            and self._on_delivery is None
            and not self._emitter.listens("message.acknowledged")
        )

    def checklist(self) -> tuple[str, ...]:
        """What to look at when nothing gets through."""
        return self.diagnosis.checklist(self._servers)

    def settle(self, handle: DeliveryHandle, error: Any, native: Any) -> None:
        """Resolve `handle`, after everybody who wants to know it first.

        Again, if a signal handler interrupted it: everybody hears of it once.
        """
        life = handle._life
        if life.lost is None and not handle.done():
            telling = life.telling
            if telling is None or telling.handle is not handle:
                failure = None if error is None else self._failure(error)
                telling = life.telling = Telling(handle, failure)
            self._tell(telling, error, native)
            if life.lost is None:  # else given up meanwhile, or this is a forked child
                self._resolve(life, telling, native)
        aside.notify(handle)

    def _resolve(self, life: Life, telling: Telling, native: Any) -> None:
        """Give the handle its outcome, and count it.

        From the first count to the outcome there is no call and, for Python 3.10, no
        jump: no signal handler gets in between, and nothing is counted twice.
        """
        handle, failure, drain = telling.handle, telling.failure, self.drain
        if failure is None:
            if drain is not None:
                drain.delivered += 1
            life.acknowledged += 1
            handle._native = native
            life.telling = None
            return
        given_up = failure.code in PURGED
        if self.transactional and not given_up:
            life.spoilt = True
        if drain is not None:
            if given_up:
                drain.undelivered += (handle,)
            else:
                drain.failed += 1
        life.failed += 1
        handle._error = failure
        life.telling = None

    def _tell(self, telling: Telling, error: Any, native: Any) -> None:
        """Tell who hears of outcomes, and has not heard of this one yet."""
        if self._on_delivery is not None and not telling.called:
            try:
                telling.called = True
                self._on_delivery(error, native)
            except BaseException as raised:
                if from_signal_handler(raised):
                    raise
                self.callback_raised("on_delivery", raised)
        if telling.failure is None:
            self._announce_success(telling, native)
        elif not telling.failed:
            self._announce_failure(telling, native, telling.failure)

    def poll_raised(self, life: Life, error: Exception) -> None:
        """An error came out of the poll: a fatal one, as a rule."""
        kafka_error = kafka_error_of(error)
        if kafka_error is not None and kafka_error.fatal():
            # It comes this once, and never through `error_cb`; `produce` only
            # says `_FATAL` from here on.
            life.fatal = kafka_error
            self.client_error(kafka_error)
        else:
            self._emitter.error("poller.error", error)

    def poller_slow(self, error: BaseException) -> None:
        """A callback of this producer's delays the reports of the others."""
        self._emitter.error("poller.slow", error)

    def thread_raised(self, error: BaseException) -> None:
        """Something that is no `Exception` came out of a callback on the poller."""
        self._emitter.error("poller.error", error)

    def client_error(self, error: Any) -> None:
        """librdkafka's `error_cb`: remember the cause, tell who listens."""
        self.diagnosis.note(error)
        if self._emitter.listens("error.occurred"):
            self._emitter.error("librdkafka.error", produce_error(error))

    def callback_raised(self, name: str, error: BaseException) -> None:
        """A callback of the user's raised; nothing else changes."""
        self._emitter.error(f"callbacks.{name}.error", error)

    def _failure(self, error: Any) -> ProduceError:
        # A purge ends a hundred thousand messages at once: they share their error.
        shared = self._purged.get(error.code())
        if shared is not None:
            return shared
        if code_name(error) in PURGED:
            shared = self._purged[error.code()] = produce_error(error)
            return shared
        listed = self.checklist() if self.diagnosis.code else ()
        return produce_error(error, checklist=listed)

    def _announce_success(self, telling: Telling, native: Any) -> None:
        self.diagnosis.clear()
        if self._emitter.listens("message.acknowledged"):
            report = report_of(telling.handle, native, None)
            self._emitter.emit(
                "message.acknowledged",
                {
                    "topic": report.topic,
                    "partition": report.partition,
                    "offset": report.offset,
                    "label": report.label,
                    "message": report.message,
                    "delivery_report": report,
                },
                begun=telling.begun,
            )

    def _announce_failure(
        self, telling: Telling, native: Any, failure: ProduceError
    ) -> None:
        # What an aborted transaction gave up is no error: it was meant.
        purged = self.transactional and failure.code in PURGED
        name = "message.purged" if purged else "error.occurred"
        if not self._emitter.listens(name):
            return
        report = report_of(telling.handle, native, failure)
        told = {
            "topic": report.topic,
            "partition": report.partition,
            "offset": report.offset,
            "label": report.label,
            "message": report.message,
            "delivery_report": report,
        }
        telling.failed = True
        if purged:
            self._emitter.emit(name, told)
        else:
            self._emitter.error("librdkafka.dispatch_error", failure, **told)
