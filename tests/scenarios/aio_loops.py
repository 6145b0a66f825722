"""What tests of asyncio in whole processes share: kinds of loops, and a run on one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import pytest

from tests.scenarios.harness import Outcome, run_scenario

if TYPE_CHECKING:
    from tests.scenarios.conftest import Arrived

EAGER = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="eager tasks are of Python 3.12"
)
LOOPS: Final = ["uvloop", pytest.param("eager", marks=EAGER), "debug"]
"""What `aio_kit.loops` has."""


def run_kind(
    program: str, kind: str, python: str, servers: str, topic: str, arrived: Arrived
) -> Outcome:
    """Run `program` in Python's development mode. What was accepted arrives once, what
    was cancelled once at most, and nothing is printed."""
    # 3.12: of threads at a fork
    flags = ("-X", "dev", "-W", "ignore::DeprecationWarning")
    outcome = run_scenario(
        program, servers, topic, kind, python=python, flags=flags, timeout=60
    )

    outcome.assert_clean()
    assert outcome.err == "", str(outcome)
    came = arrived("m-")
    assert set(came.values()) == {1}
    assert len(came) == sum(outcome.all("accepted"))
    assert set(arrived("c-").values()) <= {1}
    return outcome
