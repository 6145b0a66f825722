"""Proving that the cluster answers: `connect` and the deep health check."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaException

from waterdrop_py._engine import clock, lease, waiting
from waterdrop_py._engine.figures import Health
from waterdrop_py._engine.pause import pause
from waterdrop_py._engine.slot import NO_LIFE
from waterdrop_py._settings.shown import shown
from waterdrop_py.errors import (
    BrokerUnreachableError,
    InvalidArgumentError,
    ProduceError,
    ProducerClosedError,
    WaterdropError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.life import Life
    from waterdrop_py._engine.slot import ClientSlot

TRY: Final = 2.0
"""Seconds of one try at the most."""
_SLICE: Final = 0.5
"""Seconds of one native call, which is deaf to Ctrl-C."""


class Retries:
    """How often, and how long after one another, `connect` tries."""

    def __init__(
        self,
        most: int | None,
        start: float,
        step: float,
        longest: float,
        errback: Callable[[BaseException, float], object] | None,
    ) -> None:
        if errback is not None and not callable(errback):
            raise InvalidArgumentError(
                "errback: must be callable as errback(error, interval), got "
                f"{shown(errback)}"
            )
        self._most = most
        self._interval, self._step, self._max = start, step, longest
        self._errback = errback
        self._count = 0

    def next(self, error: BaseException) -> float | None:
        """Seconds until the next try, once `errback` knows of them; None to end."""
        if self._most is not None and self._count >= self._most:
            return None
        self._count += 1
        interval = min(self._interval, self._max)
        self._interval += self._step
        if self._errback is not None:
            self._errback(error, interval)
        return interval


def connect(slot: ClientSlot, timeout: float, retries: Retries) -> None:
    """Open the client and have the cluster's metadata; `Producer.connect`."""
    deadline = clock.system_now() + timeout
    opens = slot.ledger.opens
    while True:
        error = prove(slot, min(deadline, clock.system_now() + TRY))
        if error is None:
            return
        if isinstance(error.__cause__, ProduceError) and error.__cause__.fatal:
            raise error
        left = deadline - clock.system_now()
        interval = retries.next(error) if left > 0 else None
        if interval is not None:
            pause(min(interval, left))
        if interval is None or clock.system_now() >= deadline:
            if slot.ledger.opens != opens:
                slot.retire("requested")  # nobody would look after it for a while
            raise error


def prove(slot: ClientSlot, deadline: float) -> BrokerUnreachableError | None:
    """One metadata round trip; what stood against it, or None."""
    cause: Exception | None = None
    while True:
        wait = max(0.001, min(_SLICE, deadline - clock.system_now()))
        try:
            lease.use(slot, partial(lease.list_topics, timeout=wait), deadline)
        except (KafkaException, ProduceError) as raised:
            if isinstance(raised, ProduceError) and raised.code == "too_many_clients":
                raise  # the brokers have nothing to do with it
            cause = raised  # a ProduceError: the transactional.id was not registered
            if isinstance(raised, ProduceError) and raised.fatal:
                error = BrokerUnreachableError(
                    str(raised.args[0]), checklist=raised.checklist
                )
                error.__cause__ = raised
                return error
        else:
            life = slot.life
            if life is not NO_LIFE:
                life.last_activity = clock.now()
                life.arm(life)
            slot.look_again()
            slot.reports.diagnosis.clear()
            return None
        waiting.hear(slot.life)
        # Where no client could be opened, nothing was waited for: `connect` decides
        # when it is worth another try.
        if slot.life is NO_LIFE or clock.system_now() >= deadline:
            error = BrokerUnreachableError(
                f"no broker of {slot.factory.servers!r} answered in time",
                checklist=slot.reports.checklist(),
            )
            error.__cause__ = cause
            return error


def _unanswered(slot: ClientSlot, life: Life) -> BrokerUnreachableError | None:
    """What stands for messages whose brokers were last heard of by an error."""
    diagnosis = slot.reports.diagnosis
    if diagnosis.code is None or diagnosis.noted_at <= life.heard_at:
        return None
    waiting_for = life.in_flight()
    if not waiting_for:
        return None
    return BrokerUnreachableError(
        f"messages without an acknowledgement: {waiting_for}; the newest thing heard "
        f"from the brokers is an error: {diagnosis.text}",
        checklist=slot.reports.checklist(),
    )


def health(slot: ClientSlot, timeout: float | None) -> Health:
    """The shallow check, or with a `timeout` in seconds the deep one."""
    status, life = slot.status, slot.known or NO_LIFE
    try:
        slot.refuse_closed()
    except ProducerClosedError as closed:
        return Health(False, status, timeout is not None, None, closed)
    try:
        slot.lose_if_final(life)
        slot.refuse_lost()
    except ProduceError as lost:
        return Health(False, status, timeout is not None, None, lost)
    if timeout is None:
        silence = _unanswered(slot, life)
        return Health(silence is None, status, False, None, silence)
    started = clock.system_now()
    failure: BaseException | None
    try:
        failure = prove(slot, started + timeout)
    except (WaterdropError, KafkaException) as raised:
        failure = raised
    took_ms = (clock.system_now() - started) * 1000
    healthy = failure is None
    return Health(healthy, slot.status, True, took_ms if healthy else None, failure)
