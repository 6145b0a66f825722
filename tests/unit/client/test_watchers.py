"""Callbacks and wake-ups of handles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.concurrency.still import sent
from waterdrop_py._engine.client import watchers

if TYPE_CHECKING:
    from waterdrop_py.delivery import DeliveryHandle


def test_called_once_in_order() -> None:
    """Callbacks run when the outcome is there, in the order of their adding."""
    handle, producer = sent()
    heard: list[int] = []
    for number in range(3):
        handle.add_done_callback(lambda _, n=number: heard.append(n))  # type: ignore[misc]
    assert heard == []
    producer.connection.client.serve(0.0)
    assert heard == [0, 1, 2]
    watchers.notify(producer.connection.client, handle)
    assert heard == [0, 1, 2]
    assert handle not in watchers.WATCHED


def test_called_at_once_when_done() -> None:
    """Where the outcome is known, adding a callback calls it."""
    handle, producer = sent()
    producer.connection.client.serve(0.0)
    heard: list[DeliveryHandle] = []
    handle.add_done_callback(heard.append)
    assert heard == [handle]
    assert handle not in watchers.WATCHED


def test_unwake() -> None:
    """Removes that wake-up and no other; removing an unknown one does nothing."""
    handle, producer = sent()
    first: list[DeliveryHandle] = []
    second: list[DeliveryHandle] = []
    keep, forget = first.append, second.append
    watchers.remove_wakeup(handle, forget)
    watchers.add_wakeup(producer.connection.client, handle, keep)
    watchers.add_wakeup(producer.connection.client, handle, forget)
    watchers.remove_wakeup(handle, forget)
    producer.connection.client.serve(0.0)
    assert (first, second) == ([handle], [])


def test_the_last_wake_up_takes_the_entry_along() -> None:
    """A woken thread leaves nothing behind, even before the waking ends."""
    handle, producer = sent()
    left: list[bool] = []

    def wake(woken: DeliveryHandle) -> None:
        watchers.remove_wakeup(woken, wake)
        left.append(woken in watchers.WATCHED)

    watchers.add_wakeup(producer.connection.client, handle, wake)
    producer.connection.client.serve(0.0)
    assert left == [False]


def test_two_watchers_around_the_report() -> None:
    """Neither removes the other's callback, nor calls it twice."""
    handle, producer = sent()
    heard: list[str] = []

    class Late(list[object]):
        """The first watcher's entry; meanwhile: the report, and a second watcher."""

        def append(self, item: object) -> None:
            producer.connection.client.serve(0.0)
            handle.add_done_callback(lambda _: heard.append("second"))
            super().append(item)

    watchers.WATCHED[handle] = ([], Late())  # type: ignore[assignment]
    handle.add_done_callback(lambda _: heard.append("first"))
    assert heard == ["second", "first"]


def test_a_wake_up_is_called_at_once_when_done() -> None:
    """The report came before it was added, and no later one calls it."""
    handle, producer = sent()
    producer.connection.client.serve(0.0)
    woken: list[DeliveryHandle] = []
    watchers.add_wakeup(producer.connection.client, handle, woken.append)
    assert woken == [handle]
    assert handle not in watchers.WATCHED
