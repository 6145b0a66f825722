"""Metrics of gunicorn's workers: what they add up to after forks and ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import tempfile
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, generate_latest, multiprocess
from prometheus_client.parser import text_string_to_metric_families

from tests.scenarios.harness import PROGRAMS, run_scenario
from tests.scenarios.servers import MODULE, START_S, Server, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORKERS = 3
IDLE_MS = 400
SOON_S = 20.0
PREFIX = "waterdrop_"
LABELS = {"producer": "orders", "team": "sales"}


class Service:
    """The service on its socket, and what has been sent through it.

    Attributes:
        sent: messages by worker; that of the master is under 0.
    """

    def __init__(self, server: Server, address: str) -> None:
        self.server = server
        self.sent = Counter({0: 1})
        self._address = address
        self._before: dict[str, float] = {}

    def send(self, number: int) -> int:
        """Have a worker send; which one did."""
        worker = int(self._get(f"/send/{number}"))
        self.sent[worker] += number
        return worker

    def send_by_all(self) -> set[int]:
        """Have each of three workers send; which these are."""
        deadline, workers = time.monotonic() + SOON_S, set[int]()
        while len(workers) < WORKERS:
            assert time.monotonic() < deadline, f"only {workers} serve"
            workers.add(self.send(3))
        return workers

    def scrape(self) -> dict[str, float]:
        """All values that a scrape gives. No counter is less than it was."""
        values = parse(self._get("/metrics"))
        counters = {
            name: value
            for name, value in values.items()
            if name.partition("{")[0].endswith(("_total", "_count", "_sum", "_bucket"))
        }
        for name, value in self._before.items():
            assert counters.get(name, 0) >= value, name
        self._before = counters
        return values

    def await_value(self, name: str, wanted: float) -> dict[str, float]:
        """Scrape until a value is right, and a while longer: it must not pass it."""
        deadline = time.monotonic() + SOON_S
        while (values := self.scrape()).get(key(name)) != wanted:
            assert time.monotonic() < deadline, (name, wanted, values)
            time.sleep(0.05)
        time.sleep(0.3)
        assert self.scrape()[key(name)] == wanted
        return values

    def _get(self, path: str) -> bytes:
        deadline = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as ends:
                ends.settimeout(START_S)
                ends.connect(self._address)
                ends.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                answer = b""
                while received := ends.recv(65536):
                    answer += received
                head, _, body = answer.partition(b"\r\n\r\n")
                if b" 200 " in head.partition(b"\r\n")[0]:
                    return body
            assert time.monotonic() < deadline, f"{path} is not answered"
            time.sleep(0.02)


def key(name: str, **labels: str) -> str:
    """A series as `parse` calls it."""
    whole = sorted({**LABELS, **labels}.items())
    return f"{PREFIX}{name}{{{','.join(f'{label}={text}' for label, text in whole)}}}"


def parse(exposition: bytes) -> dict[str, float]:
    """All values of an exposition."""
    values = {}
    families = text_string_to_metric_families(exposition.decode())
    for sample in (sample for family in families for sample in family.samples):
        labels = ",".join(
            f"{name}={text}" for name, text in sorted(sample.labels.items())
        )
        values[f"{sample.name}{{{labels}}}"] = sample.value
    return values


def read_files(folder: Path) -> dict[str, float]:
    """What the files of all processes add up to, when these are gone."""
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    return parse(generate_latest(registry))


@pytest.fixture
def service(servers: str, topic: str, tmp_path: Path) -> Iterator[Service]:
    """The service, with three workers of a master that has used its producer."""
    environment = {
        "SCENARIO_SERVERS": servers,
        "SCENARIO_TOPIC": topic,
        "SCENARIO_IDLE_MS": str(IDLE_MS),
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
    }
    with tempfile.TemporaryDirectory() as folder:
        address = f"{folder}/s"  # short: such an address has 107 bytes at most
        command = [
            *MODULE,
            "gunicorn",
            "--preload",
            f"--workers={WORKERS}",
            "--threads=1",
            f"--bind=unix:{address}",
            f"--config={PROGRAMS / 'metrics_conf.py'}",
            "--no-control-socket",
            "tests.scenarios.programs.metrics_app:application",
        ]
        with running(command, **environment) as server:
            yield Service(server, address)


@pytest.mark.long
def test_gunicorn_workers_add_up(service: Service, tmp_path: Path) -> None:
    """A worker that is killed takes its gauges with it and leaves its counters. The one
    that comes in its place counts on, and what each has counted when it ends is there
    afterwards, once."""
    workers = service.send_by_all()
    service.await_value("messages_acknowledged_total", service.sent.total())
    service.await_value("clients_open", 0)

    killed = service.send(2)
    total = service.sent.total()
    service.await_value("messages_acknowledged_total", total)  # by its disconnect
    open_before = service.scrape()[key("client_opens_total")]
    os.kill(killed, signal.SIGKILL)
    later = service.send_by_all()
    deadline = time.monotonic() + SOON_S
    while killed in later or not later - workers:
        assert time.monotonic() < deadline, "no worker came in its place"
        later = service.send_by_all()
    values = service.await_value("messages_acknowledged_total", service.sent.total())
    assert values[key("messages_produced_total")] == service.sent.total()
    assert values[key("client_opens_total")] > open_before
    assert values[key("idle_timeout_seconds")] == IDLE_MS / 1000
    service.await_value("clients_open", 0)

    service.send_by_all()  # and end before these are idle
    service.server.stop()
    values = read_files(tmp_path)
    assert values[key("messages_acknowledged_total")] == service.sent.total()
    opens = values[key("client_opens_total")]
    closed = sum(
        value
        for name, value in values.items()
        if name.startswith(f"{PREFIX}client_disconnects_total")
    )
    assert closed == opens
    assert values[key("reopen_seconds_count")] > 0
    assert values[key("clients_open")] == 0


@pytest.mark.long
def test_forks_while_metrics_are_pushed(
    servers: str, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child inherits no lock of a push, and each has counted its own messages once;
    the thread of the metrics ends with the last client."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    outcome = run_scenario("metrics_fork.py", servers, topic, timeout=90).assert_clean()
    codes = outcome.one("codes")
    assert set(codes) == {0}, outcome
    assert outcome.one("slowest") < 1.0
    assert "waterdrop-metrics" not in outcome.one("threads")
    values = read_files(tmp_path)
    whole = "waterdrop_messages_acknowledged_total{producer=orders}"
    assert values[whole] == len(codes) + 1


def test_the_end_of_a_process_pushes_what_is_pending(
    servers: str, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What happens as the last producers are closed is in the files, all of it."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    outcome = run_scenario("metrics_exit.py", servers, topic)
    assert outcome.code == 0, outcome
    producers = outcome.one("producers")
    values = read_files(tmp_path)
    errors = "waterdrop_errors_total{producer=orders,type=subscriber.error}"
    assert values[errors] == producers
    whole = "waterdrop_messages_acknowledged_total{producer=orders}"
    assert values[whole] == producers
