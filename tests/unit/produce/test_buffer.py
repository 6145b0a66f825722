"""The buffer itself: order, one owner for each entry, and who may take back what."""

from __future__ import annotations

from waterdrop_py import Message
from waterdrop_py._engine.produce.buffer import Buffer, message_of


def messages(*payloads: bytes) -> list[Message]:
    """Messages of one topic."""
    return [Message("t", payload) for payload in payloads]


def payloads(buffer: Buffer) -> list[object]:
    """What is in it, taken out."""
    return [message_of(kept).payload for _, kept in buffer.take()]


def test_first_in_first_out() -> None:
    """What is taken comes in the order in which it was added, and is gone then."""
    buffer = Buffer()
    buffer.add(messages(b"0"))
    buffer.add(messages(b"1", b"2"))
    assert len(buffer) == 3
    assert payloads(buffer) == [b"0", b"1", b"2"]
    assert len(buffer) == 0
    assert buffer.take() == []


def test_put_back_is_in_front() -> None:
    """What is put back is before what came meanwhile, in its old order."""
    buffer = Buffer()
    buffer.add(messages(b"0", b"1", b"2"))
    taken = buffer.take()
    buffer.add(messages(b"new"))
    buffer.put_back(taken[1:])
    assert payloads(buffer) == [b"1", b"2", b"new"]


def test_two_takers_put_back_out_of_turn() -> None:
    """Two failed flushes, the later one first to put back: still the first order."""
    buffer = Buffer()
    buffer.add(messages(b"0"))
    first = buffer.take()
    buffer.add(messages(b"1"))
    second = buffer.take()
    buffer.put_back(first)
    buffer.put_back(second)
    assert payloads(buffer) == [b"0", b"1"]


def test_withdraw() -> None:
    """What was just added can be taken back by whoever added it, and only that."""
    buffer = Buffer()
    buffer.add(messages(b"0"))
    mine = buffer.add(messages(b"1", b"2"))
    assert buffer.withdraw(mine)
    assert payloads(buffer) == [b"0"]


def test_withdraw_what_was_taken() -> None:
    """What somebody has taken cannot be taken back: it is theirs."""
    buffer = Buffer()
    mine = buffer.add(messages(b"1"))
    assert buffer.take() == mine
    assert not buffer.withdraw(mine)
