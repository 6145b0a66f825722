"""The process of a `DroppingProxy`; run as a script.

Usage: `python -I -S _proxy_server.py <parent pid> <host:port,...>`. It needs nothing
but the standard library. Commands and answers are those of `_mock_server.py`:
`{"id": 7, "do": "reset", "args": []}` is answered with `{"id": 7, "code": 3}`, where
`code` is what the command returned. It ends when stdin or its parent does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import socket
import struct
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine

Rewrite = Callable[[bytes], bytes]

LOOPBACK = "127.0.0.1"
BACKLOG = 512
PARENT_CHECK_SECONDS = 0.25
READ_BYTES = 262_144
LENGTH_BYTES = 4  # every frame of the protocol starts with its length
RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close() sends RST
PEER_CLOSED = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)
TURNS = 8
"""Turns of the loop before each command. In these, a connection that has just come is
accepted and connected to its broker, and what it has sent is passed on."""


class Responses:
    """Cuts a broker's bytes into whole frames and rewrites each of them.

    An address may be split over two reads, never over two frames.
    """

    def __init__(self, rewrite: Rewrite) -> None:
        self._rewrite = rewrite
        self._held = bytearray()

    def feed(self, data: bytes) -> bytes:
        """What can be passed on now; an unfinished frame is held back."""
        self._held += data
        ready = []
        while len(self._held) >= LENGTH_BYTES:
            end = LENGTH_BYTES + int.from_bytes(self._held[:LENGTH_BYTES], "big")
            if len(self._held) < end:
                break
            ready.append(self._rewrite(bytes(self._held[:end])))
            del self._held[:end]
        return b"".join(ready)


class Flow:
    """A client's connection, the one to its broker, and the tasks between them.

    Sockets rather than asyncio's streams: what a stream has buffered cannot be taken
    back when the flow is black-holed.
    """

    def __init__(
        self,
        accepted: socket.socket,
        upstream: tuple[str, int],
        rewrite: Rewrite,
        on_close: Callable[[Flow], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_close = on_close
        self._client = accepted
        self._broker = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        for sock in (self._client, self._broker):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._tasks: list[asyncio.Task[None]] = []
        self._run(self._connect(upstream, Responses(rewrite).feed))

    @property
    def is_held(self) -> bool:
        """Whether the client has not closed its side yet.

        The kernel knows it at once, even while bytes of the client are still unread.
        """
        poll = select.poll()
        poll.register(self._client, select.POLLIN | PEER_CLOSED)
        return not any(events & PEER_CLOSED for _, events in poll.poll(0))

    def black_hole(self) -> None:
        """Pass nothing on any more, in either direction, and close nothing."""
        self._run(self._discard(self._client), self._hide_broker())

    def close(self, *, reset: bool = False) -> None:
        """Close both sockets, with RST instead of FIN when `reset`."""
        self._run()
        for sock in (self._client, self._broker):
            if sock.fileno() < 0:
                continue
            # The cancelled tasks would do it in the next turn, when the descriptor may
            # be another flow's (test_a_reset_ends_a_flow_that_is_stuck).
            self._loop.remove_reader(sock)
            self._loop.remove_writer(sock)
            if reset:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            sock.close()
        self._on_close(self)

    def _run(self, *work: Coroutine[Any, Any, None]) -> None:
        """Replace the tasks of the flow. When one of them ends, the flow is closed."""
        for task in self._tasks:
            task.cancel()
        self._tasks = [asyncio.create_task(each) for each in work]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            task.result()
        if task in self._tasks:
            self.close()

    async def _connect(self, upstream: tuple[str, int], feed: Rewrite) -> None:
        await self._loop.sock_connect(self._broker, upstream)
        self._run(
            self._pass(self._client, self._broker, bytes),
            self._pass(self._broker, self._client, feed),
        )

    async def _pass(
        self, source: socket.socket, target: socket.socket, change: Rewrite
    ) -> None:
        while data := await self._loop.sock_recv(source, READ_BYTES):
            await self._loop.sock_sendall(target, change(data))
            await asyncio.sleep(0)  # neither call yields while the sockets keep up

    async def _discard(self, source: socket.socket) -> None:
        data = b"?"
        while data:
            data = await self._loop.sock_recv(source, READ_BYTES)
            await asyncio.sleep(0)

    async def _hide_broker(self) -> None:
        """Behind a black hole, the client must not notice the end of the broker."""
        with contextlib.suppress(OSError):
            await self._discard(self._broker)
        self._broker.close()
        await self._loop.create_future()  # the client ends the flow


class Proxy:
    """The listeners and the flows. Each command returns a number."""

    def __init__(self, upstream: list[tuple[str, int]]) -> None:
        self._loop = asyncio.get_running_loop()
        self._upstream = upstream
        self._listeners = [_bound(0) for _ in upstream]
        self._ports = [each.getsockname()[1] for each in self._listeners]
        self._replacements = [
            (_address(host, theirs), _address(host, ours))
            for (host, theirs), ours in zip(upstream, self._ports, strict=True)
        ]
        self._listening = False
        self._accepted = 0
        self._flows: set[Flow] = set()
        self.listen()

    @property
    def bootstrap_servers(self) -> str:
        """`host:port` of each listener, in the order of the brokers."""
        return ",".join(
            f"{host}:{port}"
            for (host, _), port in zip(self._upstream, self._ports, strict=True)
        )

    def count_accepted(self) -> int:
        """Connections accepted so far."""
        return self._accepted

    def count_open(self) -> int:
        """Connections that clients hold open."""
        return sum(flow.is_held for flow in self._flows)

    def black_hole(self) -> int:
        """Black-hole every flow."""
        held = self.count_open()
        for flow in self._flows:
            flow.black_hole()
        return held

    def reset(self) -> int:
        """Close every flow with RST."""
        held = self.count_open()
        for flow in list(self._flows):
            flow.close(reset=True)
        return held

    def listen(self) -> int:
        """Accept on every listener."""
        if not self._listening:
            self._listening = True
            for (_, port), listener in zip(
                self._upstream, self._listeners, strict=True
            ):
                listener.listen(BACKLOG)
                self._loop.add_reader(listener, self._accept, listener, port)
        return 0

    def refuse(self) -> int:
        """Stop listening, and keep the ports: a bound socket refuses."""
        if self._listening:
            self._listening = False
            for number, listener in enumerate(self._listeners):
                self._loop.remove_reader(listener)
                listener.close()
                self._listeners[number] = _bound(self._ports[number])
        return 0

    def answer(self, line: bytes) -> dict[str, Any]:
        """Execute one command."""
        command = json.loads(line)
        act: Callable[..., int] = getattr(self, command["do"])
        return {"id": command["id"], "code": act(*command["args"])}

    def _accept(self, listener: socket.socket, port: int) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            while True:
                accepted, _ = listener.accept()
                self._accepted += 1
                flow = Flow(
                    accepted, (LOOPBACK, port), self._rewrite, self._flows.discard
                )
                self._flows.add(flow)

    def _rewrite(self, frame: bytes) -> bytes:
        for theirs, ours in self._replacements:
            frame = frame.replace(theirs, ours)
        return frame


def _bound(port: int) -> socket.socket:
    """A loopback socket that holds a port, 0 for any free one, and does not listen."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((LOOPBACK, port))
    return sock


def _address(host: str, port: int) -> bytes:
    """Its form in a response: the text of the host, then the port as an int32."""
    return host.encode() + struct.pack(">i", port)


def _fail(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """End with the error on stderr: the next command reports it."""
    loop.default_exception_handler(context)
    os._exit(1)


def _end_with(loop: asyncio.AbstractEventLoop, parent: int) -> None:
    """End once the parent has ended. Its forked children may hold stdin open."""
    if os.getppid() != parent:
        os._exit(0)
    loop.call_later(PARENT_CHECK_SECONDS, _end_with, loop, parent)


async def serve(parent: int, servers: str) -> None:
    """Serve until stdin or the parent ends."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_fail)
    addresses = (server.rpartition(":") for server in servers.split(","))
    proxy = Proxy([(host, int(port)) for host, _, port in addresses])
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), sys.stdin
    )
    _end_with(loop, parent)
    _say({"id": 0, "code": 0, "bootstrap_servers": proxy.bootstrap_servers})
    while line := await commands.readline():
        for _ in range(TURNS):
            await asyncio.sleep(0)
        _say(proxy.answer(line))
    os._exit(0)


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)  # noqa: T201 - the pipe to the parent


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
