"""One connection through the proxy: two sockets, and the bytes between them."""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import struct
from collections.abc import Callable

READ_BYTES = 262_144
MAX_PENDING_BYTES = 4_194_304  # stop reading a side whose peer does not keep up
LENGTH_BYTES = 4  # every frame of the protocol starts with its length
RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close() sends RST

Rewrite = Callable[[bytes], bytes]


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


class End:
    """One socket of a flow, and the bytes that wait to be written to it."""

    def __init__(self, flow: Flow, sock: socket.socket) -> None:
        self.flow = flow
        self.socket = sock
        self.pending = bytearray()
        self.finished = False  # the peer has sent its last byte
        self.interest = 0


class Flow:
    """A client's connection and the one to the broker that belongs to it.

    Only the proxy's thread touches it.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        accepted: socket.socket,
        rewrite: Rewrite,
        on_close: Callable[[Flow], None],
    ) -> None:
        self._selector = selector
        self._on_close = on_close
        self._responses = Responses(rewrite)
        self._black_holed = False
        self._connecting = True
        self.client = End(self, accepted)
        self.broker = End(self, socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        for end in (self.client, self.broker):
            end.socket.setblocking(False)
            end.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def is_held(self) -> bool:
        """Whether the client has not closed its side yet."""
        return not self.client.finished

    def connect(self, upstream: tuple[str, int]) -> None:
        """Start connecting to the broker, and serving the client."""
        if self.broker.socket.connect_ex(upstream) in {0, errno.EINPROGRESS}:
            self._watch()
        else:
            self.close()

    def black_hole(self) -> None:
        """Pass nothing on any more, in either direction, and close nothing."""
        self._black_holed = True
        self.client.pending.clear()
        self.broker.pending.clear()
        self._watch()

    def close(self, *, reset: bool = False) -> None:
        """Close both sockets, with RST instead of FIN when `reset`."""
        for end in (self.client, self.broker):
            if reset:
                with contextlib.suppress(OSError):
                    end.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._drop(end)
        self._on_close(self)

    def serve(self, end: End, events: int) -> None:
        """Read and write as far as possible without blocking."""
        if end.socket.fileno() < 0:  # closed earlier in the same round
            return
        try:
            if end is self.broker and self._connecting:
                self._finish_connecting()
            if events & selectors.EVENT_READ:
                self._read(end)
            for each in (self.client, self.broker):
                self._write(each)
        except OSError:
            self._lost(end)
            return
        self._settle()

    def _finish_connecting(self) -> None:
        code = self.broker.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, "cannot connect to the broker")
        self._connecting = False

    def _read(self, end: End) -> None:
        try:
            data = end.socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        end.finished = not data
        if self._black_holed:
            return
        if end is self.client:
            self.broker.pending += data
        else:
            self.client.pending += self._responses.feed(data)

    def _write(self, end: End) -> None:
        if not end.pending or (end is self.broker and self._connecting):
            return
        with contextlib.suppress(BlockingIOError):
            del end.pending[: end.socket.send(end.pending)]

    def _lost(self, end: End) -> None:
        """A socket failed. Behind a black hole, the client must not notice."""
        if self._black_holed and end is self.broker:
            self._drop(end)
        else:
            self.close()

    def _settle(self) -> None:
        """Close what has nothing left to carry, and watch the rest."""
        if self.client.finished and not self.broker.pending:
            self.close()
        elif self.broker.finished and not self.client.pending:
            self._lost(self.broker)
        else:
            self._watch()

    def _watch(self) -> None:
        """Tell the selector which events matter now."""
        for end, peer in ((self.client, self.broker), (self.broker, self.client)):
            if end.socket.fileno() < 0:
                continue
            interest = 0
            if not end.finished and len(peer.pending) < MAX_PENDING_BYTES:
                interest |= selectors.EVENT_READ
            if end.pending or (end is self.broker and self._connecting):
                interest |= selectors.EVENT_WRITE
            self._set_interest(end, interest)

    def _set_interest(self, end: End, interest: int) -> None:
        if interest == end.interest:
            return
        if not end.interest:
            self._selector.register(end.socket, interest, end)
        elif not interest:
            self._selector.unregister(end.socket)
        else:
            self._selector.modify(end.socket, interest, end)
        end.interest = interest

    def _drop(self, end: End) -> None:
        if end.socket.fileno() >= 0:
            self._set_interest(end, 0)
            end.socket.close()
