"""Producers in gunicorn and Celery workers, whose master has used them before."""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.scenarios.harness import PROGRAMS
from tests.scenarios.servers import MODULE, START_S, Server, request, running

if TYPE_CHECKING:
    from collections import Counter

    from tests.scenarios.conftest import Arrived
    from tests.scenarios.harness import Outcome
    from waterdrop_py.testing import EmbeddedCluster

WORKERS = 2
MODULES = "tests.scenarios.programs"
KINDS = {
    "sync": ("sync", "gunicorn_app"),
    "gthread": ("gthread", "gunicorn_app"),
    "gevent": ("gevent", "gunicorn_app"),
    "uvicorn": ("uvicorn_worker.UvicornWorker", "uvicorn_app"),
}
WAYS = (
    # A fork waits for at most 0.25 s until the clients are closed.
    pytest.param(True, id="closed", marks=pytest.mark.timed),
    pytest.param(False, id="inherited"),
)
EXIT_S = 4.0
"""What a worker's end may take, with messages to deliver and an interpreter to end:
0.1 s, or 0.45 s on a machine with three times the work that it has cores for. One that
waits for an inherited client never ends, or after its close_timeout of 10 s. How fast
an end is, test_fork measures."""
CELERY_PAUSE_S = 1.0
"""Celery's workers sleep that long before they end, also without any producer."""


def scenario(servers: str, topic: str, *, closed: bool) -> dict[str, str]:
    """What the applications find in their environment."""
    return {
        "SCENARIO_SERVERS": servers,
        "SCENARIO_TOPIC": topic,
        "SCENARIO_CLOSED_BEFORE_FORK": "yes" if closed else "no",
    }


def gunicorn(kind: str, address: str, *, preload: bool = True) -> list[str]:
    """The command that serves on a Unix socket with workers of that kind."""
    worker_class, module = KINDS[kind]
    return [
        *MODULE,
        "gunicorn",
        *(["--preload"] if preload else []),
        f"--workers={WORKERS if preload else 1}",
        "--threads=2" if kind == "gthread" else "--threads=1",
        f"--worker-class={worker_class}",
        f"--bind=unix:{address}",
        f"--config={PROGRAMS / 'gunicorn_conf.py'}",
        "--no-control-socket",
        f"{MODULES}.{module if preload else 'wsgi_app'}:application",
    ]


def celery(pool: str = "prefork", concurrency: int = WORKERS) -> list[str]:
    """The command that works on the tasks that its master calls."""
    return [
        *MODULE,
        "celery",
        f"--app={MODULES}.celery_app",
        "worker",
        f"--pool={pool}",
        f"--concurrency={concurrency}",
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
    ]


def assert_inherited(outcome: Outcome, *, closed: bool) -> None:
    """What each worker found when it started."""
    assert outcome.one("master_sockets") > 0
    inherited = outcome.all("inherited_sockets")
    assert len(inherited) >= WORKERS
    assert all((count == 0) is closed for count in inherited), inherited
    assert set(outcome.all("inherited_threads")) == {0}


def assert_served(outcome: Outcome, came: Counter[str]) -> None:
    """Each worker has had one client for each producer, and no message is lost."""
    served = outcome.all("served")
    assert outcome.all("opens") == [[1, 1]] * len(served)
    assert set(came.values()) == {1}, came
    wanted = {f"{kind}-{name}" for kind in ("prompt", "late") for name in served}
    assert came.keys() == wanted | {"master", "master-late"}


def served_by(server: Server) -> list[int]:
    """The worker of each request that is done."""
    return server.facts("served_by")


def slowest_exit(outcome: Outcome, server: Server) -> float:
    """Seconds between a worker's last word and its end."""
    leaving: dict[int, float] = {
        fact["pid"]: fact["leaving"] for fact in outcome.facts if "leaving" in fact
    }
    assert leaving.keys() == server.gone.keys()
    return max(server.gone[pid] - leaving[pid] for pid in leaving)


