"""What the proxy makes of each end of a connection: bare sockets, and a broker's."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import signal
import socket
import struct
import sys
import termios
import time
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

import pytest

from tests.embedded.support import BOUND
from waterdrop_py.testing import DroppingProxy

if TYPE_CHECKING:
    from collections.abc import Iterator

RESET = struct.pack("ii", 1, 0)
CHUNK = b"." * 65_536


def frame(body: bytes) -> bytes:
    """A frame of the protocol: its length, and its body."""
    return struct.pack(">i", len(body)) + body


class Wire:
    """A proxy before a broker of one listener, and one connection through it."""

    def __init__(self, listener: socket.socket, proxy: DroppingProxy) -> None:
        self.proxy = proxy
        self.listener = listener
        self.client = socket.create_connection(proxy.brokers[0][1:], BOUND)
        self.broker, _ = listener.accept()
        self.broker.settimeout(BOUND)

    def ends(self) -> tuple[socket.socket, socket.socket]:
        """The client's socket and the broker's."""
        return self.client, self.broker


@pytest.fixture
def wire() -> Iterator[Wire]:
    """A connection that is open at both ends."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, len(CHUNK))
        listener.settimeout(BOUND)
        port = listener.getsockname()[1]
        proxy = stack.enter_context(DroppingProxy(f"127.0.0.1:{port}"))
        wire = Wire(listener, proxy)
        for sock in wire.ends():
            stack.enter_context(sock)
        yield wire


def read(sock: socket.socket, length: int) -> bytes:
    """Exactly so many bytes, or fewer if the connection ends."""
    data = b""
    while len(data) < length and (more := sock.recv(length - len(data))):
        data += more
    return data


def is_silent(sock: socket.socket, seconds: float = 0.2) -> bool:
    """Whether nothing comes, not even an end."""
    sock.settimeout(seconds)
    try:
        sock.recv(1)
    except TimeoutError:
        return True
    else:
        return False
    finally:
        sock.settimeout(BOUND)


def fill(sock: socket.socket, seconds: float = 0.5) -> int:
    """Send until nothing more is taken; how many bytes were."""
    sent = 0
    sock.settimeout(seconds)
    with contextlib.suppress(TimeoutError):
        while True:
            sent += sock.send(CHUNK)
    sock.settimeout(BOUND)
    return sent


def unacknowledged(sock: socket.socket) -> int:
    """How many bytes the kernel still has to send."""
    return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


def reset(sock: socket.socket) -> None:
    """Close it with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()


def test_bytes_pass_in_both_directions(wire: Wire) -> None:
    """As they are, frame by frame on the way back."""
    wire.client.sendall(b"request")
    assert read(wire.broker, 7) == b"request"
    wire.broker.sendall(frame(b"one") + frame(b"two")[:5])
    assert read(wire.client, 7) == frame(b"one")
    assert is_silent(wire.client)  # half a frame is held back
    wire.broker.sendall(frame(b"two")[5:])
    assert read(wire.client, 7) == frame(b"two")


def test_a_half_closed_connection_ends(wire: Wire) -> None:
    """The broker gets all that was sent, and the end; then the client gets its own."""
    wire.client.sendall(b"last")
    wire.client.shutdown(socket.SHUT_WR)
    assert wire.proxy.open == 0
    assert read(wire.broker, 5) == b"last"
    assert wire.client.recv(1) == b""
    assert wire.proxy.open == 0


def test_the_last_response_comes_before_the_brokers_end(wire: Wire) -> None:
    """What the broker sent before it closed reaches the client first."""
    wire.broker.sendall(frame(b"bye"))
    wire.broker.close()
    assert read(wire.client, 8) == frame(b"bye")
    assert wire.proxy.open == 0


def test_a_client_that_resets_is_gone(wire: Wire) -> None:
    """It is not counted any more, and the broker's connection ends."""
    reset(wire.client)
    assert wire.proxy.open == 0
    assert wire.broker.recv(1) == b""


def test_a_broker_that_resets_is_gone(wire: Wire) -> None:
    """The client's connection ends, and is not counted any more."""
    reset(wire.broker)
    assert wire.client.recv(1) == b""
    assert wire.proxy.open == 0


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_black_hole_outlives_the_broker(wire: Wire, how: str) -> None:
    """Neither its end nor bytes come through; the client's end ends the flow."""
    assert wire.proxy.black_hole() == 1
    wire.client.sendall(b"lost")
    wire.broker.sendall(frame(b"lost"))
    assert is_silent(wire.broker)
    assert is_silent(wire.client)
    wire.broker.close() if how == "close" else reset(wire.broker)
    assert is_silent(wire.client)
    wire.client.sendall(b"lost, too")
    assert wire.proxy.black_hole() == wire.proxy.open == 1
    assert is_silent(wire.client)
    wire.client.close()
    assert wire.proxy.open == 0


def test_a_black_hole_lets_the_broker_go(wire: Wire) -> None:
    """A broker that closes its side gets the end of the other; the client does not."""
    wire.proxy.black_hole()
    wire.broker.shutdown(socket.SHUT_WR)
    assert wire.broker.recv(1) == b""
    assert is_silent(wire.client)
    assert wire.proxy.open == 1


