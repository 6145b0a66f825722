"""Acting at the moments of a call."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from tests.moments import Moments, each_moment
from waterdrop_py.config import Config

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOM = "config.py"


def some_calls() -> None:
    """Calls of functions of that room."""
    repr(Config(kafka={"bootstrap.servers": "fake:9092"}))


def test_each_moment_is_acted_at_once() -> None:
    """The last block has no further one."""
    acts: list[int] = []
    blocks: list[Moments] = []
    for moments in each_moment(ROOM, lambda: acts.append(len(blocks))):
        with moments:
            some_calls()
        blocks.append(moments)
    assert len(blocks) > 1
    assert acts == list(range(len(blocks) - 1))


@pytest.fixture
def collections() -> Iterator[list[str]]:
    """The starts and stops of the collector, which runs as often as it can."""
    seen: list[str] = []
    thresholds = gc.get_threshold()

    def see(phase: str, _: dict[str, int]) -> None:
        seen.append(phase)

    gc.callbacks.append(see)
    gc.set_threshold(1)
    yield seen
    gc.set_threshold(*thresholds)
    gc.callbacks.remove(see)


def test_no_garbage_is_collected_meanwhile(collections: list[str]) -> None:
    """What other tests have left has finalizers, which would be moments."""
    with Moments(ROOM, 0, list):
        before = len(collections)
        some_calls()
        meanwhile = len(collections) - before
    some_calls()
    assert meanwhile == 0
    assert len(collections) > before
