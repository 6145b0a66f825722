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
    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.emitter import Emitter


class LateDelivery:
    """Delivers what one producer sends late. All of it waits for at most its
    `close_timeout` together, in seconds."""

    __slots__ = ("_close_timeout", "_emitter", "_left", "_saying")

    def __init__(self, emitter: Emitter, close_timeout: float) -> None:
        self._emitter = emitter
        self._close_timeout = self._left = close_timeout
        self._saying = False

    def deliver(self, client: Client, *, push: bool) -> None:
        """Wait until what `client` has is delivered; give up what is not in time.

        `push`: do not wait for company, see `flush.wait_until`.
        """
        if not client.in_flight():
            return
        started = clock.system_now()
        flush.wait_until(
            client,
            lambda: not client.in_flight(),
            started + self._left,
            push=push,
        )
        # Before anything is said: a handler of logging may send that line by this
        # producer.
        self._left = max(0.0, self._left - (clock.system_now() - started))
        left = client.in_flight()
        if left:
            self._give_up(client, left)

    def _give_up(self, client: Client, left: int) -> None:
        """Said once for all, as at the exit, and not for each message."""
        told = client.reports.say_once(True)
        try:
            give_up(client, clock.system_now() + GIVE_UP)
        finally:
            client.reports.say_once(told)
        # A handler of logging may send this very line by this producer, and what is
        # given up of that is not said: it would have no end
        # (test_a_handler_that_sends_what_could_not_be_sent).
        if self._saying:
            return
        self._saying = True
        try:
            self._say(left)
        finally:
            self._saying = False

    def _say(self, left: int) -> None:
        text = (
            f"producer {self._emitter.producer_id!r} could not deliver "
            f"{left} message{'' if left == 1 else 's'} sent where no thread of "
            f"the library's can run: {self._close_timeout:g} s (close_timeout) are "
            "for all of them together"
        )
        LOG.say(self._emitter, logging.ERROR, text)
        with suppress(ResourceWarning):  # where warnings are errors
            warnings.warn(text, ResourceWarning, stacklevel=2)
