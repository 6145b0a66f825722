"""Delivering at once what is sent while no library thread can run.

None runs in uWSGI's master, because it forks in C, and none after the library's exit
handler. Exit handlers that were registered before the library was imported run after
that one, `logging.shutdown` always does, and no code of the library runs after those.
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
    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.emitter import Emitter


class LateDelivery:
    """Delivers what one producer sends late. All sends together wait for at most its
    `close_timeout`, in seconds."""

    __slots__ = ("_close_timeout", "_emitter", "_left", "_logging")

    def __init__(self, emitter: Emitter, close_timeout: float) -> None:
        self._emitter = emitter
        self._close_timeout = self._left = close_timeout
        self._logging = False

    def deliver(self, client: Client, *, push: bool) -> None:
        """Wait until what `client` has is delivered; give up what is not in time.

        `push`: cut `linger.ms` short, see `flush.wait_until`.
        """
        if client.is_settled:
            return
        started = clock.system_now()
        flush.wait_until(
            client,
            lambda: client.is_settled,
            started + self._left,
            push=push,
        )
        # Before anything is logged: a logging handler may send that line by this
        # producer.
        self._left = max(0.0, self._left - (clock.system_now() - started))
        left = client.in_flight()
        if left:
            self._give_up(client, left)

    def _give_up(self, client: Client, left: int) -> None:
        """Give up all of them, and log it once instead of for each message."""
        told = client.reports.log_together(True)
        try:
            give_up(client, clock.system_now() + GIVE_UP)
        finally:
            client.reports.log_together(told)
        # A logging handler may send this very line by this producer. If that is given
        # up too, it is not logged, or it would never end
        # (test_a_handler_that_sends_what_could_not_be_sent).
        if self._logging:
            return
        self._logging = True
        try:
            self._log(left)
        finally:
            self._logging = False

    def _log(self, left: int) -> None:
        text = (
            f"producer {self._emitter.producer_id!r} could not deliver "
            f"{left} message{'' if left == 1 else 's'} sent where no thread of "
            f"the library's can run: {self._close_timeout:g} s (close_timeout) are "
            "for all of them together"
        )
        LOG.log(self._emitter, logging.ERROR, text)
        with suppress(ResourceWarning):  # where warnings are errors
            warnings.warn(text, ResourceWarning, stacklevel=2)
