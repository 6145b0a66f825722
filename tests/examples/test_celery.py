"""examples/celery."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from celery import Celery

from tests.scenarios.redis_server import redis
from tests.scenarios.servers import MODULE, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.examples.conftest import Example, MakeExample
    from tests.scenarios.servers import Server

TASKS = 20
WORKER = [*MODULE, "celery", "--app=tasks", "worker", "--loglevel=INFO"]


@contextmanager
def working(
    shop: Example, processes: int, linger_ms: int
) -> Iterator[tuple[Server, Celery]]:
    """A worker with a pool of so many processes, and a client that sends it tasks."""
    command = [*WORKER, f"--concurrency={processes}"]
    with redis() as path:
        broker = f"redis+socket://{path}"
        with (
            shop.serve(
                *command, linger_ms=linger_ms, CELERY_BROKER_URL=broker
            ) as server,
            Celery(broker=broker) as client,
        ):
            yield server, client


@pytest.mark.long
def test_nothing_is_lost_when_celery_stops(example: MakeExample) -> None:
    """Two processes of a prefork pool work. SIGTERM comes while messages wait for their
    linger, and all of them arrive, once."""
    shop = example("celery")
    with working(shop, processes=2, linger_ms=500) as (server, client):
        for number in range(TASKS):
            body = json.dumps({"id": number})
            client.send_task("tasks.publish_order", [str(number), body])
        for number in range(TASKS):
            client.send_task("tasks.count_click", [f"page-{number}"])
        wait_until(lambda: server.said().count("succeeded in") == 2 * TASKS)
        server.stop()
        server.outcome()
        assert len(set(server.facts("opened_by"))) == 2
    assert shop.ids_arrived() == Counter(map(str, range(TASKS)))
    assert shop.arrived("clicks") == Counter(f"page-{n}" for n in range(TASKS))


def test_a_refused_order_is_sent_again(example: MakeExample) -> None:
    """The brokers refuse a message, so Celery runs its task again, and it is there."""
    shop = example("celery")
    with working(shop, processes=1, linger_ms=0) as (server, client):
        shop.cluster.push_errors("Produce", "topic_authorization_failed")
        client.send_task("tasks.publish_order", ["1", '{"id": 1}'])
        wait_until(lambda: "succeeded in" in server.said())
        server.stop()
        assert "topic_authorization_failed" in server.said()
    assert shop.ids_arrived() == {"1": 1}
