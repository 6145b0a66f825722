"""examples/flask."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from tests.scenarios.servers import MODULE, START_S, ask, ended, wait_until

if TYPE_CHECKING:
    from tests.examples.conftest import MakeExample


def test_nothing_is_lost_when_gunicorn_stops(example: MakeExample) -> None:
    """Threads of two workers serve. SIGTERM comes while messages wait for their linger,
    and all of them arrive, once."""
    shop = example("flask")
    command = ["gunicorn", "--threads=8", "--workers=2", "--no-control-socket"]
    command += [f"--bind=unix:{shop.address}", "app:app"]
    with shop.serve(*MODULE, *command) as server:
        shop.stops_without_loss(server, processes=2)


def test_a_refused_message_is_answered(example: MakeExample) -> None:
    """Flask's own server, with its reloader: a client hears that its message was not
    delivered, and why; the probe works; the reloader's SIGTERM loses nothing."""
    shop = example("flask")
    command = ["flask", "--debug", "run", f"--host=unix://{shop.address}"]
    with shop.serve(*MODULE, *command) as server:
        assert ask(shop.address, "/health")[0] == 200
        order = {"id": "1", "item": "tea"}
        assert ask(shop.address, "/orders", order)[0] == 201
        shop.cluster.push_errors("Produce", "topic_authorization_failed")
        answer = ask(shop.address, "/orders", order)
        assert answer == (503, {"error": "topic_authorization_failed"})
        clicks = shop.click(3)
        [worker] = set(server.facts("opened_by"))
        os.kill(worker, signal.SIGTERM)
        wait_until(lambda: ended(worker), START_S)
    assert shop.ids_arrived() == {"1": 1}
    assert shop.arrived("clicks") == clicks


def test_its_own_tests_pass(example: MakeExample) -> None:
    """Without a broker."""
    assert "2 passed" in example("flask").run_own_tests()
