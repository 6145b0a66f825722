"""Signals and the library's threads."""

from __future__ import annotations

import signal

import pytest

from tests.scenarios.harness import run_scenario


def test_threads_block_signals(python: str, servers: str, topic: str) -> None:
    """The kernel hands no signal but that of a crash to a thread of the library, of its
    tools for tests or of librdkafka; the main thread's own mask is as it was."""
    outcome = run_scenario(
        "signals_blocked.py", servers, topic, "threads", python=python
    ).assert_clean()

    assert outcome.one("open") == 1
    assert outcome.one("main") is True
    assert outcome.one("restored") is True


def test_a_service_that_waits_for_its_signals(
    python: str, servers: str, topic: str
) -> None:
    """A SIGTERM that the main thread blocks waits for its `sigwait`."""
    outcome = run_scenario(
        "signals_blocked.py", servers, topic, "sigwait", python=python
    ).assert_clean()

    assert outcome.one("taken") == 20


def test_a_child_that_a_callback_forks(python: str, servers: str, topic: str) -> None:
    """It takes signals: the thread that forked is its main thread."""
    outcome = run_scenario(
        "signals_blocked.py", servers, topic, "fork", python=python
    ).assert_clean()

    assert outcome.one("ended_by") == signal.SIGTERM


@pytest.mark.parametrize("thread", ["poller", "closer"])
def test_a_crash_on_a_library_thread(
    thread: str, python: str, servers: str, topic: str
) -> None:
    """`faulthandler` shows where it was, as on any other thread."""
    outcome = run_scenario("signals_blocked.py", servers, topic, thread, python=python)

    assert outcome.code == -signal.SIGSEGV, str(outcome)
    assert "Fatal Python error: Segmentation fault" in outcome.err, str(outcome)
    assert "in crash" in outcome.err, str(outcome)


@pytest.mark.parametrize("seed", range(2))
def test_a_raising_handler_leaves_it_free(seed: int, python: str) -> None:
    """A lock that a raising handler met is not left held, and lets one thread in."""
    outcome = run_scenario("locks.py", str(seed), python=python).assert_clean()

    assert outcome.one("interrupts") > 500
    assert outcome.one("left") == 0
    assert outcome.one("together") == 0
    assert outcome.one("locked") is False
