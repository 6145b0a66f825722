"""`close` ends within its bound and accounts for every message, whatever happens."""

from __future__ import annotations

import pytest

from tests.scenarios.harness import run_scenario


@pytest.mark.timed
@pytest.mark.parametrize("count", [20_000, 100_000])
def test_every_broker_down(dead: str, count: int) -> None:
    """Messages that no broker takes: given up within timeout + 0.5 s, each in the
    report, in order, and every handle resolved. 100 000 are a second of work, for
    which a machine that is busy with something else needs longer: that work counts."""
    outcome = run_scenario("close_bounded.py", dead, "topic", "down", count, 1)

    outcome.assert_clean()
    took = outcome.one("took")
    if count == 100_000:
        took = min(took, outcome.one("worked") + 0.3)
    assert took < 1.5
    assert outcome.one("undelivered") == outcome.one("total") == count
    assert outcome.one("ordered")
    assert outcome.one("resolved")
    assert outcome.one("complete")
    assert outcome.one("status") == "closed"


@pytest.mark.timed
@pytest.mark.parametrize("timeout", [0, 0.5])
def test_flows_black_holed(timeout: float, servers: str, topic: str) -> None:
    """Connections that swallow everything: the same bound, the same account."""
    outcome = run_scenario(
        "close_bounded.py", servers, topic, "black-hole", 1_000, timeout
    ).assert_clean()

    assert outcome.one("took") < timeout + 0.5
    assert outcome.one("total") == 1_000
    assert outcome.one("ordered")
    assert outcome.one("resolved")
    assert outcome.one("complete")


@pytest.mark.timed
def test_force_gives_up_at_once(dead: str) -> None:
    """`force=True` waits for nothing, however long its timeout."""
    outcome = run_scenario("close_bounded.py", dead, "topic", "force", 1_000, 30)

    outcome.assert_clean()
    assert outcome.one("took") < 2
    assert outcome.one("undelivered") == outcome.one("total") == 1_000
    assert outcome.one("resolved")


@pytest.mark.timed
def test_native_close_that_hangs(servers: str, topic: str) -> None:
    """A client whose own close never returns is abandoned at the bound, which
    `error.occurred` says; it keeps neither the caller nor the process."""
    outcome = run_scenario("close_hangs.py", servers, topic).assert_clean()

    assert outcome.one("took") < 1.0
    assert outcome.one("kinds") == ["producer.close.abandoned"]
    assert outcome.one("complete")
    assert outcome.one("status") == "closed"
    assert outcome.took < 5


def test_client_that_stays_is_told_of(servers: str, topic: str) -> None:
    """When every client is closed and a librdkafka thread stays for 1 s,
    `error.occurred` says `producer.disconnect.incomplete`, with the figures."""
    outcome = run_scenario("close_nothing.py", servers, topic).assert_clean()

    assert outcome.one("disconnected") is True
    assert outcome.one("told") is True
    [[threads, sockets]] = outcome.one("found")
    assert threads > 0
    assert sockets > 0
