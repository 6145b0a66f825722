"""A cluster that is none, and pools on it that are closed after the test."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.doubles import eventually
from tests.unit.pools.support import Cluster, config
from waterdrop_py import ProducerPool
from waterdrop_py.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator


class MakePool(Protocol):
    """The `make_pool` fixture."""

    def __call__(self, source: Any = None, /, **options: Any) -> ProducerPool:
        """A pool on the test's cluster, of two producers unless `size` is given."""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Has no two open clients with one `transactional.id`, and in the end none."""
    made = Cluster()
    yield made
    assert made.together == []
    eventually(lambda: made.open == [], "every client is closed")


@pytest.fixture
def make_pool(cluster: Cluster) -> Iterator[MakePool]:
    """Builds pools, and closes them after the test."""
    with ExitStack() as closing:

        def make(source: Any = None, /, **options: Any) -> ProducerPool:
            options.setdefault("size", 2)
            pool = ProducerPool(source or config(cluster), **options)
            closing.callback(pool.close, force=True)
            return pool

        yield make


@pytest.fixture
def time_() -> Iterator[FakeClock]:
    """Idleness and age pass when the test says so."""
    with FakeClock() as clock:
        yield clock
