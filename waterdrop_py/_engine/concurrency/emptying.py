"""Emptying a list or deque that other threads empty too."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_T = TypeVar("_T")


def until_empty(take: Callable[[], _T]) -> Iterator[_T]:
    """What `take` gives, such as a deque's `popleft`, until it raises `IndexError`.

    Each entry is taken just before it is used, so no thread uses one twice.
    """
    while True:
        try:
            item = take()
        except IndexError:
            return
        yield item
