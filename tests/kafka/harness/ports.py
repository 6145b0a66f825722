"""Loopback ports that stay free while a broker is down."""

from __future__ import annotations

import random
import socket

from .errors import HarnessError

HOST = "127.0.0.1"
# Below the ports that Linux (32768 on) and macOS (49152 on) give to outgoing
# connections: a killed broker must find its ports free again when it restarts, while
# its clients keep dialling.
_LOWEST, _HIGHEST = 15_000, 32_000
_ATTEMPTS = 200

_given: set[int] = set()


def free_port() -> int:
    """A loopback port nobody listens on, never given twice by this process."""
    # Its own generator: a seeded test run must not give two runs the same ports.
    source = random.SystemRandom()
    for _ in range(_ATTEMPTS):
        port = source.randint(_LOWEST, _HIGHEST)
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    raise HarnessError(f"no free port found in {_ATTEMPTS} attempts")


def answers(port: int) -> bool:
    """Whether somebody accepts connections on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
