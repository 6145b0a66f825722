"""What the time of day has to do with a producer: nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.scenarios.harness import run_scenario

if TYPE_CHECKING:
    from tests.scenarios.conftest import Arrived


@pytest.mark.timed
def test_jumps_of_the_wall_clock_change_nothing(
    servers: str, topic: str, dead: str, arrived: Arrived
) -> None:
    """While it jumps to and fro by days, an idle client is closed when it is due and
    not before, and every wait ends at its bound."""
    outcome = run_scenario("wall_clock.py", servers, topic, dead).assert_clean()

    assert outcome.one("jumps") > 100, "there were jumps"
    assert all(0.39 < after < 2 for after in outcome.one("closed_after"))
    assert outcome.one("opens") == 3
    assert outcome.one("complete")
    assert outcome.all("error") == ["DeliveryTimeoutError", "DeliveryTimeoutError"]
    for wait in ("result_s", "produce_s", "flush_s"):
        assert 0.39 < outcome.one(wait) < 2, wait
    assert outcome.one("close_s") < 0.9
    assert arrived() == {"m0": 1, "m1": 1, "m2": 1}
