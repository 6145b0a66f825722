"""Forks in C: uWSGI's master forks so, and Python's hooks do not run in the child."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.scenarios.harness import Outcome, run_scenario

if TYPE_CHECKING:
    from tests.scenarios.conftest import Arrived

EXIT_S = 1.8
"""What would hold a child up lasts for a close_timeout, of 2 s here. How fast an end
is, test_fork measures."""

VERBS: dict[str, int] = {
    "sync": 1,
    "async": 1,
    "left": 1,
    "many": 1,
    "buffer": 1,
    "connect": 0,
    "native": 0,
    "flush": 0,
    "purge": 0,
    "figures": 0,
    "close": 0,
    "disconnect": 0,
    "handle": 0,
    "done": 0,
    "drop": 0,
    "threads": 8,
    "transactional": 2,
    "nothing": 0,
}
"""What the child does first, and how many messages it sends so."""

SAID: dict[str, dict[str, Any]] = {
    "flush": {"left": 0},
    "figures": {
        "stats": [0, 0, 0],
        "status": "configured",
        "connected": False,
        "idle": None,
        "why": ["not_connected"],
        "healthy": True,
    },
    "close": {"complete": True},
    "disconnect": {"disconnected": False},
    "native": {"topics": True},
    "handle": {"code": "forked", "done": True},
    "done": {"done": True},
    "transactional": {"warned": 1, "where": ["fork_unhooked.py"]},
}


@pytest.mark.parametrize("verb", VERBS)
def test_the_first_verb_notices(
    verb: str, python: str, servers: str, topic: str, arrived: Arrived
) -> None:
    """Whatever the child does first, it starts without the parent's client, buffer and
    messages; what it sends is there once, it ends at once, and the parent notices
    nothing."""
    outcome = run_scenario("fork_unhooked.py", servers, topic, verb, python=python)

    outcome.assert_clean()
    assert_apart(outcome)
    for name, value in SAID.get(verb, {}).items():
        assert outcome.one(name) == value, name
    came = arrived()
    assert set(came.values()) == {1}
    assert sum(name.startswith("child-") for name in came) == VERBS[verb]
    parents = {"parent-first", "parent-last"}
    if verb != "transactional":
        parents |= {"parent-second"}
    assert {name for name in came if name.startswith("parent-")} == parents


def assert_apart(outcome: Outcome) -> None:
    """Both have ended well: the child at once, the parent with its one client."""
    assert outcome.one("child_code") == 0
    assert outcome.one("gone") - outcome.one("leaving") < EXIT_S
    assert outcome.one("parent_opens") == 1
    assert outcome.one("parent_complete") is True
