"""What becomes of confluent-kafka's errors."""

from __future__ import annotations

import copy
import pickle

import pytest
from confluent_kafka import KafkaError, KafkaException

from waterdrop_py._engine.client.kafka_errors import kafka_error_of, produce_error
from waterdrop_py.delivery import DeliveryHandle
from waterdrop_py.errors import (
    BrokerUnreachableError,
    DeliveryTimeoutError,
    MessageInvalidError,
    ProduceError,
    ProduceManyError,
    WaterdropError,
)


def test_an_exception_without_an_error_has_a_code_all_the_same() -> None:
    """`KafkaException("text")` does not cause an AttributeError."""
    raised = produce_error(kafka_error_of(KafkaException("text")), subject="open: ")
    assert (raised.code, raised.retriable, raised.fatal) == ("fail", False, False)
    assert str(raised).startswith("open: ")


def test_the_error_is_the_cause() -> None:
    """Code and cause are those of the Kafka error."""
    raised = produce_error(KafkaError(KafkaError._TRANSPORT))  # noqa: SLF001
    assert raised.code == "transport"
    assert isinstance(raised.__cause__, KafkaException)


@pytest.mark.parametrize(
    "error",
    [
        ProduceError("m", code="fenced", retriable=True, fatal=True, checklist=["a"]),
        ProduceManyError("m", code="queue_full", retriable=True, checklist=["a"]),
        DeliveryTimeoutError("m", checklist=["a"]),
        BrokerUnreachableError("m", checklist=["a"], retriable=False),
        MessageInvalidError({"topic": "missing"}),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_error_travels(error: WaterdropError) -> None:
    """To another process, whole: a pool of workers dies of what it cannot unpickle."""
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert (twin.args, str(twin)) == (error.args, str(error))
        assert vars(twin) == vars(error)


def test_handles_stay_behind() -> None:
    """They belong to a client of their process; the error arrives without them."""
    error = ProduceManyError("m", code="fail", dispatched=[DeliveryHandle()])
    assert pickle.loads(pickle.dumps(error)).dispatched == []
    assert len(error.dispatched) == 1
