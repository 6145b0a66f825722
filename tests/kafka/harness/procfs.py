"""What Linux's /proc says of a process: its connections and its memory."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import HarnessError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_ESTABLISHED = "01"
_SOCKET = re.compile(r"socket:\[(\d+)\]")


def established_peers(pid: int, local_ports: Collection[int]) -> list[int]:
    """The peers' ports of the ESTABLISHED sockets that `pid` holds on these ports.

    The kernel's table lists the sockets of every process; those whose descriptor
    `pid` does not hold, such as the other end of a loopback connection, are left out.
    """
    root = Path(f"/proc/{pid}")
    if not root.is_dir():
        raise HarnessError(f"/proc has no process {pid}: not running, or not Linux")
    here = [
        (inode, peer)
        for inode, local, peer in _established(root)
        if local in local_ports
    ]
    if not here:
        return []
    # A broker holds hundreds of descriptors: they are listed only when it matters.
    held = _socket_inodes(root)
    return [peer for inode, peer in here if inode in held]


def resident_bytes(pid: int) -> int:
    """The memory the process has resident, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


def _established(root: Path) -> Iterator[tuple[str, int, int]]:
    # Java's sockets are IPv6 ones, also for IPv4 addresses.
    for table in ("tcp", "tcp6"):
        for line in (root / "net" / table).read_text().splitlines()[1:]:
            _, local, peer, state, *_rest = columns = line.split()
            if state == _ESTABLISHED:
                yield columns[9], _port(local), _port(peer)


def _port(address: str) -> int:
    return int(address.rsplit(":", 1)[1], 16)


def _socket_inodes(root: Path) -> set[str]:
    inodes: set[str] = set()
    for descriptor in (root / "fd").iterdir():
        try:
            target = os.readlink(descriptor)
        except FileNotFoundError:
            continue
        if found := _SOCKET.fullmatch(target):
            inodes.add(found[1])
    return inodes
