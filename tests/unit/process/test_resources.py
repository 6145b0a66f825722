"""The process census, on sockets and threads that the tests make themselves."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.doubles import eventually
from waterdrop_py._engine.process import resources
from waterdrop_py._engine.process.resources import (
    ResourceCount,
    count_resources,
    released,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

BOUND = 5.0
pytestmark = pytest.mark.own_process


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closes what the test opened."""
    with ExitStack() as resources:
        yield resources


def taken(addresses: set[tuple[str, int]] | None = None) -> ResourceCount:
    """The census; there is one on every machine that runs these tests."""
    counted = count_resources(addresses)
    assert counted is not None
    return counted


def connection(
    stack: ExitStack, family: int = socket.AF_INET, host: str = "127.0.0.1"
) -> tuple[socket.socket, socket.socket, tuple[str, int]]:
    """A connected pair and the address that was connected to."""
    listener = stack.enter_context(socket.socket(family))
    listener.bind((host, 0))
    listener.listen()
    client = stack.enter_context(socket.socket(family))
    client.settimeout(BOUND)
    client.connect(listener.getsockname())
    accepted = stack.enter_context(listener.accept()[0])
    return client, accepted, listener.getsockname()[:2]


def test_only_the_connecting_end_counts(stack: ExitStack) -> None:
    """Listeners, and what was accepted on them, are no sockets to brokers."""
    before = taken()
    connection(stack)
    after = taken()
    assert after.sockets - before.sockets == 1
    assert after.fds - before.fds == 3


def test_addresses_tell_brokers_from_others(stack: ExitStack) -> None:
    """With addresses, a connection to anything else does not count."""
    _, _, broker = connection(stack)
    connection(stack)
    assert taken({broker}).sockets == 1
    assert taken(set()).sockets == 0


@pytest.mark.parametrize("host", ["::1", "::ffff:127.0.0.1"])
def test_ipv6_counts_and_mapped_addresses_match_as_ipv4(
    stack: ExitStack, host: str
) -> None:
    """A broker is told by its plain address, whatever family the socket has."""
    _, _, (_, port) = connection(stack, socket.AF_INET6, host)
    plain = (host.removeprefix("::ffff:"), port)
    assert taken({plain}).sockets == 1


def test_a_socket_that_the_broker_has_closed_is_still_held(stack: ExitStack) -> None:
    """CLOSE_WAIT costs a descriptor and a port: it counts until we close it."""
    client, accepted, broker = connection(stack)
    accepted.close()
    client.recv(1)
    assert taken({broker}).sockets == 1
    client.close()
    assert taken({broker}).sockets == 0


def test_a_connecting_socket_counts(stack: ExitStack) -> None:
    """A connection attempt that hangs is held too, wherever it leads."""
    listener = stack.enter_context(socket.socket())
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    before = taken()
    clients = [stack.enter_context(socket.socket()) for _ in range(4)]
    for client in clients:  # the backlog holds one or two; the rest stay connecting
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
    states = [
        each.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] for each in clients
    ]
    assert resources.SYN_SENT in states
    assert taken().sockets - before.sockets == 4
    assert taken(set()).sockets == states.count(resources.SYN_SENT)


def test_other_kinds_of_descriptors_are_no_sockets(stack: ExitStack) -> None:
    """Pipes, UNIX, UDP and unconnected TCP sockets count as descriptors alone."""
    before = taken()
    for end in os.pipe():
        stack.callback(os.close, end)
    for each in socket.socketpair():
        stack.enter_context(each)
    datagrams = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
    datagrams.connect(("127.0.0.1", 9))
    stack.enter_context(socket.socket())
    assert released(taken(), before) == {"sockets": 0, "threads": 0, "fds": 6}


def test_threads_are_told_by_librdkafkas_names() -> None:
    """Only a thread named as librdkafka names its own is counted."""
    named, done = threading.Event(), threading.Event()
    # The threads of an earlier test's client may still run.
    eventually(lambda: not taken().threads, "no other client")
    before = taken()

    def live() -> None:
        with open(f"/proc/self/task/{threading.get_native_id()}/comm", "w") as comm:
            comm.write("rdk:broker1")
        named.set()
        done.wait(BOUND)

    threads = [
        threading.Thread(target=live, daemon=True),
        threading.Thread(target=done.wait, args=(BOUND,), daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        assert named.wait(BOUND)
        assert taken().threads - before.threads == 1
    finally:
        done.set()
        for thread in threads:
            thread.join(BOUND)
    # A joined thread stays in /proc for some microseconds.
    eventually(lambda: taken().threads == before.threads, "its end is seen")


def test_the_census_itself_holds_nothing() -> None:
    """Counting twice gives the same figures, and opens nothing that stays."""
    assert taken() == taken()
    assert taken().fds == len(os.listdir("/proc/self/fd")) - 1


def test_descriptors_that_vanish_in_the_middle_are_not_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between the listing and the look, another thread may close anything."""
    before = taken()
    real = os.listdir

    def with_a_ghost(path: Any) -> list[str]:
        return [*real(path), "987654"]

    monkeypatch.setattr(os, "listdir", with_a_ghost)
    assert taken() == before


def test_a_socket_replaced_by_a_file_leaks_no_descriptor(
    monkeypatch: pytest.MonkeyPatch, stack: ExitStack
) -> None:
    """A number that went from a socket to a pipe is passed over, and nothing stays."""
    connection(stack)
    pipe = os.pipe()
    for end in pipe:
        stack.callback(os.close, end)
    before = taken()
    real = os.dup
    monkeypatch.setattr(os, "dup", lambda _: real(pipe[0]))
    assert taken().sockets == 0
    monkeypatch.undo()
    assert taken() == before


def test_no_proc_no_census(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without /proc the answer is None, and not an exception."""
    monkeypatch.setattr(resources, "DESCRIPTORS", "/nowhere/fd")
    assert count_resources() is None


def test_released_is_what_was_given_back() -> None:
    """Before minus after, figure by figure."""
    before, after = ResourceCount(9, 5, 40), ResourceCount(0, 0, 26)
    assert released(before, after) == {"sockets": 9, "threads": 5, "fds": 14}
