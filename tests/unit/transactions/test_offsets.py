"""The arguments of `mark_as_consumed`: which are valid, and the other's errors."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError

from waterdrop_py._engine.transactions.offsets import checked_positions, listed_consumed
from waterdrop_py.errors import TransactionalOffsetInvalidError
from waterdrop_py.testing.doubles import FakeMessage

CONSUMER = SimpleNamespace(consumer_group_metadata=object)


def consumed(topic: Any = "t", partition: Any = 1, offset: Any = 41) -> Any:
    """A message as a consumer returns it."""
    return SimpleNamespace(
        topic=lambda: topic, partition=lambda: partition, offset=lambda: offset
    )


def positions_of(messages: Any, metadata: Any = None, consumer: Any = CONSUMER) -> Any:
    """The positions that are kept of `messages`."""
    marked = listed_consumed(messages)
    single = len(marked) == 1 and marked[0] is messages
    return checked_positions(consumer, marked, metadata, single=single)


@pytest.mark.parametrize("metadata", [None, "", "why"])
def test_the_position_is_the_next_one(metadata: str | None) -> None:
    """A position has topic and partition, the offset + 1, and the metadata, if any."""
    assert positions_of(consumed(), metadata) == {("t", 1): (42, metadata, None)}


def test_the_leader_epoch_is_carried() -> None:
    """A leader epoch is kept if the message has one; -1 and None mean none."""
    for given, kept in ((7, 7), (0, 0), (-1, None), (None, None)):
        message = consumed()
        message.leader_epoch = lambda given=given: given
        assert positions_of(message) == {("t", 1): (42, None, kept)}


def test_the_highest_of_each_partition_is_kept() -> None:
    """The highest offset of each partition is kept, of any iterable in any order."""
    batch = [
        consumed("t", 0, 5),
        consumed("t", 1, 7),
        consumed("t", 0, 9),
        consumed("u", 0, 1),
        consumed("t", 0, 6),
    ]
    expected = {("t", 0): 10, ("t", 1): 8, ("u", 0): 2}
    for given in (batch, tuple(batch), iter(batch), dict(enumerate(batch)).values()):
        found = positions_of(given, "m")
        assert {place: each.offset for place, each in found.items()} == expected
    assert positions_of([]) == {}


BAD: dict[str, tuple[Any, Any, Any, set[str]]] = {
    "consumer": (object(), consumed(), None, {"consumer"}),
    "message": (CONSUMER, object(), None, {"messages"}),
    "no offset": (CONSUMER, consumed(offset=None), None, {"messages"}),
    "no offset yet": (CONSUMER, consumed(offset=-1001), None, {"messages"}),
    "largest offset": (CONSUMER, consumed(offset=2**63 - 1), None, {"messages"}),
    "no partition": (CONSUMER, consumed(partition=-1), None, {"messages"}),
    "bool": (CONSUMER, consumed(partition=True), None, {"messages"}),
    "class": (CONSUMER, FakeMessage, None, {"messages"}),
    "text": (CONSUMER, "text", None, {"messages"}),
    "mapping": (CONSUMER, {"topic": "t"}, None, {"messages"}),
    "none": (CONSUMER, None, None, {"messages"}),
    "one of many": (CONSUMER, [consumed(), None], None, {"messages[1]"}),
    "metadata": (CONSUMER, consumed(), 123, {"metadata"}),
    "cut metadata": (CONSUMER, consumed(), "a\0b", {"metadata"}),
    "metadata with a lone surrogate": (CONSUMER, consumed(), "\ud800", {"metadata"}),
    "all": (None, None, b"x", {"consumer", "messages", "metadata"}),
}


@pytest.mark.parametrize("name", BAD)
def test_every_bad_argument_is_named(name: str) -> None:
    """One error has all violations."""
    consumer, messages, metadata, expected = BAD[name]
    with pytest.raises(TransactionalOffsetInvalidError) as caught:
        positions_of(messages, metadata, consumer)
    assert set(caught.value.errors) == expected
    assert all("must be" in text for text in caught.value.errors.values())


def test_the_faults_of_many_are_bounded() -> None:
    """An error names the first ten faulty messages, and counts the others."""
    with pytest.raises(TransactionalOffsetInvalidError) as caught:
        positions_of([None] * 5000)
    assert len(caught.value.errors) == 11
    assert "5000" in caught.value.errors["messages"]


def test_the_end_of_a_partition_is_no_message() -> None:
    """Errors that a consumer returns as messages are refused: the position after an
    "end of partition" would skip the next message."""
    end = consumed()
    end.error = lambda: KafkaError(KafkaError._PARTITION_EOF)  # noqa: SLF001
    for given in (end, [consumed(), end]):
        with pytest.raises(TransactionalOffsetInvalidError, match="error of the cons"):
            positions_of(given)
    end.error = lambda: None
    assert positions_of(end) == {("t", 1): (42, None, None)}
