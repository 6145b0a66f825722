"""Python runs this in every process of an example: it tells what they open and inherit.

The examples themselves stay as users copy them.
"""

from __future__ import annotations

import json
import os
from typing import Any

from waterdrop_py import monitor
from waterdrop_py._engine.process.resources import count_resources


def _tell(**fact: Any) -> None:
    # One write, so that processes do not mix their lines.
    os.write(1, (json.dumps(fact) + "\n").encode())


def _tell_inherited() -> None:
    count = count_resources()
    _tell(inherited_sockets=None if count is None else count.sockets)


monitor.subscribe("producer.connected", lambda _: _tell(opened_by=os.getpid()))
os.register_at_fork(after_in_child=_tell_inherited)
