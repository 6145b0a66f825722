"""A fork of which no hook has told."""

from __future__ import annotations

import threading
import warnings
from typing import TYPE_CHECKING

import pytest

from waterdrop_py import Producer
from waterdrop_py._engine.concurrency import unhooked_forks
from waterdrop_py.errors import TuningWarning
from waterdrop_py.testing import FakeClient

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def forks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """As in a child: the page is wiped. Who starts afresh is noted."""
    afresh: list[int] = []

    def start_afresh() -> None:
        afresh.append(threading.get_ident())
        if len(afresh) == 1:
            threading.Event().wait(0.05)  # the others come meanwhile
        unhooked_forks.stamp()

    monkeypatch.setattr(unhooked_forks, "_observers", [start_afresh])
    yield afresh
    unhooked_forks.stamp()


def test_one_thread_starts_afresh(forks: list[int]) -> None:
    """Threads that find out together wait for the one that does: what it opens is not
    the parent's. Afterwards nothing is done again."""
    unhooked_forks.stamped.clear()
    unhooked_forks.HOME[0] = 0
    threads = [threading.Thread(target=unhooked_forks.check) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    unhooked_forks.check()
    assert len(forks) == 1
    assert unhooked_forks.HOME[0] == 1


def test_without_a_page_that_is_wiped(
    forks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the kernel wipes none, the process id tells."""
    monkeypatch.setattr(unhooked_forks, "WIPED", False)
    unhooked_forks.check()
    assert forks == []
    unhooked_forks.stamped[:] = [1]
    unhooked_forks.check()
    assert len(forks) == 1


def test_a_child_with_its_parents_transactional_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first open in a process that did not make the producer warns, at the user's
    line; later ones do not, and neither does the parent, nor one without an id."""
    for transactional, told in (
        ({"transactional.id": "payments"}, 1),
        ({"acks": 1}, 0),
    ):
        producer = Producer(kafka=transactional, client_factory=FakeClient)
        producer.produce_sync("t", b"x")
        producer.disconnect()
        with warnings.catch_warnings(record=True) as caught, monkeypatch.context() as m:
            warnings.simplefilter("always")
            m.setattr("waterdrop_py._engine.client.factory.os.getpid", lambda: 1)
            for _ in range(2):
                producer.produce_sync("t", b"x")
                producer.disconnect()
        assert [each.category for each in caught] == [TuningWarning] * told
        assert all("'payments'" in str(each.message) for each in caught)
        assert all(each.filename == __file__ for each in caught)
        producer.close()
