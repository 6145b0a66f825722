"""What `mark_as_consumed` takes, and what it says of everything else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError

from waterdrop_py._engine.contract import checked_offset
from waterdrop_py.errors import TransactionalOffsetInvalidError
from waterdrop_py.testing.doubles import FakeMessage

CONSUMER = SimpleNamespace(consumer_group_metadata=object)


def consumed(topic: Any = "t", partition: Any = 1, offset: Any = 41) -> Any:
    """What a consumer returned."""
    return SimpleNamespace(
        topic=lambda: topic, partition=lambda: partition, offset=lambda: offset
    )


@pytest.mark.parametrize("metadata", [None, "", "why"])
def test_the_offset_is_the_next_one(metadata: str | None) -> None:
    """Topic and partition of the message, its offset + 1, and the metadata, if any."""
    place = checked_offset(CONSUMER, consumed(), metadata)
    assert (place.topic, place.partition, place.offset) == ("t", 1, 42)
    assert (place.metadata or None) == (metadata or None)


BAD: dict[str, tuple[Any, Any, Any, set[str]]] = {
    "consumer": (object(), consumed(), None, {"consumer"}),
    "message": (CONSUMER, object(), None, {"message"}),
    "no offset": (CONSUMER, consumed(offset=None), None, {"message"}),
    "no offset yet": (CONSUMER, consumed(offset=-1001), None, {"message"}),
    "largest offset": (CONSUMER, consumed(offset=2**63 - 1), None, {"message"}),
    "no partition": (CONSUMER, consumed(partition=-1), None, {"message"}),
    "bool": (CONSUMER, consumed(partition=True), None, {"message"}),
    "class": (CONSUMER, FakeMessage, None, {"message"}),
    "metadata": (CONSUMER, consumed(), 123, {"metadata"}),
    "cut metadata": (CONSUMER, consumed(), "a\0b", {"metadata"}),
    "torn metadata": (CONSUMER, consumed(), "\ud800", {"metadata"}),
    "all": (None, None, b"x", {"consumer", "message", "metadata"}),
}


@pytest.mark.parametrize("name", BAD)
def test_every_bad_argument_is_named(name: str) -> None:
    """All of them at once."""
    consumer, message, metadata, expected = BAD[name]
    with pytest.raises(TransactionalOffsetInvalidError) as caught:
        checked_offset(consumer, message, metadata)
    assert set(caught.value.errors) == expected


def test_the_end_of_a_partition_is_no_message() -> None:
    """A consumer returns errors as messages too; the offset behind the end of a
    partition would skip the message to come."""
    end = consumed()
    end.error = lambda: KafkaError(KafkaError._PARTITION_EOF)  # noqa: SLF001
    with pytest.raises(TransactionalOffsetInvalidError, match="error of the consumer"):
        checked_offset(CONSUMER, end, None)
    end.error = lambda: None
    assert checked_offset(CONSUMER, end, None).offset == 42
