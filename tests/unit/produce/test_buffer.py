"""The buffer: its order, one place for each entry, and what may be withdrawn."""

from __future__ import annotations

from waterdrop_py import Message
from waterdrop_py._engine.produce.buffer import Buffer, message_of


def messages(*payloads: bytes) -> list[Message]:
    """Messages of one topic."""
    return [Message("t", payload) for payload in payloads]


def payloads(buffer: Buffer) -> list[object]:
    """Take everything out of it."""
    return [message_of(kept).payload for _, kept in buffer.take()]


def test_first_in_first_out() -> None:
    """`take` returns and removes entries in the order in which they were added."""
    buffer = Buffer()
    buffer.add(messages(b"0"))
    buffer.add(messages(b"1", b"2"))
    assert len(buffer) == 3
    assert payloads(buffer) == [b"0", b"1", b"2"]
    assert len(buffer) == 0
    assert buffer.take() == []


def test_put_back_is_in_front() -> None:
    """Entries that are put back stand before later ones, in their old order."""
    buffer = Buffer()
    buffer.add(messages(b"0", b"1", b"2"))
    taken = buffer.take()
    buffer.add(messages(b"new"))
    buffer.put_back(taken[1:])
    assert payloads(buffer) == [b"1", b"2", b"new"]


def test_two_takers_put_back_out_of_turn() -> None:
    """Two failed flushes keep the order, even if the later one puts back first."""
    buffer = Buffer()
    buffer.add(messages(b"0"))
    first = buffer.take()
    buffer.add(messages(b"1"))
    second = buffer.take()
    buffer.put_back(first)
    buffer.put_back(second)
    assert payloads(buffer) == [b"0", b"1"]


def test_withdraw() -> None:
    """`withdraw` removes exactly the entries that were just added."""
    buffer = Buffer()
    buffer.add(messages(b"0"))
    mine = buffer.add(messages(b"1", b"2"))
    assert buffer.withdraw(mine)
    assert payloads(buffer) == [b"0"]


def test_withdraw_what_was_taken() -> None:
    """`withdraw` returns False if a flush has taken an entry."""
    buffer = Buffer()
    mine = buffer.add(messages(b"1"))
    assert buffer.take() == mine
    assert not buffer.withdraw(mine)
