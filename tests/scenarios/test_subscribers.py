"""What a subscriber does to its producer, and to others that never heard of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.scenarios.harness import run_scenario

if TYPE_CHECKING:
    from tests.scenarios.conftest import Arrived

CONDUCTS = ("raise", "sleep", "produce")
EVENTS = ("statistics.emitted", "producer.disconnected")


@pytest.mark.parametrize("conduct", CONDUCTS)
@pytest.mark.parametrize("event", EVENTS)
def test_subscriber_is_nobody_elses_business(
    event: str, conduct: str, servers: str, topic: str, arrived: Arrived
) -> None:
    """While a subscriber raises, sits there for five seconds or sends, the reports of
    other producers come and their idle clients are closed in time; its own producer
    goes on afterwards, and what it did is told of once."""
    outcome = run_scenario("subscribers.py", servers, topic, event, conduct)

    outcome.assert_clean()
    assert outcome.one("inside")
    assert outcome.one("reported")
    assert outcome.one("report_s") < 2
    assert outcome.one("closed")
    assert 0.3 < outcome.one("closed_s") < 2
    assert not outcome.one("left"), "a sleeping subscriber slept on all the while"
    assert outcome.one("again_s") < 2
    assert outcome.one("complete") == [True] * 3
    told = [each for each in outcome.one("errors") if each[1] != "poller.slow"]
    assert told == ([["odd", "subscriber.error"]] if conduct == "raise" else [])
    wanted = {"sender-warm", "sender", "idler", "odd-first", "odd-again"}
    wanted |= {"odd-subscriber"} if conduct == "produce" else set()
    assert arrived() == dict.fromkeys(wanted, 1)
