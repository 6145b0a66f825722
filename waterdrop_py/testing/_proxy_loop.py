"""The proxy's one thread: a selector, the listeners, the flows, and commands."""

from __future__ import annotations

import contextlib
import os
import queue
import selectors
import socket
import struct
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from waterdrop_py._engine.concurrency import threads
from waterdrop_py.testing._proxy_flow import End, Flow
from waterdrop_py.testing.cluster import Broker

if TYPE_CHECKING:
    from collections.abc import Callable

LOOPBACK = "127.0.0.1"
COMMAND_SECONDS = 10.0
BACKLOG = 512

T = TypeVar("T")


class ProxyLoop:
    """The thread that owns every socket of a proxy. Other threads only call `run`."""

    def __init__(self, upstream: list[Broker]) -> None:
        self._owner = os.getpid()
        self._upstream = upstream
        self._selector = selectors.DefaultSelector()
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._selector.register(self._wake, selectors.EVENT_READ, None)
        self._ended = False
        self.accepted = 0
        self.flows: set[Flow] = set()
        self._listeners = [_bound(0) for _ in upstream]
        self.brokers = [
            Broker(broker.id, broker.host, listener.getsockname()[1])
            for broker, listener in zip(upstream, self._listeners, strict=True)
        ]
        self._replacements = {
            _address(theirs): _address(ours)
            for theirs, ours in zip(upstream, self.brokers, strict=True)
        }
        self._listening = False
        self.listen()
        self._thread = threading.Thread(
            target=self._serve, name="waterdrop-testing-proxy", daemon=True
        )
        threads.blocking_signals(self._thread.start)

    def run(self, action: Callable[[], T]) -> T:
        """Have the thread serve what has reached its sockets, then call `action`."""
        if os.getpid() != self._owner:
            raise RuntimeError("the proxy belongs to the process that started it")
        outcome: Future[T] = Future()

        def command() -> None:
            try:
                outcome.set_result(action())
            except BaseException as error:  # noqa: BLE001 - the caller raises it
                outcome.set_exception(error)

        self._commands.put(command)
        try:
            self._waker.send(b"!")
        except OSError as error:
            # The thread was awake: it may have run this already, as its last command.
            self._thread.join(COMMAND_SECONDS)
            if not outcome.done():
                raise RuntimeError("the proxy is closed") from error
        return outcome.result(COMMAND_SECONDS)

    def each_flow(self, action: Callable[[Flow], None]) -> int:
        """Call `action` with each flow that is open now; how many there were."""

        def act() -> int:
            flows = list(self.flows)
            for flow in flows:
                action(flow)
            return len(flows)

        return self.run(act)

    def end(self) -> None:
        """Close everything and end the thread; in a forked child, do nothing."""
        if os.getpid() == self._owner:
            self.run(self._finish)
            self._thread.join(COMMAND_SECONDS)

    def listen(self) -> None:
        """Accept on every listener."""
        if self._listening:
            return
        self._listening = True
        for broker, listener in zip(self._upstream, self._listeners, strict=True):
            listener.listen(BACKLOG)
            self._selector.register(listener, selectors.EVENT_READ, broker)

    def refuse(self) -> None:
        """Stop listening, and keep the ports: a bound socket refuses."""
        if not self._listening:
            return
        self._listening = False
        for number, listener in enumerate(self._listeners):
            self._selector.unregister(listener)
            listener.close()
            self._listeners[number] = _bound(self.brokers[number].port)

    def _serve(self) -> None:
        while not self._ended:
            commands = []
            with contextlib.suppress(queue.Empty):
                while True:
                    commands.append(self._commands.get_nowait())
            # Before commands, serve what is ready twice: a connection that was accepted
            # in the first round may have been closed already. Without waiting: the byte
            # that announces the next command may have been read already.
            for _ in range(2 if commands else 1):
                self._round(0 if commands else None)
            for command in commands:
                command()

    def _round(self, timeout: float | None) -> None:
        for key, events in self._selector.select(timeout):
            if isinstance(key.data, End):
                key.data.flow.serve(key.data, events)
            elif isinstance(key.data, Broker):
                self._accept(key.fileobj, key.data)
            else:
                with contextlib.suppress(BlockingIOError):
                    self._wake.recv(4096)

    def _accept(self, listener: Any, broker: Broker) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            while True:
                accepted, _ = listener.accept()
                self.accepted += 1
                flow = Flow(self._selector, accepted, self._rewrite, self.flows.discard)
                self.flows.add(flow)
                flow.connect((LOOPBACK, broker.port))

    def _rewrite(self, frame: bytes) -> bytes:
        for theirs, ours in self._replacements.items():
            frame = frame.replace(theirs, ours)
        return frame

    def _finish(self) -> None:
        self._ended = True
        for flow in list(self.flows):
            flow.close()
        for sock in (*self._listeners, self._wake, self._waker):
            sock.close()
        self._selector.close()


def _bound(port: int) -> socket.socket:
    """A loopback socket that holds a port, 0 for any free one, and does not listen."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((LOOPBACK, port))
    return sock


def _address(broker: Broker) -> bytes:
    """Its form in a response: the text of the host, then the port as an int32."""
    return broker.host.encode() + struct.pack(">i", broker.port)
