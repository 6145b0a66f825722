"""What opening and closing leaves behind: nothing."""

from __future__ import annotations

import os

import pytest

from tests.scenarios.harness import run_scenario

CYCLES = int(os.environ.get("WATERDROP_CYCLES", "1000"))


@pytest.mark.long
def test_cycles_are_flat(servers: str, topic: str) -> None:
    """A thousand opens and closes: descriptors and threads stay. What C has allocated
    grows by less than 200 bytes a cycle, and Python's objects by less than 4 (the
    library remembers the last clients that it closed). Its own threads end within 10 s.
    """
    outcome = run_scenario(
        "cycles.py", servers, topic, CYCLES, timeout=60 + CYCLES / 50
    ).assert_clean()

    assert outcome.one("fds") <= 0
    assert outcome.one("threads")
    assert outcome.one("native") == 0
    assert outcome.one("slope") < 200
    assert outcome.one("objects") < 4
    assert outcome.one("gone"), outcome.one("left")


def test_failed_opens_leave_nothing(servers: str, topic: str) -> None:
    """A thousand opens that librdkafka refuses leave no descriptor and no thread, and
    a producer that is as before."""
    outcome = run_scenario("failed_opens.py", servers, topic, 1_000).assert_clean()

    assert outcome.one("failures") == 1_000
    assert outcome.one("fds") == 0
    assert outcome.one("threads") <= 0
    assert outcome.one("native") == 0
    assert outcome.one("opens") == 0
