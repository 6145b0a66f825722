"""Debian's Prometheus, run for a while, and the queries of the board."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.scenarios.harness import ROOT, kill_group, spool, start, text

__all__ = ["ROOT"]

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOARD = ROOT / "waterdrop_py" / "listeners" / "grafana.json"
FOLDER = ROOT / ".venv" / "prometheus" / "usr" / "bin"
"""Where `make test` unpacks Debian's package, which starts no service then."""
START_S = 20.0
PROMETHEUS, PROMTOOL = "prometheus", "promtool"


def find(program: str) -> str | None:
    """The path of `prometheus` or `promtool`; None if there is none."""
    return shutil.which(program) or shutil.which(program, path=str(FOLDER))


class Query(NamedTuple):
    """One query of a panel."""

    panel: str
    legend: str
    expression: str

    def over(self, window: str) -> str:
        """The query with Grafana's own interval replaced."""
        return self.expression.replace("$__rate_interval", window)


def board() -> dict[str, Any]:
    """The board, as Grafana reads it."""
    loaded: dict[str, Any] = json.loads(BOARD.read_text())
    return loaded


def queries() -> list[Query]:
    """The queries of all panels."""
    return [
        Query(panel["title"], target["legendFormat"], target["expr"])
        for panel in board()["panels"]
        for target in panel["targets"]
    ]


class Prometheus:
    """A running Prometheus."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            return self._get("/-/ready") != b""
        except OSError:
            return False

    def query(self, expression: str) -> list[float]:
        """The values of `expression` as they are now, without those that are none."""
        found = self._ask("query", query=expression)
        values = [float(series["value"][1]) for series in found]
        return [value for value in values if not math.isnan(value)]

    def query_range(
        self, expression: str, start: float, end: float, step: float
    ) -> list[dict[str, Any]]:
        """The series of `expression` from `start` to `end`, epoch seconds."""
        return self._ask(
            "query_range", query=expression, start=start, end=end, step=step
        )

    def _ask(self, what: str, **arguments: object) -> list[dict[str, Any]]:
        try:
            answer = self._get(f"/api/v1/{what}?{urllib.parse.urlencode(arguments)}")
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{arguments}: {error.read().decode()}") from error
        result: list[dict[str, Any]] = json.loads(answer)["data"]["result"]
        return result

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"{self._url}{path}", timeout=10) as answer:
            body: bytes = answer.read()
        return body


@contextlib.contextmanager
def running(scraped: int, folder: Path) -> Iterator[Prometheus]:
    """Have Prometheus scrape a port every second until the block ends."""
    program = find(PROMETHEUS)
    assert program is not None
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        "scrape_configs:\n"
        "  - job_name: waterdrop\n"
        f"    static_configs: [{{targets: ['127.0.0.1:{scraped}']}}]\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with spool() as out, spool() as err:
        command = [
            program,
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        process = start(command, out, err)
        prometheus = Prometheus(port)
        deadline = time.monotonic() + START_S
        try:
            while not prometheus.is_ready():
                assert process.poll() is None, text(err)
                assert time.monotonic() < deadline, text(err)
                time.sleep(0.1)
            yield prometheus
        finally:
            kill_group(process)


def scrape(port: int) -> str:
    """What a scrape of that port answers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as got:
        body: bytes = got.read()
    return body.decode()


def check_metrics(exposition: str) -> str:
    """What `promtool check metrics` has to say; empty if nothing."""
    program = find(PROMTOOL)
    assert program is not None
    done = subprocess.run(
        [program, "check", "metrics"],
        input=exposition,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return f"{done.stdout}{done.stderr}" if done.returncode else ""
