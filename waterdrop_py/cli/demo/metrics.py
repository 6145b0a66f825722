"""Serves the metrics of the demo while it runs, for `waterdrop demo --metrics PORT`."""

from __future__ import annotations

import select
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, make_server

from waterdrop_py.cli.demo.usage import COUNTING
from waterdrop_py.monitor import monitor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from wsgiref.simple_server import WSGIServer

    from waterdrop_py.listeners import PrometheusListener

STATISTICS_MS: Final = 500
"""Milliseconds between two reports of librdkafka: the demo's clients live for 2 s."""
_TICK: Final = 0.1
"""Seconds after which the end of the demo is noticed."""
_SLOW: Final = 2.0
"""Seconds for which a scrape may keep the demo waiting."""


class NotServedError(Exception):
    """Metrics cannot be served."""


class _Handler(WSGIRequestHandler):
    """Answers one scrape, and writes no line about it."""

    timeout = _SLOW

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing: the screen is the demo's."""


@contextmanager
def serving(port: int) -> Iterator[str]:
    """Serve at `port` (0: any) what a `PrometheusListener` reports; the URL.

    On every address, because a Prometheus in a container is another host. A scrape is
    answered between two counts of what the process holds, so that it is in none.

    Raises:
        NotServedError: prometheus-client is not installed, or the port is in use.
    """
    listener, application = _application()
    try:
        server = make_server("", port, application, handler_class=_Handler)
    except OSError as error:
        raise NotServedError(f"port {port}: {error.strerror}") from error
    over = threading.Event()
    thread = threading.Thread(target=_serve, args=(server, over), daemon=True)
    unsubscribe = monitor.subscribe(listener)
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}/metrics"
    finally:
        over.set()
        thread.join(_SLOW)
        server.server_close()
        unsubscribe()


def _application() -> tuple[PrometheusListener, Callable[..., Any]]:
    try:
        from waterdrop_py.listeners import PrometheusListener
    except ImportError as error:
        raise NotServedError(str(error)) from error
    from prometheus_client import CollectorRegistry, make_wsgi_app

    registry = CollectorRegistry()
    listener = PrometheusListener(registry, statistics=True)
    return listener, make_wsgi_app(registry)


def _serve(server: WSGIServer, over: threading.Event) -> None:
    while not over.is_set():
        if select.select([server], [], [], _TICK)[0]:
            with COUNTING:
                server.handle_request()
