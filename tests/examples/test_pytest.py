"""examples/pytest."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.examples.conftest import PYTEST
from tests.scenarios.servers import ended, wait_until

if TYPE_CHECKING:
    from tests.examples.conftest import MakeExample

WAITING = """
import time

def test_that_waits(waterdrop_cluster):
    print(f'{{"cluster": {waterdrop_cluster.pid}}}', flush=True)
    time.sleep(60)
"""


def test_its_tests_pass(example: MakeExample) -> None:
    """Side by side, in processes that have a cluster each."""
    assert "4 passed" in example("pytest").run(*PYTEST, "-n2")


def test_its_tests_find_a_fault(example: MakeExample) -> None:
    """Each of the tools notices a service that sends the wrong thing."""
    suite = example("pytest")
    code = suite.folder / "orders.py"
    code.write_text(code.read_text().replace("key=str(number)", "key='1'"))
    said = suite.run("sh", "-c", f"{' '.join(PYTEST)} || true")
    assert "2 failed, 2 passed" in said


def test_sigterm_leaves_no_cluster(example: MakeExample) -> None:
    """A test run that is stopped in the middle ends its mock cluster with it."""
    suite = example("pytest")
    (suite.folder / "test_orders.py").write_text(WAITING)
    with suite.serve(*PYTEST, "-s") as run:
        wait_until(lambda: run.facts("cluster"))
        [cluster] = run.facts("cluster")
        run.process.send_signal(signal.SIGTERM)
        run.process.wait(10)
        wait_until(lambda: ended(cluster))
