"""For uvicorn: uvicorn shop.asgi:application."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

from django.core.asgi import get_asgi_application

from shop.kafka import producer

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
django = get_asgi_application()


async def application(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Django, with a lifespan, which it has not itself.

    uvicorn ends its process by the signal that stopped it. No exit handler runs then,
    so the producer is closed when the lifespan ends.
    """
    if scope["type"] != "lifespan":
        await django(scope, receive, send)
        return
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await asyncio.to_thread(producer().close)
    await send({"type": "lifespan.shutdown.complete"})
