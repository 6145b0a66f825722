"""Producers on a bench, and the bench's verdict after each test."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.concurrency.support import Make
from tests.doubles import Bench
from waterdrop_py.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def no_second_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting threads are woken; what they do without a wake-up comes too late here."""
    monkeypatch.setattr("waterdrop_py._engine.connection.lifecycle_lock._RECHECK", 60.0)
    monkeypatch.setattr("waterdrop_py._engine.client.waiting._RECHECK", 60.0)


@pytest.fixture
def time_() -> Iterator[FakeClock]:
    """Idleness passes when the test says so."""
    with FakeClock() as clock:
        yield clock


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A bench on which nothing happened that never should."""
    bench = Bench()
    yield bench
    assert not bench.violations
    assert not bench.open_clients


@pytest.fixture
def make(bench: Bench) -> Iterator[Make]:
    """Producers on the bench, closed after the test."""
    with ExitStack() as stack:
        yield Make(bench, stack)
        bench.auto = True
        for client in bench.open_clients:
            client.ack()
