"""What is sent while there is no thread of the library's: it is delivered at once.

There is none in uWSGI's master, as it forks in C, and none after the library's exit
handler. Handlers that were registered before the library was imported run after that
one, as `logging.shutdown` always does, and nothing comes behind them.
"""

from __future__ import annotations

import logging
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.logs.log import LOG
from waterdrop_py._engine.reports import flush
from waterdrop_py._engine.reports.giving_up import GIVE_UP, give_up

if TYPE_CHECKING:
    from waterdrop_py._engine.client.client import Life
    from waterdrop_py._engine.connection.connection import ClientSlot


def deliver(slot: ClientSlot) -> None:
    """Wait until what the client has is delivered; give up what is not in time.

    All that is sent late by one producer waits for at most its `close_timeout`
    together. Does nothing inside a callback of the client: whoever serves that waits
    for this message too.
    """
    life = slot.life
    if life.held_here():
        return
    try:
        _deliver(slot, life)
    finally:
        if slot.engine.ended:
            LOG.flush()  # nothing comes behind it that would


def _deliver(slot: ClientSlot, life: Life) -> None:
    if life.in_flight():
        _wait(slot, life)
    # No reaper comes for the client, and a fork in C would hand its sockets on.
    if not slot.engine.ended and slot.close_before_fork is not None:
        slot.retire("fork")


def _wait(slot: ClientSlot, life: Life) -> None:
    started = clock.system_now()
    flush.wait_until(
        life,
        lambda: not life.in_flight(),
        started + slot.late_budget,
        push=slot.factory.lingers,
    )
    # Before anything is said: a handler of logging may send that line by this producer.
    slot.late_budget = max(0.0, slot.late_budget - (clock.system_now() - started))
    left = life.in_flight()
    if left:
        _give_up(slot, life, left)


def _give_up(slot: ClientSlot, life: Life, left: int) -> None:
    """Said once for all, as at the exit, and not for each message."""
    told, slot.reports.exiting = slot.reports.exiting, True
    try:
        give_up(life, clock.system_now() + GIVE_UP)
    finally:
        slot.reports.exiting = told
    # A handler of logging may send this very line by this producer, and what is given
    # up of that is not said: it would have no end
    # (test_a_handler_that_sends_what_could_not_be_sent).
    if slot.late_saying:
        return
    slot.late_saying = True
    try:
        _say(slot, left)
    finally:
        slot.late_saying = False


def _say(slot: ClientSlot, left: int) -> None:
    text = (
        f"producer {slot.emitter.producer_id!r} could not deliver "
        f"{left} message{'' if left == 1 else 's'} sent where no thread of "
        f"the library's can run: {slot.close_timeout:g} s (close_timeout) are for all "
        "of them together"
    )
    LOG.say(slot.emitter, logging.ERROR, text)
    with suppress(ResourceWarning):  # where warnings are errors
        warnings.warn(text, ResourceWarning, stacklevel=2)
