"""`waterdrop demo --metrics`: the endpoint, as Prometheus reads it while it runs."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.scenarios import monitoring
from tests.scenarios.test_demo import COMMAND, LIMIT_S, TERMINAL, run
from tests.scenarios.test_demo import start as start_demo

if TYPE_CHECKING:
    from pathlib import Path

WITHOUT = "import sys; sys.modules['prometheus_client'] = None"
CLIENTS = re.compile(r"^waterdrop_clients_open{.*} (\d)", re.MULTILINE)


@pytest.mark.timed
@pytest.mark.long
@pytest.mark.parametrize("arguments", [[], ["--pool"]], ids=["producers", "pools"])
def test_metrics_are_served_while_it_runs(arguments: list[str], tmp_path: Path) -> None:
    """Clients are seen to open and to be gone again, brokers answer; being read changes
    none of the demo's figures, and the port is closed afterwards."""
    out, err = tmp_path / "out", tmp_path / "err"
    with out.open("w") as stdout, err.open("w") as stderr:
        command = [*COMMAND, "demo", "--metrics", "0", *arguments]
        process = start_demo(command, subprocess.DEVNULL, stdout, stderr)
        try:
            texts = _read_until_it_ends(process, out)
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 0, out.read_text() + err.read_text()
    assert err.read_text() == ""
    sums = [sum(map(int, CLIENTS.findall(text))) for text in texts]
    assert max(sums) > 0
    assert min(sums[sums.index(max(sums)) :]) == 0
    assert any("waterdrop_broker_rtt_seconds{" in text for text in texts)
    port = int(_port(out) or 0)
    with socket.socket() as late:
        assert late.connect_ex(("127.0.0.1", port)) != 0


def _port(out: Path) -> str | None:
    found = re.search(r"metrics at http://localhost:(\d+)/metrics", out.read_text())
    return found and found[1]


def _read_until_it_ends(process: subprocess.Popen[bytes], out: Path) -> list[str]:
    texts: list[str] = []
    deadline = time.monotonic() + LIMIT_S
    while process.poll() is None:
        assert time.monotonic() < deadline
        port = _port(out)
        if port is not None:
            try:
                texts.append(monitoring.scrape(int(port)))
            except OSError:  # it has just ended
                continue
        time.sleep(0.05)
    return texts


def test_a_port_that_is_taken_is_an_error() -> None:
    """It is said before anything begins."""
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, out, err = run("demo", "--metrics", str(port))
    assert code == 2
    assert out == ""
    assert err == f"waterdrop: --metrics: port {port}: Address already in use\n"


@pytest.mark.parametrize("port", ["-1", "65536", "http", "²"])
def test_what_is_no_port_is_refused(port: str) -> None:
    """The sentence says what is legal, and shows what was given."""
    code, _, err = run("demo", f"--metrics={port}")
    assert code == 2
    assert f"must be a port from 1 to 65535, or 0 for any, got {port!r}" in err


def test_the_missing_extra_is_named() -> None:
    """Without prometheus-client, the error says what to install."""
    main = f"{WITHOUT}; from waterdrop_py.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", main, "demo", "--metrics", "0"],
        env=TERMINAL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install 'waterdrop-py[prometheus]'" in done.stderr
    assert "Traceback" not in done.stderr
