"""examples/gunicorn and examples/gevent."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.scenarios.servers import MODULE

if TYPE_CHECKING:
    from tests.examples.conftest import Example, MakeExample


def gunicorn(shop: Example) -> list[str]:
    """The command that serves the example; it reads the settings in its folder."""
    options = [f"--bind=unix:{shop.address}", "--no-control-socket"]
    return [*MODULE, "gunicorn", *options, "app:app"]


@pytest.mark.long
def test_nothing_is_lost_with_preload(example: MakeExample) -> None:
    """The master sends before it forks. Its first workers, and one that it forks later,
    serve with clients of their own. SIGTERM comes while messages wait for their linger,
    and all of them arrive, once."""
    shop = example("gunicorn")
    with shop.serve(*gunicorn(shop), RELEASE="v1") as server:
        shop.order_from(server, processes=3)  # the master is one of them
        server.process.send_signal(signal.SIGTTIN)
        shop.stops_without_loss(server, processes=4)
        opened_by = server.facts("opened_by")
        assert set(server.facts("inherited_sockets")) == {0}
    assert len(opened_by) == len(set(opened_by)) == 4
    assert shop.arrived("deploys") == {"v1": 1}


@pytest.mark.long
def test_nothing_is_lost_with_greenlets(example: MakeExample) -> None:
    """Two workers serve eight requests at once. SIGTERM comes while messages wait for
    their linger, and all of them arrive, once."""
    shop = example("gevent")
    # gunicorn takes 2.3 s to stop such workers.
    with shop.serve(*gunicorn(shop), linger_ms=4_000) as server:
        shop.stops_without_loss(server, processes=2)
