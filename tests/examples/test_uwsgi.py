"""examples/uwsgi."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from tests.examples.conftest import SCRIPTS
from tests.scenarios.servers import ended, wait_until

if TYPE_CHECKING:
    from tests.examples.conftest import MakeExample


def test_nothing_is_lost_when_uwsgi_stops(example: MakeExample) -> None:
    """Two workers serve, and then one that the master forks in place of a dead one.
    What was answered before SIGTERM is there, once."""
    shop = example("uwsgi")
    options = [f"--http-socket={shop.address}", f"--virtualenv={SCRIPTS.parent}"]
    command = [str(SCRIPTS / "uwsgi"), "uwsgi.ini", *options]
    with shop.serve(*command, linger_ms=0) as server:
        shop.order_from(server, processes=2)
        killed = server.facts("opened_by")[0]
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: ended(killed))
        orders = shop.order_from(server, processes=3)
        server.stop()
    assert shop.ids_arrived() == orders
