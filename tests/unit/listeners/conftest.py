"""What the tests of the listeners that count have in common: producers of one id."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.doubles import BOUND, Bench
from waterdrop_py import Producer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def bench() -> Bench:
    """The clients of the test."""
    return Bench()


@pytest.fixture
def name() -> str:
    """The id of a producer that no other test has."""
    return f"orders-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def make(bench: Bench, name: str) -> Iterator[Callable[..., Producer]]:
    """A function that makes producers, closed after the test."""
    made: list[Producer] = []

    def build(**options: Any) -> Producer:
        made.append(Producer(bench.options(**{"id": name, **options})))
        return made[-1]

    yield build
    for producer in made:
        producer.close(BOUND)
