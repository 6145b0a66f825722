"""Giving up what was not delivered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waterdrop_py._engine.client import waiting
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.connection import borrowing
from waterdrop_py._engine.connection.connection import NO_LIFE
from waterdrop_py._engine.reports.giving_up import GIVE_UP

if TYPE_CHECKING:
    from waterdrop_py._engine.assembly import Parts
    from waterdrop_py.typing import KafkaClient


def purge(parts: Parts) -> None:
    """Empty the buffer, cancel librdkafka's queue, and serve the reports of it."""
    started = clock.system_now()
    slot = parts.slot
    slot.refuse_closed()
    parts.buffer.take()
    life = slot.life
    if life is not NO_LIFE and life.in_flight():
        borrowing.use(slot, _purge, None)
        if not life.held_here():
            # Not longer: other threads go on sending on a client that lives on.
            until = clock.system_now() + GIVE_UP
            waiting.wait_turn(life, lambda: not life.in_flight(), until)
    took_ms = (clock.system_now() - started) * 1000
    parts.emitter.emit("buffer.purged", duration_ms=took_ms)
    slot.look_again()


def _purge(client: KafkaClient) -> None:
    client.purge()
