"""Defines every error of the library; all derive from `WaterdropError`.

A native error is always chained (`raise ... from kafka_exception`). So
`error.__cause__` is the exception of confluent-kafka.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from waterdrop_py.typing import Handle, LeaseHolder

_E = TypeVar("_E", bound=BaseException)


class WaterdropError(Exception):
    """The base of every error that the library raises."""


class _FieldErrors(WaterdropError):
    """An error of several fields. `errors` maps each field at fault to a sentence."""

    subject = "input"

    def __init__(self, errors: Mapping[str, str]) -> None:
        self.errors: dict[str, str] = dict(errors)
        listing = "; ".join(f"{path}: {text}" for path, text in self.errors.items())
        super().__init__(f"invalid {self.subject}: {listing}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.errors,)


class ConfigurationInvalidError(_FieldErrors):
    """A configuration breaks rules. `errors` maps each option's path to a sentence."""

    subject = "configuration"


class MessageInvalidError(_FieldErrors):
    """A message breaks rules; nothing was sent.

    Attributes:
        errors: maps each field at fault to a sentence.
        indexes: positions of the messages at fault in their batch, in order. Empty if
            the call was for one message.
    """

    subject = "message"

    def __init__(self, errors: Mapping[str, str], indexes: Iterable[int] = ()) -> None:
        super().__init__(errors)
        self.indexes: tuple[int, ...] = tuple(indexes)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.errors, self.indexes)


class InvalidArgumentError(WaterdropError, ValueError, TypeError):
    """An argument has a wrong type or value; the call did nothing."""


class VariantInvalidError(_FieldErrors):
    """A variant's settings are not possible. `errors` maps each one to a sentence."""

    subject = "variant"


class TransactionalOffsetInvalidError(_FieldErrors):
    """A consumed position is invalid. `errors` maps each argument to a sentence."""

    subject = "offset"


class TransactionRequiredError(WaterdropError):
    """The call is legal only inside a transaction block."""


class ProducerNotTransactionalError(WaterdropError):
    """The producer has no `transactional.id`."""


class TransactionalCloseError(WaterdropError):
    """A producer cannot be closed inside its own transaction block."""


class AbortTransaction(Exception):
    """Raise it inside a transaction block to abort and continue after the block."""


class _Advised(WaterdropError):
    """An error whose text ends with a checklist.

    Copies and pickles keep every attribute. They do not call the constructor, because
    it requires more than the text.
    """

    checklist: tuple[str, ...]
    retriable: bool

    def __str__(self) -> str:
        return with_checklist(super().__str__(), self.checklist)

    def __copy__(self: _E) -> _E:
        return fresh(self)

    def __deepcopy__(self: _E, _: object) -> _E:
        return fresh(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (type(self), self.args), vars(self)


class ProduceError(_Advised):
    """A message was not delivered, or the client refused a command.

    Attributes:
        code: the Kafka error's name in lower case, such as `msg_timed_out`,
            `queue_full`, `purge_queue`, `fenced`. Of the library itself: `forked` (a
            handle of the parent process), `too_many_clients` (the process has no room
            for another client), `transaction_timed_out` (the transaction outlived its
            `transaction.timeout.ms`).
        retriable: whether the same call may succeed later.
        fatal: whether the client that raised it can send nothing more.
        checklist: what to check first, derived from what librdkafka reported.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        retriable: bool = False,
        fatal: bool = False,
        checklist: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.retriable = retriable
        self.fatal = fatal
        self.checklist: tuple[str, ...] = tuple(checklist)


class ProduceManyError(ProduceError):
    """Not every message of a batch was delivered.

    Attributes:
        dispatched: the handles of the messages that librdkafka accepted, in input
            order. After a sync verb each has its outcome. The first message that was
            not accepted has the index `len(dispatched)`. Empty after pickling, because
            handles cannot leave their process.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        retriable: bool = False,
        fatal: bool = False,
        checklist: Sequence[str] = (),
        dispatched: Sequence[Handle] = (),
    ) -> None:
        super().__init__(
            message, code=code, retriable=retriable, fatal=fatal, checklist=checklist
        )
        self.dispatched: list[Handle] = list(dispatched)

    @property
    def failed(self) -> list[tuple[int, Handle]]:
        """Index and handle of each message in `dispatched` that has failed so far.

        Never blocks. Thread-safe.
        """
        return [
            (index, handle)
            for index, handle in enumerate(self.dispatched)
            if handle.done() and handle.exception(0) is not None
        ]

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (type(self), self.args), {**vars(self), "dispatched": []}


class DeliveryTimeoutError(ProduceError, TimeoutError):
    """The wait ended before the report; delivery goes on, unless the text denies it."""

    def __init__(self, message: str, *, checklist: Sequence[str] = ()) -> None:
        super().__init__(message, code="timed_out", retriable=True, checklist=checklist)


class ProducerClosedError(WaterdropError):
    """The producer is closed; nothing was sent."""


