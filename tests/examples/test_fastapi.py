"""examples/fastapi."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.examples.conftest import DOWN
from tests.scenarios.servers import MODULE, ask

if TYPE_CHECKING:
    from tests.examples.conftest import MakeExample

SERVERS = {
    # uvicorn's master starts its workers anew; gunicorn's forks what it has loaded.
    "uvicorn": ["uvicorn", "app:app", "--workers=2", "--uds={address}"],
    "gunicorn": [
        "gunicorn",
        "app:app",
        "--preload",
        "--workers=2",
        "--worker-class=uvicorn_worker.UvicornWorker",
        "--bind=unix:{address}",
        "--no-control-socket",
    ],
}


@pytest.mark.long
@pytest.mark.parametrize("kind", SERVERS)
def test_nothing_is_lost_when_the_server_stops(kind: str, example: MakeExample) -> None:
    """Two workers serve. SIGTERM comes while messages wait for their linger, and all of
    them arrive, once."""
    shop = example("fastapi")
    command = [word.format(address=shop.address) for word in SERVERS[kind]]
    with shop.serve(*MODULE, *command) as server:
        shop.stops_without_loss(server, processes=2)


def test_a_refused_message_is_answered(example: MakeExample) -> None:
    """A client hears that its message was not delivered, and why; the probe works."""
    shop = example("fastapi")
    command = [*MODULE, "uvicorn", "app:app", f"--uds={shop.address}"]
    with shop.serve(*command, linger_ms=0) as server:
        assert ask(shop.address, "/health")[0] == 200
        order = {"id": "1", "item": "tea"}
        assert ask(shop.address, "/orders", order)[0] == 201
        shop.cluster.push_errors("Produce", "topic_authorization_failed")
        answer = ask(shop.address, "/orders", order)
        assert answer == (503, {"error": "topic_authorization_failed"})
        server.stop(code=-15)
        server.outcome()
    assert sum(shop.arrived("orders").values()) == 1


@pytest.mark.long
def test_a_cluster_that_is_down_is_answered(example: MakeExample) -> None:
    """A client hears it after the 5 s of the request, the probe too; and SIGTERM ends
    the server within `close_timeout`, which a URL may set."""
    shop = example("fastapi")
    command = [*MODULE, "uvicorn", "app:app", f"--uds={shop.address}"]
    with shop.serve(*command, KAFKA_URL=f"{DOWN}/?close_timeout=1s") as server:
        assert ask(shop.address, "/health")[0] == 200
        began = time.monotonic()
        answer = ask(shop.address, "/orders", {"id": "1", "item": "tea"})
        assert answer == (503, {"error": "timed_out"})
        assert time.monotonic() - began >= 5
        status, body = ask(shop.address, "/health")
        assert (status, body["status"]) == (503, "unhealthy")
        server.stop(code=-15)


def test_its_own_tests_pass(example: MakeExample) -> None:
    """Without a broker."""
    assert "3 passed" in example("fastapi").run_own_tests()
