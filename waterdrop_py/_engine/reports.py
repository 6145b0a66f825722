"""Where delivery reports arrive that concern more than their handle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from waterdrop_py._engine import aside
from waterdrop_py._engine.diagnosis import Diagnosis, of_connection
from waterdrop_py._engine.drain import Drain
from waterdrop_py._engine.fatal import FENCING, advice
from waterdrop_py._engine.kafka_errors import code_name, kafka_error_of, produce_error
from waterdrop_py._engine.reach import REACH
from waterdrop_py.delivery import DeliveryHandle, report_of
from waterdrop_py.errors import ProduceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.emitter import Emitter
    from waterdrop_py._engine.life import Life

PURGED: Final = frozenset({"purge_queue", "purge_inflight"})
_BY_FATAL: Final = PURGED | FENCING


class ReportDesk:
    """Turns what librdkafka reports into outcomes and events. One per client slot.

    No lock: reports of one client are served by one thread at a time.

    Attributes:
        transactional: what is purged was given up by an abort.
        foreign: the client is not `confluent_kafka.Producer` itself.
        hears_sends: somebody listens to `message.produced_async`, or the client is
            foreign: each message takes the long way. The fast path tries twice what
            is refused, and a tracer or a serializer would see both.
        linger: seconds that messages wait for company.
        exiting: what is given up is said once for all, as at the exit.
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
        "exiting",
        "foreign",
        "hears_sends",
        "linger",
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
        self.foreign = False
        self.hears_sends = False
        self.transactional = False
        self.exiting = False
        self.linger = 0.0
        self.diagnosis = Diagnosis()

    def refresh(self) -> None:
        """Look again at who wants to hear of sends."""
        heard = self._emitter.listens("message.produced_async")
        self.hears_sends = heard or self.foreign

    def take_client(self, *, foreign: bool) -> None:
        """The next client is `foreign`, or `confluent_kafka.Producer` itself."""
        self.foreign = foreign
        self.refresh()

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
        """Resolve `handle`, after everybody who wants to know it first."""
        life = handle._life
        if life.lost is not None or handle.done():
            return  # the outcome was decided without the report
        if self._on_delivery is not None:
            self._call_user(error, native)
        failure = None if error is None else self._failure(life, error)
        if failure is None:
            self._announce_success(handle, native)
        else:
            self._announce_failure(handle, native, failure)
        self._finish(handle, failure, native)

    def _finish(
        self, handle: DeliveryHandle, failure: ProduceError | None, native: Any
    ) -> None:
        life = handle._life
        if self.drain is not None:
            self.drain.record(handle, failure)
        if failure is None:
            life.acknowledged += 1
            handle._native = native
        else:
            life.failed += 1
            if self.transactional and failure.code not in PURGED:
                life.spoilt = True
            handle._error = failure
        life.report = None
        aside.notify(handle)

    def mend(self, life: Life) -> None:
        """Resolve the handle of the report that an exception tore through.

        A signal handler may raise while subscribers are told of a report, and
        librdkafka has handed it over by then
        (test_interrupt_inside_the_report_callback).
        """
        torn, life.report = life.report, None
        if torn is not None:
            handle, error, native = torn
            if not handle.done():
                failure = None if error is None else self._failure(life, error)
                self._finish(handle, failure, native)

    def resolve_lost(self, handles: list[DeliveryHandle]) -> None:
        """Resolve handles whose report was torn beyond mending, or never comes."""
        why = "a signal handler raised while the report of this message was served"
        if self.foreign:
            why = (
                "the client that client_factory made has nothing left to report: it "
                "must pass on_delivery on, and an exception in its own callback loses "
                "a report"
            )
        for handle in handles:
            error = ProduceError(
                f"{why}; the report is lost, and whether the message was delivered is "
                "not known (report_lost)",
                code="report_lost",
            )
            self._finish(handle, error, None)

    def poll_raised(self, life: Life, error: Exception) -> None:
        """An exception came out of the poll: a fatal error, or a torn callback."""
        self.mend(life)
        kafka_error = kafka_error_of(error)
        if kafka_error is not None and kafka_error.fatal():
            # It comes this once, and never through `error_cb`; `produce` only
            # says `_FATAL` from here on.
            life.doomed(kafka_error)
            self.client_error(kafka_error)
        else:
            self._emitter.error("poller.error", error)

    def poller_slow(self, error: BaseException) -> None:
        """A callback of this producer's delays the reports of the others."""
        self._emitter.error("poller.slow", error)

    def thread_raised(self, error: BaseException) -> None:
        """Something that is no `Exception` came out of a callback on the poller."""
        self._emitter.error("poller.error", error)

    def client_error(self, error: Any, life: Life | None = None) -> None:
        """librdkafka's `error_cb`: remember the cause, tell who listens.

        That a broker cannot be reached is not logged for each try: `Reach` decides.
        """
        self.diagnosis.note(error)
        failure = produce_error(error)
        if life is None or not of_connection(failure.code):
            self._emitter.error("librdkafka.error", failure)
        else:
            heard = self._emitter.tell("librdkafka.error", failure)
            REACH.blame(life, failure.code, failure, unheard=not heard)

    def callback_raised(self, name: str, error: BaseException) -> None:
        """A callback of the user's raised; nothing else changes."""
        self._emitter.error(f"callbacks.{name}.error", error)

    def _call_user(self, error: Any, native: Any) -> None:
        try:
            if self._on_delivery is not None:
                self._on_delivery(error, native)
        except Exception as raised:  # noqa: BLE001 - contained, and told of
            self.callback_raised("on_delivery", raised)

    def _failure(self, life: Life, error: Any) -> ProduceError:
        # librdkafka purges what a fatal error has left, and the reports of a fenced
        # producer name the epoch only.
        fatal = life.fatal
        if fatal is not None and self.drain is None and code_name(error) in _BY_FATAL:
            return fatal.error()
        # A purge ends a hundred thousand messages at once: they share their error.
        shared = self._purged.get(error.code())
        if shared is not None:
            return shared
        if error.code() > 0:
            self.diagnosis.heard()
        if code_name(error) in PURGED:
            shared = self._purged[error.code()] = produce_error(error)
            return shared
        listed = advice(code_name(error), life.registration)
        if not listed and self.diagnosis.code:
            listed = self.checklist()
        return produce_error(error, checklist=listed)

    def _announce_success(self, handle: DeliveryHandle, native: Any) -> None:
        self.diagnosis.clear()
        if self._emitter.listens("message.acknowledged"):
            report = report_of(handle, native, None)
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
            )

    def _announce_failure(
        self, handle: DeliveryHandle, native: Any, failure: ProduceError
    ) -> None:
        # What an aborted transaction gave up is no error: it was meant.
        given_up = failure.code in PURGED
        if given_up and self.transactional:
            if self._emitter.listens("message.purged"):
                self._emitter.emit("message.purged", _told(handle, native, failure))
            return
        kind = "librdkafka.dispatch_error"
        if self._emitter.listens("error.occurred"):
            told = _told(handle, native, failure)
            if given_up and self.exiting:
                self._emitter.tell(kind, failure, **told)
            else:
                self._emitter.error(kind, failure, **told)
        elif not (given_up and self.exiting):
            self._emitter.error(kind, failure, topic=handle._topic)


def _told(handle: DeliveryHandle, native: Any, failure: ProduceError) -> dict[str, Any]:
    """What events say of a message that failed."""
    report = report_of(handle, native, failure)
    return {
        "topic": report.topic,
        "partition": report.partition,
        "offset": report.offset,
        "label": report.label,
        "message": report.message,
        "delivery_report": report,
    }
