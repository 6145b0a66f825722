"""Calls that interrupt calls of the same producer."""

from __future__ import annotations

import pytest

from tests.scenarios.harness import run_scenario

SECONDS = 2


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("mode", ["signals", "finalizers"])
def test_calls_from_anywhere(mode: str, seed: int, servers: str, topic: str) -> None:
    """Thousands of signal handlers and finalizers that use the producer they
    interrupt: none hangs, none sees another error than `ReentrantCallError`, and
    what was sent is acknowledged."""
    outcome = run_scenario(
        "signals_random.py", servers, topic, mode, SECONDS, seed, timeout=40
    ).assert_clean()

    assert outcome.one("errors") == []
    assert outcome.one("signals") > 100
    assert outcome.one("settled")
    assert outcome.one("failed") == 0
    assert outcome.one("in_flight") == 0
    assert outcome.one("produced") == outcome.one("acknowledged")
    assert outcome.one("heard") == outcome.one("acknowledged")
    assert outcome.one("acknowledged") >= outcome.one("sent")
    assert outcome.one("complete")


@pytest.mark.timed
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_handler_that_raises(seed: int, servers: str, topic: str) -> None:
    """An exception out of a signal handler, at any moment, leaves nothing stuck: later
    calls work, the client can be disconnected, and `close` accounts for everything."""
    outcome = run_scenario(
        "signals_raising.py", servers, topic, SECONDS, seed, timeout=40
    ).assert_clean()

    assert outcome.one("raised") > 50
    assert outcome.one("replaced") == []
    assert outcome.one("slowest") < 1.5
    assert outcome.one("settled")
    assert outcome.one("left") == 0
    assert outcome.one("idle")
    assert outcome.one("disconnected"), outcome.one("reasons")
    assert outcome.one("complete")
    assert outcome.one("close_s") < 1


def test_no_report_is_lost_to_a_raising_handler(servers: str, topic: str) -> None:
    """A handler that raises while the main thread serves reports tears none of them.

    Without `no_signal_at_entry` about every fourth one costs a report.
    """
    outcome = run_scenario("torn_reports.py", servers, topic, timeout=40).assert_clean()

    assert outcome.one("raised") == 250
    assert outcome.one("failed") == 0
    assert outcome.one("in_flight") == 0


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("who", ["nobody", "subscribed"])
def test_no_done_callback_is_lost_to_a_raising_handler(
    who: str, seed: int, servers: str, topic: str
) -> None:
    """A handler that raises while the main thread waits costs no done callback, future
    or subscriber: each is called, once. Its exception comes out as itself."""
    outcome = run_scenario(
        "signals_callbacks.py", servers, topic, 500, seed, who, timeout=40
    ).assert_clean()

    assert outcome.one("raised") > 20
    assert outcome.one("replaced") == []
    assert outcome.one("settled")
    assert outcome.one("lost") == 0
    assert outcome.one("twice") == 0
    assert outcome.one("pending") == 0
    assert outcome.one("unheard") == 0
    assert outcome.one("in_flight") == 0
    assert outcome.one("complete")


@pytest.mark.parametrize("seed", [1, 2])
def test_no_await_hangs_behind_a_raising_handler(
    seed: int, servers: str, topic: str
) -> None:
    """Another thread's loop awaits handles whose reports the main thread serves, which
    is interrupted again and again: each await ends."""
    outcome = run_scenario(
        "signals_await.py", servers, topic, SECONDS, seed, timeout=60
    ).assert_clean()

    assert outcome.one("raised") > 50
    assert outcome.one("replaced") == []
    assert outcome.one("awaited") > 50
    assert outcome.one("hung") == 0
    assert outcome.one("ended")
    assert outcome.one("complete")


def test_a_handlers_exception_is_not_taken_for_a_bad_header(
    servers: str, topic: str
) -> None:
    """confluent-kafka answers a handler that raises while it converts a header's name
    with a TypeError of its own; the handler's exception comes out all the same."""
    outcome = run_scenario(
        "signals_headers.py", servers, topic, 1_000, 1, timeout=40
    ).assert_clean()

    assert outcome.one("raised") > 900
    assert outcome.one("others") == {}
    assert outcome.one("in_flight") == 0
    assert outcome.one("complete")


@pytest.mark.timed
@pytest.mark.parametrize("place", ["produce_sync", "flush", "result", "sleep"])
def test_close_in_a_sigterm_handler(place: str, dead: str) -> None:
    """A SIGTERM handler that closes while the main thread waits, in our code or
    elsewhere, returns within its bound; then the producer is closed and the handle
    resolved."""
    outcome = run_scenario("sigterm_close.py", dead, "topic", place).assert_clean()

    assert outcome.one("handler_s") < 1.5
    assert outcome.one("complete") is (place == "sleep")
    assert outcome.one("closed")
    assert outcome.one("resolved")
    if place in {"produce_sync", "result"}:
        assert outcome.one("code") in {"purge_queue", "purge_inflight"}
    if place != "sleep":
        assert outcome.one("waited_s") < 2.5


@pytest.mark.timed
@pytest.mark.parametrize(
    "place", ["produce_sync", "flush", "result", "connect", "close"]
)
def test_ctrl_c_ends_a_wait(place: str, dead: str) -> None:
    """Ctrl-C ends any blocking call within 1 s with every broker down, and the
    producer can be used and closed afterwards."""
    outcome = run_scenario("interrupt.py", dead, "topic", place).assert_clean()

    assert outcome.one("took") < 1
    if place != "close":
        assert outcome.one("usable") is True
        assert outcome.one("complete")
        assert outcome.one("undelivered") >= 1
        assert outcome.one("close_s") < 0.8
        assert outcome.one("resolved")


@pytest.mark.timed
@pytest.mark.parametrize("place", ["connect", "health", "partition_count", "produce"])
def test_ctrl_c_ends_a_wait_for_metadata(place: str) -> None:
    """At once, and not at the end of a native call; and the close that follows does not
    wait for that call, which nothing can stop."""
    outcome = run_scenario("interrupt_metadata.py", "", "", place).assert_clean()

    assert outcome.one("took") < 0.3
    assert outcome.one("close_s") < 1.5
    assert outcome.one("complete")
    assert outcome.one("produced") == 0


@pytest.mark.timed
def test_a_signal_handler_that_takes_longer_than_the_wait(
    dead: str, topic: str
) -> None:
    """The wait that it interrupted ends with it, however long it took."""
    outcome = run_scenario("signals_slow.py", dead, topic, timeout=20)

    took = outcome.assert_clean().one("took")
    assert len(took) == 6
    assert {name: s for name, s in took.items() if s > 0.1 + 0.6 + 0.5} == {}
