"""The service of the tutorial, run as its page says."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Final

from tests.docs.blocks import read_page
from tests.docs.running import ROOT

if TYPE_CHECKING:
    from pathlib import Path

BOUND: Final = 30.0
ORDER: Final = {"id": "42", "total": 7}


def free_port() -> int:
    """A port of this machine that nothing uses."""
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        port: int = each.getsockname()[1]
        return port


def post(port: int) -> tuple[int, dict[str, object]]:
    """Order, as soon as somebody listens."""
    deadline = time.monotonic() + BOUND
    while True:
        asked = HTTPConnection("127.0.0.1", port, timeout=BOUND)
        try:
            head = {"Content-Type": "application/json"}
            asked.request("POST", "/orders", json.dumps(ORDER), head)
            answer = asked.getresponse()
            return answer.status, json.load(answer)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "nobody listens"
            time.sleep(0.05)
        finally:
            asked.close()


def test_it_serves_on_the_embedded_cluster(tmp_path: Path) -> None:
    """An order is answered. Ctrl-C stops it, and it prints what has arrived."""
    port = free_port()
    for block in read_page(ROOT / "docs" / "tutorial" / "a-service.md").blocks:
        if block.file is not None:
            text = block.text.replace('"8000"', f'"{port}"')
            (tmp_path / block.file).write_text(text)
    with subprocess.Popen(
        [sys.executable, "run.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": ""},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the whole group
    ) as service:
        try:
            status, body = post(port)
            os.killpg(service.pid, signal.SIGINT)
            printed, _ = service.communicate(timeout=BOUND)
        except BaseException:
            os.killpg(service.pid, signal.SIGKILL)
            raise
    assert (status, body["offset"]) == (201, 0)
    assert service.returncode == 0
    assert '"id":"42"' in printed
