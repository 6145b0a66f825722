"""`Health`: the answer of `health()`, and the same as an HTTP response."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from waterdrop_py._engine.client.fatal import FENCING, TIMED_OUT
from waterdrop_py._engine.connection.states import Status
from waterdrop_py._settings.arguments import flag
from waterdrop_py.errors import ProduceError

OK: Final = 200
UNAVAILABLE: Final = 503
_TAKEN_OVER: Final = FENCING | {TIMED_OUT}
"""Codes after which another process may own the `transactional.id`: a restart would
fence that one."""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a producer works.

    Attributes:
        healthy: whether there is no error; an idle producer is healthy.
        status: what the producer was doing.
        deep: whether the cluster was asked.
        latency_ms: milliseconds of the metadata round trip, of a deep check.
        error: why it is not healthy, or None.
    """

    healthy: bool
    status: Status
    deep: bool
    latency_ms: float | None
    error: BaseException | None

    def http(self, *, live: bool = False) -> tuple[int, dict[str, Any]]:
        """The status code, 200 or 503, and a body that JSON takes.

        The body has `status` ("healthy" or "unhealthy"), `state` (the producer's), and
        where there are any `latency_ms` and `error`, with its `type` and its sentence
        as `message`. It shows no secret.

        `live`: for a liveness probe. The code is 503 only where a restart is the cure:
        after a fatal error that stays. It is not one for brokers that are away, for a
        closed producer, and for one that was fenced: it would fence its successor.

        Raises:
            InvalidArgumentError: `live` is not a bool.
        """
        failed = self.needs_restart if flag("live", live) else not self.healthy
        body: dict[str, Any] = {
            "status": status_of(healthy=self.healthy),
            "state": str(self.status),
        }
        if self.latency_ms is not None:
            body["latency_ms"] = round(self.latency_ms, 3)
        if self.error is not None:
            body["error"] = {
                "type": type(self.error).__name__,
                "message": str(self.error),
            }
        return UNAVAILABLE if failed else OK, body

    @property
    def needs_restart(self) -> bool:
        """Whether nothing but a restart of the process mends it."""
        error = self.error
        return (
            isinstance(error, ProduceError)
            and error.fatal
            and error.code not in _TAKEN_OVER
        )


def status_of(*, healthy: bool) -> str:
    """`status` in the body of a response."""
    return "healthy" if healthy else "unhealthy"
