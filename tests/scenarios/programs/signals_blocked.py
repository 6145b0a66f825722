"""A service that takes its signals with `sigwait`; callbacks that fork and crash."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from pathlib import Path

from tests.scenarios.kit import SERVERS, TOPIC, WORDS, eventually, make_producer, say
from waterdrop_py.testing import DroppingProxy, EmbeddedCluster


def masks() -> dict[str, bool]:
    """Which threads of this process block all signals but those of crashes."""
    found = {}
    for task in Path("/proc/self/task").iterdir():
        status = dict(
            line.split(":\t", 1)
            for line in (task / "status").read_text().splitlines()
            if ":\t" in line
        )
        blocked = int(status["SigBlk"].strip(), 16)
        every = all(blocked >> (number - 1) & 1 for number in wanted())
        found[f"{status['Name']}-{task.name}"] = every
    return found


def wanted() -> set[int]:
    """Every signal but the two that nothing blocks, and those of crashes."""
    return {int(each) for each in signal.valid_signals()} - {
        signal.SIGKILL,
        signal.SIGSTOP,
        signal.SIGSEGV,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGTRAP,
        signal.SIGSYS,
    }


def threads() -> None:
    """Have every thread of the library run; none but the main one takes signals."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    producer = make_producer(SERVERS, idle_disconnect_timeout=100)
    producer.monitor.subscribe("producer.disconnected", lambda _: time.sleep(0.5))
    producer.produce_async(TOPIC, b"x").result(10)
    with EmbeddedCluster(1) as cluster, DroppingProxy(cluster):
        time.sleep(0.3)
        open_ones = [name for name, every in masks().items() if not every]
        say(open=len(open_ones), main=open_ones[0].endswith(f"-{os.getpid()}"))
    say(restored=signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before)


def sigwait() -> None:
    """Blocked in the main thread alone, the signal is nobody else's."""
    producer = make_producer(SERVERS, idle_disconnect_timeout=30_000)
    producer.produce_async(TOPIC, b"x").result(10)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    for _ in range(20):
        producer.produce_async(TOPIC, b"x")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.02)
        assert signal.sigwait({signal.SIGTERM}) == signal.SIGTERM
    say(taken=20)


def fork() -> None:
    """A child that was forked by a callback can be told to end."""
    pids: list[int] = []
    producer = make_producer(SERVERS)

    def forks(_: object) -> None:
        pid = os.fork()
        if not pid:
            time.sleep(10)
            os._exit(0)
        pids.append(pid)

    producer.produce_async(TOPIC, b"x").add_done_callback(forks)
    assert eventually(lambda: bool(pids))
    os.kill(pids[0], signal.SIGTERM)
    _, status = os.waitpid(pids[0], 0)
    say(ended_by=-os.waitstatus_to_exitcode(status))


def crash(_: object) -> None:
    """Read where nothing is."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.string_at(0)


def poller() -> None:
    """Crash on the thread that serves reports."""
    make_producer(SERVERS).produce_async(TOPIC, b"x").add_done_callback(crash)
    time.sleep(10)


def closer() -> None:
    """Crash on the thread that closes an idle client."""
    producer = make_producer(SERVERS, idle_disconnect_timeout=100)
    producer.monitor.subscribe("producer.disconnected", crash)
    producer.produce_async(TOPIC, b"x").result(10)
    time.sleep(10)


{each.__name__: each for each in (threads, sigwait, fork, poller, closer)}[WORDS[0]]()
sys.exit(0)
