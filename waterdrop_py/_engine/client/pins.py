"""Users of the bare client, for whom it is kept open."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Pin(NamedTuple):
    """A caller outside the library that uses the client.

    Attributes:
        thread: its identifier; `owner`, its name.
        since: seconds on the clock.
    """

    thread: int
    owner: str
    since: float


class Pins(list[Pin]):
    """The pins of one client. No lock: each step is one call of C.

    Attributes:
        ever: there was one. What its caller sent is not in the library's counters.
    """

    __slots__ = ("_on_last", "ever")

    def __init__(self) -> None:
        super().__init__()
        self.ever = False
        self._on_last: Callable[[], None] | None = None

    def mark_used(self) -> None:
        """A caller has got the client."""
        self.ever = True

    def on_last(self, job: Callable[[], None]) -> None:
        """Run `job` as the last pin leaves."""
        self._on_last = job

    def left_last(self) -> bool:
        """A pin has left. Runs the job of `on_last`, if this was the last; whether."""
        if self._on_last is None or self:
            return False
        self._on_last()
        return True
