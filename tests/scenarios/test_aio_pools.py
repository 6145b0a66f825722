"""Pools for tasks in whole processes: loops of every kind, and a fork."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.scenarios.aio_loops import LOOPS, run_kind

if TYPE_CHECKING:
    from tests.scenarios.conftest import Arrived

KINDS = ["runs", "threads", *LOOPS, "anyio", "closed", "fork"]


@pytest.mark.parametrize("kind", KINDS)
def test_loops_of_every_kind(
    kind: str, python: str, servers: str, topic: str, arrived: Arrived
) -> None:
    """No producer has two callers, what was accepted arrives once, what was cancelled
    once at most, and nothing is printed, in Python's development mode."""
    outcome = run_kind("aio_pools.py", kind, python, servers, topic, arrived)

    if kind == "closed":
        assert outcome.one("took") < 15
    if kind == "fork":
        assert outcome.one("code") == 0
        assert (outcome.one("leased"), outcome.one("waiting")) == (2, 0)
        assert (outcome.one("own"), outcome.one("other")) == (False, True)
        assert outcome.one("left") == 0
