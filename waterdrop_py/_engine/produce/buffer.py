"""The buffer: messages that stay in the process until they are flushed."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from itertools import count
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from waterdrop_py.delivery import DeliveryHandle
from waterdrop_py.errors import ProduceError
from waterdrop_py.message import Message, untraced
from waterdrop_py.middleware import end_traces

if TYPE_CHECKING:
    from collections.abc import Iterable


class Ready(NamedTuple):
    """A message that has been through the middleware."""

    message: Message


Kept: TypeAlias = DeliveryHandle | Message | Ready
"""A buffered message. One that is plainly legal is a handle that was never sent."""

Entry: TypeAlias = tuple[int, Kept]
"""A message and its number. Numbers grow in the order in which messages came."""

_NUMBER: Final = itemgetter(0)


def message_of(kept: Kept) -> Message:
    """The message of a buffered entry, as users see it."""
    return untraced(to_send(kept))


def to_send(kept: Kept) -> Message:
    """The message of a buffered entry, with its traces."""
    return kept if isinstance(kept, Message) else kept.message


def drop(entries: Iterable[Entry], error: BaseException | None = None) -> None:
    """Tell that these messages will not be sent, because of `error`. By default they
    are purged."""
    for _, kept in entries:
        if isinstance(kept, Ready):
            if error is None:
                text = "given up in the buffer: it was purged (purge_queue)"
                error = ProduceError(text, code="purge_queue")
            end_traces([kept.message], error)


class Buffer:
    """An unbounded, ordered buffer. Thread-safe and re-entrant, without a lock.

    Every step is one atomic operation of a deque. A flush takes entries one at a time,
    so each message is always in exactly one place. A message that is added meanwhile is
    taken by this flush or by the next (test_buffer_loses_nothing_while_it_is_flushed).
    """

    __slots__ = ("_made", "_numbers")

    def __init__(self) -> None:
        self._made: dict[int, deque[Entry]] = {}
        self._numbers = count()

    @property
    def _entries(self) -> deque[Entry]:
        """The deque, made for the first message, because an empty one takes 0.75 KB.

        `setdefault` gives two threads that make one at a time the same.
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
        """Remove what was just added. False if a flush has taken any of it."""
        taken = len(entries)
        for entry in entries:
            with suppress(ValueError):
                self._entries.remove(entry)
                taken -= 1
        return taken == 0

    def take(self) -> list[Entry]:
        """Take everything, in the order in which it came."""
        taken: list[Entry] = []
        made = self._made.get(0)
        while made:
            try:
                taken.append(made.popleft())
            except IndexError:
                break  # another thread took the last one
        return sorted(taken, key=_NUMBER)

    def put_back(self, entries: list[Entry]) -> None:
        """Put entries that were taken and not sent back at the front, in order."""
        self._entries.extendleft(reversed(entries))
