"""What the log says of the wait at the process's end, and of what was given up."""

from __future__ import annotations

import logging
import warnings
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.client import watchers
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.logs.log import LOG

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from waterdrop_py._engine.connection.connection import ClientSlot
    from waterdrop_py._engine.reports.accounting import DrainReport

LONG: Final = 1.0
"""Seconds of a wait that is worth a line."""
_NAMED: Final = 5
"""Producers and topics that a line names; more are counted."""


class ExitReport:
    """Says that the process waits, as soon as the wait is long, and what it gave up.

    `look` is called once a second by the poller, also while the main thread waits.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Nothing waits: at import, and in a forked child."""
        self._slots: list[ClientSlot] = []
        self._since = 0.0

    def begin(self, slots: Sequence[ClientSlot]) -> None:
        """The process ends and waits for these."""
        self._since = clock.system_now()
        for slot in slots:
            slot.reports.exiting = True
        if any(slot.close_timeout > LONG for slot in slots):
            self._slots = list(slots)
            slots[0].engine.poller.sweep_by(self._since + LONG)

    def look(self, now: float) -> list[Callable[[], None]]:
        """The job that says so, once the wait is long."""
        slots = self._slots
        if not slots or now < self._since + LONG:
            return []
        self._slots = []
        # The text is of now: the job may wait for a thread until all is given up.
        text = _sentence(slots)
        return [partial(LOG.say, slots[0].emitter, logging.WARNING, text)]

    def gave_up(self, slot: ClientSlot, report: DrainReport) -> None:
        """Say what of a producer was not delivered, if anything."""
        if report.complete and not report.undelivered:
            return
        who = f"producer {slot.emitter.producer_id!r}"
        if not report.undelivered:
            text = f"{who} was still closing as the process ended"
            LOG.say(slot.emitter, logging.ERROR, text)
            return
        many = _messages(len(report.undelivered))
        topics = _named({f"topic {message.topic!r}" for message in report.undelivered})
        LOG.say(
            slot.emitter,
            logging.ERROR,
            f"{who} gave up {many} as the process ended, to {topics}: not delivered "
            f"within {slot.close_timeout:g} s (close_timeout)",
        )
        with suppress(ResourceWarning):  # where warnings are errors
            warnings.warn(
                f"{who} could not deliver {many} before the process ended, to {topics}",
                ResourceWarning,
                stacklevel=2,
            )

    def end(self) -> None:
        """The wait is over; whatever was held back is said."""
        for job in self.look(clock.system_now()):  # no thread did, so late in the exit
            job()
        self._slots = []
        LOG.flush()


def _sentence(slots: list[ClientSlot]) -> str:
    """How long the process waits at most, and for what."""
    counts: dict[str, int] = {}
    topics: set[str] = set()
    for slot in slots:
        for life in dict.fromkeys(slot.lives()):
            count = life.in_flight()
            if count:
                name = slot.emitter.producer_id
                counts[name] = counts.get(name, 0) + count
                if len(counts) <= _NAMED:
                    handles = watchers.open_handles(life)
                    topics |= {f"topic {handle._topic!r}" for handle in handles}
    bound = max(slot.close_timeout for slot in slots)
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
