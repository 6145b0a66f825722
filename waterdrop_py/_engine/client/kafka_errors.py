"""From confluent-kafka's errors to the library's."""

from __future__ import annotations

from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException

from waterdrop_py.errors import ProduceError

_FAIL: Final = KafkaError._FAIL  # noqa: SLF001 - its constant
PURGED: Final = frozenset({"purge_queue", "purge_inflight"})
"""The codes of messages that were purged."""
_LONGEST: Final = 500
"""Characters of librdkafka's text that an error repeats."""


def code_name(error: Any) -> str:
    """The lower-case name of a Kafka error, without librdkafka's underscore."""
    return str(error.name()).lstrip("_").lower()


def kafka_error_of(error: BaseException) -> Any:
    """The `KafkaError` inside an exception, or None."""
    if isinstance(error, KafkaException) and error.args:
        inner = error.args[0]
        return inner if isinstance(inner, KafkaError) else None
    return None


def refusal_of(error: KafkaException) -> Any:
    """The `KafkaError` inside, or `_FAIL` with the exception's text.

    A wrapper of a client may raise an exception without a `KafkaError`.
    """
    inner = kafka_error_of(error)
    return KafkaError(_FAIL, str(error)) if inner is None else inner


def produce_error(
    error: Any, *, checklist: tuple[str, ...] = (), subject: str = "", limit: str = ""
) -> ProduceError:
    """A `ProduceError` for a `KafkaError`, chained to its `KafkaException`.

    `subject` stands before librdkafka's text, and `limit` after it. None, for a
    `KafkaException` without an error, becomes librdkafka's `_FAIL`.
    """
    if error is None:
        error = KafkaError(_FAIL)
    code = code_name(error)
    raised = ProduceError(
        f"{subject}{str(error.str())[:_LONGEST]} ({code}){limit}",
        code=code,
        retriable=bool(error.retriable()),
        fatal=bool(error.fatal()),
        checklist=checklist,
    )
    raised.__cause__ = KafkaException(error)
    return raised


def forked_error() -> ProduceError:
    """The error that a message of the parent has in a forked child."""
    return ProduceError(
        "the process forked; the parent delivers this message (forked)",
        code="forked",
    )


def queue_full_error(
    cause: BaseException | None, subject: str, limit: str
) -> ProduceError:
    """The error of a full queue, for which confluent-kafka raises `BufferError`."""
    raised = ProduceError(
        f"{subject}: the client's queue is full, and nothing drained it in time "
        f"(queue_full){limit}; nothing was sent",
        code="queue_full",
        retriable=True,
        checklist=(
            "is the broker reachable? nothing leaves the queue until it acknowledges",
            "queue.buffering.max.messages and queue.buffering.max.kbytes bound the "
            "queue; wait_timeout_on_queue_full bounds the wait",
        ),
    )
    raised.__cause__ = cause
    return raised
