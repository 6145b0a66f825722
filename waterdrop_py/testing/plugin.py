"""The pytest plugin: fixtures for tests of code that sends with waterdrop_py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from waterdrop_py.events import Event
from waterdrop_py.monitor import monitor
from waterdrop_py.testing.cluster import EmbeddedCluster
from waterdrop_py.testing.recording import record


@pytest.fixture(scope="session")
def waterdrop_cluster() -> Iterator[EmbeddedCluster]:
    """A mock cluster of three brokers, one for the whole run.

    Topics appear as they are used: give each test a name of its own. A test that
    injects faults ends with `waterdrop_cluster.heal()`.
    """
    with EmbeddedCluster(brokers=3) as cluster:
        yield cluster


@pytest.fixture
def waterdrop_events() -> Iterator[list[Event]]:
    """Every event of every producer during the test, in the order of emission."""
    with record(monitor) as events:
        yield events
