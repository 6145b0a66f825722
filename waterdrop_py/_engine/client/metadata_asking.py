"""Requests for metadata on one client: those in progress, and when to ask next."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from waterdrop_py._engine.concurrency import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.concurrency.wakeup import Wakeup


class MetadataAsking:
    """What is asked of a client's cluster. No lock: each step is one call of C.

    Attributes:
        requests: those in progress, by topic.
        callers: a wake-up for each caller that waits, or has just got its answer.
        ask: asks for the brokers of the cluster; None for a client without a cluster.
        ask_at: seconds on the clock from which on a report has `ask` called.
    """

    __slots__ = ("ask", "ask_at", "callers", "requests")

    def __init__(self) -> None:
        self.requests: dict[str, Any] = {}
        self.callers: dict[Wakeup, None] = {}
        self.ask: Callable[[Any], None] | None = None
        self.ask_at = inf

    def ask_after_report(self, ask: Callable[[Any], None]) -> None:
        """Call `ask(client)` after the next report."""
        self.ask, self.ask_at = ask, 0.0

    def ask_again_in(self, seconds: float) -> None:
        """Call it again after a report, and no earlier than in `seconds`."""
        self.ask_at = clock.now() + seconds

    def ask_no_more(self) -> None:
        """Do not call it again."""
        self.ask_at = inf

    def running(self) -> bool:
        """Whether a native request is in progress."""
        return any(request.running for request in list(self.requests.values()))
