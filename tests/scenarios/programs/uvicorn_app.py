"""An ASGI application whose producers the master has used, under `gunicorn --preload`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.scenarios.programs import served

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

served.use_in_master()


async def application(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],  # noqa: ARG001 - ASGI's own
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Send what the path says, and answer when it is delivered."""
    name = scope["path"].lstrip("/")
    await served.accept(name)
    served.tell_served(name)
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})
