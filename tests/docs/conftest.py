"""One cluster for all pages of a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from waterdrop_py.testing import EmbeddedCluster

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def cluster() -> Iterator[EmbeddedCluster]:
    """A mock cluster of three brokers."""
    with EmbeddedCluster(brokers=3) as cluster:
        yield cluster
