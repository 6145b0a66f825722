"""Reading an atomic counter."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from itertools import count


def peek(counter: count[int]) -> int:
    """What `counter` would give next, without taking it.

    `itertools.count` counts atomically, and shows its value in its repr alone.
    """
    return int(repr(counter)[6:-1])
