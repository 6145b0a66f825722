"""Producers under gevent, whose monkey patching comes before the import or after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.scenarios.harness import run_scenario

if TYPE_CHECKING:
    from tests.scenarios.conftest import Arrived
    from waterdrop_py.testing import EmbeddedCluster

ROUND_TRIP_MS = 50
LAG_MS = 100.0
"""How late the hub may be, for 99 of 100 beats, on a busy machine: a native poll stops
it for 150 ms, a transaction's command for 500. On an idle one it is below 20."""
ORDERS = pytest.mark.parametrize("order", ["before", "after"])


@pytest.mark.timed
@ORDERS
def test_what_waits_lets_the_hub_run(
    order: str, cluster: EmbeddedCluster, servers: str, topic: str
) -> None:
    """100 greenlets with five sync sends each take five round trips, and not 500; no
    verb stops the hub while it waits."""
    cluster.set_rtt(ROUND_TRIP_MS)
    outcome = run_scenario("green_waits.py", servers, topic, order).assert_clean()

    told: dict[str, Any] = {
        fact["what"]: fact for fact in outcome.facts if "what" in fact
    }
    assert told["sync"]["took"] < 1.0, str(outcome)
    assert told["result"]["took"] < 0.5, str(outcome)
    assert told["flush"]["took"] < 0.5, str(outcome)
    assert told["linger"]["took"] < 0.5, str(outcome)
    late = {what: fact["p99"] for what, fact in told.items() if fact["p99"] > LAG_MS}
    assert not late, str(outcome)
    assert outcome.one("healthy")
    assert outcome.all("left") == [0, 0]
    assert outcome.one("disconnected")
    assert outcome.all("complete") == [True] * 4


@ORDERS
def test_each_greenlet_has_its_own_transaction(
    order: str, servers: str, topic: str, arrived: Arrived
) -> None:
    """Greenlets take turns; a spawned one is inside the block that spawned it."""
    outcome = run_scenario("green_contexts.py", servers, topic, order).assert_clean()

    assert outcome.one("most") == 1
    assert outcome.one("inside") == [False] * 6
    assert outcome.one("here")
    assert outcome.one("complete")
    assert {f"sync-{number}" for number in (0, 2, 4)} <= arrived("sync").keys()


@pytest.mark.timed
@ORDERS
def test_a_wait_that_is_given_up(
    order: str, cluster: EmbeddedCluster, dead: str, topic: str
) -> None:
    """`gevent.Timeout` and `kill` end every wait at once, and no greenlet stays."""
    outcome = run_scenario(
        "green_interrupted.py", dead, topic, order, "give_up"
    ).assert_clean()

    assert len(outcome.all("timed_out")) == len(outcome.all("killed")) == 4
    assert all(outcome.all("dead"))
    assert max(outcome.all("took")) < 1.0, str(outcome)


@pytest.mark.timed
@ORDERS
def test_a_timeout_inside_a_subscriber(order: str, servers: str, topic: str) -> None:
    """It comes out of the verb, and is no error of the subscriber's."""
    outcome = run_scenario(
        "green_interrupted.py", servers, topic, order, "give_up_in_subscriber"
    ).assert_clean()

    assert outcome.one("took") < 1.0, str(outcome)
    assert outcome.one("dead")
    assert outcome.one("errors") == 0
    assert outcome.one("closed")


def test_a_transaction_that_is_killed(
    cluster: EmbeddedCluster, servers: str, topic: str
) -> None:
    """Whenever a greenlet is killed, the next transaction commits."""
    cluster.set_rtt(ROUND_TRIP_MS)
    outcome = run_scenario(
        "green_interrupted.py", servers, topic, "before", "kill_transaction"
    ).assert_clean()

    assert all(outcome.all("dead"))
    assert not any(outcome.all("inside"))
    assert outcome.one("closed")


@ORDERS
def test_a_signal_handler_that_raises(order: str, servers: str, topic: str) -> None:
    """It comes out of the greenlet that it interrupted; every report arrives. gevent
    prints those that interrupt its hub."""
    outcome = run_scenario("green_interrupted.py", servers, topic, order, "alarm")

    assert outcome.code == 0, str(outcome)
    assert outcome.one("raised") > 0, str(outcome)
    assert 0 < outcome.one("came") <= outcome.one("raised"), str(outcome)
    assert outcome.one("errors") == 0  # none is taken for a subscriber's
    assert outcome.one("closed")
    assert outcome.one("in_flight") == 0


@pytest.mark.timed
def test_a_signal_handler_in_place_of_a_timer(servers: str, topic: str) -> None:
    """A greenlet that waits for its time alone is resumed all the same."""
    outcome = run_scenario(
        "green_interrupted.py", servers, topic, "before", "interrupt_timer"
    )

    assert outcome.code == 0, str(outcome)
    assert outcome.one("raised") == 1
    assert 0.1 <= outcome.one("took") < 2.0, str(outcome)


@ORDERS
def test_a_sigterm_handler_that_closes(order: str, servers: str, topic: str) -> None:
    """It closes fully, also where it runs on top of the hub, which then stands still
    with all greenlets."""
    outcome = run_scenario(
        "green_interrupted.py", servers, topic, order, "terminate"
    ).assert_clean()
    assert outcome.one("closed")
    assert outcome.one("acknowledged") == 12

    outcome = run_scenario(
        "green_interrupted.py", servers, topic, order, "terminate_in_hub"
    ).assert_clean()
    assert outcome.one("said") == [True, True, True, True]
    assert outcome.one("acknowledged") == 3


@ORDERS
@pytest.mark.parametrize("way", ["plain", "early", "thread", "pool", "fork"])
def test_the_end_of_a_process(
    way: str, order: str, servers: str, topic: str, arrived: Arrived
) -> None:
    """What was accepted is delivered once, at the end and in a forked child."""
    outcome = run_scenario("green_exit.py", servers, topic, order, way)

    assert outcome.code == 0, str(outcome)
    assert "Traceback" not in outcome.err.replace("SystemExit", ""), str(outcome)
    assert arrived("m-") == {f"m-{number}": 1 for number in range(100)}, str(outcome)
    if way == "fork":
        # The fork waits until a client has settled, by when the report may be there.
        assert outcome.one("inherited") in {"forked", "resolved"}
        assert outcome.one("child") == 7


@ORDERS
def test_users_code_runs_in_greenlets_of_the_hub(
    order: str, servers: str, topic: str
) -> None:
    """It may yield, and use sockets and queues that belong to the hub. While a signal
    handler waits on top of the hub, a library thread runs it."""
    outcome = run_scenario("green_users_code.py", servers, topic, order).assert_clean()

    names = ("one", "two", "child")
    assert outcome.all("ran") == [[name, True, False] for name in names], str(outcome)
    assert outcome.one("slow")
    assert outcome.one("blocked") == [True, True, True]
    assert outcome.one("child") == 0
    assert outcome.all("twice") == [False, True]


@pytest.mark.timed
def test_library_threads_leave_no_hub(servers: str, topic: str) -> None:
    """They are no greenlets of a hub of their own; one that user code has made there
    ends with its thread, and with it what it holds."""
    outcome = run_scenario("green_hubs.py", servers, topic, "before").assert_clean()

    assert outcome.all("hubs") == [1, 1, 1], str(outcome)
    assert outcome.one("made"), str(outcome)
    assert outcome.one("took") < 0.09, str(outcome)  # it waits for its threads
