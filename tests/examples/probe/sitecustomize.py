"""Python runs this in every process of an example: it tells who opens a client.

The examples themselves stay as users copy them.
"""

from __future__ import annotations

import json
import os
from typing import Any

from waterdrop_py import monitor


def _tell(event: Any) -> None:
    # One write, so that processes do not mix their lines.
    os.write(1, (json.dumps({"opened_by": os.getpid()}) + "\n").encode())


monitor.subscribe("producer.connected", _tell)
