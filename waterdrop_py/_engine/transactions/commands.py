"""A transaction's commands to librdkafka: slices, retries, and what an error means."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import KafkaException

from waterdrop_py._engine.client.borrow_marks import borrower
from waterdrop_py._engine.client.fatal import refusal_error
from waterdrop_py._engine.client.kafka_errors import code_name, refusal_of
from waterdrop_py._engine.concurrency import background, clock
from waterdrop_py._engine.concurrency.locks import Hold
from waterdrop_py._engine.concurrency.wakeup import sleep
from waterdrop_py.errors import ProduceError, ReentrantCallError

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.emitter import Emitter
    from waterdrop_py.config import Config

SLICE: Final = 0.5
"""Seconds per native call, during which Ctrl-C has no effect. A command that is called
again goes on where it was (librdkafka's documentation of `timeout_ms`)."""
ATTEMPT: Final = 10.0
"""Seconds per attempt."""
_TICK: Final = 0.001
"""Seconds between two tries to get the poll lock, and of the shortest native call."""


class CommandError(Exception):
    """A command failed for good. Internal: the user gets `error`.

    `abortable`: the transaction has to be aborted.
    """

    def __init__(self, error: ProduceError, *, abortable: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.abortable = abortable


class Commands:
    """Runs the commands of a producer's transactions. Thread-safe, no lock."""

    __slots__ = ("_backoff", "_emitter", "_most")

    def __init__(self, config: Config, emitter: Emitter) -> None:
        self._emitter = emitter
        self._most = config.max_attempts_on_transaction_command
        self._backoff = config.wait_backoff_on_transaction_command / 1000

    def run(
        self,
        client: Client,
        name: str,
        command: Callable[[Client, float], object],
        deadline: float,
    ) -> None:
        """Run `command(client, seconds)`, and repeat it after a retriable error.

        Blocks until `deadline` at most. `name` ends the type of its `error.occurred`.

        Raises:
            CommandError: the error is not retriable, or the attempts are used up.
        """
        for attempt in range(1, self._most + 1):
            try:
                _in_slices(client, command, deadline)
            except KafkaException as raised:
                native: Any = refusal_of(raised)
                # After a fatal error the code may also say "retriable". It never is.
                if native.fatal():
                    client.note_fatal(native)
                lost = client.fatal
                fatal = lost is not None
                abortable = native.txn_requires_abort()
                again = native.retriable() and not fatal and not abortable
                wait = self._backoff * attempt
                in_time = clock.system_now() + wait < deadline
                retry = again and in_time and attempt < self._most
                error = (
                    refusal_error(native, client.transaction.registration)
                    if lost is None
                    else lost.error()
                )
                self._emitter.error(
                    f"transaction.{name}", error, attempt=attempt, retry=retry
                )
                if not retry:
                    raise CommandError(error, abortable=abortable) from raised
                sleep(wait)
            else:
                return


def _in_slices(
    client: Client, command: Callable[[Client, float], object], deadline: float
) -> None:
    """Make one attempt."""
    give_up = min(deadline, clock.system_now() + ATTEMPT)
    if client.served_here:
        raise ReentrantCallError(
            "a transaction's command was given inside a callback of its client"
        )
    while not background.call(lambda: _slice(client, command, give_up)):
        pass


@borrower
def _slice(
    client: Client, command: Callable[[Client, float], object], give_up: float
) -> bool:
    """Make one native call; whether the command has ended.

    It holds the poll lock, because a command may serve reports, and one thread at a
    time may do that.
    """
    hold = Hold()
    try:
        client.borrows.append(None)
        _take_poll_lock(client, hold, give_up)
        client.opened_native()  # raises if the client was closed meanwhile
        try:
            left = give_up - clock.system_now()
            client.run(partial(command, client), min(SLICE, max(_TICK, left)))
        except KafkaException as error:
            slice_over = code_name(refusal_of(error)) == "timed_out"
            if not slice_over or clock.system_now() >= give_up:
                raise
            return False
        else:
            return True
        finally:
            client.touch()
    finally:
        try:
            client.borrows.pop()
        finally:
            client.stop_polling(hold)


def _take_poll_lock(client: Client, hold: Hold, give_up: float) -> None:
    while not client.poll_lock.take(hold):
        if clock.system_now() >= give_up:
            raise ProduceError(
                "a callback holds the client's reports up (timed_out)",
                code="timed_out",
                retriable=True,
            )
        sleep(_TICK)
