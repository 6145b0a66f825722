"""What a fork does to a producer, in the parent and in the child."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.scenarios.harness import run_scenario

if TYPE_CHECKING:
    from tests.scenarios.conftest import Arrived

KINDS = ("os", "callback", "preexec", "fork", "forkserver", "spawn")
EXIT_S = 1.0
"""Some 30 ms on a machine with nothing else to do; what would hold a child up lasts for
a close_timeout."""


@pytest.mark.parametrize("kind", KINDS)
def test_child_sends_with_a_client_of_its_own(
    kind: str, servers: str, topic: str, arrived: Arrived
) -> None:
    """However a child was made, it starts without client and messages, opens its own
    client with its first send, and everybody's messages are there once."""
    outcome = run_scenario("fork_kinds.py", servers, topic, kind).assert_clean()

    assert outcome.one("found") == "configured"
    assert outcome.one("buffered") == 0
    assert outcome.one("opens") == 1
    assert outcome.one("child_code") == 0
    assert outcome.one("parent_opens") == 1, "the parent's client was in use"
    assert outcome.one("complete")
    came = arrived()
    assert set(came.values()) == {1}
    assert came["child"] == 1
    assert len(came) == 202 + (kind == "callback")


@pytest.mark.timed
@pytest.mark.parametrize("kind", ["os", "fork"])
def test_child_ends_at_once(kind: str, servers: str, topic: str) -> None:
    """A child that has used its client closes it without delay, and ends."""
    outcome = run_scenario("fork_kinds.py", servers, topic, kind).assert_clean()

    assert outcome.one("gone") - outcome.one("leaving") < EXIT_S


@pytest.mark.timed
def test_idle_client_is_closed_before_the_fork(servers: str, topic: str) -> None:
    """What is safely idle is closed first: the child holds no socket, and the parent
    hears `producer.disconnected` with reason "fork" once it has forked."""
    outcome = run_scenario("fork_idle.py", servers, topic).assert_clean()

    assert outcome.one("before") > 0
    assert outcome.one("child_sockets") == 0
    assert outcome.one("child_threads") == 0
    assert outcome.one("child_moments") == ["fork"]
    assert outcome.one("parent_moments") == ["fork", "fork"]
    assert outcome.one("parent_sockets") == 0
    assert outcome.one("child_code") == 0
    assert outcome.one("fork_s") < 1


