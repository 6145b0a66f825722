"""Threads that start when there is work."""

from __future__ import annotations

import signal
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from waterdrop_py._engine.concurrency import native, threads
from waterdrop_py._engine.concurrency.threads import OnDemandThread

if TYPE_CHECKING:
    from collections.abc import Callable


def test_work_that_comes_before_its_thread(started: list[Callable[[], None]]) -> None:
    """One thread starts, and finds all that was there before it ran."""
    inbox: list[int] = []
    done: list[int] = []

    def run() -> None:
        done.extend(inbox)
        inbox.clear()

    post = OnDemandThread("any", run)
    for item in range(3):
        inbox.append(item)
        post.ensure_started()
    assert len(started) == 1
    started.pop()()
    assert done == [0, 1, 2]
    inbox.append(3)
    post.ensure_started()
    assert len(started) == 1


def test_work_that_comes_as_its_thread_ends(
    started: list[Callable[[], None]],
) -> None:
    """The thread has looked for the last time and ends: another one starts."""

    def run() -> None:
        if not started:
            post.ensure_started()

    post = OnDemandThread("any", run)
    post.ensure_started()
    started.pop()()
    assert len(started) == 1


def test_no_thread_starts() -> None:
    """The next piece of work tries again."""
    answers = [False, True]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "start", lambda *_: answers.pop(0))
        post = OnDemandThread("any", lambda: None)
        post.ensure_started()
        post.ensure_started()
    assert answers == []


def test_a_start_that_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler raises in it: a thread starts all the same, because other work
    found it starting. If that is interrupted too, the next piece of work starts one."""
    answers = ["raises", "starts", "raises", "raises", "starts"]
    found: list[bool] = []

    def start(_: str, run: Callable[[], object]) -> bool:
        if answers.pop(0) == "raises":
            found.append(post.ensure_started())  # of the handler's own
            raise KeyboardInterrupt
        run()
        return True

    monkeypatch.setattr(threads, "start", start)
    post = OnDemandThread("any", lambda: None)
    for left in (3, 1):
        with pytest.raises(KeyboardInterrupt):
            post.ensure_started()
        assert len(answers) == left
    assert post.ensure_started()
    assert found == [True] * 3


def test_a_thread_that_cannot_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """If only the first of the two threads starts, the work is done there. It is one of
    the library's all the same."""

    class Refused:
        def __init__(self, **_: Any) -> None:
            pass

        def start(self) -> None:
            raise RuntimeError("no more")

    monkeypatch.setattr(threads, "Thread", Refused)
    monkeypatch.setattr(native, "start_new_thread", lambda run, args: run(*args))
    ran: list[bool] = []
    assert threads.start(
        "any", lambda: ran.append(native.thread_id() in native.LIBRARY)
    )
    assert ran == [True]
    assert native.thread_id() not in native.LIBRARY


def test_signals_are_blocked_while_a_thread_starts() -> None:
    """A thread that starts meanwhile inherits the blocked signals. The starter's mask
    is restored, whatever a signal handler raises in between."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    masks: list[set[int]] = []

    def raising() -> None:
        masks.append(set(signal.pthread_sigmask(signal.SIG_BLOCK, ())))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        threads.blocking_signals(raising)
    never = {signal.SIGKILL, signal.SIGSTOP}
    crashes = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
    crashes |= {signal.SIGTRAP, signal.SIGSYS}
    assert masks[0] - before == signal.valid_signals() - never - crashes - before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_no_thread_starts_in_the_master_of_uwsgi(
    monkeypatch: pytest.MonkeyPatch, started: list[Callable[[], None]]
) -> None:
    """It forks in C, where a Python thread is a danger. Its workers and mules have
    threads, and an application's own module of that name changes nothing."""
    ids = {"worker_id": 0, "mule_id": 0}
    module = ModuleType("uwsgi")
    monkeypatch.setitem(sys.modules, "uwsgi", module)
    assert not threads.forbidden()
    module.worker_id = lambda: ids["worker_id"]  # type: ignore[attr-defined]
    module.mule_id = lambda: ids["mule_id"]  # type: ignore[attr-defined]
    assert threads.forbidden()
    ids["worker_id"] = 1
    assert not threads.forbidden()
    ids.update(worker_id=0, mule_id=1)
    assert not threads.forbidden()