class ReentrantCallError(WaterdropError):
    """The call would wait forever: for a call that it interrupted."""


class EventNotRegisteredError(WaterdropError):
    """No event has this name, or matches this pattern."""


class StatisticsNotEnabledError(WaterdropError):
    """The open client was made without statistics, so it will emit none."""


class BrokerUnreachableError(_Advised):
    """No broker answered; nothing was sent.

    Attributes:
        checklist: what to check first, derived from what librdkafka reported.
        retriable: whether the same call may succeed later. False for refused
            credentials, a bad certificate, a missing permission and a fatal error.
    """

    def __init__(
        self, message: str, *, checklist: Sequence[str] = (), retriable: bool = True
    ) -> None:
        super().__init__(message)
        self.checklist: tuple[str, ...] = tuple(checklist)
        self.retriable = retriable


class PoolError(WaterdropError):
    """The base of every error of a pool of producers."""


class PoolExhaustedError(_Advised, PoolError):
    """The pool had no lease to give; nothing was sent.

    Attributes:
        pool: the pool's name.
        size: producers that the pool has at most.
        leased: leases that were out.
        waiting: callers that waited for one.
        waited_ms: milliseconds that this caller waited.
        holders: the holders of these leases, longest held first.
        checklist: what to check first: the option to raise, and the longest holders.
        retriable: whether the same call may succeed later. False if every slot is out
            of service: then only `reload()` mends the pool.
    """

    def __init__(
        self,
        message: str,
        *,
        pool: str,
        size: int,
        leased: int,
        waiting: int,
        waited_ms: float,
        holders: Sequence[LeaseHolder] = (),
        checklist: Sequence[str] = (),
        retriable: bool = True,
    ) -> None:
        super().__init__(message)
        self.pool = pool
        self.size = size
        self.leased = leased
        self.waiting = waiting
        self.waited_ms = waited_ms
        self.holders: tuple[LeaseHolder, ...] = tuple(holders)
        self.checklist: tuple[str, ...] = tuple(checklist)
        self.retriable = retriable


class PoolTimeoutError(PoolExhaustedError, TimeoutError):
    """No lease came back within the timeout; nothing was sent."""


class TooManyRequestsError(PoolExhaustedError):
    """As many callers waited as `max_waiting` allows; nothing was sent."""


class PoolClosedError(PoolError):
    """The pool is closed; nothing was sent."""


class LeaseReleasedError(PoolError):
    """The lease was released, so it gives no producer."""


CONNECTION_ERRORS: Final = (BrokerUnreachableError,)
"""What opening a client raises, for `except` and for retry libraries.

Nothing was sent. Retry where `error.retriable` is True. `Producer.connect()` retries by
itself, with `max_retries` and `interval_*`.
"""
RECOVERABLE_ERRORS: Final = (BrokerUnreachableError, PoolExhaustedError)
"""What a later call of the same may not meet, for `except` and for retry libraries.

Nothing was sent. Retry where `error.retriable` is True: with tenacity, for example,
`retry_if_exception(lambda e: isinstance(e, RECOVERABLE_ERRORS) and e.retriable)`.
Retry the whole block of a transaction. The errors of sends are not in the tuple:
librdkafka retries a send for `message.timeout.ms`, and sending it again may double it.
"""


class TuningWarning(UserWarning):
    """Settings are legal but will surprise."""


def _unpickled(kind: type[_E], arguments: tuple[Any, ...]) -> _E:
    """Make an error without attributes: pickle sets them next, without `__init__`."""
    error = kind.__new__(kind)
    error.args = arguments
    return error


def fresh(error: _E) -> _E:
    """Copy a stored error of the library, to raise the copy; other errors are returned.

    Each raise adds frames to an error's traceback, which keeps their variables alive: a
    stored error that was raised 2000 times had 2000 frames. Each copy has its own
    traceback, also when several threads raise at once.
    """
    if not isinstance(error, WaterdropError):
        return error
    copied = type(error).__new__(type(error))
    copied.args = error.args
    vars(copied).update(vars(error))
    copied.__cause__ = error.__cause__
    copied.__context__ = error.__context__
    copied.__suppress_context__ = error.__suppress_context__
    return copied


def about(error: _E, subject: str) -> _E:
    """Copy an error like `fresh`; the copy of a shared error names its message.

    `subject` names the message.
    """
    copied = fresh(error)
    if copied is not error and vars(error).get("shared"):
        copied.args = (f"{subject}: {error.args[0]}",)
        del vars(copied)["shared"]
    return copied


def shared(error: _E) -> _E:
    """Mark an error as shared by many messages, for `about`."""
    vars(error)["shared"] = True
    return error


def with_checklist(message: str, checklist: Sequence[str]) -> str:
    """The message, followed by each point of the checklist on its own line."""
    return "\n".join([message, *(f"  - {point}" for point in checklist)])
