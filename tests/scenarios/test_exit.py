"""What happens to messages when the process ends without a close."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.scenarios.harness import run_scenario

if TYPE_CHECKING:
    from tests.scenarios.conftest import Arrived

WAYS = {
    "return": 0,
    "sys.exit": 3,
    "sigterm-exit": 3,
    "sigterm-close": 0,
    "atexit-close": 0,
    "daemon": 0,
    "thread": 0,
}


@pytest.mark.parametrize("way", WAYS)
def test_what_was_accepted_is_delivered(
    way: str, python: str, servers: str, topic: str, arrived: Arrived
) -> None:
    """However a program ends by itself, what was accepted is delivered, once, by then;
    with daemon threads that go on sending too. Nothing is written to stderr."""
    outcome = run_scenario("exit_ways.py", servers, topic, way, python=python)

    outcome.assert_clean(WAYS[way])
    assert outcome.err == ""
    came = arrived("m-")
    accepted = outcome.one("accepted")
    assert set(came.values()) == {1}
    # A daemon thread may be stopped for good between the send and its note.
    assert accepted <= len(came) <= accepted + (way == "daemon")
    assert accepted >= 100
    if way.startswith("sigterm") or way == "atexit-close":
        assert outcome.one("handler") is True


def test_exception_of_the_program(
    python: str, servers: str, topic: str, arrived: Arrived
) -> None:
    """A program that ends with an exception delivers too, and shows that one only."""
    outcome = run_scenario("exit_ways.py", servers, topic, "exception", python=python)

    assert outcome.code == 1, str(outcome)
    assert outcome.err.count("Traceback") == 1, str(outcome)
    assert outcome.err.rstrip().endswith("LookupError: the user's own")
    assert len(arrived("m-")) == outcome.one("accepted") == 1_000


def test_dropped_producer_warns_and_delivers(
    python: str, servers: str, topic: str, arrived: Arrived
) -> None:
    """A producer that is collected without a close warns, with the number of its
    messages, and delivers them all the same."""
    flags = ("-W", "always")
    outcome = run_scenario(
        "exit_ways.py", servers, topic, "dropped", python=python, flags=flags
    )

    outcome.assert_clean()
    assert outcome.err.count("ResourceWarning") == 1, str(outcome)
    assert "dropped without close()" in outcome.err
    came = arrived("m-")
    assert len(came) == outcome.one("accepted") == 1_000
    assert set(came.values()) == {1}


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_children_deliver(
    method: str, python: str, servers: str, topic: str, arrived: Arrived
) -> None:
    """A child of multiprocessing delivers before it ends, what its threads still send
    included, although such a child runs no atexit handlers."""
    outcome = run_scenario("exit_children.py", servers, topic, method, python=python)

    outcome.assert_clean()
    assert outcome.one("codes") == [0, 7]
    came = arrived("child")
    assert set(came.values()) == {1}
    assert len(came) == 800


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("kind", ["process", "pool", "futures"])
def test_a_child_with_an_idle_executor(
    kind: str, method: str, python: str, servers: str, topic: str, arrived: Arrived
) -> None:
    """Idle threads of an executor keep no child of multiprocessing from ending. What
    busy ones still send is delivered; so is what the workers of a pool have sent."""
    outcome = run_scenario(
        "exit_children_idle.py", servers, topic, kind, method, python=python
    )

    outcome.assert_clean()
    assert outcome.one("codes") == [0, 0]
    assert outcome.one("took") < 8
    came = arrived("child-")
    assert set(came.values()) == {1}
    assert len(came) == 6


def test_billiard_children_deliver(servers: str, topic: str, arrived: Arrived) -> None:
    """A child of billiard, which Celery's processes are, delivers when it ends. It
    waits for none of its threads, and the library does not make it."""
    outcome = run_scenario("exit_children_idle.py", servers, topic, "billiard", "fork")

    outcome.assert_clean()
    assert outcome.one("codes") == [0, 0]
    came = arrived("child-")
    assert set(came.values()) == {1}
    assert {"child-idles-first", "child-works-first"} <= came.keys()


@pytest.mark.timed
def test_broker_down_at_exit(python: str, dead: str) -> None:
    """With every broker down the process ends within `close_timeout`, and says what
    was not delivered: a warning with the number, an error for each message."""
    flags = ("-W", "always")
    started = time.monotonic()
    outcome = run_scenario("exit_dead.py", dead, "topic", python=python, flags=flags)

    outcome.assert_clean()
    assert 0.9 < started + outcome.took - outcome.one("ending") < 2.5
    assert "30 messages" in outcome.err
    assert outcome.err.count("ResourceWarning") == 1
    assert len(outcome.all("code")) == 30
    assert set(outcome.all("code")) <= {"purge_queue", "purge_inflight"}


def test_a_topic_that_shrank_at_the_exit(python: str, servers: str, topic: str) -> None:
    """Messages whose partition is gone are delivered by an exit handler too, where from
    Python 3.12 on no thread starts: the cluster is asked outside of the poll."""
    outcome = run_scenario(
        "exit_shrunk.py", servers, topic, python=python, timeout=30
    ).assert_clean()

    assert outcome.one("delivered") == 40
    assert outcome.one("failed") == 0
    assert outcome.one("asked") in {2, 3}  # each client is asked for its brokers too
