"""The log lines about the wait at the process's end, and about what was given up."""

from __future__ import annotations

import logging
import warnings
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.client.pending import topic_of
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.logs.log import LOG
from waterdrop_py._engine.process.runtime import RUNTIME
from waterdrop_py._engine.reports.giving_up import open_handles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py._engine.reports.accounting import DrainReport

LONG: Final = 1.0
"""Seconds of a wait after which it is logged."""
_NAMED: Final = 5
"""Producers and topics that a line names; the others are counted."""


class ExitReport:
    """Logs that the process waits, once the wait is long, and what it gave up.

    `due_jobs` is called once a second by the poller, also while the main thread waits.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Nothing waits: at import, and in a forked child."""
        self._connections: list[Connection] = []
        self._since = 0.0

    def begin(self, connections: Sequence[Connection]) -> None:
        """The process ends, and waits for these."""
        self._since = clock.system_now()
        for connection in connections:
            connection.reports.log_together(True)
        if any(connection.close_timeout > LONG for connection in connections):
            self._connections = list(connections)
            connections[0].runtime.poller.sweep_by(self._since + LONG)

    def due_jobs(self, now: float) -> list[Callable[[], None]]:
        """The job that logs the wait, once it is long."""
        connections = self._connections
        if not connections or now < self._since + LONG:
            return []
        self._connections = []
        # The text is made now: the job may wait for a thread until all is given up.
        text = _sentence(connections)
        return [partial(LOG.log, connections[0].emitter, logging.WARNING, text)]

    def gave_up(self, connection: Connection, report: DrainReport) -> None:
        """Log what of a producer was not delivered, if anything."""
        if report.complete and not report.undelivered:
            return
        who = f"producer {connection.emitter.producer_id!r}"
        if not report.undelivered:
            text = f"{who} was still closing as the process ended"
            LOG.log(connection.emitter, logging.ERROR, text)
            return
        many = _messages(len(report.undelivered))
        topics = _named({f"topic {message.topic!r}" for message in report.undelivered})
        LOG.log(
            connection.emitter,
            logging.ERROR,
            f"{who} gave up {many} as the process ended, to {topics}: not delivered "
            f"within {connection.close_timeout:g} s (close_timeout)",
        )
        with suppress(ResourceWarning):  # where warnings are errors
            warnings.warn(
                f"{who} could not deliver {many} before the process ended, to {topics}",
                ResourceWarning,
                stacklevel=2,
            )

    def end(self) -> None:
        """The wait is over: log what was held back."""
        for job in self.due_jobs(clock.system_now()):  # no thread can, this late
            job()
        self._connections = []
        LOG.flush()


def _sentence(connections: list[Connection]) -> str:
    """How long the process waits at most, and for what."""
    counts: dict[str, int] = {}
    topics: set[str] = set()
    for connection in connections:
        for client in dict.fromkeys(connection.clients()):
            count = client.in_flight()
            if count:
                name = connection.emitter.producer_id
                counts[name] = counts.get(name, 0) + count
                if len(counts) <= _NAMED:
                    handles = open_handles(client)
                    topics |= {f"topic {topic_of(handle)!r}" for handle in handles}
    bound = max(connection.close_timeout for connection in connections)
    what = "its producers are closed"
    if counts:
        who = _named(
            {f"{count} of producer {name!r}" for name, count in counts.items()}
        )
        what = f"{_messages(sum(counts.values()))} to {_named(topics)} are "
        what += f"delivered ({who})"
    return (
        f"the process ends, and waits for at most {bound:g} s (close_timeout) until "
        f"{what}"
    )


def _messages(count: int) -> str:
    return f"{count} message{'' if count == 1 else 's'}"


def _named(names: set[str]) -> str:
    listed = sorted(names)
    more = len(listed) - _NAMED
    return ", ".join(listed[:_NAMED]) + (f" and {more} more" if more > 0 else "")


EXIT: Final = ExitReport()
RUNTIME.add_part(EXIT)
