"""Every error of the library; all derive from `WaterdropError`.

A native error is always chained: `raise ... from kafka_exception`, so that
`error.__cause__` is what confluent-kafka said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from waterdrop_py.typing import Handle

_E = TypeVar("_E", bound=BaseException)


class WaterdropError(Exception):
    """The base of every error that the library raises."""


class _FieldErrors(WaterdropError):
    """An error that names every field at fault, each with a sentence of its own."""

    subject = "input"

    def __init__(self, errors: Mapping[str, str]) -> None:
        self.errors: dict[str, str] = dict(errors)
        listing = "; ".join(f"{path}: {text}" for path, text in self.errors.items())
        super().__init__(f"invalid {self.subject}: {listing}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.errors,)


class ConfigurationInvalidError(_FieldErrors):
    """A configuration breaks its rules. `errors` maps each option's path to why."""

    subject = "configuration"


class MessageInvalidError(_FieldErrors):
    """A message breaks its rules. `errors` maps each field to why; nothing was sent.

    `indexes` are the places in a batch of the messages at fault, in order; empty where
    one message was sent.
    """

    subject = "message"

    def __init__(self, errors: Mapping[str, str], indexes: Iterable[int] = ()) -> None:
        super().__init__(errors)
        self.indexes: tuple[int, ...] = tuple(indexes)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.errors, self.indexes)


class InvalidArgumentError(WaterdropError, ValueError, TypeError):
    """An argument of a method is not what it takes; nothing was done."""


class VariantInvalidError(_FieldErrors):
    """A variant asks for what its producer cannot give. `errors` maps each setting."""

    subject = "variant"


class TransactionalOffsetInvalidError(_FieldErrors):
    """What was to be marked as consumed is none. `errors` maps each argument to why."""

    subject = "offset"


class TransactionRequiredError(WaterdropError):
    """The call is for the inside of a transaction."""


class ProducerNotTransactionalError(WaterdropError):
    """The producer has no `transactional.id`."""


class TransactionalCloseError(WaterdropError):
    """A producer cannot be closed inside its own transaction."""


class AbortTransaction(Exception):
    """Raised inside a transaction block: abort it, and go on behind the block."""


class ProduceError(WaterdropError):
    """A message was not delivered, or the client refused a command.

    Attributes:
        code: lower-case name of the Kafka error, such as `msg_timed_out`,
            `queue_full`, `purge_queue`, `fenced`; or `too_many_clients`, where the
            process has no room for another one, and `transaction_timed_out`, where a
            transaction outlived its `transaction.timeout.ms`.
        retriable: the same call may succeed later.
        fatal: the client that raised it can send nothing any more.
        checklist: what to look at first, drawn from what librdkafka reported.
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

    def __str__(self) -> str:
        return with_checklist(super().__str__(), self.checklist)

    def __copy__(self) -> ProduceError:
        return fresh(self)

    def __deepcopy__(self, _: object) -> ProduceError:
        return fresh(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (type(self), self.args), vars(self)


class ProduceManyError(ProduceError):
    """A batch was not delivered whole.

    Attributes:
        dispatched: in input order, the handle of every message that was handed to
            librdkafka; after a sync verb each of them is final. A message that was
            not handed over has the index `len(dispatched)`. Empty after pickling: a
            handle stays in the process that it was made in.
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
        """The messages in `dispatched` that failed so far: index in the batch, and
        handle. Never blocks."""
        return [
            (index, handle)
            for index, handle in enumerate(self.dispatched)
            if handle.done() and handle.exception(0) is not None
        ]

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (type(self), self.args), {**vars(self), "dispatched": []}


class DeliveryTimeoutError(ProduceError, TimeoutError):
    """The wait ended before the delivery report came; delivery goes on."""

    def __init__(self, message: str, *, checklist: Sequence[str] = ()) -> None:
        super().__init__(message, code="timed_out", retriable=True, checklist=checklist)


class ProducerClosedError(WaterdropError):
    """The producer is closed; nothing was sent."""


class ReentrantCallError(WaterdropError):
    """The call would have to wait for a call that it interrupted."""


class EventNotRegisteredError(WaterdropError):
    """No event has this name."""


class StatisticsNotEnabledError(WaterdropError):
    """The open client was built without statistics, so none will come from it."""


class BrokerUnreachableError(WaterdropError):
    """No broker answered.

    Attributes:
        checklist: what to look at first, drawn from what librdkafka reported.
        retriable: the same call may succeed later. False for refused credentials, a
            certificate, a missing right, and a fatal error.
    """

    def __init__(
        self, message: str, *, checklist: Sequence[str] = (), retriable: bool = True
    ) -> None:
        super().__init__(message)
        self.checklist: tuple[str, ...] = tuple(checklist)
        self.retriable = retriable

    def __str__(self) -> str:
        return with_checklist(super().__str__(), self.checklist)


class TuningWarning(UserWarning):
    """Settings that are legal, and will surprise."""


def _unpickled(kind: type[ProduceError], arguments: tuple[Any, ...]) -> ProduceError:
    """An error without its attributes, which pickle sets next: they are keywords."""
    error = kind.__new__(kind)
    error.args = arguments
    return error


def fresh(error: _E) -> _E:
    """A copy to raise of an error of the library that is kept; others as they are.

    Each raise adds its frames to the traceback of what is raised, and keeps the
    variables in them alive: an error that is kept and raised 2000 times had 2000
    frames. The copy has a traceback of its own, also where threads raise at once.
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
    """The same for an error that many messages share: the copy names its message."""
    copied = fresh(error)
    if copied is not error and vars(error).get("shared"):
        copied.args = (f"{subject}: {error.args[0]}",)
        del vars(copied)["shared"]
    return copied


def shared(error: _E) -> _E:
    """Mark an error as one of many messages: see `about`."""
    vars(error)["shared"] = True
    return error


def with_checklist(message: str, checklist: Sequence[str]) -> str:
    """The message, and each point of the checklist on a line of its own."""
    return "\n".join([message, *(f"  - {point}" for point in checklist)])
