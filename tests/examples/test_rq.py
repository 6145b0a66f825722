"""examples/rq."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rq import Queue
from rq.job import JobStatus

from tests.examples.conftest import SCRIPTS
from tests.scenarios.redis_server import connected, redis
from tests.scenarios.servers import wait_until

if TYPE_CHECKING:
    from tests.examples.conftest import MakeExample

JOBS = 3
PAGES = [f"page-{number}" for number in range(10)]


def test_nothing_is_lost_when_a_job_ends(example: MakeExample) -> None:
    """Each job runs in a process of its own. What it sends without a wait is delivered,
    once, before RQ stores how it ended; SIGTERM ends the worker."""
    shop = example("rq")
    with redis() as path, connected(path) as store:
        queue = Queue(connection=store)
        command = [str(SCRIPTS / "rq"), "worker", "--path=.", f"--url=unix://{path}"]
        with shop.serve(*command) as server:
            jobs = [
                queue.enqueue("jobs.publish_order", str(number), f'{{"id": {number}}}')
                for number in range(JOBS)
            ]
            last = queue.enqueue("jobs.count_clicks", PAGES)
            wait_until(lambda: last.get_status(refresh=True) is JobStatus.FINISHED)
            assert shop.arrived("clicks") == Counter(PAGES)
            assert all(job.return_value() is not None for job in jobs)
            server.stop()
            server.outcome()
            opened_by = server.facts("opened_by")
    assert len(opened_by) == len(set(opened_by)) == JOBS + 1
    assert shop.ids_arrived() == Counter(map(str, range(JOBS)))
