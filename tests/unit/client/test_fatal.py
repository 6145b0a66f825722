"""The code of a fatal error, and what its checklist says."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from waterdrop_py._engine.client.client import Client
from waterdrop_py._engine.client.fatal import Fatal, Registration, refusal_error

FENCED = KafkaError(KafkaError._FENCED)  # noqa: SLF001 - librdkafka's name
PAYMENTS = Registration("payments-1", 60_000)


def test_a_fenced_producer_is_told_by_whom() -> None:
    """The id, that another producer has it, and how to get it back."""
    error = Fatal(FENCED, PAYMENTS).error()
    assert (error.code, error.fatal, error.retriable) == ("fenced", True, False)
    assert "'payments-1'" in str(error)
    assert "another producer" in str(error)
    assert "a new Producer" in error.checklist[1]
    assert isinstance(error.__cause__, KafkaException)


@pytest.mark.parametrize(
    ("code", "lasted", "expected"),
    [
        (KafkaError._FENCED, 60.1, "transaction_timed_out"),  # noqa: SLF001
        (KafkaError.INVALID_PRODUCER_EPOCH, 61.0, "transaction_timed_out"),
        (KafkaError._FENCED, 59.9, "fenced"),  # noqa: SLF001
        (KafkaError._FENCED, None, "fenced"),  # noqa: SLF001
        (KafkaError.INVALID_TXN_STATE, 61.0, "invalid_txn_state"),
    ],
)
def test_age_tells_a_timeout_from_a_takeover(
    code: int, lasted: float | None, expected: str
) -> None:
    """Only what is answered as fenced, and only where the transaction was too old."""
    error = Fatal(KafkaError(code), PAYMENTS, lasted).error()
    assert (error.code, error.fatal) == (expected, True)


def test_a_timeout_says_both_durations() -> None:
    """How long it lasted, how long it may, and where that is set."""
    text = str(Fatal(FENCED, PAYMENTS, 61.5).error())
    assert "lasted 61.5 s" in text
    assert "transaction.timeout.ms is 60000 ms" in text
    assert "raise transaction.timeout.ms" in text


def test_without_a_transactional_id_the_code_is_the_brokers() -> None:
    """An idempotent producer cannot be fenced."""
    error = Fatal(KafkaError(KafkaError.INVALID_PRODUCER_EPOCH), None, None).error()
    assert error.code == "invalid_producer_epoch"
    assert error.checklist == ()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            ("Write and Describe", "TransactionalId 'payments-1'"),
        ),
        (
            KafkaError.INVALID_TRANSACTION_TIMEOUT,
            ("transaction.timeout.ms is 60000 ms", "transaction.max.timeout.ms"),
        ),
        (KafkaError.CLUSTER_AUTHORIZATION_FAILED, ("IdempotentWrite", "Cluster")),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, ("Write", "Topic")),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, ("Read", "Group")),
    ],
)
def test_a_refusal_names_what_to_change(code: int, words: tuple[str, ...]) -> None:
    """The ACL or the limit is in the checklist, of fatal and of other errors."""
    for error in (
        Fatal(KafkaError(code), PAYMENTS).error(),
        refusal_error(KafkaError(code), PAYMENTS),
    ):
        for word in words:
            assert word in error.checklist[0]


def test_each_call_gets_an_error_of_its_own() -> None:
    """One that is raised again and again would collect every caller's frames."""
    fatal = Fatal(FENCED, PAYMENTS)
    assert fatal.error() is not fatal.error()


def test_the_first_telling_error_stays() -> None:
    """`_FATAL` says nothing, so the next error replaces it; later ones do not."""
    client = Client(None, lambda _: None)  # type: ignore[arg-type]
    client.note_fatal(KafkaError(KafkaError._FATAL))  # noqa: SLF001
    client.note_fatal(KafkaError(KafkaError.INVALID_PRODUCER_EPOCH))
    client.note_fatal(KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER))
    assert client.fatal is not None
    assert client.fatal.code == "invalid_producer_epoch"
