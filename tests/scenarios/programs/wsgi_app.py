"""A WSGI application whose workers send."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.scenarios.programs import served

if TYPE_CHECKING:
    from collections.abc import Callable


def application(
    environ: dict[str, Any], start_response: Callable[..., object]
) -> list[bytes]:
    """Send what the path says, and answer when it is delivered."""
    name = environ["PATH_INFO"].lstrip("/")
    served.accept(name).result(10)
    served.tell_served(name)
    start_response("204 No Content", [("Content-Length", "0")])
    return []
