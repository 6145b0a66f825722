"""librdkafka's log lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from waterdrop_py._engine.concurrency.contained import from_signal_handler
from waterdrop_py._engine.logs.log import BROKEN, LOG

if TYPE_CHECKING:
    from waterdrop_py._engine.emitter import Emitter


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
