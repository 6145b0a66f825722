"""`ReportHandler`: from what librdkafka reports to outcomes, events and errors."""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from waterdrop_py._engine.client import watchers
from waterdrop_py._engine.client.checklist import Diagnosis, of_connection
from waterdrop_py._engine.client.fatal import FENCING, advice
from waterdrop_py._engine.client.kafka_errors import (
    PURGED,
    code_name,
    kafka_error_of,
    produce_error,
)
from waterdrop_py._engine.client.pending import resolve, subject_of, topic_of
from waterdrop_py._engine.client.reachability import REACH
from waterdrop_py._engine.client.subjects import limit_of, nearest
from waterdrop_py._engine.concurrency.signals import from_signal_handler
from waterdrop_py._engine.reports.accounting import CloseAccounting
from waterdrop_py._engine.reports.announcement import (
    Announcement,
    announce_failure,
    announce_purge,
    announce_success,
    end_traces_of,
)
from waterdrop_py._engine.reports.reconcile import reconcile
from waterdrop_py._engine.reports.resending import NO_RESENDING, Resending
from waterdrop_py.errors import ProduceError, shared

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.emitter import Emitter
    from waterdrop_py.delivery import DeliveryHandle


_BY_FATAL: Final = PURGED | FENCING
_UNKNOWN: Final = frozenset({"unknown_topic", "unknown_topic_or_part"})
_MOST_TOPICS: Final = 15
"""Topics that a producer remembers, for the names in errors. A set of them would take
0.2 KB for each producer; a tuple is small."""
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class ReportHandler:
    """Turns what librdkafka reports into outcomes and events. One per connection.

    Without a lock: one thread at a time serves the reports of a client.

    Attributes:
        transactional: purged messages were given up by an abort.
        foreign: the client is not `confluent_kafka.Producer` itself.
        sends_observed: `message.produced_async` has a subscriber, or the client is
            foreign. Then no message takes the fast path, which tries a refused message
            twice: a tracer or a serializer would see both tries.
        linger: seconds that messages wait for a batch.
        exiting: messages that are given up are logged once for all, as at the exit.
        accounting: counts outcomes while the producer closes.
        resending: takes the reports of messages that are produced once more.
        diagnosis: the most specific connection error since the last success.
        kafka: the properties of the open client.
        topics: the last few to which messages were sent, not by the fast path.
    """

    __slots__ = (
        "_on_delivery",
        "_purged",
        "accounting",
        "diagnosis",
        "emitter",
        "exiting",
        "foreign",
        "kafka",
        "linger",
        "resending",
        "sends_observed",
        "servers",
        "topics",
        "transactional",
    )

    def __init__(
        self,
        emitter: Emitter,
        servers: str,
        on_delivery: Callable[[Any, Any], None] | None,
    ) -> None:
        self.emitter = emitter
        self.servers = servers
        self._on_delivery = on_delivery
        self._purged: dict[int, ProduceError] = {}
        self.topics: tuple[str, ...] = ()
        self.kafka: Mapping[str, Any] = _NOTHING
        self.accounting: CloseAccounting | None = None
        self.foreign = False
        self.resending: Resending = NO_RESENDING
        self.sends_observed = False
        self.transactional = False
        self.exiting = False
        self.linger = 0.0
        self.diagnosis = Diagnosis()

    def refresh(self) -> None:
        """Look again whether sends are observed."""
        heard = self.emitter.listens("message.produced_async")
        self.sends_observed = heard or self.foreign

    def take_client(
        self, kafka: Mapping[str, Any], linger: float, *, foreign: bool
    ) -> None:
        """Note that a client was made of `kafka`, with a linger of `linger` seconds.

        It is `foreign`, or `confluent_kafka.Producer` itself.
        """
        self.kafka = kafka
        self.linger = linger
        self.foreign = foreign
        self.refresh()

    def for_transactions(self) -> None:
        """Take purged messages for those that an abort has given up."""
        self.transactional = True

    def resend_with(self, resending: Resending) -> None:
        """Have `resending` take the reports of messages that are produced again."""
        self.resending = resending

    def stop_accounting(self) -> None:
        """Stop counting: the close has ended, or the producer opens again."""
        self.accounting = None

    def start_accounting(self, accounting: CloseAccounting) -> None:
        """Count outcomes from now on: the producer closes."""
        self.accounting = accounting

    def log_together(self, once: bool) -> bool:
        """Whether to log messages that are given up one by one; what it was before.

        With `once`, the caller logs them together, as the exit does.
        """
        before, self.exiting = self.exiting, once
        return before

    @property
    def unobserved(self) -> bool:
        """Whether a successful report concerns its handle alone."""
        return (
            self.accounting is None
            and self._on_delivery is None
            and not self.emitter.listens("message.acknowledged")
        )

    def checklist(
        self,
        client: Client | None = None,
        topic: str | None = None,
        *,
        missing: bool = False,
    ) -> tuple[str, ...]:
        """What to look at when nothing gets through.

        `client`: the one that is meant, if any; `topic`: that of the message;
        `missing`: the cluster does not know that topic.
        """
        hint = "" if topic is None else nearest(topic, self.topics)
        answers = self.diagnosis.answers
        return self.diagnosis.checklist(
            self.servers,
            reached=client is not None
            and (
                client.reached or client.acknowledged + answers > client.answers_before
            ),
            topic=None if topic is None else f"{topic!r}{hint}",
            missing=missing,
        )

    def note_topic(self, topic: str) -> None:
        """Remember `topic`: an error about a misspelt one names similar ones."""
        topics = self.topics
        if topic not in topics:
            self.topics = (*topics[-_MOST_TOPICS:], topic)

    def refused(
        self, handle: DeliveryHandle, client: Client, error: Any
    ) -> ProduceError:
        """The error of a message that `client` refused."""
        missing = code_name(error) in _UNKNOWN
        return self._told(handle, client, error, None, missing=missing)

    def settle(
        self, client: Client, handle: DeliveryHandle, error: Any, native: Any
    ) -> None:
        """Give `handle` its outcome, once subscribers have heard of it.

        Called again if a signal handler interrupted it: each subscriber hears once.
        """
        if client.given_up is None and not handle.done():
            announcement: Announcement | None = client.announcement
            if announcement is None or announcement.handle is not handle:
                if error is not None and self.resending.take(handle, error, native):
                    return
                announcement = client.announcement = Announcement(
                    handle,
                    None
                    if error is None
                    else self._failure(client, handle, error, native),
                )
            self._tell(announcement, error, native)
            if client.given_up is None:
                end_traces_of(announcement, native, self.accounting)
                failure = announcement.failure
                given_up = failure is not None and failure.code in PURGED
                if self.transactional and failure is not None and not given_up:
                    client.transaction.lost_message()
                resolve(client, handle, native, failure, self.accounting, given_up)
            # else it was given up meanwhile, or this is a forked child.
        watchers.notify(client, handle)
        client.wake_task(handle)

    def _tell(self, announcement: Announcement, error: Any, native: Any) -> None:
        """Call `on_delivery` and the subscribers that have not heard of it yet."""
        if self._on_delivery is not None and not announcement.called:
            try:
                announcement.called = True
                self._on_delivery(error, native)
            except BaseException as raised:
                if from_signal_handler(raised):
                    raise
                self.callback_raised("on_delivery", raised)
        if announcement.failure is None:
            self.diagnosis.clear()
            announce_success(self.emitter, announcement, native)
        elif not announcement.failed:
            announcement.failed = True
            self._announce_failure(announcement, native, announcement.failure)

    def _announce_failure(
        self, announcement: Announcement, native: Any, failure: ProduceError
    ) -> None:
        given_up = failure.code in PURGED
        if given_up and self.transactional:
            # An aborted transaction gives its messages up on purpose.
            announce_purge(self.emitter, announcement, native)
        else:
            announce_failure(
                self.emitter,
                announcement,
                native,
                # The exit logs once for all what it gave up, and so does a close.
                logged=not (given_up and self.exiting),
                alone=not (given_up and self.accounting is not None),
            )

    def reconcile(self, client: Client) -> None:
        """Set right the counters of a client that has nothing left to report."""
        reconcile(client, self.accounting, transactional=self.transactional)

    def poll_raised(self, client: Client, error: Exception) -> None:
        """Have an error that came out of the poll reported; usually a fatal one."""
        kafka_error = kafka_error_of(error)
        if kafka_error is not None and kafka_error.fatal():
            # It comes once, and not through `error_cb`. From now on `produce` only
            # raises `_FATAL`.
            client.note_fatal(kafka_error)
            told = partial(self.client_error, client=client)
            client.arrived.append((None, told, kafka_error))
        else:
            client.arrived.append((None, self.thread_raised, error))
        client.settle_here()

    def poller_slow(self, error: BaseException) -> None:
        """Report that a callback of this producer delays the reports of others."""
        self.emitter.error("poller.slow", error)

    def thread_raised(self, error: BaseException) -> None:
        """Report what came out of a poll, or out of settling what it stored."""
        self.emitter.error("poller.error", error)

    def client_error(self, error: Any, client: Client | None = None) -> None:
        """Take an error from librdkafka's `error_cb`: note it, and emit it.

        An unreachable broker is not logged for each try; `Reach` decides.
        """
        self.diagnosis.note(error, client)
        failure = produce_error(error)
        if client is None or not of_connection(failure.code):
            self.emitter.error("librdkafka.error", failure)
        else:
            heard = self.emitter.emit_error("librdkafka.error", failure)
            REACH.note_error(client, failure.code, failure, unheard=not heard)

    def callback_raised(self, name: str, error: BaseException) -> None:
        """Report what a user's callback raised."""
        self.emitter.error(f"callbacks.{name}.error", error)

    def _failure(
        self, client: Client, handle: DeliveryHandle, error: Any, native: Any
    ) -> ProduceError:
        fatal = client.fatal if self.accounting is None else None
        # A purge may end 100 000 messages at once: they share their error.
        purged = self._purged.get(error.code())
        if purged is not None and fatal is None:
            return purged
        code = code_name(error)
        # librdkafka purges the messages behind a fatal error, and reports of a fenced
        # producer only name the epoch.
        if fatal is not None and code in _BY_FATAL:
            return shared(fatal.error())
        if error.code() > 0:
            self.diagnosis.note_answer()
        if code in PURGED:
            purged = self._purged[error.code()] = shared(produce_error(error))
            return purged
        # librdkafka gives a message its partition once it knows those of the topic. On
        # a cluster that does not create topics, it times out without one (measured).
        place = None if native is None else native.partition()
        unplaced = place is None or place < 0
        missing = unplaced and (
            code in _UNKNOWN or (code == "msg_timed_out" and client.reached)
        )
        return self._told(handle, client, error, place, missing=missing)

    def _told(
        self,
        handle: DeliveryHandle,
        client: Client,
        error: Any,
        place: int | None,
        *,
        missing: bool,
    ) -> ProduceError:
        code, topic = code_name(error), topic_of(handle)
        limit = limit_of(code, self.kafka)
        if missing:
            self.topics = tuple(each for each in self.topics if each != topic)
            limit += f"; topic {topic!r} does not exist{nearest(topic, self.topics)}"
        listed = advice(code, client.transaction.registration)
        if not listed and (missing or code == "msg_timed_out" or self.diagnosis.code):
            listed = self.checklist(client, topic, missing=missing)
        return produce_error(
            error,
            checklist=listed,
            subject=f"{subject_of(handle, place)}: ",
            limit=limit,
        )
