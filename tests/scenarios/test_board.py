"""The board: its queries have results, in a real Prometheus that reads a service."""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from tests.scenarios import monitoring
from tests.scenarios.harness import (
    PROGRAMS,
    Outcome,
    kill_group,
    spool,
    start,
    text,
)
from waterdrop_py.listeners import PrometheusListener

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = 60
IDLE_MS = 1_000
SOON_S = 40.0
WINDOW = "15s"
MISSING = (
    "prometheus is not installed (Debian has it): only the names in the board's "
    "queries were checked"
)
needs_prometheus = pytest.mark.skipif(
    monitoring.find(monitoring.PROMETHEUS) is None, reason=MISSING
)


@pytest.fixture
def port(servers: str, topic: str) -> Iterator[int]:
    """The port at which the service's metrics are."""
    with spool() as out, spool() as err:
        program = str(PROGRAMS / "metrics_service.py")
        words = [servers, topic, str(SECONDS), str(IDLE_MS), "0", "2"]
        process = start([sys.executable, program, *words], out, err)
        try:
            deadline = time.monotonic() + SOON_S
            while not text(out).endswith("\n"):
                assert process.poll() is None, text(err)
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield Outcome(0, text(out), "", 0.0).one("port")
            assert "Traceback" not in text(err), text(err)
        finally:
            kill_group(process)


def exposed() -> set[str]:
    """The names of all samples that a listener may expose."""
    suffixes = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket",)}
    listener = PrometheusListener(CollectorRegistry(), topics=True, statistics=True)
    return {
        f"{family.name}{suffix}"
        for family in listener.describe()
        for suffix in suffixes[family.type]
    }


def test_the_board_asks_for_series_that_there_are() -> None:
    """Every name in a query is one that the listener exposes."""
    queries = monitoring.queries()
    assert len(queries) > 12
    known = exposed()
    for query in queries:
        names = set(re.findall(r"waterdrop_\w+", query.expression))
        assert names, query
        assert names <= known, query


def test_the_board_has_one_variable() -> None:
    """It asks for a data source, and all panels use that one."""
    board = monitoring.board()
    [variable] = board["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    source = {"type": "prometheus", "uid": f"${{{variable['name']}}}"}
    for panel in board["panels"]:
        assert panel["datasource"] == source
        assert all(target["datasource"] == source for target in panel["targets"])
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


@needs_prometheus
@pytest.mark.long
def test_every_query_has_a_result(port: int, tmp_path: Path) -> None:
    """Prometheus reads a service whose producers send, idle and wake up, and answers
    each query of the board; promtool finds nothing to improve in what it reads."""
    with monitoring.running(port, tmp_path) as prometheus:
        wanted = [query.over(WINDOW) for query in monitoring.queries()]
        # What a person must see: connections that are not held, while messages go on.
        wanted += [
            "sum(rate(waterdrop_saved_connection_seconds_total[10s])) > 1",
            "sum(rate(waterdrop_messages_acknowledged_total[10s])) > 10",
        ]
        deadline = time.monotonic() + SOON_S
        while wanted:
            assert time.monotonic() < deadline, wanted
            time.sleep(0.5)
            wanted = [each for each in wanted if not prometheus.query(each)]
    assert monitoring.check_metrics(monitoring.scrape(port)) == ""


def test_the_rig_has_the_board() -> None:
    """What `compose.observe.yml` mounts is there. Its comment starts the demo on the
    port that its Prometheus reads."""
    rig = monitoring.ROOT / "docker" / "compose.observe.yml"
    told = rig.read_text()
    mounted = re.findall(r"- (\.\./\S+?):", told)
    assert [(rig.parent / each).resolve() for each in mounted] == [monitoring.BOARD]
    command = r"waterdrop demo kafka://localhost:9092 --metrics (\d+)"
    [started] = re.findall(command, told)
    assert re.findall(r"host\.docker\.internal:(\d+)", told) == [started]
    assert f"/d/{monitoring.board()['uid']}" in told
