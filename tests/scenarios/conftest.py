"""A topic for programs, and the interpreters to run them with."""

from __future__ import annotations

import os
import sys
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.embedded.support import refusing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from waterdrop_py.testing import EmbeddedCluster


class Arrived(Protocol):
    """The `arrived` fixture."""

    def __call__(self, prefix: str = "") -> Counter[str]:
        """How often each payload with this prefix is in the topic."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`python`: each interpreter named in WATERDROP_PYTHONS, else the running one."""
    if "python" in metafunc.fixturenames:
        named = os.environ.get("WATERDROP_PYTHONS", sys.executable)
        metafunc.parametrize("python", named.split(os.pathsep), scope="session")


@pytest.fixture
def servers(cluster: EmbeddedCluster) -> str:
    """The brokers' addresses."""
    return cluster.bootstrap_servers


@pytest.fixture
def topic(cluster: EmbeddedCluster) -> str:
    """A topic of the test's own, with three partitions."""
    name = f"topic-{uuid.uuid4().hex[:12]}"
    cluster.create_topic(name, 3)
    return name


@pytest.fixture
def dead() -> Iterator[str]:
    """The address of a broker that is down."""
    with refusing() as address:
        yield address


@pytest.fixture
def arrived(cluster: EmbeddedCluster, topic: str) -> Arrived:
    """Counts the payloads in the test's topic."""

    def count(prefix: str = "") -> Counter[str]:
        payloads = [
            (message.value() or b"").decode() for message in cluster.read(topic)
        ]
        return Counter(each for each in payloads if each.startswith(prefix))

    return count
