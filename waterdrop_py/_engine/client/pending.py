"""A message on its way as the engine sees it: the state of a `DeliveryHandle`.

The handle's fields are private to users. Other rooms fill them as they validate and
send a message, and otherwise use the functions of this file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar

from waterdrop_py._engine.client import waiting, watchers
from waterdrop_py._engine.client.client import Client
from waterdrop_py._engine.client.subjects import subject
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.signals import no_signal_at_entry
from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._settings.answering import no_attribute
from waterdrop_py._settings.foreign_names import HANDLE
from waterdrop_py.errors import DeliveryTimeoutError, ProduceError
from waterdrop_py.middleware import Trace
from waterdrop_py.typing import Headers

_WATCHED: Final = watchers.WATCHED


class Place(NamedTuple):
    """What few messages have: an explicit place or time."""

    partition: int | None
    partition_key: bytes | None
    timestamp: int | None


ANYWHERE: Final = Place(None, None, None)


class PendingMessage:
    """A message, its place on a client, and its outcome once there is one.

    It is itself the native delivery callback. Slots that a message does not use are
    never set and read as None.
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
    _traces: tuple[Trace, ...] = ()

    if not TYPE_CHECKING:  # else a type checker would accept every name

        def __getattr__(self, name: str) -> None:
            if name in PendingMessage.__slots__:
                return  # a slot that this message does not use
            no_attribute(self, name, HANDLE.get(name))

    def __call__(self, error: Any, native: Any) -> None:
        """Take the delivery report: librdkafka calls it, on the thread that polls.

        It only stores; `Settling` does the rest behind the native call. No signal
        handler runs in here, so none can raise: not on entering
        (`no_signal_at_entry`), and not between statements that call nothing. That is
        why it says `+=`, which is one call of C: `append` would let handlers run
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
                try:  # for Python 3.10, as below
                    awaits = client.awaits
                    if awaits and self in awaits:
                        woken = client.woken
                        woken += (self,)
                finally:
                    pass
            else:
                # Up to Python 3.10 handlers run after a jump, except before a `try`.
                try:
                    arrived = client.arrived
                    arrived += ((self, error, native),)
                finally:
                    pass
        finally:
            pass

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

    def _failure(self) -> BaseException | None:
        if self._native is not None:
            return None
        return self._error or self._client.given_up


no_signal_at_entry(PendingMessage.__call__)


_Handle = TypeVar("_Handle", bound=PendingMessage)


class Waiting(Protocol):
    """What a handle holds in place of a client while its message is deferred. It has
    those attributes of a client that a handle without a report asks for."""

    given_up: BaseException | None

    def wait(self, handle: watchers.Pending, deadline: float) -> None:
        """Wait for a while, at most until `deadline`, for its outcome.

        Raises:
            ReentrantCallError: it depends on a call that this one interrupted.
        """


class Accounting(Protocol):
    """What a closing producer counts outcomes with."""

    delivered: int
    failed: int
    undelivered: list[Any]


def client_of(handle: PendingMessage) -> Any:
    """The client that has the message; None before the first try to send it."""
    return handle._client


def topic_of(handle: PendingMessage) -> str:
    """The topic that the message goes to."""
    return handle._topic


def sequence_of(handle: PendingMessage) -> int:
    """The number of the message on its client; messages were sent in its order."""
    return handle._seq


def subject_of(handle: PendingMessage, partition: int | None = None) -> str:
    """The topic, partition, key and label of a message, as far as it has them."""
    place = handle._place
    if partition is None and place is not None:
        partition = place.partition
    return subject(handle._topic, partition, handle._key, handle._label)


def wait_for(handle: PendingMessage, timeout: float | None) -> bool:
    """Wait at most `timeout` seconds (None: forever); whether the outcome is known.

    Raises:
        ReentrantCallError: it depends on a call that this one interrupted.
    """
    deadline = math.inf if timeout is None else clock.system_now() + timeout
    return wait_until(handle, deadline)


def wait_until(handle: PendingMessage, deadline: float) -> bool:
    """`wait_for` with a deadline, in seconds on the system's clock."""
    woken: Client | None = None
    check()
    while not handle.done():
        client: Client | Waiting = handle._client
        if isinstance(client, Client):
            woken = waiting.wait_once(client, handle, deadline, woken)
        else:
            client.wait(handle, deadline)
        if clock.system_now() >= deadline:
            break
    if woken is not None:
        woken.pass_on_polling()
    return handle.done()


def overdue(
    handle: PendingMessage, bound: float | None, limit: str
) -> DeliveryTimeoutError:
    """The error of a wait for `handle` of `bound` seconds, which `limit` names."""
    client = handle._client
    sent_on = client if isinstance(client, Client) else None
    return DeliveryTimeoutError(
        f"no delivery report for {subject_of(handle)} within {bound:.3g} s "
        f"({limit}); delivery goes on",
        checklist=client.reports.checklist(sent_on, handle._topic),
    )


def resolve(
    client: Client,
    handle: PendingMessage,
    native: Any,
    failure: ProduceError | None,
    accounting: Accounting | None,
    given_up: bool,
) -> None:
    """Give `handle` its outcome, and count it.

    From the first count to the outcome there is no call and, for Python 3.10, no jump.
    So no signal handler runs in between, and nothing is counted twice.
    """
    if failure is None:
        if accounting is not None:
            accounting.delivered += 1
        client.acknowledged += 1
        handle._native = native
        client.announcement = None
        return
    if accounting is not None:
        if given_up:
            undelivered = accounting.undelivered
            undelivered += (handle,)
        else:
            accounting.failed += 1
    client.failed += 1
    handle._error = failure
    client.announcement = None


def fail(handle: PendingMessage, error: BaseException) -> None:
    """Give a message that was not sent its error, and call what watches it."""
    end_traces(handle, None, error)
    handle._error = error
    watchers.notify(handle._client, handle)


def is_traced(handle: PendingMessage) -> bool:
    """Whether steps of the middleware are told its outcome."""
    return bool(handle._traces)


def end_traces(
    handle: PendingMessage, report: object, error: BaseException | None
) -> None:
    """Tell the steps that trace the message its outcome; again does no harm."""
    for trace in handle._traces:
        trace.end(report, error)


def refuse(handles: Iterable[PendingMessage], error: BaseException) -> None:
    """End the traces of those of `handles` that will not be sent.

    A message that a client has, or one that is deferred, has its own outcome.
    """
    for handle in handles:
        if handle._traces and client_of(handle) is None:
            end_traces(handle, None, error)


def undelivered(handles: Iterable[_Handle]) -> list[_Handle]:
    """Those of `handles` that the broker has not acknowledged, yet or at all."""
    return [handle for handle in handles if handle._native is None]


def was_reported(handle: PendingMessage) -> bool:
    """Whether it has an outcome of its own, and was not merely given up."""
    return handle._native is not None or handle._error is not None


def place_of(handle: PendingMessage) -> Place | None:
    """Where its message goes, if the user said so."""
    return handle._place


def move(handle: PendingMessage, place: Place) -> None:
    """Have its message go to `place` when it is produced again."""
    handle._place = place


def wait_in(handle: PendingMessage, deferred: Waiting) -> None:
    """Have `handle` hold `deferred` until a client has the message."""
    handle._client = deferred  # type: ignore[assignment]


def payload_size(handle: PendingMessage) -> int:
    """The size of its payload in bytes."""
    return len(handle._payload or b"")


def produce_again(
    handle: PendingMessage, produce: Callable[..., None], partition: int
) -> None:
    """Produce its message once more, to `partition`; it keeps its number."""
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
