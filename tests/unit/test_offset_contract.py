"""What `mark_as_consumed` takes, and what it says of everything else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from waterdrop_py._engine.contract import checked_offset
from waterdrop_py.errors import TransactionalOffsetInvalidError

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
    "metadata": (CONSUMER, consumed(), 123, {"metadata"}),
    "all": (None, None, b"x", {"consumer", "message", "metadata"}),
}


@pytest.mark.parametrize("name", BAD)
def test_every_bad_argument_is_named(name: str) -> None:
    """All of them at once."""
    consumer, message, metadata, expected = BAD[name]
    with pytest.raises(TransactionalOffsetInvalidError) as caught:
        checked_offset(consumer, message, metadata)
    assert set(caught.value.errors) == expected