def test_the_client_of_a_black_hole_takes_the_broker_with_it(wire: Wire) -> None:
    """The broker's connection ends when the client closes its own."""
    wire.proxy.black_hole()
    wire.client.close()
    assert wire.broker.recv(1) == b""
    assert wire.proxy.open == 0


def test_commands_come_after_what_was_sent_before(wire: Wire) -> None:
    """What reached the proxy first is passed on first, on a new connection too."""
    os.kill(wire.proxy.pid, signal.SIGSTOP)
    with (
        ThreadPoolExecutor(1) as executor,
        socket.create_connection(wire.proxy.brokers[0][1:], BOUND) as client,
    ):
        for sock in (wire.client, client):
            sock.sendall(b"before")
        lost = executor.submit(wire.proxy.black_hole)
        assert not wait([lost], 0.2).done
        os.kill(wire.proxy.pid, signal.SIGCONT)
        assert lost.result(BOUND) == 2
        for sock in (wire.client, client):
            sock.sendall(b"after")
        broker, _ = wire.listener.accept()
        with broker:
            for sock in (wire.broker, broker):
                sock.settimeout(BOUND)
                assert read(sock, 6) == b"before"
                assert is_silent(sock)


def test_a_flow_that_is_stuck_is_counted_exactly(wire: Wire) -> None:
    """The client is gone although the proxy has not read all that it sent."""
    fill(wire.client)
    while unacknowledged(wire.client):
        wire.broker.recv(len(CHUNK))
    assert wire.proxy.open == 1
    wire.client.close()
    assert wire.proxy.open == 0
    assert wire.proxy.black_hole() == wire.proxy.reset() == 0
    assert wire.proxy.accepted == 1


def test_a_black_hole_takes_what_was_stuck(wire: Wire) -> None:
    """The client goes on sending, and the broker never gets the rest."""
    stuck = fill(wire.client)
    wire.proxy.black_hole()
    for _ in range(2 * stuck // len(CHUNK)):
        wire.client.sendall(CHUNK)
    got = 0
    while not is_silent(wire.broker):
        got += 1 + len(wire.broker.recv(1_000_000))
    assert got < stuck
    assert wire.proxy.open == 1


def test_a_reset_ends_a_flow_that_is_stuck(wire: Wire) -> None:
    """Both ends hear it at once."""
    fill(wire.client)
    assert wire.proxy.reset() == 1
    assert wire.proxy.open == 0
    with pytest.raises(ConnectionError):
        wire.client.sendall(CHUNK)


def test_one_flow_that_is_stuck_delays_no_other(wire: Wire) -> None:
    """A second connection passes bytes, and commands are answered."""
    fill(wire.client)
    with socket.create_connection(wire.proxy.brokers[0][1:], BOUND) as client:
        broker, _ = wire.listener.accept()
        with broker:
            client.sendall(b"through")
            assert read(broker, 7) == b"through"
            assert wire.proxy.open == 2


def test_descriptors_are_used_again_safely(wire: Wire) -> None:
    """Flows end in every way while new ones come: each new one passes bytes."""
    address = wire.proxy.brokers[0][1:]
    for number in range(300):
        client = socket.create_connection(address, BOUND)
        broker, _ = wire.listener.accept()
        broker.settimeout(BOUND)
        with client, broker:
            client.sendall(b"%03d" % number)
            assert read(broker, 3) == b"%03d" % number
            broker.sendall(frame(b"yes"))
            assert read(client, 7) == frame(b"yes")
            if number % 3 == 0:
                wire.proxy.reset()
            elif number % 3 == 1:
                wire.proxy.black_hole()
    assert wire.proxy.open <= 1
    assert wire.proxy.accepted == 301


def test_a_broker_that_refuses_ends_the_connection() -> None:
    """The client is accepted and then closed: the proxy has no broker for it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with DroppingProxy(f"127.0.0.1:{bound.getsockname()[1]}") as proxy:
            address = proxy.brokers[0][1:]
            with socket.create_connection(address, BOUND) as client:
                assert client.recv(1) == b""
            assert (proxy.accepted, proxy.open) == (1, 0)


def test_a_proxy_that_was_killed_is_reported(wire: Wire) -> None:
    """The next command says how it ended, and close is clean."""
    os.kill(wire.proxy.pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match=r"the proxy's process ended \(exit code -9"):
        _ = wire.proxy.open
    wire.proxy.close()


def test_a_proxy_that_fails_is_reported(wire: Wire) -> None:
    """Without descriptors it cannot accept: it ends, and the next command says why."""
    resource.prlimit(wire.proxy.pid, resource.RLIMIT_NOFILE, (4, 4))
    with (
        contextlib.suppress(ConnectionResetError),
        socket.create_connection(wire.proxy.brokers[0][1:], BOUND) as client,
    ):
        assert client.recv(1) == b""
    with pytest.raises(RuntimeError, match="Too many open files"):
        _ = wire.proxy.open


@pytest.mark.timed
def test_close_is_prompt(wire: Wire) -> None:
    """Also with flows that are stuck: nothing is waited for."""
    fill(wire.client)
    started = time.monotonic()
    wire.proxy.close()
    assert time.monotonic() - started < 1
