"""What becomes of confluent-kafka's errors."""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException

from waterdrop_py._engine.kafka_errors import kafka_error_of, produce_error


def test_an_exception_without_an_error_has_a_code_all_the_same() -> None:
    """`KafkaException("text")` is no reason for an AttributeError."""
    raised = produce_error(kafka_error_of(KafkaException("text")), subject="open: ")
    assert (raised.code, raised.retriable, raised.fatal) == ("fail", False, False)
    assert str(raised).startswith("open: ")


def test_the_error_is_the_cause() -> None:
    """Code and cause are those of the Kafka error."""
    raised = produce_error(KafkaError(KafkaError._TRANSPORT))  # noqa: SLF001
    assert raised.code == "transport"
    assert isinstance(raised.__cause__, KafkaException)
