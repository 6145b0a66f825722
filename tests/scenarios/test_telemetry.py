"""What the listeners that count and trace tell across a fork, and at the exit."""

from __future__ import annotations

import pytest

from tests.scenarios.harness import run_scenario
from tests.unit.listeners.agent import Agent


def test_spans_of_the_parent_end_in_the_parent(dead: str, topic: str) -> None:
    """A forked child ends none of the spans that its parent has started. Each ends
    once, in its own process, and so does the child's."""
    outcome = run_scenario("fork_traced.py", dead, topic).assert_clean()

    assert outcome.one("child_code") == 0
    ended = outcome.all("ended")
    assert sorted(span for span, *_ in ended) == sorted(outcome.all("started"))
    by_parent = [kind for _, kind, in_parent in ended if in_parent]
    # The close tries the message that a step has refused once more.
    assert sorted(by_parent) == [*["LookupError"] * 2, *["purge_queue"] * 5]
    assert [kind for _, kind, in_parent in ended if not in_parent] == ["purge_queue"]


def test_what_parent_and_child_push_adds_up(servers: str, topic: str) -> None:
    """A forked child starts at zero: no message is told of by both."""
    agent = Agent()
    outcome = run_scenario("fork_datadog.py", servers, topic, agent.port).assert_clean()

    assert outcome.one("child_code") == 0
    mine = "producer:forked"
    assert agent.sum("produced", mine) == agent.sum("acknowledged", mine) == 30
    assert agent.sum("connected", mine) == 2
    assert agent.sum("disconnected", mine, "reason:close") == 2
    agent.close()


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_last_spans_and_figures_are_exported(
    servers: str, topic: str, when: str
) -> None:
    """What is delivered at the exit is told before the exporters are shut down."""
    outcome = run_scenario("exit_traced.py", servers, topic, when).assert_clean()

    assert outcome.one("spans") == {"started": 50, "ended": 50}
    assert outcome.all("sent")[-1] == 50
