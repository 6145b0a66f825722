"""What holds for every test: it ends, and leaves no library thread and no process.

And `cluster`, for a test that asks for one, and `own_process`, for a test of what a
whole process holds.
"""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import doubles
from tests.bounds import bounded
from tests.scenarios.harness import run_scenario
from waterdrop_py._engine.client import foreign
from waterdrop_py.testing import EmbeddedCluster

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

GRACE_S = 2.0
TEST_S = 150.0
"""Seconds until a test has hung. A scenario has 90 s at most. pytest ends the process
after 180 s (faulthandler_timeout), with the start of what tests share in it."""
# Shared by every producer of the process; they end by themselves when nothing needs
# them any more, and a bound for that is a test of its own.
SHARED_THREADS = (
    "waterdrop-reaper",
    "waterdrop-poller",
    "waterdrop-closer",
    "waterdrop-helper-",
    "waterdrop-waiter",
    "waterdrop-metrics",
)
# multiprocessing keeps these until the interpreter exits.
KEPT_PROCESSES = (
    b"multiprocessing.resource_tracker",
    b"multiprocessing.forkserver",
    b"kafka.Kafka",
)

# Set in the process that a test marked `own_process` has for itself.
_OWN = "WATERDROP_TESTS_OWN_PROCESS"
_RUN = f"""
import os, sys, pytest
os.environ["{_OWN}"] = "1"
unused = ("cacheprovider", "hypothesispytest", "randomly", "valkey", "xdist")
sys.exit(pytest.main([*("-pno:" + each for each in unused), *sys.argv[1:]]))
"""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long: last of all, it would run on alone."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_collection_finish() -> None:
    """What is loaded by now is no garbage: it is not looked at each time."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Collect what the test before has left: its finalizers and callbacks of weak
    references run here, and not at a moment of this test."""
    gc.collect()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is marked `own_process` alone, in a process of its own.

    Descriptors, native threads and allocations are the whole process's: here the
    clients that other tests leave to librdkafka change them as they please.
    """
    if pyfuncitem.get_closest_marker("own_process") is None or _OWN in os.environ:
        return None
    name = pyfuncitem.nodeid.partition("::")[2]
    outcome = run_scenario(_RUN, f"{pyfuncitem.path}::{name}", timeout=60)
    assert outcome.code == 0, str(outcome)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Fail a test that hangs, with the stacks of its threads; the others still run."""
    with bounded(TEST_S):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, object, object]:
    """The same for the ends of its fixtures, which close producers."""
    with bounded(TEST_S):
        return (yield)


def _library_threads() -> set[threading.Thread]:
    return {
        thread
        for thread in threading.enumerate()
        if thread.name.startswith("waterdrop-")
        and not thread.name.startswith(SHARED_THREADS)
    }


def _command_of(pid: int) -> bytes:
    """The command line of a process; empty for one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
    except OSError:
        return b""


def _live_children() -> set[int]:
    """The ids of this process's children that run, where there is a /proc."""
    children = set()
    for listing in Path("/proc/self/task").glob("*/children"):
        try:
            children |= {int(pid) for pid in listing.read_text().split()}
        except OSError:  # that thread has just ended
            continue
    commands = {pid: _command_of(pid) for pid in children}
    return {
        pid
        for pid, command in commands.items()
        if command and not any(kept in command for kept in KEPT_PROCESSES)
    }


def _remaining(leaked: Callable[[], list[str]]) -> list[str]:
    """What is leaked still, after a grace for what is just ending."""
    deadline = time.monotonic() + GRACE_S
    while (left := leaked()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return left


def pytest_unconfigure() -> None:
    """What the library still holds back of the tests' errors is not for the terminal:
    without pytest's handlers, Python would print it at exit."""
    logging.getLogger("waterdrop_py").addHandler(logging.NullHandler())


@pytest.fixture
def cluster() -> Iterator[EmbeddedCluster]:
    """A fresh cluster, in 25 ms.

    librdkafka's mock draws producer ids from 900 000 and looks at the first with that
    number. On one cluster for the whole run, some later producer may get the number of
    another: `invalid_producer_id_mapping`.
    """
    with EmbeddedCluster() as running:
        yield running


@pytest.fixture(autouse=True)
def doubles_stand_for_the_bare_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """The doubles that park are called as confluent-kafka's own client is: by position,
    and on the fast path, whose races they force."""
    is_foreign = foreign.is_foreign
    monkeypatch.setattr(
        foreign,
        "is_foreign",
        lambda each: is_foreign(each) and not isinstance(each, doubles.FakeClient),
    )


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Fail a test that leaves a thread of the library or a child process behind.

    What a fixture of a wider scope has started runs before the test, and may go on.
    """
    threads, children = _library_threads(), _live_children()
    yield

    def leaked() -> list[str]:
        return [
            *(f"thread {thread.name}" for thread in _library_threads() - threads),
            *(f"process {_command_of(pid)!r}" for pid in _live_children() - children),
        ]

    left = _remaining(leaked)
    if left:
        pytest.fail(f"still there {GRACE_S} s after the test: {', '.join(left)}")
