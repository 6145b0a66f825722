"""examples/django."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

import pytest

from tests.scenarios.servers import MODULE, ask, ended, wait_until

if TYPE_CHECKING:
    from tests.examples.conftest import Example, MakeExample

MANAGE = [*MODULE[:-1], "manage.py"]
SERVERS = {
    "gunicorn": [
        "gunicorn",
        "shop.wsgi",
        "--preload",
        "--workers=2",
        "--threads=4",
        "--bind=unix:{address}",
        "--no-control-socket",
    ],
    "uvicorn": ["uvicorn", "shop.asgi:application", "--workers=2", "--uds={address}"],
}


@pytest.fixture
def shop(example: MakeExample) -> Example:
    """The shop, with its database."""
    shop = example("django")
    shop.run(*MANAGE, "migrate", "--run-syncdb")
    return shop


@pytest.mark.parametrize("kind", SERVERS)
def test_nothing_is_lost_when_the_server_stops(kind: str, shop: Example) -> None:
    """Two workers serve. SIGTERM comes while messages wait for their linger, and each
    order that was committed is announced, once."""
    command = [word.format(address=shop.address) for word in SERVERS[kind]]
    with shop.serve(*MODULE, *command) as server:
        orders = shop.order_from(server, processes=2)
        assert ask(shop.address, "/health")[0] == 200
        server.stop()
        server.outcome()
    # The database numbers them from 1 on.
    assert shop.ids_arrived() == {str(n + 1): 1 for n in range(orders.total())}


@pytest.mark.long
def test_nothing_is_lost_when_runserver_reloads(shop: Example) -> None:
    """Django's own server: the process that serves ends as its code changes, or by
    SIGTERM. What waits for its linger is delivered, once, and the next one serves."""
    with shop.serve(*MANAGE, "runserver", "0") as server:

        def serve(number: int) -> int:
            wait_until(lambda: server.said().count("Quit the server") == number)
            port = re.findall(r"http://127\.0\.0\.1:(\d+)/", server.said())[-1]
            answer = ask(f"127.0.0.1:{port}", "/orders", {"item": "tea"})
            assert answer == (201, {"id": number})
            return int(server.facts("opened_by")[-1])

        def change_the_code(of: int) -> bool:
            # The first look of the reloader, within a second, only takes notes.
            os.utime(shop.folder / "shop" / "views.py")
            return ended(of)

        first = serve(1)
        wait_until(lambda: change_the_code(first))
        second = serve(2)
        os.kill(second, signal.SIGTERM)
        wait_until(lambda: ended(second))
        assert server.process.wait(10) == 0
    assert shop.ids_arrived() == {"1": 1, "2": 1}


def test_its_own_tests_pass(example: MakeExample) -> None:
    """Without a broker, by Django's test runner."""
    assert "Ran 2 tests" in example("django").run(*MANAGE, "test")
