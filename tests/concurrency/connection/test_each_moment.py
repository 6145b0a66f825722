"""A signal handler raises at each moment of what opens and closes clients."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.concurrency.support import connection_of
from tests.doubles import eventually
from tests.moments import each_moment, interrupt
from waterdrop_py import Message, Producer
from waterdrop_py._engine.connection import teardown
from waterdrop_py._engine.connection.disconnecting import disconnect
from waterdrop_py.errors import DeliveryTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.concurrency.support import Make
    from tests.doubles import Bench

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


SENDS: dict[str, Callable[[Producer], object]] = {
    "sync": lambda producer: producer.produce_sync("t", b"x", timeout=5),
    "async": lambda producer: producer.produce_async("t", b"x"),
    "many": lambda producer: producer.produce_many_sync([Message("t", b"x")] * 3),
}


@pytest.mark.parametrize("room", ["produce/", "client/"])
@pytest.mark.parametrize("send", SENDS.values(), ids=SENDS)
@pytest.mark.parametrize("busy", [False, True])
def test_a_send(
    bench: Bench,
    make: Make,
    room: str,
    send: Callable[[Producer], object],
    *,
    busy: bool,
) -> None:
    """Wherever it interrupts a send, no message is counted that is not there: the
    client would never be idle."""
    for moments in each_moment(f"_engine/{room}", interrupt):
        producer = make.quiet()
        producer.produce_sync("t", b"first", timeout=5)
        bench.auto = not busy
        if busy:
            producer.produce_async("t", b"before")
        with suppress(KeyboardInterrupt, DeliveryTimeoutError), moments:
            bench.auto = True
            send(producer)
        for client in bench.open_clients:
            client.ack()
        eventually(lambda: producer.stats().in_flight == 0, f"moment {moments.count}")  # noqa: B023
        sends_and_closes(producer)
        producer.close(5)
