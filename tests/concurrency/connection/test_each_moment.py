"""A signal handler raises at each moment of what opens and closes clients."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.concurrency.support import connection_of
from tests.doubles import eventually
from tests.moments import each_moment, interrupt
from waterdrop_py._engine.connection import teardown
from waterdrop_py._engine.connection.disconnecting import disconnect

if TYPE_CHECKING:
    from tests.concurrency.support import Make
    from tests.doubles import Bench
    from waterdrop_py import Producer

CONNECTION = "_engine/connection/"
ROOMS = (CONNECTION, "_engine/concurrency/locks.py")


@pytest.fixture(autouse=True)
def looks_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a second otherwise."""
    monkeypatch.setattr(teardown, "RETRY", 0.0)


def sends_and_closes(producer: Producer) -> None:
    """It sends, its client can be closed, and it sends again."""
    producer.produce_sync("t", b"next", timeout=5)
    assert producer.is_connected
    # A close that was interrupted as it began is begun again by the next look.
    eventually(producer.disconnect)
    producer.produce_sync("t", b"again", timeout=5)


@pytest.mark.parametrize("room", ROOMS)
def test_an_open(bench: Bench, make: Make, room: str) -> None:
    """Wherever it interrupts an open, the next send has a client."""
    for moments in each_moment(room, interrupt):
        producer = make.quiet()
        with suppress(KeyboardInterrupt), moments:
            producer.produce_sync("t", b"x", timeout=5)
        sends_and_closes(producer)
        producer.close(5)
    assert len(bench.clients) > 10


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("refused", [False, True])
def test_a_disconnect(bench: Bench, make: Make, room: str, *, refused: bool) -> None:
    """Wherever it interrupts a disconnect, the next send has a client."""
    for moments in each_moment(room, interrupt):
        producer = make.quiet()
        producer.produce_sync("t", b"x", timeout=5)
        connection = connection_of(producer)
        client = connection.client
        if refused:
            client.borrows.append(None)
        with suppress(KeyboardInterrupt), moments:
            disconnect(connection, "requested")
        if refused:
            client.borrows.pop()
            assert connection.client is client
        sends_and_closes(producer)
        producer.close(5)
    assert len(bench.clients) > 10
