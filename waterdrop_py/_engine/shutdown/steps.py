"""What the close of a producer does, step by step, on the thread that runs it."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.client import waiting
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.signals import from_signal_handler
from waterdrop_py._engine.concurrency.wakeup import sleep
from waterdrop_py._engine.connection.batch import batch_of
from waterdrop_py._engine.connection.closing import finish_closing, refuse_senders
from waterdrop_py._engine.connection.disconnecting import teardown_of
from waterdrop_py._engine.logs.log import LOG
from waterdrop_py._engine.reports import flush
from waterdrop_py._engine.reports.accounting import CloseAccounting
from waterdrop_py._engine.reports.giving_up import give_up
from waterdrop_py.errors import ProduceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.connection.batch import TeardownBatch
    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py._engine.connection.hooks import Family
    from waterdrop_py._engine.connection.teardown import Teardown
    from waterdrop_py._engine.reports.accounting import DrainReport

GRACE: Final = 0.25
"""Seconds after the bound for the reports of purged messages, and as many again for the
native close: `close` returns within its timeout + 0.5 s."""
PER_MESSAGE: Final = 0.000_005
"""Additional seconds for each message beyond FREE: its report has to be served."""
FREE: Final = 100_000
GIVEN_UP: Final = 0.000_012
"""Seconds that a purged message costs: 4 us for the purge and its report, and 3 us for
its place in the `DrainReport`, on an idle machine; about twice that on a busy one."""
SLOWEST: Final = 0.000_1
"""Seconds that a caller waits for each message that is given up, where the machine is
so busy that the worker needs longer than its bound."""


class Steps:
    """The steps of one close. A step that a signal handler has interrupted is repeated,
    and does then what was not done yet.

    Attributes:
        client: what is closed, until it is destroyed.
        deadline: when the rest is given up, in seconds on the real clock.
        force: give it up at once.
        accounting: what became of the messages so far.
        report: the whole report, once the producer is closed.
        over_by: when the rest is over at the latest, where much is given up.
    """

    def __init__(
        self,
        connection: Connection,
        deadline: float,
        then: Callable[[], None] | None,
    ) -> None:
        """`then` is called once senders are refused."""
        self._connection = connection
        self._then = then
        self._started = clock.system_now()
        self._teardown: Teardown | None = None
        self._told: list[Callable[..., object]] = []
        self.client: Client | None = None
        self.deadline = deadline
        self.force = False
        self.accounting = CloseAccounting()
        self.report: DrainReport | None = None
        self.over_by = -math.inf

    def count_outcomes(self) -> None:
        """Count what becomes of each message from now on. Again does no harm."""
        connection = self._connection
        connection.reports.start_accounting(self.accounting)
        connection.refresh()

    def hand_over(self, deadline: float) -> None:
        """Send what is buffered, until `deadline`."""
        self.count_outcomes()
        self._take_buffer(deadline, force=self.force)

    def _take_buffer(self, deadline: float, *, force: bool) -> None:
        connection = self._connection
        if connection.hooks.buffered is None:
            return
        try:
            unsent = connection.hooks.buffered.before_close(deadline, force=force)
        except BaseException as error:
            if from_signal_handler(error):
                raise
            connection.emitter.error("messages.produce_many_async", error)
        else:
            self.accounting.unsent += unsent

    def refuse(self) -> None:
        """Refuse senders from now on. Waits for an open, however long it takes."""
        self.client = refuse_senders(self._connection)
        if self.client is not None:
            self.client.observe_reports()
        if self._then is not None:
            self._then()

    def close(self) -> None:
        """Refuse senders, deliver until the deadline, give up the rest, and close."""
        connection, emitter = self._connection, self._connection.emitter
        self.refuse()
        family = connection.hooks.family
        if family is None or family.begins_with(self):
            emitter.emit("producer.closing", begun=self._told)
        # A thread that was appending as senders were refused has done so by now, or
        # checks again (test_a_message_buffered_as_the_producer_closes).
        self._take_buffer(clock.system_now(), force=True)
        if self.client is not None:
            self._flush(self.client)
            self._contained(partial(self._give_up_the_rest, self.client))
            self._destroy(self.client)
        teardown = connection.teardown
        if teardown is not None:
            teardown.wait(max(0.0, self.deadline - clock.system_now()) + GRACE)
        connection.reports.stop_accounting()
        self.accounting.tell_put_off()
        finish_closing(connection)
        self.report = self.accounting.report()
        self._log_what_was_given_up(self.report)
        if family is None or family.ends_with(self):
            self._tell_closed(family)

    def _tell_closed(self, family: Family | None) -> None:
        """Emit that the producer is closed, with its final figures."""
        emitter = self._connection.emitter
        if emitter.listens("producer.closed"):
            stats = None if family is None else family.stats()
            took_ms = (clock.system_now() - self._started) * 1000
            emitter.emit("producer.closed", {"stats": stats}, duration_ms=took_ms)

    def _log_what_was_given_up(self, report: DrainReport) -> None:
        """Log one line for all, if no subscriber is told of each message."""
        emitter = self._connection.emitter
        logged = self._connection.reports.exiting or emitter.listens("error.occurred")
        if report.undelivered and not logged:
            error = ProduceError(
                "given up by the close of the producer, at its bound (purge_queue)",
                code="purge_queue",
            )
            about = {"messages": report.undelivered}
            LOG.error(emitter, "librdkafka.dispatch_error", error, about)

    def _contained(self, step: Callable[[], object]) -> bool:
        """Whether `step` did not raise. What a foreign client raises is told of, and
        the close goes on."""
        try:
            step()
        except BaseException as error:
            if from_signal_handler(error):
                raise
            self._connection.emitter.error("producer.disconnect.error", error)
            return False
        return True

    def _flush(self, client: Client) -> None:
        # What is left is purged afterwards, and serving its reports takes time.
        reserve = max(0.0, min(FREE, client.in_flight()) * GIVEN_UP - GRACE)

        def over() -> bool:
            late = clock.system_now() >= self.deadline - reserve
            return late or _nothing_left(client)

        push = self._connection.factory.lingers
        until = self.deadline - reserve
        deliver = partial(flush.wait_until, client, over, until, push=push)
        while not (self._contained(deliver) or over()):
            sleep(flush.PAUSE)

    def _give_up_the_rest(self, client: Client) -> None:
        if _nothing_left(client):
            return
        left = client.in_flight()
        grace = GRACE + max(0, left - FREE) * PER_MESSAGE
        deadline = max(self.deadline, clock.system_now()) + grace
        self.over_by = deadline + GRACE + left * SLOWEST
        self.accounting.lost += give_up(client, deadline)
        waiting.wait_serving(client, lambda: _nothing_left(client), deadline, idle=0.01)

    def _destroy(self, client: Client) -> None:
        connection, teardown = self._connection, self._teardown
        if teardown is None:
            teardown = teardown_of(connection, client, "close", self._batch())
            self._teardown = teardown
            connection.ledger.closed(client, "close", teardown.release)
            try:
                connection.emitter.emit("producer.disconnecting", {"reason": "close"})
            finally:
                self._begin(teardown)
        teardown.wait(max(0.0, self.deadline - clock.system_now()) + GRACE)
        self.client = None

    def _batch(self) -> TeardownBatch:
        """At the exit, nothing is measured that is not heard: closing 50 producers
        would take 0.5 s longer."""
        connection = self._connection
        heard = connection.emitter.listens("producer.disconnected")
        exiting = connection.reports.exiting
        return batch_of(connection.runtime, 1, measure=heard or not exiting)

    def _begin(self, teardown: Teardown) -> None:
        client, workers = teardown.client, self._connection.runtime.workers
        if client.pins:
            # A block of `native()` lasts beyond the bound. The client must not be
            # destroyed before its end.
            client.pins.on_last(lambda: workers.submit(teardown.run))
        else:
            teardown.begin()


def _nothing_left(client: Client) -> bool:
    return client.is_settled and not (
        client.borrows or client.pins or client.users_in_flight()
    )
