"""A WSGI application whose producers the master has used, under `gunicorn --preload`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.scenarios.programs import served

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

served.use_in_master()


def application(
    environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    """Send what the path says, and answer when it is delivered."""
    name = environ["PATH_INFO"].lstrip("/")
    served.accept(name).result(10)
    served.tell_served(name)
    start_response("204 No Content", [("Content-Length", "0")])
    return []
