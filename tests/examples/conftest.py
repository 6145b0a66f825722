"""A copy of an example's folder, and a cluster of its own, for each test."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.scenarios.harness import ROOT
from tests.scenarios.servers import MODULE, START_S, ask, running
from waterdrop_py.testing import EmbeddedCluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.scenarios.servers import Server

PROBE = Path(__file__).parent / "probe"
SCRIPTS = Path(sys.executable).parent
LINGER_MS = 1_000
"""What is sent without a wait stays in the process for this long. A test stops its
server meanwhile, so that only a close delivers it."""
AT_ONCE = 8
RUN_S = 90.0
DOWN = "kafka://127.0.0.1:1"
PYTEST = [*MODULE, "pytest", "-q", "-pno:ddtrace", "-pno:hypothesispytest"]
"""pytest, without plugins that take long to import and that no example needs."""


class Example:
    """A copy of an example's folder, and the cluster that it sends to.

    Attributes:
        folder: the copy.
        address: a Unix socket's, for its server.
    """

    def __init__(self, name: str, folder: Path, cluster: EmbeddedCluster) -> None:
        self.folder = folder
        self.cluster = cluster
        self.address = str(folder / "s")
        self._numbers = itertools.count()
        self._orders: list[str] = []
        for topic in ("orders", "clicks"):
            cluster.create_topic(topic, 3)
        shutil.copytree(ROOT / "examples" / name, folder, dirs_exist_ok=True)

    def environment(self, linger_ms: int) -> dict[str, str]:
        """The variables of its processes."""
        servers = self.cluster.bootstrap_servers
        return {
            "KAFKA_URL": f"kafka://{servers}/?linger.ms={linger_ms}",
            "PYTHONPATH": os.pathsep.join([str(PROBE), str(ROOT)]),
        }

    def serve(
        self, *command: str, linger_ms: int = LINGER_MS, **environment: str
    ) -> AbstractContextManager[Server]:
        """Run a server in the folder, until the block ends."""
        variables = {**self.environment(linger_ms), **environment}
        return running(list(command), self.folder, **variables)

    def run(self, *command: str, **environment: str) -> str:
        """Run a command in the folder, which must succeed; all that it printed."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, **self.environment(linger_ms=0), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=RUN_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def order_from(self, server: Server, processes: int) -> Counter[str]:
        """Post orders, several at once, until so many processes have opened a client.

        Each must be accepted. Returns all orders that should arrive.
        """
        deadline = time.monotonic() + START_S
        with ThreadPoolExecutor(AT_ONCE) as users:
            while len(set(server.facts("opened_by"))) < processes or not self._orders:
                assert time.monotonic() < deadline, "one worker serves all"
                assert set(users.map(self._order, range(AT_ONCE))) == {201}
        return Counter(self._orders)

    def _order(self, _: int) -> int:
        number = str(next(self._numbers))
        status, _ = ask(self.address, "/orders", {"id": number, "item": "tea"})
        self._orders.append(number)
        return status

    def click(self, count: int) -> Counter[str]:
        """Post pages, whose messages then wait in the process; what should arrive."""
        pages = [f"page-{number}" for number in range(count)]
        for page in pages:
            assert ask(self.address, "/clicks", {"page": page})[0] == 202
        return Counter(pages)

    def stops_without_loss(self, server: Server, processes: int) -> None:
        """Stop a server while messages wait for their linger. All arrive, once."""
        orders = self.order_from(server, processes)
        clicks = self.click(10)
        server.stop()
        server.outcome()
        assert self.arrived("clicks") == clicks
        assert self.ids_arrived() == orders

    def run_own_tests(self) -> str:
        """Run the tests that a user copies, without a broker; what pytest printed."""
        return self.run(*PYTEST, KAFKA_URL=DOWN)

    def ids_arrived(self) -> Counter[str]:
        """How often each order is in its topic."""
        orders: Counter[str] = Counter()
        for payload, count in self.arrived("orders").items():
            orders[str(json.loads(payload)["id"])] += count
        return orders

    def arrived(self, topic: str) -> Counter[str]:
        """How often each payload is in a topic."""
        messages = self.cluster.read(topic)
        return Counter((message.value() or b"").decode() for message in messages)


class MakeExample(Protocol):
    """The `example` fixture."""

    def __call__(self, name: str) -> Example:
        """Copy the folder of that name."""


@pytest.fixture
def example() -> Iterator[Callable[[str], Example]]:
    """Copies an example into a folder with a short name: the path of a Unix socket has
    107 bytes at most."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedCluster(3) as cluster:
        yield lambda name: Example(name, Path(folder), cluster)