@pytest.mark.parametrize("closed", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_gunicorn_preload(
    kind: str, closed: bool, servers: str, topic: str, arrived: Arrived
) -> None:
    """The master's idle clients are closed before it forks, or stay the master's when
    that is switched off; each worker sends with clients of its own, and ends at once
    when it is told to, with what it has accepted delivered."""
    with tempfile.TemporaryDirectory() as folder:
        address = f"{folder}/s"  # short: such an address has 107 bytes at most
        command = gunicorn(kind, address)
        with running(command, **scenario(servers, topic, closed=closed)) as server:
            # A hundred requests can be over before gunicorn starts the next worker.
            deadline = time.monotonic() + START_S
            number = 0
            while number < 8 or len(set(served_by(server))) < WORKERS:
                assert time.monotonic() < deadline, "one worker serves all"
                request(address, str(number))
                number += 1
            server.stop(workers=served_by(server))
            outcome = server.outcome()

            assert_inherited(outcome, closed=closed)
            assert_served(outcome, arrived())
            assert slowest_exit(outcome, server) < EXIT_S


@pytest.mark.long
@pytest.mark.parametrize("closed", WAYS)
def test_celery_prefork(
    closed: bool, servers: str, topic: str, arrived: Arrived
) -> None:
    """The same for the workers of a Celery pool, although these leave without running
    what Python runs at exit; what the application sends in its own last moment is
    delivered too."""
    with running(celery(), **scenario(servers, topic, closed=closed)) as server:
        deadline = time.monotonic() + START_S
        while len(served_by(server)) < 20:
            assert time.monotonic() < deadline, "the tasks are not done"
            time.sleep(0.01)
        assert len(set(served_by(server))) == WORKERS
        server.stop(workers=served_by(server))
        outcome = server.outcome()

        assert_inherited(outcome, closed=closed)
        assert_served(outcome, arrived())
        assert len(outcome.all("served")) == 20 + WORKERS
        assert slowest_exit(outcome, server) < CELERY_PAUSE_S + EXIT_S


@pytest.mark.timed
@pytest.mark.parametrize("round_trip_ms", [0, 100])
def test_gunicorn_gevent(
    round_trip_ms: int,
    cluster: EmbeddedCluster,
    servers: str,
    topic: str,
    arrived: Arrived,
) -> None:
    """One worker of greenlets serves 20 requests at once; what it has accepted when
    SIGTERM comes is delivered."""
    with tempfile.TemporaryDirectory() as folder:
        address = f"{folder}/s"
        command = gunicorn("gevent", address, preload=False)
        with running(command, **scenario(servers, topic, closed=True)) as server:
            request(address, "first")
            cluster.set_rtt(round_trip_ms)
            began = time.monotonic()
            with ThreadPoolExecutor(20) as users:
                for answer in [
                    users.submit(request, address, str(number)) for number in range(20)
                ]:
                    answer.result()
            took = time.monotonic() - began
            server.stop(workers=served_by(server))
            outcome = server.outcome()

            assert took < 1.0, took  # one after the other they take 2 s
            served = outcome.all("served")
            assert len(served) == 21
            assert outcome.all("opens") == [[1, 1]] * 21
            assert arrived() == {
                f"{kind}-{name}": 1 for kind in ("prompt", "late") for name in served
            }
            assert slowest_exit(outcome, server) < EXIT_S


def test_celery_gevent(servers: str, topic: str, arrived: Arrived) -> None:
    """A Celery worker of greenlets delivers what its tasks send, also at its end."""
    command = celery("gevent", 20)
    with running(command, **scenario(servers, topic, closed=True)) as server:
        deadline = time.monotonic() + START_S
        while len(served_by(server)) < 20:
            assert time.monotonic() < deadline, "the tasks are not done"
            time.sleep(0.01)
        server.stop(workers=served_by(server))
        outcome = server.outcome()

        assert set(arrived().values()) == {1}
        wanted = {
            f"{kind}-{name}"
            for kind in ("prompt", "late")
            for name in outcome.all("served")
        }
        assert arrived().keys() == wanted | {"master", "master-late"}
