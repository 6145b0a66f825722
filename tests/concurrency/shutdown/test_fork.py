"""What a fork waits for, and what it closes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.concurrency.support import connection_of
from tests.doubles import BOUND
from waterdrop_py._engine.concurrency.wakeup import sleep
from waterdrop_py._engine.connection import metadata_request
from waterdrop_py._engine.shutdown import fork as shutdown_fork
from waterdrop_py._engine.shutdown.fork import BUDGET, FORK

if TYPE_CHECKING:
    from tests.concurrency.support import Make
    from tests.doubles import Bench, Park


def fork() -> None:
    """What the hooks do in a parent."""
    FORK.before()
    FORK.after_in_parent()


def idle_asking(make: Make, park: Park) -> None:
    """A producer whose idle client the library itself asks for metadata."""
    producer = make(close_before_fork=0)
    producer.produce_sync("t", b"x")
    metadata_request.ask_in_background(connection_of(producer), "t")
    park.entered()


def test_a_fork_waits_for_a_request_of_the_librarys_own(
    bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client of such a request is idle: it is closed once there is an answer."""
    monkeypatch.setattr(shutdown_fork, "BUDGET", BOUND)
    with bench.park("list_topics") as park:

        def wait(seconds: float) -> None:
            """The answer comes while the fork waits."""
            park.go()
            sleep(seconds)

        monkeypatch.setattr(shutdown_fork, "sleep", wait)
        idle_asking(make, park)
        fork()
        assert not bench.open_clients


@pytest.mark.timed
def test_a_fork_waits_for_no_answer_for_ever(bench: Bench, make: Make) -> None:
    """A broker that does not answer costs a fork its budget, and the client stays."""
    with bench.park("list_topics") as park:
        idle_asking(make, park)
        started = time.monotonic()
        fork()
        assert time.monotonic() - started < BUDGET + 1
        assert len(bench.open_clients) == 1
