"""Wake-ups and inboxes. `test_reentrance` has waits with a slow signal handler."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from queue import Empty

import pytest

from tests.doubles import Run
from waterdrop_py._engine.concurrency.wakeup import Inbox, Wakeup


def test_a_ring_is_kept_for_who_comes_later() -> None:
    """One wait ends, however often it was woken."""
    wakeup = Wakeup()
    assert not wakeup.wait(0)
    wakeup()
    wakeup("anything")
    assert wakeup.wait(None)
    assert not wakeup.wait(0.001)
    wakeup()
    assert wakeup.wait(1e300)


def test_a_wait_that_is_over_before_it_begins() -> None:
    """A deadline may have passed meanwhile."""
    assert not Wakeup().wait(-1.0)
    with pytest.raises(Empty):
        Inbox[int]().get(-1.0)


def test_an_inbox_keeps_the_order() -> None:
    """Its length is the number of items."""
    inbox = Inbox[int]()
    for item in range(3):
        inbox.put(item)
    assert len(inbox) == 3
    assert [inbox.get(0) for _ in range(3)] == [0, 1, 2]
    assert not inbox
    with pytest.raises(Empty):
        inbox.get(0)


def test_a_ring_without_an_item_is_no_end_of_the_wait() -> None:
    """Another reader was faster: this one goes on waiting for a later item."""
    inbox = Inbox[str]()
    inbox.put("first")
    assert inbox.get(0) == "first"  # its wake-up is still there
    reader = Run(lambda: inbox.get(None))
    inbox.put("second")
    assert reader.result() == "second"


@pytest.mark.parametrize("where", ["after the item", "in the wake-up"])
def test_an_interrupted_put_wakes_the_reader(
    monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A signal handler that raises after the item is added leaves no reader asleep."""
    inbox = Inbox[str]()

    class Interrupted(deque[str]):
        """Adds, and then the handler raises."""

        def append(self, item: str) -> None:
            super().append(item)
            raise KeyboardInterrupt

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    if where == "after the item":
        inbox._items = Interrupted()  # noqa: SLF001 - a handler between two steps
    monkeypatch.setattr(Wakeup, "__call__", interrupted)
    with suppress(KeyboardInterrupt):
        inbox.put("there")
    assert inbox._wakeup.wait(0)  # noqa: SLF001
    assert inbox.get(0) == "there"


def test_two_items_wake_two_readers() -> None:
    """Two puts may wake once; the reader of the first item wakes the second reader."""
    inbox = Inbox[int]()
    inbox.put(1)
    inbox.put(2)
    wakeup = inbox._wakeup  # noqa: SLF001 - which reader is woken is the question
    wakeup.wait(0)  # the one wake-up, which the first reader has had
    assert inbox.get(0) == 1
    reader = Run(lambda: wakeup.wait(5) and inbox.get(0))
    assert reader.result() == 2
