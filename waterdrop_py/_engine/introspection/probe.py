"""`connect()` and `health()`: proving that the cluster answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

from confluent_kafka import KafkaException

from waterdrop_py._engine.client import waiting
from waterdrop_py._engine.client.kafka_errors import code_name, kafka_error_of
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.wakeup import sleep
from waterdrop_py._engine.connection import metadata
from waterdrop_py._engine.connection.connection import NO_CLIENT
from waterdrop_py._engine.connection.disconnecting import disconnect
from waterdrop_py._engine.introspection.health import Health
from waterdrop_py._settings.arguments import count, required_seconds
from waterdrop_py._settings.callables import check_function
from waterdrop_py.errors import (
    BrokerUnreachableError,
    ProduceError,
    ProducerClosedError,
    WaterdropError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.connection.connection import Connection

STANDING: Final = 2.0
"""Seconds after which an error that was reported before an attempt ends it. librdkafka
reports the same error again after 30 s at the earliest."""


class Retries:
    """How often `connect` tries, and the seconds between two attempts."""

    def __init__(
        self,
        max_retries: int | None,
        interval_start: float | timedelta,
        interval_step: float | timedelta,
        interval_max: float | timedelta,
        errback: Callable[[BaseException, float], object] | None,
    ) -> None:
        """Take the arguments of `connect()`, which are checked."""
        self._most = count("max_retries", max_retries)
        self._interval = required_seconds("interval_start", interval_start)
        self._step = required_seconds("interval_step", interval_step)
        self._max = required_seconds("interval_max", interval_max)
        if errback is not None:
            check_function("errback", errback, "errback(error, interval)")
        self._errback = errback
        self._count = 0

    def next(self, error: BaseException) -> float | None:
        """Seconds until the next attempt, after `errback` was called; None to end."""
        if self._most is not None and self._count >= self._most:
            return None
        self._count += 1
        interval = min(self._interval, self._max)
        self._interval += self._step
        if self._errback is not None:
            self._errback(error, interval)
        return interval


class Attempts:
    """The attempts of one `connect()`, without its waits."""

    def __init__(
        self, connection: Connection, timeout: float, retries: Retries
    ) -> None:
        self._connection = connection
        self._retries = retries
        self._deadline = clock.system_now() + timeout
        self._opens = connection.ledger.opens

    def prove(self) -> BrokerUnreachableError | None:
        """Make the next attempt. Blocks."""
        return prove(self._connection, self._deadline, impatient=True)

    def pause_after(self, error: BrokerUnreachableError) -> float | None:
        """Seconds until the next attempt, after `errback` was called; None to end."""
        left = self._deadline - clock.system_now()
        again = left > 0 and error.retriable
        interval = self._retries.next(error) if again else None
        return None if interval is None else min(interval, left)

    @property
    def over(self) -> bool:
        """Whether no time is left."""
        return clock.system_now() >= self._deadline

    def give_up(self, error: BrokerUnreachableError) -> NoReturn:
        """Raise `error`, after the last attempt."""
        if self._connection.ledger.opens != self._opens:
            # A client without messages would stay open for a while.
            disconnect(self._connection, "requested")
        raise error


def connect(
    connection: Connection,
    timeout: float,
    retries: Retries,
    wait: Callable[[float], bool | None] = sleep,
) -> None:
    """Open the client and get the cluster's metadata; `Producer.connect`.

    `wait` waits so many seconds for the next attempt; if it returns True, there is
    none.
    """
    attempts = Attempts(connection, timeout, retries)
    while (error := attempts.prove()) is not None:
        pause = attempts.pause_after(error)
        if pause is None or wait(pause) or attempts.over:
            attempts.give_up(error)


def prove(
    connection: Connection, deadline: float, *, impatient: bool = False
) -> BrokerUnreachableError | None:
    """Make one metadata round trip, however long; the error if it fails, else None.

    An error that is not retriable ends it. If `impatient`, so does an error that
    librdkafka reports for all brokers. The request continues then, and a later `prove`
    waits for it.
    """
    topic = connection.topic
    waiting.serve_arrived(connection.client)  # what was reported before is not new
    watch = _Watch(connection, impatient=impatient)
    try:
        answer = metadata.ask(
            connection,
            topic or metadata.PROBE,
            deadline,
            on_poll=watch.check,
            active=True,
        )
    except _Ended as ended:
        return ended.error
    except (KafkaException, ProduceError, TimeoutError) as cause:
        if isinstance(cause, ProduceError) and cause.code == "too_many_clients":
            raise  # it says nothing about the brokers
        waiting.serve_arrived(connection.client)
        return watch.unreachable(cause)
    client = connection.client
    if client is not NO_CLIENT:
        client.poll_soon(client)
    connection.reschedule()
    if topic is not None and (refused := _unauthorized(connection, topic, answer)):
        return refused
    connection.reports.diagnosis.clear()
    return None


def _refusal(cause: Exception) -> Any:
    """The error, if a broker refused for good; else None."""
    native: Any = kafka_error_of(cause)
    if native is None or native.retriable():
        return None
    refused = native.fatal() or code_name(native).endswith("authorization_failed")
    return native if refused else None


def _unauthorized(
    connection: Connection, topic: str, answer: object
) -> BrokerUnreachableError | None:
    """The error, if the cluster does not let this producer see its own topic."""
    found = answer.topics.get(topic)  # type: ignore[attr-defined]
    if found is None or found.error is None:
        return None
    if not code_name(found.error).endswith("authorization_failed"):
        return None
    error = BrokerUnreachableError(
        f"the cluster of {connection.factory.servers!r} answered that topic {topic!r}, "
        f"to which this producer sent last, is forbidden to it: {found.error.str()} "
        f"({code_name(found.error)})",
        checklist=(
            f"does this principal have the rights DESCRIBE and WRITE on {topic!r}?",
        ),
        retriable=False,
    )
    error.__cause__ = KafkaException(found.error)
    return error


class _Ended(Exception):
    """An error was reported that ends the attempt. Internal."""

    def __init__(self, error: BrokerUnreachableError) -> None:
        super().__init__(str(error))
        self.error = error


class _Watch:
    """Checks what librdkafka reports while an attempt waits for its answer."""

    def __init__(self, connection: Connection, *, impatient: bool) -> None:
        self._connection = connection
        self._impatient = impatient
        self._diagnosis = connection.reports.diagnosis
        self._before = self._diagnosis.reports, self._diagnosis.downs
        self._standing_until = clock.system_now() + STANDING

    def check(self, client: Client) -> None:
        """Raise `_Ended` if a reported error ends the attempt."""
        diagnosis = self._diagnosis
        if client.fatal is not None:
            raise _Ended(self.unreachable(KafkaException(client.fatal.native)))
        reports, downs = self._before
        standing = clock.system_now() >= self._standing_until
        final = diagnosis.final and (standing or diagnosis.reports != reports)
        down = diagnosis.down and (standing or diagnosis.downs != downs)
        if final or (down and self._impatient):
            raise _Ended(self.unreachable(KafkaException(diagnosis.newest)))

    def unreachable(self, cause: Exception) -> BrokerUnreachableError:
        """The error of the attempt; for a `ProduceError` there was no open client."""
        connection, diagnosis = self._connection, self._diagnosis
        fatal = connection.client.fatal
        told = cause if fatal is None else fatal.error()
        if isinstance(told, ProduceError) and not told.retriable:
            error = BrokerUnreachableError(
                str(told.args[0]),
                checklist=told.checklist
                or (() if told.fatal else connection.reports.checklist()),
                retriable=False,
            )
            error.__cause__ = told
            return error
        final, said = diagnosis.final, diagnosis.text
        if isinstance(cause, TimeoutError) and diagnosis.newest is not None:
            cause = KafkaException(diagnosis.newest)
        if isinstance(cause, ProduceError):
            said = str(cause.args[0])
        elif (refused := _refusal(cause)) is not None:
            said, final = f"{refused.str()} ({code_name(refused)})", True
        error = BrokerUnreachableError(
            f"no broker of {connection.factory.servers!r} answered"
            + (f": {said}" if said else " in time"),
            checklist=connection.reports.checklist(),
            retriable=not final,
        )
        error.__cause__ = cause
        return error


def _unanswered(
    connection: Connection, client: Client
) -> BrokerUnreachableError | None:
    """The error, if messages are in flight and the newest news is an error."""
    newest = connection.reports.diagnosis.newest
    waiting_for = client.in_flight()
    if newest is None or not waiting_for:
        return None
    error = BrokerUnreachableError(
        f"messages without an acknowledgement: {waiting_for}; the newest thing heard "
        f"from the brokers is an error: {newest.str()} ({code_name(newest)})",
        checklist=connection.reports.checklist(),
    )
    error.__cause__ = KafkaException(newest)
    return error


def health(connection: Connection, timeout: float | None) -> Health:
    """The shallow check, or with a `timeout` in seconds the deep one."""
    status, client = connection.status, connection.current_client or NO_CLIENT
    try:
        connection.refuse_closed()
    except ProducerClosedError as closed:
        return Health(False, status, timeout is not None, None, closed)
    try:
        connection.keep_fatal_error_if_final(client)
        connection.refuse_after_fatal_error()
    except ProduceError as lost:
        return Health(False, status, timeout is not None, None, lost)
    if timeout is None:
        silence = _unanswered(connection, client)
        return Health(silence is None, status, False, None, silence)
    started = clock.system_now()
    failure: BaseException | None
    try:
        failure = prove(connection, started + timeout)
    except (WaterdropError, KafkaException) as raised:
        failure = raised
    if failure is not None:
        try:
            connection.keep_fatal_error_if_final(connection.client)
            connection.refuse_after_fatal_error()
        except (ProduceError, ProducerClosedError) as lost:
            failure = lost
    took_ms = (clock.system_now() - started) * 1000
    healthy = failure is None
    return Health(
        healthy, connection.status, True, took_ms if healthy else None, failure
    )
