"""What tests of a service need: a cluster, a bad network, a clock, recorded events.

Loaded when used: `import waterdrop_py` does not pay for it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from waterdrop_py.testing._server import Broker
    from waterdrop_py.testing.clock import FakeClock
    from waterdrop_py.testing.cluster import EmbeddedCluster
    from waterdrop_py.testing.doubles import BufferedClient, FakeClient
    from waterdrop_py.testing.fatal import trigger_fatal_error
    from waterdrop_py.testing.limits import allow_short_idle_timeouts
    from waterdrop_py.testing.proxy import DroppingProxy
    from waterdrop_py.testing.reading import read_topic
    from waterdrop_py.testing.recording import record

__all__ = [
    "Broker",
    "BufferedClient",
    "DroppingProxy",
    "EmbeddedCluster",
    "FakeClient",
    "FakeClock",
    "allow_short_idle_timeouts",
    "read_topic",
    "record",
    "trigger_fatal_error",
]

_HOMES = {
    "Broker": "_server",
    "BufferedClient": "doubles",
    "DroppingProxy": "proxy",
    "EmbeddedCluster": "cluster",
    "FakeClient": "doubles",
    "FakeClock": "clock",
    "allow_short_idle_timeouts": "limits",
    "read_topic": "reading",
    "record": "recording",
    "trigger_fatal_error": "fatal",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
