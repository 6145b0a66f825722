"""`purge()`: give up the buffer, and what librdkafka has not delivered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.client import waiting
from waterdrop_py._engine.concurrency import clock, wakeup
from waterdrop_py._engine.connection import borrowing
from waterdrop_py._engine.connection.connection import NO_CLIENT
from waterdrop_py._engine.produce.buffer import drop
from waterdrop_py._engine.reports.giving_up import GIVE_UP

if TYPE_CHECKING:
    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py._engine.produce.buffer import Buffer
    from waterdrop_py.typing import KafkaClient

BROKER_THREADS: Final = 0.02
"""Seconds until librdkafka's threads, one for each broker, have purged too.

`Producer.purge` only asks them, and a thread also purges what it is given before it
looks: without this wait, 3 of 150 messages that were sent right after a purge, on a
busy machine, were purged as well (after 5 ms, none of 300). It does so for its default
`blocking=True`; with False it waits for the threads (confluent-kafka 2.16 has the two
the wrong way round). But then it holds the GIL, and a thread that resolves a name
stops the process for as long as that takes.
"""


def purge(connection: Connection, buffer: Buffer) -> None:
    """Empty the buffer, cancel librdkafka's queue, and serve the reports of that.

    Blocks for `GIVE_UP` and `BROKER_THREADS` seconds at most. Opens nothing.
    """
    started = clock.system_now()
    connection.refuse_closed()
    drop(buffer.take())
    client = connection.client
    if client is not NO_CLIENT and client.in_flight():
        borrowing.borrow(connection, _purge, None)
        if not client.served_here:
            # Bounded, because other threads may go on sending.
            until = clock.system_now() + GIVE_UP
            waiting.wait_serving(client, lambda: client.is_settled, until)
            wakeup.sleep(BROKER_THREADS)
    took_ms = (clock.system_now() - started) * 1000
    connection.emitter.emit("buffer.purged", duration_ms=took_ms)
    connection.reschedule()


def _purge(client: KafkaClient) -> None:
    client.purge()