@pytest.mark.timed
def test_forking_service_is_not_slowed(servers: str, topic: str) -> None:
    """A service that forks once a second and sends in between keeps its client, and
    neither its forks nor its sends take long."""
    outcome = run_scenario("fork_often.py", servers, topic).assert_clean()

    assert outcome.one("opens") == 1
    assert sorted(outcome.one("forks"))[len(outcome.one("forks")) // 2] < 0.02
    assert sorted(outcome.one("sends"))[len(outcome.one("sends")) // 2] < 0.02


@pytest.mark.timed
def test_child_of_undelivered_messages_ends_at_once(dead: str) -> None:
    """With every broker down the child still ends without delay; the parent's
    handles say `forked` there, and are the parent's to resolve."""
    outcome = run_scenario("fork_undelivered.py", dead, "topic").assert_clean()

    assert outcome.one("codes") == ["forked"]
    assert outcome.one("child_queue") == 0
    assert outcome.one("child_code") == 0
    assert outcome.one("gone") - outcome.one("leaving") < EXIT_S
    assert outcome.one("parent_queue") == 500
    assert outcome.one("done") == 0
    assert outcome.one("undelivered") == 500


@pytest.mark.long
def test_fork_in_the_middle_of_everything(
    servers: str, topic: str, arrived: Arrived
) -> None:
    """Forks that meet another thread's produce, open or close give children that
    work, and a parent that loses and doubles nothing."""
    forks = 40
    outcome = run_scenario("fork_race.py", servers, topic, forks, timeout=90)
    outcome.assert_clean()

    assert outcome.one("codes") == [0] * forks
    assert outcome.one("complete")
    sent = outcome.one("sent")
    for name in ("busy", "restless"):
        came = arrived(f"{name}-")
        assert set(came.values()) == {1}
        assert len(came) == sent[name]
    assert all(count <= 2 for count in arrived("child-").values())
    assert len(arrived("child-")) == forks


@pytest.mark.timed
def test_child_polls_and_reaps(servers: str, topic: str, arrived: Arrived) -> None:
    """Reaper and poller work in the child: reports come by themselves, and the
    child's idle client is closed when it is due."""
    outcome = run_scenario("fork_machinery.py", servers, topic).assert_clean()

    assert outcome.one("served")
    assert outcome.one("closed")
    assert 0.3 < outcome.one("after") < 2
    assert outcome.one("child_code") == 0
    assert outcome.one("parent_closed")
    assert set(arrived().values()) == {1}


def test_fork_in_the_middle_of_an_import(servers: str, topic: str) -> None:
    """A library thread imports what requests for metadata need. A fork waits for it:
    the child would be left with a part of that module, and ask in vain."""
    outcome = run_scenario("fork_import.py", servers, topic).assert_clean()

    assert outcome.one("entered")
    assert outcome.one("child") == 3
    assert outcome.one("child_code") == 0
    assert outcome.one("parent") == 3


@pytest.mark.parametrize("phase", ["closing", "handing over"])
def test_a_fork_in_the_middle_of_a_close(phase: str, python: str, dead: str) -> None:
    """The child waits for no thread of its parent's. While senders were not refused
    yet, it can use the producer, and closes it by itself."""
    outcome = run_scenario(
        "fork_closing.py", dead, "topic", phase, python=python
    ).assert_clean()

    assert outcome.one("code") == 0
    assert outcome.one("complete")
    assert outcome.one("after") == "closed"
    if phase == "closing":
        assert outcome.one("status") == "closed"
        assert outcome.one("refused") is True
        assert outcome.one("child_s") < 1
        assert outcome.one("left") == 0
    else:
        assert outcome.one("status") == "configured"
        assert outcome.one("left") == 1
        assert outcome.one("child_s") < 2.8
    assert outcome.one("parent") == 1
    assert outcome.one("parents_status") == "closed"


@pytest.mark.parametrize("where", ["beside", "inside"])
def test_groups_of_pools(
    where: str, servers: str, topic: str, arrived: Arrived
) -> None:
    """A child has its parent's pools, which start afresh. It makes others, also if the
    fork was in the middle of a look-up of the very same key."""
    outcome = run_scenario("fork_groups.py", servers, topic, where).assert_clean()

    assert outcome.one("child_code") == 0
    assert (outcome.one("same"), outcome.one("pools")) == (True, 1)
    assert (outcome.one("then"), outcome.one("opens")) == (2, 1)
    assert (outcome.one("limit"), outcome.one("sizes")) == (3, [3, 3])
    assert (outcome.one("complete"), outcome.one("left")) == (True, 0)
    assert (outcome.one("parent"), outcome.one("parent_same")) == (2, True)
    assert outcome.one("parent_complete")
    assert arrived() == dict.fromkeys(
        ("child-kept", "child-new", "parent-first", "parent-kept", "parent-new"), 1
    )


@pytest.mark.parametrize("way", ["os", "libc"])
def test_child_starts_to_count_at_zero(way: str, servers: str, topic: str) -> None:
    """It has none of its parent's figures, of no producer: neither of an idle nor of a
    closed or a collected one. The parent goes on with its own."""
    outcome = run_scenario("fork_figures.py", servers, topic, way).assert_clean()

    child, parent, later = (outcome.one(name) for name in ("child", "parent", "later"))
    zero = {name: 0 for name in child if name not in {"labels", "health"}}
    assert child == {**zero, "labels": child["labels"], "health": ["idle"]}
    assert "dropped" not in child["labels"]
    assert outcome.one("stats") == [0, 0]
    after = outcome.one("after")
    assert (after["opens"], after["reopens"], after["produced"]) == (1, 0, 1)
    assert (after["gaps"], after["times"]) == (0, 0)
    assert outcome.one("code") == 0
    assert (parent["opens"], parent["reopens"], parent["produced"]) == (5, 1, 5)
    assert (parent["gaps"], parent["times"]) == (1, 1)
    assert parent["labels"] == ["closed", "dropped", "idle"]
    assert later["saved"] >= parent["saved"] > 0
    unchanged = ("opens", "reopens", "disconnects", "gaps", "times", "produced")
    assert [later[name] for name in unchanged] == [parent[name] for name in unchanged]
