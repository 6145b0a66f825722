"""`purge()`: give up the buffer, and what librdkafka has not delivered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waterdrop_py._engine.client import waiting
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.connection import borrowing
from waterdrop_py._engine.connection.connection import NO_CLIENT
from waterdrop_py._engine.produce.buffer import drop
from waterdrop_py._engine.reports.giving_up import GIVE_UP

if TYPE_CHECKING:
    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py._engine.produce.buffer import Buffer
    from waterdrop_py.typing import KafkaClient


def purge(connection: Connection, buffer: Buffer) -> None:
    """Empty the buffer, cancel librdkafka's queue, and serve the reports of that.

    Blocks for `GIVE_UP` seconds at most. Opens nothing.
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
    took_ms = (clock.system_now() - started) * 1000
    connection.emitter.emit("buffer.purged", duration_ms=took_ms)
    connection.reschedule()


def _purge(client: KafkaClient) -> None:
    client.purge()
