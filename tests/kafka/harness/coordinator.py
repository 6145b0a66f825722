"""What transaction coordinators know of ids, asked over the wire.

confluent-kafka's AdminClient has neither ListTransactions nor DescribeTransactions.
"""

from __future__ import annotations

import socket
from io import BytesIO
from typing import TYPE_CHECKING, Final, NamedTuple

from .errors import HarnessError

if TYPE_CHECKING:
    from collections.abc import Iterable

_DESCRIBE: Final = 65
_LIST: Final = 66
_SECONDS: Final = 10.0


class TransactionalId(NamedTuple):
    """What a coordinator knows of one id.

    Attributes:
        producer_id: the broker's number for it, which stays the same.
        epoch: goes up whenever a client registers the id.
        state: such as Empty, Ongoing, CompleteCommit, CompleteAbort.
    """

    producer_id: int
    epoch: int
    state: str


def transactional_ids(host: str, port: int, prefix: str) -> dict[str, TransactionalId]:
    """The ids that begin with `prefix`, of which this broker is the coordinator.

    Raises `HarnessError` when the broker answers with an error.
    """
    with socket.create_connection((host, port), _SECONDS) as connection:
        found = _listed(_answer(connection, _LIST, _array([]) + _array([]) + _NO_TAGS))
        ids = [each for each in found if each.startswith(prefix)]
        asked = _array([_text(each) for each in ids]) + _NO_TAGS
        return _described(_answer(connection, _DESCRIBE, asked)) if ids else {}


def _listed(body: _Fields) -> list[str]:
    body.number(4)  # throttled for
    _check(body.number(2))
    for _ in range(body.length()):
        body.text()  # an unknown filter
    ids = []
    for _ in range(body.length()):
        ids.append(body.text())
        body.number(8)  # producer id
        body.text()  # state
        body.tags()
    return ids


def _described(body: _Fields) -> dict[str, TransactionalId]:
    body.number(4)  # throttled for
    found = {}
    for _ in range(body.length()):
        _check(body.number(2))
        name, state = body.text(), body.text()
        body.number(4)  # timeout
        body.number(8)  # began
        found[name] = TransactionalId(body.number(8), body.number(2), state)
        for _ in range(body.length()):
            body.text()  # topic
            for _ in range(body.length()):
                body.number(4)  # partition
            body.tags()
        body.tags()
    return found


def _check(code: int) -> None:
    if code:
        raise HarnessError(f"the coordinator answered with error {code}")


# -- the protocol: flexible versions, compact strings and arrays ---------------------

_NO_TAGS: Final = b"\0"


def _answer(connection: socket.socket, api: int, body: bytes) -> _Fields:
    """The body of the answer to version 0 of a request."""
    header = _int(api, 2) + _int(0, 2) + _int(0, 4) + _int(-1, 2) + _NO_TAGS
    connection.sendall(_int(len(header + body), 4) + header + body)
    size = int.from_bytes(_read(connection, 4), "big")
    answer = _Fields(_read(connection, size))
    answer.number(4)  # correlation id
    answer.tags()
    return answer


def _read(connection: socket.socket, size: int) -> bytes:
    read = b""
    while len(read) < size:
        more = connection.recv(size - len(read))
        if not more:
            raise HarnessError("the broker closed the connection instead of answering")
        read += more
    return read


def _int(value: int, size: int) -> bytes:
    return value.to_bytes(size, "big", signed=True)


def _length(value: int) -> bytes:
    """As a varint, 7 bits a byte, of one more: 0 would be null."""
    left, encoded = value + 1, b""
    while left > 0x7F:
        encoded += bytes([left & 0x7F | 0x80])
        left >>= 7
    return encoded + bytes([left])


def _text(value: str) -> bytes:
    encoded = value.encode()
    return _length(len(encoded)) + encoded


def _array(items: Iterable[bytes]) -> bytes:
    kept = list(items)
    return _length(len(kept)) + b"".join(kept)


class _Fields:
    """Reads the fields of an answer, one after the other."""

    def __init__(self, body: bytes) -> None:
        self._body = BytesIO(body)

    def number(self, size: int) -> int:
        return int.from_bytes(self._body.read(size), "big", signed=True)

    def length(self) -> int:
        return self._varint() - 1

    def text(self) -> str:
        return self._body.read(self.length()).decode()

    def tags(self) -> None:
        for _ in range(self._varint()):
            self._varint()
            self._body.read(self._varint())

    def _varint(self) -> int:
        value = shift = 0
        while True:
            (byte,) = self._body.read(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
