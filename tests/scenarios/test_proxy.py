"""The proxy in processes that fork, or that gevent has patched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.scenarios.harness import run_scenario

if TYPE_CHECKING:
    from waterdrop_py.testing import EmbeddedCluster

CLOSE_S = 1.0
LAG_S = 0.5


def test_a_fork_changes_nothing(cluster: EmbeddedCluster) -> None:
    """The child sends through it and cannot command it; close ends it all the same."""
    ran = run_scenario("proxy_in.py", cluster.bootstrap_servers, "", "forks")
    ran.assert_clean()
    assert (ran.one("child"), ran.one("delivered")) == (True, True)
    assert ran.one("refused") == "the proxy belongs to the process that started it"
    assert ran.one("close_s") < CLOSE_S
    assert (ran.one("end"), ran.one("listens")) == (True, False)


@pytest.mark.parametrize("mode", ["patched_before", "patched_after"])
def test_gevent_patches_do_not_reach_it(cluster: EmbeddedCluster, mode: str) -> None:
    """It serves a native call that stops the hub, and its commands do not stop it."""
    ran = run_scenario("proxy_in.py", cluster.bootstrap_servers, "", mode)
    ran.assert_clean()
    assert ran.one("delivered") is True
    assert ran.one("open") == [20]
    assert (ran.one("lost"), ran.one("closed")) == (20, 20)
    assert ran.one("lag") < LAG_S
