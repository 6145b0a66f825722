"""`Room`: a slot can be used again, or cannot any more; callers may wait for that."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from waterdrop_py.pools._leasing import Leasing
    from waterdrop_py.pools._opening import Opening


class Room:
    """Called when the slots have changed. Never blocks."""

    __slots__ = ("_leasing", "_opening")

    def __init__(self, leasing: Leasing, opening: Opening) -> None:
        self._leasing = leasing
        self._opening = opening

    def __call__(self) -> None:
        """Serve the callers that wait, and open what is to stay open."""
        self._leasing.serve()
        if not self._leasing.members.may_wait():
            self._leasing.line.wake_all()
        self._opening.begin()
