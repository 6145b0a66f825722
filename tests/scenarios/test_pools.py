"""Pools in whole processes: signals, forks, exits and greenlets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.scenarios.harness import run_scenario

if TYPE_CHECKING:
    from tests.scenarios.conftest import Arrived

SECONDS = 2


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("mode", ["with", "release", "transaction"])
def test_no_lease_is_lost_to_a_raising_handler(
    mode: str, seed: int, python: str
) -> None:
    """A timer's handler raises at any moment of thousands of leases: the pool is full
    again, and each request was counted once."""
    outcome = run_scenario(
        "pool_signals.py", "", "", mode, SECONDS, seed, timeout=40, python=python
    ).assert_clean()

    assert outcome.one("raised") > 50
    assert outcome.one("others") == []
    assert outcome.one("full"), str(outcome)
    assert outcome.one("left") == 0
    assert outcome.one("leased") == 0
    assert outcome.one("draining") == 0
    assert outcome.one("complete")
    assert outcome.one("close_s") < 4


@pytest.mark.parametrize("way", ["plain", "callable", "fixed"])
def test_a_pool_in_a_forked_child(way: str, python: str) -> None:
    """The forking thread's leases go on, and no other's; nothing waits. A callable is
    asked again, also after a reload that failed; fixed ids are warned of, once."""
    outcome = run_scenario("pool_fork.py", "", "", way, python=python).assert_clean()

    assert outcome.one("code") == 0
    assert outcome.all("leased") == [1]
    assert (outcome.one("waiting"), outcome.one("draining")) == (0, 0)
    assert outcome.one("granted") == 0
    assert (outcome.one("own"), outcome.one("others")) == (False, True)
    assert outcome.one("gives") is None
    assert outcome.one("refused")
    assert outcome.all("mine") == [way == "callable"] * 2
    assert outcome.one("warned") == (way == "fixed")
    assert outcome.one("available") == 3
    assert outcome.one("complete")
    assert outcome.one("parent") == 3
    assert outcome.one("parent_complete")


@pytest.mark.parametrize("where", ["closing", "succeeding"])
def test_a_fork_in_the_middle_of_a_reload(where: str, python: str) -> None:
    """The child's lease goes on. Its producer is counted and flushed, closed after the
    lease, and succeeded by one of the new configuration. No thread of the parent has
    to end it."""
    outcome = run_scenario("pool_fork_reload.py", "", "", where, python=python)

    outcome.assert_clean()
    assert outcome.one("code") == 0
    assert outcome.one("draining") == (1 if where == "closing" else 0)
    assert (outcome.one("flushed"), outcome.one("in_flight")) == (1, 1)
    assert outcome.one("linger") == 2
    assert outcome.one("closed")
    assert outcome.one("acknowledged") == 2
    assert outcome.one("complete")
    assert outcome.one("parent_complete")


@pytest.mark.parametrize("way", ["free", "leased", "retired"])
def test_the_end_of_a_process(
    way: str, python: str, servers: str, topic: str, arrived: Arrived
) -> None:
    """What was accepted is delivered, on lease or not; nothing waits for a lease, and
    nothing is printed."""
    outcome = run_scenario("pool_exit.py", servers, topic, way, python=python)

    outcome.assert_clean()
    assert outcome.err == ""
    assert outcome.one("leased") == (3 if way == "leased" else 0)
    came = arrived("m-")
    assert len(came) == 300
    assert set(came.values()) == {1}


def test_a_lease_that_is_left_at_the_exit(
    python: str, servers: str, topic: str, arrived: Arrived
) -> None:
    """It is left alone: no warning of it, also where every warning is shown."""
    flags = ("-W", "always")
    outcome = run_scenario(
        "pool_exit.py", servers, topic, "leased", python=python, flags=flags
    )

    outcome.assert_clean()
    assert "a lease of pool" not in outcome.err
    assert len(arrived("m-")) == 300


@pytest.mark.parametrize("order", ["before", "after"])
def test_greenlets_wait_for_leases(order: str) -> None:
    """In the order of their calls, while the hub runs. Each is an owner of its own, and
    one that is killed leaves nothing."""
    outcome = run_scenario("green_pool.py", "", "", order).assert_clean()

    assert outcome.one("order") == list(range(10))
    assert outcome.one("nested") == [False, True]
    assert outcome.one("available") == 1
    assert outcome.one("waiting") == 0
    assert outcome.one("others") == 1
