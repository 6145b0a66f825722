"""A client's callbacks other than reports: errors, log lines, statistics, throttling.

librdkafka calls objects that only store (`arrival.py`). `Settling` calls what is
here, after the native call. The user's callbacks run beside the library's, and what
they raise is contained.
"""

from __future__ import annotations

import json
import weakref
from typing import TYPE_CHECKING, Any

from waterdrop_py._engine.client.arrival import Arrival, ArrivingLines
from waterdrop_py._engine.concurrency.signals import from_signal_handler
from waterdrop_py._engine.logs.log import BROKEN, LOG

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.client.report_sink import ReportSink
    from waterdrop_py._engine.emitter import Emitter


def wire(conf: dict[str, Any], client: Client, reports: ReportSink[Client]) -> None:
    """Put the callbacks of `client` into its properties, around the user's own."""
    emitter = reports.emitter
    # Weakly: `client` has the native client, which has its callbacks. The garbage
    # collector would have to find each closed one (test_cycles_are_flat).
    heard_by = weakref.ref(client)

    def heard(error: Any) -> None:
        reports.client_error(error, heard_by())

    def statistics(text: str) -> None:
        if emitter.listens("statistics.emitted"):
            whole = {"statistics": json.loads(text)}
            emitter.emit("statistics.emitted", whole, client=heard_by())

    def put(name: str, ours: Callable[[Any], None] | None) -> None:
        callback = _beside(emitter, name, ours, conf.get(name))
        conf[name] = Arrival(client.arrived, callback)

    put("error_cb", heard)
    bridge = LogBridge(emitter, conf.get("logger"))
    conf["logger"] = ArrivingLines(client.arrived, bridge.log)
    if client.statistics or "stats_cb" in conf:
        put("stats_cb", statistics)
    if "throttle_cb" in conf:
        put("throttle_cb", None)


def _beside(
    emitter: Emitter,
    name: str,
    ours: Callable[[Any], None] | None,
    theirs: Callable[[Any], object] | None,
) -> Callable[[Any], None]:
    def callback(argument: Any) -> None:
        if ours is not None:
            ours(argument)
        if theirs is not None:
            try:
                theirs(argument)
            except BaseException as error:
                if from_signal_handler(error):
                    raise
                emitter.error(f"callbacks.{name}.error", error)

    return callback


class LogBridge:
    """A client's `logger`: its lines go to `logging` and not to stderr.

    Repeated lines are counted. A logger of the user's own gets every line.
    """

    __slots__ = ("_emitter", "_theirs")

    def __init__(self, emitter: Emitter, theirs: Any) -> None:
        self._emitter = emitter
        self._theirs = theirs

    def log(self, level: int, text: str, *arguments: object) -> None:
        """Take a line; called by confluent-kafka while it polls."""
        LOG.librdkafka(self._emitter, level, text, *arguments)
        if self._theirs is None:
            return
        try:
            self._theirs.log(level, text, *arguments)
        except BaseException as error:
            if from_signal_handler(error):
                raise
            self._emitter.error(BROKEN, error)
