"""An ASGI application for `gunicorn --preload`; the master uses its producers too.

uvicorn ends its process with the very signal that stopped it, so that nothing runs at
exit: such an application closes its producers when its lifespan ends.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.scenarios.programs import served

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]

served.use_in_master()


async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Send what the path says, and answer when it is delivered."""
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    name = scope["path"].lstrip("/")
    await served.accept(name)
    served.tell_served(name)
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def live(receive: Receive, send: Send) -> None:
    """From the start of the worker to its end."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    served.tell_leaving()
    await asyncio.to_thread(served.close)
    await send({"type": "lifespan.shutdown.complete"})
