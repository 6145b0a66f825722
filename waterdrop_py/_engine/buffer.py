"""Messages that wait in the process until they are flushed."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from itertools import count
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.contract import as_message

if TYPE_CHECKING:
    from collections.abc import Iterable

    from waterdrop_py.message import Message, MessageInput


class Entry:
    """A buffered message; `ready` once it has been through the middleware.

    Kept as it was given, a mapping as a copy: most become a `Message` for nobody.
    """

    __slots__ = ("given", "number", "ready")

    def __init__(self, given: MessageInput, number: int) -> None:
        self.given = given
        self.number = number
        self.ready = False

    @property
    def message(self) -> Message:
        """The message."""
        return as_message(self.given)


_NUMBER: Final = attrgetter("number")


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

    def add(self, messages: Iterable[MessageInput]) -> list[Entry]:
        """Append messages, in order, all at once."""
        entries = [Entry(each, next(self._numbers)) for each in messages]
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
        while len(self):
            try:
                taken.append(self._entries.popleft())
            except IndexError:
                break  # another thread took the last one
        return sorted(taken, key=_NUMBER)

    def put_back(self, entries: list[Entry]) -> None:
        """Put at the front, in order, what was taken and not handed over."""
        self._entries.extendleft(reversed(entries))
