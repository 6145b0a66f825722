"""When a client falls due: its deadlines. `disconnecting` says whether it may close."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from waterdrop_py._engine.concurrency import clock

if TYPE_CHECKING:
    from waterdrop_py._engine.client.client import Client


class IdlePolicy(NamedTuple):
    """The two limits of a client, in seconds; 0 stands for no limit."""

    idle_timeout: float
    max_age: float

    @property
    def limits(self) -> bool:
        """Whether there is any limit."""
        return self.idle_timeout > 0 or self.max_age > 0

    @property
    def timeout_ms(self) -> float | None:
        """The idle timeout in milliseconds; None: never."""
        return self.idle_timeout * 1000 if self.idle_timeout > 0 else None

    def due_at(self, client: Client) -> float | None:
        """When `client` falls due, in seconds on the clock; None when it cannot."""
        deadlines = []
        if self.idle_timeout > 0:
            deadlines.append(client.last_activity + self.idle_timeout)
        if self.max_age > 0:
            deadlines.append(client.opened_at + self.max_age)
        return min(deadlines, default=None)

    def expired(self, client: Client) -> str | None:
        """Why a send must not use `client` any more: "stale", "age" or None."""
        if not client.quiet:
            return None
        now = clock.now()
        if 0 < self.idle_timeout <= now - client.last_activity:
            return "stale"
        if 0 < self.max_age <= now - client.opened_at:
            return "age"
        return None

    def reason(self, client: Client, now: float) -> str:
        """Why `client`, which is due, is closed: "idle" or "age"."""
        idle = 0 < self.idle_timeout <= now - client.last_activity
        return "idle" if idle else "age"

    def is_premature(self, client: Client, reason: str) -> bool:
        """Whether a report has come since `client` was found due for `reason`.

        The poll before the decision may have served it, and that is activity too
        (test_report_served_by_the_reaper_is_activity).
        """
        if reason not in _BY_AGE:
            return False
        if reason == "age":
            return clock.now() - client.opened_at < self.max_age
        return clock.now() - client.last_activity < self.idle_timeout


_BY_AGE = frozenset({"idle", "age", "stale"})
