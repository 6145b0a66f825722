"""`Event`: what a subscriber is called with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class Event(Mapping[str, Any]):
    """One event: a read-only mapping of its payload.

    Attributes:
        name: one of `events.EVENTS`.
        payload: the keys that `events.EVENTS` names, and `producer_id`.
        tags: the producer's tags.
        duration_ms: milliseconds that it took, or None if the event is not timed. Also
            `event["time"]`, which raises `KeyError` if it is None.
    """

    __slots__ = ("duration_ms", "name", "payload", "tags")

    def __init__(
        self,
        name: str,
        payload: dict[str, Any],
        tags: Mapping[str, str],
        duration_ms: float | None = None,
    ) -> None:
        self.name: str = name
        self.payload: dict[str, Any] = payload
        self.tags: Mapping[str, str] = tags
        self.duration_ms: float | None = duration_ms

    def __getitem__(self, key: str) -> Any:
        if key == "time" and self.duration_ms is not None:
            return self.duration_ms
        return self.payload[key]

    def __iter__(self) -> Iterator[str]:
        yield from self.payload
        if self.duration_ms is not None:
            yield "time"

    def __len__(self) -> int:
        return len(self.payload) + (self.duration_ms is not None)

    # Events with equal payloads are still different events. The repr shows only the
    # keys, because the values hold the user's messages.
    def __eq__(self, other: object) -> bool:
        return True if self is other else NotImplemented

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<Event {self.name}: {', '.join(self)}>"
