"""What uses the client looks again after its mark, also where it is not one message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.concurrency.support import HookedMarks, connection_of
from tests.doubles import Run
from waterdrop_py._engine.client.pins import Pin, Pins
from waterdrop_py._engine.connection.borrowing import borrow

if TYPE_CHECKING:
    from tests.concurrency.support import Make
    from tests.doubles import Bench
    from waterdrop_py import Producer


@pytest.fixture
def producer(make: Make) -> Producer:
    """One with an open client, which is idle."""
    producer = make.quiet()
    producer.produce_sync("t", b"first")
    return producer


def test_a_batch_between_the_look_and_the_close(
    bench: Bench, producer: Producer
) -> None:
    """A batch whose client is closed before its mark goes to the next client."""
    client = connection_of(producer).client

    def overtaken() -> None:
        assert producer.disconnect()
        client.quiet = False  # the disconnect need not be the last to settle

    client.quiet = False  # as between two sends of a busy producer
    client.borrows = HookedMarks(before_append=overtaken)
    [handle] = producer.produce_many_async([{"topic": "t", "payload": b"x"}])
    assert handle.result(5).offset == 0
    assert [len(native.taken) for native in bench.clients] == [1, 1]


def test_a_call_between_the_look_and_the_close(
    bench: Bench, producer: Producer
) -> None:
    """A call of the engine's whose client is detached before its mark gets the next
    one, also while the first one is not destroyed yet."""
    connection = connection_of(producer)
    with bench.park("close") as park:

        def overtaken() -> None:
            closing.append(Run(producer.disconnect))
            park.entered()

        closing: list[Run] = []
        connection.client.borrows = HookedMarks(before_append=overtaken)
        assert borrow(connection, lambda native: native, None) is bench.clients[1]
    assert closing[0].result()


def test_a_native_block_between_the_look_and_the_close(
    bench: Bench, producer: Producer
) -> None:
    """A block whose client is detached before its pin gets the next one, and leaves no
    pin on the first."""
    client = connection_of(producer).client
    with bench.park("close") as park:
        closing: list[Run] = []

        class Late(Pins):
            """Pins; the client is detached just before the first one."""

            def append(self, pin: Pin) -> None:
                if not closing:
                    closing.append(Run(producer.disconnect))
                    park.entered()
                super().append(pin)

        client.pins = Late()
        with producer.native() as native:
            found: object = native
            assert found is bench.clients[1]
            assert not client.pins
    assert closing[0].result()
