"""Messages that wait in the process until they are flushed."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from itertools import count
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from waterdrop_py.delivery import DeliveryHandle
from waterdrop_py.message import Message

if TYPE_CHECKING:
    from collections.abc import Iterable


class Ready(NamedTuple):
    """A message that has been through the middleware."""

    message: Message


Kept: TypeAlias = DeliveryHandle | Message | Ready
"""A buffered message; what was plainly legal is a handle that was never sent."""

Entry: TypeAlias = tuple[int, Kept]
"""A number, which grows from one message to the next, and the message."""

_NUMBER: Final = itemgetter(0)


def message_of(kept: Kept) -> Message:
    """The message."""
    return kept if isinstance(kept, Message) else kept.message


class Buffer:
    """An unbounded, ordered buffer. Thread-safe and re-entrant, without a lock.

    Every step is one operation of a deque. Whoever flushes takes entries one by one,
    so that a message is in exactly one place at any time: an append meanwhile is
    taken now or by the next flush (test_buffer_loses_nothing_while_it_is_flushed).
    """

    __slots__ = ("_made", "_numbers")

    def __init__(self) -> None:
        self._made: dict[int, deque[Entry]] = {}
        self._numbers = count()

    @property
    def _entries(self) -> deque[Entry]:
        """The deque, made for the first message: an empty one takes 0.75 KB.

        Of two threads that make one, `setdefault` gives both the same.
        """
        made = self._made.get(0)
        return self._made.setdefault(0, deque()) if made is None else made

    def __len__(self) -> int:
        made = self._made.get(0)
        return 0 if made is None else len(made)

    def add(self, messages: Iterable[Kept]) -> list[Entry]:
        """Append messages, in order, all at once."""
        entries = list(zip(self._numbers, messages))  # noqa: B905 - endless numbers
        self._entries.extend(entries)
        return entries

    def withdraw(self, entries: list[Entry]) -> bool:
        """Take back what was just appended; False when somebody has taken any of it."""
        taken = len(entries)
        for entry in entries:
            with suppress(ValueError):
                self._entries.remove(entry)
                taken -= 1
        return taken == 0

    def take(self) -> list[Entry]:
        """Take everything that is there, in the order in which it came."""
        taken: list[Entry] = []
        made = self._made.get(0)
        while made:
            try:
                taken.append(made.popleft())
            except IndexError:
                break  # another thread took the last one
        return sorted(taken, key=_NUMBER)

    def put_back(self, entries: list[Entry]) -> None:
        """Put at the front, in order, what was taken and not handed over."""
        self._entries.extendleft(reversed(entries))
