"""asyncio in processes of their own: kinds of loops, forks, and ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.scenarios.aio_loops import LOOPS, run_kind
from tests.scenarios.harness import run_scenario

if TYPE_CHECKING:
    from tests.scenarios.conftest import Arrived

KINDS = ["runs", "threads", *LOOPS, "anyio", "interrupted"]


@pytest.mark.parametrize("kind", KINDS)
def test_loops_of_every_kind(
    kind: str, python: str, servers: str, topic: str, arrived: Arrived
) -> None:
    """Every verb works: what was accepted arrives once, and nothing is printed, in
    Python's development mode."""
    outcome = run_kind("aio_kinds.py", kind, python, servers, topic, arrived)

    if kind == "interrupted":
        assert outcome.one("interrupted") is True


def test_a_loop_that_is_closed_under_waiting_tasks(
    python: str, servers: str, topic: str, arrived: Arrived
) -> None:
    """Deliveries go on, other loops do not notice, nothing is printed."""
    outcome = run_scenario(
        "aio_closed_loop.py", servers, topic, python=python, timeout=60
    )

    outcome.assert_clean()
    assert outcome.err == "", str(outcome)
    assert set(arrived("d-").values()) <= {1}
    came = arrived("m-")
    assert set(came.values()) == {1}
    assert len(came) == sum(outcome.all("accepted"))
    assert outcome.all("failed") == [0, 0]


@pytest.mark.parametrize("where", ["between", "inside"])
def test_a_fork(
    where: str, python: str, servers: str, topic: str, arrived: Arrived
) -> None:
    """The child runs loops of its own; the parent's tasks notice nothing."""
    flags = ("-W", "ignore::DeprecationWarning")  # 3.12: of threads at a fork
    outcome = run_scenario(
        "aio_fork.py", servers, topic, where, python=python, flags=flags, timeout=60
    )

    outcome.assert_clean()
    assert outcome.err == "", str(outcome)
    assert outcome.one("code") == 0
    assert outcome.one("child_opens") == 1
    assert len(arrived("child-")) == 40
    parents = arrived("parent-")
    assert set(parents.values()) == {1}
    assert len(parents) == (50 if where == "inside" else 100)


WAYS = {"return": 0, "sys.exit": 3, "waiting": 0}


@pytest.mark.parametrize("way", WAYS)
def test_what_was_sent_is_delivered_at_the_exit(
    way: str, python: str, servers: str, topic: str, arrived: Arrived
) -> None:
    """Although no loop runs any more, and silently. What waited was cancelled with its
    task: it is sent once or never."""
    outcome = run_scenario("aio_exit.py", servers, topic, way, python=python)

    outcome.assert_clean(WAYS[way])
    assert outcome.err == "", str(outcome)
    came = arrived("m-")
    assert set(came.values()) == {1}
    sent = [each for each in came if not each.startswith("m-w-")]
    assert len(sent) == 1_000


def test_an_exception_of_the_program(
    python: str, servers: str, topic: str, arrived: Arrived
) -> None:
    """It is shown alone, and what was sent is delivered."""
    outcome = run_scenario("aio_exit.py", servers, topic, "exception", python=python)

    assert outcome.code == 1, str(outcome)
    assert outcome.err.count("Traceback") == 1, str(outcome)
    assert outcome.err.rstrip().endswith("LookupError: the user's own")
    assert len(arrived("m-")) == 1_000


def test_a_producer_that_is_dropped_with_undelivered_messages(
    python: str, servers: str, topic: str, arrived: Arrived
) -> None:
    """A `ResourceWarning`, and all are delivered."""
    outcome = run_scenario(
        "aio_exit.py", servers, topic, "dropped", python=python, flags=("-W", "always")
    )

    outcome.assert_clean()
    assert outcome.err.count("ResourceWarning") == 1, str(outcome)
    came = arrived("m-")
    assert len(came) == 1_000
    assert set(came.values()) == {1}


@pytest.mark.timed
def test_an_exit_with_every_broker_down(python: str, dead: str) -> None:
    """Within `close_timeout`, and it says what was not delivered."""
    outcome = run_scenario("aio_exit.py", dead, "topic", "return", "1s", python=python)

    outcome.assert_clean()
    assert outcome.took < 10
    assert "1000 messages" in outcome.err or "1 000 messages" in outcome.err


@pytest.mark.timed
def test_the_number_of_threads(
    python: str, servers: str, topic: str, arrived: Arrived
) -> None:
    """At most eight, whatever the number of producers and of tasks that wait; gone
    within 10 s, whether or not the producers stay open."""
    outcome = run_scenario("aio_threads.py", servers, topic, python=python, timeout=60)

    outcome.assert_clean()
    assert outcome.one("most") <= 8
    assert outcome.one("gone_open") < 10
    assert outcome.one("gone_closed") < 10
    assert outcome.one("left") == ["MainThread"]
    assert len(arrived("m-")) == outcome.one("accepted")
