"""Pools for tasks in whole processes: loops of every kind, and a fork."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.scenarios.harness import run_scenario

if TYPE_CHECKING:
    from tests.scenarios.conftest import Arrived

EAGER = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="eager tasks are of Python 3.12"
)
KINDS = [
    "runs",
    "threads",
    "uvloop",
    pytest.param("eager", marks=EAGER),
    "debug",
    "anyio",
    "closed",
    "fork",
]


@pytest.mark.parametrize("kind", KINDS)
def test_loops_of_every_kind(
    kind: str, python: str, servers: str, topic: str, arrived: Arrived
) -> None:
    """No producer has two callers, what was accepted arrives once, what was cancelled
    once at most, and nothing is printed, in Python's development mode."""
    # 3.12: of threads at a fork
    flags = ("-X", "dev", "-W", "ignore::DeprecationWarning")
    outcome = run_scenario(
        "aio_pools.py", servers, topic, kind, python=python, flags=flags, timeout=60
    )

    outcome.assert_clean()
    assert outcome.err == "", str(outcome)
    came = arrived("m-")
    assert set(came.values()) == {1}
    assert len(came) == sum(outcome.all("accepted"))
    assert set(arrived("c-").values()) <= {1}
    if kind == "closed":
        assert outcome.one("took") < 15
    if kind == "fork":
        assert outcome.one("code") == 0
        assert (outcome.one("leased"), outcome.one("waiting")) == (2, 0)
        assert (outcome.one("own"), outcome.one("other")) == (False, True)
        assert outcome.one("left") == 0
