"""What a producer says of itself while another thread judges its client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.concurrency.support import IDLE, HookedMarks, connection_of
from waterdrop_py import Status
from waterdrop_py._engine.connection.connection import NO_CLIENT
from waterdrop_py.errors import StatisticsNotEnabledError

if TYPE_CHECKING:
    from tests.concurrency.support import Make
    from tests.doubles import Bench


class Lost:
    """A fatal error of librdkafka's."""

    def name(self) -> str:
        """Its name."""
        return "_FATAL"

    def str(self) -> str:
        """Its text."""
        return "lost"

    def fatal(self) -> bool:
        """It is."""
        return True

    def retriable(self) -> bool:
        """It is not."""
        return False


def test_a_client_that_is_judged_is_connected(bench: Bench, make: Make) -> None:
    """`disconnect()` detaches the client before it checks whether that is safe, and
    puts it back where it is not: at that instant it is open as before."""
    producer = make.quiet(idle_disconnect_timeout=int(IDLE * 1000))
    producer.produce_sync("t", b"x")
    connection = connection_of(producer)
    client = connection.client
    seen: list[Any] = []

    def look() -> None:
        if connection.client is not NO_CLIENT:  # a look before that instant
            client.borrows.after_look = look  # type: ignore[attr-defined]
            return
        idle = producer.explain_idle()
        seen.append(
            (
                producer.is_connected,
                producer.status,
                producer.idle_ms is not None,
                [reason.code for reason in idle.reasons],
                idle.due_in_ms is not None,
                producer.health().healthy,
            )
        )
        with pytest.raises(StatisticsNotEnabledError):
            producer.monitor.subscribe("statistics.emitted", print)

    client.borrows = HookedMarks(after_look=look)
    client.borrows.append(None)  # a send is in progress: the client is put back
    client.note_fatal(Lost())
    assert not producer.disconnect()
    assert connection.client is client
    client.borrows.pop()
    assert seen == [
        (True, Status.CONNECTED, True, ["call", "not_due"], True, False),
    ]
    client.fatal = None
    assert producer.disconnect()
    assert not bench.open_clients
    assert not producer.is_connected
    assert [reason.code for reason in producer.explain_idle().reasons] == [
        "not_connected"
    ]
