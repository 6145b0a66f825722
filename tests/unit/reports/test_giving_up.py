"""Giving messages up whose reports do not come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.concurrency.still import sent
from waterdrop_py._engine.reports.giving_up import give_up_now, open_handles

if TYPE_CHECKING:
    from waterdrop_py.delivery import DeliveryHandle


def test_handles_of_one_client_are_given_up() -> None:
    """What watches them is called; handles of other clients stay open."""
    handle, producer = sent()
    other, second = sent()
    called: list[DeliveryHandle] = []
    for each in (handle, other):
        each.add_done_callback(called.append)
    client = producer.connection.client
    assert open_handles(client) == [handle]
    assert give_up_now(client) == [handle]
    assert (handle.done(), other.done()) == (True, False)
    assert called == [handle]
    second.connection.client.serve(0.0)
    assert called == [handle, other]
